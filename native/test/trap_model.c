/*
 * The model of keys (trap_model): it delays, passes everything through unharmed, protects nothing, and is not to be had
 * where there are keys.
 */
#define _GNU_SOURCE
#include "trap_common.h"

typedef uint64_t (*function)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
static __attribute__((noinline)) uint64_t mix(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                                              uint64_t g, uint64_t h) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h;
}
static uint64_t (*call_back)(uint64_t);
static __attribute__((noinline)) uint64_t around(uint64_t a) { return call_back(a + 1) * 2; }
static __attribute__((noinline)) uint64_t in_vm(uint64_t a) { return a * 10; }
static volatile uint64_t *target;
static __attribute__((noinline)) void store(void) { *target = 0x1234; }
static int answer;
static __attribute__((noinline)) void asks(void) { answer = trap_model(100, NULL); }

/* In each test itself: a skip returns from where it stands. */
#define BEGIN                                                                               \
  do {                                                                                      \
    if (pkeys_supported()) CHECK_SKIP("the CPU has protection keys, the model is refused"); \
    REQUIRE(trap_init() == 0);                                                              \
  } while (0)

CHECK_TEST(passes,
           "the model's gates pass arguments and results like the others, on either stack, with callbacks too") {
  BEGIN;
  for (int own = 0; own < 2; own++)
    for (unsigned cycles = 0; cycles <= 260; cycles += 130) {
      REQUIRE(trap_set_foreign_stack(!own, 0) == 0);
      REQUIRE(trap_model(cycles, NULL) == 0);
      for (unsigned flags = 0; flags <= TRAP_FLOAT; flags += TRAP_FLOAT) {
        void *code;
        REQUIRE(trap_thunk((void *)mix, 16, flags, NULL, &code) == 0);
        CHECK_EQ(((function)code)(1, 2, 3, 4, 5, 6, 7, 8), mix(1, 2, 3, 4, 5, 6, 7, 8));
        REQUIRE(trap_thunk_release(code) == 0);
        void *callback;
        REQUIRE(trap_callback((void *)in_vm, 0, &callback) == 0);
        REQUIRE(trap_thunk((void *)around, 0, flags, NULL, &code) == 0);
        call_back = (uint64_t (*)(uint64_t))callback;
        CHECK_EQ(((uint64_t (*)(uint64_t))code)(4), 100);
        REQUIRE(trap_thunk_release(code) == 0);
        REQUIRE(trap_callback_release(callback) == 0);
      }
    }
}

CHECK_TEST(open_image,
           "it protects nothing: a store into the image lands, and nothing is raised; the trap works as before") {
  BEGIN;
  struct pkeys_image *image;
  struct pkeys_space space;
  struct pkeys_space_request request = {.name = "old", .bytes = PAGE, .reserve_bytes = PAGE};
  struct trap_fault fault;
  void *code;
  REQUIRE(pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, NULL) == 0 &&
          pkeys_image_set_mechanism(image, PKEYS_MECHANISM_FLAG) == 0);
  REQUIRE(pkeys_image_space(image, 0, &space) == 0);
  REQUIRE(trap_model(60, NULL) == 0);
  REQUIRE(trap_thunk((void *)store, 0, 0, NULL, &code) == 0);
  target = (volatile uint64_t *)space.address;
  ((void (*)(void))code)();
  CHECK(!trap_take_fault(&fault));
  CHECK_EQ(*target, 0x1234);
  target = NULL;
  ((void (*)(void))code)();
  REQUIRE(trap_take_fault(&fault));
  CHECK_EQ(fault.signal, SIGSEGV);
  CHECK_EQ(fault.mechanism_held, 0);
}

static uint64_t quickest(void (*call)(void)) {
  uint64_t least = UINT64_MAX;
  for (int i = 0; i < 50; i++) {
    struct timespec a, b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    for (int n = 0; n < 1000; n++) call();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    uint64_t ns = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
    if (ns < least) least = ns;
  }
  return least;
}
static __attribute__((noinline)) void nothing(void) { __asm__ volatile(""); }

CHECK_TEST(delays, "a longer delay takes longer, none is none, and what was reached is told") {
  BEGIN;
  void *code;
  double reached[3];
  uint64_t ns[3];
  static const unsigned cycles[] = {0, 260, TRAP_MODEL_MOST_CYCLES};
  REQUIRE(trap_thunk((void *)nothing, 0, 0, NULL, &code) == 0);
  /* On a busy machine a calibration can be off, and a figure too: only what is wrong each time is wrong. */
  for (int attempt = 0, good = 0; attempt < 20 && !good; attempt++) {
    for (int i = 0; i < 3; i++) {
      REQUIRE(trap_model(cycles[i], &reached[i]) == 0);
      ns[i] = quickest((void (*)(void))code);
      printf("#   %u cycles asked, %.1f reached: %.1f ns a call\n", cycles[i], reached[i], (double)ns[i] / 1000);
    }
    good = reached[1] > 130 && reached[1] < 520 && reached[2] > reached[1] && ns[1] > 2 * ns[0] && ns[2] > 2 * ns[1];
  }
  CHECK(reached[0] == 0);
  CHECK(reached[1] > 130 && reached[1] < 520);
  CHECK(reached[2] > reached[1]);
  CHECK(ns[1] > 2 * ns[0]);
  CHECK(ns[2] > 2 * ns[1]);
  REQUIRE(trap_model(0, NULL) == 0);
  CHECK(quickest((void (*)(void))code) < ns[1]);
}

CHECK_TEST(refusals, "it is refused in a callout, for too many cycles, and where the CPU has keys") {
  REQUIRE(trap_init() == 0);
  if (pkeys_supported()) {
    CHECK_EQ(trap_model(60, NULL), -ENOTSUP);
    return;
  }
  CHECK_EQ(trap_model(TRAP_MODEL_MOST_CYCLES + 1, NULL), -ERANGE);
  void *code;
  REQUIRE(trap_thunk((void *)asks, 0, 0, NULL, &code) == 0);
  ((void (*)(void))code)();
  CHECK_EQ(answer, -EBUSY);
}

CHECK_MAIN()
