/*
 * judge_linux_x86_64.c: what becomes of a system call that raised SIGSYS (filter.h). Runs inside a signal, under the
 * rules of inside_linux.c, and with one more: what the call points at is the callee's, and is copied by trap_peek
 * alone.
 *
 * A call that passes is made by the callee itself. The context goes on at one of the trap_pass* of calls_x86_64.S, with
 * the callee's rights, mask and registers. So it blocks, is interrupted and is restarted as without the filter.
 *
 * syscalls(2), clone(2), sigreturn(2), proc(5); arch/x86/include/uapi/asm/prctl.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/audit.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#include "calls.h"
#include "context.h"
#include "dispatch.h"
#include "subjects_linux_x86_64.h"

#ifndef SYS_USER_DISPATCH
#define SYS_USER_DISPATCH 2
#endif
#define ARCH_SET_GS_NUMBER 0x1001
#define ARCH_SET_FS_NUMBER 0x1002
#define CLONE_VM_FLAG 0x100u
#define CLONE_VFORK_FLAG 0x4000u
#define CLONE_THREAD_FLAG 0x10000u

/* Signals that the trap handles: install_linux.c. */
static bool handled(uint64_t signal) {
  static const uint8_t signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGXFSZ, SIGXCPU};
  for (size_t i = 0; i < sizeof signals; i++)
    if (signals[i] == signal) return true;
  return false;
}

/* One call, and who made it. */
struct call {
  struct trap_system_call seen;
  ucontext_t *uc;
  struct trap_slot *slot; /* NULL: a thread that was never attached */
  bool may_fail;          /* there is a callout that can fail, if it is this thread's */
};

/* The callout is this thread's. A callee can start a thread that shares thread-local storage with its maker, and so the
 * slot that was found there; a child that it forks has a copy. Costs a system call: only where the answer matters. */
static bool in_callout(const struct call *call) {
  return call->may_fail && call->slot != NULL && call->slot->thread_id == trap_call_tid();
}

/* ---- looking at the callee's memory ---------------------------------------------------------------------------- */

static bool peek(void *to, uint64_t from, size_t bytes) {
  return trap_peek(to, (const void *)(uintptr_t)from, bytes) == 0;
}
/* With the callee's own rights: it shall not have the handler write for it. */
static bool poke(const struct call *call, uint64_t to, const void *from, size_t bytes) {
  bool keys = pkeys_supported();
  uint32_t ours = 0;
  if (keys) {
    ours = pkeys_rdpkru();
    pkeys_wrpkru(trap_context_rights(call->uc));
  }
  uint64_t left = trap_peek((void *)(uintptr_t)to, from, bytes);
  if (keys) pkeys_wrpkru(ours);
  return left == 0;
}

/* ---- memory that is ours --------------------------------------------------------------------------------------- */

static bool meets(uint64_t address, uint64_t bytes, uint64_t from, uint64_t to) {
  uint64_t end = address + bytes;
  if (end < address) end = UINT64_MAX;
  return bytes > 0 && address < to && from < end;
}
static bool meets_pages(uint64_t address, uint64_t bytes, const void *from, const void *to) {
  const uint64_t page = PKEYS_PAGE;
  return meets(address, bytes, (uint64_t)(uintptr_t)from & ~(page - 1),
               ((uint64_t)(uintptr_t)to + page - 1) & ~(page - 1));
}

