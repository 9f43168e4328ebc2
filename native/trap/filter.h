/*
 * filter.h: a filter of the system calls that callees make (Linux on x86-64).
 *
 * Keys stop a callee's own stores. They do not stop a call that unmaps the image, changes its key, or writes it on the
 * callee's behalf. A callout through a thunk made with TRAP_FILTER has its system calls judged. What would touch the
 * image or its protection is refused. All else passes with the callee's own rights, registers and signal mask, and is
 * interrupted and restarted as ever. Code of the VM is not judged: callbacks and bracketed signal handlers make their
 * calls as if there were no filter.
 *
 * There are two ways, chosen once for the process:
 *
 *   TRAP_FILTER_DISPATCH  every call of a callee raises SIGSYS, and the trap's handler judges it: prctl(2),
 *                         PR_SET_SYSCALL_USER_DISPATCH (Linux 5.11). A byte in pages that foreign code cannot write
 *                         turns that on for a callout. Sees what calls point at, and their results. Costs a few
 *                         instructions for each callout, and a signal for each call that a callee makes.
 *   TRAP_FILTER_SECCOMP   a seccomp filter, in force for good, raises SIGSYS only for calls that name memory of the
 *                         image or never are a callee's business. Costs nothing for a callout or a call that passes.
 *                         Sees numbers and registers: neither paths nor results. The ranges are those of the images
 *                         that were open at the last trap_filter_cover. Programs that the process starts keep the
 *                         filter, without the handler: such a call ends them.
 *
 * Refused by default:
 *
 *   munmap, mremap, mprotect, pkey_mprotect, madvise and the like, mmap with MAP_FIXED: over memory of an image, a
 * loan, the trap or the gate. Nothing else may be tagged with a key of ours either pkey_free of a key of ours
 *   process_vm_writev and ptrace of this process; userfaultfd; io_uring_setup, _enter, _register; process_madvise
 *   prctl(PR_SET_MM)
 *   by dispatch only:
 *     a descriptor for writing of /proc/PID/mem, by whatever path; a write to such that was open before
 *     sigaction of the signals that the trap handles; sigaltstack on a thread of the VM's
 *     prctl and arch_prctl that would switch the trap or the filter off, or have the process traced
 *     rt_sigreturn with more rights to keys than the callout has, on the callout's own thread
 *     exit and exit_group by a thread of the VM's; exit(3) before it runs exit handlers that are older than the filter,
 *     but for destructors of thread-local objects. glibc 2.41 and later hold a lock throughout exit(3), which the
 *     failed callout leaves held: another thread's exit(3) then waits for ever, this thread's does not
 *
 * Loading and unloading (trap_dlopen, trap_dlclose) are judged as well once the filter is set up.
 *
 * What a callee starts is a callee: threads and forked children are filtered for as long as they live (by dispatch,
 * until they execute another program). No callout fails for them; their refused calls answer EPERM. vfork is done as
 * fork. SIGSYS cannot be blocked by a callee: it is left out of every mask that a callee sets.
 *
 * A handler of the VM that interrupts a callout, and does not bracket itself (trap_signal_enter), is judged like the
 * callee. It must not block SIGSYS. trap_rearm takes SIGSYS out of the masks of all handlers that are installed.
 *
 * The filter is about faulty code. Hostile code can jump to the trap's own system calls; docs/hardening.md says what
 * else is left to it.
 *
 * seccomp(2), prctl(2), Documentation/admin-guide/syscall-user-dispatch.rst.
 */
#ifndef TURNKEY_FILTER_H
#define TURNKEY_FILTER_H

#include "trap.h"

TURNKEY_API_BEGIN

enum trap_filter_way { TRAP_FILTER_NONE = 0, TRAP_FILTER_DISPATCH = 1, TRAP_FILTER_SECCOMP = 2 };

/* What becomes of a refused call: the callout fails with a fault of SIGSYS, whose registers hold the call's number and
 * arguments; or the callee is answered EPERM. */
enum trap_refusal { TRAP_REFUSE_FAIL = 0, TRAP_REFUSE_ERRNO = 1 };

/* A verdict on a call. DEFAULT: what is said above. */
enum trap_call_verdict { TRAP_CALL_DEFAULT = 0, TRAP_CALL_ALLOW = 1, TRAP_CALL_REFUSE = 2 };

/* A call as the callee made it. */
struct trap_system_call {
  uint64_t number;
  uint64_t arguments[6];
  uint64_t pc;     /* the instruction after the call */
  bool in_callout; /* of this thread; else a thread or child that a callee has started */
};
/* A verdict of the VM's own, asked before all other rules; about exit_group also when exit(3) begins. Runs inside a
 * signal, with all rights: only async-signal-safe calls, no locks, and nothing that the arguments point at. */
typedef enum trap_call_verdict (*trap_judge)(const struct trap_system_call *call, void *context);

struct trap_filter_rule {
  uint32_t number;
  enum trap_call_verdict verdict;
};

struct trap_filter_options {
  enum trap_filter_way way;
  enum trap_refusal refusal;
  bool threads;     /* callees may start threads */
  bool code;        /* callees may make memory executable that holds WRPKRU or XRSTOR, or that they can write too */
  trap_judge judge; /* NULL: none */
  void *context;    /* for `judge` */
  const struct trap_filter_rule *rules; /* by number; may be NULL */
  size_t rule_count;
};

/* Sets the filter up for thunks made with TRAP_FILTER. Calling it again changes everything but the way. Returns 0;
 * -EINVAL; -EBUSY inside a callout, or for another way; -ENOTSUP where the system or the machine has none; or a
 * negative errno. */
int trap_filter_init(const struct trap_filter_options *options);
/* The way in force. */
enum trap_filter_way trap_filter_way(void);
/* By seccomp: covers the images that are open now, too. Each call adds a filter for good, and every call of the process
 * passes through all of them. Nothing is to be done by dispatch. Returns 0 or a negative errno. */
int trap_filter_cover(void);

/*
 * Watches an instruction that writes rights and has to stay, such as the WRPKRU of the C library's pkey_set. It does so
 * by a hardware breakpoint at the first byte (Linux 5.13 on x86-64). A callee that comes to it fails its callout by
 * SIGTRAP with code TRAP_PERF, before the instruction is executed. The VM's own code goes on, at the price of a signal,
 * and so do the gate's hooks (pkeys-glibc calls pkey_set). So does an XRSTOR whose mask leaves PKRU out. Holds for this
 * thread, for threads that it starts from now on, and for a child that the VM forks, until the process ends.
 *
 * What it does not stop: threads that are there already (of Node, its workers and libuv's pool); threads and children
 * that a callee starts, which are in no callout; a callee that has SIGTRAP blocked, unless it is filtered by dispatch,
 * which leaves SIGTRAP out of the masks that it sets from then on; a callee that closes the breakpoint's descriptor.
 *
 *   -EACCES, -EPERM   kernel.perf_event_paranoid forbids it to this user
 *   -ENOSPC           the processor's four breakpoints are taken
 *   -ENOTSUP          this machine or system has none
 *   or another negative errno of perf_event_open(2): the instruction stays open to callees
 */
int trap_watch_code(uintptr_t address);

struct trap_filter_statistics {
  uint64_t judged;  /* calls that raised SIGSYS */
  uint64_t refused; /* those of them that were refused */
};
struct trap_filter_statistics trap_filter_statistics(void);

TURNKEY_API_END
#endif
