/*
 * turnkey-gate-bench: what one call through the gate costs over a raw call, row by row.
 *
 *   turnkey-gate-bench [--counted] [--rounds N] [--pages N,N,...] [--only WORD]
 *
 * One JSON line per row:
 * {"row","mechanism","stack","float","arguments","pages","unit","rounds","repeats","min","median","overRaw",
 * "overRawMin"},
 * or {"row",...,"skipped":"why"}. `min` and `median` are of one operation, over all rounds, the empty loop included;
 * `overRaw` is the median over rounds of (row - raw call with the same arguments in the same round), `overRawMin` the
 * difference of the two minima. Rows of a process are interleaved: each round times every row once, for some 100 us, so
 * that what disturbs one disturbs all.
 *
 * Without --counted: ns. With it, on a machine whose clock advances 1 ns per executed instruction (QEMU -icount
 * shift=0): instructions. Exit code 0, or 2 on wrong usage. Static: the same file runs outside and in a guest.
 *
 * A program of its own beside turnkey-bench, which gives each row a process and an image. This program compares the
 * forms of a call within one process, row by row and batch by batch. The sums in docs/gate.md are checked with it. It
 * is linked in a second way, too (turnkey-gate-bench-shared), and is there where the C layers are built alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gate_bench.h"
#include "trap.h"

#define SETTLED_S 6 /* of guest time: before, an early clock source misleads the counting mode */
#define BATCH_NS 100000

static bool counted;
static unsigned rounds;
static const char *only;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static double median(double *values, unsigned count) {
  qsort(values, count, sizeof *values, by_value);
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static double timed(const struct row *row, uint64_t times) {
  uint64_t start = now();
  row->run(row, times);
  return (double)(now() - start);
}

static void begin_line(const struct row *row, size_t pages) {
  printf("{\"row\":\"%s\",\"mechanism\":\"%s\",\"stack\":\"%s\",\"float\":%s,\"arguments\":%d,\"pages\":%zu", row->name,
         row->mechanism, row->foreign ? "foreign" : "caller", row->floats ? "true" : "false", row->arguments, pages);
}

static bool wanted(const struct row *row) {
  return only == NULL || strstr(row->name, only) != NULL || strcmp(row->name, "raw") == 0;
}

static void measure(size_t pages) {
  bool foreign = true;
  for (int r = 0; r < row_count; r++) { /* warm-up and sizing */
    struct row *row = &rows[r];
    if (!wanted(row)) continue;
    if (row->foreign != foreign && row->mechanism[0] != 'n') trap_set_foreign_stack(foreign = row->foreign, 0);
    row->repeats = counted ? (row->costly ? 4 : 1000) : 1;
    row->best = 1e300;
    timed(row, row->repeats);
    while (!counted && row->repeats < (1u << 24)) {
      if (timed(row, row->repeats) >= BATCH_NS) break;
      row->repeats *= 2;
    }
  }
  for (unsigned k = 0; k < rounds; k++) {
    for (int r = 0; r < row_count; r++) {
      struct row *row = &rows[r];
      if (!wanted(row)) continue;
      if (row->foreign != foreign && row->mechanism[0] != 'n') trap_set_foreign_stack(foreign = row->foreign, 0);
      double each = timed(row, row->repeats) / (double)row->repeats;
      row->samples[k] = each;
      if (each < row->best) row->best = each;
    }
  }
  for (int r = 0; r < row_count; r++) {
    struct row *row = &rows[r];
    if (!wanted(row)) continue;
    static double sorted[MAX_ROUNDS], over[MAX_ROUNDS];
    for (unsigned k = 0; k < rounds; k++) {
      sorted[k] = row->samples[k];
      over[k] = row->samples[k] - rows[row->raw].samples[k];
    }
    begin_line(row, pages);
    printf(",\"unit\":\"%s\",\"rounds\":%u,\"repeats\":%" PRIu64
           ",\"min\":%.3f,\"median\":%.3f,\"overRaw\":%.3f,\"overRawMin\":%.3f}\n",
           counted ? "instructions" : "ns", rounds, row->repeats, row->best, median(sorted, rounds),
           median(over, rounds), row->best - rows[row->raw].best);
  }
  fflush(stdout);
}

/* One process for each mechanism: an image has one, and a hooked one takes every callout through the slow gate. */
static void run(enum pkeys_mechanism mechanism, size_t pages) {
  int rc = rows_set_up(mechanism, pages);
  if (rc == 0) measure(pages);
  else {
    begin_line(
        &(struct row){.name = "gate", .mechanism = pkeys_mechanism_name(mechanism), .foreign = true, .arguments = 6},
        pages);
    printf(",\"skipped\":\"%s\"}\n", rc == -EOPNOTSUPP ? "the CPU or kernel has no protection keys" : strerror(-rc));
  }
}

static int usage(void) {
  fprintf(stderr, "usage: turnkey-gate-bench [--counted] [--rounds N] [--pages N,N,...] [--only WORD]\n");
  return 2;
}

int main(int count, char **arguments) {
  char pages_default[] = "256", *pages = pages_default;
  for (int i = 1; i < count; i++) {
    if (strcmp(arguments[i], "--counted") == 0) counted = true;
    else if (strcmp(arguments[i], "--rounds") == 0 && i + 1 < count)
      rounds = (unsigned)strtoul(arguments[++i], NULL, 10);
    else if (strcmp(arguments[i], "--pages") == 0 && i + 1 < count) pages = arguments[++i];
    else if (strcmp(arguments[i], "--only") == 0 && i + 1 < count) only = arguments[++i];
    else return usage();
  }
  if (rounds == 0) rounds = counted ? 5 : 200;
  if (rounds > MAX_ROUNDS) return usage();
  if (counted) {
    struct timespec settled = {.tv_sec = SETTLED_S};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &settled, NULL);
  }
  static const enum pkeys_mechanism mechanisms[] = {PKEYS_MECHANISM_FLAG,           PKEYS_MECHANISM_PKEYS,
                                                    PKEYS_MECHANISM_PKEYS_GLIBC,    PKEYS_MECHANISM_MPROTECT_RANGE,
                                                    PKEYS_MECHANISM_MPROTECT_NAIVE, PKEYS_MECHANISM_MPROTECT_PAGE};
  for (char *next = pages; next != NULL && *next != 0;) {
    size_t number = strtoull(next, &next, 10);
    if (number == 0 || (*next != 0 && *next != ',')) return usage();
    if (*next == ',') next++;
    for (size_t m = 0; m < sizeof mechanisms / sizeof *mechanisms; m++) {
      if (mechanisms[m] == PKEYS_MECHANISM_MPROTECT_PAGE && number > 4096) continue;
      fflush(stdout);
      pid_t child = fork();
      if (child == 0) {
        run(mechanisms[m], number);
        fflush(stdout);
        _exit(0);
      }
      int status = 0;
      waitpid(child, &status, 0);
      if (status != 0)
        printf(
            "{\"row\":\"gate\",\"mechanism\":\"%s\",\"pages\":%zu,\"skipped\":\"the process ended with status %d\"}\n",
            pkeys_mechanism_name(mechanisms[m]), number, status);
    }
  }
  return 0;
}
