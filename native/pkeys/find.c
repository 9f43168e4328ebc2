/*
 * find.c: what lies at an address: a mapped space, an adopted range, a hidden area, a loan. All of it is [handler].
 */
#include <string.h>

#include "internal.h"

bool pkeys_i_range_region(const struct range *range, struct region *out) {
  if (range->region >= MAX_REGIONS) return false;
  pkeys_i_region_read(range->region, out);
  if (out->kind != REGION_SPACE) return false;
  out->address = range->address;
  out->bytes = out->reserved = range->bytes;
  out->protection = range->protection;
  out->adopted = 1;
  return true;
}

bool pkeys_i_region_find(uintptr_t address, struct region *out) {
  uint32_t used = atomic_load(&pkeys_i_registry.regions_used);
  for (uint32_t i = 0; i < used; i++) {
    pkeys_i_region_read(i, out);
    if (out->kind != REGION_FREE && address - out->address < out->reserved) return true;
  }
  struct range range;
  return pkeys_i_range_find(address, &range) && pkeys_i_range_region(&range, out);
}

void pkeys_i_space_of(const struct region *region, struct pkeys_space *out) {
  memcpy(out->name, region->name, sizeof out->name);
  out->address = region->address;
  out->bytes = region->bytes;
  out->reserved_bytes = region->reserved;
  out->key = pkeys_i_region_key(region);
  out->deny = (enum pkeys_rights)region->deny;
  out->image_id = region->image_id;
  out->mechanism = (enum pkeys_mechanism)region->mechanism;
}

/* The functions below stay readers for all that they tell: they need the right to read the registry. That holds no
 * writer off. What is not copied with the region, a pooled image's key and its moves, may be those of an image that
 * came after it. */

static bool space_at(uintptr_t address, struct region *out) {
  return pkeys_i_region_find(address, out) && out->kind == REGION_SPACE;
}

bool pkeys_find_space(uintptr_t address, struct pkeys_space *out) {
  struct region region;
  uint32_t saved = pkeys_i_reader_enter();
  bool found = space_at(address, &region);
  if (found && out) pkeys_i_space_of(&region, out);
  pkeys_i_reader_leave(saved);
  return found;
}

static int key_at_fault(const struct region *region, int reported, uint32_t *moves) {
  if (!region->pooled) return region->key;
  uint64_t keys = atomic_load(&pkeys_i_registry.images[region->pooled - 1].moves);
  for (uint32_t move = 0; move < MOVES_KEPT; move++) {
    int key = (int)(keys >> (MOVE_BITS * move) & ((1u << MOVE_BITS) - 1)), closed = pkeys_i_closed_key(region);
    if (key ? key != reported : reported > 0 && reported != closed) continue;
    *moves = move;
    return reported > 0 ? reported : 0;
  }
  return pkeys_i_region_key(region);
}

/* Evidence for I10. */
int pkeys_space_key_at_fault(uintptr_t address, int reported, struct pkeys_space *out, uint32_t *moves) {
  struct region region;
  int key = -1;
  *moves = 0;
  uint32_t saved = pkeys_i_reader_enter();
  if (space_at(address, &region)) {
    key = key_at_fault(&region, reported, moves);
    if (out) pkeys_i_space_of(&region, out);
  }
  pkeys_i_reader_leave(saved);
  return key;
}

uint32_t pkeys_find_loan(uintptr_t address, size_t bytes) {
  struct region region;
  uint32_t saved = pkeys_i_reader_enter();
  bool found = pkeys_i_region_find(address, &region) && region.kind == REGION_LOAN;
  pkeys_i_reader_leave(saved);
  size_t into = address - region.lent_address;
  return found && into < region.lent_bytes && bytes <= region.lent_bytes - into ? region.number : 0;
}

bool pkeys_range_next(uintptr_t address, struct pkeys_range *out) {
  struct range range;
  struct region region;
  uint32_t saved = pkeys_i_reader_enter();
  bool found = pkeys_i_range_next(address, &range) && pkeys_i_range_region(&range, &region);
  if (found)
    *out = (struct pkeys_range){.address = range.address,
                                .bytes = range.bytes,
                                .protection = (int)range.protection,
                                .key = pkeys_i_region_key(&region),
                                .image_id = region.image_id,
                                .space = region.number};
  pkeys_i_reader_leave(saved);
  return found;
}
