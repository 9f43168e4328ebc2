/*
 * sys_linux.h: the system calls this layer makes, without errno.
 *
 * They are raw, because the gate calls the mechanisms between a foreign function's return and its caller: there errno
 * belongs to the foreign function. A signal handler calls some of them, too. Each returns a result or a negative errno.
 *
 * syscalls(2).
 */
#ifndef TURNKEY_PKEYS_SYS_LINUX_H
#define TURNKEY_PKEYS_SYS_LINUX_H

#ifndef __linux__
#error "this file is for Linux; another system brings a file of its own"
#endif

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#if defined(__x86_64__)
#include "syscall_x86_64.h"
#elif defined(__aarch64__)
#include "syscall_aarch64.h"
#else
#error "no system call for this machine yet: docs/platforms.md, 'Adding an ABI'"
#endif

static inline int sys_mprotect(uintptr_t address, size_t bytes, int access) {
  return (int)sys_call(SYS_mprotect, (long)address, (long)bytes, access, 0, 0, 0);
}
static inline int sys_pkey_mprotect(uintptr_t address, size_t bytes, int access, int key) {
  return (int)sys_call(SYS_pkey_mprotect, (long)address, (long)bytes, access, key, 0, 0);
}
/* mseal(2), Linux 6.10; headers may be older than the kernel. */
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
static inline int sys_seal(uintptr_t address, size_t bytes) {
  return (int)sys_call(SYS_mseal, (long)address, (long)bytes, 0, 0, 0, 0);
}
/* Private anonymous pages are zero again, their memory given back. */
static inline int sys_discard(uintptr_t address, size_t bytes) {
  return (int)sys_call(SYS_madvise, (long)address, (long)bytes, MADV_DONTNEED, 0, 0, 0);
}
/* A key, with this thread's rights to it open. */
static inline int sys_pkey_alloc(void) { return (int)sys_call(SYS_pkey_alloc, 0, 0, 0, 0, 0, 0); }
static inline int sys_pkey_free(int key) { return (int)sys_call(SYS_pkey_free, key, 0, 0, 0, 0, 0); }

/* A private anonymous mapping without access, charged to nothing until it is used. An address, or a negative errno in
 * *error. */
static inline uintptr_t sys_reserve(uintptr_t fixed, size_t bytes, int *error) {
  long result = sys_call(SYS_mmap, (long)fixed, (long)bytes, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (fixed ? MAP_FIXED : 0), -1, 0);
  *error = result < 0 && result > -4096 ? (int)result : 0;
  return *error ? 0 : (uintptr_t)result;
}
static inline int sys_munmap(uintptr_t address, size_t bytes) {
  return (int)sys_call(SYS_munmap, (long)address, (long)bytes, 0, 0, 0, 0);
}
/* mremap(2): an address, or a negative errno in *error. */
static inline uintptr_t sys_mremap(uintptr_t address, size_t bytes, size_t new_bytes, int flags, uintptr_t new_address,
                                   int *error) {
  long result = sys_call(SYS_mremap, (long)address, (long)bytes, (long)new_bytes, flags, (long)new_address, 0);
  *error = result < 0 && result > -4096 ? (int)result : 0;
  return *error ? 0 : (uintptr_t)result;
}
/* limit_ns UINT64_MAX: none. */
static inline int sys_futex_wait(const void *word, uint32_t expected, uint64_t limit_ns) {
  struct timespec timeout = {.tv_sec = (time_t)(limit_ns / 1000000000u), .tv_nsec = (long)(limit_ns % 1000000000u)};
  return (int)sys_call(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, expected, limit_ns == UINT64_MAX ? 0 : (long)&timeout,
                       0, 0);
}
static inline int sys_futex_wake(const void *word, int count) {
  return (int)sys_call(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, count, 0, 0, 0);
}
static inline void sys_yield(void) { (void)sys_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0); }
/* clock_gettime(2), monotonic; async-signal-safe. */
static inline uint64_t sys_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
/* Around every fork: `before` in the parent, `after` in both. */
static inline int sys_at_fork(void (*before)(void), void (*after)(void)) {
  return -pthread_atfork(before, after, after);
}
static inline uintptr_t sys_thread(void) { return (uintptr_t)&errno; }

#endif
