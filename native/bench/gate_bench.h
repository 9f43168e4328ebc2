/*
 * gate_bench.h: a row of turnkey-gate-bench: what is called, by which loop, and compared with which raw call.
 */
#ifndef TURNKEY_BENCH_GATE_BENCH_H
#define TURNKEY_BENCH_GATE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkeys.h"

#define MAX_ROWS 40
#define MAX_ROUNDS 2000

struct row;
typedef void loop(const struct row *row, uint64_t times);
struct row {
  const char *name, *mechanism;
  bool foreign, floats;
  int arguments;
  loop *run;
  void *function;
  void *parameter;
  int raw; /* index of the raw call that it is compared with */
  bool costly;
  uint64_t repeats;
  double best, samples[MAX_ROUNDS];
};

/* ---- gate_bench_calls.c: the callees, and the loops around them -------------------------------------------------- */

typedef long function6(long, long, long, long, long, long);
long callee0(void);
long callee6(long a, long b, long c, long d, long e, long f);
long callee12(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k, long l);
long faulting(void);
long calling_back(long (*callback)(void));
enum { IN_TURN = 8 }; /* functions that turn_raw, turn_gate and turn_sigsetjmp call in turn */
extern function6 *const others[IN_TURN];
extern function6 *guarded_others[IN_TURN];
extern int own_key; /* that pkey_set_pair sets; -1 while there is none */

/* A loop that no other row has, around calls with 0, 6 or 12 arguments; around calls with the row's parameter. */
loop *fresh_loop(int arguments);
loop *fresh_parameter_loop(void);
loop sigsetjmp0, sigsetjmp1, volatile_raw, volatile_gate, turn_raw, turn_gate, turn_sigsetjmp, pkey_set_pair;

/* ---- gate_bench_rows.c: the rows of a process -------------------------------------------------------------------- */

extern struct row rows[MAX_ROWS];
extern int row_count;
/* Sets an image of `pages` pages up under `mechanism`, and fills `rows`. 0 or a negative errno. */
int rows_set_up(enum pkeys_mechanism mechanism, size_t pages);

#endif
