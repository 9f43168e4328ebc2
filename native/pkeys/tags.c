/*
 * tags.c: the access and key of an image's pages (I9): given with the mechanism, given again, and compared with what
 * the kernel shows. pkey_mprotect(2), proc(5).
 */
#include <errno.h>

#include "internal.h"
#include "sys.h"

/* ---- applying and comparing -------------------------------------------------------------------------------------- */

static int apply_one(size_t index, struct region *region, void *context) {
  (void)index;
  (void)context;
  if (region->bytes == 0) return 0;
  return pkeys_i_region_apply(region->address, region->bytes, pkeys_i_mechanism_access(region),
                              pkeys_i_region_key(region));
}

struct expectations {
  struct smaps_expectation entries[PKEYS_MAX_SPACES + MAX_HIDDEN];
  size_t count;
};

static int expect_one(size_t index, struct region *region, void *context) {
  (void)index;
  struct expectations *list = context;
  list->entries[list->count++] = (struct smaps_expectation){.address = region->address,
                                                            .bytes = region->bytes,
                                                            .access = pkeys_i_mechanism_settled_access(region),
                                                            .key = pkeys_i_region_key(region)};
  return 0;
}

static int verify_locked(uint32_t image_id, uintptr_t *where) {
  struct expectations list = {.count = 0};
  pkeys_i_each_region(image_id, expect_one, &list);
  return pkeys_i_smaps_check(list.entries, list.count, where);
}

/* Access and key of all that belongs to the image. */
int pkeys_i_apply_image(const struct pkeys_image *image) {
  int error = pkeys_i_each_region(atomic_load(&image->id), apply_one, NULL);
  return error ? error : pkeys_i_apply_ranges(image);
}

static int verify_all(const struct pkeys_image *image, uintptr_t *where) {
  int error = verify_locked(atomic_load(&image->id), where);
  return error ? error : pkeys_i_verify_ranges(image, where);
}

int pkeys_image_verify_tags(const struct pkeys_image *image, uintptr_t *where) {
  int error = pkeys_i_change_enter();
  if (error) return error;
  return pkeys_i_change_leave(image_is_open(image) ? verify_all(image, where) : -EINVAL);
}

/* Expectations of access alone: what is there may allow more. */
static bool reach(const struct smaps_mapping *mapping, void *context) {
  struct expectations *list = context;
  for (size_t i = 0; i < list->count; i++) {
    struct smaps_expectation *e = &list->entries[i];
    bool allowed = e->access < 0 || (mapping->access & e->access) == e->access;
    if (mapping->first <= e->covered && e->covered < mapping->last && allowed) e->covered = mapping->last;
  }
  return true;
}
static int expect_space(size_t index, struct region *region, void *context) {
  return region->kind == REGION_SPACE ? expect_one(index, region, context) : 0;
}
static int reachable_locked(const struct pkeys_image *image) {
  struct expectations list = {.count = 0};
  pkeys_i_each_region(atomic_load(&image->id), expect_space, &list);
  for (size_t i = 0; i < list.count; i++) list.entries[i].covered = list.entries[i].address;
  if (pkeys_i_mappings_each(false, reach, &list)) return 0; /* no /proc: nothing can be said, so nothing is refused */
  for (size_t i = 0; i < list.count; i++)
    if (list.entries[i].covered < list.entries[i].address + list.entries[i].bytes) return -EFAULT;
  return 0;
}
int pkeys_image_reachable(const struct pkeys_image *image) {
  int error = pkeys_i_change_enter();
  if (error) return error;
  return pkeys_i_change_leave(image_is_open(image) ? reachable_locked(image) : -EINVAL);
}

int pkeys_image_reapply(struct pkeys_image *image) {
  int error = pkeys_i_change_enter();
  if (error) return error;
  if (!image_is_open(image)) return pkeys_i_change_leave(-EINVAL);
  error = image->sealed ? 0 : pkeys_i_apply_image(image); /* sealed pages have what they had */
  return pkeys_i_change_leave(error ? error : verify_all(image, NULL));
}

/* ---- the mechanism ----------------------------------------------------------------------------------------------- */

/* Key and mechanism written into each region of the image; `keys` by space, hidden areas get the first. */
struct assignment {
  enum pkeys_mechanism mechanism;
  const int *keys;
  uint32_t pooled; /* as region.pooled */
};

static int assign_one(size_t index, struct region *region, void *context) {
  const struct assignment *assignment = context;
  region->mechanism = assignment->mechanism;
  region->key = assignment->keys[region->kind == REGION_SPACE ? region->number : 0];
  region->pooled = assignment->pooled;
  pkeys_i_region_publish(index, region);
  return 0;
}

static const int no_keys[PKEYS_MAX_SPACES];

static void assign(struct pkeys_image *image, enum pkeys_mechanism mechanism, const int *keys) {
  struct assignment assignment = {mechanism, keys, atomic_load(&image->pooled) ? image_number(image) : 0};
  pkeys_i_each_region(atomic_load(&image->id), assign_one, &assignment);
  atomic_store(&image->mechanism, mechanism);
}

static bool all_deny_alike(const struct pkeys_image *image) {
  struct region first, other;
  pkeys_i_region_read(image->space[0], &first);
  for (uint32_t s = 1; s < image->space_count; s++) {
    pkeys_i_region_read(image->space[s], &other);
    if (first.deny != other.deny) return false;
  }
  return true;
}

