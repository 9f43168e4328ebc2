/* trap_machine_aarch64.h: see trap_machine.h. */

/* qemu-user shows the host's /proc/cpuinfo, in which no ARM CPU has an implementer. */
__attribute__((unused)) static bool emulated_cpu(void) {
  static int known;
  if (known == 0) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    known = 2;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
      if (strncmp(line, "CPU implementer", 15) == 0) known = 1;
    if (file != NULL) fclose(file);
  }
  return known == 2;
}

#define PROBE_INTEGERS 9
#define PROBE_VECTORS 8
#define PROBE_RESULT_VECTORS 4
#define PROBE_KEPT 19
struct probe {                       /* offsets in trap_probe_aarch64.S */
  uint64_t integer[9];               /* 0: x0 to x7, x8 */
  uint64_t variadic;                 /* 72: nothing here */
  uint64_t vector[8][2];             /* 80 */
  uint64_t stack[PROBE_STACK_WORDS]; /* 208 */
  uint64_t result[2];                /* 336 */
  uint64_t result_vector[4][2];      /* 352 */
  uint64_t saved[PROBE_KEPT];        /* 416: x19 to x28, x29, d8 to d15 after the call */
  uint64_t copied;                   /* 568: stack words that the callee copies */
  uint64_t stack_moved;              /* 576: sp after minus sp before */
  uint32_t fpcr, fpsr;               /* 584 */
  uint64_t platform;                 /* 592: x18 */
  uint64_t alignment;                /* 600: callee only: sp & 15 at its first instruction (0 by the ABI) */
};
_Static_assert(__builtin_offsetof(struct probe, result) == 336 && __builtin_offsetof(struct probe, alignment) == 600,
               "trap_probe_aarch64.S");
#define PROBE_ENTRY_ALIGNMENT 0
#define PROBE_VARIADIC_MASK 0
#define REGISTER_PC 22

struct environment {
  uint32_t fpcr, fpsr;
};
#define ENVIRONMENT_NOTED ((struct environment){2u << 22, 1u << 27}) /* rounding down, saturation seen */
#define ENVIRONMENT_OTHER ((struct environment){1u << 22, 0})        /* rounding up */
__attribute__((unused)) static void environment_set(struct environment e) {
  __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" ::"r"((uint64_t)e.fpcr), "r"((uint64_t)e.fpsr));
}
__attribute__((unused)) static void probe_check_environment(const struct probe *p, struct environment e) {
  CHECK_EQ(p->fpcr, e.fpcr);
  CHECK_EQ(p->fpsr, e.fpsr);
}
__attribute__((unused)) static struct environment probe_environment(const struct probe *p) {
  return (struct environment){p->fpcr, p->fpsr};
}

#define RETURNS_WITH_SLOT(name)                                                        \
  __asm__(".text\n.globl " name "\n.hidden " name "\n.type " name ", %function\n" name \
          ":\n mov x19, x0\n add w0, w1, #1\n ret\n");
#define WRITES_32_THEN(label) \
  __asm__ volatile("mov x9, #32\n str wzr, [x9]\n.globl " label "\n.hidden " label "\n" label ":" ::: "x9", "memory")
/* A vector register, which a signal frame must bring back. */
#define VECTOR_SET(value) __asm__ volatile("fmov d6, %0" : : "r"((uint64_t)(value)))
#define VECTOR_GET(value) __asm__ volatile("fmov %0, d6" : "=r"(value))
#define CONTEXT_PC(uc) (uc)->uc_mcontext.pc
/* Bits that FPCR does not have are ignored: nothing to fault on. */
#define SPOIL_FLOAT(fp) ((fp)->fpcr = 0xffffffff)
__attribute__((unused)) static bool spoiled_float_faults(void) { return false; }
__attribute__((unused)) static void fill_wide_state(void) {
  __asm__ volatile("movi v0.16b, #255\n movi v31.16b, #255" ::: "v0", "v31");
}

/* I3: msr POR_EL0, in a whole word. */
__attribute__((unused)) static bool writes_rights(const unsigned char *text) {
  uint32_t word;
  memcpy(&word, text, 4);
  return ((uintptr_t)text & 3) == 0 && (word & 0xffffffe0u) == 0xd51ba280u;
}
__attribute__((unused)) static bool restores_rights(const unsigned char *text) { return text == NULL; }

/* A fault that is not SIGSEGV: division by zero is none here. */
#define OTHER_FAULT SIGILL
__attribute__((unused)) static void other_fault(void) { __asm__ volatile("udf #0"); }

__attribute__((unused)) static bool blocked_signals_work(void) { return !emulated_cpu(); }
