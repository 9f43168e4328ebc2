/* Adopted ranges by the thousand, under several threads, and across fork. */
#define _GNU_SOURCE
#include "pkeys_ranges.h"

/* ---- many ----------------------------------------------------------------------------------------------------- */

CHECK_TEST(many, "10,000 ranges: each is found, all are closed and opened, and the table says when it is full") {
  struct pkeys_image *image = create(PKEYS_MECHANISM_MPROTECT_RANGE, PKEYS_KEY_PER_IMAGE);
  enum { RANGES = 10000 };
  /* Read-only neighbours keep the mappings apart, as a heap's guards do. */
  char *heap = map(2 * RANGES, R);
  for (size_t i = 0; i < RANGES; i++) {
    size_t page = i * 7919 % RANGES; /* in no order */
    CHECK_EQ(pkeys_space_adopt(image, 0, heap + 2 * page * PAGE, PAGE, RW), 0);
  }
  size_t wrong = 0, ranges = 0;
  struct pkeys_space space;
  struct pkeys_range range;
  for (size_t page = 0; page < 2 * RANGES; page++)
    wrong += pkeys_find_space((uintptr_t)heap + page * PAGE + 5, &space) != (page % 2 == 0);
  for (uintptr_t from = 0; pkeys_range_next(from, &range); from = range.address + range.bytes) ranges++;
  CHECK_EQ(wrong, 0);
  CHECK_EQ(ranges, RANGES);
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  for (size_t page = 0; page < RANGES; page += 501) CHECK(!can_write(heap + 2 * page * PAGE));
  CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
  CHECK_EQ(pkeys_leave_foreign(false), 0);
  for (size_t page = 0; page < RANGES; page += 501) CHECK(can_write(heap + 2 * page * PAGE));
  CHECK_EQ(pkeys_range_release(heap, 2 * RANGES * PAGE), 0);
  CHECK(!pkeys_range_next(0, &range));
  CHECK_EQ(pkeys_image_close(image), 0);
  munmap(heap, 2 * RANGES * PAGE);

  /* Two spaces of one key: many ranges, one mapping. */
  image = create(PKEYS_MECHANISM_FLAG, PKEYS_KEY_PER_IMAGE);
  char *full = map(PKEYS_MAX_RANGES + 16, RW);
  size_t adopted = 0;
  int error = 0;
  while (adopted < PKEYS_MAX_RANGES + 16 && !error)
    if (!(error = pkeys_space_adopt(image, adopted % 2, full + adopted * PAGE, PAGE, RW))) adopted++;
  CHECK_EQ(error, -EMFILE);
  CHECK(adopted > PKEYS_MAX_RANGES - 16);
  CHECK(pkeys_range_next((uintptr_t)full + (adopted - 1) * PAGE, &range));
  CHECK_EQ(range.space, (adopted - 1) % 2);
  CHECK_EQ(pkeys_range_release(full, PAGE * adopted), 0);
  CHECK_EQ(pkeys_space_adopt(image, 0, full, PAGE, RW), 0);
  CHECK_EQ(pkeys_image_close(image), 0);
}

/* ---- threads and processes --------------------------------------------------------------------------------------- */

