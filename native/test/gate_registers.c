/*
 * What no C signature shows: registers that a callee must not keep changed, and all result registers at once. Also
 * errno, vectors wider than SSE's, arguments aligned beyond 16 bytes, and an honest callee under an unusual
 * floating-point environment.
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "../pkeys/pkeys.h"
#include "../trap/trap.h"
#include "check.h"

struct registers {
  uint64_t rbx, rbp, r12, r13, r14, r15, rsp; /* 0 */
  uint64_t rax, rdx;                          /* 56 */
  uint64_t xmm0[2], xmm1[2];                  /* 72 */
  unsigned char st0[10], st1[10];             /* 104, 114 */
  uint32_t mxcsr;                             /* 124 */
  uint16_t fcw;                               /* 128 */
  uint16_t pad[3];
  uint64_t rflags, rsp_before; /* 136, 144 */
};
/* Calls `function` with known callee-saved registers; writes down all that it leaves. */
void registers_call(void *function, struct registers *out);
/* Gives a value in every result register at once. */
void results(void);
/* The same, and breaks the ABI: every callee-saved register but rsp comes back wrong. */
void results_and_ruin(void);
/* Sets rounding and exceptions of its own, as fesetround in a callee does. */
void changes_environment(void);
/* Calls `function` with `rax` in rax, which for a variadic function says how many vector registers hold arguments; and
 * a callee that gives rax back as it came. */
uint64_t rax_call(void *function, uint64_t rax);
uint64_t rax_back(void);
__asm__(".text\n"
        ".type registers_call, @function\n"
        "registers_call:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n  pushq %rsi\n"
        "  movq $0x1111, %rbx\n  movq $0x2222, %rbp\n  movq $0x3333, %r12\n  movq $0x4444, %r13\n  movq $0x5555, "
        "%r14\n  movq $0x6666, %r15\n"
        "  movq %rsp, 144(%rsi)\n"
        "  call *%rdi\n"
        "  movq (%rsp), %rsi\n"
        "  movq %rbx, 0(%rsi)\n  movq %rbp, 8(%rsi)\n  movq %r12, 16(%rsi)\n  movq %r13, 24(%rsi)\n  movq %r14, "
        "32(%rsi)\n  movq %r15, 40(%rsi)\n  movq %rsp, 48(%rsi)\n"
        "  movq %rax, 56(%rsi)\n  movq %rdx, 64(%rsi)\n  movups %xmm0, 72(%rsi)\n  movups %xmm1, 88(%rsi)\n"
        "  fstpt 104(%rsi)\n  fstpt 114(%rsi)\n  stmxcsr 124(%rsi)\n  fnstcw 128(%rsi)\n"
        "  pushfq\n  popq 136(%rsi)\n  cld\n  fninit\n"
        "  popq %rsi\n  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".type results, @function\n"
        "results:\n"
        "  movq $0x7777, %rax\n  movq $0x8888, %rdx\n"
        "  movq %rax, %xmm0\n  movlhps %xmm0, %xmm0\n  movq %rdx, %xmm1\n  movlhps %xmm1, %xmm1\n"
        "  fldpi\n  fld1\n"
        "  ret\n"
        ".type results_and_ruin, @function\n"
        "results_and_ruin:\n"
        "  call results\n"
        "  xorl %ebx, %ebx\n  xorl %ebp, %ebp\n  xorl %r12d, %r12d\n  xorl %r13d, %r13d\n  xorl %r14d, %r14d\n  xorl "
        "%r15d, %r15d\n"
        "  ret\n"
        ".type rax_call, @function\n"
        "rax_call:\n"
        "  movq %rsi, %rax\n  jmp *%rdi\n"
        ".type rax_back, @function\n"
        "rax_back:\n"
        "  ret\n"
        ".type changes_environment, @function\n"
        "changes_environment:\n"
        "  pushq $0x5f80\n  ldmxcsr (%rsp)\n  movw $0x0b7f, (%rsp)\n  fldcw (%rsp)\n  addq $8, %rsp\n  fldz\n  fldz\n"
        "  ret\n");

