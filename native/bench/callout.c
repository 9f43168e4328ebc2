/*
 * callout: a guarded call of an empty function, in C. `none` is the raw call: what the others are compared with.
 * revisit: what the VM pays when it comes back to its image after a callout.
 * Options: pages; bare (1: a gate that closes nothing, which must be found out); revisit also touchedPages, access
 * (read | write). trap.h.
 */
#include "guarded.h"

#include <string.h>

static __attribute__((noinline)) void nothing(void) { __asm__ volatile(""); }
static void (*volatile callee)(void);

static void run_calls(uint64_t times) {
  void (*call)(void) = callee;
  for (uint64_t i = 0; i < times; i++) call();
}

const char *bench_callout(struct bench_row *row) {
  const char *why = guarded_set_up(row, bench_number(row, "bare", 0) != 0 ? TRAP_BARE : 0);
  if (why != NULL) return why;
  callee = guarded.mechanism == PKEYS_MECHANISM_NONE
               ? nothing
               : (void (*)(void))(uintptr_t)guarded_thunk((const void *)(uintptr_t)nothing, 0, 0);
  row->run = run_calls;
  return NULL;
}

static size_t touched_pages;

/* Each page at a line of its own, so that touching many is not a matter of one set of the cache. */
static inline char *line_of(size_t page) { return guarded.memory + page * BENCH_PAGE + (page * 64) % BENCH_PAGE; }

static double revisit_writing(uint64_t times) {
  void (*call)(void) = callee;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < times; i++) {
    call();
    uint64_t start = clock_ticks();
    for (size_t page = 0; page < touched_pages; page++) *(volatile char *)line_of(page) = 1;
    sum += clock_since(start);
  }
  return (double)sum;
}
static double revisit_reading(uint64_t times) {
  void (*call)(void) = callee;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < times; i++) {
    call();
    uint64_t start = clock_ticks();
    for (size_t page = 0; page < touched_pages; page++) (void)*(volatile char *)line_of(page);
    sum += clock_since(start);
  }
  return (double)sum;
}

const char *bench_revisit(struct bench_row *row) {
  const char *why = bench_callout(row);
  if (why != NULL) return why;
  touched_pages = bench_number(row, "touchedPages", 1);
  if (touched_pages * BENCH_PAGE > guarded.bytes) return "more pages than the image has";
  row->timed = bench_is(row, "access", "read") ? revisit_reading : revisit_writing;
  row->run = NULL;
  row->counts = (struct bench_counts){0, 0, 0, 0}; /* of touching; the callout is not part of it */
  return NULL;
}
