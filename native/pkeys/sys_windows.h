/*
 * sys_windows.h: the system calls this layer makes, on Windows. See sys.h.
 *
 * None changes GetLastError: it belongs to the foreign function, as errno does elsewhere. VirtualAlloc, VirtualProtect,
 * VirtualFree, WaitOnAddress, QueryPerformanceCounter. Windows tags no user page with a protection key: those calls
 * answer -EOPNOTSUPP.
 */
#ifndef TURNKEY_PKEYS_SYS_WINDOWS_H
#define TURNKEY_PKEYS_SYS_WINDOWS_H

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4

static inline DWORD sys_page_access(int access) {
  if (access & PROT_EXEC) return access & PROT_WRITE ? PAGE_EXECUTE_READWRITE : PAGE_EXECUTE_READ;
  return access & PROT_WRITE ? PAGE_READWRITE : access & PROT_READ ? PAGE_READONLY : PAGE_NOACCESS;
}

/* Commits what is only reserved. */
static inline int sys_mprotect(uintptr_t address, size_t bytes, int access) {
  DWORD error = GetLastError(), before;
  bool done = VirtualProtect((void *)address, bytes, sys_page_access(access), &before) ||
              (VirtualAlloc((void *)address, bytes, MEM_COMMIT, sys_page_access(access)) &&
               VirtualProtect((void *)address, bytes, sys_page_access(access), &before));
  SetLastError(error);
  return done ? 0 : -ENOMEM;
}
static inline int sys_pkey_mprotect(uintptr_t address, size_t bytes, int access, int key) {
  return key == 0 ? sys_mprotect(address, bytes, access) : -EOPNOTSUPP;
}
static inline int sys_seal(uintptr_t address, size_t bytes) { return (void)address, (void)bytes, -ENOSYS; }
static inline int sys_discard(uintptr_t address, size_t bytes) { return (void)address, (void)bytes, -ENOSYS; }
static inline int sys_pkey_alloc(void) { return -EOPNOTSUPP; }
static inline int sys_pkey_free(int key) { return key == 0 ? 0 : -EOPNOTSUPP; }

/* Address space without access; with `fixed`, such a range is given back its first state: contents and charge lost. */
static inline uintptr_t sys_reserve(uintptr_t fixed, size_t bytes, int *error) {
  DWORD last = GetLastError();
  uintptr_t result = fixed;
  if (fixed) *error = VirtualFree((void *)fixed, bytes, MEM_DECOMMIT) ? 0 : -EINVAL;
  else *error = (result = (uintptr_t)VirtualAlloc(NULL, bytes, MEM_RESERVE, PAGE_NOACCESS)) != 0 ? 0 : -ENOMEM;
  SetLastError(last);
  return *error ? 0 : result;
}
/* Only what one sys_reserve gave, as a whole. */
static inline int sys_munmap(uintptr_t address, size_t bytes) {
  (void)bytes;
  DWORD last = GetLastError();
  bool done = VirtualFree((void *)address, 0, MEM_RELEASE);
  SetLastError(last);
  return done ? 0 : -EINVAL;
}

static inline uintptr_t sys_mremap(uintptr_t address, size_t bytes, size_t new_bytes, int flags, uintptr_t new_address,
                                   int *error) {
  (void)address, (void)bytes, (void)new_bytes, (void)flags, (void)new_address;
  *error = -EOPNOTSUPP;
  return 0;
}
/* limit_ns UINT64_MAX: none. */
static inline int sys_futex_wait(const void *word, uint32_t expected, uint64_t limit_ns) {
  DWORD last = GetLastError();
  DWORD limit = limit_ns == UINT64_MAX
                    ? INFINITE
                    : (DWORD)(limit_ns / 1000000u + 1 < 0x7fffffffu ? limit_ns / 1000000u + 1 : 0x7fffffffu);
  bool woken = WaitOnAddress((volatile void *)(uintptr_t)word, &expected, sizeof expected, limit);
  SetLastError(last);
  return woken ? 0 : -ETIMEDOUT;
}
static inline int sys_futex_wake(const void *word, int count) {
  if (count == 1) WakeByAddressSingle((void *)(uintptr_t)word);
  else WakeByAddressAll((void *)(uintptr_t)word);
  return 0;
}
static inline void sys_yield(void) { SwitchToThread(); }
static inline uint64_t sys_now_ns(void) {
  LARGE_INTEGER now, frequency;
  QueryPerformanceFrequency(&frequency);
  QueryPerformanceCounter(&now);
  uint64_t whole = (uint64_t)(now.QuadPart / frequency.QuadPart), part = (uint64_t)(now.QuadPart % frequency.QuadPart);
  return whole * 1000000000u + part * 1000000000u / (uint64_t)frequency.QuadPart;
}
static inline int sys_at_fork(void (*before)(void), void (*after)(void)) { return (void)before, (void)after, 0; }
static inline uintptr_t sys_thread(void) {
  uintptr_t teb; /* by hand: GCC 12 warns of the header's own way */
  __asm__("mov %%gs:0x30, %0" : "=r"(teb));
  return teb;
}

#endif
