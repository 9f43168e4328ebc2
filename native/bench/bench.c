/*
 * turnkey-bench: the native loops behind the cost experiments.
 *
 *   turnkey-bench [--counted] [--samples N] [--batch-us N] ROW...        ROW: EXPERIMENT:MECHANISM:NAME=VALUE,..., e.g. flip:pkeys:imageBytes=65536; a / between rows is ignored
 *
 * One JSON line per row on standard output: {"row" (its number, from 0),"unit","repeats","samples":[...],"counts":{...}}, or
 * {"row","skipped":"why"}. A sample is the cost of one operation, the mean over one batch, the empty
 * loop subtracted.
 *
 * Without --counted: ns of CLOCK_MONOTONIC. With --counted, on a machine whose clock advances by one nanosecond for each executed
 * instruction (QEMU -icount shift=0): instructions. Then the program waits until the clock has settled, some seconds after boot, and sizes its
 * batches by count. Exit code 0, or 2 on wrong usage.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SETTLED_S 6          /* before, an early clock source misleads */
#define MAX_SAMPLES 1000

#ifndef TURNKEY_BENCH_CALLOUT
const char *bench_callout(struct bench_row *row) { (void)row; return "built without the gate"; }
const char *bench_fault(struct bench_row *row) { (void)row; return "built without the gate"; }
#endif

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void run_empty(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) __asm__ volatile("" : : : "memory");
}

static uint64_t timed(void (*run)(uint64_t), uint64_t times) {
  uint64_t start = now();
  run(times);
  return now() - start;
}

/* The smallest of a few: what the loop itself and the two clock readings cost. */
static uint64_t empty_cost(uint64_t times) {
  uint64_t least = UINT64_MAX;
  for (int i = 0; i < 5; i++) {
    uint64_t cost = timed(run_empty, times);
    if (cost < least) least = cost;
  }
  return least;
}

static void measure(struct bench_row *row, unsigned number, bool counted, unsigned samples, uint64_t batch_ns) {
  uint64_t times = 1, cost;
  /* Warm-up and sizing at once: batches double until one is long enough. */
  for (;;) {
    cost = timed(row->run, times);
    if (cost >= batch_ns || (row->at_most != 0 && times >= row->at_most)) break;
    times *= 2;
  }
  if (counted && times < 4 && cost < 20 * batch_ns) times = 4;
  uint64_t empty = empty_cost(times);
  printf("{\"row\":%u,\"unit\":\"%s\",\"repeats\":%" PRIu64 ",\"samples\":[", number, counted ? "instructions" : "ns", times);
  /* Long operations: fewer samples. Counted ones repeat within a few percent, and the sizing batch is one of them. */
  bool first_counts = counted && times == 1 && cost > 20 * batch_ns;
  if (cost > 20 * batch_ns) samples = first_counts ? (cost > 500 * batch_ns ? 0 : 1) : samples / 4 + 2;
  if (first_counts) printf(samples > 0 ? "%.3f," : "%.3f", (double)(cost - empty));
  for (unsigned i = 0; i < samples; i++) {
    cost = timed(row->run, times);
    double each = cost > empty ? (double)(cost - empty) / (double)times : 0;
    printf(i == 0 ? "%.3f" : ",%.3f", each);
  }
  printf("],\"counts\":{\"wrpkru\":%u,\"rdpkru\":%u,\"syscalls\":%u,\"faults\":%u}}\n", row->counts.wrpkru, row->counts.rdpkru,
         row->counts.syscalls, row->counts.faults);
  fflush(stdout);
}

/* EXPERIMENT:MECHANISM:NAME=VALUE,..., in place. */
static bool parse_row(char *text, struct bench_row *row) {
  char *mechanism = strchr(text, ':');
  char *bytes = mechanism == NULL ? NULL : strchr(mechanism + 1, ':');
  char *end = NULL;
  if (bytes == NULL) return false;
  *mechanism++ = 0;
  *bytes++ = 0;
  bytes = strstr(bytes, "imageBytes=");
  if (bytes == NULL) return false;
  *row = (struct bench_row){.experiment = text, .mechanism = mechanism, .image_bytes = strtoull(bytes + strlen("imageBytes="), &end, 10)};
  return (*end == 0 || *end == ',') && row->image_bytes > 0 && row->image_bytes % 4096 == 0;
}

static int usage(void) {
  fprintf(stderr, "usage: turnkey-bench [--counted] [--samples N] [--batch-us N] EXPERIMENT:MECHANISM:IMAGE_BYTES...\n"
                  "  EXPERIMENT: flip | callout | fault; IMAGE_BYTES: a multiple of 4096\n");
  return 2;
}

int main(int count, char **arguments) {
  bool counted = false;
  unsigned long samples = 0, batch_us = 0;
  int at = 1;
  for (; at < count && strncmp(arguments[at], "--", 2) == 0; at++) {
    if (strcmp(arguments[at], "--counted") == 0) counted = true;
    else if (strcmp(arguments[at], "--samples") == 0 && at + 1 < count) samples = strtoul(arguments[++at], NULL, 10);
    else if (strcmp(arguments[at], "--batch-us") == 0 && at + 1 < count) batch_us = strtoul(arguments[++at], NULL, 10);
    else return usage();
  }
  if (at == count || samples > MAX_SAMPLES) return usage();
  if (samples == 0) samples = counted ? 5 : 30;
  if (batch_us == 0) batch_us = counted ? 100 : 400;
  if (counted) {
    struct timespec settled = {.tv_sec = SETTLED_S};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &settled, NULL);
  }
  for (unsigned number = 0; at < count; at++) {
    struct bench_row row;
    if (strcmp(arguments[at], "/") == 0) continue;
    if (!parse_row(arguments[at], &row)) return usage();
    const char *why = strcmp(row.experiment, "flip") == 0      ? bench_flip(&row)
                      : strcmp(row.experiment, "callout") == 0 ? bench_callout(&row)
                      : strcmp(row.experiment, "fault") == 0   ? bench_fault(&row)
                                                               : "no such experiment";
    if (why != NULL) {
      printf("{\"row\":%u,\"skipped\":\"%s\"}\n", number++, why);
      continue;
    }
    measure(&row, number++, counted, (unsigned)samples, batch_us * 1000);
    row.take_down();
  }
  return 0;
}
