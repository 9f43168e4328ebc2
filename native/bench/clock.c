/* clock.c: see clock.h. clock_gettime(2); CPUID: SDM vol. 2A. */
#define _GNU_SOURCE
#include "clock.h"

#include <cpuid.h>
#include <stdlib.h>
#include <time.h>

#define CALIBRATE_NS 20000000u
#define READINGS 1001

struct clock_facts bench_clock = {.ns_per_tick = 1};

static uint64_t read_clock(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t clock_monotonic_ns(void) { return read_clock(CLOCK_MONOTONIC); }

static bool invariant_tsc(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(0x80000000u, &a, &b, &c, &d) || a < 0x80000007u) return false;
  __get_cpuid(0x80000007u, &a, &b, &c, &d);
  return (d & (1u << 8)) != 0;
}

/* ns per tick over a while. Each end is the closest of a few pairs of readings, so that an interruption between the two
 * does not count. */
static void both(uint64_t *tsc, uint64_t *ns) {
  uint64_t closest = UINT64_MAX;
  for (int i = 0; i < 9; i++) {
    uint64_t before = clock_tsc(), now = read_clock(CLOCK_MONOTONIC_RAW), after = clock_tsc();
    if (after - before >= closest) continue;
    closest = after - before;
    *tsc = before + closest / 2;
    *ns = now;
  }
}
static double calibrate(void) {
  uint64_t tsc0 = 0, ns0 = 0, tsc1 = 0, ns1 = 0;
  both(&tsc0, &ns0);
  while (read_clock(CLOCK_MONOTONIC_RAW) - ns0 < CALIBRATE_NS) continue;
  both(&tsc1, &ns1);
  return (double)(ns1 - ns0) / (double)(tsc1 - tsc0);
}

static int by_size(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

void clock_set_up(bool counted, bool monotonic) {
  static uint64_t readings[READINGS];
  bench_clock = (struct clock_facts){.ns_per_tick = 1};
  if (!counted && !monotonic && invariant_tsc()) {
    double first = calibrate(), second = calibrate();
    bench_clock.tsc = true;
    bench_clock.ns_per_tick = (first + second) / 2;
    bench_clock.drift = second / first - 1;
  }
  for (int i = 0; i < READINGS; i++) {
    uint64_t start = clock_ticks();
    readings[i] = clock_ticks() - start;
  }
  qsort(readings, READINGS, sizeof *readings, by_size);
  bench_clock.overhead = readings[counted ? 0 : READINGS / 2];
  bench_clock.overhead_ns = clock_ns(bench_clock.overhead);
}

double clock_core_ghz(void) {
  double best = 0;
  for (int i = 0; i < 5; i++) {
    uint64_t start = clock_ticks(), left = 20000, product = 3;
    /* A dependent multiplication takes three cycles on every x86-64 of the last fifteen years (uops.info); the counting
     * goes on beside it. */
    __asm__ volatile("1: imul %0, %0\n\tdec %1\n\tjnz 1b" : "+r"(product), "+r"(left) : : "cc");
    double ghz = 60000 / clock_ns(clock_since(start));
    if (ghz > best) best = ghz;
  }
  return best;
}
