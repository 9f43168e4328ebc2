/* worker.c: one row's process. See process.h. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "process.h"

#define WARM_UP_NS 30000000u /* at most, after sizing */

static void run_empty(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) __asm__ volatile("" : : : "memory");
}
static uint64_t ticks_of(void (*run)(uint64_t), uint64_t times) {
  uint64_t start = clock_ticks();
  run(times);
  return clock_since(start);
}
/* The whole of a batch, in ns (or instructions). */
static double batch(const struct bench_row *row, uint64_t times) {
  return (row->timed != NULL ? row->timed(times) : (double)ticks_of(row->run, times)) * bench_clock.ns_per_tick;
}

/* The smallest of a few: what the loop itself costs. */
static double empty_cost(const struct bench_row *row, uint64_t times) {
  uint64_t least = UINT64_MAX;
  if (row->timed != NULL) return 0;
  for (int i = 0; i < 5; i++) {
    uint64_t cost = ticks_of(run_empty, times);
    if (cost < least) least = cost;
  }
  return clock_ns(least);
}

/* Batches double until one is long enough by the wall; the clock's readings are no measure where a row times only a
 * part. */
static uint64_t sized(const struct bench_row *row) {
  uint64_t times = 1;
  for (;;) {
    uint64_t start = clock_ticks();
    batch(row, times);
    if (clock_ns(clock_since(start)) >= (double)settings.batch_ns || (row->at_most != 0 && times >= row->at_most))
      return times;
    times *= 2;
  }
}

/* Goes on until the last batch is not faster by more than 2 % than the fastest of those before it, twice in a row. */
static void warm_up(const struct bench_row *row, uint64_t times, struct answer *answer) {
  double best = 1e300;
  uint64_t start = clock_ticks();
  for (int calm = 0; calm < 2; answer->warm_up++) {
    double cost = batch(row, times);
    calm = cost >= best * 0.98 ? calm + 1 : 0;
    if (cost < best) best = cost;
    answer->value = cost;
    answer->settled = calm >= 2;
    if (clock_ns(clock_since(start)) > WARM_UP_NS) {
      answer->settled = answer->settled || answer->warm_up < 3; /* too long a batch to judge by */
      break;
    }
  }
}

static long switches_now(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nivcsw;
}

static const char *set_up(struct bench_row *row) {
  static const struct {
    const char *name;
    const char *(*set_up)(struct bench_row *row);
  } experiments[] = {{"flip", bench_flip},         {"callout", bench_callout},
                     {"hardened", bench_hardened}, {"gate", bench_gate},
                     {"fault", bench_fault},       {"revisit", bench_revisit},
                     {"threads", bench_threads},   {"alternatives", bench_alternatives},
                     {"adopted", bench_adopted},   {"virtual", bench_virtual}};
  for (size_t i = 0; i < sizeof experiments / sizeof *experiments; i++)
    if (strcmp(row->experiment, experiments[i].name) == 0) return experiments[i].set_up(row);
  return "no such experiment";
}

static void tell(int channel, const struct answer *answer) {
  if (write(channel, answer, sizeof *answer) != (ssize_t)sizeof *answer) _exit(1);
}

void worker_serve(struct bench_row *row, int channel) {
  unsigned list[CPU_SETSIZE], count = bench_processors(list, CPU_SETSIZE);
  struct answer answer = {.kind = READY};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  /* The last processor: the first one serves most interrupts. */
  answer.pinned = count > 0 && bench_pin(list[count - 1]);
  const char *why = set_up(row);
  if (why != NULL) {
    answer.kind = SKIPPED;
    snprintf(answer.text, sizeof answer.text, "%s", why);
    tell(channel, &answer);
    _exit(0);
  }
  if (row->many_processors) answer.pinned = true; /* it has pinned its threads itself */
  if (row->warning != NULL) snprintf(answer.text, sizeof answer.text, "%s", row->warning);
  answer.counts = row->counts;
  answer.each = row->timed != NULL && row->at_most != 1;
  /* One side alone is not the whole of it; what a row does not time is not part of it; long ones take too long. */
  answer.steppable = row->run != NULL && !row->many_processors && row->counts.syscalls <= 300;
  tell(channel, &answer);
  struct order order;
  uint64_t times = 1;
  double empty = 0;
  long switches = 0;
  while (read(channel, &order, sizeof order) == (ssize_t)sizeof order && order.command != END) {
    answer = (struct answer){.kind = DONE};
    if (order.command == SIZE) {
      if (!row->cold) {
        times = order.repeats != 0 ? order.repeats : sized(row);
        if (!settings.counted) warm_up(row, times, &answer);
        else answer.value = batch(row, times);
        if (settings.counted && times < 4 && answer.value < 20 * (double)settings.batch_ns) times = 4;
      }
      empty = empty_cost(row, times);
      answer.repeats = times;
    } else if (order.command == SAMPLE) {
      switches = switches_now();
      double cost = batch(row, times) - empty;
      answer.value = cost > 0 ? cost / (double)times : 0;
      answer.switches = switches_now() - switches;
    } else {
      step_be_seen(row);
    }
    memcpy(answer.observed, row->observed, sizeof answer.observed);
    tell(channel, &answer);
  }
  row->take_down();
  _exit(0);
}
