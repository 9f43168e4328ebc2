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

uint64_t context_pc(const ucontext_t *uc) { return (uint64_t)uc->uc_mcontext.gregs[REG_RIP]; }
uint64_t context_sp(const ucontext_t *uc) { return (uint64_t)uc->uc_mcontext.gregs[REG_RSP]; }

/* PKRU in the XSAVE image of the frame; NULL when the frame has none (then the interrupted value was 0 or keys are
 * off). */
static uint32_t *frame_pkru(ucontext_t *uc, bool *present) {
  *present = false;
  uint32_t offset = trap_arena.shared.machine.pkru_offset;
  char *area = (char *)uc->uc_mcontext.fpregs;
  if (offset == 0 || area == NULL) return NULL;
  uint32_t magic, size;
  uint64_t features;
  memcpy(&magic, area + 464, sizeof magic); /* struct _fpx_sw_bytes at 464: magic1, extended_size, xfeatures */
  memcpy(&size, area + 468, sizeof size);
  memcpy(&features, area + 472, sizeof features);
  if (magic != 0x46505853u || !(features & 1u << 9) || size < offset + 4) return NULL;
  uint64_t xstate_bv;
  memcpy(&xstate_bv, area + 512, sizeof xstate_bv);
  *present = (xstate_bv >> 9 & 1) != 0;
  return (uint32_t *)(area + offset);
}

uint32_t context_rights(ucontext_t *uc) {
  bool present;
  uint32_t *pkru = frame_pkru(uc, &present);
  return pkru != NULL && present ? *pkru : 0;
}

bool context_set_rights(ucontext_t *uc, uint32_t rights) {
  bool present;
  uint32_t *pkru = frame_pkru(uc, &present);
  if (pkru == NULL) return false;
  *pkru = rights;
  uint64_t xstate_bv;
  char *area = (char *)uc->uc_mcontext.fpregs;
  memcpy(&xstate_bv, area + 512, sizeof xstate_bv);
  xstate_bv |= 1u << 9;
  memcpy(area + 512, &xstate_bv, sizeof xstate_bv);
  return true;
}

enum trap_access context_access(int signal, const siginfo_t *info, const ucontext_t *uc) {
  (void)info;
  const greg_t *r = uc->uc_mcontext.gregs;
  if ((signal != SIGSEGV && signal != SIGBUS) || r[REG_TRAPNO] != TRAPNO_PAGE_FAULT) return TRAP_ACCESS_UNKNOWN;
  return r[REG_ERR] & ERROR_FETCH   ? TRAP_ACCESS_EXECUTE
         : r[REG_ERR] & ERROR_WRITE ? TRAP_ACCESS_WRITE
                                    : TRAP_ACCESS_READ;
}

/* After SYSCALL rcx is the pc, rdi rsi rdx are tgkill's arguments (or rdi rsi tkill's), rax its result 0. */
bool context_aborts(const ucontext_t *uc, pid_t pid, pid_t tid) {
  const greg_t *r = uc->uc_mcontext.gregs;
  if (r[REG_RAX] != 0 || r[REG_RCX] != r[REG_RIP]) return false;
  bool tgkill = r[REG_RDI] == pid && r[REG_RSI] == tid && r[REG_RDX] == SIGABRT;
  bool tkill = r[REG_RDI] == tid && r[REG_RSI] == SIGABRT;
  return tgkill || tkill;
}

static const int register_order[] = {REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8,
                                     REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP, REG_EFL};

void context_describe(struct trap_fault *fault, const ucontext_t *uc) {
  const greg_t *r = uc->uc_mcontext.gregs;
  fault->error_code = (uint64_t)r[REG_ERR];
  fault->trap_number = (uint64_t)r[REG_TRAPNO];
  for (size_t i = 0; i < sizeof register_order / sizeof *register_order; i++)
    fault->registers[i] = (uint64_t)r[register_order[i]];
}

void context_land(ucontext_t *uc, struct trap_frame *frame, uint32_t rights) {
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

void context_probe(struct trap_machine *machine) {
  unsigned a, b, c, d;
  if (pkeys_supported() && __get_cpuid_count(0xd, 9, &a, &b, &c, &d) && a >= 4) machine->pkru_offset = b;
  machine->avx = __builtin_cpu_supports("avx") != 0;
}
