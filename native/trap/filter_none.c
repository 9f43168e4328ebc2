/*
 * filter_none.c: no filter of system calls here (filter.h): Windows, and machines whose kernel dispatches no calls.
 */
#include <errno.h>

#include "internal.h"

int trap_filter_init(const struct trap_filter_options *options) { return (void)options, -ENOTSUP; }
enum trap_filter_way trap_filter_way(void) { return TRAP_FILTER_NONE; }
int trap_watch_code(uintptr_t address) { return (void)address, -ENOTSUP; }
int trap_filter_cover(void) { return -ENOTSUP; }
struct trap_filter_statistics trap_filter_statistics(void) { return (struct trap_filter_statistics){0}; }

int trap_filter_thread(struct trap_slot *slot) { return (void)slot, -ENOTSUP; }
void trap_filter_thread_end(struct trap_slot *slot) { (void)slot; }
void trap_filter_forked(void) {}
#ifdef _WIN32
int trap_seal(void) { return -EOPNOTSUPP; }
#endif
