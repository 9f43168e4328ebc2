/*
 * context_linux_x86_64.c: the signal frame of Linux on x86-64. Runs inside a signal: the rules are in inside_linux.c.
 *
 * uapi/asm/sigcontext.h, arch/x86/kernel/signal.c; SDM vol. 1, 13 (XSAVE area); vol. 3A, 4.7 (page-fault error code).
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>

#include "context.h"

#define FLAG_TF 0x100u
#define FLAG_DF 0x400u
#define FLAG_NT 0x4000u
#define FLAG_AC 0x40000u
#define TRAPNO_PAGE_FAULT 14
#define ERROR_WRITE 2u
#define ERROR_FETCH 16u

uint64_t trap_context_pc(const ucontext_t *uc) { return (uint64_t)uc->uc_mcontext.gregs[REG_RIP]; }
uint64_t trap_context_sp(const ucontext_t *uc) { return (uint64_t)uc->uc_mcontext.gregs[REG_RSP]; }
void trap_context_go_to(ucontext_t *uc, const void *where) {
  uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)where;
}
/* After SYSCALL rcx is the pc. */
bool trap_context_answered(const ucontext_t *uc, int result) {
  const greg_t *r = uc->uc_mcontext.gregs;
  return r[REG_RAX] == result && r[REG_RCX] == r[REG_RIP];
}

/*
 * The FXSAVE area of the frame, which is its start where the kernel uses XSAVE: 512 bytes; from 464 on the software's
 * own, struct _fpx_sw_bytes; behind it the XSAVE header, which begins with XSTATE_BV.
 */
#define FXSAVE_BYTES 512
#define FXSAVE_ALIGNMENT 64
#define SW_MAGIC 464    /* magic1: FP_XSTATE_MAGIC1 where an XSAVE image follows */
#define SW_BYTES 468    /* extended_size: of the whole image, with the magic2 behind it */
#define SW_FEATURES 472 /* xfeatures: which components it has */
#define XSTATE_BV 512   /* which of them are not in their initial state */
#define XSTATE_MAGIC 0x46505853u
#define XSTATE_PKRU ((uint64_t)1 << 9)

/* The first 304 bytes of a ucontext_t are the kernel's, up to the end of its 8-byte signal mask; glibc's is longer. */
#define KERNEL_CONTEXT_BYTES (offsetof(ucontext_t, uc_sigmask) + 8)
#define RED_ZONE_BYTES 128

static uint32_t word_at(const char *area, size_t offset) {
  uint32_t word;
  memcpy(&word, area + offset, sizeof word);
  return word;
}
static uint64_t long_at(const char *area, size_t offset) {
  uint64_t word;
  memcpy(&word, area + offset, sizeof word);
  return word;
}
/* Bytes of the floating-point state that the frame points to. */
static uint32_t state_bytes(const char *area) {
  return word_at(area, SW_MAGIC) == XSTATE_MAGIC ? word_at(area, SW_BYTES) : FXSAVE_BYTES;
}

/* PKRU in the XSAVE image of the frame; NULL when the frame has none (then the interrupted value was 0 or keys are
 * off). */
static uint32_t *frame_pkru(ucontext_t *uc, bool *present) {
  *present = false;
  uint32_t offset = trap_arena.shared.machine.pkru_offset;
  char *area = (char *)uc->uc_mcontext.fpregs;
  if (offset == 0 || area == NULL) return NULL;
  if (word_at(area, SW_MAGIC) != XSTATE_MAGIC || !(long_at(area, SW_FEATURES) & XSTATE_PKRU) ||
      word_at(area, SW_BYTES) < offset + sizeof(uint32_t))
    return NULL;
  *present = (long_at(area, XSTATE_BV) & XSTATE_PKRU) != 0;
  return (uint32_t *)(area + offset);
}

uint32_t trap_context_rights(ucontext_t *uc) {
  bool present;
  uint32_t *pkru = frame_pkru(uc, &present);
  return pkru != NULL && present ? *pkru : 0;
}

bool trap_context_has_rights(ucontext_t *uc) {
  bool present;
  return frame_pkru(uc, &present) != NULL;
}

void trap_context_set_rights(ucontext_t *uc, uint32_t rights) {
  bool present;
  uint32_t *pkru = frame_pkru(uc, &present);
  *pkru = rights;
  char *area = (char *)uc->uc_mcontext.fpregs;
  uint64_t components = long_at(area, XSTATE_BV) | XSTATE_PKRU;
  memcpy(area + XSTATE_BV, &components, sizeof components);
}

enum trap_access trap_context_access(int signal, const siginfo_t *info, const ucontext_t *uc) {
  (void)info;
  const greg_t *r = uc->uc_mcontext.gregs;
  if ((signal != SIGSEGV && signal != SIGBUS) || r[REG_TRAPNO] != TRAPNO_PAGE_FAULT) return TRAP_ACCESS_UNKNOWN;
  return r[REG_ERR] & ERROR_FETCH   ? TRAP_ACCESS_EXECUTE
         : r[REG_ERR] & ERROR_WRITE ? TRAP_ACCESS_WRITE
                                    : TRAP_ACCESS_READ;
}

