/* A small allocator as libraries embed them (SQLite's page cache, a parser's arena): blocks of one size, a free list
 * through the blocks themselves. */
#include "mistakes.h"

#include <string.h>

#define BLOCK 64u

static uint64_t first_free;

static uint64_t load(uint64_t address) { return *(volatile uint64_t *)(uintptr_t)address; }
static void store(uint64_t address, uint64_t value) { *(volatile uint64_t *)(uintptr_t)address = value; }

void foreign_pool_open(void *memory, uint64_t bytes) {
  uint64_t base = (uint64_t)(uintptr_t)memory;
  first_free = 0;
  for (uint64_t at = base; at + BLOCK <= base + bytes; at += BLOCK) foreign_pool_give(at);
}

uint64_t foreign_pool_take(void) {
  uint64_t block = first_free;
  if (block != 0) first_free = load(block);
  return block;
}

void foreign_pool_give(uint64_t block) {
  store(block, first_free);
  first_free = block;
}

/* Takes the last one as its new owner does: it trusts what the pool says, and fills it. */
static uint64_t take_and_fill(uint64_t fill_bytes) {
  uint64_t block = first_free;
  foreign_overflow((uint8_t *)(uintptr_t)block, fill_bytes, 0x41);
  return block;
}

uint64_t foreign_pool_use_after_free(void *pool, uint64_t value, uint64_t fill_bytes) {
  (void)pool;
  uint64_t stale = foreign_pool_take();
  foreign_pool_give(stale);
  store(stale, value); /* the stale owner sets a field of its object, which is the link now */
  foreign_pool_take();
  return take_and_fill(fill_bytes);
}

uint64_t foreign_pool_double_free(void *pool, uint64_t value, uint64_t fill_bytes) {
  (void)pool;
  uint64_t block = foreign_pool_take();
  foreign_pool_give(block);
  foreign_pool_give(block); /* linked to itself */
  uint64_t one = foreign_pool_take();
  store(one, value); /* the first of two owners sets a field; for the pool the block is still free */
  foreign_pool_take();
  return take_and_fill(fill_bytes);
}