/* Live loans get the loan key with the first keyed image. The kernel gives sealed pages no other key. */
static bool loans_stay_unkeyed(void) { return pkeys_i_registry.loan_key == 0 && pkeys_i_blocks_live(); }

/* A virtual key. Its pages are closed at once, by their access, and carry no key yet. So there is nothing to compare
 * with smaps, whose length grows with the number of images. */
static int set_virtual(struct pkeys_image *image, enum pkeys_mechanism mechanism) {
  int refused = pkeys_i_virtual_error();
  if (refused) return refused;
  if (mechanism != PKEYS_MECHANISM_PKEYS || !all_deny_alike(image)) return -EINVAL;
  if (loans_stay_unkeyed()) return -EBUSY;
  int error = 0;
  if (pkeys_i_registry.loan_key == 0 && pkeys_i_any_loans()) {
    int key = pkeys_i_pool_key_alloc(true);
    if (key < 0) return key;
    pkeys_i_registry.loan_key = key;
    pkeys_i_masks_publish(true);
    if ((error = pkeys_i_loans_retag(key))) return error;
  }
  bool grew = false;
  error = pkeys_i_pool_add(image, &grew);
  if (error) {
    pkeys_i_masks_publish(false);
    return error;
  }
  assign(image, mechanism, no_keys);
  struct mask_record record;
  pkeys_i_masks_read(&record);
  if (grew || !record.masks.keyed) pkeys_i_masks_publish(false);
  return 0;
}

static int set_keyed(struct pkeys_image *image, enum pkeys_mechanism mechanism) {
  int refused = pkeys_i_keys_error();
  if (refused) return refused;
  if (mechanism == PKEYS_MECHANISM_PKEYS_GLIBC && !pkeys_i_library_has_keys()) return -EOPNOTSUPP;

  size_t wanted = image->mode == PKEYS_KEY_PER_SPACE ? image->space_count : 1;
  if (wanted == 1 && !all_deny_alike(image)) return -EINVAL;
  if (wanted >= PKEYS_KEYS) return -ENOSPC;
  if (loans_stay_unkeyed()) return -EBUSY;

  int taken[PKEYS_KEYS], keys[PKEYS_MAX_SPACES];
  size_t count = 0;
  bool loan_key = pkeys_i_registry.loan_key == 0 && pkeys_i_any_loans();
  int error = 0;
  while (!error && count < wanted + loan_key) {
    int key = pkeys_i_pool_key_alloc(true);
    if (key < 0) error = key;
    else taken[count++] = key;
  }
  if (!error) {
    for (size_t s = 0; s < image->space_count; s++) keys[s] = taken[wanted == 1 ? 0 : s];
    if (loan_key) pkeys_i_registry.loan_key = taken[count - 1];
    /* Masks first: a thread that attaches now opens the new keys before any page carries one. */
    assign(image, mechanism, keys);
    pkeys_i_masks_publish(true);
    error = pkeys_i_apply_image(image);
    if (!error && loan_key) error = pkeys_i_loans_retag(pkeys_i_registry.loan_key);
    if (!error) error = verify_all(image, NULL);
    if (!error) return 0;
    assign(image, PKEYS_MECHANISM_UNSET, no_keys);
    int undone = pkeys_i_apply_image(image);
    if (loan_key) {
      if (!undone) undone = pkeys_i_loans_retag(0);
      pkeys_i_registry.loan_key = 0;
    }
    pkeys_i_masks_publish(false);
    /* Where pages still carry the keys, rather lose these than give them to somebody else. */
    if (undone && (loan_key || verify_all(image, NULL))) return error;
  }
  while (count > 0) pkeys_i_key_free(taken[--count]);
  return error;
}

static int set_unkeyed(struct pkeys_image *image, enum pkeys_mechanism mechanism) {
  if (mechanism_is_hooked(mechanism) && pkeys_i_registry.blocks_sealed) return -EBUSY; /* it closes loans too */
  assign(image, mechanism, no_keys);
  pkeys_i_masks_publish(false);
  if (!mechanism_is_counted(mechanism)) return 0;
  /* Published before the count is read: a callout that enters or leaves now sees it, or is seen (mechanism.c). */
  atomic_store(&pkeys_i_registry.images_stale, 1);
  int error = pkeys_i_mechanism_reconcile_locked();
  if (error) {
    assign(image, PKEYS_MECHANISM_UNSET, no_keys);
    pkeys_i_masks_publish(false);
    pkeys_i_apply_image(image);
  }
  return error;
}

int pkeys_image_set_mechanism(struct pkeys_image *image, enum pkeys_mechanism mechanism) {
  if (mechanism <= PKEYS_MECHANISM_UNSET || mechanism > PKEYS_MECHANISM_PKEYS_GLIBC) return -EINVAL;
  int error = pkeys_i_change_enter();
  if (error) return error;
  if (!image_is_open(image)) return pkeys_i_change_leave(-EINVAL);
  uint32_t now = atomic_load(&image->mechanism);
  if (now == (uint32_t)mechanism) return pkeys_i_change_leave(0);
  if (now != PKEYS_MECHANISM_UNSET) return pkeys_i_change_leave(-EBUSY);
  if (!mechanism_is_keyed(mechanism)) return pkeys_i_change_leave(set_unkeyed(image, mechanism));
  return pkeys_i_change_leave(image->mode == PKEYS_KEY_VIRTUAL ? set_virtual(image, mechanism)
                                                               : set_keyed(image, mechanism));
}
