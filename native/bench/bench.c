/*
 * turnkey-bench: the native loops behind the cost experiments.
 *
 *   turnkey-bench [--counted] [--seed N] [--processes N] [--rounds N] [--batch-us N] [--group-ms N] [--steps N]
 *                 [--clock monotonic] ROW... [/ ROW...]
 *
 * ROW: EXPERIMENT:MECHANISM[:NAME=VALUE,...], e.g. flip:pkeys:pages=16,touched=1. Rows between slashes are a group:
 * they are measured in the same rounds.
 *
 * One JSON line first: {"clock":{"name","nsPerTick","overheadNs","drift","governor"}}. Then one for each row, in the
 * order of the command line within its group:
 *   {"row" (its number, from 0),"unit","repeats","samples":[...],"counts":{...},"instructions","processes","rounds",
 *    "warmUp","settled","steal","ghz":[first,last],"switches","pinned","observed":{...},"warning",
 *    "each" (true: every operation is timed for itself)}
 * or {"row","skipped":"why"}, or {"row","broken":"why"}. A sample is the cost of one operation, the mean over one batch
 * of `repeats`, the empty loop and the clock subtracted; sample k of one row was taken in the same round as sample k of
 * the others of its group. counts: WRPKRUs, RDPKRUs, system calls and faults of one operation, seen by single-stepping
 * it. Then "instructions" says how many there are in user mode. Where that takes more than --steps, they are known from
 * the code path.
 *
 * Times: each row of a group has a process of its own, forked from one that has done nothing, pinned to one processor;
 * it sets up, sizes its batches, and warms up until batches no longer get faster. In each round every row measures one
 * batch, one after the other, in an order drawn anew. All this --processes times over.
 *
 * With --counted, on a machine whose clock advances by one nanosecond for each executed instruction (QEMU -icount
 * shift=0): instructions; the program waits until the clock has settled, some seconds after boot, sizes its batches by
 * count, and measures row after row in one process each.
 *
 * Exit code 0, or 2 on wrong usage.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "process.h"

#define SETTLED_S 6 /* before, an early clock source misleads */
#define MAX_ROWS 4000

struct settings settings = {.processes = 3, .rounds = 10, .most_steps = 20000, .group_ns = 2000000000};

/* ---- what rows share ---- */

const char *bench_why(const char *format, ...) {
  static char why[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why, sizeof why, format, arguments);
  va_end(arguments);
  return why;
}

static const char *option(const struct bench_row *row, const char *name) {
  size_t length = strlen(name);
  for (const char *at = row->options; *at != 0; at++) {
    if (strncmp(at, name, length) == 0 && at[length] == '=') return at + length + 1;
    at = strchr(at, ',');
    if (at == NULL) return NULL;
  }
  return NULL;
}
uint64_t bench_number(const struct bench_row *row, const char *name, uint64_t missing) {
  const char *value = option(row, name);
  return value == NULL ? missing : strtoull(value, NULL, 10);
}
bool bench_is(const struct bench_row *row, const char *name, const char *text) {
  const char *value = option(row, name);
  size_t length = strlen(text);
  return value != NULL && strncmp(value, text, length) == 0 && (value[length] == 0 || value[length] == ',');
}
void bench_observe(struct bench_row *row, const char *name, double value) {
  for (int i = 0; i < BENCH_OBSERVED; i++) {
    struct bench_observed *one = &row->observed[i];
    if (one->name[0] == 0) snprintf(one->name, sizeof one->name, "%s", name);
    if (strcmp(one->name, name) != 0) continue;
    one->value += value;
    return;
  }
}
bool bench_have_keys(void) {
  unsigned a, b, c = 0, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 4)) != 0; /* OSPKE */
}

