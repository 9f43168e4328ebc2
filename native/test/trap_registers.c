/*
 * trap_registers.c: what passes through the gate, register by register, for each of its variants. They are flag, keys
 * and hooked (the slow gate), each with and without stack arguments, on a foreign stack and on the caller's, and with
 * and without the floating-point environment.
 *
 * Runs under valgrind (which complains of the stack switches and of bytes copied beyond the arguments, an upper bound
 * being enough) and -fsanitize=undefined.
 *
 * Each test was seen to fail with one line of the gate broken; the line is named there.
 */
#define _GNU_SOURCE
#include <complex.h>
#include <errno.h>
#include <fenv.h>
#include <stdarg.h>

#include "trap_common.h"

void bad_pop(void);

static void randomise(struct probe *p, uint64_t stack_words) {
  for (int i = 0; i < PROBE_INTEGERS; i++) p->integer[i] = check_random();
  p->variadic = check_random();
  for (int i = 0; i < PROBE_VECTORS; i++) p->vector[i][0] = check_random(), p->vector[i][1] = check_random();
  for (int i = 0; i < PROBE_STACK_WORDS; i++) p->stack[i] = check_random();
  memset(&probe_seen, 0, sizeof probe_seen);
  probe_seen.copied = stack_words;
  for (int i = 0; i < 2; i++) probe_seen.result[i] = check_random();
  for (int i = 0; i < PROBE_RESULT_VECTORS; i++)
    probe_seen.result_vector[i][0] = check_random(), probe_seen.result_vector[i][1] = check_random();
}

static void compare(const struct probe *p, uint64_t stack_words) {
  for (int i = 0; i < PROBE_INTEGERS; i++) CHECK_EQ(probe_seen.integer[i], p->integer[i]);
  CHECK_EQ(probe_seen.variadic & PROBE_VARIADIC_MASK, p->variadic & PROBE_VARIADIC_MASK);
  CHECK(memcmp(probe_seen.vector, p->vector, sizeof p->vector) == 0);
  for (uint64_t i = 0; i < stack_words; i++) CHECK_EQ(probe_seen.stack[i], p->stack[i]);
  CHECK_EQ(probe_seen.alignment, PROBE_ENTRY_ALIGNMENT);
  for (int i = 0; i < 2; i++) CHECK_EQ(p->result[i], probe_seen.result[i]);
  CHECK(memcmp(p->result_vector, probe_seen.result_vector, sizeof p->result_vector) == 0);
  for (int i = 0; i < PROBE_KEPT; i++) CHECK_EQ(p->saved[i], PROBE_SAVED(i));
  CHECK_EQ(p->stack_moved, 0);
  probe_check_environment(p, probe_environment(&probe_seen));
}

static void registers(struct way *way) {
  for (int round = 0; round < 20; round++) {
    /* stack_bytes 0: a gate without arguments; else an upper bound, often more than is copied. */
    uint64_t words = round % 4 == 0 ? 0 : 1 + check_random() % PROBE_STACK_WORDS;
    void *code = guarded(CODE(probe_callee), words * 8, way->flags);
    struct probe p;
    randomise(&p, words);
    probe_call(code, &p);
    compare(&p, words);
    struct trap_fault fault;
    CHECK(!trap_take_fault(&fault));
    trap_thunk_release(code);
  }
}

/* Broken once, each: `movq %r12, %rcx` after WRPKRU (rcx), `movq %r14, %rax` (al), `movq F_R13(%r10), %r13` (a callee's
 * r13 reaches the VM), the order of the stack copy. */
CHECK_TEST(
    all_registers,
    "every argument register, al, stack argument and result register passes; callee-saved registers are healed") {
  each_way(registers);
}

/* A thread's first callout takes the slow gate: same promise. */
static void *first_callout(void *code) {
  struct probe p;
  randomise(&p, PROBE_STACK_WORDS);
  probe_call(code, &p);
  compare(&p, PROBE_STACK_WORDS);
  return NULL;
}
static void first_on_a_thread(struct way *way) {
  void *code = guarded(CODE(probe_callee), 8 * PROBE_STACK_WORDS, way->flags);
  pthread_t thread;
  REQUIRE(pthread_create(&thread, NULL, first_callout, code) == 0);
  pthread_join(thread, NULL);
  trap_thunk_release(code);
}
CHECK_TEST(first_registers, "a thread's first callout passes every register too") { each_way(first_on_a_thread); }

/* ---- callback thunks: the same probe, from a callee ---- */

static void *callback_code;
static struct probe callback_in;
static void calls_back(void) { probe_call(callback_code, &callback_in); }

