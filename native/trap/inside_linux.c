/*
 * inside_linux.c: the code that runs inside a signal. Installing it is install_linux.c's.
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

#include "calls.h"
#include "context.h"
#ifdef T_SELECTOR
#include "dispatch.h"
#endif

#define BYSTANDER_LIMIT_NS 200000000u

/* Thread-local, on key 0: usable before the arena is. Magic: a callee that zeroes or fills it changes nothing. */
#define HANDLING_MAGIC 0x7472617068616e64u
#define MOVING_MAGIC 0x747261706d6f7665u /* the signal frame is being moved to the interrupted stack */
static __thread volatile uint64_t handling __attribute__((tls_model("initial-exec")));
/* Set by the unwind barrier; a hint for the record only. */
__thread volatile uint32_t trap_unwinding __attribute__((tls_model("initial-exec"), visibility("hidden")));

uint32_t trap_handler(int signal, siginfo_t *info, void *context, struct trap_pass *pass, uint64_t entry_sp)
    __attribute__((visibility("hidden")));

/* One signal, as the handler finds it. */
struct arrival {
  int signal;
  const siginfo_t *info;
  ucontext_t *uc;
  struct trap_slot *slot; /* NULL: this thread was never attached */
  bool in_callout;
  bool fault; /* I5: raised by the kernel for this thread's own instruction */
};

/* ---- dying --------------------------------------------------------------------------------------------------- */

__attribute__((noreturn)) static void die_at(const char *why, int signal, uint64_t pc, uint64_t address) {
  char text[512];
  size_t at = trap_last_words(text, sizeof text, why, "signal", (uint64_t)signal, pc, address);
  (void)TRAP_CALL(SYS_write, STDERR_FILENO, text, at, 0);
  trap_call_die(signal);
}

void trap_die(const char *why, int signal) { die_at(why, signal, 0, 0); }

/* ---- whose fault --------------------------------------------------------------------------------------------- */

/* I5: raised by the kernel for this thread's own instruction. SI_USER, SI_TKILL, SI_QUEUE and the like are not
 * positive; a memory error found elsewhere and a perf event are not the instruction's. */
static bool synchronous(int signal, const siginfo_t *info) {
  if (info->si_code <= 0) return false;
  if (signal == SIGBUS && info->si_code == BUS_MCEERR_AO) return false;
  if (signal == SIGTRAP && info->si_code == TRAP_PERF) return trap_watched(signal, info);
  if (signal == SIGABRT) return false;
  return true;
}

/* I5's exception: this thread sent SIGABRT to itself, and is just behind the system call that did. Another thread's
 * pthread_kill looks the same in siginfo but not in the registers. */
static bool self_abort(int signal, const siginfo_t *info, const ucontext_t *uc) {
  if (signal != SIGABRT || info->si_code != SI_TKILL || info->si_pid != trap_call_pid()) return false;
  return trap_context_aborts(uc, trap_call_pid(), trap_call_tid());
}

/* A limit that the kernel tells of by a signal: SIGXFSZ from the callee's own write past RLIMIT_FSIZE, which siginfo
 * shows as sent by this process itself; SIGXCPU when the process has used its CPU time up while the callee runs. */
static bool own_limit(const struct arrival *a) {
  if (a->signal == SIGXFSZ)
    return (a->info->si_code == SI_KERNEL || (a->info->si_code == SI_USER && a->info->si_pid == trap_call_pid())) &&
           trap_context_answered(a->uc, -EFBIG);
  return a->signal == SIGXCPU && a->info->si_code == SI_KERNEL;
}

/* SIGXCPU comes at any instruction, also those that close and open the image for a callout. */
static bool inside_gate(const struct arrival *a) {
  const struct trap_frame *frame = &a->slot->frames[a->slot->level];
  const struct trap_entry *entry = (const struct trap_entry *)(uintptr_t)trap_state(a->slot);
  uint64_t first = (uint64_t)(uintptr_t)trap_gates_begin, last = (uint64_t)(uintptr_t)trap_gates_end;
  uint64_t sp = trap_context_sp(a->uc);
  bool by_hooks = (frame->flags & FRAME_SLOW) != 0;
  bool on_vm_stack = sp <= frame->sp && frame->sp - sp < (64u << 10);
  return trap_context_pc(a->uc) - first < last - first || a->slot->recovering || (frame->flags & FRAME_LEAVING) ||
         (by_hooks && (on_vm_stack || trap_on_caller_stack(entry)));
}

