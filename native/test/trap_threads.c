/*
 * trap_threads.c: threads and their slots (I13), and the rights that a callee has (I1, I2). Also what a thread's word
 * and the trap's own pages are worth against a careless callee (I4, I11). Tests of rights need keys; the others run
 * anywhere. Under valgrind the counts of mappings and of threads are its own.
 *
 * More than 400 lines: words, pages and rights belong to the same slots, and are tested with the same callees.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <ucontext.h>

#include "../trap/internal.h"
#include "trap_common.h"

#ifndef SEGV_PKUERR
#define SEGV_PKUERR 4
#endif
#define NEED_KEYS() \
  if (!pkeys_supported()) CHECK_SKIP_OR_FAIL("TURNKEY_REQUIRE_PKEYS", "this CPU has no protection keys")

static volatile uintptr_t zero;
static void writes_null(void) { *(volatile int *)(zero + 16) = 1; }
static void writes_to(uintptr_t address) { *(volatile int *)address = 0x5eed; }
static int reads_from(uintptr_t address) { return *(volatile int *)address; }

/* ---- I11: the thread-local word ---- */

static uint64_t bad_word;
static int spoils_word(int value) {
  trap_slot_word = bad_word;
  return value + 1;
}
static long spoils_word_args(long a, long b, long c, long d, long e, long f, long g, long h) {
  trap_slot_word = bad_word;
  return a + b + c + d + e + f + g * 100 + h * 1000;
}
static void spoils_word_and_faults(void) {
  trap_slot_word = bad_word;
  writes_null();
}
static volatile int parked, leave;
static int parks(void) {
  parked = 1;
  while (!leave) sched_yield();
  return 3;
}
static volatile uint64_t parked_offset, parked_word;
static void *parks_in_callout(void *argument) {
  if (argument) {
    trap_attach();
    parked_offset = trap_slot_offset();
    parked_word = trap_slot_word;
    CHECK_EQ(AS(parks, argument)(), 3);
  } else {
    trap_attach();
    parked_offset = trap_slot_offset();
    parked_word = trap_slot_word;
    parks();
  }
  return NULL;
}

static void spoil(struct way *way) {
  uint64_t own = trap_slot_word;
  __typeof__(&spoils_word) returns = GUARD(spoils_word, 0, way->flags);
  __typeof__(&spoils_word_args) returns_args = GUARD(spoils_word_args, 16, way->flags);
  __typeof__(&honest_add) add = GUARD(honest_add, 0, way->flags);
  __typeof__(&spoils_word_and_faults) faults = GUARD(spoils_word_and_faults, 0, way->flags);
  void *park = guarded(CODE(parks), 0, 0);
  for (int other = 0; other < 3; other++) { /* no other thread; one that is idle; one that is in a callout */
    pthread_t thread;
    leave = parked = 0;
    if (other) {
      REQUIRE(pthread_create(&thread, NULL, parks_in_callout, other == 2 ? park : NULL) == 0);
      while (!parked) sched_yield();
    }
    uint64_t parked_rsp = other ? trap_slot_at(parked_offset)->frames[0].sp : 0;
    uint64_t words[] = {0,
                        1,
                        2,
                        0x2000,
                        0x4000,
                        0x7fe000,
                        0x800000,
                        0xffffffffffffffff,
                        0x4141414141414141,
                        0x7fe001,
                        own,
                        0x6000,
                        other ? parked_offset : 0x8000,
                        other ? parked_word : 0xa000, /* as the word counts, less the thread pointer: */
                        0 - trap_thread_pointer(),
                        SLOT_SIZE * 5 - trap_thread_pointer(),
                        SLOT_SIZE * 1024ul - trap_thread_pointer()};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
      struct trap_fault fault;
      int before = check_now->failures;
      bad_word = words[i];
      /* The very next callout, with nothing in between that would look at the word. */
      int first = returns(41), second = add(first, 8);
      long third = returns_args(1, 2, 3, 4, 5, 6, 7, 8);
      int fourth = add((int)third, 1);
      CHECK(first == 42 && second == 50 && third == 8721 && fourth == 8722);
      if (other)
        CHECK_EQ(trap_slot_at(parked_offset)->frames[0].sp, parked_rsp); /* not through another thread's slot */
      CHECK(!trap_take_fault(&fault));
      CHECK_EQ(returns(41), 42);
      CHECK(!trap_take_fault(&fault));
      CHECK_EQ(trap_slot_word, own);
      CHECK_EQ(returns_args(1, 2, 3, 4, 5, 6, 7, 8), 8721);
      CHECK(!trap_take_fault(&fault));
      CHECK_EQ(trap_slot_word, own);
      faults();
      CHECK(trap_take_fault(&fault));
      CHECK_EQ(fault.address, 16);
      CHECK_EQ(trap_slot_word, own);
      CHECK_HONEST();
      if (check_now->failures != before) printf("#   ... with the word 0x%" PRIx64 ", case %d\n", words[i], other);
    }
    leave = 1;
    if (other) pthread_join(thread, NULL);
  }
  trap_thunk_release((void *)(uintptr_t)returns);
  trap_thunk_release((void *)(uintptr_t)add);
  trap_thunk_release((void *)(uintptr_t)returns_args);
  trap_thunk_release((void *)(uintptr_t)faults);
  trap_thunk_release(park);
}
/* Broken once: the thread pointer left out of the word (the next callout goes through the other thread's slot and
 * stack). */