static void callback_registers(struct way *way) {
  callback_code = callback(CODE(probe_polite), 8 * PROBE_STACK_WORDS);
  __typeof__(&calls_back) call = GUARD(calls_back, 0, way->flags);
  for (int round = 0; round < 5; round++) {
    randomise(&callback_in, PROBE_STACK_WORDS);
    call();
    struct trap_fault fault;
    CHECK(!trap_take_fault(&fault));
    compare(&callback_in, PROBE_STACK_WORDS);
  }
  CHECK_EQ(trap_thunk_release((void *)(uintptr_t)call), 0);
  CHECK_EQ(trap_callback_release(callback_code), 0);
}
CHECK_TEST(callback_all_registers,
           "a callback receives every argument register and stack argument, and its results come back") {
  each_way(callback_registers);
}

#ifdef PROBE_WIDE
/* ---- vector registers beyond 128 bits ---- */

static void wide(struct way *way) {
  uint8_t in[8][32], out[2][32];
  for (int i = 0; i < 256; i++) ((uint8_t *)in)[i] = (uint8_t)(i * 7 + 1);
  void *code = guarded(CODE(probe_ymm_callee), 0, way->flags);
  for (int round = 0; round < 2; round++) {
    memset(&probe_seen, 0, sizeof probe_seen);
    memset(out, 0, sizeof out);
    probe_ymm_call(code, (const uint8_t (*)[32])in, out);
    CHECK(memcmp(&probe_seen, in, sizeof in) == 0);
    CHECK(memcmp(out[0], in[7], 32) == 0 && memcmp(out[1], in[6], 32) == 0);
  }
  trap_thunk_release(code);
}
CHECK_TEST(wide_vectors, "256-bit vector arguments and results pass") {
  if (!PROBE_WIDE) CHECK_SKIP("this CPU has no AVX2");
  each_way(wide);
}
#endif

/* ---- results of every class, by the compiler's own idea of the ABI ---- */

__attribute__((noinline)) static long double ld_result(long double a, int b, long double c) { return a * b + c; }
__attribute__((noinline)) static long double _Complex cld_result(long double re, long double im) {
  return re + im * (long double _Complex)I;
}
__attribute__((noinline)) static __int128 i128_result(__int128 a, int b) { return a * b; }
__attribute__((noinline)) static double _Complex cd_result(double re, double im) {
  return re + im * (double _Complex)I;
}
__attribute__((noinline)) static float _Complex cf_result(float re, float im) { return re + im * (float _Complex)I; }
struct mixed {
  double d;
  long i;
};
struct big {
  long words[12];
};
struct tiny {
  char c[3];
};
__attribute__((noinline)) static struct mixed mixed_result(long i, double d) { return (struct mixed){d, i}; }
__attribute__((noinline)) static struct big big_result(struct big in, long add) {
  for (int i = 0; i < 12; i++) in.words[i] += add;
  return in;
}
__attribute__((noinline)) static struct tiny tiny_result(struct tiny in) {
  return (struct tiny){{in.c[2], in.c[1], in.c[0]}};
}
__attribute__((noinline)) static double variadic_sum(int n, ...) {
  va_list list;
  va_start(list, n);
  double sum = 0;
  for (int i = 0; i < n; i++) sum += i % 2 ? va_arg(list, double) : (double)va_arg(list, long);
  va_end(list);
  return sum;
}