/* After SYSCALL rcx is the pc, rdi rsi rdx are tgkill's arguments (or rdi rsi tkill's), rax its result 0. */
bool trap_context_aborts(const ucontext_t *uc, pid_t pid, pid_t tid) {
  const greg_t *r = uc->uc_mcontext.gregs;
  if (r[REG_RAX] != 0 || r[REG_RCX] != r[REG_RIP]) return false;
  bool tgkill = r[REG_RDI] == pid && r[REG_RSI] == tid && r[REG_RDX] == SIGABRT;
  bool tkill = r[REG_RDI] == tid && r[REG_RSI] == SIGABRT;
  return tgkill || tkill;
}

static const int register_order[] = {REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8,
                                     REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP, REG_EFL};

void trap_context_describe(struct trap_fault *fault, const ucontext_t *uc) {
  const greg_t *r = uc->uc_mcontext.gregs;
  fault->error_code = (uint64_t)r[REG_ERR];
  fault->trap_number = (uint64_t)r[REG_TRAPNO];
  for (size_t i = 0; i < sizeof register_order / sizeof *register_order; i++)
    fault->registers[i] = (uint64_t)r[register_order[i]];
}

void trap_context_land(ucontext_t *uc, struct trap_frame *frame, uint32_t rights) {
  greg_t *r = uc->uc_mcontext.gregs;
  r[REG_RBX] = (greg_t)frame->saved.rbx;
  r[REG_RBP] = (greg_t)frame->saved.rbp;
  r[REG_R12] = (greg_t)frame->saved.r12;
  r[REG_R13] = (greg_t)frame->saved.r13;
  r[REG_R14] = (greg_t)frame->saved.r14;
  r[REG_R15] = (greg_t)frame->saved.r15;
  r[REG_RSP] = (greg_t)frame->sp;
  r[REG_RDI] = (greg_t)(uintptr_t)frame;
  r[REG_RAX] = (greg_t)rights;
  r[REG_RCX] = 0;
  r[REG_RDX] = 0;
  r[REG_RIP] = (greg_t)(uintptr_t)(trap_arena.shared.keys ? trap_landing_keys : trap_landing);
  r[REG_EFL] &= ~(greg_t)(FLAG_DF | FLAG_TF | FLAG_AC | FLAG_NT); /* I7 */
}

/*
 * A signal frame: the address that the handler returns to, the context, siginfo; the floating-point state lies where
 * uc_mcontext says. rt_sigreturn(2) takes it from wherever the stack pointer is.
 */
#define FRAME_CONTEXT 8
#define FRAME_INFO (FRAME_CONTEXT + KERNEL_CONTEXT_BYTES)
#define SIGNAL_FRAME_BYTES (FRAME_INFO + sizeof(siginfo_t))

bool trap_context_direct(const siginfo_t *info, const ucontext_t *uc, uint64_t entry_sp) {
  return (uint64_t)(uintptr_t)uc == entry_sp + FRAME_CONTEXT && (uint64_t)(uintptr_t)info == entry_sp + FRAME_INFO;
}

/* As get_sigframe() of the kernel: below the red zone the floating-point state, then the frame, as if it were called.
 */
void trap_context_move(struct trap_pass *pass) {
  _Static_assert(KERNEL_CONTEXT_BYTES == 304 && sizeof(siginfo_t) == 128, "uapi/asm/ucontext.h, siginfo.h");
  const ucontext_t *uc = (const ucontext_t *)(uintptr_t)pass->context;
  const char *state = (const char *)uc->uc_mcontext.fpregs;
  uint64_t sp = trap_context_sp(uc) - RED_ZONE_BYTES;
  char *moved_state = NULL;
  if (state != NULL) {
    uint32_t bytes = state_bytes(state);
    sp = (sp - bytes) & ~(uint64_t)(FXSAVE_ALIGNMENT - 1);
    moved_state = (char *)(uintptr_t)sp;
    memcpy(moved_state, state, bytes);
  }
  sp = ((sp - SIGNAL_FRAME_BYTES) & ~(uint64_t)15) - 8;
  memcpy((void *)(uintptr_t)sp, (const void *)(uintptr_t)pass->sp, SIGNAL_FRAME_BYTES);
  ucontext_t *moved = (ucontext_t *)(uintptr_t)(sp + FRAME_CONTEXT);
  moved->uc_mcontext.fpregs = (fpregset_t)(void *)moved_state;
  pass->sp = sp;
  pass->context = sp + FRAME_CONTEXT;
  pass->info = sp + FRAME_INFO;
}

void trap_context_probe(struct trap_machine *machine) {
  unsigned a, b, c, d;
  if (pkeys_supported() && __get_cpuid_count(0xd, 9, &a, &b, &c, &d) && a >= 4) machine->pkru_offset = b;
  machine->avx = __builtin_cpu_supports("avx") != 0;
}
