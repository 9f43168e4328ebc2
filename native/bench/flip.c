/*
 * flip: one deny-and-restore pair over an image of touched pages, by each means, with nothing else around it.
 *
 * Before a flip is measured it is tried: with writes denied, read(2) into the image must answer EFAULT, and must work again after the
 * restore. What does not deny is not timed. pkeys(7), mprotect(2).
 */
#define _GNU_SOURCE
#include "bench.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u

static char *image;
static size_t image_bytes;
static int key;

static bool have_keys(void) {
  unsigned a, b, c = 0, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 4)) != 0;   /* OSPKE */
}

static inline uint32_t rdpkru(void) {
  uint32_t value, edx;
  __asm__ volatile("rdpkru" : "=a"(value), "=d"(edx) : "c"(0));
  return value;
}
static inline void wrpkru(uint32_t value) { __asm__ volatile("wrpkru" : : "a"(value), "c"(0), "d"(0) : "memory"); }

static inline void pkru_set(uint32_t field) {
  uint32_t mask = 3u << (2 * key);
  wrpkru((rdpkru() & ~mask) | field);
}
static void pkru_deny(void) { pkru_set(2u << (2 * key)); }
static void pkru_open(void) { pkru_set(0); }
static void run_pkru(uint64_t times) {
  uint32_t deny = 2u << (2 * key);
  for (uint64_t i = 0; i < times; i++) {
    pkru_set(deny);
    pkru_set(0);
  }
}

static void glibc_deny(void) { pkey_set(key, PKEY_DISABLE_WRITE); }
static void glibc_open(void) { pkey_set(key, 0); }
static void run_glibc(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) {
    glibc_deny();
    glibc_open();
  }
}

static void range_deny(void) { mprotect(image, image_bytes, PROT_READ); }
static void range_open(void) { mprotect(image, image_bytes, PROT_READ | PROT_WRITE); }
static void run_range(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) {
    range_deny();
    range_open();
  }
}

static void page_deny(void) {
  for (size_t at = 0; at < image_bytes; at += PAGE) mprotect(image + at, PAGE, PROT_READ);
}
static void page_open(void) {
  for (size_t at = 0; at < image_bytes; at += PAGE) mprotect(image + at, PAGE, PROT_READ | PROT_WRITE);
}
static void run_page(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) {
    page_deny();
    page_open();
  }
}

static void take_down(void) {
  munmap(image, image_bytes);
  if (key > 0) pkey_free(key);
  key = 0;
}

/* Whether the kernel may write into the image now, by doing. */
static int try_write(void) {
  int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  if (zero < 0) return -errno;
  int result = read(zero, image + image_bytes / 2, 1) < 0 ? -errno : 0;
  close(zero);
  return result;
}

const char *bench_flip(struct bench_row *row) {
  static char why[96];
  void (*deny)(void), (*restore)(void);
  unsigned pages = (unsigned)(row->image_bytes / PAGE);
  bool keyed = false;
  if (strcmp(row->mechanism, "pkeys") == 0) {
    deny = pkru_deny, restore = pkru_open, row->run = run_pkru, keyed = true;
    row->counts = (struct bench_counts){2, 2, 0, 0};
  } else if (strcmp(row->mechanism, "pkeys-glibc") == 0) {
    deny = glibc_deny, restore = glibc_open, row->run = run_glibc, keyed = true;
    row->counts = (struct bench_counts){2, 2, 0, 0};
  } else if (strcmp(row->mechanism, "mprotect-range") == 0) {
    deny = range_deny, restore = range_open, row->run = run_range;
    row->counts = (struct bench_counts){0, 0, 2, 0};
  } else if (strcmp(row->mechanism, "mprotect-page") == 0) {
    deny = page_deny, restore = page_open, row->run = run_page;
    row->counts = (struct bench_counts){0, 0, 2 * pages, 0};
  } else {
    return "this mechanism flips nothing";
  }
  if (keyed && !have_keys()) return "the CPU or kernel has no protection keys (CPUID OSPKE is 0)";
  image_bytes = row->image_bytes;
  image = mmap(NULL, image_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (image == MAP_FAILED) {
    snprintf(why, sizeof why, "mmap of %zu bytes: %s", image_bytes, strerror(errno));
    return why;
  }
  madvise(image, image_bytes, MADV_NOHUGEPAGE);   /* 4 KiB pages, as the parameters say */
  for (size_t at = 0; at < image_bytes; at += PAGE) *(volatile char *)(image + at) = 1;
  if (keyed) {
    key = pkey_alloc(0, 0);
    if (key < 0 || pkey_mprotect(image, image_bytes, PROT_READ | PROT_WRITE, key) != 0) {
      snprintf(why, sizeof why, "protection key: %s", strerror(errno));
      take_down();
      return why;
    }
  }
  deny();
  int denied = try_write();
  restore();
  int restored = try_write();
  if (denied != -EFAULT || restored != 0) {
    take_down();
    return "the flip was tried and does not deny and restore";
  }
  row->take_down = take_down;
  return NULL;
}
