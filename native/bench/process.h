/*
 * process.h: what the processes of turnkey-bench say to each other, and what its files share.
 *
 *   bench.c      the command line, and what rows share
 *   worker.c     one row's process: sets up, sizes, warms up, samples, is seen stepping
 *   schedule.c   the parent: starts the processes of a group, and has them measure in turn
 *   print.c      the JSON lines
 */
#ifndef TURNKEY_BENCH_PROCESS_H
#define TURNKEY_BENCH_PROCESS_H

#include <sys/types.h>

#include "bench.h"
#include "step.h"

#define MAX_GROUP 64
#define MAX_SAMPLES 1000

/* The command line's. */
struct settings {
  bool counted;
  unsigned processes, rounds, most_steps;
  uint64_t batch_ns, group_ns, random_state;
};
extern struct settings settings;

enum command { SIZE, SAMPLE, SEE, END };
struct order {
  enum command command;
  uint64_t repeats; /* SIZE: 0 to find out */
};
struct answer {
  enum { READY, SKIPPED, DONE } kind;
  double value; /* SAMPLE: ns or instructions of one operation; SIZE: of a batch */
  uint64_t repeats;
  unsigned warm_up;
  bool settled, pinned, steppable, each;
  struct bench_counts counts;
  long switches;
  char text[400];
  struct bench_observed observed[BENCH_OBSERVED];
};

struct member {
  struct bench_row row;
  unsigned number;
  pid_t child;
  int channel;
  uint64_t repeats;
  double samples[MAX_SAMPLES];
  unsigned sample_count;
  struct answer first, sized;
  long switches;
  bool stepped;
  struct step_counts steps;
  struct bench_observed observed[BENCH_OBSERVED];
  const char *failed; /* skipped or broken */
  bool broken;
  char text[400];
};

/* Never returns: serves the parent at `channel` until it says END. */
_Noreturn void worker_serve(struct bench_row *row, int channel);

/* One more row for the next group: NULL if the group is full. */
struct member *schedule_add(unsigned number);
/* Measures the group, prints its rows, and forgets it. Nothing if it is empty. */
void schedule_measure(void);

void print_row(const struct member *member, unsigned processes_done, double steal, double ghz_first, double ghz_last);

#endif
