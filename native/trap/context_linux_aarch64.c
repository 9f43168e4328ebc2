/*
 * context_linux_aarch64.c: the signal frame of Linux on ARM64. Runs inside a signal: the rules are in inside_linux.c.
 *
 * uapi/asm/sigcontext.h (arm64), arch/arm64/kernel/signal.c; Arm ARM, D19.2 (ESR_EL1, POR_EL0), C4.1 (encoding of loads
 * and stores).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "context.h"

/* Records of the frame that older headers do not name. */
#define RECORD_ESR 0x45535201u
#define RECORD_POR 0x504f4530u
#define RECORD_EXTRA 0x45585401u
struct record {
  uint32_t magic, bytes;
  uint64_t value; /* of ESR, POR; where EXTRA's records lie */
};

#define ESR_CLASS(esr) ((unsigned)((esr) >> 26 & 0x3f))
#define CLASS_FETCH 0x20u /* from user mode; the next value: from the kernel */
#define CLASS_DATA 0x24u
#define ESR_WRITE 0x40u
#define ESR_CACHE 0x100u /* a cache operation, which always says that it writes */
#define PSTATE_BTYPE 0xc00u
#define SVC_0 0xd4000001u
#ifndef HWCAP2_SME
#define HWCAP2_SME (1ul << 23)
#endif

uint64_t trap_context_pc(const ucontext_t *uc) { return uc->uc_mcontext.pc; }
uint64_t trap_context_sp(const ucontext_t *uc) { return uc->uc_mcontext.sp; }
void trap_context_go_to(ucontext_t *uc, const void *where) { uc->uc_mcontext.pc = (uint64_t)(uintptr_t)where; }
bool trap_context_answered(const ucontext_t *uc, int result) { return (int64_t)uc->uc_mcontext.regs[0] == result; }

/* A record of the frame, or NULL. What does not fit into its frame ends the search. */
static struct record *find_record(const ucontext_t *uc, uint32_t magic) {
  const char *at = (const char *)uc->uc_mcontext.__reserved, *end = at + sizeof uc->uc_mcontext.__reserved;
  const char *extra = NULL, *extra_end = NULL;
  for (;;) {
    struct record *record = (struct record *)(uintptr_t)at;
    if (end - at < 8) return NULL;
    if (record->magic == 0) { /* the end, or the end of what had room here */
      if (extra == NULL) return NULL;
      at = extra;
      end = extra_end;
      extra = NULL;
      continue;
    }
    if (record->bytes < 8 || record->bytes % 16 != 0 || record->bytes > (size_t)(end - at)) return NULL;
    if (record->magic == magic) return record->bytes >= sizeof *record ? record : NULL;
    if (record->magic == RECORD_EXTRA && record->bytes >= 24) {
      uint32_t bytes;
      memcpy(&bytes, at + 16, sizeof bytes);
      extra = (const char *)(uintptr_t)record->value;
      extra_end = extra + bytes;
    }
    at += record->bytes;
  }
}

uint32_t trap_context_rights(ucontext_t *uc) {
  const struct record *por = find_record(uc, RECORD_POR);
  return por != NULL ? por_denies(por->value) : 0;
}

bool trap_context_has_rights(ucontext_t *uc) { return find_record(uc, RECORD_POR) != NULL; }

void trap_context_set_rights(ucontext_t *uc, uint32_t rights) {
  struct record *por = find_record(uc, RECORD_POR);
  por->value = por_with(por->value, rights);
}

/* The instruction at `address`, if it can be read. The kernel is asked first: it reads the set before it finds that it
 * cannot know what to do with it. */
static bool instruction_at(uint64_t address, uint32_t *out) {
  if (address % 4 != 0) return false;
  if (syscall(SYS_rt_sigprocmask, -1, address & ~(uint64_t)7, NULL, 8) == 0)
    return false; /* cannot be: -1 says nothing */
  if (errno == EFAULT) return false;
  memcpy(out, (const void *)(uintptr_t)address, sizeof *out);
  return true;
}