static void check_results(const struct registers *r) {
  static const unsigned char one[10] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f},
                             pi[10] = {0x35, 0xc2, 0x68, 0x21, 0xa2, 0xda, 0x0f, 0xc9, 0x00, 0x40};
  CHECK_EQ(r->rax, 0x7777);
  CHECK_EQ(r->rdx, 0x8888);
  CHECK_EQ(r->xmm0[0], 0x7777);
  CHECK_EQ(r->xmm0[1], 0x7777);
  CHECK_EQ(r->xmm1[0], 0x8888);
  CHECK_EQ(r->xmm1[1], 0x8888);
  CHECK(memcmp(r->st0, one, 10) == 0);
  CHECK(memcmp(r->st1, pi, 10) == 0);
}
static void check_kept(const struct registers *r) {
  CHECK_EQ(r->rbx, 0x1111);
  CHECK_EQ(r->rbp, 0x2222);
  CHECK_EQ(r->r12, 0x3333);
  CHECK_EQ(r->r13, 0x4444);
  CHECK_EQ(r->r14, 0x5555);
  CHECK_EQ(r->r15, 0x6666);
  CHECK_EQ(r->rsp, r->rsp_before);
  CHECK_EQ(r->rflags & 0x400, 0);
}

static const struct pkeys_space_request space = {.name = "old", .bytes = PKEYS_PAGE, .reserve_bytes = PKEYS_PAGE};

/* Every gate, in a process with the image it needs. */
static void set_up(enum pkeys_mechanism mechanism, bool foreign_stack) {
  struct pkeys_image *image;
  REQUIRE(trap_init() == 0);
  REQUIRE(pkeys_image_map(&space, 1, PKEYS_KEY_PER_IMAGE, &image, NULL) == 0);
  REQUIRE(pkeys_image_set_mechanism(image, mechanism) == 0);
  REQUIRE(trap_set_foreign_stack(foreign_stack, 0) == 0);
}
static const struct {
  enum pkeys_mechanism mechanism;
  bool foreign_stack;
} gates[] = {{PKEYS_MECHANISM_FLAG, true},           {PKEYS_MECHANISM_FLAG, false},
             {PKEYS_MECHANISM_MPROTECT_RANGE, true}, {PKEYS_MECHANISM_MPROTECT_RANGE, false},
             {PKEYS_MECHANISM_PKEYS, true},          {PKEYS_MECHANISM_PKEYS, false},
             {PKEYS_MECHANISM_PKEYS_GLIBC, true}};
/* Runs the statements once for each gate that this machine has, `thunk_flags` and `bytes` over all kinds of thunk. */
#define EACH_GATE(...)                                                                 \
  do {                                                                                 \
    for (size_t g = 0; g < sizeof gates / sizeof *gates; g++) {                        \
      if (gates[g].mechanism >= PKEYS_MECHANISM_PKEYS && !pkeys_supported()) continue; \
      CHECK_EXITS(0, {                                                                 \
        int failures = check_now->failures;                                            \
        set_up(gates[g].mechanism, gates[g].foreign_stack);                            \
        for (unsigned kind = 0; kind < 4; kind++) {                                    \
          unsigned thunk_flags = kind & 1 ? TRAP_FLOAT : 0;                            \
          size_t bytes = kind & 2 ? 128 : 0;                                           \
          __VA_ARGS__                                                                  \
        }                                                                              \
        if (check_now->failures != failures)                                           \
          printf("#   with %s, %s stack\n", pkeys_mechanism_name(gates[g].mechanism),  \
                 gates[g].foreign_stack ? "foreign" : "caller's");                     \
      });                                                                              \
    }                                                                                  \
  } while (0)