/* ---- the record ---------------------------------------------------------------------------------------------- */

static void fill(struct trap_fault *fault, int signal, const siginfo_t *info, ucontext_t *uc) {
  fault->signal = signal;
  fault->code = info->si_code;
  fault->pc = trap_context_pc(uc);
  trap_context_describe(fault, uc);
  fault->pkru = trap_context_rights(uc);
  if (signal == SIGABRT) {
    fault->flags |= TRAP_FAULT_ABORT;
    if (trap_unwinding) fault->flags |= TRAP_FAULT_UNWIND;
  } else if (signal != SIGSYS && signal != SIGXFSZ && signal != SIGXCPU) {
    fault->address = (uint64_t)(uintptr_t)info->si_addr;
  }
#ifdef T_SELECTOR
  /* A call that the callee made by way of ours. */
  uint64_t way = (uint64_t)(uintptr_t)trap_calls_begin, end = (uint64_t)(uintptr_t)trap_calls_end;
  if (fault->pc - way < end - way)
    (void)trap_peek(&fault->pc, (const void *)(uintptr_t)trap_context_sp(uc), sizeof fault->pc);
#endif
  trap_unwinding = 0;
  fault->access = trap_context_access(signal, info, uc);
  if (signal == SIGSEGV && info->si_code == SEGV_PKUERR) fault->pkey = (int32_t)info->si_pkey;
}

/* ---- recovering ---------------------------------------------------------------------------------------------- */

static void recover(const struct arrival *a) {
  struct trap_slot *slot = a->slot;
  struct trap_fault *fault = trap_record_begin(slot);
  fill(fault, a->signal, a->info, a->uc);
  trap_record_end(slot, fault, trap_context_sp(a->uc), a->signal == SIGSEGV || a->signal == SIGBUS);
  trap_context_land(a->uc, &slot->frames[slot->level], pkeys_seat_rights(&slot->seat, trap_context_rights(a->uc)));
  memcpy(&a->uc->uc_sigmask, &slot->platform.mask,
         8); /* I12. The kernel's set is 8 bytes, glibc's longer than the frame's field */
}

/* ---- passing on ---------------------------------------------------------------------------------------------- */

/*
 * Whom to pass on to, by index; 0: nobody was there. A handler that was put over ours and chains to us brings the frame
 * that it was passed, and gets the handler before itself. A frame that has been passed on says so in uc_link. The
 * kernel writes NULL there, and rt_sigreturn(2) does not look at it.
 */
static uint32_t next_link(const struct arrival *a) {
  const struct trap_handlers_before *before = &trap_arena.shared.before;
  for (uint32_t link = 1; link < PREVIOUS_COUNT; link++)
    if ((const void *)a->uc->uc_link == &before->previous[link] && before->previous[link].signal == (uint32_t)a->signal)
      return before->previous[link].earlier;
  return atomic_load_explicit(&before->latest[a->signal], memory_order_acquire);
}

/*
 * I5, as if we were not there, for stacks too: whether the previous handler would have run on the interrupted stack,
 * and our signal frame lies elsewhere. It would have without SA_ONSTACK; and with it on a thread that had no alternate
 * stack until it got ours.
 */
static bool ran_on_interrupted_stack(const struct arrival *a, const struct sigaction *previous, uint64_t entry_sp) {
  uint64_t low = (uint64_t)(uintptr_t)a->uc->uc_stack.ss_sp, bytes = a->uc->uc_stack.ss_size;
  if (entry_sp - low >= bytes) return false;              /* we run on the interrupted stack ourselves */
  if (trap_context_sp(a->uc) - low < bytes) return false; /* what was interrupted ran on the alternate stack */
  if (!(previous->sa_flags & (int)SA_ONSTACK)) return true;
  return a->slot != NULL && low == a->slot->alternate_base &&
         (a->slot->platform.previous_alternate.ss_flags & SS_DISABLE) != 0;
}

