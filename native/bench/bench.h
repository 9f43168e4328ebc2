/*
 * bench.h: one cost row: what to set up, what to repeat, what to take down; and what rows share. No Node.
 *
 * A row runs in a process of its own (bench.c), so its state may be static. Whatever closes an image is tried before it
 * is measured: what does not deny is not timed.
 */
#ifndef TURNKEY_BENCH_H
#define TURNKEY_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"

#define BENCH_PAGE 4096u

struct bench_counts {
  unsigned wrpkru, rdpkru, syscalls, faults; /* in one operation, from the code path */
};

#define BENCH_OBSERVED 6
/* What a row saw besides its samples, added up over its processes: bystander faults, for example. */
struct bench_observed {
  char name[28];
  double value;
};

struct bench_row {
  const char *experiment;
  const char *mechanism;
  const char *options; /* name=value,name=value */
  bool cold;           /* one operation in each process: what is asked for is the first one */
  /* Filled by set-up, in the row's own process. One of run and timed: */
  void (*run)(uint64_t times);     /* repeats the operation; timed from outside */
  double (*timed)(uint64_t times); /* repeats the operation, and returns the ticks of what is asked for, the clock's own
                                      cost taken off */
  void (*take_down)(void);
  struct bench_counts counts;
  uint64_t at_most;     /* repeats in a batch at most (0: no limit) */
  bool many_processors; /* is not to be pinned to one */
  const char *warning;  /* of set-up: a code of src/record/warnings.ts; static text */
  struct bench_observed observed[BENCH_OBSERVED];
};

/* The value of an option; `missing` where there is none. */
uint64_t bench_number(const struct bench_row *row, const char *name, uint64_t missing);
/* Whether the option `name` has the value `text`. */
bool bench_is(const struct bench_row *row, const char *name, const char *text);
void bench_observe(struct bench_row *row, const char *name, double value);
/* The CPU and the kernel have protection keys (CPUID OSPKE). */
bool bench_have_keys(void);
/* The processors that this process may run on, at most `most`; how many. Asked for before anything was pinned. */
unsigned bench_processors(unsigned *list, unsigned most);
/* Pins the calling thread. False where that is not to be had. */
bool bench_pin(unsigned processor);
/* A reason made of a format; static text. */
const char *bench_why(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- set-up, by experiment. NULL, or why this row cannot be measured here (static text). ---- */
const char *bench_flip(struct bench_row *row);
const char *bench_callout(struct bench_row *row);
const char *bench_hardened(struct bench_row *row);
const char *bench_gate(struct bench_row *row);
const char *bench_fault(struct bench_row *row);
const char *bench_revisit(struct bench_row *row);
const char *bench_threads(struct bench_row *row);
const char *bench_alternatives(struct bench_row *row);
const char *bench_adopted(struct bench_row *row);
const char *bench_virtual(struct bench_row *row);

#endif
