/* expect.h: one line for each thing that is not as expected, and an exit code. */
#ifndef CONSUMER_EXPECT_H
#define CONSUMER_EXPECT_H

#include <stdio.h>

static int expect_failures, expect_count;
#define EXPECT(condition)                                                     \
  do {                                                                        \
    expect_count++;                                                           \
    if (!(condition)) {                                                       \
      expect_failures++;                                                      \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                         \
  } while (0)
/* TAP, one line: a program is a test. */
static inline int expect_result(const char *name) {
  printf("1..1\n%s 1 - %s: %d expectations, %d failed\n", expect_failures == 0 && expect_count > 0 ? "ok" : "not ok",
         name, expect_count, expect_failures);
  return expect_failures == 0 && expect_count > 0 ? 0 : 1;
}

#endif
