/*
 * virtual: what it costs to go from tenant to tenant: each has an image of its own, open while the VM runs its code and
 * closed in its callouts. pkeys_virtual.h.
 *
 * One operation: enter the next tenant's image, write a word of it, make a callout of an empty function. Options:
 *
 *   images, pages  of each image (4 KiB, all written); huge=1: in huge pages
 *   order          round-robin; zipf (of rank k with probability in proportion to 1/k); sequential (eight operations
 *                  in an image, then the next image)
 *   keys           virtual (mechanism pkeys; policy, ways, nth as in pkeys_virtual_options); shared: one ordinary image
 *                  holds all tenants, and nothing is entered
 *   threads        so many threads at once, each with its own order and its own tenants. A sample is a window: one
 *                  operation of one thread. windows=1: for one thread too
 *
 * Under mprotect-range the tenant's pages are opened for the VM's part and closed for the callout, by two calls; the
 * trap is there, and closes nothing. Observed: operations and misses; in windows operations, evictions, waits and TLB
 * shootdowns. Before anything is measured, the tenant's pages and another's are tried with the kernel's help, inside
 * and outside.
 */
#define _GNU_SOURCE
#include "guarded.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST_IMAGES 1024
#define MOST_THREADS 64
#define SEQUENCE 8192u
#define STAY 8 /* operations in an image, in sequential order */
#define HUGE_BYTES ((size_t)2 << 20)
#define WINDOW_NS 20000000u

static struct pkeys_image *tenant[MOST_IMAGES];
static char *memory[MOST_IMAGES];   /* what is written */
static char *space_of[MOST_IMAGES]; /* all that an image has: with huge pages, room to align them too */
static size_t images, bytes, space_bytes;
static uint16_t sequence[SEQUENCE];
static bool by_keys, shared;
static void (*callee)(void);
static struct bench_row *this_row;

static __attribute__((noinline)) void nothing(void) { __asm__ volatile(""); }

static inline void operate(size_t i) {
  if (by_keys) {
    if (!shared) trap_enter_image(tenant[i]);
    *(volatile char *)memory[i] = 1;
    callee();
  } else {
    mprotect(space_of[i], space_bytes, PROT_READ | PROT_WRITE);
    *(volatile char *)memory[i] = 1;
    mprotect(space_of[i], space_bytes, PROT_READ);
    callee();
  }
}

static uint32_t position;
static double timed(uint64_t times) {
  uint64_t start = clock_ticks();
  for (uint64_t i = 0; i < times; i++) operate(sequence[position++ % SEQUENCE]);
  return (double)clock_since(start);
}

/* The pool as it is after a while, and how often it misses then: small images alone, which take no time. */
static void warm_up(void) {
  uint32_t operations = bytes == BENCH_PAGE ? SEQUENCE / 2 : 4;
  for (uint32_t i = 0; i < operations; i++) operate(sequence[position++ % SEQUENCE]);
  struct trap_visits before = trap_visits();
  for (uint32_t i = 0; i < operations; i++) operate(sequence[position++ % SEQUENCE]);
  bench_observe(this_row, "operations", operations);
  bench_observe(this_row, "misses", (double)(trap_visits().misses - before.misses));
}

/* ---- threads ---- */

static unsigned thread_count;
static _Atomic bool stop;
static struct worker {
  _Alignas(128) _Atomic uint64_t operations;
  pthread_t thread;
  unsigned processor;
} workers[MOST_THREADS];

static void *work_on(void *argument) {
  struct worker *self = argument;
  uint32_t at = (uint32_t)(self - workers) * 1237;
  bench_pin(self->processor);
  if (trap_attach() != 0) abort();
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    /* A tenant is one thread's, as a state of a VM is: threads take every nth image. */
    size_t i = sequence[at++ % SEQUENCE];
    i = i - i % thread_count + (size_t)(self - workers);
    operate(i < images ? i : (size_t)(self - workers));
    atomic_fetch_add_explicit(&self->operations, 1, memory_order_relaxed);
  }
  return NULL;
}

static uint64_t shootdowns(void) {
  char line[4096];
  uint64_t sum = 0;
  FILE *file = fopen("/proc/interrupts", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    char *at = strstr(line, "TLB:");
    if (at == NULL) continue;
    for (at += 4; *at == ' ' || (*at >= '0' && *at <= '9');) {
      char *end;
      unsigned long long count = strtoull(at, &end, 10);
      if (end == at) break;
      sum += count;
      at = end;
    }
  }
  if (file != NULL) fclose(file);
  return sum;
}
static uint64_t done_by_all(void) {
  uint64_t sum = 0;
  for (unsigned t = 0; t < thread_count; t++) sum += atomic_load(&workers[t].operations);
  return sum;
}

/* A window, in ticks of one operation of one thread. */
static double window(uint64_t times) {
  double sum = 0;
  for (uint64_t i = 0; i < times; i++) {
    uint64_t interrupts = shootdowns(), before = done_by_all(), start = clock_ticks(), passed;
    struct pkeys_virtual_state pool = pkeys_virtual_state();
    uint64_t done;
    do {
      usleep(2000);
      passed = clock_since(start);
      done = done_by_all() - before;
    } while (clock_ns(passed) < WINDOW_NS || done == 0);
    bench_observe(this_row, "operations", (double)done);
    bench_observe(this_row, "shootdowns", (double)(shootdowns() - interrupts));
    bench_observe(this_row, "evictions", (double)(pkeys_virtual_state().evictions - pool.evictions));
    bench_observe(this_row, "waits", (double)(pkeys_virtual_state().waits - pool.waits));
    sum += (double)passed * thread_count / (double)(done == 0 ? 1 : done);
  }
  return sum;
}
static void end_threads(void) {
  atomic_store(&stop, true);
  for (unsigned t = 0; t < thread_count; t++) pthread_join(workers[t].thread, NULL);
}

