/* The allocator of heap.h alone: sizes, growth, reuse, random stress against a record of what was handed out, and
 * checks that find damage. */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"

#define RESERVED (64u << 20)
#define FIRST (1u << 20)

static char *range;
static size_t usable;

static int grow(void *context, size_t bytes) {
  size_t limit = *(const size_t *)context;
  if (bytes > limit) return -ENOMEM;
  if (mprotect(range, bytes, PROT_READ | PROT_WRITE) != 0) return -errno;
  usable = bytes;
  return 0;
}

static size_t limit;

static struct heap *fresh(size_t most) {
  limit = most;
  usable = FIRST;
  range = mmap(NULL, RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(range != MAP_FAILED);
  CHECK(mprotect(range, FIRST, PROT_READ | PROT_WRITE) == 0);
  struct heap *heap = heap_create(range, FIRST, RESERVED, grow, &limit);
  CHECK(heap != NULL);
  return heap;
}

static void gone(void) { munmap(range, RESERVED); }

static void sound(const struct heap *heap) {
  const char *wrong = heap_check(heap);
  if (wrong != NULL) fprintf(stderr, "heap_check: %s\n", wrong);
  CHECK(wrong == NULL);
}

CHECK_TEST(sizes, "blocks of every size are aligned to 16 bytes and hold what they say") {
  struct heap *heap = fresh(RESERVED);
  for (size_t bytes = 0; bytes < 9000; bytes++) {
    char *block = heap_allocate(heap, bytes);
    CHECK(block != NULL);
    CHECK((uintptr_t)block % 16 == 0);
    size_t have = heap_block_bytes(heap, block);
    CHECK(have >= bytes);
    CHECK(bytes <= 16 || bytes > 2048 || have <= bytes + bytes / 4 + 16);
    memset(block, 0xa5, have);
    if (bytes % 3 == 0) heap_free(heap, block);
  }
  sound(heap);
  gone();
}

CHECK_TEST(joined, "when all is freed the range is one run again") {
  struct heap *heap = fresh(RESERVED);
  static void *blocks[20000];
  for (size_t i = 0; i < 20000; i++) blocks[i] = heap_allocate(heap, i % 700 * 3);
  struct heap_statistics before, after;
  heap_statistics(heap, &before);
  CHECK(before.blocks == 20000);
  CHECK(before.grows > 0);
  for (size_t i = 0; i < 20000; i++) heap_free(heap, blocks[i * 7919 % 20000]);
  heap_statistics(heap, &after);
  sound(heap);
  CHECK(after.blocks == 0);
  CHECK(after.bytes == 0);
  CHECK(after.committed_bytes == before.committed_bytes);
  /* What is left are the tables and one empty slab of each class that was used. */
  CHECK(after.committed_bytes - after.free_bytes < (1u << 20));
  void *all = heap_allocate(heap, after.free_bytes / 2);
  CHECK(all != NULL);
  sound(heap);
  gone();
}

CHECK_TEST(reuse, "memory is used again before the range grows") {
  struct heap *heap = fresh(RESERVED);
  for (int round = 0; round < 1000; round++) {
    void *large = heap_allocate(heap, 300000), *small = heap_allocate(heap, 40);
    CHECK(large != NULL);
    CHECK(small != NULL);
    heap_free(heap, large);
    heap_free(heap, small);
  }
  struct heap_statistics sum;
  heap_statistics(heap, &sum);
  CHECK(sum.committed_bytes == FIRST);
  CHECK(sum.allocations == 2000);
  sound(heap);
  gone();
}

CHECK_TEST(exhausted, "exhaustion is an answer, and nothing is lost by it") {
  struct heap *heap = fresh(4u << 20);
  static void *blocks[100000];
  size_t made = 0;
  while (made < 100000 && (blocks[made] = heap_allocate(heap, 1000)) != NULL) made++;
  CHECK(made > 3000);
  CHECK(made < 100000);
  sound(heap);
  CHECK(heap_allocate(heap, (size_t)1 << 40) == NULL);
  CHECK(heap_reallocate(heap, blocks[0], (size_t)8 << 20) == NULL);
  CHECK(heap_reallocate(heap, blocks[0], 10) != NULL); /* to shrink always works */
  for (size_t i = 1; i < made; i++) heap_free(heap, blocks[i]);
  sound(heap);
  CHECK(heap_allocate(heap, 1u << 20) != NULL);
  gone();
}

CHECK_TEST(reallocate, "reallocation keeps the bytes, and the place where it can") {
  struct heap *heap = fresh(RESERVED);
  unsigned char *block = heap_allocate(heap, 5000);
  for (int i = 0; i < 5000; i++) block[i] = (unsigned char)i;
  CHECK(heap_reallocate(heap, block, 50000) == block); /* what follows is free */
  CHECK(heap_reallocate(heap, block, 6000) == block);
  for (int i = 0; i < 5000; i++) CHECK(block[i] == (unsigned char)i);
  unsigned char *wall = heap_allocate(heap, 5000);
  unsigned char *moved = heap_reallocate(heap, block, 500000);
  CHECK(moved != NULL);
  CHECK(wall != NULL);
  for (int i = 0; i < 5000; i++) CHECK(moved[i] == (unsigned char)i);
  sound(heap);
  gone();
}

/* Blocks of random sizes come, go and change size; each is filled with its own number and looked at whenever it is
 * touched. */
CHECK_TEST(stress, "random sizes come, go and change; every block keeps its bytes, every sum agrees") {
  struct heap *heap = fresh(RESERVED);
  enum { LIVE = 3000, STEPS = 400000 };
  static struct {
    unsigned char *at;
    size_t bytes;
    unsigned char mark;
  } live[LIVE];
  uint64_t state = 0x9e3779b97f4a7c15u;
  memset(live, 0, sizeof live);
  for (int step = 0; step < STEPS; step++) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    size_t at = state % LIVE;
    unsigned kind = (unsigned)(state >> 20) % 100;
    size_t bytes = kind < 80 ? (state >> 32) % 256 : kind < 95 ? (state >> 32) % 4096 : (state >> 32) % 60000;
    if (live[at].at != NULL)
      for (size_t i = 0; i < live[at].bytes; i += live[at].bytes > 64 ? 61 : 1) CHECK(live[at].at[i] == live[at].mark);
    if (live[at].at == NULL || (state >> 60) < 4) {
      size_t kept = live[at].bytes < bytes ? live[at].bytes : bytes;
      unsigned char *block = heap_reallocate(heap, live[at].at, bytes);
      CHECK(block != NULL);
      if (live[at].at != NULL)
        for (size_t i = 0; i < kept; i += kept > 64 ? 61 : 1) CHECK(block[i] == live[at].mark);
      live[at].at = block;
      live[at].bytes = bytes;
      live[at].mark = (unsigned char)step;
      memset(block, live[at].mark, bytes);
    } else {
      heap_free(heap, live[at].at);
      live[at].at = NULL;
      live[at].bytes = 0;
    }
    if (step % 20000 == 0) sound(heap);
  }
  uint64_t count = 0;
  for (int i = 0; i < LIVE; i++) count += live[i].at != NULL;
  struct heap_statistics sum;
  heap_statistics(heap, &sum);
  CHECK(sum.blocks == count);
  for (int i = 0; i < LIVE; i++) heap_free(heap, live[i].at);
  sound(heap);
  heap_statistics(heap, &sum);
  CHECK(sum.blocks == 0);
  gone();
}

/* One byte of the heap's own spoiled, everywhere in turn: the check never reads wild, and finds it wherever it matters.
 */
CHECK_TEST(damage, "the check finds damage, and reads nothing wild") {
  struct heap *heap = fresh(RESERVED);
  static void *blocks[2000];
  for (int i = 0; i < 2000; i++) blocks[i] = heap_allocate(heap, (size_t)i);
  for (int i = 0; i < 2000; i += 2) heap_free(heap, blocks[i]);
  sound(heap);
  uint64_t saved;
  memcpy(&saved, blocks[100], sizeof saved); /* a free block's link */
  memset(blocks[100], 0x41, sizeof saved);
  CHECK(heap_check(heap) != NULL);
  memcpy(blocks[100], &saved, sizeof saved);
  sound(heap);
  size_t found = 0, tried = 0;
  for (size_t offset = 0; offset < 2048; offset += 3) { /* the heap's own structure and the first pages' words */
    unsigned char *byte = (unsigned char *)range + offset;
    *byte ^= 0x55;
    tried++;
    if (heap_check(heap) != NULL) found++;
    *byte ^= 0x55;
  }
  sound(heap);
  CHECK(found > tried / 2);
  gone();
}

CHECK_MAIN()