static struct pkeys_image *heap_image;
static _Atomic int stop, looked, wrong_looks;
static char *arenas[3];
static void look(int signal) {
  (void)signal;
  /* No rights are opened here: a reader takes what it needs. */
  for (int i = 0; i < 3; i++) {
    struct pkeys_space space;
    struct pkeys_range range;
    uintptr_t base = (uintptr_t)arenas[i];
    for (size_t page = 0; page < 8; page++) {
      uintptr_t address = base + page * PAGE;
      if (pkeys_find_space(address, &space) && (space.name[0] != "yoc"[i] || address - space.address >= space.bytes))
        wrong_looks++;
      if (pkeys_range_next(address, &range) && range.address + range.bytes <= address) wrong_looks++;
    }
  }
  looked++;
}
static void *looks(void *argument) {
  while (!stop) look(0);
  return argument;
}
static void *maps(void *argument) {
  size_t number = (size_t)(uintptr_t)argument;
  unsigned seed = (unsigned)number + 1;
  pkeys_open_thread();
  for (int i = 0; i < 400; i++) {
    /* At an address of its own, so that what is found there is its own too. */
    char *memory = arenas[number];
    CHECK(mmap(memory, 8 * PAGE, NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory);
    CHECK_EQ(pkeys_space_adopt(heap_image, number, memory, 8 * PAGE, RW), 0);
    size_t page = test_random(&seed) % 8;
    CHECK_EQ(pkeys_range_protect(memory + page * PAGE, PAGE, test_random(&seed) % 2 ? R : RX), 0);
    CHECK_EQ(pkeys_range_protect(memory, 8 * PAGE, RW), 0);
    if (i % 4 == 0) CHECK_EQ(pkeys_range_release(memory + page * PAGE, (8 - page) * PAGE), 0);
    CHECK_EQ(pkeys_range_forget(memory, 8 * PAGE), 0);
  }
  return NULL;
}
static void *calls(void *argument) {
  pkeys_open_thread();
  while (!stop) {
    CHECK_EQ(test_enter(false), 0);
    CHECK_EQ(test_leave(false), 0);
  }
  return argument;
}
/* Broken once: both copies of the order changed without a new version. */
CHECK_TEST(threads, "three threads map, protect and unmap, two make callouts, one looks up, a timer's handler too: no "
                    "error, no wrong answer, and all is as it should be after") {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_PAGE; m <= PKEYS_MECHANISM_PKEYS; m++) {
    if (!test_can(m) || m == PKEYS_MECHANISM_MPROTECT_NAIVE) continue;
    heap_image = create(m, PKEYS_KEY_PER_IMAGE);
    char *kept = map(4, NONE);
    CHECK_EQ(pkeys_space_adopt(heap_image, 1, kept, 4 * PAGE, RW), 0);
    stop = 0;
    for (int i = 0; i < 3; i++) arenas[i] = map(8, NONE);
    pthread_t others[3] = {start(calls, NULL), start(calls, NULL), start(looks, NULL)}, mappers[3];
    for (uintptr_t i = 0; i < 3; i++) mappers[i] = start(maps, (void *)i);
    test_interrupts(look, 499);
    for (int i = 0; i < 3; i++) pthread_join(mappers[i], NULL);
    test_interrupts(NULL, 0);
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(others[i], NULL);
    CHECK(looked > 0);
    CHECK_EQ(wrong_looks, 0);
    check_page(kept, RW, space_at(heap_image, 1).key);
    CHECK_EQ(pkeys_image_verify_tags(heap_image, NULL), 0);
    struct pkeys_range range;
    CHECK(pkeys_range_next(0, &range));
    CHECK_EQ(range.address, (uintptr_t)kept);
    CHECK(!pkeys_range_next(range.address + range.bytes, &range));
    CHECK_EQ(pkeys_image_close(heap_image), 0);
    munmap(kept, 4 * PAGE);
  }
}

static void *maps_forever(void *argument) {
  pkeys_open_thread();
  while (!stop) {
    char *memory = map(2, NONE);
    CHECK_EQ(pkeys_space_adopt(heap_image, 0, memory, 2 * PAGE, RW), 0);
    CHECK_EQ(pkeys_range_forget(memory, 2 * PAGE), 0);
    munmap(memory, 2 * PAGE);
  }
  return argument;
}
/* Broken once: no handlers around fork, and the child waited for ever for a lock that a thread of the parent's held. */
CHECK_TEST(forks,
           "a child that is forked while other threads adopt and call out can go on: keys and table are its own, "
           "no lock is held, and others' callouts are forgotten") {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_RANGE; m <= PKEYS_MECHANISM_PKEYS; m++) {
    if (!test_can(m) || m == PKEYS_MECHANISM_MPROTECT_NAIVE) continue;
    heap_image = create(m, PKEYS_KEY_PER_IMAGE);
    char *kept = map(4, NONE);
    CHECK_EQ(pkeys_space_adopt(heap_image, 1, kept, 4 * PAGE, RW), 0);
    stop = 0;
    pthread_t threads[2] = {start(maps_forever, NULL), start(calls, NULL)};
    for (int i = 0; i < 50; i++) {
      CHECK_EXITS(0, pkeys_forked(); kept[0] = 1; CHECK(can_write(kept)); char *mine = map(2, NONE);
                  CHECK_EQ(pkeys_space_adopt(heap_image, 0, mine, 2 * PAGE, RW), 0); CHECK_EQ(test_enter(false), 0);
                  bool open = can_write(kept) || can_write(mine); CHECK_EQ(test_leave(false), 0); CHECK(!open);
                  mine[0] = kept[4 * PAGE - 1] = 1; CHECK_EQ(pkeys_image_close(heap_image), 0);
                  _exit(check_now->failures ? 1 : 0));
    }
    stop = 1;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    CHECK_EQ(pkeys_image_verify_tags(heap_image, NULL), 0);
    CHECK_EQ(pkeys_image_close(heap_image), 0);
    munmap(kept, 4 * PAGE);
  }
}

CHECK_TEST(forked_inside, "a callee that forks inside a callout keeps its rights, in parent and child") {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_RANGE; m <= PKEYS_MECHANISM_PKEYS; m++) {
    if (!test_can(m) || m == PKEYS_MECHANISM_MPROTECT_NAIVE) continue;
    heap_image = create(m, PKEYS_KEY_PER_IMAGE);
    char *kept = map(4, NONE);
    CHECK_EQ(pkeys_space_adopt(heap_image, 1, kept, 4 * PAGE, RW), 0);
    CHECK_EQ(test_enter(false), 0);
    pid_t child = fork();
    if (child == 0) _exit(can_write(kept) ? 1 : 0);
    bool open = can_write(kept);
    CHECK_EQ(test_leave(false), 0);
    CHECK_EQ(check_wait(child), 0);
    CHECK(!open);
    CHECK_EQ(pkeys_image_close(heap_image), 0);
    munmap(kept, 4 * PAGE);
  }
}

CHECK_MAIN()