/* ---- set-up ---- */

static uint64_t random_state = 88172645463325252u;
static double uniform(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (double)(random_state >> 11) / 9007199254740992.0;
}

static void make_sequence(const struct bench_row *row) {
  static double upto[MOST_IMAGES];
  double sum = 0;
  for (size_t k = 0; k < images; k++) upto[k] = sum += 1.0 / (double)(k + 1);
  for (uint32_t i = 0; i < SEQUENCE; i++) {
    size_t k = 0;
    if (bench_is(row, "order", "zipf"))
      for (double at = uniform() * sum; k + 1 < images && upto[k] < at;) k++;
    else k = (bench_is(row, "order", "sequential") ? i / STAY : i) % images;
    sequence[i] = (uint16_t)k;
  }
}

static bool can_store(char *at) { return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at) == 0; }
static char *tried_at;
static long try_it(void) { return can_store(tried_at); }
static const char *tried(void) {
  size_t last = images - 1;
  long (*probe)(void) = (long (*)(void))(uintptr_t)guarded_thunk((const void *)(uintptr_t)try_it, 0, 0);
  bool good = true;
  for (size_t i = 0; i < images && i < 3; i++) {
    if (by_keys && !shared) good = good && trap_enter_image(tenant[i]) == 0;
    if (!by_keys) mprotect(space_of[i], space_bytes, PROT_READ | PROT_WRITE);
    good = good && can_store(memory[i]) && (shared || i == last || !can_store(memory[last]));
    if (!by_keys) mprotect(space_of[i], space_bytes, PROT_READ);
    tried_at = memory[i];
    good = good && !probe();
  }
  trap_thunk_release((void *)(uintptr_t)probe);
  return good ? NULL : "the images were tried, and what should be closed is open, or the other way round";
}

static int map_all(const struct bench_row *row) {
  size_t whole = shared ? images * bytes : bytes;
  bool huge = bench_number(row, "huge", 0) != 0;
  int error = 0;
  space_bytes = huge ? whole + HUGE_BYTES : whole;
  for (size_t i = 0; i < images && error == 0; i++) {
    if (i > 0 && shared) {
      memory[i] = memory[0] + i * bytes;
      continue;
    }
    struct pkeys_space space;
    const struct pkeys_space_request request = {.name = "old", .bytes = space_bytes, .reserve_bytes = space_bytes};
    error = pkeys_image_map(&request, 1, shared ? PKEYS_KEY_PER_IMAGE : PKEYS_KEY_VIRTUAL, &tenant[i], NULL);
    if (error == 0) error = pkeys_image_space(tenant[i], 0, &space);
    if (error) break;
    space_of[i] = (char *)space.address;
    memory[i] = (char *)(huge ? (space.address + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1) : space.address);
    madvise(memory[i], whole, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    for (size_t at = 0; at < whole; at += BENCH_PAGE) *(volatile char *)(memory[i] + at) = 1;
    if (by_keys) error = pkeys_image_set_mechanism(tenant[i], PKEYS_MECHANISM_PKEYS);
    else if (mprotect(space_of[i], space_bytes, PROT_READ) != 0) error = -errno;
  }
  return error;
}

const char *bench_virtual(struct bench_row *row) {
  unsigned processors[MOST_THREADS], count = bench_processors(processors, MOST_THREADS);
  struct pkeys_virtual_options options = {.ways = (uint32_t)bench_number(row, "ways", 0),
                                          .nth = (uint32_t)bench_number(row, "nth", 0)};
  this_row = row;
  images = bench_number(row, "images", 2);
  bytes = bench_number(row, "pages", 1) * BENCH_PAGE;
  by_keys = strcmp(row->mechanism, "pkeys") == 0;
  shared = bench_is(row, "keys", "shared");
  for (unsigned p = 0; p < PKEYS_POLICIES; p++)
    if (bench_is(row, "policy", pkeys_policy_name((enum pkeys_policy)p))) options.policy = (enum pkeys_policy)p;
  if (images == 0 || images > MOST_IMAGES || bytes == 0) return "from 1 to 1024 images, of a page or more";
  if (!by_keys && strcmp(row->mechanism, "mprotect-range") != 0) return "pkeys or mprotect-range";
  if (by_keys && !pkeys_supported()) {
    struct pkeys_probe probe;
    pkeys_probe(&probe);
    return bench_why("%s", probe.reason);
  }
  int error = trap_init();
  if (error == 0) error = pkeys_virtual_configure(&options);
  if (error == 0) error = map_all(row);
  if (error) return bench_why("%zu images: %s", images, strerror(-error));
  const char *why = tried();
  if (why != NULL) return why;
  make_sequence(row);
  callee = (void (*)(void))(uintptr_t)guarded_thunk((const void *)(uintptr_t)nothing, 0, 0);
  thread_count = (unsigned)bench_number(row, "threads", 1);
  if (thread_count == 1 && !bench_number(row, "windows", 0)) {
    warm_up();
    row->timed = timed;
    row->counts = by_keys ? (struct bench_counts){2, 2, 0, 0} : (struct bench_counts){0, 0, 2, 0};
    return NULL;
  }
  if (thread_count > MOST_THREADS || images < thread_count) return "too many threads";
  for (unsigned t = 0; t < thread_count; t++) {
    workers[t].processor = processors[t % count];
    if (pthread_create(&workers[t].thread, NULL, work_on, &workers[t]) != 0) return "a thread could not be made";
  }
  row->timed = window;
  row->at_most = 1;
  row->many_processors = true;
  row->take_down = end_threads;
  if (thread_count > count) row->warning = "oversubscribed";
  return NULL;
}
