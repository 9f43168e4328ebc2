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
 * A program of its own beside turnkey-bench, and in one file: it compares the forms of a call within one process, row
 * by row and batch by batch, where turnkey-bench gives each row a process and an image. docs/gate.md's sums are checked
 * with it, it is linked in a second way (turnkey-gate-bench-shared), and whoever builds the C layers alone has it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pkeys.h"
#include "trap.h"

#define SETTLED_S 6 /* of guest time: before, an early clock source misleads the counting mode */
#define MAX_ROWS 40
#define MAX_ROUNDS 2000
#define BATCH_NS 100000

static bool counted;
static unsigned rounds;
static const char *only;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* ---- what is called, and the loops around it. Results go into the next call, as in code that uses them. ---- */

#define CALLEE __attribute__((noinline, noipa, aligned(64)))
CALLEE static long callee0(void) { return 1; }
CALLEE static long callee6(long a, long b, long c, long d, long e, long f) { return a + b + c + d + e + f; }
CALLEE static long callee12(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k,
                            long l) {
  return a + b + c + d + e + f + g + h + i + j + k + l;
}
static volatile long *volatile nowhere;
CALLEE static long faulting(void) { return *nowhere; }
CALLEE static long calling_back(long (*callback)(void)) { return callback() + 1; }

struct row;
typedef void loop(const struct row *row, uint64_t times);
struct row {
  const char *name, *mechanism;
  bool foreign, floats;
  int arguments;
  loop *run;
  void *function;
  void *parameter;
  int raw; /* index of the raw call that it is compared with */
  bool costly;
  uint64_t repeats;
  double best, samples[MAX_ROUNDS];
};

/*
 * Each row has a loop and so a call site of its own: an indirect call that has had more than one target is predicted by
 * another, slower part of the CPU (a cycle or two on the CPUs at hand), and rows must not make each other slow.
 */
typedef long function0(void);
typedef long function1(void *);
typedef long function6(long, long, long, long, long, long);
typedef long function12(long, long, long, long, long, long, long, long, long, long, long, long);
static volatile long sink;
#define SITE __attribute__((noinline, noipa, aligned(64)))
#define LOOPS(n)                                                                             \
  SITE static void call0_##n(const struct row *row, uint64_t times) {                        \
    function0 *f = (function0 *)(uintptr_t)row->function;                                    \
    long s = 0;                                                                              \
    for (uint64_t i = 0; i < times; i++) s += f();                                           \
    sink = s;                                                                                \
  }                                                                                          \
  SITE static void call6_##n(const struct row *row, uint64_t times) {                        \
    function6 *f = (function6 *)(uintptr_t)row->function;                                    \
    long s = 0;                                                                              \
    for (uint64_t i = 0; i < times; i++) s = f(s, (long)i, 3, 4, 5, 6);                      \
    sink = s;                                                                                \
  }                                                                                          \
  SITE static void call12_##n(const struct row *row, uint64_t times) {                       \
    function12 *f = (function12 *)(uintptr_t)row->function;                                  \
    long s = 0;                                                                              \
    for (uint64_t i = 0; i < times; i++) s = f(s, (long)i, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12); \
    sink = s;                                                                                \
  }                                                                                          \
  SITE static void parameter_##n(const struct row *row, uint64_t times) {                    \
    function1 *f = (function1 *)(uintptr_t)row->function;                                    \
    long s = 0;                                                                              \
    for (uint64_t i = 0; i < times; i++) s += f(row->parameter);                             \
    sink = s;                                                                                \
  }
#define SITES(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
SITES(LOOPS)
#define LIST(name) {name##_0, name##_1, name##_2, name##_3, name##_4, name##_5, name##_6, name##_7}
static loop *const call0[] = LIST(call0), *const call6[] = LIST(call6), *const call12[] = LIST(call12),
                   *const with_parameter[] = LIST(parameter);
static unsigned used0, used6, used12, used_parameter;

static sigjmp_buf buffer;
#define SIGSETJMP(mask)                                                     \
  SITE static void sigsetjmp##mask(const struct row *row, uint64_t times) { \
    function6 *f = (function6 *)(uintptr_t)row->function;                   \
    volatile long s = 0; /* what lives across a setjmp */                   \
    for (volatile uint64_t i = 0; i < times; i++)                           \
      if (sigsetjmp(buffer, mask) == 0) s = f(s, (long)i, 3, 4, 5, 6);      \
    sink = s;                                                               \
  }
SIGSETJMP(0)
SIGSETJMP(1)
/* The loop that the two above have, with its volatile variables, around a raw call and a guarded one. */
#define AS_SIGSETJMP(name)                                                       \
  SITE static void name(const struct row *row, uint64_t times) {                 \
    function6 *f = (function6 *)(uintptr_t)row->function;                        \
    volatile long s = 0;                                                         \
    for (volatile uint64_t i = 0; i < times; i++) s = f(s, (long)i, 3, 4, 5, 6); \
    sink = s;                                                                    \
  }
