/*
 * platform.h: what the trap's shared files need from the system and the ABI that they run on. One header per platform
 * gives the same names:
 *
 *   TRAP_HIDDEN                     not visible outside the library
 *   trap_word(), trap_set_word()    the thread-local word that leads to the thread's slot; SLOT_WORD_NONE in a thread
 *                                   that was never attached
 *   TRAP_WORD_TELLS                 1 where no stray write can leave SLOT_WORD_NONE there, so that a thread with that
 *                                   word need not be looked for
 *   struct trap_thread_state        in a slot: what attaching changed, what a recovery puts back
 *   struct trap_handlers_before     in the arena: what was installed before the trap
 *   struct trap_masked              what trap_signals_hold leaves for trap_signals_release
 *
 * and one .c file (platform_*.c) has the functions below.
 */
#ifndef TURNKEY_TRAP_PLATFORM_H
#define TURNKEY_TRAP_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#include "platform_windows.h"
#else
#include "platform_linux.h"
#endif

struct trap_slot;

/* Once, before the first thread attaches. `exits` is called on each attached thread as it ends, as late as can be,
 * those of `fork` around every fork. 0 or negative errno. */
struct trap_fork {
  void (*before)(void), (*in_parent)(void), (*in_child)(void);
};
int trap_platform_init(void (*exits)(struct trap_slot *slot), const struct trap_fork *fork);
/* This thread's part of attaching and of letting go: where its handlers run, and that its end is noticed. */
int trap_thread_begin(struct trap_slot *slot);
void trap_thread_end(struct trap_slot *slot);
int32_t trap_thread_number(void);
int32_t trap_process_number(void);
/* Writes `text` to standard error; async-signal-safe, errno is kept. */
void trap_say(const char *text);

/* Address space for a foreign stack: STACK_GUARD_LOW bytes without access, `usable` bytes, STACK_GUARD_HIGH without
 * access. 0 or -ENOMEM. */
int trap_stack_map(uint64_t usable, uint64_t *base);
void trap_stack_unmap(uint64_t base, uint64_t map_bytes);

/* Attaching and releasing are not interrupted: a handler that makes callouts would find half a slot, or the lock held
 * by its own thread. */
void trap_signals_hold(struct trap_masked *before);
/* As the first, but for the signals of faults. */
void trap_signals_hold_asynchronous(struct trap_masked *before);
void trap_signals_release(const struct trap_masked *before);
void trap_mask_read(struct trap_masked *now);
/* The signal mask that a recovery puts back. It is noted from what was held or from this thread as it is now, and is a
 * word to keep and to put back. */
void trap_mask_note_held(struct trap_slot *slot, const struct trap_masked *held);
void trap_mask_note(struct trap_slot *slot);
uint64_t trap_mask_word(const struct trap_slot *slot);
void trap_mask_put(struct trap_slot *slot, uint64_t word);

/* Text of the C library and of the loader, into trap_arena.shared.watched_*. */
void trap_modules_note(void);

/* The system's loader as foreign code: what trap_dlopen (name, flags) and trap_dlclose (handle) call through the gate,
 * and what it says when it has failed (NULL: nothing). */
extern const void *const trap_loader_open, *const trap_loader_close;
bool trap_loader_message(char *message, size_t bytes);

#endif
