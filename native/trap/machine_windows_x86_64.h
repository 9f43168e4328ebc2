/* machine_windows_x86_64.h: see machine.h. The Windows x64 ABI: callee-saved registers lie on the VM's stack, below the
 * frame's sp. */
struct trap_saved {
  uint64_t stack_base, stack_limit, deallocation; /* of the stack that the gate was entered on, from the TEB */
  uint64_t exception_list; /* frames registered on that stack. Windows x64 has none, Wine's own libraries do */
};
struct trap_float {
  uint32_t mxcsr;
  uint16_t fcw, pad;
};
struct trap_machine {
  uint32_t avx;
  uint32_t unused;
};

/* The TEB's own address. */
#define TRAP_FIRST_ARGUMENT 480 /* above the gate's own frame: GATE_ARGUMENTS */

static inline uint64_t trap_thread_pointer(void) {
  uint64_t tp;
  __asm__("mov %%gs:0x30, %0" : "=r"(tp));
  return tp;
}
static inline void trap_float_read(struct trap_float *out) {
  __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(out->mxcsr), "=m"(out->fcw));
}
static inline void trap_float_write(const struct trap_float *in) {
  __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(in->mxcsr), "m"(in->fcw));
}
/* No keys. */
static inline void trap_machine_keep(struct trap_machine *machine, uint32_t keep) { (void)machine, (void)keep; }
static inline uint64_t trap_machine_deny(uint32_t deny) { return deny; }

#define TRAP_MACHINE_OFFSETS                                     \
  AT(struct trap_frame, saved.stack_base, F_STACK_BASE);         \
  AT(struct trap_frame, saved.stack_limit, F_STACK_LIMIT);       \
  AT(struct trap_frame, saved.deallocation, F_DEALLOCATION);     \
  AT(struct trap_frame, saved.exception_list, F_EXCEPTION_LIST); \
  AT(struct trap_frame, fp.mxcsr, F_MXCSR);                      \
  AT(struct trap_frame, fp.fcw, F_FCW);                          \
  AT(struct trap_frame, stack_low, F_STACK_LOW);                 \
  AT(struct trap_frame, stack_high, F_STACK_HIGH);               \
  AT(struct trap_shared, machine.avx, S_AVX)