/* Images, loans, the registry; the trap's state, selectors, code; the stacks that a recovery needs. */
static bool is_ours(const struct call *call, uint64_t address, uint64_t bytes) {
  const uint64_t page = PKEYS_PAGE, selectors = SLOT_COUNT * SELECTOR_BYTES;
  uint64_t end = address + bytes < address ? UINT64_MAX : address + bytes;
  address &= ~(page - 1);
  bytes = ((end + page - 1 < end ? end : end + page - 1) & ~(page - 1)) - address; /* as the kernel rounds it */
  if (pkeys_overlaps(address, bytes) || meets_pages(address, bytes, &trap_arena, &trap_arena + 1) ||
      meets_pages(address, bytes, trap_gates_begin, trap_callback_code + (size_t)CALLBACK_COUNT * THUNK_CODE_BYTES) ||
      meets_pages(address, bytes, trap_calls_begin, trap_peek_end) ||
      meets_pages(address, bytes, trap_selector_blocked, trap_selector_blocked + 1))
    return true;
  const struct trap_filter *filter = &trap_arena.shared.filter;
  if (filter->written != 0 && (meets(address, bytes, filter->written, filter->written + selectors) ||
                               meets(address, bytes, filter->read, filter->read + selectors)))
    return true;
  const struct trap_slot *slot = call->slot;
  return slot != NULL && (meets(address, bytes, slot->stack_base, slot->stack_base + slot->stack_map_bytes) ||
                          meets(address, bytes, slot->alternate_base, slot->alternate_base + slot->alternate_bytes));
}

static bool is_our_key(uint64_t key) {
  const struct trap_shared *shared = &trap_arena.shared;
  return key > 0 && key < PKEYS_KEYS && ((~shared->keep | shared->pool) & pkru_field((int)key)) != 0;
}

/* ---- how a call goes on ---------------------------------------------------------------------------------------- */

static greg_t *registers(const struct call *call) { return call->uc->uc_mcontext.gregs; }

static enum trap_judgement pass_by(const struct call *call, const char *how, uint64_t r11) {
  greg_t *r = registers(call);
  r[REG_RCX] = r[REG_RIP];
  r[REG_R11] = (greg_t)r11;
  r[REG_RIP] = (greg_t)(uintptr_t)how;
  return TRAP_GOES_ON;
}
static enum trap_judgement pass(const struct call *call) { return pass_by(call, trap_pass, 0); }

static enum trap_judgement answer(const struct call *call, long result) {
  registers(call)[REG_RAX] = result;
  return TRAP_GOES_ON;
}

static enum trap_judgement refuse(const struct call *call) {
  atomic_fetch_add_explicit(&trap_arena.shared.filter.refused, 1, memory_order_relaxed);
  if (in_callout(call) && trap_arena.shared.filter.refusal == TRAP_REFUSE_FAIL) return TRAP_CALL_FAILS;
  return answer(call, -EPERM);
}

static enum trap_judgement refuse_if(const struct call *call, bool wrong) { return wrong ? refuse(call) : pass(call); }

/* ---- calls that need more than a look at their arguments ------------------------------------------------------- */

static enum trap_judgement judge_protection(const struct call *call) {
  const uint64_t *a = call->seen.arguments;
  bool keyed = call->seen.number == SYS_pkey_mprotect && is_our_key(a[3]);
  if (keyed || is_ours(call, a[0], a[1])) return refuse(call);
  if (!(a[2] & PROT_EXEC) || trap_arena.shared.filter.code) return pass(call);
  return refuse_if(call, (a[2] & PROT_WRITE) != 0 || trap_writes_rights(a[0], a[1]));
}

static enum trap_judgement judge_mapping(const struct call *call) {
  const uint64_t *a = call->seen.arguments;
  bool replaces = (a[3] & MAP_FIXED) != 0 && (a[3] & MAP_FIXED_NOREPLACE) == 0;
  if (replaces && is_ours(call, a[0], a[1])) return refuse(call);
  if (!(a[2] & PROT_EXEC) || trap_arena.shared.filter.code) return pass(call);
  return a[2] & PROT_WRITE ? refuse(call) : pass_by(call, trap_pass_map, 0);
}

static enum trap_judgement judge_remapping(const struct call *call) {
  const uint64_t *a = call->seen.arguments;
  return refuse_if(call, is_ours(call, a[0], a[1] != 0 ? a[1] : 1) || is_ours(call, a[0], a[2]) ||
                             ((a[3] & MREMAP_FIXED) && is_ours(call, a[4], a[2])));
}

