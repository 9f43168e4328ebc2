/*
 * flip: one deny-and-restore pair over an image, by each means, with nothing else around it.
 *
 * Options: pages; touched (1: every page has been written); spaces (1 to 15: the image in as many ranges of equal size,
 * pages without access between, and under keys a key for each); pageBytes (4096, or 2097152: huge pages, transparent
 * ones or, where those are not to be had, reserved ones); call=pkey_mprotect (mprotect-range by pkey_mprotect, which
 * sets the key again each time). Before a flip is measured it is tried. With writes denied, read(2) into the first and
 * the last page of each range must answer EFAULT. After the restore it must work again. What does not deny is not
 * timed. pkeys(7), mprotect(2), madvise(2), mmap(2).
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE 2097152u
#define MOST_SPACES 15u

static struct {
  char *memory;
  int key;
} spaces[MOST_SPACES];
static size_t space_count, space_bytes;
static uint32_t deny_bits, owned_bits;

static inline uint32_t rdpkru(void) {
  uint32_t value, edx;
  __asm__ volatile("rdpkru" : "=a"(value), "=d"(edx) : "c"(0));
  return value;
}
static inline void wrpkru(uint32_t value) { __asm__ volatile("wrpkru" : : "a"(value), "c"(0), "d"(0) : "memory"); }

/* All keys at once: what the gate does. */
static void run_pkru(uint64_t times) {
  uint32_t owned = owned_bits, deny = deny_bits;
  for (uint64_t i = 0; i < times; i++) {
    wrpkru((rdpkru() & ~owned) | deny);
    wrpkru(rdpkru() & ~owned);
  }
}
static void pkru_deny(void) { wrpkru((rdpkru() & ~owned_bits) | deny_bits); }
static void pkru_open(void) { wrpkru(rdpkru() & ~owned_bits); }

/* One call for each key: there is no other in that interface. */
static void glibc_deny(void) {
  for (size_t i = 0; i < space_count; i++) pkey_set(spaces[i].key, PKEY_DISABLE_WRITE);
}
static void glibc_open(void) {
  for (size_t i = 0; i < space_count; i++) pkey_set(spaces[i].key, 0);
}

static void range_deny(void) {
  for (size_t i = 0; i < space_count; i++) mprotect(spaces[i].memory, space_bytes, PROT_READ);
}
static void range_open(void) {
  for (size_t i = 0; i < space_count; i++) mprotect(spaces[i].memory, space_bytes, PROT_READ | PROT_WRITE);
}

static void tag_deny(void) {
  for (size_t i = 0; i < space_count; i++) pkey_mprotect(spaces[i].memory, space_bytes, PROT_READ, spaces[i].key);
}
static void tag_open(void) {
  for (size_t i = 0; i < space_count; i++)
    pkey_mprotect(spaces[i].memory, space_bytes, PROT_READ | PROT_WRITE, spaces[i].key);
}

static void page_deny(void) {
  for (size_t i = 0; i < space_count; i++)
    for (size_t at = 0; at < space_bytes; at += BENCH_PAGE) mprotect(spaces[i].memory + at, BENCH_PAGE, PROT_READ);
}
static void page_open(void) {
  for (size_t i = 0; i < space_count; i++)
    for (size_t at = 0; at < space_bytes; at += BENCH_PAGE)
      mprotect(spaces[i].memory + at, BENCH_PAGE, PROT_READ | PROT_WRITE);
}

#define PAIRS(name)                        \
  static void run_##name(uint64_t times) { \
    for (uint64_t i = 0; i < times; i++) { \
      name##_deny();                       \
      name##_open();                       \
    }                                      \
  }
PAIRS(glibc)
PAIRS(range)
PAIRS(tag)
PAIRS(page)

static void take_down(void) {
  for (size_t i = 0; i < space_count; i++) {
    munmap(spaces[i].memory, space_bytes);
    if (spaces[i].key > 0) pkey_free(spaces[i].key);
  }
}

/* Whether the kernel may write into the whole image now, by doing: 0; -EFAULT where it may write nowhere; else another
 * negative number. */
static int try_write(void) {
  int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), faults = 0, good = 0;
  if (zero < 0) return -errno;
  for (size_t i = 0; i < space_count; i++)
    for (int last = 0; last < 2; last++) {
      if (read(zero, spaces[i].memory + (last ? space_bytes - 1 : 0), 1) == 1) good++;
      else if (errno == EFAULT) faults++;
    }
  close(zero);
  return faults == 0 && good > 0 ? 0 : good == 0 && faults > 0 ? -EFAULT : -EINVAL;
}

/* Bytes of [start, start + bytes) in huge pages, by /proc/self/smaps: AnonHugePages, or the whole of a mapping with
 * KernelPageSize 2048 kB. proc_pid_smaps(5). */
static size_t huge_bytes(uintptr_t start, size_t bytes) {
  FILE *file = fopen("/proc/self/smaps", "re");
  char line[512];
  size_t sum = 0, kib;
  uintptr_t low = 0, high = 0, from, to;
  if (file == NULL) return 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2) low = from, high = to;
    bool inside = low >= start && high <= start + bytes;
    if (inside && sscanf(line, "AnonHugePages: %zu kB", &kib) == 1) sum += kib * 1024;
    if (inside && sscanf(line, "KernelPageSize: %zu kB", &kib) == 1 && kib == HUGE_PAGE / 1024) sum += high - low;
  }
  fclose(file);
  return sum;
}

