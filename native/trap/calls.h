/*
 * calls.h: system calls that the trap makes inside a signal, raw: no errno, and never dispatched to its own handler
 * (calls_x86_64.S). A negative errno on failure.
 */
#ifndef TURNKEY_TRAP_CALLS_H
#define TURNKEY_TRAP_CALLS_H

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform.h"

#ifndef BUS_MCEERR_AO
#define BUS_MCEERR_AO 5
#endif
#ifndef TRAP_PERF
#define TRAP_PERF 6
#endif

#ifdef __x86_64__
TRAP_HIDDEN long trap_call_now(long number, long a, long b, long c, long d, long e, long f);
#else
static inline long trap_call_now(long number, long a, long b, long c, long d, long e, long f) {
  long result = syscall(number, a, b, c, d, e, f);
  return result == -1 ? -errno : result;
}
#endif
#define TRAP_CALL(number, a, b, c, d) trap_call_now((number), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

static inline pid_t trap_call_pid(void) { return (pid_t)TRAP_CALL(SYS_getpid, 0, 0, 0, 0); }
static inline pid_t trap_call_tid(void) { return (pid_t)TRAP_CALL(SYS_gettid, 0, 0, 0, 0); }

/* What rt_sigaction(2) takes: the kernel's sets are 8 bytes. Restores the default action. */
static inline void trap_call_default(int signal) {
  uint64_t action[4] = {0};
  (void)TRAP_CALL(SYS_rt_sigaction, signal, action, 0, 8);
}
/* rt_sigprocmask(2) with glibc's longer sets. */
static inline void trap_call_mask(int how, const sigset_t *set, sigset_t *before) {
  if (before != NULL) sigemptyset(before);
  (void)TRAP_CALL(SYS_rt_sigprocmask, how, set, before, 8);
}

/* Ends the process by the signal's default action. */
__attribute__((noreturn)) static inline void trap_call_die(int signal) {
  trap_call_default(signal);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  trap_call_mask(SIG_UNBLOCK, &set, NULL);
  (void)TRAP_CALL(SYS_tgkill, trap_call_pid(), trap_call_tid(), signal, 0);
  for (;;) (void)TRAP_CALL(SYS_exit_group, 128 + signal, 0, 0, 0);
}
/* Sends this thread a signal once more, as it came. */
static inline void trap_call_resend(int signal, const siginfo_t *info) {
  siginfo_t copy = *info;
  pid_t pid = trap_call_pid(), tid = trap_call_tid();
  if (copy.si_code > 0 || TRAP_CALL(SYS_rt_tgsigqueueinfo, pid, tid, signal, &copy) != 0)
    (void)TRAP_CALL(SYS_tgkill, pid, tid, signal, 0);
}

/*
 * A signal that was sent, SIGSEGV say, has interrupted the handler at work: no fault of the handler's. It waits,
 * blocked in what was interrupted, until that returns with the mask that it has interrupted itself. `interrupted`: the
 * mask in the signal's frame, where it is the kernel's 8 bytes.
 */
static inline void trap_call_postpone(int signal, const siginfo_t *info, sigset_t *interrupted) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  trap_call_mask(SIG_BLOCK, &set, NULL);
  trap_call_resend(signal, info);
  uint64_t blocked;
  memcpy(&blocked, interrupted, sizeof blocked);
  blocked |= (uint64_t)1 << (signal - 1);
  memcpy(interrupted, &blocked, sizeof blocked);
}

#endif