AS_SIGSETJMP(volatile_raw)
AS_SIGSETJMP(volatile_gate)

/* Eight functions in turn from one call site, as a VM calls them: the raw call pays for its prediction too. */
#define FUNCTION(n) \
  CALLEE static long other_##n(long a, long b, long c, long d, long e, long f) { return a + b + c + d + e + f + n; }
SITES(FUNCTION)
static function6 *const others[] = LIST(other);
static function6 *guarded_others[8];
SITE static void turn_raw(const struct row *row, uint64_t times) {
  (void)row;
  long s = 0;
  for (uint64_t i = 0; i < times; i++) s = others[i % 8](s, (long)i, 3, 4, 5, 6);
  sink = s;
}
SITE static void turn_gate(const struct row *row, uint64_t times) {
  (void)row;
  long s = 0;
  for (uint64_t i = 0; i < times; i++) s = guarded_others[i % 8](s, (long)i, 3, 4, 5, 6);
  sink = s;
}
SITE static void turn_sigsetjmp(const struct row *row, uint64_t times) {
  (void)row;
  volatile long s = 0;
  for (volatile uint64_t i = 0; i < times; i++)
    if (sigsetjmp(buffer, 0) == 0) s = others[i % 8](s, (long)i, 3, 4, 5, 6);
  sink = s;
}
static int own_key = -1;
SITE static void pkey_set_pair(const struct row *row, uint64_t times) {
  long (*f)(long, long, long, long, long,
            long) = (long (*)(long, long, long, long, long, long))(uintptr_t)row->function,
            s = 0;
  for (uint64_t i = 0; i < times; i++) {
    pkey_set(own_key, PKEY_DISABLE_WRITE);
    s = f(s, (long)i, 3, 4, 5, 6);
    pkey_set(own_key, 0);
  }
  sink = s;
}

/* ---- rows ---- */

static struct row rows[MAX_ROWS];
static int row_count;
static int raw0, raw6, raw12, raw_volatile;

static int add(struct row row) {
  if (row_count == MAX_ROWS) abort();
  rows[row_count] = row;
  return row_count++;
}
static void *thunk_of(void *target, size_t bytes, unsigned flags) {
  void *code = NULL;
  int rc = trap_thunk(target, bytes, flags, NULL, &code);
  if (rc < 0) {
    fprintf(stderr, "turnkey-gate-bench: trap_thunk: %s\n", strerror(-rc));
    exit(1);
  }
  return code;
}
static void add_gate(const char *name, const char *mechanism, bool foreign, unsigned flags, bool costly) {
  bool floats = (flags & TRAP_FLOAT) != 0;
  add((struct row){.name = name,
                   .mechanism = mechanism,
                   .foreign = foreign,
                   .floats = floats,
                   .arguments = 0,
                   .run = call0[used0++],
                   .function = thunk_of((void *)callee0, 0, flags),
                   .raw = raw0,
                   .costly = costly});
  add((struct row){.name = name,
                   .mechanism = mechanism,
                   .foreign = foreign,
                   .floats = floats,
                   .arguments = 6,
                   .run = call6[used6++],
                   .function = thunk_of((void *)callee6, 0, flags),
                   .raw = raw6,
                   .costly = costly});
  add((struct row){.name = name,
                   .mechanism = mechanism,
                   .foreign = foreign,
                   .floats = floats,
                   .arguments = 12,
                   .run = call12[used12++],
                   .function = thunk_of((void *)callee12, 48, flags),
                   .raw = raw12,
                   .costly = costly});
}

/* A gate is compared with the raw call in the same loop. */
static void add_raw(void) {
  raw0 = add((struct row){
      .name = "raw", .mechanism = "none", .arguments = 0, .run = call0[used0++], .function = (void *)callee0});
  raw6 = add((struct row){
      .name = "raw", .mechanism = "none", .arguments = 6, .run = call6[used6++], .function = (void *)callee6});
  raw12 = add((struct row){
      .name = "raw", .mechanism = "none", .arguments = 12, .run = call12[used12++], .function = (void *)callee12});
  rows[raw0].raw = raw0, rows[raw6].raw = raw6, rows[raw12].raw = raw12;
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

static struct pkeys_image *image;
static int map_image(size_t pages, enum pkeys_mechanism mechanism) {
  struct pkeys_space_request request = {
      .name = "old", .bytes = pages * PKEYS_PAGE, .reserve_bytes = pages * PKEYS_PAGE};
  struct pkeys_space space;
  int rc = pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, NULL);
  if (rc == 0) rc = pkeys_image_space(image, 0, &space);
  if (rc == 0) {
    madvise((void *)space.address, space.bytes, MADV_NOHUGEPAGE);
    memset((void *)space.address, 1, space.bytes);
    rc = pkeys_image_set_mechanism(image, mechanism);
  }
  return rc;
}