static void *thunk_of(const void *target, size_t stack_bytes, unsigned flags) {
  void *code = NULL;
  int rc = trap_thunk(target, stack_bytes, flags, NULL, &code);
  if (rc < 0) check_failed(__FILE__, __LINE__, "trap_thunk answers %d", rc);
  return code;
}

CHECK_TEST(all_results, "all result registers at once come through, callee-saved ones are kept") {
  EACH_GATE({
    struct registers r;
    registers_call(thunk_of((void *)results, bytes, thunk_flags), &r);
    check_results(&r);
    check_kept(&r);
  });
}

CHECK_TEST(ruined, "a callee that breaks the ABI does not break the VM: callee-saved registers come back") {
  EACH_GATE({
    struct registers r;
    registers_call(thunk_of((void *)results_and_ruin, bytes, thunk_flags), &r);
    check_results(&r);
    check_kept(&r);
  });
}

static bool backwards(void) {
  uint64_t flags;
  __asm__ volatile("pushfq\n popq %0" : "=r"(flags) : : "memory");
  return (flags & 0x400) != 0;
}
static bool callback_ran_backwards;
static void looks_at_direction(void) { callback_ran_backwards = backwards(); }
static void turns_direction(void (*callback)(void)) {
  __asm__ volatile("std" : : : "memory");
  if (callback != NULL) {
    callback();
    __asm__ volatile("std" : : : "memory");
  }
}
CHECK_TEST(direction, "a callee that calls back or returns with the direction flag set does not turn the VM's string "
                      "instructions round") {
  EACH_GATE({
    void (*turns)(void (*)(void)) = (void (*)(void (*)(void)))(uintptr_t)thunk_of((void *)turns_direction, bytes,
                                                                                  thunk_flags);
    turns(NULL);
    bool turned = backwards();
    __asm__ volatile("cld" : : : "memory");
    CHECK(!turned);
    void *callback = NULL;
    REQUIRE(trap_callback((void *)looks_at_direction, bytes, &callback) == 0);
    callback_ran_backwards = true;
    turns((void (*)(void))(uintptr_t)callback);
    turned = backwards();
    __asm__ volatile("cld" : : : "memory");
    CHECK(!turned);
    CHECK(!callback_ran_backwards);
  });
}

CHECK_TEST(environment, "a callee's own change of the floating-point environment stands, as in a raw call") {
  EACH_GATE({
    struct registers r;
    registers_call(thunk_of((void *)changes_environment, bytes, thunk_flags), &r);
    CHECK_EQ(r.mxcsr, 0x5f80);
    CHECK_EQ(r.fcw, 0x0b7f);
    __asm__ volatile("ldmxcsr %0" : : "m"(*(const uint32_t[]){0x1f80}));
  });
}

CHECK_TEST(al_kept, "al arrives as it was, in a callout and in a callback: the exact count of vector registers") {
  EACH_GATE({
    void *callback = NULL;
    REQUIRE(trap_callback((void *)rax_back, bytes, &callback) == 0);
    uint64_t (*calls_back)(void *, uint64_t) = (uint64_t (*)(void *, uint64_t))(uintptr_t)thunk_of((void *)rax_call, 0,
                                                                                                   thunk_flags);
    for (uint64_t al = 0; al <= 8; al++) {
      CHECK_EQ(rax_call(thunk_of((void *)rax_back, bytes, thunk_flags), al) & 0xff, al);
      CHECK_EQ(calls_back(callback, al) & 0xff, al);
    }
  });
}

static int fails_with(int error) {
  errno = error;
  return -1;
}
static int same(int x) { return x; }
CHECK_TEST(errno_kept, "errno: a callee's is seen, and the gate has none of its own") {
  EACH_GATE({
    int (*call)(int) = (int (*)(int))(uintptr_t)thunk_of((void *)fails_with, bytes, thunk_flags);
    errno = 0;
    CHECK_EQ(call(EXDEV), -1);
    CHECK_EQ(errno, EXDEV);
    call = (int (*)(int))(uintptr_t)thunk_of((void *)same, bytes, thunk_flags);
    errno = EDOM;
    CHECK_EQ(call(5), 5);
    CHECK_EQ(errno, EDOM);
  });
}