static void classes(struct way *way) {
  __typeof__(&ld_result) ld = GUARD(ld_result, 32, way->flags);
  CHECK(ld(1.5L, 3, 0.25L) == 4.75L);
  __typeof__(&cld_result) cld = GUARD(cld_result, 32, way->flags);
  long double _Complex z = cld(1.25L, -2.5L);
  CHECK(creall(z) == 1.25L && cimagl(z) == -2.5L);
  __typeof__(&i128_result) i128 = GUARD(i128_result, 0, way->flags);
  CHECK(i128(((__int128)1 << 100) + 7, -3) == -3 * (((__int128)1 << 100) + 7));
  __typeof__(&cd_result) cd = GUARD(cd_result, 0, way->flags);
  CHECK(creal(cd(1.5, 2.5)) == 1.5 && cimag(cd(1.5, 2.5)) == 2.5);
  __typeof__(&cf_result) cf = GUARD(cf_result, 0, way->flags);
  CHECK(crealf(cf(1.5f, 2.5f)) == 1.5f && cimagf(cf(1.5f, 2.5f)) == 2.5f);
  __typeof__(&mixed_result) mx = GUARD(mixed_result, 0, way->flags);
  CHECK(mx(77, 0.5).d == 0.5 && mx(77, 0.5).i == 77);
  __typeof__(&big_result) bg = GUARD(big_result, sizeof(struct big), way->flags);
  struct big in, out;
  for (int i = 0; i < 12; i++) in.words[i] = i * 1000;
  out = bg(in, 5);
  for (int i = 0; i < 12; i++) CHECK_EQ(out.words[i], i * 1000 + 5);
  __typeof__(&tiny_result) tn = GUARD(tiny_result, 0, way->flags);
  struct tiny t = tn((struct tiny){"abc"});
  CHECK(memcmp(t.c, "cba", 3) == 0);
  __typeof__(&variadic_sum) vs = GUARD(variadic_sum, 128, way->flags);
  CHECK(vs(18, 1L, 2.0, 3L, 4.0, 5L, 6.0, 7L, 8.0, 9L, 10.0, 11L, 12.0, 13L, 14.0, 15L, 16.0, 17L, 18.0) == 171.0);
  void *all[] = {(void *)ld, (void *)cld, (void *)i128, (void *)cd, (void *)cf,
                 (void *)mx, (void *)bg,  (void *)tn,   (void *)vs};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) CHECK_EQ(trap_thunk_release(all[i]), 0);
}
/* Broken once: an fninit in trap_slow_return (x87 results are lost on hooked ways). */
CHECK_TEST(result_classes, "results of every class: long double (x87: st0, st1), __int128, _Complex, structs in "
                           "registers and in memory, variadic") {
  each_way(classes);
}

/* The largest stack argument block there is. */
struct huge {
  long words[TRAP_MAX_STACK_BYTES / 8];
};
__attribute__((noinline)) static long huge_sum(struct huge in) {
  unsigned long sum = 0;
  for (size_t i = 0; i < sizeof in.words / 8; i++) sum = sum * 31 + (unsigned long)in.words[i];
  return (long)sum;
}
static void largest(struct way *way) {
  static struct huge in;
  for (size_t i = 0; i < sizeof in.words / 8; i++) in.words[i] = (long)check_random();
  __typeof__(&huge_sum) guarded_sum = GUARD(huge_sum, sizeof in, way->flags);
  CHECK_EQ(guarded_sum(in), huge_sum(in));
  trap_thunk_release((void *)(uintptr_t)guarded_sum);
}
CHECK_TEST(largest_arguments, "512 KiB of stack arguments pass") { each_way(largest); }

/* ---- errno and the floating-point environment on the normal way back ---- */

__attribute__((noinline)) static int sets_errno(int value) {
  if (value) errno = value;
  return errno;
}
static void errno_passes(struct way *way) {
  __typeof__(&sets_errno) set = GUARD(sets_errno, 0, way->flags);
  errno = EDOM;
  CHECK_EQ(set(0), EDOM);
  CHECK_EQ(errno, EDOM);
  CHECK_EQ(set(EILSEQ), EILSEQ);
  CHECK_EQ(errno, EILSEQ);
  trap_thunk_release((void *)(uintptr_t)set);
}
CHECK_TEST(errno_both_ways, "errno passes into the callee and back") { each_way(errno_passes); }

__attribute__((noinline)) static int sets_rounding(int rounding) {
  int before = fegetround();
  if (rounding >= 0) fesetround(rounding);
  return before;
}
static void rounding_passes(struct way *way) {
  __typeof__(&sets_rounding) set = GUARD(sets_rounding, 0, way->flags);
  fesetround(FE_UPWARD);
  CHECK_EQ(set(-1), FE_UPWARD);
  CHECK_EQ(fegetround(), FE_UPWARD);
  /* A callee may change it on purpose (fesetround is such a callee): on the normal way back it is left alone. */
  CHECK_EQ(set(FE_TONEAREST), FE_UPWARD);
  CHECK_EQ(fegetround(), FE_TONEAREST);
  trap_thunk_release((void *)(uintptr_t)set);
}
CHECK_TEST(rounding_both_ways, "the rounding mode passes into the callee, and a callee may change it") {
  each_way(rounding_passes);
}

/* ---- a callee that breaks the convention ---- */

static void bent(struct way *way) {
  CHECK_DIES_SAYING(SIGABRT, "another stack pointer", GUARD(bad_pop, 0, way->flags)());
  CHECK_DIES_SAYING(SIGABRT, "another stack pointer", GUARD(bad_pop, 64, way->flags)());
}
/* Broken once: the comparison with T_FSP left out (the VM goes on with a callee's stack pointer). */
CHECK_TEST(bent_stack_pointer, "a callee that returns with a bent stack pointer ends the process with a message") {
  each_way(bent);
}

CHECK_MAIN()