static cpu_set_t allowed;
unsigned bench_processors(unsigned *list, unsigned most) {
  unsigned count = 0;
  for (unsigned i = 0; i < CPU_SETSIZE && count < most; i++)
    if (CPU_ISSET(i, &allowed)) list[count++] = i;
  return count;
}
bool bench_pin(unsigned processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

/* ---- the command line ---- */

/* EXPERIMENT:MECHANISM[:NAME=VALUE,...], in place. */
static bool parse_row(char *text, struct bench_row *row) {
  char *mechanism = strchr(text, ':');
  if (mechanism == NULL) return false;
  *mechanism++ = 0;
  char *options = strchr(mechanism, ':');
  if (options != NULL) *options++ = 0;
  *row = (struct bench_row){.experiment = text, .mechanism = mechanism, .options = options == NULL ? "" : options};
  row->cold = bench_number(row, "cold", 0) != 0;
  return true;
}

static int usage(void) {
  fprintf(stderr, "usage: turnkey-bench [--counted] [--seed N] [--processes N] [--rounds N] "
                  "[--batch-us N] [--group-ms "
                  "N] [--steps N] [--clock monotonic] ROW... [/ ROW...]\n"
                  "  ROW: EXPERIMENT:MECHANISM[:NAME=VALUE,...], EXPERIMENT one of flip, callout, gate, fault, "
                  "revisit, threads, alternatives, adopted, virtual\n");
  return 2;
}

int main(int count, char **arguments) {
  unsigned long seed = 1, batch_us = 0;
  bool monotonic = false;
  int at = 1;
  for (; at < count && strncmp(arguments[at], "--", 2) == 0; at++) {
    if (strcmp(arguments[at], "--counted") == 0) {
      settings.counted = true;
      continue;
    }
    if (at + 1 == count) return usage();
    const char *name = arguments[at++];
    if (strcmp(name, "--clock") == 0 && strcmp(arguments[at], "monotonic") == 0) monotonic = true;
    else if (strcmp(name, "--seed") == 0) seed = strtoul(arguments[at], NULL, 10);
    else if (strcmp(name, "--processes") == 0) settings.processes = (unsigned)strtoul(arguments[at], NULL, 10);
    else if (strcmp(name, "--rounds") == 0) settings.rounds = (unsigned)strtoul(arguments[at], NULL, 10);
    else if (strcmp(name, "--batch-us") == 0) batch_us = strtoul(arguments[at], NULL, 10);
    else if (strcmp(name, "--steps") == 0) settings.most_steps = (unsigned)strtoul(arguments[at], NULL, 10);
    else if (strcmp(name, "--group-ms") == 0) settings.group_ns = strtoul(arguments[at], NULL, 10) * 1000000;
    else return usage();
  }
  if (at == count || settings.processes == 0 || settings.rounds == 0 ||
      settings.processes * settings.rounds > MAX_SAMPLES)
    return usage();
  if (settings.counted) settings.processes = 1;
  settings.batch_ns = (batch_us == 0 ? (settings.counted ? 100 : 400) : batch_us) * 1000;
  settings.random_state = seed;
  signal(SIGPIPE, SIG_IGN);
  sched_getaffinity(0, sizeof allowed, &allowed);
  if (settings.counted) {
    struct timespec settled = {.tv_sec = SETTLED_S};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &settled, NULL);
  }
  clock_set_up(settings.counted, monotonic);
  printf("{\"clock\":{\"name\":\"%s\",\"nsPerTick\":%.6f,\"overheadNs\":%.2f,\"drift\":%.6f}}\n",
         bench_clock.tsc ? "invariant TSC, serialised" : "CLOCK_MONOTONIC", bench_clock.ns_per_tick,
         bench_clock.overhead_ns, bench_clock.drift);
  fflush(stdout);
  for (unsigned number = 0; at < count; at++) {
    if (strcmp(arguments[at], "/") == 0) {
      schedule_measure();
      continue;
    }
    struct member *member = number == MAX_ROWS ? NULL : schedule_add(number);
    if (member == NULL || !parse_row(arguments[at], &member->row)) return usage();
    number++;
    if (settings.counted) schedule_measure();
  }
  schedule_measure();
  return 0;
}
