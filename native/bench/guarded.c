/* guarded.c: see guarded.h. */
#define _GNU_SOURCE
#include "guarded.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guarded guarded;
static int zero = -1;

/* Whether the kernel may write into the image now, by doing: 0 or a negative errno. Also what a guarded call does to
 * find that out. */
static long try_write(void) {
  for (size_t at = 0; at<guarded.bytes; at += guarded.bytes> BENCH_PAGE ? guarded.bytes - BENCH_PAGE : 1)
    if (read(zero, guarded.memory + at, 1) < 0) return -errno;
    else if (guarded.bytes == BENCH_PAGE) break;
  return 0;
}

void *guarded_thunk(const void *target, size_t stack_bytes, unsigned flags) {
  void *code = NULL;
  int error = trap_thunk(target, stack_bytes, flags, NULL, &code);
  if (error != 0) {
    fprintf(stderr, "turnkey-bench: no thunk: %s\n", strerror(-error));
    exit(1);
  }
  return code;
}

static void take_down(void) {
  if (guarded.image != NULL) pkeys_image_close(guarded.image);
  guarded.image = NULL;
  close(zero);
}

static const char *tried(unsigned flags) {
  long (*probe)(void) = (long (*)(void))(uintptr_t)guarded_thunk((const void *)(uintptr_t)try_write, 0, flags);
  long before = try_write(), inside = guarded.mechanism == PKEYS_MECHANISM_NONE ? try_write() : probe(),
       after = try_write();
  if (before != 0 || after != 0) return "the image was tried and is not open outside of a callout";
  if (inside != (guarded.closes ? -EFAULT : 0))
    return guarded.closes ? "the image was tried and is not closed inside a callout"
                          : "the image was tried and is closed inside a callout";
  trap_thunk_release((void *)(uintptr_t)probe);
  return NULL;
}

const char *guarded_set_up(struct bench_row *row, unsigned flags) {
  size_t bytes = bench_number(row, "pages", 256) * BENCH_PAGE;
  struct pkeys_space_request request = {.name = "old", .bytes = bytes, .reserve_bytes = bytes};
  struct pkeys_space space;
  if (pkeys_mechanism_parse(row->mechanism, &guarded.mechanism) != 0) return "no such mechanism";
  bool keyed = guarded.mechanism == PKEYS_MECHANISM_PKEYS || guarded.mechanism == PKEYS_MECHANISM_PKEYS_GLIBC;
  if (keyed && !pkeys_supported()) {
    struct pkeys_probe probe;
    pkeys_probe(&probe);
    return bench_why("%s", probe.reason);
  }
  int error = pkeys_init();
  if (error == 0) error = trap_init();
  if (error == 0) error = pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &guarded.image, NULL);
  if (error == 0) error = pkeys_image_space(guarded.image, 0, &space);
  if (error == 0) {
    guarded.memory = (char *)space.address;
    guarded.bytes = space.bytes;
    /* 4 KiB pages, touched before they are closed. */
    madvise(guarded.memory, guarded.bytes, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < guarded.bytes; at += BENCH_PAGE) *(volatile char *)(guarded.memory + at) = 1;
    error = pkeys_image_set_mechanism(guarded.image, guarded.mechanism);
  }
  if (error == 0) error = trap_attach();
  if (error != 0) {
    const char *why = bench_why("set-up for %s over %zu bytes: %s", row->mechanism, bytes, strerror(-error));
    take_down();
    return why;
  }
  guarded.closes = guarded.mechanism != PKEYS_MECHANISM_NONE && guarded.mechanism != PKEYS_MECHANISM_FLAG;
  zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  const char *why = tried(flags);
  if (why != NULL) {
    take_down();
    return why;
  }
  /* For operations too long to be stepped through; the hooked mechanisms look whether this thread's rights are open,
   * where there are keys. */
  unsigned pages = (unsigned)(bytes / BENCH_PAGE), looks = bench_have_keys() ? 2 : 0;
  switch (guarded.mechanism) {
    case PKEYS_MECHANISM_PKEYS: row->counts = (struct bench_counts){2, 2, 0, 0}; break;
    case PKEYS_MECHANISM_PKEYS_GLIBC: row->counts = (struct bench_counts){2, 4, 0, 0}; break;
    case PKEYS_MECHANISM_MPROTECT_PAGE: row->counts = (struct bench_counts){0, looks, 2 * pages, 0}; break;
    case PKEYS_MECHANISM_MPROTECT_RANGE:
    case PKEYS_MECHANISM_MPROTECT_NAIVE: row->counts = (struct bench_counts){0, looks, 2, 0}; break;
    default: break;
  }
  row->take_down = take_down;
  return NULL;
}
