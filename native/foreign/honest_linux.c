/*
 * A correct library that asks the kernel for much: memory of its own, mapped, protected and given back; threads; a
 * pipe; a temporary file that is written, read and unlinked. What it answers depends on the bytes alone.
 */
#define _GNU_SOURCE
#include "around.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS 4

struct part {
  const uint8_t *bytes;
  size_t count;
  uint64_t hash;
};
static void *hash(void *argument) { /* FNV-1a */
  struct part *part = argument;
  uint64_t value = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < part->count; i++) value = (value ^ part->bytes[i]) * UINT64_C(0x100000001b3);
  part->hash = value;
  return NULL;
}

static uint64_t hash_in_threads(const uint8_t *bytes, size_t count) {
  pthread_t threads[THREADS];
  struct part parts[THREADS];
  bool started[THREADS];
  uint64_t sum = 0;
  bool whole = true;
  for (size_t i = 0; i < THREADS; i++) {
    size_t from = count * i / THREADS, to = count * (i + 1) / THREADS;
    parts[i] = (struct part){bytes + from, to - from, 0};
    started[i] = pthread_create(&threads[i], NULL, hash, &parts[i]) == 0;
  }
  for (size_t i = 0; i < THREADS; i++) {
    if (started[i]) pthread_join(threads[i], NULL);
    whole = whole && started[i];
    sum = sum * 31 + parts[i].hash;
  }
  return whole ? sum : 0;
}

/* The bytes once through a file; whether they came back. */
static bool through_a_file(uint8_t *bytes, size_t count) {
  char path[] = "/tmp/turnkey-honest-XXXXXX";
  int file = mkstemp(path);
  if (file < 0) return false;
  unlink(path);
  bool right = write(file, bytes, count) == (ssize_t)count;
  memset(bytes, 0, count);
  right = right && lseek(file, 0, SEEK_SET) == 0 && read(file, bytes, count) == (ssize_t)count;
  close(file);
  return right;
}

uint64_t foreign_hash_by_threads(const uint8_t *bytes, uint64_t count) {
  uint8_t *own = mmap(NULL, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (own == MAP_FAILED) return 0;
  memcpy(own, bytes, count);
  int ends[2];
  uint64_t sum = 0, back = 0;
  if (through_a_file(own, count) && mprotect(own, count, PROT_READ) == 0 && pipe(ends) == 0) {
    sum = hash_in_threads(own, count);
    if (write(ends[1], &sum, sizeof sum) != sizeof sum || read(ends[0], &back, sizeof back) != sizeof back) sum = 0;
    close(ends[0]);
    close(ends[1]);
  }
  munmap(own, count);
  return sum == back ? sum : 0;
}