CHECK_TEST(spoiled_word, "I11: a callee that overwrites the thread-local word (0, garbage, another thread's slot) "
                         "harms nobody: it is mended") {
  each_way(spoil);
}

int returns_with_slot(uint64_t slot, int value) __attribute__((visibility("hidden")));
RETURNS_WITH_SLOT("returns_with_slot")
static void spoil_slot(struct way *way) {
  __typeof__(&returns_with_slot) returns = GUARD(returns_with_slot, 0, way->flags),
                                 returns_args = GUARD(returns_with_slot, 48, way->flags);
  void *park = guarded(CODE(parks), 0, 0);
  for (int other = 0; other < 3; other++) {
    pthread_t thread;
    leave = parked = 0;
    if (other) {
      REQUIRE(pthread_create(&thread, NULL, parks_in_callout, other == 2 ? park : NULL) == 0);
      while (!parked) sched_yield();
    }
    uint64_t arena = (uintptr_t)&trap_arena;
    uint64_t values[] = {0,
                         1,
                         arena,
                         arena + 8,
                         arena + SLOT_SIZE * 7,
                         arena + SLOT_SIZE * 1023,
                         arena + SLOT_SIZE * 1024,
                         arena + (other ? parked_offset : 0x6000),
                         arena + trap_slot_offset() + 128,
                         (uintptr_t)&arena,
                         0x4141414141414141,
                         ~(uint64_t)0};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
      struct trap_fault fault;
      CHECK_EQ(returns(values[i], 41), 42);
      CHECK_EQ(returns_args(values[i], 42), 43);
      CHECK(!trap_take_fault(&fault));
    }
    CHECK_HONEST();
    leave = 1;
    if (other) pthread_join(thread, NULL);
  }
  trap_thunk_release((void *)(uintptr_t)returns);
  trap_thunk_release((void *)(uintptr_t)returns_args);
  trap_thunk_release(park);
}
/* Broken once, each: the gate's call of gate_lost; its comparison of the stack pointers. */
CHECK_TEST(spoiled_slot, "a callee that returns with another value in the register where the gate keeps its slot: "
                         "garbage, a slot of nobody's, another thread's") {
  each_way(spoil_slot);
}

/* ---- I11: the trap's pages ---- */