/* One process for each mechanism: an image has one, and a hooked one takes every callout through the slow gate. */
static void run(enum pkeys_mechanism mechanism, size_t pages) {
  const char *name = pkeys_mechanism_name(mechanism);
  bool keyed = mechanism == PKEYS_MECHANISM_PKEYS || mechanism == PKEYS_MECHANISM_PKEYS_GLIBC;
  struct row whole = {.name = "gate", .mechanism = name, .foreign = true, .arguments = 6};
  int rc = keyed && !pkeys_supported() ? -EOPNOTSUPP : trap_init();
  if (rc == 0) rc = map_image(pages, mechanism);
  if (rc != 0) {
    begin_line(&whole, pages);
    printf(",\"skipped\":\"%s\"}\n", rc == -EOPNOTSUPP ? "the CPU or kernel has no protection keys" : strerror(-rc));
    return;
  }
  if (mechanism == PKEYS_MECHANISM_PKEYS) own_key = pkey_alloc(0, 0);
  add_raw();
  bool fast = mechanism == PKEYS_MECHANISM_FLAG || mechanism == PKEYS_MECHANISM_PKEYS;
  if (fast) {
    add_gate("gate", name, true, 0, false);
    add_gate("gate", name, true, TRAP_FLOAT, false);
    add_gate("gate", name, false, 0, false);
    add_gate("gate", name, false, TRAP_FLOAT, false);
  } else {
    add_gate("gate", name, true, 0, true);
  }
  if (mechanism == PKEYS_MECHANISM_FLAG) {
    raw_volatile = add((struct row){.name = "raw in sigsetjmp's loop",
                                    .mechanism = "none",
                                    .arguments = 6,
                                    .run = volatile_raw,
                                    .function = (void *)callee6});
    rows[raw_volatile].raw = raw6;
    add((struct row){.name = "sigsetjmp(buf, 0)",
                     .mechanism = "none",
                     .arguments = 6,
                     .run = sigsetjmp0,
                     .function = (void *)callee6,
                     .raw = raw_volatile});
    add((struct row){.name = "sigsetjmp(buf, 1)",
                     .mechanism = "none",
                     .arguments = 6,
                     .run = sigsetjmp1,
                     .function = (void *)callee6,
                     .raw = raw_volatile});
    int raw_turn = add(
        (struct row){.name = "raw, 8 functions in turn", .mechanism = "none", .arguments = 6, .run = turn_raw});
    rows[raw_turn].raw = raw_turn;
    add((struct row){.name = "sigsetjmp(buf, 0), 8 functions in turn",
                     .mechanism = "none",
                     .arguments = 6,
                     .run = turn_sigsetjmp,
                     .raw = raw_turn});
    for (int i = 0; i < 8; i++) guarded_others[i] = (function6 *)(uintptr_t)thunk_of((void *)others[i], 0, 0);
    add((struct row){.name = "gate, 8 functions in turn",
                     .mechanism = name,
                     .foreign = true,
                     .arguments = 6,
                     .run = turn_gate,
                     .raw = raw_turn});
    add((struct row){.name = "gate in sigsetjmp's loop",
                     .mechanism = name,
                     .foreign = true,
                     .arguments = 6,
                     .run = volatile_gate,
                     .function = thunk_of((void *)callee6, 0, 0),
                     .raw = raw_volatile});
  }
  if (own_key > 0)
    add((struct row){.name = "glibc pkey_set pair",
                     .mechanism = "none",
                     .arguments = 6,
                     .run = pkey_set_pair,
                     .function = (void *)callee6,
                     .raw = raw6});
  void *callback = NULL;
  if (trap_callback((void *)callee0, 0, &callback) == 0)
    add((struct row){.name = "callout with a callback",
                     .mechanism = name,
                     .foreign = true,
                     .arguments = 1,
                     .run = with_parameter[used_parameter++],
                     .function = thunk_of((void *)calling_back, 0, 0),
                     .parameter = callback,
                     .raw = raw0,
                     .costly = !fast});
  if (trap_callback(thunk_of((void *)callee0, 0, 0), 0, &callback) == 0)
    add((struct row){.name = "callout, callback, callout",
                     .mechanism = name,
                     .foreign = true,
                     .arguments = 1,
                     .run = with_parameter[used_parameter++],
                     .function = thunk_of((void *)calling_back, 0, 0),
                     .parameter = callback,
                     .raw = raw0,
                     .costly = !fast});
  add((struct row){.name = "fault, recovered",
                   .mechanism = name,
                   .foreign = true,
                   .arguments = 0,
                   .run = call0[used0++],
                   .function = thunk_of((void *)faulting, 0, 0),
                   .raw = raw0,
                   .costly = true});
  measure(pages);
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
