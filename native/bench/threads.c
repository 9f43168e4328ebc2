/*
 * threads: one VM thread makes callouts back to back while other VM threads work.
 *
 * Options: pages; threads: how many others, each pinned to a processor of its own as far as there are any besides the
 * first one's; work: what they do: read (a word of each page of the image in turn), write, allocate (malloc and free of
 * 64 bytes, nothing of the image); measure: others (ns that one operation of one of them takes, from all that they got
 * done in a window) or callouts (ns of one callout). A sample is a window of at least WINDOW_NS. Observed: callouts,
 * operations, seconds, and what the others suffered in faults, waits, and unprotected windows.
 * pkeys_mechanism.h, pkeys_bystander_wait.
 */
#define _GNU_SOURCE
#include "guarded.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_THREADS 256
#define WINDOW_NS 10000000u
#define MOST_WINDOW_NS 1000000000u /* where the others get nothing done in the usual one */

enum work { READ, WRITE, ALLOCATE };
static struct other {
  _Alignas(128) _Atomic uint64_t operations;
  pthread_t thread;
  unsigned processor;
} others[MOST_THREADS];
static unsigned other_count;
static enum work work;
static _Atomic bool stop;
static _Atomic unsigned ready;
static void (*callee)(void);
static bool of_callouts;
static unsigned burst; /* callouts between two looks at the clock */
static struct bench_row *this_row;
static struct pkeys_bystanders seen;

static __attribute__((noinline)) void nothing(void) { __asm__ volatile(""); }

static void *work_on(void *argument) {
  struct other *self = argument;
  size_t pages = guarded.bytes / BENCH_PAGE, page = (size_t)(self - others) * 7 % pages;
  bench_pin(self->processor);
  if (trap_attach() != 0) abort();
  atomic_fetch_add(&ready, 1);
  uint64_t done = 0;
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    if (work == ALLOCATE) {
      void *volatile memory = malloc(64);
      *(volatile char *)memory = 1;
      free(memory);
    } else {
      volatile char *at = guarded.memory + page * BENCH_PAGE;
      if (work == READ) (void)*at;
      else *at = (char)done;
      page = page + 1 == pages ? 0 : page + 1;
    }
    atomic_store_explicit(&self->operations, ++done, memory_order_relaxed);
  }
  return NULL;
}

static uint64_t operations_done(void) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < other_count; i++) sum += atomic_load_explicit(&others[i].operations, memory_order_relaxed);
  return sum;
}

static double measure(uint64_t times) {
  double sum = 0;
  for (uint64_t i = 0; i < times; i++) {
    uint64_t before = operations_done(), start = clock_ticks(), calls = 0, passed, done;
    do {
      for (unsigned k = 0; k < burst; k++, calls++) callee();
      passed = clock_since(start);
      done = operations_done() - before;
    } while (clock_ns(passed) < WINDOW_NS ||
             (done == 0 && other_count > 0 && !of_callouts && clock_ns(passed) < MOST_WINDOW_NS));
    bench_observe(this_row, "callouts", (double)calls);
    bench_observe(this_row, "operations", (double)done);
    bench_observe(this_row, "milliseconds", clock_ns(passed) / 1e6);
    sum += (double)passed / (double)(of_callouts ? calls : done == 0 ? 1 : done) * (of_callouts ? 1 : other_count);
  }
  struct pkeys_bystanders now = pkeys_bystanders();
  bench_observe(this_row, "bystanderFaults", (double)(now.faults - seen.faults));
  bench_observe(this_row, "bystanderWaitedNs", (double)(now.waited_ns - seen.waited_ns));
  bench_observe(this_row, "unprotectedWindows", (double)(now.windows - seen.windows));
  seen = now;
  return sum;
}

static void end_threads(void) {
  atomic_store(&stop, true);
  for (unsigned i = 0; i < other_count; i++) pthread_join(others[i].thread, NULL);
}

const char *bench_threads(struct bench_row *row) {
  unsigned processors[MOST_THREADS], count = bench_processors(processors, MOST_THREADS);
  const char *why = guarded_set_up(row, 0);
  if (why != NULL) return why;
  other_count = (unsigned)bench_number(row, "threads", 1);
  if (other_count > MOST_THREADS) return "too many threads";
  if (other_count > 0 && count < 2) return "there is one processor: nothing runs beside the callouts";
  work = bench_is(row, "work", "read") ? READ : bench_is(row, "work", "write") ? WRITE : ALLOCATE;
  of_callouts = bench_is(row, "measure", "callouts");
  callee = guarded.mechanism == PKEYS_MECHANISM_NONE
               ? nothing
               : (void (*)(void))(uintptr_t)guarded_thunk((const void *)(uintptr_t)nothing, 0, 0);
  burst = guarded.closes && row->counts.syscalls > 0 ? 1 : 64;
  bench_pin(processors[0]);
  for (unsigned i = 0; i < other_count; i++) {
    others[i].processor = processors[1 + i % (count - 1)];
    if (pthread_create(&others[i].thread, NULL, work_on, &others[i]) != 0) return "a thread could not be made";
  }
  while (atomic_load(&ready) < other_count) sched_yield();
  this_row = row;
  row->timed = measure;
  row->at_most = 1;
  row->many_processors = true;
  row->take_down = end_threads;
  if (other_count > count - 1) row->warning = "oversubscribed";
  return NULL;
}