static int writes_arena(int which) {
  uintptr_t places[] = {(uintptr_t)trap_slot_at(trap_slot_offset()),
                        (uintptr_t)&trap_slot_at(trap_slot_offset())->fault,
                        (uintptr_t)&trap_arena.thunks[1],
                        (uintptr_t)&trap_arena.callbacks[1],
                        (uintptr_t)&trap_arena.policies[1],
                        (uintptr_t)&trap_arena.records[1],
                        (uintptr_t)&trap_arena.shared.keep,
                        (uintptr_t)&trap_arena,
                        (uintptr_t)(&trap_arena + 1) - 8};
  if (which >= (int)(sizeof places / sizeof *places)) return 0;
  volatile uint64_t *place = (volatile uint64_t *)places[which];
  uint64_t value = *place; /* readable */
  *place = value ^ 1;
  return 1;
}
/* Broken once: pkeys_protect_runtime left out of trap_init. */
CHECK_TEST(
    arena_not_writable,
    "I11: frames, records and tables are readable to a callee, but not writable: SEGV_PKUERR with the runtime key") {
  NEED_KEYS();
  struct way way = {.mechanism = WAY_KEYS, .foreign_stack = true};
  REQUIRE(way_open(&way));
  __typeof__(&writes_arena) attempt = GUARD(writes_arena, 0, 0);
  for (int which = 0; which < 9; which++) {
    struct trap_fault fault;
    CHECK_EQ(attempt(which), 0);
    REQUIRE(trap_take_fault(&fault));
    CHECK_EQ(fault.code, SEGV_PKUERR);
    CHECK_EQ(fault.pkey, pkeys_runtime_key());
    CHECK_EQ(fault.access, TRAP_ACCESS_WRITE);
    CHECK_EQ(fault.mechanism_held, 1);
    CHECK_EQ(fault.space_found, 0);
  }
  CHECK_EQ(attempt(9), 0);
  CHECK_HONEST();
}

/* ---- I1, I2, I4: rights ---- */

static uint32_t callee_pkru(void) { return pkeys_rdpkru(); }
static uint32_t changes_pkru(uint32_t clear, uint32_t set) {
  pkeys_wrpkru((pkeys_rdpkru() & ~clear) | set);
  return pkeys_rdpkru();
}
static int opens_and_faults(void) {
  pkeys_wrpkru(0);
  writes_null();
  return 1;
}
/* Broken once, each: `andl keep` in the gate (others' rights are lost, or owned bits or-ed); `orl E_DENY`. */
CHECK_TEST(absolute_rights, "I1, I2: a callee has exactly the foreign rights to owned keys, key 0 open and others' "
                            "bits as they were; so has the VM afterwards") {
  NEED_KEYS();
  REQUIRE(trap_init() == 0);
  int others = pkey_alloc(0, 2 /* PKEY_DISABLE_WRITE */);
  REQUIRE(others > 0);
  for (int foreign = 0; foreign < 2; foreign++)
    for (unsigned flags = 0; flags <= TRAP_FLOAT; flags += TRAP_FLOAT) {
      struct way way = {.mechanism = WAY_KEYS, .foreign_stack = foreign != 0, .flags = flags};
      REQUIRE(way_open(&way));
      struct pkeys_masks masks = pkeys_masks();
      CHECK_EQ(masks.keep & 3, 3); /* key 0 is nobody's */
      CHECK(masks.deny != 0);
      __typeof__(&callee_pkru) look = GUARD(callee_pkru, 0, flags);
      __typeof__(&changes_pkru) change = GUARD(changes_pkru, 0, flags);
      __typeof__(&writes_null) fault_now = GUARD(writes_null, 0, flags);
      struct trap_fault fault;
      uint32_t outside = pkeys_rdpkru();
      CHECK_EQ(outside & ~masks.keep, 0);
      CHECK_EQ(pkru_rights(outside, others), PKEYS_NO_WRITE);
      CHECK_EQ(look(), (outside & masks.keep) | masks.deny);
      CHECK_EQ(look() & 3, 0);
      CHECK_EQ(pkeys_rdpkru(), outside);
      /* This thread has lost its rights somehow: absolute values do not care. */
      pkeys_wrpkru(outside | (0x55555555 & ~masks.keep));
      pkeys_open_thread();
      CHECK_EQ(pkeys_rdpkru(), outside);
      fault_now();
      CHECK(trap_take_fault(&fault));
      CHECK_EQ(fault.pkru, (outside & masks.keep) | masks.deny);
      CHECK_EQ(fault.mechanism_held, 1);
      CHECK_EQ(pkeys_rdpkru(), outside);
      /* A callee changes its own key's bits: kept. It opens or closes ours: undone. */
      CHECK_EQ(change(pkru_field(others), 0) & pkru_field(others), 0);
      CHECK_EQ(pkeys_rdpkru(), outside & ~pkru_field(others));
      change(0, pkru_bits(others, PKEYS_NO_WRITE) | (0xfffffffc & ~masks.keep));
      CHECK_EQ(pkeys_rdpkru(), outside);
      change(~masks.keep, 0);
      CHECK_EQ(pkeys_rdpkru(), outside);
      CHECK_EQ(GUARD(opens_and_faults, 0, flags)(), 0);
      CHECK(trap_take_fault(&fault));
      CHECK_EQ(fault.mechanism_held, 0); /* the record says that the callee had opened them */
      CHECK_EQ(pkeys_rdpkru() & ~masks.keep, 0);
      pkeys_wrpkru(outside);
      *(volatile int *)way.space = 1;
      way_close(&way);
    }
}

