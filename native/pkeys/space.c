/*
 * space.c: a mapped space grows and shrinks; what lies beside it, and hidden areas. mmap(2).
 *
 * I9: new pages get access and key in one call. Nothing here unmaps into the middle of a reservation and maps again.
 * What is given back is replaced by a fresh PROT_NONE mapping in one MAP_FIXED step, which also drops tag and contents.
 */
#include <errno.h>

#include "internal.h"
#include "sys.h"

#define READ_WRITE (PROT_READ | PROT_WRITE)

/* ---- growing and shrinking --------------------------------------------------------------------------------------- */

static int resize_locked(struct pkeys_image *image, size_t index, size_t bytes) {
  struct region region;
  pkeys_i_region_read(image->space[index], &region);
  if (bytes > region.reserved) return -ENOMEM;
  if (bytes == region.bytes) return 0;
  size_t before = region.bytes;
  region.bytes = bytes;
  if (bytes > before) {
    int error = pkeys_i_region_apply_fresh(region.address + before, bytes - before, pkeys_i_mechanism_access(&region),
                                           pkeys_i_region_key(&region));
    if (error) return error;
    struct smaps_expectation grown = {.address = region.address,
                                      .bytes = bytes,
                                      .access = pkeys_i_mechanism_settled_access(&region),
                                      .key = pkeys_i_region_key(&region)};
    if (grown.key) error = pkeys_i_smaps_check(&grown, 1, NULL);
    if (error) {
      sys_reserve(region.address + before, bytes - before, &(int){0});
      return error;
    }
    pkeys_i_region_publish(image->space[index], &region);
    return image->sealed ? sys_seal(region.address + before, bytes - before) : 0;
  }
  if (image->sealed) return -EPERM;
  if (pkeys_i_loans_reach_past(image, index, bytes)) return -EBUSY;
  pkeys_i_region_publish(image->space[index], &region);
  pkeys_i_registry_quiesce();
  int error;
  sys_reserve(region.address + bytes, before - bytes, &error);
  if (error) {
    region.bytes = before;
    pkeys_i_region_publish(image->space[index], &region);
  }
  return error;
}

int pkeys_space_resize(struct pkeys_image *image, size_t index, size_t bytes) {
  if (bytes == 0) return -EINVAL;
  int error = pkeys_i_change_enter();
  if (error) return error;
  if (!image_is_open(image) || index >= image->space_count) return pkeys_i_change_leave(-EINVAL);
  return pkeys_i_change_leave(bytes > PKEYS_MAX_BYTES ? -ENOMEM : resize_locked(image, index, round_up(bytes)));
}

int pkeys_space_neighbour(struct pkeys_image *image, size_t index, size_t bytes, void **out) {
  if (!out || bytes == 0 || bytes > PKEYS_GUARD_BYTES - PKEYS_PAGE) return -EINVAL;
  int error = pkeys_i_change_enter();
  if (error) return error;
  if (!image_is_open(image) || index >= image->space_count) return pkeys_i_change_leave(-EINVAL);
  struct region region;
  pkeys_i_region_read(image->space[index], &region);
  if (region.reserved == 0) return pkeys_i_change_leave(-EINVAL);
  size_t whole = round_up(bytes);
  error = whole > image->neighbour_bytes[index] ? pkeys_i_region_apply(region.address - whole, whole, READ_WRITE, 0)
                                                : 0;
  if (!error) {
    if (whole > image->neighbour_bytes[index]) image->neighbour_bytes[index] = whole;
    *out = (void *)(region.address - bytes);
  }
  return pkeys_i_change_leave(error);
}

/* ---- hidden areas ------------------------------------------------------------------------------------------------ */

static int hidden_locked(struct pkeys_image *image, size_t bytes, void **out) {
  if (pkeys_i_region_count(REGION_HIDDEN) >= MAX_HIDDEN) return -EMFILE;
  struct region first;
  pkeys_i_region_read(image->space[0], &first);
  int error;
  uintptr_t mapping = sys_reserve(0, bytes + 2 * PKEYS_PAGE, &error);
  if (error) return error;
  struct region region = {
      .address = mapping + PKEYS_PAGE,
      .bytes = bytes,
      .reserved = bytes,
      .kind = REGION_HIDDEN,
      .image_id = atomic_load(&image->id),
      .mechanism = atomic_load(&image->mechanism),
      .deny = first.deny,
      .key = first.key,
      .pooled = first.pooled,
      .protection = READ_WRITE,
  };
  error = pkeys_i_region_apply_fresh(region.address, bytes, pkeys_i_mechanism_access(&region),
                                     pkeys_i_region_key(&region));
  if (!error && pkeys_i_region_key(&region)) {
    struct smaps_expectation tagged = {.address = region.address,
                                       .bytes = bytes,
                                       .access = pkeys_i_mechanism_access(&region),
                                       .key = pkeys_i_region_key(&region)};
    error = pkeys_i_smaps_check(&tagged, 1, NULL);
  }
  if (error) {
    sys_munmap(mapping, bytes + 2 * PKEYS_PAGE);
    return error;
  }
  pkeys_i_region_publish((size_t)pkeys_i_region_free_slot(), &region);
  image->hidden++;
  *out = (void *)region.address;
  return 0;
}

int pkeys_image_hidden(struct pkeys_image *image, size_t bytes, void **out) {
  if (!out || bytes == 0 || bytes > PKEYS_MAX_BYTES) return -EINVAL;
  int error = pkeys_i_change_enter();
  if (error) return error;
  return pkeys_i_change_leave(image_is_open(image) ? hidden_locked(image, round_up(bytes), out) : -EINVAL);
}

/* Unpublishes and unmaps one hidden area, or all (`area` NULL). 1 to stop at the one. If the kernel refuses, for want
 * of mappings, the address space is lost, but neither contents nor key stay. */
static int release_hidden_one(size_t index, struct region *region, void *area) {
  if (region->kind != REGION_HIDDEN || (area && (uintptr_t)area != region->address)) return 0;
  static const struct region nothing;
  pkeys_i_region_publish(index, &nothing);
  pkeys_i_registry_quiesce();
  if (sys_munmap(region->address - PKEYS_PAGE, region->bytes + 2 * PKEYS_PAGE)) {
    int ignored;
    sys_reserve(region->address, region->bytes, &ignored);
  }
  return area ? 1 : 0;
}

int pkeys_image_hidden_release(struct pkeys_image *image, void *area) {
  if (!area) return -EINVAL;
  int error = pkeys_i_change_enter();
  if (error) return error;
  int result = image_is_open(image) ? pkeys_i_each_region(atomic_load(&image->id), release_hidden_one, area) : 0;
  if (result == 1) image->hidden--;
  return pkeys_i_change_leave(result == 1 ? 0 : -EINVAL);
}

void pkeys_i_hidden_release_all(const struct pkeys_image *image) {
  pkeys_i_each_region(atomic_load(&image->id), release_hidden_one, NULL);
}
