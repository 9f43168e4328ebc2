/* Mechanisms: each closes and opens; counted and naive; errors; signals in the middle; bystanders.
 * More than 400 lines: one list of behaviours over the same few helpers. */
#include "pkeys_test.h"

#define MS ((uint64_t)1000000)
CHECK_TEST(each, "each mechanism closes in a callout what it should, and opens it again") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) {
      printf("#   no keys here: %s not tried\n", pkeys_mechanism_name(m));
      continue;
    }
    struct pkeys_image *image = image_of(m);
    char *eden = (char *)space_at(image, 0).address, *old = (char *)space_at(image, 1).address;
    bool closes = m != PKEYS_MECHANISM_NONE && m != PKEYS_MECHANISM_FLAG;
    CHECK_EQ(pkeys_masks().hooked, test_hooked(m));
    CHECK_EQ(pkeys_masks().keyed, m == PKEYS_MECHANISM_PKEYS);
    eden[0] = 1;
    old[64 * KIB - 1] = 2;
    for (int round = 0; round < 3; round++) {
      CHECK_EQ(test_enter(false), 0);
      bool first = can_write(eden), middle = can_write(eden + 8 * KIB), last = can_write(old + 64 * KIB - 1),
           read = can_read(old);
      CHECK_EQ(test_leave(false), 0);
      CHECK_EQ(first, !closes);
      CHECK_EQ(middle, !closes);
      CHECK_EQ(last, !closes);
      CHECK(read);
      CHECK(can_write(eden) && can_write(old + 64 * KIB - 1));
    }
    CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

CHECK_TEST(errno_kept, "enter and leave leave errno alone, also when they fail") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    struct pkeys_image *image = image_of(m);
    errno = 4711;
    pkeys_enter_foreign(false);
    CHECK_EQ(errno, 4711);
    pkeys_leave_foreign(false);
    CHECK_EQ(errno, 4711);
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

CHECK_TEST(nested, "counted: first in closes, last out opens, in any order of leaving; close is refused meanwhile") {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_PAGE; m <= PKEYS_MECHANISM_MPROTECT_RANGE; m++) {
    struct pkeys_image *image = image_of(m);
    char *eden = (char *)space_at(image, 0).address;
    CHECK_EQ(pkeys_enter_foreign(false), 0);
    CHECK_EQ(pkeys_enter_foreign(false), 0);
    CHECK_EQ(pkeys_enter_foreign(false), 0);
    CHECK_EQ(pkeys_leave_foreign(false), 0);
    CHECK(!can_write(eden));
    CHECK_EQ(pkeys_image_close(image), -EBUSY);
    CHECK(!can_write(eden));
    CHECK_EQ(pkeys_leave_foreign(false), 0);
    CHECK(!can_write(eden));
    CHECK_EQ(pkeys_leave_foreign(false), 0);
    CHECK(can_write(eden));
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

CHECK_TEST(late, "an image that becomes mprotect while a hooked callout is inside is closed at once") {
  struct pkeys_image *first = image_of(PKEYS_MECHANISM_MPROTECT_NAIVE);
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  struct pkeys_image *second = image_of(PKEYS_MECHANISM_MPROTECT_PAGE);
  char *eden = (char *)space_at(second, 0).address;
  CHECK(!can_write(eden));
  void *hidden;
  CHECK_EQ(pkeys_image_hidden(second, 4096, &hidden), 0);
  CHECK(!can_write(hidden));
  CHECK_EQ(pkeys_image_verify_tags(second, NULL), 0);
  CHECK_EQ(pkeys_image_close(second), -EBUSY);
  CHECK_EQ(pkeys_leave_foreign(false), 0);
  CHECK(can_write(eden) && can_write(hidden));
  CHECK_EQ(pkeys_image_close(second), 0);
  CHECK_EQ(pkeys_image_close(first), 0);
}

/* ---- two threads --------------------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;
static void *in_and_out(void *argument) {
  pthread_barrier_wait(&barrier); /* the other is inside */
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  CHECK_EQ(pkeys_leave_foreign(false), 0);
  pthread_barrier_wait(&barrier);
  return argument;
}
/* Whether the image is still closed under this thread's callout after another's came and went. */
static bool closed_after_other(enum pkeys_mechanism m) {
  struct pkeys_image *image = image_of(m);
  char *eden = (char *)space_at(image, 0).address;
  pthread_barrier_init(&barrier, NULL, 2);
  pthread_t thread = start(in_and_out, NULL);
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  CHECK(!can_write(eden));
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  bool closed = !can_write(eden);
  CHECK_EQ(pkeys_leave_foreign(false), 0);
  pthread_join(thread, NULL);
  CHECK(can_write(eden));
  CHECK_EQ(pkeys_image_close(image), 0);
  return closed;
}
CHECK_TEST(
    hole, "two threads: counted mechanisms stay closed until the last is out, naive opens under the other (its hole)") {
  CHECK(closed_after_other(PKEYS_MECHANISM_MPROTECT_PAGE));
  CHECK(closed_after_other(PKEYS_MECHANISM_MPROTECT_RANGE));
  CHECK(!closed_after_other(PKEYS_MECHANISM_MPROTECT_NAIVE));
}