/* I5: as if we were not there. True: the handler's first instructions go on as *pass says. */
static bool pass_on(const struct arrival *a, struct trap_pass *pass, uint64_t entry_sp, uint32_t entry_pkru) {
  struct trap_shared *shared = &trap_arena.shared;
  atomic_fetch_add_explicit(&shared->passed_on, 1, memory_order_relaxed);
  int signal = a->signal;
  uint32_t link = next_link(a);
  struct sigaction previous = {.sa_handler = SIG_DFL};
  if (link != 0) previous = shared->before.previous[link].action;
  bool ignored = !(previous.sa_flags & SA_SIGINFO) && previous.sa_handler == SIG_IGN;
  bool by_default = !(previous.sa_flags & SA_SIGINFO) && previous.sa_handler == SIG_DFL;
  if (ignored && !a->fault) return false;
  if (by_default || ignored) { /* the kernel lets no thread ignore a fault of its own */
    trap_call_default(signal);
    if (!a->fault || signal == SIGTRAP || signal == SIGSYS)
      trap_call_resend(
          signal, a->info); /* a trap and a call do not repeat; blocked until we return or not, it ends the process */
    return false;
  }
  sigset_t mask = a->uc->uc_sigmask, before;
  memset((char *)&mask + 8, 0, sizeof mask - 8);
  sigorset(&mask, &mask, &previous.sa_mask);
  if (!(previous.sa_flags & SA_NODEFER)) sigaddset(&mask, signal);
  if (previous.sa_flags & (int)SA_RESETHAND) {
    struct sigaction reset = {.sa_handler = SIG_DFL};
    shared->before.previous[link].action = reset;
  }
  a->uc->uc_link = (ucontext_t *)(void *)&shared->before.previous[link];
  *pass = (struct trap_pass){.sp = entry_sp,
                             .handler = (uint64_t)(uintptr_t)previous.sa_sigaction,
                             .signal = (uint64_t)signal,
                             .info = (uint64_t)(uintptr_t)a->info,
                             .context = (uint64_t)(uintptr_t)a->uc};
  bool direct = trap_context_direct(a->info, a->uc, entry_sp);
  if (direct && ran_on_interrupted_stack(a, &previous, entry_sp)) {
    handling = MOVING_MAGIC;
    trap_context_move(pass);
  }
  handling = 0;
  if (trap_arena.shared.filter.way != TRAP_FILTER_NONE) sigdelset(&mask, SIGSYS); /* its calls may be judged */
  trap_call_mask(SIG_SETMASK, &mask, &before);
  if (pkeys_supported()) pkeys_wrpkru(entry_pkru);
  if (direct) return true; /* it is called, and returns to the kernel, in our place: returning gives the mask back */
  if (previous.sa_flags & SA_SIGINFO) previous.sa_sigaction(signal, (siginfo_t *)(uintptr_t)a->info, a->uc);
  else previous.sa_handler(signal);
  trap_call_mask(SIG_SETMASK, &before, NULL);
  return false;
}

/* ---- the decision -------------------------------------------------------------------------------------------- */

enum action {
  PASS_ON,             /* to the handler before */
  RECOVER,             /* the callout fails */
  GIVE_CALLOUT_RIGHTS, /* and let the instruction be tried again */
  GIVE_VM_RIGHTS,      /* the same */
  WAIT_UNTIL_OPEN,     /* then let the instruction be tried again */
  DIE_RECOVERING,
  GO_ON, /* a system call that passes or has been answered; a limit that is told again */
};

static bool allows(uint32_t rights, int key, enum trap_access access) {
  unsigned denied = pkru_rights(rights, key);
  return access == TRAP_ACCESS_WRITE ? denied == 0 : (denied & PKEYS_NO_ACCESS) == 0;
}

static uint32_t vm_rights(const struct arrival *a) {
  uint32_t rights = trap_context_rights(a->uc);
  return a->slot != NULL ? pkeys_seat_rights(&a->slot->seat, rights) : rights & trap_arena.shared.keep;
}
static uint32_t callout_rights(const struct arrival *a) {
  const struct trap_entry *entry = (const struct trap_entry *)(uintptr_t)trap_state(a->slot);
  uint32_t deny = entry->deny;
  if (a->slot->frames[a->slot->level].flags & FRAME_HOOKED) {
    struct pkeys_masks masks = pkeys_masks();
    deny |= entry->flags & TRAP_LENT ? masks.entered_lent : masks.entered;
  }
  return vm_rights(a) | deny;
}

/* The fields of all keys of ours. */
static uint32_t our_fields(void) { return ~trap_arena.shared.keep | trap_arena.shared.pool; }

/* A denied access to a key of ours, and the frame has room for other rights. */
static bool denied_by_our_key(const struct arrival *a) {
  return a->fault && a->signal == SIGSEGV && a->info->si_code == SEGV_PKUERR &&
         (our_fields() & pkru_field((int)a->info->si_pkey)) != 0 && trap_context_has_rights(a->uc);
}