static enum trap_judgement judge_opening(const struct call *call, uint64_t flags) {
  return (flags & O_ACCMODE) == O_RDONLY ? pass(call) : pass_by(call, trap_pass_open, 0);
}

static enum trap_judgement judge_clone(const struct call *call) {
  uint64_t flags = call->seen.arguments[0], stack = call->seen.arguments[1];
  if ((flags & CLONE_THREAD_FLAG) && !trap_arena.shared.filter.threads) return refuse(call);
  if (stack != 0) return pass_by(call, trap_pass_thread, stack);
  if (!(flags & CLONE_VM_FLAG)) return pass_by(call, trap_pass_fork, 0);
  if (flags & CLONE_VFORK_FLAG) return pass_by(call, trap_pass_fork, flags & ~(uint64_t)CLONE_VM_FLAG);
  return refuse(call); /* on the same stack at the same time */
}

/* Left out of every mask: a blocked SIGSYS ends the process at the next call, a blocked SIGTRAP lets a watched
 * instruction be executed. */
static uint64_t kept_open(void) {
  const uint64_t one = 1;
  return one << (SIGSYS - 1) | (trap_arena.shared.filter.watched_count > 0 ? one << (SIGTRAP - 1) : 0);
}

static enum trap_judgement judge_mask(const struct call *call) {
  const uint64_t *a = call->seen.arguments;
  uint64_t now, set;
  memcpy(&now, &call->uc->uc_sigmask, sizeof now);
  if (a[3] != sizeof set) return answer(call, -EINVAL);
  if (a[1] != 0) {
    if (!peek(&set, a[1], sizeof set)) return answer(call, -EFAULT);
    uint64_t next = a[0] == SIG_BLOCK ? now | set : a[0] == SIG_UNBLOCK ? now & ~set : set;
    if (a[0] != SIG_BLOCK && a[0] != SIG_UNBLOCK && a[0] != SIG_SETMASK) return answer(call, -EINVAL);
    next &= ~kept_open();
    memcpy(&call->uc->uc_sigmask, &next, sizeof next);
  }
  return answer(call, a[2] != 0 && !poke(call, a[2], &now, sizeof now) ? -EFAULT : 0);
}

struct kernel_action {
  uint64_t handler, flags, restorer, mask;
};
static enum trap_judgement judge_action(const struct call *call) {
  const uint64_t *a = call->seen.arguments;
  struct kernel_action next, before;
  if (a[1] == 0) return pass(call);
  if (handled(a[0])) return refuse(call);
  if (!peek(&next, a[1], sizeof next)) return answer(call, -EFAULT);
  next.mask &= ~kept_open();
  long rc = TRAP_CALL(SYS_rt_sigaction, a[0], &next, &before, a[3]);
  if (rc == 0 && a[2] != 0 && !poke(call, a[2], &before, sizeof before)) rc = -EFAULT;
  return answer(call, rc);
}

/* A handler that interrupted the callout returns. Its frame gives rights back: no more than the callout has, unless the
 * gate itself was interrupted. */
static enum trap_judgement judge_sigreturn(const struct call *call) {
  ucontext_t frame;
  uint64_t sp = (uint64_t)registers(call)[REG_RSP];
  if (in_callout(call) && trap_arena.shared.keys) {
    uint32_t deny = ((const struct trap_entry *)(uintptr_t)trap_state(call->slot))->deny, rights;
    const uint64_t kernel_bytes = offsetof(ucontext_t, uc_sigmask) + 8;
    if (!peek(&frame, sp, kernel_bytes)) return refuse(call);
    uint64_t pc = trap_context_pc(&frame), first = (uint64_t)(uintptr_t)trap_gates_begin,
             last = (uint64_t)(uintptr_t)trap_callback_code + (uint64_t)CALLBACK_COUNT * THUNK_CODE_BYTES;
    uint32_t offset = trap_arena.shared.machine.pkru_offset;
    uint64_t area = (uint64_t)(uintptr_t)frame.uc_mcontext.fpregs;
    bool known = area != 0 && offset != 0 && peek(&rights, area + offset, sizeof rights);
    uint64_t features = 0;
    if (known && peek(&features, area + 512, sizeof features) && !(features & (1u << 9))) rights = 0;
    bool more = !known || !trap_rights_deny(rights, deny);
    if (more && pc - first >= last - first) return refuse(call);
  }
  uint64_t mask;
  const uint64_t mask_at = sp + offsetof(ucontext_t, uc_sigmask);
  if (peek(&mask, mask_at, sizeof mask) && (mask & kept_open())) {
    mask &= ~kept_open();
    (void)poke(call, mask_at, &mask, sizeof mask);
  }
  return pass_by(call, trap_pass_sigreturn, 0);
}

