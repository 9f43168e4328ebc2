/*
 * model.c: a model of protection keys for CPUs without: the delay that stands where the gate would write PKRU,
 * calibrated. For measurement only; it protects nothing, and no mechanism of native/pkeys is it. The delay itself is in
 * gate_*.S.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <time.h>

#include "internal.h"

#define BATCH 20000
#define TRIES 15

/* gate_*.S */
GATE_FAMILY(trap_gate_model);
extern const char trap_model_chain[], trap_model_chain_end[];
extern const char *trap_model_into;
static const char *const model_gates[GATE_VARIANTS] = GATE_LIST(trap_gate_model);

/* In pages of the program's own: the gate reads it, and what does not protect need not be protected. */
const char *trap_model_into = trap_model_chain_end;

static const char *chain_of(unsigned steps) { return trap_model_chain_end - (size_t)steps * MODEL_STEP_BYTES; }

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void run(unsigned times) {
  for (unsigned i = 0; i < times; i++) trap_model_write();
}
static void run_empty(unsigned times) {
  for (unsigned i = 0; i < times; i++) __asm__ volatile("" : : : "memory");
}

/* ns of one delay: the least of several batches, which interruptions only lengthen; the loop itself subtracted. */
static double delay_ns(unsigned steps) {
  trap_model_into = chain_of(steps);
  uint64_t least = UINT64_MAX, empty = UINT64_MAX;
  for (int i = 0; i < TRIES; i++) {
    uint64_t start = now_ns();
    run(BATCH);
    uint64_t ran = now_ns();
    run_empty(BATCH);
    uint64_t end = now_ns();
    if (ran - start < least) least = ran - start;
    if (end - ran < empty) empty = end - ran;
  }
  return least > empty ? (double)(least - empty) / BATCH : 0;
}

int trap_model(unsigned cycles, double *reached) {
  if (pkeys_supported()) return -ENOTSUP;
  if (cycles > TRAP_MODEL_MOST_CYCLES) return -ERANGE;
  int rc = trap_attach_vm();
  if (rc < 0) return rc;
  unsigned steps = 0;
  double told = 0;
  if (cycles != 0) {
    _Static_assert(TRAP_MODEL_MOST_CYCLES <= MODEL_STEPS * MODEL_STEP_CYCLES, "the chain is long enough");
    /* A step is three cycles on every x86-64 CPU of the last fifteen years. So the chain tells how long a cycle is, and
     * with that what the fences cost. */
    double without = delay_ns(0), with = delay_ns(MODEL_STEPS);
    double cycle_ns = (with - without) / (MODEL_STEPS * MODEL_STEP_CYCLES);
    if (!(cycle_ns > 0)) return -EAGAIN;
    double least = without / cycle_ns;
    if (cycles > least) steps = (unsigned)((cycles - least) / MODEL_STEP_CYCLES + 0.5);
    /* Then by what a delay of so many steps is seen to take: the fences hide a few of them. */
    unsigned best = steps;
    for (int i = 0; i < 3; i++) {
      double seen = delay_ns(steps) / cycle_ns, off = seen - cycles;
      if (i == 0 || (off < 0 ? -off : off) < (told > cycles ? told - cycles : cycles - told)) best = steps, told = seen;
      double next = (double)steps - off / MODEL_STEP_CYCLES;
      steps = next < 0 ? 0 : next > MODEL_STEPS ? MODEL_STEPS : (unsigned)(next + 0.5);
    }
    steps = best;
  }
  trap_model_into = chain_of(steps);
  trap_arena.shared.model = cycles != 0;
  trap_arena.shared.model_gates = cycles != 0 ? model_gates : NULL;
  trap_refresh();
  if (reached != NULL) *reached = told;
  return 0;
}