static struct pkeys_image *shared;
static _Atomic int stop, found_open, rounds;
static void *callouts(void *argument) {
  unsigned seed = (unsigned)(uintptr_t)argument;
  char *eden = (char *)space_at(shared, 0).address;
  for (int i = 0; i < 2000; i++) {
    bool lent = test_random(&seed) & 1;
    if (pkeys_enter_foreign(lent)) found_open += 1000;
    if (i % 8 == 0 && can_write(eden)) found_open++;
    if (pkeys_leave_foreign(lent)) found_open += 1000;
    rounds++;
  }
  return NULL;
}
CHECK_TEST(many_threads, "four threads in and out: never open inside, open when all are out") {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_PAGE; m <= PKEYS_MECHANISM_MPROTECT_RANGE; m++) {
    shared = image_of(m);
    pthread_t threads[4];
    struct pkeys_loan loan;
    CHECK_EQ(pkeys_lend(16, NULL, 0, 0, PKEYS_LOAN_OUT, false, &loan), 0);
    for (uintptr_t i = 0; i < 4; i++) threads[i] = start(callouts, (void *)(i + 1));
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    CHECK_EQ(found_open, 0);
    CHECK(can_write((char *)space_at(shared, 0).address) && can_write(loan.address));
    CHECK_EQ(pkeys_image_verify_tags(shared, NULL), 0);
    CHECK_EQ(pkeys_loan_release(loan.id), 0);
    CHECK_EQ(pkeys_image_close(shared), 0);
  }
  CHECK_EQ(rounds, 16000);
}

static void *change_things(void *argument) {
  unsigned seed = 7;
  while (!stop) {
    struct pkeys_image *image = image_of(test_random(&seed) & 1 ? PKEYS_MECHANISM_MPROTECT_RANGE
                                                                : PKEYS_MECHANISM_MPROTECT_NAIVE);
    void *hidden = NULL;
    struct pkeys_loan loan;
    CHECK_EQ(pkeys_image_hidden(image, 8192, &hidden), 0);
    CHECK_EQ(pkeys_lend(64, NULL, 0, 0, PKEYS_LOAN_OUT, true, &loan), 0);
    CHECK_EQ(pkeys_space_resize(image, 0, (1 + test_random(&seed) % 16) * 4096), 0);
    CHECK_EQ(pkeys_space_resize(image, 0, (1 + test_random(&seed) % 16) * 4096), 0);
    CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
    CHECK_EQ(pkeys_loan_release(loan.id), 0);
    CHECK_EQ(pkeys_image_hidden_release(image, hidden), 0);
    int error;
    while ((error = pkeys_image_close(image)) == -EBUSY) sched_yield();
    CHECK_EQ(error, 0);
  }
  return argument;
}
CHECK_TEST(
    changing,
    "images, hidden areas and loans come and go while callouts run: nothing is open inside, nothing stays closed") {
  shared = image_of(PKEYS_MECHANISM_MPROTECT_RANGE);
  pthread_t changer = start(change_things, NULL), threads[2];
  for (uintptr_t i = 0; i < 2; i++) threads[i] = start(callouts, (void *)(i + 1));
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  stop = 1;
  pthread_join(changer, NULL);
  CHECK_EQ(found_open, 0);
  CHECK(can_write((char *)space_at(shared, 0).address));
  CHECK_EQ(pkeys_image_verify_tags(shared, NULL), 0);
}

