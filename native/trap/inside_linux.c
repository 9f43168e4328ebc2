/*
 * inside_linux.c: the code that runs inside a signal.
 *
 * Rules for changing this file (I1 to I13: docs/invariants.md): only async-signal-safe calls; no locks, no allocation,
 * no printf; rights are opened before anything behind a key is touched; nothing may be assumed of the interrupted code.
 * Every branch says why. A second entry on the same thread is a fault in this file or in what it trusts: message, end.
 *
 * What it asks of the signal frame itself is each machine's own: context.h.
 *
 * sigaction(2), signal(7), pkeys(7) "handlers start with the default PKRU".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "context.h"

#ifndef BUS_MCEERR_AO
#define BUS_MCEERR_AO 5
#endif
#ifndef TRAP_PERF
#define TRAP_PERF 6
#endif

#define BYSTANDER_LIMIT_NS 200000000u

/* Thread-local, on key 0: usable before the arena is. Magic, so that a callee that zeroes or fills it changes nothing.
 */
#define HANDLING_MAGIC 0x7472617068616e64u
static __thread volatile uint64_t handling __attribute__((tls_model("initial-exec")));
/* Set by the unwind barrier; a hint for the record only. */
__thread volatile uint32_t trap_unwinding __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* What this thread is passing on: a handler that was put over ours and chains to us comes back with the same context,
 * from deeper in the stack. (One that left by siglongjmp leaves this standing; the next signal's frame then lies at the
 * same depth.) */
static __thread volatile struct {
  const void *context;
  uintptr_t frame;
  uint32_t link;
} passing __attribute__((tls_model("initial-exec")));

static const int handled_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};

void trap_handler(int signal, siginfo_t *info, void *context) __attribute__((visibility("hidden")));

/* ---- dying --------------------------------------------------------------------------------------------------- */

static void die_by_default(int signal) __attribute__((noreturn));
static void die_by_default(int signal) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigaction(signal, &action, NULL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), signal);
  _exit(128 + signal);
}

static void die_at(const char *why, int signal, uint64_t pc, uint64_t address) __attribute__((noreturn));
static void die_at(const char *why, int signal, uint64_t pc, uint64_t address) {
  char text[512];
  size_t at = trap_last_words(text, sizeof text, why, "signal", (uint64_t)signal, pc, address);
  ssize_t ignored = write(STDERR_FILENO, text, at);
  (void)ignored;
  die_by_default(signal);
}

void trap_die(const char *why, int signal) { die_at(why, signal, 0, 0); }

/* ---- whose fault --------------------------------------------------------------------------------------------- */

/* I5: raised by the kernel for this thread's own instruction. SI_USER, SI_TKILL, SI_QUEUE and the like are not
 * positive; a memory error found elsewhere and a perf event are not the instruction's. */
static bool synchronous(int signal, const siginfo_t *info) {
  if (info->si_code <= 0) return false;
  if (signal == SIGBUS && info->si_code == BUS_MCEERR_AO) return false;
  if (signal == SIGTRAP && info->si_code == TRAP_PERF) return false;
  if (signal == SIGABRT) return false;
  return true;
}

/* I5's exception: this thread sent SIGABRT to itself, and is just behind the system call that did. Another thread's
 * pthread_kill looks the same in siginfo but not in the registers. */
static bool self_abort(int signal, const siginfo_t *info, const ucontext_t *uc) {
  if (signal != SIGABRT || info->si_code != SI_TKILL || info->si_pid != getpid()) return false;
  return context_aborts(uc, getpid(), (pid_t)syscall(SYS_gettid));
}

/* ---- the record ---------------------------------------------------------------------------------------------- */

static void fill(struct trap_fault *fault, int signal, const siginfo_t *info, ucontext_t *uc) {
  fault->signal = signal;
  fault->code = info->si_code;
  fault->pc = context_pc(uc);
  context_describe(fault, uc);
  fault->pkru = context_rights(uc);
  if (signal == SIGABRT) {
    fault->flags |= TRAP_FAULT_ABORT;
    if (trap_unwinding) fault->flags |= TRAP_FAULT_UNWIND;
  } else {
    fault->address = (uint64_t)(uintptr_t)info->si_addr;
  }
  trap_unwinding = 0;
  fault->access = context_access(signal, info, uc);
  if (signal == SIGSEGV && info->si_code == SEGV_PKUERR) fault->pkey = (int32_t)info->si_pkey;
}

/* ---- recovering ---------------------------------------------------------------------------------------------- */

static void recover(struct trap_slot *slot, int signal, const siginfo_t *info, ucontext_t *uc) {
  struct trap_fault *fault = trap_record_begin(slot);
  fill(fault, signal, info, uc);
  trap_record_end(slot, fault, context_sp(uc), signal == SIGSEGV || signal == SIGBUS);
  context_land(uc, &slot->frames[slot->level], context_rights(uc) & trap_arena.shared.keep);
  memcpy(&uc->uc_sigmask, &slot->platform.mask,
         8); /* I12. The kernel's set is 8 bytes, glibc's longer than the frame's field */
}