/* ---- older threads ---- */

static pthread_barrier_t stage;
static uintptr_t shared_space;
enum older { OLDER_UNATTACHED, OLDER_TOUCHES, OLDER_ATTACHES_AGAIN, OLDER };
/* One byte from the kernel, whose copies fault for nobody: without the right, read(2) answers EFAULT (F5). */
static ssize_t kernel_writes(uintptr_t address) {
  int ends[2];
  if (pipe(ends) != 0 || write(ends[1], "x", 1) != 1) return -2;
  ssize_t n = read(ends[0], (void *)address, 1);
  close(ends[0]);
  close(ends[1]);
  return n;
}
static void *older_thread(void *argument) {
  enum older older = (enum older)(uintptr_t)argument;
  pkeys_wrpkru(0x55555554); /* F1: what exec gives. The thread that made this one may have had the coming key before */
  if (older != OLDER_UNATTACHED) CHECK_EQ(trap_attach(), 0);
  pthread_barrier_wait(&stage); /* now the keys come */
  pthread_barrier_wait(&stage);
  struct trap_fault fault;
  if (older == OLDER_ATTACHES_AGAIN) {
    CHECK_EQ(trap_attach(), 0);
    CHECK_EQ(kernel_writes(shared_space + 64), 1);
  }
  if (older == OLDER_TOUCHES) {
    CHECK_EQ(*(volatile int *)shared_space, 77); /* outside callouts, first touch */
    *(volatile int *)shared_space = 78;
  }
  CHECK_EQ(GUARD(honest_add, 0, 0)(40, 2), 42);
  *(volatile int *)shared_space = 79;
  GUARD(writes_to, 0, 0)(shared_space);
  CHECK(trap_take_fault(&fault));
  CHECK_EQ(fault.code, SEGV_PKUERR);
  CHECK_EQ(
      GUARD(reads_from, 0, 0)(shared_space),
      79); /* readable to the callee: its rights are absolute, not what the thread was born with and more taken away */
  *(volatile int *)shared_space = 80;
  return NULL;
}
/* Broken once: the generation not compared in trap_slot_attached (read(2) answers EFAULT); `slot != NULL` left out of
 * the handler (the first touch kills); `pkeys_open_thread` left out of attach_masked. */
