/*
 * clock.h: the clock of all cost rows, in ticks.
 *
 * Times: the time-stamp counter where it is invariant (CPUID 80000007H:EDX[8]) and RDTSCP is there, read between
 * serialising instructions (SDM vol. 2, RDTSC: LFENCE before and after) and calibrated against CLOCK_MONOTONIC_RAW;
 * else CLOCK_MONOTONIC, one tick per ns. Counts: CLOCK_MONOTONIC of a guest that advances it by 1 ns for each executed
 * instruction.
 */
#ifndef TURNKEY_BENCH_CLOCK_H
#define TURNKEY_BENCH_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct clock_facts {
  bool tsc;
  double ns_per_tick;
  uint64_t overhead; /* ticks between two readings with nothing in between: the median of many, the least where
                        instructions are counted */
  double overhead_ns;
  double drift; /* relative difference of two calibrations; 0 without TSC */
};
extern struct clock_facts bench_clock;

/* Chooses and calibrates, once. `counted`: see above. `monotonic`: CLOCK_MONOTONIC even where the TSC would do. */
void clock_set_up(bool counted, bool monotonic);
uint64_t clock_monotonic_ns(void);

static inline uint64_t clock_tsc(void) {
  uint32_t low, high;
  __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
  return (uint64_t)high << 32 | low;
}
/* Now, in ticks. Nothing before it is still under way, nothing after it has begun. */
static inline uint64_t clock_ticks(void) { return bench_clock.tsc ? clock_tsc() : clock_monotonic_ns(); }
/* Ticks since `start`, the clock's own cost taken off. */
static inline uint64_t clock_since(uint64_t start) {
  uint64_t passed = clock_ticks() - start;
  return passed > bench_clock.overhead ? passed - bench_clock.overhead : 0;
}
static inline double clock_ns(uint64_t ticks) { return (double)ticks * bench_clock.ns_per_tick; }

/* What the core's frequency was just now, in GHz, by a chain of dependent multiplications: the best of a few tries. */
double clock_core_ghz(void);

#endif