/*
 * The kernel gives every signal handler PKRU 0x55555554. In a callout that is neither the gate's doing nor the
 * callee's: a profiler's handler, whose unwinder reads the gate's frames (they lie behind a key of ours); or a callee
 * that left a handler of its own by siglongjmp, which keeps the handler's PKRU; then the gate's own way out too. What
 * the callout's rights allow is let through. With those in place the same fault comes no second time: what they deny
 * fails the callout.
 */
static bool callout_rights_lost(const struct arrival *a) {
  if (!a->in_callout || !denied_by_our_key(a)) return false;
  int key = (int)a->info->si_pkey;
  enum trap_access access = trap_context_access(a->signal, a->info, a->uc);
  return !allows(trap_context_rights(a->uc), key, access) && allows(callout_rights(a), key, access);
}

/* A VM thread that is older than a key has its rights opened now. A thread that was never attached is not the VM's,
 * unless it is just coming in (I13). A thunk reads the table before the gate could attach the thread, and so does a
 * callback thunk that goes straight through. The callback gate lies just before the thunks. */
static bool vm_rights_lost(const struct arrival *a) {
  uint64_t first = (uint64_t)(uintptr_t)trap_callback_gate,
           last = (uint64_t)(uintptr_t)trap_thunk_code + (uint64_t)THUNK_COUNT * THUNK_CODE_BYTES;
  bool entering = trap_context_pc(a->uc) - first < last - first;
  return !a->in_callout && denied_by_our_key(a) && (a->slot != NULL || entering) &&
         trap_context_rights(a->uc) != vm_rights(a);
}

/* VM code met the pooled image that it has entered, and that is not resident: it is loaded now. While it is not, its
 * pages are closed by their access; pages without access carry a key of ours too. */
static bool entered_image_loaded(const struct arrival *a) {
  return !a->in_callout && a->slot != NULL && a->fault && a->signal == SIGSEGV && trap_context_has_rights(a->uc) &&
         (a->info->si_code == SEGV_ACCERR || a->info->si_code == SEGV_PKUERR) &&
         pkeys_seat_fault(&a->slot->seat, (uintptr_t)a->info->si_addr);
}

/* A VM thread met an image that mprotect has closed for somebody else's callout. A thread that never attached is not
 * the VM's (I13): a callee's own, say. */
static bool image_may_be_closed(const struct arrival *a) {
  return !a->in_callout && a->slot != NULL && a->fault && a->signal == SIGSEGV && a->info->si_code == SEGV_ACCERR;
}

/* I12: a VM's handler that interrupted the callout and runs on the alternate stack is not the callee. */
static bool on_alternate_stack(const struct arrival *a) {
  uint64_t sp = trap_context_sp(a->uc);
  return sp - a->slot->alternate_base < a->slot->alternate_bytes ||
         sp - (uint64_t)(uintptr_t)a->uc->uc_stack.ss_sp < a->uc->uc_stack.ss_size;
}

/* A child that the callee forked is in its state too, but must not come back as a second VM. */
static bool forked(void) { return trap_call_pid() != trap_arena.shared.process; }

static bool callees_fault(const struct arrival *a) {
  if (!a->in_callout || !(a->fault || self_abort(a->signal, a->info, a->uc) || own_limit(a))) return false;
  return !forked() && !on_alternate_stack(a) &&
         trap_policy_takes((const struct trap_entry *)(uintptr_t)trap_state(a->slot));
}

/* A watched instruction of the VM's: of the hooks too, which run in the callout's state. */
static bool watched_goes_on(const struct arrival *a) {
  return !a->in_callout || (a->slot->frames[a->slot->level].flags & FRAME_HOOKING) || on_alternate_stack(a) ||
         !trap_watch_refuses(a->info, a->uc);
}

/* A system call that was not made (filter.h). */
static enum action judge(const struct arrival *a) {
#ifdef T_SELECTOR
  const struct trap_entry *entry = (const struct trap_entry *)(uintptr_t)(a->in_callout ? trap_state(a->slot) : 0);
  bool in_filtered = a->in_callout && (entry->flags & TRAP_FILTER) != 0;
  bool judged = a->slot == NULL || in_filtered || forked();
  bool may_fail = in_filtered && !on_alternate_stack(a) && trap_policy_takes(entry);
  switch (trap_judge_call(a->info, a->uc, a->slot, judged, may_fail)) {
    case TRAP_GOES_ON: return GO_ON;
    case TRAP_CALL_FAILS: return RECOVER;
    case TRAP_NOT_OURS: break;
  }
#endif
  return callees_fault(a) ? RECOVER : PASS_ON;
}

