/*
 * Callees of the catalogue on hosts (experiments/hosts). All have one shape, so that four FFIs call them alike: an
 * address, a number of bytes, and a callback or 0. They answer 0, a count, or a negative errno.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "foreign.h"

typedef void back_t(void);
#define SIGNATURE(name) int64_t for_hosts_##name(uint8_t *at, int64_t bytes, back_t *back)
#define CALLEE(name)           \
  FOREIGN_API SIGNATURE(name); \
  SIGNATURE(name)
#define UNUSED(name) ((void)(name))

static const uint64_t PATTERN = 0x4141414141414141u;

static void store(uint8_t *at) { *(volatile uint64_t *)(void *)at = PATTERN; }

CALLEE(word) {
  UNUSED(bytes), UNUSED(back);
  store(at);
  return 0;
}

CALLEE(run) {
  UNUSED(back);
  for (volatile uint8_t *p = at; p < at + bytes; p++) *p = 'A';
  return bytes;
}

CALLEE(atomic) {
  UNUSED(bytes), UNUSED(back);
  return (int64_t)__atomic_fetch_add((uint64_t *)(void *)at, 2, __ATOMIC_SEQ_CST) & INT32_MAX;
}

static uint8_t *kept;

CALLEE(keep) {
  UNUSED(bytes), UNUSED(back);
  kept = at;
  return 0;
}

CALLEE(kept) {
  UNUSED(at), UNUSED(bytes), UNUSED(back);
  store(kept);
  return 0;
}

CALLEE(back) {
  UNUSED(bytes);
  back();
  store(at);
  return 0;
}

static void *store_at(void *at) {
  store(at);
  return NULL;
}

CALLEE(thread) {
  UNUSED(bytes), UNUSED(back);
  pthread_t thread;
  if (pthread_create(&thread, NULL, store_at, at) != 0) return -EAGAIN;
  pthread_join(thread, NULL);
  return 0;
}

static void *store_late(void *at) {
  nanosleep(&(struct timespec){.tv_nsec = 200 * 1000 * 1000}, NULL);
  return store_at(at);
}

CALLEE(thread_after) {
  UNUSED(bytes), UNUSED(back);
  pthread_t thread;
  if (pthread_create(&thread, NULL, store_late, at) != 0) return -EAGAIN;
  pthread_detach(thread);
  return 0;
}

CALLEE(read) {
  UNUSED(back);
  int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  ssize_t got = read(zero, at, (size_t)bytes);
  int64_t answer = got < 0 ? -errno : got;
  close(zero);
  return answer;
}

CALLEE(getcwd) {
  UNUSED(back);
  long got = syscall(SYS_getcwd, at, bytes);
  return got < 0 ? -errno : got;
}

CALLEE(null) {
  UNUSED(at), UNUSED(bytes), UNUSED(back);
  store(NULL);
  return 0;
}

CALLEE(divide) {
  UNUSED(at), UNUSED(back);
  return 7 / (bytes - 8);
}

CALLEE(abort) {
  UNUSED(at), UNUSED(bytes), UNUSED(back);
  abort();
}

static int64_t deeper(volatile int64_t *above) {
  volatile int64_t frame[64] = {*above};
  if (frame[0] == INT64_MIN) return 0; // never
  return deeper(frame) + frame[1];
}

CALLEE(recurse) {
  UNUSED(at), UNUSED(back);
  return deeper(&bytes);
}

/* Writes on past its own frame: the saved frame pointer and the return address. */
CALLEE(smash) {
  UNUSED(at), UNUSED(bytes), UNUSED(back);
  volatile uint64_t *frame = __builtin_frame_address(0);
  frame[0] = PATTERN;
  frame[1] = PATTERN;
  return 0;
}

CALLEE(free_twice) {
  UNUSED(at), UNUSED(bytes), UNUSED(back);
  void *volatile block = malloc(64);
  free(block);
  free(block);
  return 0;
}

CALLEE(free_object) {
  UNUSED(bytes), UNUSED(back);
  free(at);
  return 0;
}

static int by_word(const void *a, const void *b) {
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* Words are sorted where bytes were meant. */
CALLEE(qsort) {
  UNUSED(back);
  qsort(at, (size_t)bytes, sizeof(uint64_t), by_word);
  return 0;
}

CALLEE(snprintf) {
  UNUSED(back);
  return snprintf((char *)at, (size_t)bytes, "%*d", (int)bytes - 1, 7);
}

CALLEE(strcpy) {
  UNUSED(back);
  char *text = malloc((size_t)bytes + 1);
  memset(text, 'A', (size_t)bytes);
  text[bytes] = 0;
  strcpy((char *)at, text);
  free(text);
  return bytes;
}

/* A function of a library that may not be there. */
static void *from(const char *library, const char *name) {
  void *handle = dlopen(library, RTLD_NOW);
  return handle == NULL ? NULL : dlsym(handle, name);
}

/* zlib is told of more room than there is. */
CALLEE(inflate) {
  UNUSED(back);
  int (*compress)(uint8_t *, unsigned long *, const uint8_t *, unsigned long);
  int (*uncompress)(uint8_t *, unsigned long *, const uint8_t *, unsigned long);
  *(void **)&compress = from("libz.so.1", "compress");
  *(void **)&uncompress = from("libz.so.1", "uncompress");
  if (compress == NULL || uncompress == NULL) return -ENOENT;
  uint8_t packed[512];
  unsigned long packed_bytes = sizeof packed, room = (unsigned long)bytes;
  uint8_t *text = malloc((size_t)bytes);
  memset(text, 'A', (size_t)bytes);
  int made = compress(packed, &packed_bytes, text, (unsigned long)bytes);
  free(text);
  return made != 0 ? -EINVAL : uncompress(at, &room, packed, packed_bytes);
}

/* SQLite is told of more room than there is. */
CALLEE(sqlite) {
  UNUSED(back);
  char *(*print)(int, char *, const char *, ...);
  *(void **)&print = from("libsqlite3.so.0", "sqlite3_snprintf");
  if (print == NULL) return -ENOENT;
  print((int)bytes, (char *)at, "%*d", (int)bytes - 1, 7);
  return bytes;
}

/* ---- what is honest ------------------------------------------------------------------------------------------- */

CALLEE(fill) {
  UNUSED(back);
  memset(at, 'B', (size_t)bytes);
  return bytes;
}

CALLEE(sum) {
  UNUSED(back);
  int64_t sum = 0;
  for (int64_t i = 0; i < bytes; i++) sum += at[i];
  return sum;
}
