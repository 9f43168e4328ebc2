/*
 * overlap.c: which memory belongs to this layer, for code that judges the system calls of other code. All of it is
 * [handler].
 */
#include "internal.h"

/* The region with its guards: what lies there must stay unmapped as much as what is mapped. */
static void extent(const struct region *region, uintptr_t *from, uintptr_t *to) {
  size_t guard = region->kind == REGION_SPACE && !region->adopted ? PKEYS_GUARD_BYTES : 0;
  *from = region->address - guard;
  *to = region->address + region->reserved + guard;
}

static bool meet(uintptr_t address, size_t bytes, uintptr_t from, uintptr_t to) {
  uintptr_t end = address + bytes;
  if (end < address) end = UINTPTR_MAX;
  return bytes > 0 && address < to && from < end;
}

static bool overlaps(uintptr_t address, size_t bytes) {
  uintptr_t from = (uintptr_t)&pkeys_i_registry;
  if (meet(address, bytes, from, from + sizeof pkeys_i_registry)) return true;
  uint32_t used = atomic_load(&pkeys_i_registry.regions_used);
  for (uint32_t i = 0; i < used; i++) {
    struct region region;
    uintptr_t to;
    pkeys_i_region_read(i, &region);
    if (region.kind == REGION_FREE) continue;
    extent(&region, &from, &to);
    if (meet(address, bytes, from, to)) return true;
  }
  struct range range;
  return pkeys_i_range_next(address, &range) && meet(address, bytes, range.address, range.address + range.bytes);
}

bool pkeys_overlaps(uintptr_t address, size_t bytes) {
  uint32_t saved = pkeys_i_reader_enter();
  bool found = overlaps(address, bytes);
  pkeys_i_reader_leave(saved);
  return found;
}

bool pkeys_extent_next(uintptr_t address, uintptr_t *from, uintptr_t *to) {
  bool found = false;
  uint32_t saved = pkeys_i_reader_enter();
  uint32_t used = atomic_load(&pkeys_i_registry.regions_used);
  for (uint32_t i = 0; i < used; i++) {
    struct region region;
    uintptr_t low, high;
    pkeys_i_region_read(i, &region);
    if (region.kind == REGION_FREE) continue;
    extent(&region, &low, &high);
    if (low < address || (found && low >= *from)) continue;
    *from = low;
    *to = high;
    found = true;
  }
  struct range range;
  if (pkeys_i_range_next(address, &range) && range.address >= address && (!found || range.address < *from)) {
    *from = range.address;
    *to = range.address + range.bytes;
    found = true;
  }
  pkeys_i_reader_leave(saved);
  return found;
}
