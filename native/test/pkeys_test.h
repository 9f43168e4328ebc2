/*
 * pkeys_test.h: what the tests of native/pkeys share.
 *
 * The same executables run on a machine without keys and on one with them (a guest under emulation, say). A test that
 * needs keys says SKIP where there are none; TURNKEY_REQUIRE_PKEYS=1 makes that a failure.
 */
#ifndef TURNKEY_TEST_PKEYS_H
#define TURNKEY_TEST_PKEYS_H

#include <pthread.h>

#include "check.h"
#include "pkeys.h"

#define NEEDS_KEYS()                                                                                            \
  do {                                                                                                          \
    if (!pkeys_supported()) CHECK_SKIP_OR_FAIL("TURNKEY_REQUIRE_PKEYS", "this machine has no protection keys"); \
  } while (0)

#define KIB ((size_t)1024)
#define EACH_MECHANISM(name) \
  for (enum pkeys_mechanism name = PKEYS_MECHANISM_NONE; name <= PKEYS_MECHANISM_PKEYS_GLIBC; name++)

static inline bool test_keyed(enum pkeys_mechanism mechanism) {
  return mechanism == PKEYS_MECHANISM_PKEYS || mechanism == PKEYS_MECHANISM_PKEYS_GLIBC;
}
static inline bool test_hooked(enum pkeys_mechanism mechanism) {
  return mechanism >= PKEYS_MECHANISM_MPROTECT_PAGE && mechanism != PKEYS_MECHANISM_PKEYS;
}
static inline bool test_can(enum pkeys_mechanism mechanism) { return pkeys_supported() || !test_keyed(mechanism); }

/* What the gate does with the rights of a callout, in C. 0 or the error of pkeys_enter_foreign. */
static inline int test_enter(bool lent) {
  struct pkeys_masks masks = pkeys_masks();
  int error = masks.hooked ? pkeys_enter_foreign(lent) : 0;
  if (!error && masks.keyed) pkeys_wrpkru((pkeys_rdpkru() & masks.keep) | (lent ? masks.deny_lent : masks.deny));
  return error;
}
static inline int test_leave(bool lent) {
  struct pkeys_masks masks = pkeys_masks();
  if (masks.keyed) pkeys_open_thread();
  return masks.hooked ? pkeys_leave_foreign(lent) : 0;
}

/* A sequence of its own for each thread. */
static inline unsigned test_random(unsigned *seed) { return (*seed = *seed * 1664525u + 1013904223u) >> 16; }

/* The system's own: can_read, can_write, smaps_key, test_protect, test_map_over, test_unmap, test_all_keys,
 * test_interrupts, test_faults, NEEDS_INTERRUPTS. */
#if defined(_WIN32)
#include "pkeys_test_windows.h"
#else
#include "pkeys_test_posix.h"
#endif

static inline struct pkeys_space space_at(const struct pkeys_image *image, size_t index) {
  struct pkeys_space space = {.address = 0};
  CHECK_EQ(pkeys_image_space(image, index, &space), 0);
  return space;
}

/* An image of two spaces, 'eden' of 16 KiB and 'old' of 64 KiB, with the given mechanism (UNSET: none is set). */
static inline struct pkeys_image *image_of(enum pkeys_mechanism mechanism) {
  const struct pkeys_space_request requests[] = {{.name = "eden", .bytes = 16 * KIB},
                                                 {.name = "old", .bytes = 64 * KIB}};
  struct pkeys_image *image = NULL;
  size_t failed = 0;
  CHECK_EQ(pkeys_image_map(requests, 2, PKEYS_KEY_PER_IMAGE, &image, &failed), 0);
  if (image && mechanism) CHECK_EQ(pkeys_image_set_mechanism(image, mechanism), 0);
  return image;
}

/* A thread that must be joined; aborts where it cannot be made. */
static inline pthread_t start(void *(*body)(void *), void *argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, body, argument)) abort();
  return thread;
}

#endif
