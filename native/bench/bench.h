/* bench.h: one cost row: what to set up, what to repeat, what to take down. No Node. */
#ifndef TURNKEY_BENCH_H
#define TURNKEY_BENCH_H

#include <stddef.h>
#include <stdint.h>

struct bench_counts {
  unsigned wrpkru, rdpkru, syscalls, faults;   /* in one operation, from the code path */
};

struct bench_row {
  const char *experiment;      /* flip | callout | fault */
  const char *mechanism;
  size_t image_bytes;
  /* Filled by set-up: */
  void (*run)(uint64_t times); /* repeats the operation */
  void (*take_down)(void);
  struct bench_counts counts;
  uint64_t at_most;            /* repeats in a batch at most (0: no limit) */
};

/* Sets a row up. NULL, or why this row cannot be measured here (static text or strerror's). */
const char *bench_flip(struct bench_row *row);
const char *bench_callout(struct bench_row *row);
const char *bench_fault(struct bench_row *row);

#endif