/* ---- errors -------------------------------------------------------------------------------------------------- */

CHECK_TEST(no_mappings,
           "no mapping left: mprotect-page reports -ENOMEM and everything is open again; range needs none") {
  NEEDS_MAPPINGS();
  struct pkeys_image *page = image_of(PKEYS_MECHANISM_MPROTECT_PAGE);
  char *eden = (char *)space_at(page, 0).address, *old = (char *)space_at(page, 1).address;
  /* Mappings up to the limit: alternate access in one large range, each a mapping of its own. */
  size_t pages = 200000;
  char *filler = test_reserve(pages * 4096);
  REQUIRE(filler != NULL);
  size_t used = 1;
  while (used < pages && test_protect(filler + used * 4096, 4096, TEST_READ) == 0) used += 2;
  REQUIRE(used < pages);
  errno = 4711;
  CHECK_EQ(pkeys_enter_foreign(false), -ENOMEM);
  CHECK_EQ(errno, 4711);
  CHECK(can_write(eden) && can_write(eden + 8 * KIB) && can_write(old) && can_write(old + 63 * KIB));
  CHECK_EQ(pkeys_enter_foreign(true), -ENOMEM);
  CHECK(can_write(old));
  CHECK_EQ(test_unmap(filler, pages * 4096), 0);
  CHECK_EQ(pkeys_image_verify_tags(page, NULL), 0);
  /* Not counted: the next one closes, and its leaving opens. */
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  CHECK(!can_write(eden) && !can_write(old + 63 * KIB));
  CHECK_EQ(pkeys_leave_foreign(false), 0);
  CHECK(can_write(eden));
  CHECK_EQ(pkeys_image_close(page), 0);
}

