/*
 * seal.c: pages that no code in this process can remap any more. mseal(2).
 */
#include <errno.h>

#include "internal.h"
#include "sys.h"

static int seal(uintptr_t address, size_t bytes) {
  int error = sys_seal(address, bytes);
  return error == -ENOSYS ? -EOPNOTSUPP : error;
}

static int seal_locked(struct pkeys_image *image) {
  uint32_t mechanism = atomic_load(&image->mechanism);
  if (mechanism == PKEYS_MECHANISM_UNSET) return -EINVAL;
  if (atomic_load(&image->pooled)) return -ENOTSUP; /* its pages change their key with each entry */
  if (mechanism_is_counted(mechanism) || mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE) return -ENOTSUP;
  for (int pass = 0; pass < 2; pass++) /* all are looked at before one is sealed */
    for (uint32_t s = 0; s < image->space_count; s++) {
      struct region region;
      pkeys_i_region_read(image->space[s], &region);
      if (region.bytes == 0) return -EINVAL;
      int error = pass == 0 ? 0 : seal(region.address, region.bytes);
      if (error && s > 0) image->sealed = 1; /* a part of it is, for good */
      if (error) return error;
    }
  image->sealed = 1;
  return 0;
}

int pkeys_image_seal(struct pkeys_image *image) {
  int error = pkeys_i_change_enter();
  if (error) return error;
  return pkeys_i_change_leave(image_is_open(image) ? seal_locked(image) : -EINVAL);
}

bool pkeys_image_is_sealed(const struct pkeys_image *image) {
  uint32_t saved = pkeys_i_reader_enter();
  bool sealed = image->sealed != 0;
  pkeys_i_reader_leave(saved);
  return sealed;
}

int pkeys_seal_loans(void) {
  int error = pkeys_i_change_enter();
  if (error) return error;
  error = seal(0, 0); /* nothing, to hear whether it can be */
  struct mask_record record;
  pkeys_i_masks_read(&record);
  if (!error && record.counted + record.naive > 0) error = -EBUSY;
  if (!error) pkeys_i_registry.blocks_sealed = true;
  return pkeys_i_change_leave(error);
}

int pkeys_seal_runtime(void) {
  int error = pkeys_init();
  return error ? error : seal((uintptr_t)&pkeys_i_registry, sizeof pkeys_i_registry);
}