static enum trap_judgement judge_control(const struct call *call) {
  switch (call->seen.arguments[0]) {
    case 59: /* PR_SET_SYSCALL_USER_DISPATCH */
    case PR_SET_MM:
    case PR_SET_PTRACER: return refuse(call);
    default: return pass(call);
  }
}

/* Calls that pass only in a way of their own, the VM's too. */
static bool how_it_passes(uint64_t number) {
  return number == SYS_rt_sigreturn || number == SYS_clone || number == SYS_clone3 || number == SYS_fork ||
         number == SYS_vfork;
}

static enum trap_judgement judge(const struct call *call) {
  const struct trap_filter *filter = &trap_arena.shared.filter;
  const uint64_t *a = call->seen.arguments, number = call->seen.number;
  enum trap_call_verdict verdict = filter->judge != NULL ? filter->judge(&call->seen, filter->context)
                                                         : TRAP_CALL_DEFAULT;
  if (number >= sizeof subjects) return verdict == TRAP_CALL_ALLOW ? pass(call) : refuse(call); /* x32, i386 too */
  if (verdict == TRAP_CALL_DEFAULT) verdict = (enum trap_call_verdict)filter->rules[number];
  if (verdict == TRAP_CALL_REFUSE) return refuse(call);
  enum subject subject = (enum subject)subjects[number];
  if (verdict == TRAP_CALL_ALLOW && subject < CREATING_THREAD) return pass(call);
  switch (subject) {
    case NOTHING: return pass(call);
    case NEVER: return refuse_if(call, verdict != TRAP_CALL_ALLOW);
    case RANGE: return refuse_if(call, is_ours(call, a[0], a[1]));
    case PROTECTION: return judge_protection(call);
    case MAPPING: return judge_mapping(call);
    case REMAPPING: return judge_remapping(call);
    case KEY: return refuse_if(call, is_our_key(a[0]));
    case OPENING_1: return judge_opening(call, a[1]);
    case OPENING_2: return judge_opening(call, a[2]);
    case OPENING: return judge_opening(call, O_WRONLY);
    case WRITING: return refuse_if(call, trap_is_memory_file((int)a[0])); /* opened before, or sent by a socket */
    case CREATING_THREAD: return judge_clone(call);
    case CLONE3: return answer(call, -ENOSYS); /* the C library then takes clone, whose arguments are in registers */
    case FORKING: return pass_by(call, trap_pass_fork, 0);
    case VFORKING:
      registers(call)[REG_RAX] = SYS_clone;
      return pass_by(call, trap_pass_fork, CLONE_VFORK_FLAG | SIGCHLD);
    case MASK: return judge_mask(call);
    case ACTION: return judge_action(call);
    case SIGRETURN: return judge_sigreturn(call);
    case ALTERNATE: return refuse_if(call, a[0] != 0 && verdict != TRAP_CALL_ALLOW && in_callout(call));
    case TRACE: return refuse_if(call, a[0] != PTRACE_TRACEME && verdict != TRAP_CALL_ALLOW);
    case CONTROL: return verdict == TRAP_CALL_ALLOW ? pass(call) : judge_control(call);
    case ARCHITECTURE:
      return refuse_if(call, (a[0] == ARCH_SET_FS_NUMBER || a[0] == ARCH_SET_GS_NUMBER) && in_callout(call));
    case ENDING: return refuse_if(call, verdict != TRAP_CALL_ALLOW && in_callout(call));
  }
  return refuse(call);
}

