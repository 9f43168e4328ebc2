/*
 * seal_linux.c: the trap's own pages, sealed (trap.h, trap_seal). Ordinary VM code. mseal(2).
 */
#define _GNU_SOURCE
#include "calls.h"
#include "internal.h"
#ifdef T_SELECTOR
#include "dispatch.h"
#endif

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

static int seal(const void *from, const void *to) {
  uintptr_t first = (uintptr_t)from & ~(uintptr_t)(PKEYS_PAGE - 1), last = (uintptr_t)to + PKEYS_PAGE - 1;
  long rc = TRAP_CALL(SYS_mseal, first, (last & ~(uintptr_t)(PKEYS_PAGE - 1)) - first, 0, 0);
  return rc == -ENOSYS ? -EOPNOTSUPP : (int)rc;
}

/* The selectors that the kernel reads may be sealed: a child that a callee forks replaces the others. */
int trap_seal(void) {
  int rc = trap_attach_vm();
  if (rc == 0) rc = seal(&trap_arena, &trap_arena + 1);
  if (rc == 0) rc = seal(trap_gates_begin, trap_callback_code + (size_t)CALLBACK_COUNT * THUNK_CODE_BYTES);
#ifdef T_SELECTOR
  const struct trap_filter *filter = &trap_arena.shared.filter;
  const char *read = (const char *)(uintptr_t)filter->read;
  if (rc == 0) rc = seal(trap_calls_begin, trap_peek_end);
  if (rc == 0) rc = seal(trap_selector_blocked, trap_selector_blocked + 1);
  if (rc == 0 && read != NULL) rc = seal(read, read + (size_t)SLOT_COUNT * SELECTOR_BYTES);
#endif
  return rc == 0 ? pkeys_seal_runtime() : rc;
}
