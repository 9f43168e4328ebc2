/*
 * gate_bench_calls.c: what turnkey-gate-bench calls, and the loops around it. Results go into the next call, as in code
 * that uses them.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "gate_bench.h"

#define CALLEE __attribute__((noinline, noipa, aligned(64)))
CALLEE long callee0(void) { return 1; }
CALLEE long callee6(long a, long b, long c, long d, long e, long f) { return a + b + c + d + e + f; }
CALLEE long callee12(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k, long l) {
  return a + b + c + d + e + f + g + h + i + j + k + l;
}
static volatile long *volatile nowhere;
CALLEE long faulting(void) { return *nowhere; }
CALLEE long calling_back(long (*callback)(void)) { return callback() + 1; }

/*
 * Each row has a loop of its own, and so a call site of its own: rows must not make each other slow. Once an indirect
 * call has had more than one target, another part of the CPU predicts it. That takes a cycle or two longer on the CPUs
 * at hand.
 */
typedef long function0(void);
typedef long function1(void *);
typedef long function12(long, long, long, long, long, long, long, long, long, long, long, long);
static volatile long sink;
#define SITE __attribute__((noinline, noipa, aligned(64)))
#define LOOPS(n)                                                                             \
  SITE static void call0_##n(const struct row *row, uint64_t times) {                        \
    function0 *f = (function0 *)(uintptr_t)row->function;                                    \
    long s = 0;                                                                              \
    for (uint64_t i = 0; i < times; i++) s += f();                                           \
    sink = s;                                                                                \
  }                                                                                          \
  SITE static void call6_##n(const struct row *row, uint64_t times) {                        \
    function6 *f = (function6 *)(uintptr_t)row->function;                                    \
    long s = 0;                                                                              \
    for (uint64_t i = 0; i < times; i++) s = f(s, (long)i, 3, 4, 5, 6);                      \
    sink = s;                                                                                \
  }                                                                                          \
  SITE static void call12_##n(const struct row *row, uint64_t times) {                       \
    function12 *f = (function12 *)(uintptr_t)row->function;                                  \
    long s = 0;                                                                              \
    for (uint64_t i = 0; i < times; i++) s = f(s, (long)i, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12); \
    sink = s;                                                                                \
  }                                                                                          \
  SITE static void parameter_##n(const struct row *row, uint64_t times) {                    \
    function1 *f = (function1 *)(uintptr_t)row->function;                                    \
    long s = 0;                                                                              \
    for (uint64_t i = 0; i < times; i++) s += f(row->parameter);                             \
    sink = s;                                                                                \
  }
#define SITES(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
SITES(LOOPS)
#define LIST(name) {name##_0, name##_1, name##_2, name##_3, name##_4, name##_5, name##_6, name##_7}
enum { LOOPS_OF_A_KIND = 8 };

static loop *fresh(loop *const loops[LOOPS_OF_A_KIND], unsigned *used) {
  if (*used == LOOPS_OF_A_KIND) abort();
  return loops[(*used)++];
}
loop *fresh_loop(int arguments) {
  static loop *const call0[] = LIST(call0), *const call6[] = LIST(call6), *const call12[] = LIST(call12);
  static unsigned used0, used6, used12;
  switch (arguments) {
    case 0: return fresh(call0, &used0);
    case 6: return fresh(call6, &used6);
    case 12: return fresh(call12, &used12);
    default: abort();
  }
}
loop *fresh_parameter_loop(void) {
  static loop *const with_parameter[] = LIST(parameter);
  static unsigned used;
  return fresh(with_parameter, &used);
}

static sigjmp_buf buffer;
#define SIGSETJMP(mask)                                                \
  SITE void sigsetjmp##mask(const struct row *row, uint64_t times) {   \
    function6 *f = (function6 *)(uintptr_t)row->function;              \
    volatile long s = 0; /* what lives across a setjmp */              \
    for (volatile uint64_t i = 0; i < times; i++)                      \
      if (sigsetjmp(buffer, mask) == 0) s = f(s, (long)i, 3, 4, 5, 6); \
    sink = s;                                                          \
  }
SIGSETJMP(0)
SIGSETJMP(1)
/* The loop that the two above have, with its volatile variables, around a raw call and a guarded one. */
#define AS_SIGSETJMP(name)                                                       \
  SITE void name(const struct row *row, uint64_t times) {                        \
    function6 *f = (function6 *)(uintptr_t)row->function;                        \
    volatile long s = 0;                                                         \
    for (volatile uint64_t i = 0; i < times; i++) s = f(s, (long)i, 3, 4, 5, 6); \
    sink = s;                                                                    \
  }
AS_SIGSETJMP(volatile_raw)
AS_SIGSETJMP(volatile_gate)

/* Eight functions in turn from one call site, as a VM calls them: the raw call pays for its prediction too. */
#define FUNCTION(n) \
  CALLEE static long other_##n(long a, long b, long c, long d, long e, long f) { return a + b + c + d + e + f + n; }
SITES(FUNCTION)
function6 *const others[IN_TURN] = LIST(other);
function6 *guarded_others[IN_TURN];
SITE void turn_raw(const struct row *row, uint64_t times) {
  (void)row;
  long s = 0;
  for (uint64_t i = 0; i < times; i++) s = others[i % IN_TURN](s, (long)i, 3, 4, 5, 6);
  sink = s;
}
SITE void turn_gate(const struct row *row, uint64_t times) {
  (void)row;
  long s = 0;
  for (uint64_t i = 0; i < times; i++) s = guarded_others[i % IN_TURN](s, (long)i, 3, 4, 5, 6);
  sink = s;
}
SITE void turn_sigsetjmp(const struct row *row, uint64_t times) {
  (void)row;
  volatile long s = 0;
  for (volatile uint64_t i = 0; i < times; i++)
    if (sigsetjmp(buffer, 0) == 0) s = others[i % IN_TURN](s, (long)i, 3, 4, 5, 6);
  sink = s;
}
int own_key = -1;
SITE void pkey_set_pair(const struct row *row, uint64_t times) {
  function6 *f = (function6 *)(uintptr_t)row->function;
  long s = 0;
  for (uint64_t i = 0; i < times; i++) {
    pkey_set(own_key, PKEY_DISABLE_WRITE);
    s = f(s, (long)i, 3, 4, 5, 6);
    pkey_set(own_key, 0);
  }
  sink = s;
}
