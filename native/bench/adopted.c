/*
 * adopted: what a heap of many ranges costs that the VM has mapped itself. pkeys_adopt.h.
 *
 * Options: ranges (25, say); pages (of each range, 4 KiB, all written); operation:
 *   callout   a callout of an empty function through the gate: every range is closed and opened
 *   adopt     one more range comes and goes, beside those: mmap, adopt, forget, munmap (mechanism none: mmap and munmap
 *             alone)
 *   find      the look-up of an address in one of them, as the fault handler makes it
 * Between each two ranges lies a page without access, as a heap's guards are, so that each range is a mapping of its
 * own. Before a callout is measured it is tried. Where the mechanism closes, read(2) into the first, the middle and the
 * last range must answer EFAULT from inside, and must work again afterwards.
 */
#define _GNU_SOURCE
#include "guarded.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct pkeys_image *image;
static char *heap;
static size_t range_count, range_bytes, heap_bytes;
static bool bare;
static int zero = -1;
static void (*call)(void);

static size_t stride(void) { return range_bytes + BENCH_PAGE; }
static char *range_at(size_t index) { return heap + index * stride(); }

/* 0 if the kernel may write into each of three ranges, -EFAULT if into none of them, else -EINVAL. */
static long try_write(void) {
  const size_t tried[] = {0, range_count / 2, range_count - 1};
  int faults = 0, good = 0;
  for (size_t i = 0; i < sizeof tried / sizeof *tried; i++)
    if (read(zero, range_at(tried[i]) + range_bytes - 1, 1) == 1) good++;
    else if (errno == EFAULT) faults++;
  return good == 3 ? 0 : faults == 3 ? -EFAULT : -EINVAL;
}

__attribute__((noinline, noipa)) static void empty(void) {}

static void run_callout(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) call();
}
static void run_adopt(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) {
    char *memory = mmap(NULL, BENCH_PAGE, bare ? PROT_READ | PROT_WRITE : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                        0);
    if (!bare) {
      pkeys_space_adopt(image, 0, memory, BENCH_PAGE, PROT_READ | PROT_WRITE);
      pkeys_range_forget(memory, BENCH_PAGE);
    }
    munmap(memory, BENCH_PAGE);
  }
}
static void run_find(uint64_t times) {
  struct pkeys_space space;
  size_t index = 0;
  for (uint64_t i = 0; i < times; i++) {
    if (!pkeys_find_space((uintptr_t)range_at(index) + 8, &space)) abort();
    index = (index + 7919) % range_count;
  }
}

static void take_down(void) {
  if (image != NULL) pkeys_image_close(image);
  if (heap != NULL) munmap(heap, heap_bytes);
  close(zero);
}

static int adopt_all(enum pkeys_mechanism mechanism) {
  const struct pkeys_space_request request = {.name = "old"};
  int error = pkeys_image_create(&request, 1, PKEYS_KEY_PER_IMAGE, &image, NULL);
  heap = mmap(NULL, heap_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (heap == MAP_FAILED) {
    heap = NULL;
    return -errno;
  }
  madvise(heap, heap_bytes, MADV_NOHUGEPAGE);
  if (error == 0) error = pkeys_image_set_mechanism(image, mechanism);
  for (size_t i = 0; i < range_count && error == 0; i++) {
    error = pkeys_space_adopt(image, 0, range_at(i), range_bytes, PROT_READ | PROT_WRITE);
    for (size_t at = 0; at < range_bytes && error == 0; at += BENCH_PAGE) *(volatile char *)(range_at(i) + at) = 1;
  }
  return error;
}

static const char *tried(bool closes) {
  long (*probe)(void) = (long (*)(void))(uintptr_t)guarded_thunk((const void *)(uintptr_t)try_write, 0, 0);
  long before = try_write(), inside = probe(), after = try_write();
  trap_thunk_release((void *)(uintptr_t)probe);
  if (before != 0 || after != 0) return "the ranges were tried and are not open outside of a callout";
  if (inside != (closes ? -EFAULT : 0))
    return closes ? "the ranges were tried and are not closed inside a callout"
                  : "the ranges were tried and are closed inside a callout";
  return NULL;
}

const char *bench_adopted(struct bench_row *row) {
  enum pkeys_mechanism mechanism;
  range_count = bench_number(row, "ranges", 25);
  range_bytes = bench_number(row, "pages", 1) * BENCH_PAGE;
  if (pkeys_mechanism_parse(row->mechanism, &mechanism) != 0) return "no such mechanism";
  if (range_count == 0 || range_bytes == 0) return "ranges and pages must be at least 1";
  heap_bytes = range_count * stride();
  bool keyed = mechanism == PKEYS_MECHANISM_PKEYS || mechanism == PKEYS_MECHANISM_PKEYS_GLIBC;
  if (keyed && !pkeys_supported()) {
    struct pkeys_probe probe;
    pkeys_probe(&probe);
    return bench_why("%s", probe.reason);
  }
  zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  int error = pkeys_init();
  if (error == 0) error = trap_init();
  if (error == 0) error = adopt_all(mechanism);
  if (error == 0) error = trap_attach();
  bool closes = mechanism != PKEYS_MECHANISM_NONE && mechanism != PKEYS_MECHANISM_FLAG;
  const char *why = error != 0 ? bench_why("%zu ranges under %s: %s", range_count, row->mechanism, strerror(-error))
                    : mechanism == PKEYS_MECHANISM_NONE ? NULL
                                                        : tried(closes);
  if (why != NULL) {
    take_down();
    return why;
  }
  row->take_down = take_down;
  unsigned ranges = (unsigned)range_count, looks = bench_have_keys() ? 2 : 0;
  if (bench_is(row, "operation", "find")) {
    row->run = run_find;
  } else if (bench_is(row, "operation", "adopt")) {
    bare = mechanism == PKEYS_MECHANISM_NONE;
    row->counts.syscalls = bare ? 2 : 3;
    row->run = run_adopt;
  } else {
    call = mechanism == PKEYS_MECHANISM_NONE
               ? empty
               : (void (*)(void))(uintptr_t)guarded_thunk((const void *)(uintptr_t)empty, 0, 0);
    if (mechanism == PKEYS_MECHANISM_PKEYS) row->counts = (struct bench_counts){2, 2, 0, 0};
    else if (mechanism == PKEYS_MECHANISM_PKEYS_GLIBC) row->counts = (struct bench_counts){2, 4, 0, 0};
    else if (mechanism == PKEYS_MECHANISM_MPROTECT_PAGE)
      row->counts = (struct bench_counts){0, looks, 2 * ranges * (unsigned)(range_bytes / BENCH_PAGE), 0};
    else if (closes) row->counts = (struct bench_counts){0, looks, 2 * ranges, 0};
    row->run = run_callout;
  }
  return NULL;
}
