/*
 * check.h: named tests with TAP output, for the C layers. Header only; one executable per file of tests.
 *
 *   CHECK_TEST(keeps_others, "I2: the bits of other owners are kept") { CHECK_EQ(f(1), 2); }
 *   CHECK_MAIN()
 *
 * Every test runs in a process of its own, so that a crash, a hang or state left behind is seen by that test alone. The
 * process is forked from a parent that has done nothing. Where there is no fork, it is the same executable, started
 * again. Arguments of the executable are substrings of test names to run; CHECK_NO_FORK=1 runs all in this process, for
 * a debugger; CHECK_LIMIT_S changes the limit after which a test counts as hung (300 s of CPU time: no test may depend
 * on it).
 *
 * A test that cannot run here says so: CHECK_SKIP(reason). CHECK_SKIP_OR_FAIL(variable, reason) is a failure where the
 * environment variable is set and not "0". So a lane in which the test must run cannot skip it unnoticed.
 */
#ifndef TURNKEY_TEST_CHECK_H
#define TURNKEY_TEST_CHECK_H

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct check_test {
  const char *name;
  void (*run)(void);
  struct check_test *next;
};

/* What a test's process tells its parent: in shared memory, because a process that dies by a signal says nothing else.
 */
struct check_state {
  volatile int checks, failures, skipped;
  char reason[512];
};

static struct check_test *check_first, **check_tail = &check_first;
static struct check_state *check_now;

static inline void check_register(struct check_test *test) {
  *check_tail = test;
  check_tail = &test->next;
}

#define CHECK_TEST(id, text)                                     \
  static void id(void);                                          \
  __attribute__((constructor)) static void id##_register(void) { \
    static struct check_test test = {text, id, NULL};            \
    check_register(&test);                                       \
  }                                                              \
  static void id(void)

__attribute__((format(printf, 3, 4), unused)) static void check_failed(const char *file, int line, const char *format,
                                                                       ...) {
  va_list arguments;
  char text[1024];
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  (void)length;
  __atomic_fetch_add(&check_now->failures, 1, __ATOMIC_RELAXED);
  printf("#   %s:%d: %s\n", file, line, text);
  fflush(stdout);
}
static inline void check_counted(void) { __atomic_fetch_add(&check_now->checks, 1, __ATOMIC_RELAXED); }

/* A condition that must hold; the test goes on. */
#define CHECK(condition)                                                          \
  do {                                                                            \
    check_counted();                                                              \
    if (!(condition)) check_failed(__FILE__, __LINE__, "not so: %s", #condition); \
  } while (0)
/* Two integers or pointers that must be equal; both values are shown. */
#define CHECK_EQ(actual, expected)                                                                              \
  do {                                                                                                          \
    intmax_t check_a = (intmax_t)(actual), check_e = (intmax_t)(expected);                                      \
    check_counted();                                                                                            \
    if (check_a != check_e)                                                                                     \
      check_failed(__FILE__, __LINE__,                                                                          \
                   "%s is %" PRIdMAX " (0x%" PRIxMAX "), expected %s = %" PRIdMAX " (0x%" PRIxMAX ")", #actual, \
                   check_a, (uintmax_t)check_a, #expected, check_e, (uintmax_t)check_e);                        \
  } while (0)
#define CHECK_STR(actual, expected)                                                                            \
  do {                                                                                                         \
    const char *check_a = (actual), *check_e = (expected);                                                     \
    check_counted();                                                                                           \
    if (!check_a || strcmp(check_a, check_e) != 0)                                                             \
      check_failed(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #actual, check_a ? check_a : "(null)", \
                   check_e);                                                                                   \
  } while (0)
/* As CHECK, but the test ends here if it does not hold (only in functions that return void). */
#define REQUIRE(condition)                                                    \
  do {                                                                        \
    check_counted();                                                          \
    if (!(condition)) {                                                       \
      check_failed(__FILE__, __LINE__, "not so, test ended: %s", #condition); \
      return;                                                                 \
    }                                                                         \
  } while (0)

/* Marks the test as skipped and ends it. */
#define CHECK_SKIP(text)                                                 \
  do {                                                                   \
    check_now->skipped = 1;                                              \
    snprintf(check_now->reason, sizeof check_now->reason, "%s", (text)); \
    return;                                                              \
  } while (0)
#define CHECK_SKIP_OR_FAIL(variable, text)                                                           \
  do {                                                                                               \
    const char *check_v = getenv(variable);                                                          \
    if (check_v && *check_v && strcmp(check_v, "0") != 0) {                                          \
      check_failed(__FILE__, __LINE__, "%s is set, but this test cannot run: %s", variable, (text)); \
      return;                                                                                        \
    }                                                                                                \
    CHECK_SKIP(text);                                                                                \
  } while (0)

#if defined(_WIN32)
#include "check_windows.h"
#else
#include "check_posix.h"
#endif

/* A reproducible random sequence (splitmix64; Steele, Lea, Flood 2014). TURNKEY_SEED changes it; the seed is printed
 * once. */
static inline uint64_t check_random(void) {
  static uint64_t state;
  static bool seeded;
  if (!seeded) {
    const char *text = getenv("TURNKEY_SEED");
    state = text ? strtoull(text, NULL, 0) : 42;
    seeded = true;
    printf("#   seed %" PRIu64 "\n", state);
  }
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static inline int check_main(int argc, char **argv) {
  check_now = check_share(&argc, argv);
  if (check_now == NULL) {
    printf("Bail out! no shared memory: %s\n", strerror(errno));
    return 2;
  }
  const char *no_fork = getenv("CHECK_NO_FORK");
  bool fork_each = !(no_fork && *no_fork && strcmp(no_fork, "0") != 0);
  int number = 0, failed = 0, skipped = 0;
  printf("TAP version 13\n");
  for (struct check_test *test = check_first; test; test = test->next) {
    bool wanted = argc < 2;
    for (int i = 1; i < argc; i++) wanted = wanted || strstr(test->name, argv[i]);
    if (!wanted) continue;
    memset(check_now, 0, sizeof *check_now);
    char text[128] = "";
    bool died = false;
    if (fork_each) {
      died = check_run_apart(test, text, sizeof text);
      if (died) printf("#   the test's process %s\n", text);
    } else {
      test->run();
    }
    bool bad = died || check_now->failures > 0 || (check_now->checks == 0 && !check_now->skipped);
    if (!died && check_now->failures == 0 && check_now->checks == 0 && !check_now->skipped)
      printf("#   the test checked nothing\n");
    number++;
    failed += bad;
    skipped += !bad && check_now->skipped;
    if (!bad && check_now->skipped) printf("ok %d - %s # SKIP %s\n", number, test->name, check_now->reason);
    else printf("%s %d - %s\n", bad ? "not ok" : "ok", number, test->name);
    fflush(stdout);
  }
  printf("1..%d\n", number);
  printf("# %d passed, %d failed, %d SKIPPED\n", number - failed - skipped, failed, skipped);
  return failed || number == 0 ? 1 : 0;
}
#define CHECK_MAIN() \
  int main(int argc, char **argv) { return check_main(argc, argv); }

#endif