/* ---- passing on ---------------------------------------------------------------------------------------------- */

static void resend(int signal, const siginfo_t *info) {
  siginfo_t copy = *info;
  if (copy.si_code > 0 || syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), signal, &copy) != 0)
    syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), signal);
}

/* I5: as if we were not there. */
static void pass_on(int signal, siginfo_t *info, ucontext_t *uc, bool keys, uint32_t kernel_pkru) {
  atomic_fetch_add_explicit(&trap_arena.shared.passed_on, 1, memory_order_relaxed);
  struct trap_shared *shared = &trap_arena.shared;
  uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
  bool chained = passing.context == uc && frame < passing.frame && passing.link < PREVIOUS_COUNT &&
                 shared->before.previous[passing.link].signal == (uint32_t)signal;
  uint32_t link = chained ? shared->before.previous[passing.link].earlier
                          : atomic_load_explicit(&shared->before.latest[signal], memory_order_acquire);
  struct sigaction previous = {.sa_handler = SIG_DFL};
  if (link != 0) previous = shared->before.previous[link].action;
  handling = 0;
  bool fault = synchronous(signal, info);
  bool ignored = !(previous.sa_flags & SA_SIGINFO) && previous.sa_handler == SIG_IGN;
  bool by_default = !(previous.sa_flags & SA_SIGINFO) && previous.sa_handler == SIG_DFL;
  if (ignored && !fault) return;
  if (by_default || ignored) { /* the kernel lets nobody ignore a fault of his own */
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(signal, &action, NULL);
    if (!fault || signal == SIGTRAP)
      resend(signal, info); /* a trap does not repeat; blocked until we return or not, it ends the process */
    return;
  }
  sigset_t mask = uc->uc_sigmask, old;
  memset((char *)&mask + 8, 0, sizeof mask - 8);
  sigorset(&mask, &mask, &previous.sa_mask);
  if (!(previous.sa_flags & SA_NODEFER)) sigaddset(&mask, signal);
  if (previous.sa_flags & (int)SA_RESETHAND) {
    struct sigaction reset = {.sa_handler = SIG_DFL};
    shared->before.previous[link].action = reset;
  }
  const void *outer_context = passing.context;
  uintptr_t outer_frame = passing.frame;
  uint32_t outer_link = passing.link;
  passing.context = uc;
  passing.frame = frame;
  passing.link = link;
  pthread_sigmask(SIG_SETMASK, &mask, &old);
  if (keys) pkeys_wrpkru(kernel_pkru);
  if (previous.sa_flags & SA_SIGINFO) previous.sa_sigaction(signal, info, uc);
  else previous.sa_handler(signal);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  passing.context = outer_context;
  passing.frame = outer_frame;
  passing.link = outer_link;
}

/* ---- the handler --------------------------------------------------------------------------------------------- */

void trap_handler(int signal, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  int saved_errno = errno;
  bool keys = pkeys_supported();
  uint32_t kernel_pkru = 0;
  if (keys) { /* I6: rights first; all of them, since the mask of ours lies behind one. Returning gives the interrupted
                 rights back */
    kernel_pkru = pkeys_rdpkru();
    pkeys_wrpkru(0);
  }
  uint64_t pc = context_pc(uc), sp = context_sp(uc);
  if (handling == HANDLING_MAGIC)
    die_at("a fault inside the fault handler", signal, pc, (uint64_t)(uintptr_t)info->si_addr);
  handling = HANDLING_MAGIC;

  struct trap_slot *slot = trap_slot_find();
  bool in_callout = slot != NULL && trap_state_is_callout(trap_state(slot));
  bool ours = synchronous(signal, info);

  if (slot != NULL && slot->recovering && ours)
    die_at("a fault while a callout was being failed", signal, pc, (uint64_t)(uintptr_t)info->si_addr);

  /* The gate's way out reads the trap's pages. A callee that left a signal handler of its own by siglongjmp comes back
   * with the PKRU that the kernel sets for handlers, without the right to. It has done nothing wrong: the gate's
   * instruction is let through, and sets absolute rights a few instructions on. */
  bool in_gate = pc - (uint64_t)(uintptr_t)trap_gates_begin < (uint64_t)(trap_gates_end - trap_gates_begin);
  if (in_callout && in_gate && ours && signal == SIGSEGV && info->si_code == SEGV_PKUERR &&
      context_access(signal, info, uc) == TRAP_ACCESS_READ &&
      (~trap_arena.shared.keep & pkru_field((int)info->si_pkey)) != 0 &&
      context_set_rights(uc, context_rights(uc) & trap_arena.shared.keep)) {
    handling = 0;
    errno = saved_errno;
    return;
  }

  if (in_callout && (ours || self_abort(signal, info, uc))) {
    /* I12: a VM's handler that interrupted the callout and runs on the alternate stack is not the callee. */
    bool on_alternate = sp - slot->alternate_base < slot->alternate_bytes ||
                        sp - (uint64_t)(uintptr_t)uc->uc_stack.ss_sp < uc->uc_stack.ss_size;
    /* A child that the callee forked is in this state too, but must not come back as a second VM. */
    bool forked = getpid() != trap_arena.shared.process;
    if (!on_alternate && !forked && trap_policy_takes((struct trap_entry *)(uintptr_t)trap_state(slot))) {
      recover(slot, signal, info, uc);
      handling = 0;
      errno = saved_errno;
      return;
    }
  }

  if (!in_callout && ours && signal == SIGSEGV) {
    /* A VM thread met an image that mprotect has closed for somebody else's callout. A thread that never attached is
     * not the VM's (I13): a callee's own, say. */
    if (slot != NULL && info->si_code == SEGV_ACCERR &&
        pkeys_bystander_wait((uintptr_t)info->si_addr, BYSTANDER_LIMIT_NS)) {
      handling = 0;
      errno = saved_errno;
      return;
    }
    /* A VM thread that is older than a key: its rights are opened now. Threads that were never attached are not the
     * VM's, unless this one is just coming in: a thunk reads the table before the gate could attach it, a callback
     * thunk too that goes straight through (I13). The callback gate lies just before the thunks. */
    uint64_t first = (uint64_t)(uintptr_t)trap_callback_gate,
             last = (uint64_t)(uintptr_t)trap_thunk_code + (uint64_t)THUNK_COUNT * THUNK_CODE_BYTES;
    bool entering = pc - first < last - first;
    if (info->si_code == SEGV_PKUERR && (slot != NULL || entering) &&
        (~trap_arena.shared.keep & pkru_field((int)info->si_pkey)) != 0 &&
        (context_rights(uc) & ~trap_arena.shared.keep) != 0 &&
        context_set_rights(uc, context_rights(uc) & trap_arena.shared.keep)) {
      handling = 0;
      errno = saved_errno;
      return;
    }
  }

  pass_on(signal, info, uc, keys, kernel_pkru);
  errno = saved_errno;
}

