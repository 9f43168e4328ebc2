/* machine_x86_64.h: see machine.h. System V. */
struct trap_saved {
  uint64_t rbx, rbp, r12, r13, r14, r15;
};
struct trap_float {
  uint32_t mxcsr;
  uint16_t fcw, pad;
};
struct trap_machine {
  uint32_t avx;
  uint32_t pkru_offset; /* of PKRU in the XSAVE image of a signal frame; 0 unknown */
};

#define TRAP_FIRST_ARGUMENT 8 /* above the return address */

static inline uint64_t trap_thread_pointer(void) {
  uint64_t tp;
  __asm__("mov %%fs:0, %0" : "=r"(tp));
  return tp;
}
static inline void trap_float_read(struct trap_float *out) {
  __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(out->mxcsr), "=m"(out->fcw));
}
static inline void trap_float_write(const struct trap_float *in) {
  __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(in->mxcsr), "m"(in->fcw));
}
/* The gate takes the masks as they are. */
static inline void trap_machine_keep(struct trap_machine *machine, uint32_t keep) { (void)machine, (void)keep; }
static inline uint64_t trap_machine_deny(uint32_t deny) { return deny; }

#define TRAP_MACHINE_OFFSETS                \
  AT(struct trap_frame, saved.rbx, F_RBX);  \
  AT(struct trap_frame, saved.rbp, F_RBP);  \
  AT(struct trap_frame, saved.r12, F_R12);  \
  AT(struct trap_frame, saved.r13, F_R13);  \
  AT(struct trap_frame, saved.r14, F_R14);  \
  AT(struct trap_frame, saved.r15, F_R15);  \
  AT(struct trap_frame, fp.mxcsr, F_MXCSR); \
  AT(struct trap_frame, fp.fcw, F_FCW);     \
  AT(struct trap_shared, machine.avx, S_AVX)
