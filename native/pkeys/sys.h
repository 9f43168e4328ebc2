/*
 * sys.h: the system calls that this layer makes, by platform. Each platform's file gives the same functions:
 *
 *   sys_mprotect sys_pkey_mprotect sys_pkey_alloc           return 0, a result, or a negative errno
 *   sys_pkey_free sys_reserve sys_munmap
 *   sys_futex_wait sys_futex_wake sys_yield sys_now_ns
 *   sys_thread                                              an address that only this thread has
 *
 * It also gives PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC, and every errno name that this layer answers with.
 *
 * None changes errno, or what stands for it: the gate calls the mechanisms between a foreign function's return and its
 * caller.
 */
#ifndef TURNKEY_PKEYS_SYS_H
#define TURNKEY_PKEYS_SYS_H

#if defined(_WIN32)
#include "sys_windows.h"
#else
#include "sys_linux.h"
#endif

#endif