/* ---- set-up (not inside a signal) ---------------------------------------------------------------------------- */

void trap_probe_platform(void) {
  trap_arena.shared.keys = pkeys_supported();
  context_probe(&trap_arena.shared.machine);
}

static bool is_ours(const struct sigaction *action) {
  return (action->sa_flags & SA_SIGINFO) &&
         action->sa_sigaction == (void (*)(int, siginfo_t *, void *))(uintptr_t)trap_handler_entry;
}

static bool same_action(const struct sigaction *a, const struct sigaction *b) {
  return a->sa_flags == b->sa_flags && (void *)a->sa_sigaction == (void *)b->sa_sigaction &&
         memcmp(&a->sa_mask, &b->sa_mask, 8) == 0;
}

/* The entry for a handler found in our place: an old one that is back, or a new one. 0 when there is no room. */
static uint32_t previous_entry(int signal, const struct sigaction *action) {
  struct trap_shared *shared = &trap_arena.shared;
  for (uint32_t i = 1; i < PREVIOUS_COUNT; i++) {
    struct trap_previous *entry = &shared->before.previous[i];
    if (entry->signal == (uint32_t)signal && same_action(&entry->action, action)) return i;
    if (entry->signal != 0) continue;
    entry->action = *action;
    entry->earlier = atomic_load_explicit(&shared->before.latest[signal], memory_order_relaxed);
    entry->signal = (uint32_t)signal;
    return i;
  }
  return 0;
}

int trap_handlers_install(void) {
  for (size_t i = 0; i < sizeof handled_signals / sizeof *handled_signals; i++) {
    int signal = handled_signals[i];
    struct sigaction action, before;
    if (sigaction(signal, NULL, &before) != 0) return -errno;
    if (is_ours(&before)) continue;
    uint32_t link = previous_entry(signal, &before);
    if (link == 0) return -ENOSPC;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = (void (*)(int, siginfo_t *, void *))(uintptr_t)trap_handler_entry;
    /* SIGINFO: address, code and key. ONSTACK: a stack overflow leaves no stack to run on. NODEFER: a fault in here
     * must reach us, not kill silently. */
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    /* RESTART where a sent signal would not have interrupted a system call before: it was ignored, or its handler said
     * so. */
    if ((before.sa_flags & SA_RESTART) || (!(before.sa_flags & SA_SIGINFO) && before.sa_handler == SIG_IGN))
      action.sa_flags |= SA_RESTART;
    /* Everything else waits: a VM's own handler has no business on a thread between a callout and its failure. */
    sigfillset(&action.sa_mask);
    for (size_t j = 0; j < sizeof handled_signals / sizeof *handled_signals; j++)
      if (handled_signals[j] != SIGABRT)
        sigdelset(&action.sa_mask, handled_signals[j]); /* a blocked fault would kill silently */
    atomic_store_explicit(&trap_arena.shared.before.latest[signal], link,
                          memory_order_release); /* before it can be asked for */
    if (sigaction(signal, &action, NULL) != 0) return -errno;
  }
  return 0;
}