CHECK_TEST(gone, "a hole in a space: enter reports it for each mprotect mechanism, and opens the rest again") {
  NEEDS_MAPPINGS();
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_PAGE; m <= PKEYS_MECHANISM_MPROTECT_NAIVE; m++) {
    struct pkeys_image *image = image_of(m);
    char *eden = (char *)space_at(image, 0).address, *old = (char *)space_at(image, 1).address;
    CHECK_EQ(test_unmap(old + 8 * KIB, 4096), 0);
    CHECK_EQ(pkeys_enter_foreign(false), -ENOMEM);
    CHECK(can_write(eden) && can_write(eden + 12 * KIB) && can_write(old));
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

/* ---- signals in the middle ----------------------------------------------------------------------------------- */

static _Atomic int beats, beats_open;
static char *_Atomic beat_address;
/* A VM's heartbeat that makes a guarded call of its own, wherever it lands: in the middle of closing, of opening, of
 * growing. */
static void heartbeat(int signal) {
  (void)signal;
  pkeys_open_thread();
  int saved = errno;
  if (pkeys_enter_foreign(false) == 0) {
    beats++;
    if (can_write(beat_address)) beats_open++;
    pkeys_leave_foreign(false);
  }
  errno = saved;
}

CHECK_TEST(handler_inside, "a signal handler's own callout in the middle of enter, leave and resize: no deadlock, "
                           "closed inside, and put right after") {
  NEEDS_INTERRUPTS();
  shared = image_of(PKEYS_MECHANISM_MPROTECT_PAGE);
  char *eden = (char *)space_at(shared, 0).address, *old = (char *)space_at(shared, 1).address;
  beat_address = old + 40 * KIB;
  test_interrupts(heartbeat, 211);
  int open_inside = 0, closed_outside = 0, errors = 0;
  for (int i = 0; i < 20000 && (i < 300 || beats < 300); i++) {
    errors += pkeys_enter_foreign(false) != 0;
    if (i % 4 == 0) open_inside += can_write(eden + 8 * KIB) || can_write(old + 63 * KIB);
    if (i % 16 == 0) errors += pkeys_space_resize(shared, 0, (1 + (size_t)i / 16 % 16) * 4096) != 0;
    if (i % 16 == 8) errors += pkeys_space_resize(shared, 0, 64 * KIB) != 0;
    errors += pkeys_leave_foreign(false) != 0;
    if (i % 4 == 1) closed_outside += !can_write(old + 63 * KIB);
  }
  test_interrupts(NULL, 0);
  printf("#   %d handler callouts\n", beats);
  CHECK(beats > 0);
  CHECK_EQ(beats_open, 0);
  CHECK_EQ(errors, 0);
  CHECK_EQ(open_inside, 0);
  CHECK_EQ(closed_outside, 0);
  CHECK_EQ(pkeys_image_verify_tags(shared, NULL), 0);
  CHECK_EQ(pkeys_image_close(shared), 0);
}

static _Atomic int reads, wrong_reads;
static void reader(int signal) {
  (void)signal;
  /* No rights opened here: readers take what they need (on a machine with keys a handler starts with none). */
  struct pkeys_masks masks = pkeys_masks();
  struct pkeys_space space;
  if (pkeys_find_space((uintptr_t)beat_address, &space) && strcmp(space.name, "old") != 0) wrong_reads++;
  if (shared && pkeys_image_space(shared, 1, &space) == 0 &&
      (strcmp(space.name, "old") != 0 || (space.key != 0) != test_keyed(space.mechanism)))
    wrong_reads++;
  if ((masks.deny & ~masks.keep) != masks.deny || (masks.deny & 3) || (masks.deny_lent & ~masks.deny)) wrong_reads++;
  if (pkeys_find_loan((uintptr_t)beat_address, 1)) wrong_reads++;
  reads++;
}
CHECK_TEST(handler_reads,
           "a signal handler that interrupted a writer reads complete state, without any right opened for it") {
  NEEDS_INTERRUPTS();
  CHECK_EQ(pkeys_init(), 0);
  test_interrupts(reader, 97);
  for (int i = 0; i < 20000 && (i < 50 || reads < 500); i++) {
    enum pkeys_mechanism m = pkeys_supported() ? PKEYS_MECHANISM_PKEYS : PKEYS_MECHANISM_FLAG;
    shared = image_of(PKEYS_MECHANISM_UNSET);
    beat_address = (char *)space_at(shared, 1).address;
    CHECK_EQ(pkeys_image_set_mechanism(shared, m), 0);
    CHECK_EQ(pkeys_space_resize(shared, 1, 128 * KIB), 0);
    CHECK_EQ(pkeys_image_close(shared), 0);
  }
  test_interrupts(NULL, 0);
  printf("#   %d handler reads\n", reads);
  CHECK(reads > 0);
  CHECK_EQ(wrong_reads, 0);
}

static void *read_forever(void *argument) {
  while (!stop) reader(0);
  return argument;
}
CHECK_TEST(thread_reads, "other threads read complete state while one writes") {
  CHECK_EQ(pkeys_init(), 0);
  pthread_t threads[2] = {start(read_forever, NULL), start(read_forever, NULL)};
  for (int i = 0; i < 400; i++) {
    struct pkeys_image *image = image_of(PKEYS_MECHANISM_UNSET);
    beat_address = (char *)space_at(image, 1).address;
    CHECK_EQ(pkeys_image_set_mechanism(image, pkeys_supported() ? PKEYS_MECHANISM_PKEYS : PKEYS_MECHANISM_NONE), 0);
    CHECK_EQ(pkeys_space_resize(image, 1, 128 * KIB), 0);
    beat_address = NULL;
    CHECK_EQ(pkeys_image_close(image), 0);
  }
  stop = 1;
  pthread_join(threads[0], NULL);
  pthread_join(threads[1], NULL);
  CHECK(reads > 0);
  CHECK_EQ(wrong_reads, 0);
}

/* ---- bystanders ---------------------------------------------------------------------------------------------- */

static uint64_t limit_ns;
static _Atomic int faults_seen;
/* What the trap does for a VM thread. Where it is not the layer's, the fault is reported by a non-zero exit. */
static bool on_fault(uintptr_t address) {
  faults_seen++;
  return address != 0 && pkeys_bystander_wait(address, limit_ns);
}
static void handle_faults(uint64_t limit) {
  limit_ns = limit;
  test_faults(on_fault);
}

/* A callout on another thread that stays inside until something has happened, so that no sleep decides a test. */
static _Atomic int inside_now;
enum until { UNTIL_FAULT, UNTIL_WINDOW, UNTIL_BARRIER };
static void *long_callout(void *argument) {
  enum until until = (enum until)(uintptr_t)argument;
  struct pkeys_bystanders before = pkeys_bystanders();
  CHECK_EQ(test_enter(false), 0);
  inside_now = 1;
  pthread_barrier_wait(&barrier);
  if (until == UNTIL_BARRIER) pthread_barrier_wait(&barrier);
  while (until == UNTIL_FAULT && pkeys_bystanders().faults == before.faults) sched_yield();
  while (until == UNTIL_WINDOW && pkeys_bystanders().windows == before.windows) sched_yield();
  if (until == UNTIL_WINDOW) pthread_barrier_wait(&barrier);
  inside_now = 0;
  CHECK_EQ(test_leave(false), 0);
  return NULL;
}
static pthread_t start_callout(enum until until) {
  pthread_barrier_init(&barrier, NULL, 2);
  pthread_t thread = start(long_callout, (void *)(uintptr_t)until);
  pthread_barrier_wait(&barrier);
  return thread;
}

CHECK_TEST(bystander, "a VM thread that meets a closed image waits until the callout is out, then goes on") {
  shared = image_of(PKEYS_MECHANISM_MPROTECT_RANGE);
  volatile char *eden = (char *)space_at(shared, 0).address;
  handle_faults(60000 * MS);
  for (int i = 0; i < 10; i++) {
    pthread_t thread = start_callout(UNTIL_FAULT);
    eden[i] = (char)(i + 1);
    CHECK_EQ(inside_now, 0);
    pthread_join(thread, NULL);
    CHECK_EQ(eden[i], i + 1);
  }
  struct pkeys_bystanders counts = pkeys_bystanders();
  CHECK(faults_seen >= 10);
  CHECK_EQ(counts.faults, faults_seen);
  CHECK_EQ(counts.windows, 0);
  CHECK(counts.waited_ns > 0);
}

CHECK_TEST(window,
           "past the limit the region is opened, a window is counted, and the callout's leaving puts all right") {
  shared = image_of(PKEYS_MECHANISM_MPROTECT_PAGE);
  char *eden = (char *)space_at(shared, 0).address, *old = (char *)space_at(shared, 1).address;
  handle_faults(5 * MS);
  pthread_t thread = start_callout(UNTIL_WINDOW);
  eden[5] = 1;
  CHECK_EQ(inside_now, 1);
  CHECK(can_write(eden));
  CHECK(!can_write(old));
  CHECK_EQ(pkeys_bystanders().windows, 1);
  pthread_barrier_wait(&barrier);
  pthread_join(thread, NULL);
  CHECK(can_write(old));
  CHECK_EQ(pkeys_image_verify_tags(shared, NULL), 0);
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  CHECK(!can_write(eden));
  CHECK_EQ(pkeys_leave_foreign(false), 0);
}

static void touch(int signal) {
  (void)signal;
  (*(volatile char *)beat_address)++; /* closed half of the time: faults, and nobody else can open */
}
CHECK_TEST(
    bystander_self,
    "a handler that touches the image on the very thread that is closing it: past the limit it goes on, no deadlock") {
  NEEDS_INTERRUPTS();
  shared = image_of(PKEYS_MECHANISM_MPROTECT_PAGE);
  beat_address = (char *)space_at(shared, 1).address;
  handle_faults(MS / 10);
  test_interrupts(touch, 499);
  for (int i = 0; i < 20000 && (i < 200 || pkeys_bystanders().windows < 50); i++) {
    CHECK_EQ(pkeys_enter_foreign(false), 0);
    CHECK_EQ(pkeys_leave_foreign(false), 0);
  }
  test_interrupts(NULL, 0);
  CHECK(pkeys_bystanders().windows > 0);
  CHECK(can_write(beat_address));
  CHECK_EQ(pkeys_image_verify_tags(shared, NULL), 0);
}

CHECK_TEST(not_ours, "faults that no counted mechanism caused are refused: other memory, guards, other mechanisms") {
  struct pkeys_image *counted = image_of(PKEYS_MECHANISM_MPROTECT_RANGE),
                     *naive = image_of(PKEYS_MECHANISM_MPROTECT_NAIVE), *flag = image_of(PKEYS_MECHANISM_FLAG);
  struct pkeys_space eden = space_at(counted, 0);
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  CHECK(!pkeys_bystander_wait(0, MS));
  CHECK(!pkeys_bystander_wait((uintptr_t)&eden, MS));
  CHECK(!pkeys_bystander_wait(eden.address - 1, MS));
  CHECK(!pkeys_bystander_wait(eden.address + eden.bytes, MS));
  CHECK(!pkeys_bystander_wait(space_at(naive, 0).address, MS));
  CHECK(!pkeys_bystander_wait(space_at(flag, 0).address, MS));
  CHECK_EQ(pkeys_bystanders().faults, 0);
  CHECK(pkeys_bystander_wait(eden.address, MS));
  CHECK_EQ(pkeys_leave_foreign(false), 0);
}

CHECK_TEST(retry_ends,
           "a fault that keeps coming back while nothing is closed is refused in the end, not retried for ever") {
  shared = image_of(PKEYS_MECHANISM_MPROTECT_RANGE);
  char *eden = (char *)space_at(shared, 0).address;
  eden[0] = (char)0xc3;
  handle_faults(MS);
  /* Calling into the image: an instruction fetch from pages that are never executable. */
  CHECK_EXITS(77, ((void (*)(void))(uintptr_t)eden)());
  CHECK_EXITS(77, pkeys_enter_foreign(false); ((void (*)(void))(uintptr_t)eden)());
}

CHECK_TEST(hidden_bystander, "hidden areas and loans have bystanders too") {
  shared = image_of(PKEYS_MECHANISM_MPROTECT_RANGE);
  void *hidden = NULL;
  struct pkeys_loan loan;
  CHECK_EQ(pkeys_image_hidden(shared, 4096, &hidden), 0);
  CHECK_EQ(pkeys_lend(16, NULL, 0, 0, PKEYS_LOAN_OUT, false, &loan), 0);
  handle_faults(60000 * MS);
  pthread_t thread = start_callout(UNTIL_FAULT);
  *(volatile char *)hidden = 1;
  *(volatile char *)loan.address = 1;
  pthread_join(thread, NULL);
  CHECK(faults_seen >= 1);
  CHECK_EQ(pkeys_bystanders().windows, 0);
}

/* ---- keys beside threads ------------------------------------------------------------------------------------- */

CHECK_TEST(per_thread,
           "keys close for the callout's thread alone: another VM thread writes meanwhile (mprotect closes for all)") {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_RANGE; m <= PKEYS_MECHANISM_PKEYS_GLIBC; m++) {
    if (!test_can(m)) continue;
    shared = image_of(m);
    char *eden = (char *)space_at(shared, 0).address;
    pthread_t thread = start_callout(UNTIL_BARRIER);
    CHECK_EQ(can_write(eden), test_keyed(m));
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    CHECK(can_write(eden));
    CHECK_EQ(pkeys_image_close(shared), 0);
  }
}

CHECK_MAIN()
