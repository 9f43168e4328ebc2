/*
 * callout and fault: a guarded call of an empty function, and a guarded call of one that faults, recovered, in C.
 *
 * `none` in `callout` is the raw call: what the others are compared with. The fault is a store into the image where the mechanism
 * closes it, else through a null pointer. pkeys.h, trap.h.
 */
#include "bench.h"
#include "pkeys.h"
#include "trap.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static struct pkeys_image *image;
static void *thunk;
static volatile uint64_t *target;

static __attribute__((noinline)) void nothing(void) { __asm__ volatile(""); }
static __attribute__((noinline)) void store(void) { *target = 1; }

static void (*volatile callee)(void);

static void run_calls(uint64_t times) {
  void (*call)(void) = callee;
  for (uint64_t i = 0; i < times; i++) call();
}

static void run_faults(uint64_t times) {
  void (*call)(void) = callee;
  struct trap_fault fault;
  for (uint64_t i = 0; i < times; i++) {
    call();
    trap_take_fault(&fault);
  }
}

static void take_down(void) {
  if (thunk != NULL) trap_thunk_release(thunk);
  if (image != NULL) pkeys_image_close(image);
  thunk = NULL;
  image = NULL;
}

static const char *set_up(struct bench_row *row, void (*function)(void)) {
  static char why[320];
  enum pkeys_mechanism mechanism;
  struct pkeys_space_request request = {.name = "old", .bytes = row->image_bytes, .reserve_bytes = row->image_bytes};
  struct pkeys_space space;
  if (pkeys_mechanism_parse(row->mechanism, &mechanism) != 0) return "no such mechanism";
  if ((mechanism == PKEYS_MECHANISM_PKEYS || mechanism == PKEYS_MECHANISM_PKEYS_GLIBC) && !pkeys_supported()) {
    struct pkeys_probe probe;
    pkeys_probe(&probe);
    snprintf(why, sizeof why, "%s", probe.reason);
    return why;
  }
  int error = pkeys_init();
  if (error == 0) error = trap_init();
  if (error == 0) error = pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, NULL);
  if (error == 0) error = pkeys_image_space(image, 0, &space);
  if (error == 0) {
    /* 4 KiB pages, as the parameters say, touched before they are closed. */
    madvise((void *)space.address, space.bytes, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < space.bytes; at += PKEYS_PAGE) *(volatile char *)(space.address + at) = 1;
  }
  if (error == 0) error = pkeys_image_set_mechanism(image, mechanism);
  if (error == 0) error = trap_attach();
  if (error == 0 && mechanism != PKEYS_MECHANISM_NONE) error = trap_thunk((const void *)function, 0, 0, NULL, &thunk);
  if (error != 0) {
    snprintf(why, sizeof why, "set-up for %s over %zu bytes: %s", row->mechanism, row->image_bytes, strerror(-error));
    take_down();
    return why;
  }
  bool closes = mechanism != PKEYS_MECHANISM_NONE && mechanism != PKEYS_MECHANISM_FLAG;
  target = closes ? (volatile uint64_t *)(space.address + space.bytes / 2) : NULL;
  unsigned pages = (unsigned)(row->image_bytes / PKEYS_PAGE);
  switch (mechanism) {
    case PKEYS_MECHANISM_PKEYS:
    case PKEYS_MECHANISM_PKEYS_GLIBC: row->counts = (struct bench_counts){2, 2, 0, 0}; break;
    case PKEYS_MECHANISM_MPROTECT_PAGE: row->counts = (struct bench_counts){0, 0, 2 * pages, 0}; break;
    case PKEYS_MECHANISM_MPROTECT_RANGE:
    case PKEYS_MECHANISM_MPROTECT_NAIVE: row->counts = (struct bench_counts){0, 0, 2, 0}; break;
    default: break;
  }
  callee = mechanism == PKEYS_MECHANISM_NONE ? function : (void (*)(void))thunk;
  row->take_down = take_down;
  return NULL;
}

const char *bench_callout(struct bench_row *row) {
  const char *why = set_up(row, nothing);
  if (why != NULL) return why;
  row->run = run_calls;
  return NULL;
}

const char *bench_fault(struct bench_row *row) {
  if (strcmp(row->mechanism, "none") == 0) return "without a trap there is nothing to recover";
  const char *why = set_up(row, store);
  if (why != NULL) return why;
  struct trap_fault fault;
  callee();
  if (!trap_take_fault(&fault) || fault.signal == 0) {
    take_down();
    return "the fault was tried and was not recovered";
  }
  row->counts.faults = 1;
  row->counts.syscalls += 1;   /* rt_sigreturn */
  row->run = run_faults;
  return NULL;
}