enum trap_access trap_context_decode(uint32_t i) {
  bool load = (i >> 22 & 1) != 0;
  if ((i & 0xffffffe0u) == 0xd50b7420u) return TRAP_ACCESS_WRITE; /* dc zva */
  if ((i & 0x3f000000u) == 0x08000000u) {                         /* exclusive, ordered, compare and swap */
    bool swap = (i >> 21 & 1) && ((i >> 23 & 1) || !(i >> 31));
    return swap || !load ? TRAP_ACCESS_WRITE : TRAP_ACCESS_READ;
  }
  if ((i & 0xbe000000u) == 0x0c000000u) return load ? TRAP_ACCESS_READ : TRAP_ACCESS_WRITE; /* vector structures */
  if ((i & 0x3b000000u) == 0x18000000u) return TRAP_ACCESS_READ;                            /* literal */
  if ((i & 0x3a000000u) == 0x28000000u) return load ? TRAP_ACCESS_READ : TRAP_ACCESS_WRITE; /* pairs */
  if ((i & 0x3f200c00u) == 0x19000000u) return i >> 22 & 3 ? TRAP_ACCESS_READ : TRAP_ACCESS_WRITE; /* ldapur, stlur */
  if ((i & 0x3a000000u) == 0x38000000u) {                                                          /* one register */
    bool other = (i & 0x01200000u) == 0x00200000u, vector = (i >> 26 & 1) != 0;
    if (other && (i & 0xc00u) == 0)
      return (i & 0xf000u) == 0xc000u ? TRAP_ACCESS_READ : TRAP_ACCESS_WRITE; /* ldapr; atomic read-modify-write */
    if (other && (i & 0x400u)) return TRAP_ACCESS_READ;                       /* ldraa, ldrab */
    return (vector ? load : (i >> 22 & 3) != 0) ? TRAP_ACCESS_READ : TRAP_ACCESS_WRITE;
  }
  unsigned sve = i >> 25;
  if (sve == 0x42 || sve == 0x52 || sve == 0x62) return TRAP_ACCESS_READ;
  if (sve == 0x72) return TRAP_ACCESS_WRITE;
  return TRAP_ACCESS_UNKNOWN; /* SME, memory copies and tags, and what does not touch memory */
}

enum trap_access trap_context_access(int signal, const siginfo_t *info, const ucontext_t *uc) {
  if (signal != SIGSEGV && signal != SIGBUS) return TRAP_ACCESS_UNKNOWN;
  const struct record *esr = find_record(uc, RECORD_ESR);
  if (esr != NULL) {
    unsigned class = ESR_CLASS(esr->value) & ~1u;
    if (class == CLASS_FETCH) return TRAP_ACCESS_EXECUTE;
    if (class != CLASS_DATA) return TRAP_ACCESS_UNKNOWN;
    return (esr->value & ESR_WRITE) && !(esr->value & ESR_CACHE) ? TRAP_ACCESS_WRITE : TRAP_ACCESS_READ;
  }
  bool access = signal == SIGSEGV
                    ? info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR || info->si_code == SEGV_PKUERR
                    : info->si_code == BUS_ADRERR;
  if (!access) return TRAP_ACCESS_UNKNOWN;
  if ((uint64_t)(uintptr_t)info->si_addr == uc->uc_mcontext.pc) return TRAP_ACCESS_EXECUTE;
  uint32_t instruction;
  int saved = errno;
  bool readable = instruction_at(uc->uc_mcontext.pc, &instruction);
  errno = saved;
  return readable ? trap_context_decode(instruction) : TRAP_ACCESS_UNKNOWN;
}

/* Behind `svc #0` x8 is the call's number, x1 and x2 are tgkill's arguments; x0, its first, is the result by now. The C
 * library's raise and abort use tgkill. Of tkill the result hides the thread that it was sent to: it is not recognised.
 */
