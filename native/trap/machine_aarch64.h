/* machine_aarch64.h: see machine.h. AAPCS64. */
#include "../pkeys/por_aarch64.h"

struct trap_saved {
  uint64_t x[12]; /* x19 to x30: the frame pointer and the return address are the last two */
  uint64_t d[8];  /* d8 to d15: of v8 to v15 the ABI keeps the lower half */
};
struct trap_float {
  uint32_t fpcr, fpsr;
};
struct trap_machine {
  uint64_t open; /* POR_EL0: all rights to owned keys, or-ed in */
  uint32_t sme;  /* a callee may have left streaming mode on */
};

/* TPIDR_EL0. */
#define TRAP_FIRST_ARGUMENT 0

static inline uint64_t trap_thread_pointer(void) { return (uint64_t)(uintptr_t)__builtin_thread_pointer(); }
static inline void trap_float_read(struct trap_float *out) {
  uint64_t fpcr, fpsr;
  __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(fpcr), "=r"(fpsr));
  out->fpcr = (uint32_t)fpcr;
  out->fpsr = (uint32_t)fpsr;
}
static inline void trap_float_write(const struct trap_float *in) {
  __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"((uint64_t)in->fpcr), "r"((uint64_t)in->fpsr));
}
/* POR_EL0 says what is allowed, four bits to a key; the masks of native/pkeys say what is denied, two bits to a key. */
static inline void trap_machine_keep(struct trap_machine *machine, uint32_t keep) {
  machine->open = por_of_owned(~keep);
}
static inline uint64_t trap_machine_deny(uint32_t deny) { return por_of_denied(deny); }

#define TRAP_MACHINE_OFFSETS                    \
  AT(struct trap_frame, saved.x[0], F_X19);     \
  AT(struct trap_frame, saved.x[10], F_X29);    \
  AT(struct trap_frame, saved.x[11], F_X30);    \
  AT(struct trap_frame, saved.d, F_D8);         \
  AT(struct trap_frame, fp.fpcr, F_FPCR);       \
  AT(struct trap_frame, fp.fpsr, F_FPSR);       \
  AT(struct trap_shared, machine.open, S_OPEN); \
  AT(struct trap_shared, machine.sme, S_SME)
