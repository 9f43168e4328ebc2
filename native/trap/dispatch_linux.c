/*
 * dispatch_linux.c: the selector bytes that tell the kernel whether a thread's system calls are dispatched to the
 * handler (filter.h). Ordinary VM code, but for trap_child_forked.
 *
 * The bytes are mapped twice. The trap writes them in pages under the runtime key, so that a callee cannot (I11). The
 * kernel reads them in pages on key 0, with the rights of whatever code makes a call; a signal handler has none to
 * other keys (F1), and a selector that cannot be read ends the process. That second mapping is read-only for good.
 *
 * prctl(2), PR_SET_SYSCALL_USER_DISPATCH; memfd_create(2); fcntl(2), F_SEAL_FUTURE_WRITE.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>

#include "calls.h"
#include "dispatch.h"

#define SELECTORS_BYTES (SLOT_COUNT * SELECTOR_BYTES)
#define DISPATCH_ON 1
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

static bool is_error(long result) { return result < 0 && result > -4096; }

/* At the addresses given, or anywhere where they are 0. */
static int map_selectors(uint64_t *written, uint64_t *read) {
  long file = TRAP_CALL(SYS_memfd_create, "turnkey", MFD_CLOEXEC | MFD_ALLOW_SEALING, 0, 0);
  if (is_error(file)) return (int)file;
  long rc = TRAP_CALL(SYS_ftruncate, file, SELECTORS_BYTES, 0, 0);
  int fixed = *written != 0 ? MAP_FIXED : 0;
  if (!is_error(rc))
    rc = trap_call_now(SYS_mmap, (long)*written, SELECTORS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | fixed, file, 0);
  if (!is_error(rc)) {
    *written = (uint64_t)rc;
    rc = pkeys_protect_runtime((void *)rc, SELECTORS_BYTES);
  }
  if (!is_error(rc)) /* kernels before 5.1 cannot: then the second mapping could be made writable */
    (void)TRAP_CALL(SYS_fcntl, file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW, 0);
  if (!is_error(rc)) rc = trap_call_now(SYS_mmap, (long)*read, SELECTORS_BYTES, PROT_READ, MAP_SHARED | fixed, file, 0);
  if (!is_error(rc)) *read = (uint64_t)rc;
  (void)TRAP_CALL(SYS_close, file, 0, 0, 0);
  return is_error(rc) ? (int)rc : 0;
}

int trap_dispatch_prepare(void) {
  struct trap_filter *filter = &trap_arena.shared.filter;
  if (filter->written != 0) return 0;
  uint64_t written = 0, read = 0;
  int rc = map_selectors(&written, &read);
  if (rc < 0) return rc;
  filter->read = read;
  filter->written = written;
  return 0;
}

static long dispatch(long how, uint64_t selector) {
  long begin = (long)(uintptr_t)trap_calls_begin;
  bool on = how == DISPATCH_ON;
  return trap_call_now(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, how, on ? begin : 0,
                       on ? (long)(uintptr_t)trap_calls_end - begin : 0, (long)selector, 0);
}

int trap_filter_thread(struct trap_slot *slot) {
  const struct trap_filter *filter = &trap_arena.shared.filter;
  if (*trap_selector_of(slot) != 0) return 0;
  if (filter->written == 0) return -ENOMEM; /* after a fork that found no memory: no call is made unfiltered */
  uint64_t offset = (uint64_t)(slot - trap_arena.slots) * SELECTOR_BYTES;
  *(volatile uint8_t *)(uintptr_t)(filter->written + offset) = 0;
  long rc = dispatch(DISPATCH_ON, filter->read + offset);
  if (is_error(rc)) return (int)rc;
  *trap_selector_of(slot) = filter->written + offset;
  return 0;
}

/* The slot is given to another thread, whose callouts would dispatch this one's last calls. */
void trap_filter_thread_end(struct trap_slot *slot) {
  if (*trap_selector_of(slot) == 0) return;
  (void)dispatch(0, 0);
  *trap_selector_of(slot) = 0;
}

/* fork(2) ends dispatching, and leaves the bytes shared with the parent: the child gets its own. */
void trap_filter_forked(void) {
  struct trap_filter *filter = &trap_arena.shared.filter;
  trap_watch_forked();
  if (filter->written == 0) return;
  for (unsigned i = 0; i < SLOT_COUNT; i++) *trap_selector_of(&trap_arena.slots[i]) = 0;
  if (map_selectors(&filter->written, &filter->read) == 0) return;
  filter->written = filter->read = 0; /* sealed: elsewhere, then */
  if (map_selectors(&filter->written, &filter->read) < 0) filter->written = 0;
}

/* In a child that a callee forked, with the callee's rights: what its copy of the gate writes must not reach the
 * parent's bytes. */
void trap_child_forked(void) {
  uint64_t written = trap_arena.shared.filter.written;
  if (written == 0) return;
  (void)trap_call_now(SYS_mmap, (long)written, SELECTORS_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  int key = pkeys_runtime_key();
  if (key > 0) (void)TRAP_CALL(SYS_pkey_mprotect, written, SELECTORS_BYTES, PROT_READ | PROT_WRITE, key);
}
