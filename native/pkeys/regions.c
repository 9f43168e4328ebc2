/*
 * regions.c: the table of what this layer has mapped: spaces, hidden areas, loans. Each entry is latched. mprotect(2),
 * pkey_mprotect(2).
 */
#include <errno.h>

#include "internal.h"
#include "latch.h"
#include "sys.h"

_Static_assert(sizeof(struct region) % 8 == 0, "copied in words");

_Static_assert(offsetof(struct region_latch, copy) % 8 == 0, "copied in words");

void pkeys_i_region_read(size_t index, struct region *out) {
  struct region_latch *latch = &pkeys_i_registry.regions[index];
  latch_read(&latch->version, latch->copy, out, sizeof *out);
}

void pkeys_i_region_publish(size_t index, const struct region *region) {
  struct region_latch *latch = &pkeys_i_registry.regions[index];
  latch_publish(&latch->version, latch->copy, region, sizeof *region);
  if (index >= atomic_load(&pkeys_i_registry.regions_used))
    atomic_store(&pkeys_i_registry.regions_used, (uint32_t)index + 1);
}

const struct region *pkeys_i_region_current(size_t index) {
  const struct region_latch *latch = &pkeys_i_registry.regions[index];
  return &latch->copy[atomic_load_explicit(&latch->version, memory_order_relaxed) & 1];
}

int pkeys_i_region_free_slot(void) {
  for (size_t i = 0; i < MAX_REGIONS; i++)
    if (pkeys_i_region_current(i)->kind == REGION_FREE) return (int)i;
  return -EMFILE;
}

size_t pkeys_i_region_count(uint32_t kind) {
  size_t count = 0;
  for (size_t i = 0; i < MAX_REGIONS; i++) count += pkeys_i_region_current(i)->kind == kind;
  return count;
}

int pkeys_i_closed_access(const struct region *region) {
  return region->deny == PKEYS_NO_ACCESS ? PROT_NONE : (int)region->protection & ~PROT_WRITE;
}
int pkeys_i_closed_key(const struct region *region) {
  return region->deny == PKEYS_NO_ACCESS ? pkeys_runtime_key() : 0;
}
int pkeys_i_region_key(const struct region *region) {
  if (!region->pooled) return region->key;
  int key = image_key(&pkeys_i_registry.images[region->pooled - 1]);
  return key ? key : pkeys_i_closed_key(region);
}

/* I9: both in one call. */
int pkeys_i_region_apply(uintptr_t address, size_t bytes, int access, int key) {
  if (access < 0) access = PROT_READ | PROT_WRITE;
  /* Where keys are in use, the same call sets key 0: plain mprotect would keep an old key (F3). */
  return pkeys_runtime_key() ? sys_pkey_mprotect(address, bytes, access, key) : sys_mprotect(address, bytes, access);
}

/* The same for pages that were just reserved, and so have key 0 already. */
int pkeys_i_region_apply_fresh(uintptr_t address, size_t bytes, int access, int key) {
  if (access < 0) access = PROT_READ | PROT_WRITE;
  return key ? sys_pkey_mprotect(address, bytes, access, key) : sys_mprotect(address, bytes, access);
}

/* Calls `visit` for every space and hidden area of the image. Stops at the first non-zero result. Locks held. */
int pkeys_i_each_region(uint32_t image_id, int (*visit)(size_t index, struct region *region, void *context),
                        void *context) {
  uint32_t used = atomic_load(&pkeys_i_registry.regions_used);
  for (size_t i = 0; i < used; i++) {
    struct region region;
    /* A loan may be published meanwhile: it is looked at again below. */
    if (((volatile const struct region *)pkeys_i_region_current(i))->image_id != image_id) continue;
    pkeys_i_region_read(i, &region);
    if ((region.kind != REGION_SPACE && region.kind != REGION_HIDDEN) || region.image_id != image_id) continue;
    int result = visit(i, &region, context);
    if (result) return result;
  }
  return 0;
}
