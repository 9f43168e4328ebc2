/*
 * gate: what the gate adds to a call, in C.
 *
 * Options: way (raw: the function itself; gate: guarded, under the row's mechanism; sigsetjmp0, sigsetjmp1: a sigsetjmp
 * before each call, without and with the signal mask, as a VM without a gate would make a recovery point), arguments
 * (0, 6, or 12, of which 6 are on the stack), foreignStack (1: the callee runs on the foreign stack), floats (1: the
 * floating-point environment is saved on each call), pages. Results go into the next call, as in code that uses them.
 * Every row is a process of its own, so no two share a call site.
 */
#include "guarded.h"

#include <setjmp.h>
#include <string.h>

#define CALLEE static __attribute__((noinline, noipa, aligned(64)))
CALLEE long callee0(void) { return 1; }
CALLEE long callee6(long a, long b, long c, long d, long e, long f) { return a + b + c + d + e + f; }
CALLEE long callee12(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k, long l) {
  return a + b + c + d + e + f + g + h + i + j + k + l;
}

static void *function;
static volatile long sink;
static sigjmp_buf buffer;

#define CALL0(f, s, i) ((long (*)(void))(f))()
#define CALL6(f, s, i) ((long (*)(long, long, long, long, long, long))(f))(s, (long)(i), 3, 4, 5, 6)
#define CALL12(f, s, i)                                                                                                \
  ((long (*)(long, long, long, long, long, long, long, long, long, long, long, long))(f))(s, (long)(i), 3, 4, 5, 6, 7, \
                                                                                          8, 9, 10, 11, 12)
#define LOOP(arguments)                                                \
  CALLEE void run##arguments(uint64_t times) {                         \
    void *f = function;                                                \
    long s = 0;                                                        \
    for (uint64_t i = 0; i < times; i++) s = CALL##arguments(f, s, i); \
    sink = s;                                                          \
  }
/* What lives across a setjmp is volatile: that is part of what it costs. */
#define SETJMP_LOOP(arguments, mask)                                  \
  CALLEE void sigsetjmp##arguments##_##mask(uint64_t times) {         \
    void *f = function;                                               \
    volatile long s = 0;                                              \
    for (volatile uint64_t i = 0; i < times; i++)                     \
      if (sigsetjmp(buffer, mask) == 0) s = CALL##arguments(f, s, i); \
    sink = s;                                                         \
  }
#define LOOPS(arguments) LOOP(arguments) SETJMP_LOOP(arguments, 0) SETJMP_LOOP(arguments, 1)
LOOPS(0)
LOOPS(6)
LOOPS(12)

const char *bench_gate(struct bench_row *row) {
  static const struct {
    uint64_t arguments;
    const void *callee;
    size_t stack_bytes;
    void (*run)(uint64_t), (*sigsetjmp0)(uint64_t), (*sigsetjmp1)(uint64_t);
  } calls[] = {{0, (const void *)callee0, 0, run0, sigsetjmp0_0, sigsetjmp0_1},
               {6, (const void *)callee6, 0, run6, sigsetjmp6_0, sigsetjmp6_1},
               {12, (const void *)callee12, 48, run12, sigsetjmp12_0, sigsetjmp12_1}};
  uint64_t arguments = bench_number(row, "arguments", 0);
  size_t at = 0;
  while (at < sizeof calls / sizeof *calls && calls[at].arguments != arguments) at++;
  if (at == sizeof calls / sizeof *calls) return "0, 6 or 12 arguments";
  const char *why = guarded_set_up(row, 0);
  if (why != NULL) return why;
  row->run = calls[at].run;
  function = (void *)(uintptr_t)calls[at].callee;
  if (bench_is(row, "way", "gate")) {
    if (trap_set_foreign_stack(bench_number(row, "foreignStack", 1) != 0, 0) != 0)
      return "the foreign stack cannot be switched";
    function = guarded_thunk(calls[at].callee, calls[at].stack_bytes,
                             bench_number(row, "floats", 0) != 0 ? TRAP_FLOAT : 0);
  } else if (guarded.mechanism != PKEYS_MECHANISM_NONE) return "only the gate has a mechanism";
  else if (bench_is(row, "way", "sigsetjmp0")) row->run = calls[at].sigsetjmp0;
  else if (bench_is(row, "way", "sigsetjmp1"))
    row->run = calls[at].sigsetjmp1, row->counts.syscalls = 1; /* rt_sigprocmask */
  else if (!bench_is(row, "way", "raw")) return "no such way";
  return NULL;
}
