/* trap_machine_x86_64.h: see trap_machine.h. */
#include <cpuid.h>
#include <xmmintrin.h>

/* QEMU's software CPU: CPUID 0x40000000 names the hypervisor. */
__attribute__((unused)) static bool emulated_cpu(void) {
  unsigned a, b, c, d;
  __cpuid(1, a, b, c, d);
  if (!(c >> 31)) return false;
  char name[13] = "";
  __cpuid(0x40000000, a, b, c, d);
  memcpy(name, &b, 4);
  memcpy(name + 4, &c, 4);
  memcpy(name + 8, &d, 4);
  return strcmp(name, "TCGTCGTCGTCG") == 0;
}

#define PROBE_INTEGERS 6
#define PROBE_VECTORS 8
#define PROBE_RESULT_VECTORS 2
#define PROBE_KEPT 6
struct probe {                       /* offsets in trap_probe_x86_64.S */
  uint64_t integer[6];               /* 0: rdi rsi rdx rcx r8 r9 */
  uint64_t variadic;                 /* 48: rax: al, and the rest of rax too */
  uint64_t copied;                   /* 56: stack words that the callee copies */
  uint64_t vector[8][2];             /* 64 */
  uint64_t stack[PROBE_STACK_WORDS]; /* 192 */
  uint64_t result[2];                /* 320: rax rdx */
  uint64_t result_vector[2][2];      /* 336 */
  uint64_t saved[PROBE_KEPT];        /* 368: rbx rbp r12..r15 after the call */
  uint64_t stack_moved;              /* 416: rsp after minus rsp before */
  uint32_t mxcsr;                    /* 424 */
  uint16_t fcw, x87_tag;             /* 428: control word; 430: tag word (0xffff: the x87 stack is empty) */
  uint64_t flags;                    /* 432 */
  uint64_t alignment;                /* 440: callee only: rsp & 15 at its first instruction (8 by the ABI) */
};
_Static_assert(__builtin_offsetof(struct probe, result) == 320 && __builtin_offsetof(struct probe, flags) == 432,
               "trap_probe_x86_64.S");
#define PROBE_ENTRY_ALIGNMENT 8
/* What variadic functions are told beside their arguments. */
#define PROBE_VARIADIC_MASK 0xff
#define REGISTER_PC 16

struct environment {
  uint32_t mxcsr;
  uint16_t fcw;
};
#define ENVIRONMENT_NOTED ((struct environment){0x3f80, 0x077f}) /* rounding down */
#define ENVIRONMENT_OTHER ((struct environment){0x5f80, 0x0b7f}) /* rounding up */
__attribute__((unused)) static void environment_set(struct environment e) {
  _mm_setcsr(e.mxcsr);
  __asm__ volatile("fldcw %0" ::"m"(e.fcw));
}
#define FLAG_BITS 0x44500u /* TF DF NT AC */
__attribute__((unused)) static void probe_check_environment(const struct probe *p, struct environment e) {
  CHECK_EQ(p->mxcsr, e.mxcsr);
  CHECK_EQ(p->fcw, e.fcw);
  CHECK_EQ(p->x87_tag, 0xffff);
  CHECK_EQ(p->flags & FLAG_BITS, 0);
}
__attribute__((unused)) static struct environment probe_environment(const struct probe *p) {
  return (struct environment){p->mxcsr, p->fcw};
}

/* Vector registers beyond 128 bits: whether this CPU has them; ymm0..7 in, ymm0 and ymm1 out. */
#define PROBE_WIDE __builtin_cpu_supports("avx2")
void probe_ymm_call(void *code, const uint8_t in[8][32], uint8_t out[2][32]);
void probe_ymm_callee(void);

/* A function that returns its second argument plus one, and its first in the register where the gate keeps its slot. */
#define RETURNS_WITH_SLOT(name)                                                        \
  __asm__(".text\n.globl " name "\n.hidden " name "\n.type " name ", @function\n" name \
          ":\n movq %rdi, %rbp\n leal 1(%rsi), %eax\n ret\n");
/* A write to address 32 that nobody should come back to, and a label behind it. */
#define WRITES_32_THEN(label) \
  __asm__ volatile("movl $1, 32\n.globl " label "\n.hidden " label "\n" label ":" ::: "memory")
/* A vector register, which a signal frame must bring back. */
#define VECTOR_SET(value) __asm__ volatile("movq %0, %%xmm6" : : "r"((uint64_t)(value)))
#define VECTOR_GET(value) __asm__ volatile("movq %%xmm6, %0" : "=r"(value))
#define CONTEXT_PC(uc) (uc)->uc_mcontext.gregs[REG_RIP]
/* A floating-point environment that cannot be loaded: LDMXCSR raises #GP. QEMU loads it without complaint. */
#define SPOIL_FLOAT(fp) ((fp)->mxcsr = 0xffffffff)
__attribute__((unused)) static bool spoiled_float_faults(void) { return !emulated_cpu(); }

/* All that makes a signal frame large. */
__attribute__((noinline, unused)) static void fill_wide_state(void) {
  if (__builtin_cpu_supports("avx512f"))
    __asm__ volatile("vpternlogd $0xff, %%zmm0, %%zmm0, %%zmm0\n vmovdqa64 %%zmm0, %%zmm31\n vmovdqa64 %%zmm0, "
                     "%%zmm17\n kxnorw %%k1, %%k1, %%k7" ::
                         : "memory");
  else if (__builtin_cpu_supports("avx2"))
    __asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n vmovdqa %%ymm0, %%ymm15" ::: "memory");
}

/* I3: WRPKRU, and XRSTOR, which can restore PKRU too. Any byte may begin one. */
__attribute__((unused)) static bool writes_rights(const unsigned char *text) {
  return text[0] == 0x0f && text[1] == 0x01 && text[2] == 0xef;
}
__attribute__((unused)) static bool restores_rights(const unsigned char *text) {
  return text[0] == 0x0f && text[1] == 0xae && (text[2] >> 3 & 7) == 5 && text[2] >> 6 != 3;
}

/* A fault that is not SIGSEGV. */
#define OTHER_FAULT SIGFPE
__attribute__((unused, no_sanitize("undefined"))) static void other_fault(void) {
  volatile int nought = 0;
  nought = 1000 / nought;
}

__attribute__((unused)) static bool blocked_signals_work(void) { return true; }