/* Memory in huge pages, all of it, touched. NULL, or why not. */
static const char *map_huge(char **out) {
  char *reserved = mmap(NULL, space_bytes + 2 * HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                        0);
  if (reserved == MAP_FAILED) return strerror(errno);
  char *at = (char *)(((uintptr_t)reserved + HUGE_PAGE) & ~(uintptr_t)(HUGE_PAGE - 1));
  *out = mmap(at, space_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (*out == MAP_FAILED) return strerror(errno);
  int advised = madvise(at, space_bytes, MADV_HUGEPAGE);
  memset(at, 1, space_bytes);
  if (advised == 0 && huge_bytes((uintptr_t)at, space_bytes) == space_bytes) return NULL;
  *out = mmap(at, space_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB, -1, 0);
  if (*out == MAP_FAILED)
    return "no huge pages: madvise(MADV_HUGEPAGE) gave none (transparent_hugepage/enabled), and no reserved ones are "
           "left (vm.nr_hugepages)";
  memset(at, 1, space_bytes);
  return NULL;
}

/* Memory in 4 KiB pages, with a page without access on either side, so that no two ranges become one mapping. */
static const char *map_small(char **out, bool touched) {
  char *reserved = mmap(NULL, space_bytes + 2 * BENCH_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                        0);
  if (reserved == MAP_FAILED) return strerror(errno);
  *out = reserved + BENCH_PAGE;
  if (mprotect(*out, space_bytes, PROT_READ | PROT_WRITE) != 0) return strerror(errno);
  madvise(*out, space_bytes, MADV_NOHUGEPAGE);
  for (size_t at = 0; touched && at < space_bytes; at += BENCH_PAGE) *(volatile char *)(*out + at) = 1;
  return NULL;
}

/* Pages that nobody has touched: the tries touched the first and the last of each range; they are given back. */
static void untouch(void) {
  for (size_t i = 0; i < space_count; i++) madvise(spaces[i].memory, space_bytes, MADV_DONTNEED);
}

const char *bench_flip(struct bench_row *row) {
  uint64_t pages = bench_number(row, "pages", 1);
  bool touched = bench_number(row, "touched", 1) != 0, huge = bench_number(row, "pageBytes", BENCH_PAGE) == HUGE_PAGE,
       tags = bench_is(row, "call", "pkey_mprotect");
  bool keyed = strncmp(row->mechanism, "pkeys", 5) == 0 || tags;
  space_count = bench_number(row, "spaces", 1);
  if (space_count == 0 || space_count > MOST_SPACES || pages < space_count)
    return "1 to 15 spaces, and at least a page for each";
  space_bytes = pages / space_count * BENCH_PAGE;
  unsigned calls = (unsigned)space_count, page_calls = (unsigned)(space_bytes / BENCH_PAGE * space_count);
  static const struct {
    const char *mechanism;
    bool tags;
    void (*deny)(void), (*restore)(void), (*run)(uint64_t);
  } means[] = {{"pkeys", false, pkru_deny, pkru_open, run_pkru},
               {"pkeys-glibc", false, glibc_deny, glibc_open, run_glibc},
               {"mprotect-range", false, range_deny, range_open, run_range},
               {"mprotect-range", true, tag_deny, tag_open, run_tag},
               {"mprotect-page", false, page_deny, page_open, run_page}};
  size_t mean = 0;
  while (mean < sizeof means / sizeof *means &&
         (strcmp(row->mechanism, means[mean].mechanism) != 0 || means[mean].tags != tags))
    mean++;
  if (mean == sizeof means / sizeof *means) return "this mechanism flips nothing";
  if (keyed && !bench_have_keys()) return "the CPU or kernel has no protection keys (CPUID OSPKE is 0)";
  if (huge && (space_bytes % HUGE_PAGE != 0 || !touched))
    return "huge pages are touched, and an image of them is a multiple of 2 MiB";
  row->counts = mean == 0   ? (struct bench_counts){2, 2, 0, 0}
                : mean == 1 ? (struct bench_counts){2 * calls, 2 * calls, 0, 0}
                            : (struct bench_counts){0, 0, 2 * (mean == 4 ? page_calls : calls), 0};
  for (size_t i = 0; i < space_count; i++) {
    const char *why = huge ? map_huge(&spaces[i].memory) : map_small(&spaces[i].memory, touched);
    if (why != NULL) return why;
    if (!keyed) continue;
    spaces[i].key = pkey_alloc(0, 0);
    if (spaces[i].key < 0 || pkey_mprotect(spaces[i].memory, space_bytes, PROT_READ | PROT_WRITE, spaces[i].key) != 0)
      return bench_why("protection key %zu of %zu: %s", i + 1, space_count, strerror(errno));
    owned_bits |= 3u << (2 * spaces[i].key);
    deny_bits |= (uint32_t)PKEY_DISABLE_WRITE << (2 * spaces[i].key);
  }
  means[mean].deny();
  int denied = try_write();
  means[mean].restore();
  int restored = try_write();
  if (denied != -EFAULT || restored != 0) return "the flip was tried and does not deny and restore";
  if (!touched) untouch();
  for (size_t i = 0; huge && i < space_count; i++)
    if (huge_bytes((uintptr_t)spaces[i].memory, space_bytes) != space_bytes)
      return "the flip was tried and split the huge pages: from then on it is the flip of 4 KiB pages";
  row->run = means[mean].run;
  row->take_down = take_down;
  return NULL;
}