static enum action decide(const struct arrival *a) {
  if (trap_watched(a->signal, a->info) && watched_goes_on(a)) return GO_ON;
  if (a->signal == SIGSYS && a->fault) return judge(a);
  if (a->signal == SIGXCPU && a->in_callout && !forked() && own_limit(a) && inside_gate(a)) return GO_ON;
  if (callout_rights_lost(a)) return GIVE_CALLOUT_RIGHTS;
  if (a->slot != NULL && a->slot->recovering && a->fault) return DIE_RECOVERING;
  if (callees_fault(a)) return RECOVER;
  if (entered_image_loaded(a)) return GIVE_VM_RIGHTS;
  if (vm_rights_lost(a)) return GIVE_VM_RIGHTS;
  if (image_may_be_closed(a)) return WAIT_UNTIL_OPEN;
  return PASS_ON;
}

/* ---- the handler --------------------------------------------------------------------------------------------- */

/* 0: the handler returns. 1: it goes on as *pass says (gate_*.S). `entry_sp`: what it was entered with. */
uint32_t trap_handler(int signal, siginfo_t *info, void *context, struct trap_pass *pass, uint64_t entry_sp) {
  int saved_errno = errno;
  bool keys = pkeys_supported();
  uint32_t entry_pkru = 0;
  if (keys) { /* I6: rights first; all of them, since the mask of ours lies behind one */
    entry_pkru = pkeys_rdpkru();
    pkeys_wrpkru(0);
  }
  struct arrival a = {.signal = signal, .info = info, .uc = context};
#ifdef T_SELECTOR
  /* The handler itself, at memory of the callee's that it may not touch. */
  uint64_t peeking = (uint64_t)(uintptr_t)trap_peek_begin;
  if ((signal == SIGSEGV || signal == SIGBUS) &&
      trap_context_pc(a.uc) - peeking < (uint64_t)(uintptr_t)trap_peek_end - peeking) {
    trap_context_go_to(a.uc, trap_peek_end);
    if (keys) pkeys_wrpkru(entry_pkru);
    return 0;
  }
#endif
  bool watched = trap_watched(signal, info); /* the handler itself may bind a function late */
  if ((handling == HANDLING_MAGIC || handling == MOVING_MAGIC) && (watched || !synchronous(signal, info))) {
    if (!watched) trap_call_postpone(signal, info, &a.uc->uc_sigmask);
    if (keys) pkeys_wrpkru(entry_pkru);
    errno = saved_errno;
    return 0;
  }
  uint64_t pc = trap_context_pc(a.uc), address = (uint64_t)(uintptr_t)info->si_addr;
  /* Judging a call touches nothing that can fault, and may be done on two threads that share their storage. */
  bool call = signal == SIGSYS && synchronous(signal, info);
  if (handling == MOVING_MAGIC)
    die_at("the handler that was there before runs on the interrupted stack, and that has no room", signal, pc,
           address);
  if (handling == HANDLING_MAGIC) die_at("a fault inside the fault handler", signal, pc, address);
  if (!call) handling = HANDLING_MAGIC;
  a.slot = trap_slot_find();
  a.in_callout = a.slot != NULL && trap_state_is_callout(trap_state(a.slot));
  a.fault = synchronous(signal, info);

  bool handed_over = false, pass_it_on = false;
  switch (decide(&a)) {
    case RECOVER: recover(&a); break;
    case GIVE_CALLOUT_RIGHTS: trap_context_set_rights(a.uc, callout_rights(&a)); break;
    case GIVE_VM_RIGHTS: trap_context_set_rights(a.uc, vm_rights(&a)); break;
    case WAIT_UNTIL_OPEN: pass_it_on = !pkeys_bystander_wait((uintptr_t)info->si_addr, BYSTANDER_LIMIT_NS); break;
    case DIE_RECOVERING: die_at("a fault while a callout was being failed", signal, pc, address);
    case GO_ON: break;
    case PASS_ON: pass_it_on = true;
  }
  if (pass_it_on) handed_over = pass_on(&a, pass, entry_sp, entry_pkru);
  if (!call) handling = 0;
  errno = saved_errno;
  /* A handler that chains to us goes on with its rights; from ours, returning gives the interrupted ones. */
  if (keys) pkeys_wrpkru(entry_pkru);
  return handed_over;
}