CHECK_TEST(
    older_threads,
    "I13: threads older than the keys touch the image and make callouts, attached before or at their first callout") {
  NEED_KEYS();
  REQUIRE(trap_init() == 0);
  for (uintptr_t older = 0; older < OLDER; older++) {
    pthread_t thread;
    pthread_barrier_init(&stage, NULL, 2);
    REQUIRE(pthread_create(&thread, NULL, older_thread, (void *)older) == 0);
    pthread_barrier_wait(&stage);
    struct way way = {.mechanism = WAY_KEYS, .foreign_stack = true};
    REQUIRE(way_open(&way));
    shared_space = way.space;
    *(volatile int *)shared_space = 77;
    pthread_barrier_wait(&stage);
    pthread_join(thread, NULL);
    CHECK_EQ(*(volatile int *)shared_space, 80);
    way_close(&way);
  }
}
static void *born_before_all(void *argument) {
  (void)argument;
  pthread_barrier_wait(&stage);
  pthread_barrier_wait(&stage);
  CHECK_EQ(trap_attach(), 0);
  CHECK_EQ(*(volatile int *)shared_space, 77);
  CHECK_HONEST();
  return NULL;
}
CHECK_TEST(older_than_the_trap, "I13: a thread older than trap_init and its runtime key attaches and works") {
  pthread_t thread;
  pthread_barrier_init(&stage, NULL, 2);
  REQUIRE(pthread_create(&thread, NULL, born_before_all, NULL) == 0);
  pthread_barrier_wait(&stage);
  struct way way = {.mechanism = pkeys_supported() ? WAY_KEYS : WAY_FLAG, .foreign_stack = true};
  REQUIRE(way_open(&way));
  shared_space = way.space;
  *(volatile int *)shared_space = 77;
  pthread_barrier_wait(&stage);
  pthread_join(thread, NULL);
}

/* Broken once: `entering` left out of the handler; whether calls are counted looked up in the arena. */
static void *older_callback, *older_counted;
static void *born_before_and_calls(void *const *code) {
  pthread_barrier_wait(&stage);
  pthread_barrier_wait(&stage);
  int (*call)(int, int);
  memcpy(&call, code, sizeof call);
  CHECK_EQ(call(40, 2), 42); /* though this thread may not even read the table when it comes in */
  return NULL;
}
static void *born_before_and_calls_back(void *argument) {
  (void)argument;
  return born_before_and_calls(&older_callback);
}
static void *born_before_and_is_counted(void *argument) {
  (void)argument;
  return born_before_and_calls(&older_counted);
}
CHECK_TEST(
    older_calls_back,
    "I13: a thread older than the runtime key that calls a callback thunk goes straight through, or is counted") {
  pthread_t thread, other;
  pthread_barrier_init(&stage, NULL, 3);
  REQUIRE(pthread_create(&thread, NULL, born_before_and_calls_back, NULL) == 0);
  REQUIRE(pthread_create(&other, NULL, born_before_and_is_counted, NULL) == 0);
  pthread_barrier_wait(&stage);
  struct way way = {.mechanism = pkeys_supported() ? WAY_KEYS : WAY_FLAG, .foreign_stack = true};
  REQUIRE(way_open(&way));
  REQUIRE(trap_callback((const void *)(uintptr_t)honest_add, 0, &older_callback) == 0);
  REQUIRE(trap_callback((const void *)(uintptr_t)honest_add, 0, &older_counted) == 0);
  trap_callback_count(older_counted);
  pthread_barrier_wait(&stage);
  pthread_join(thread, NULL);
  pthread_join(other, NULL);
  CHECK_EQ(trap_callback_calls(older_counted), 0);
  CHECK_EQ(trap_callback_release(older_callback), 0);
  CHECK_EQ(trap_callback_release(older_counted), 0);
}

/* ---- threads of the callee ---- */