/* ---- results that the handler is asked about ------------------------------------------------------------------- */

/* The result lies where the stack pointer points: ask_* of calls_x86_64.S. */
static enum trap_judgement judge_result(const struct call *call, bool opened) {
  uint64_t place = (uint64_t)registers(call)[REG_RSP];
  long result;
  if (!peek(&result, place, sizeof result)) return TRAP_GOES_ON;
  if (result < 0 && result > -4096) return TRAP_GOES_ON;
  bool wrong = opened ? trap_is_memory_file(result)
                      : trap_writes_rights((uint64_t)result, (uint64_t)registers(call)[REG_RSI]);
  if (!wrong) return TRAP_GOES_ON;
  if (opened) (void)TRAP_CALL(SYS_close, result, 0, 0, 0);
  else (void)TRAP_CALL(SYS_munmap, result, registers(call)[REG_RSI], 0, 0);
  long refused = -EPERM;
  (void)poke(call, place, &refused, sizeof refused);
  atomic_fetch_add_explicit(&trap_arena.shared.filter.refused, 1, memory_order_relaxed);
  bool fails = in_callout(call) && trap_arena.shared.filter.refusal == TRAP_REFUSE_FAIL;
  if (fails) { /* for the record: the call, and where it was made */
    registers(call)[REG_RAX] = opened ? SYS_openat : SYS_mmap;
    registers(call)[REG_RSP] += 8;
    registers(call)[REG_RIP] = (greg_t)(uintptr_t)trap_pass;
  }
  return fails ? TRAP_CALL_FAILS : TRAP_GOES_ON;
}

/* Whether exit_group would be refused (filter_linux.c, before_exit). If so, it is the call in the record. */
static enum trap_judgement judge_exit(struct call *call, bool judged) {
  greg_t pc = registers(call)[REG_RIP];
  call->seen.number = SYS_exit_group;
  registers(call)[REG_RAX] = SYS_exit_group;
  if (judged && judge(call) == TRAP_CALL_FAILS) return TRAP_CALL_FAILS;
  registers(call)[REG_RIP] = pc;
  return answer(call, 0);
}

/* ---- the handler's question ------------------------------------------------------------------------------------ */

enum trap_judgement trap_judge_call(const siginfo_t *info, ucontext_t *uc, struct trap_slot *slot, bool judged,
                                    bool may_fail) {
  bool dispatched = info->si_code == SYS_USER_DISPATCH;
  if (!dispatched && info->si_errno != SECCOMP_DATA_OURS) return TRAP_NOT_OURS;
  const greg_t *r = uc->uc_mcontext.gregs;
  struct call call = {.uc = uc, .slot = slot, .may_fail = may_fail};
  call.seen = (struct trap_system_call){
      .number = (uint64_t)r[REG_RAX],
      .arguments = {(uint64_t)r[REG_RDI], (uint64_t)r[REG_RSI], (uint64_t)r[REG_RDX], (uint64_t)r[REG_R10],
                    (uint64_t)r[REG_R8], (uint64_t)r[REG_R9]},
      .pc = (uint64_t)r[REG_RIP],
  };
  call.seen.in_callout = trap_arena.shared.filter.judge != NULL && in_callout(&call);
  if (info->si_arch != AUDIT_ARCH_X86_64) call.seen.number |= (uint64_t)1 << 32; /* int 0x80: other numbers */
  if (call.seen.number == CALL_ASK_OPENED || call.seen.number == CALL_ASK_MAPPED)
    return judge_result(&call, call.seen.number == CALL_ASK_OPENED);
  if (call.seen.number == CALL_ASK_EXIT) return judge_exit(&call, judged);
  atomic_fetch_add_explicit(&trap_arena.shared.filter.judged, 1, memory_order_relaxed);
  return judged || how_it_passes(call.seen.number) ? judge(&call) : pass(&call);
}