bool trap_context_aborts(const ucontext_t *uc, pid_t pid, pid_t tid) {
  const mcontext_t *m = &uc->uc_mcontext;
  uint32_t instruction;
  (void)pid; /* siginfo tells who sent it */
  if (m->regs[8] != SYS_tgkill || m->regs[0] != 0 || (pid_t)m->regs[1] != tid || (int)m->regs[2] != SIGABRT)
    return false;
  int saved = errno;
  bool behind = instruction_at(m->pc - 4, &instruction) && instruction == SVC_0;
  errno = saved;
  return behind;
}

void trap_context_describe(struct trap_fault *fault, const ucontext_t *uc) {
  const mcontext_t *m = &uc->uc_mcontext;
  const struct record *esr = find_record(uc, RECORD_ESR);
  if (esr != NULL) {
    fault->error_code = esr->value;
    fault->trap_number = ESR_CLASS(esr->value);
  }
  for (int i = 0; i < 19; i++) fault->registers[i] = m->regs[i];
  fault->registers[19] = m->regs[29];
  fault->registers[20] = m->regs[30];
  fault->registers[21] = m->sp;
  fault->registers[22] = m->pc;
  fault->registers[23] = m->pstate;
  for (int i = 0; i < 10; i++) fault->more_registers[i] = m->regs[19 + i];
}

void trap_context_land(ucontext_t *uc, struct trap_frame *frame, uint32_t rights) {
  mcontext_t *m = &uc->uc_mcontext;
  bool keys = trap_arena.shared.keys;
  for (int i = 0; i < 12; i++) m->regs[19 + i] = frame->saved.x[i];
  m->regs[0] = (uint64_t)(uintptr_t)
      frame; /* the landing pad loads d8 to d15 from it, behind what leaving streaming mode clears */
  if (keys) {
    const struct record *por = find_record(uc, RECORD_POR);
    m->regs[1] = por_with(por != NULL ? por->value : POR_ALL, rights);
  }
  m->sp = frame->sp;
  m->pc = (uint64_t)(uintptr_t)(keys ? trap_landing_keys : trap_landing);
  m->pstate &= ~(uint64_t)PSTATE_BTYPE; /* I7: of a fault on an indirect branch's target */
}

/* A signal frame: siginfo, then the context, whose records end it; those that had no room there follow. Handlers return
 * to where x30 says, which calls rt_sigreturn(2) with the frame at the stack pointer. */
#define FRAME_CONTEXT sizeof(siginfo_t)
#define SIGNAL_FRAME_BYTES (FRAME_CONTEXT + sizeof(ucontext_t))

bool trap_context_direct(const siginfo_t *info, const ucontext_t *uc, uint64_t entry_sp) {
  return (uint64_t)(uintptr_t)info == entry_sp && (uint64_t)(uintptr_t)uc == entry_sp + FRAME_CONTEXT;
}

void trap_context_move(struct trap_pass *pass) {
  _Static_assert(sizeof(siginfo_t) == 128 && sizeof(ucontext_t) % 16 == 0, "uapi/asm/ucontext.h, siginfo.h");
  const ucontext_t *uc = (const ucontext_t *)(uintptr_t)pass->context;
  if (find_record(uc, RECORD_EXTRA) != NULL)
    return; /* wide vector registers: they lie elsewhere, and are named by address */
  uint64_t sp = (trap_context_sp(uc) - SIGNAL_FRAME_BYTES) & ~(uint64_t)15;
  memcpy((void *)(uintptr_t)sp, (const void *)(uintptr_t)pass->sp, SIGNAL_FRAME_BYTES);
  pass->sp = sp;
  pass->info = sp;
  pass->context = sp + FRAME_CONTEXT;
}

void trap_context_probe(struct trap_machine *machine) { machine->sme = (getauxval(AT_HWCAP2) & HWCAP2_SME) != 0; }