static volatile uint32_t child_pkru;
static void *callee_thread(void *argument) {
  child_pkru = pkeys_supported() ? pkeys_rdpkru() : 0;
  if (argument) writes_to((uintptr_t)argument);
  return NULL;
}
static void starts_thread(uintptr_t address) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, callee_thread, (void *)address) != 0) abort();
  pthread_join(thread, NULL);
}
CHECK_TEST(callee_threads, "a thread that a callee starts has the callee's rights; its write to the image is nobody's "
                           "callout: it goes to the handler before") {
  NEED_KEYS();
  struct way way = {.mechanism = WAY_KEYS, .foreign_stack = true};
  REQUIRE(way_open(&way));
  GUARD(starts_thread, 0, 0)(0);
  CHECK_EQ(child_pkru & ~pkeys_masks().keep, pkeys_masks().deny);
  CHECK_DIES_SAYING(SIGSEGV, "", GUARD(starts_thread, 0, 0)(way.space));
}
CHECK_TEST(callee_thread_faults, "a fault on a thread that a callee starts is not the callout's") {
  REQUIRE(trap_init() == 0);
  CHECK_DIES_SAYING(SIGSEGV, "", GUARD(starts_thread, 0, 0)(16));
}

/* ---- many threads ---- */

static unsigned long map_lines(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  unsigned long lines = 0;
  for (int c; maps && (c = fgetc(maps)) != EOF;) lines += c == '\n';
  if (maps) fclose(maps);
  return lines;
}
static void *short_thread(void *code) {
  intptr_t good = AS(honest_add, code)(40, 2) == 42;
  return (void *)good;
}
/* Broken once: thread_exits does not free the slot (attach fails after 1022 threads). */
CHECK_TEST(short_threads, "10,000 short threads leak no slot, stack or mapping") {
  REQUIRE(trap_init() == 0);
  unsigned long count = (scaled(10000, 10000) + 7) / 8 * 8, wrong = 0;
  void *code = guarded(CODE(honest_add), 0, 0);
  struct trap_statistics before = trap_statistics();
  unsigned long maps_after_first = 0;
  for (unsigned long done = 0; done < count; done += 8) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) REQUIRE(pthread_create(&threads[i], NULL, short_thread, code) == 0);
    for (int i = 0; i < 8; i++) {
      void *good = NULL;
      pthread_join(threads[i], &good);
      wrong += good == NULL;
    }
    if (done == 80) maps_after_first = map_lines();
  }
  CHECK_EQ(wrong, 0);
  struct trap_statistics after = trap_statistics();
  CHECK_EQ(after.threads_live, before.threads_live);
  CHECK_EQ(after.threads_ever - before.threads_ever, count);
  CHECK(map_lines() <= maps_after_first + 24); /* as many stacks as there were threads at once, no more */
}

static pthread_key_t late_key;
static void *late_code;
static void calls_in_destructor(void *value) {
  (void)value;
  if (AS(honest_add, late_code)(1, 2) != 3) abort();
}
static void *uses_destructor(void *argument) {
  (void)argument;
  pthread_setspecific(late_key, (void *)1);
  AS(honest_add, late_code)(1, 2);
  return NULL;
}
CHECK_TEST(callouts_in_destructors,
           "a callout in a thread's destructors attaches it once more, and is released once more") {
  REQUIRE(trap_init() == 0);
  late_code = guarded(CODE(honest_add), 0, 0);
  REQUIRE(pthread_key_create(&late_key, calls_in_destructor) == 0);
  for (int i = 0; i < 50; i++) {
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, uses_destructor, NULL) == 0);
    pthread_join(thread, NULL);
  }
  CHECK_EQ(trap_statistics().threads_live, 1);
}

static char own_alternate[64 << 10];
static void *keeps_alternate(void *argument) {
  (void)argument;
  stack_t own = {.ss_sp = own_alternate, .ss_size = sizeof own_alternate}, now;
  sigaltstack(&own, NULL);
  CHECK_EQ(trap_attach(), 0);
  sigaltstack(NULL, &now);
  CHECK(now.ss_sp != own_alternate);
  pthread_setspecific(late_key, (void *)1);
  return NULL;
}
static void looks_at_alternate(void *value) {
  stack_t now;
  sigaltstack(NULL, &now);
  if (value == (void *)2) {
    CHECK(now.ss_sp == own_alternate); /* a later round of destructors: given back */
    return;
  }
  pthread_setspecific(late_key, (void *)2);
}
CHECK_TEST(alternate_given_back, "a thread's own alternate stack comes back when it is released") {
  REQUIRE(trap_init() == 0);
  REQUIRE(pthread_key_create(&late_key, looks_at_alternate) == 0);
  pthread_t thread;
  REQUIRE(pthread_create(&thread, NULL, keeps_alternate, NULL) == 0);
  pthread_join(thread, NULL);
}