/* ---- vectors of 256 bits ---- */

typedef double wide __attribute__((vector_size(32)));
__attribute__((target("avx"), noinline)) static wide wide_sum(wide a, wide b, wide c, wide d, wide e, wide f, wide g,
                                                              wide h) {
  return a + b * 2 + c * 3 + d * 5 + e * 7 + f * 11 + g * 13 + h * 17;
}
__attribute__((target("avx"), noinline)) static void wide_call(void *function, double out[4]) {
  wide v[8];
  for (int i = 0; i < 8; i++) v[i] = (wide){i + 1, i + 10, i + 100, i + 1000};
  wide r = ((wide (*)(wide, wide, wide, wide, wide, wide, wide, wide))function)(v[0], v[1], v[2], v[3], v[4], v[5],
                                                                                v[6], v[7]);
  memcpy(out, &r, sizeof r);
}
CHECK_TEST(wide_vectors, "256-bit vectors pass in all eight registers, and back; in callbacks too") {
  if (!__builtin_cpu_supports("avx")) CHECK_SKIP("this CPU has no AVX");
  double raw[4];
  wide_call((void *)wide_sum, raw);
  EACH_GATE({
    double guarded[4] = {0};
    wide_call(thunk_of((void *)wide_sum, bytes, thunk_flags), guarded);
    CHECK(memcmp(guarded, raw, sizeof raw) == 0);
    void *callback = NULL;
    REQUIRE(trap_callback((void *)wide_sum, 0, &callback) == 0);
    ((void (*)(void *, double *))(uintptr_t)thunk_of((void *)wide_call, 0, thunk_flags))(callback, guarded);
    CHECK(memcmp(guarded, raw, sizeof raw) == 0);
  });
}

static void *wide_first_call(void *code) {
  static double guarded[4];
  wide_call(code, guarded);
  return guarded;
}
CHECK_TEST(wide_first, "256-bit vectors pass in a thread's first callout") {
  if (!__builtin_cpu_supports("avx")) CHECK_SKIP("this CPU has no AVX");
  double raw[4];
  wide_call((void *)wide_sum, raw);
  set_up(PKEYS_MECHANISM_FLAG, true);
  pthread_t thread;
  void *guarded = NULL;
  REQUIRE(pthread_create(&thread, NULL, wide_first_call, thunk_of((void *)wide_sum, 0, 0)) == 0);
  REQUIRE(pthread_join(thread, &guarded) == 0);
  CHECK(memcmp(guarded, raw, sizeof raw) == 0);
}

/* ---- arguments aligned beyond 16 bytes ---- */

struct line {
  _Alignas(64) long words[8];
};
__attribute__((noinline)) static long line_sum(struct line a, long b, struct line c) {
  return ((uintptr_t)&a % 64 != 0 || (uintptr_t)&c % 64 != 0)
             ? -1
             : a.words[0] + 2 * a.words[7] + 3 * b + 5 * c.words[0] + 7 * c.words[7];
}
CHECK_TEST(
    aligned,
    "arguments aligned to 64 bytes keep their alignment on a foreign stack, given a multiple of 64 as their bytes") {
  struct line a = {{1, 2, 3, 4, 5, 6, 7, 8}}, c = {{10, 20, 30, 40, 50, 60, 70, 80}};
  long raw = line_sum(a, 9, c);
  CHECK(raw > 0);
  set_up(PKEYS_MECHANISM_FLAG, true);
  long (*call)(struct line, long,
               struct line) = (long (*)(struct line, long, struct line))(uintptr_t)thunk_of((void *)line_sum, 128, 0);
  CHECK_EQ(call(a, 9, c), raw);
}

CHECK_MAIN()
