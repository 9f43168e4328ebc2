/*
 * block.c: the mappings of loans: some pages between two guard pages each. Where the lending arena is sealed, a block
 * is sealed as it is made. When its loan is given back, the block is kept for the next loan of its size. mseal(2);
 * madvise(2), MADV_DONTNEED, which a sealed page allows to who may write it.
 *
 * Sizes are powers of two there, so that few blocks serve many loans.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

static size_t power_of_two(size_t bytes) {
  size_t power = PKEYS_PAGE;
  while (power < bytes) power *= 2;
  return power;
}

static int make(size_t bytes, int access, bool seal, struct loan_block *out) {
  int error = 0;
  size_t whole = bytes + 2 * PKEYS_PAGE;
  uintptr_t mapping = sys_reserve(0, whole, &error);
  if (error) return error;
  error = pkeys_i_region_apply(mapping + PKEYS_PAGE, bytes, access, out->key);
  if (!error && seal) error = sys_seal(mapping, whole);
  if (error) {
    sys_munmap(mapping, whole);
    return error;
  }
  out->address = mapping + PKEYS_PAGE;
  out->bytes = bytes;
  out->sealed = seal;
  return 0;
}

/* The kept block of this key that has at least `bytes` and wastes least. */
static struct loan_block *best_kept(size_t bytes, int key) {
  struct loan_block *best = NULL;
  for (size_t i = 0; i < MAX_BLOCKS; i++) {
    struct loan_block *block = &pkeys_i_registry.kept[i];
    bool fits = block->bytes >= bytes && block->key == key && block->address != 0;
    if (fits && (best == NULL || block->bytes < best->bytes)) best = block;
  }
  return best;
}

/* The VM's rights are open: whoever is here entered the registry. */
void pkeys_i_block_wipe(const struct loan_block *block) {
  if (!block->sealed) return; /* new, or about to be unmapped */
  if (sys_discard(block->address, block->bytes) < 0) memset((void *)block->address, 0, block->bytes);
}

int pkeys_i_block_take(size_t bytes, int access, int key, struct loan_block *out) {
  *out = (struct loan_block){.key = key};
  if (!pkeys_i_registry.blocks_sealed) return make(round_up(bytes), access, false, out);
  size_t wanted = power_of_two(bytes);
  struct loan_block *kept = best_kept(wanted, key);
  bool full = pkeys_i_registry.block_count >= MAX_BLOCKS;
  if (kept != NULL && (kept->bytes == wanted || full)) {
    *out = *kept;
    *kept = (struct loan_block){0};
    return 0;
  }
  if (full) return -EMFILE;
  int error = make(wanted, access, true, out);
  if (!error) pkeys_i_registry.block_count++;
  return error;
}

int pkeys_i_block_give_back(const struct loan_block *block) {
  if (!block->sealed) return sys_munmap(block->address - PKEYS_PAGE, block->bytes + 2 * PKEYS_PAGE);
  struct loan_block *free = pkeys_i_registry.kept;
  while (free->address != 0) free++; /* there is room for every sealed block that there is */
  *free = *block;
  return 0;
}

bool pkeys_i_blocks_carry(int key) {
  for (size_t i = 0; i < MAX_BLOCKS; i++)
    if (pkeys_i_registry.kept[i].address != 0 && pkeys_i_registry.kept[i].key == key) return true;
  for (size_t i = 0; i < PKEYS_MAX_LOANS; i++) {
    const struct loan *loan = &pkeys_i_registry.loans[i];
    if (loan->id && loan->block.sealed && loan->block.key == key) return true;
  }
  return false;
}

bool pkeys_i_blocks_live(void) {
  for (size_t i = 0; i < PKEYS_MAX_LOANS; i++)
    if (pkeys_i_registry.loans[i].id && pkeys_i_registry.loans[i].block.sealed) return true;
  return false;
}