/* ---- exhaustion ---- */

static pthread_mutex_t many_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t many_changed = PTHREAD_COND_INITIALIZER;
static int many_attached, many_release;
static void *holds_slot(void *argument) {
  (void)argument;
  int rc = trap_attach();
  pthread_mutex_lock(&many_lock);
  many_attached += rc == 0;
  pthread_cond_broadcast(&many_changed);
  while (!many_release) pthread_cond_wait(&many_changed, &many_lock);
  pthread_mutex_unlock(&many_lock);
  return NULL;
}
struct extra {
  void *shared, *private;
};
static void *one_too_many(void *argument) {
  const struct extra *code = argument;
  CHECK_EQ(trap_attach(), -EAGAIN);
  CHECK(trap_thread_fault() == NULL);
  CHECK_DIES_SAYING(SIGABRT, "could not be attached", AS(honest_add, code->shared)(1, 2));
  CHECK_EQ(AS(honest_add, code->private)(1, 2), 0); /* Broken once: it died, or ran without a gate and gave 3 */
  CHECK_EQ(AS(honest_add, code->private)(1, 2), 0);
  return NULL;
}
CHECK_TEST(no_slot_left, "TRAP_MAX_THREADS threads attach, the next one gets -EAGAIN, its callout through a "
                         "private thunk a record, through a shared one a message; when one ends there is room again") {
  REQUIRE(trap_init() == 0);
  void *code = guarded(CODE(honest_add), 0, 0);
  struct extra codes = {.shared = code};
  REQUIRE(trap_thunk_private(CODE(honest_add), 0, 0, NULL, &codes.private) == 0);
  static pthread_t threads[TRAP_MAX_THREADS];
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 << 10);
  int started = 0;
  for (; started < TRAP_MAX_THREADS - 1; started++)
    if (pthread_create(&threads[started], &small, holds_slot, NULL) != 0) break;
  if (started < TRAP_MAX_THREADS - 1) printf("#   only %d threads could be started\n", started);
  REQUIRE(started == TRAP_MAX_THREADS - 1);
  pthread_mutex_lock(&many_lock);
  while (many_attached < started) pthread_cond_wait(&many_changed, &many_lock);
  pthread_mutex_unlock(&many_lock);
  CHECK_EQ(trap_statistics().threads_live, TRAP_MAX_THREADS);
  pthread_t extra;
  REQUIRE(pthread_create(&extra, NULL, one_too_many, &codes) == 0);
  pthread_join(extra, NULL);
  const struct trap_fault *refused = trap_thunk_fault(codes.private);
  REQUIRE(refused != NULL);
  CHECK_EQ(refused->pending, 2);
  CHECK_EQ(refused->signal, 0);
  CHECK_EQ(refused->code, -EAGAIN);
  CHECK_EQ(refused->address, TRAP_MAX_THREADS);
  CHECK(refused->function == (uint64_t)(uintptr_t)honest_add);
  CHECK_EQ(trap_statistics().faults, 0);
  pthread_mutex_lock(&many_lock);
  many_release = 1;
  pthread_cond_broadcast(&many_changed);
  pthread_mutex_unlock(&many_lock);
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(trap_statistics().threads_live, 1);
  REQUIRE(pthread_create(&extra, NULL, short_thread, code) == 0);
  void *good = NULL;
  pthread_join(extra, &good);
  CHECK(good != NULL);
}

CHECK_MAIN()
