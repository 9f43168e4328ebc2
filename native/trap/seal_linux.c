/*
 * seal_linux.c: the trap's own pages and the VM's code, sealed (trap.h, trap_seal). Ordinary VM code. mseal(2);
 * dl_iterate_phdr(3).
 */
#define _GNU_SOURCE
#include <link.h>

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

/* Modules that are never unloaded: the program, the C library (by a function that nobody replaces), and this one.
 * Others may be, and then unmap their code.
 */
static int seal_code(struct dl_phdr_info *info, size_t size, void *unused) {
  (void)size, (void)unused;
  const uintptr_t lasting[] = {(uintptr_t)dl_iterate_phdr, (uintptr_t)trap_seal};
  bool lasts = info->dlpi_name[0] == '\0';
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    uintptr_t from = info->dlpi_addr + part->p_vaddr;
    for (size_t m = 0; m < sizeof lasting / sizeof *lasting; m++)
      lasts = lasts || (part->p_type == PT_LOAD && lasting[m] - from < part->p_memsz);
  }
  int rc = 0;
  for (int i = 0; lasts && rc == 0 && i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    const char *from = (const char *)info->dlpi_addr + part->p_vaddr;
    if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) rc = seal(from, from + part->p_memsz);
  }
  return rc;
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
  if (rc == 0) rc = dl_iterate_phdr(seal_code, NULL);
  if (rc == 0) rc = pkeys_seal_loans();
  if (rc == -EBUSY) rc = 0; /* an image of mprotect-* closes them */
  return rc == 0 ? pkeys_seal_runtime() : rc;
}
