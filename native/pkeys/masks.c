/*
 * masks.c: what the gate writes into PKRU, made from the open images and their keys. pkeys(7).
 */

#include "internal.h"
#include "latch.h"

_Static_assert(sizeof(struct mask_record) % 8 == 0, "copied in words");

_Static_assert(offsetof(struct mask_latch, copy) % 8 == 0, "copied in words");

void pkeys_i_masks_read(struct mask_record *out) {
  latch_read(&pkeys_i_registry.masks.version, pkeys_i_registry.masks.copy, out, sizeof *out);
  if (out->masks.keep == 0) out->masks.keep = ~0u; /* nothing is published yet; afterwards key 0 is always kept (I1) */
}

/* I2: `keep` covers the keys of others, and `deny` holds the rights to ours. */
void pkeys_i_masks_publish(bool keys_grew) {
  struct mask_record record = {0};
  struct mask_record before;
  pkeys_i_masks_read(&before);
  uint32_t owned = 0, deny = 0;
  if (pkeys_i_registry.runtime_key) {
    owned |= pkru_field(pkeys_i_registry.runtime_key);
    deny |= pkru_bits(pkeys_i_registry.runtime_key, PKEYS_NO_WRITE); /* readable: the gate's way out reads its frame */
  }
  if (pkeys_i_registry.loan_key) {
    record.loan_field = pkru_field(pkeys_i_registry.loan_key);
    owned |= record.loan_field;
    deny |= pkru_bits(pkeys_i_registry.loan_key, PKEYS_NO_ACCESS);
  }
  record.masks.pool = atomic_load(&pkeys_i_registry.pool.fields);
  record.masks.pool_deny = atomic_load(&pkeys_i_registry.pool.denied);
  deny |= record.masks.pool_deny;
  for (size_t i = 0; i < PKEYS_MAX_IMAGES; i++) {
    const struct pkeys_image *image = &pkeys_i_registry.images[i];
    uint32_t mechanism = atomic_load(&image->mechanism);
    if (atomic_load(&image->id) == 0) continue;
    record.masks.hooked |= mechanism_is_hooked(mechanism);
    record.masks.keyed |= mechanism == PKEYS_MECHANISM_PKEYS;
    record.counted += mechanism_is_counted(mechanism);
    record.naive += mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE;
    if (!mechanism_is_keyed(mechanism) || atomic_load(&image->pooled)) continue;
    for (uint32_t s = 0; s < image->space_count; s++) {
      struct region region;
      pkeys_i_region_read(image->space[s], &region);
      if (region.key == 0) continue;
      owned |= pkru_field(region.key);
      if (mechanism == PKEYS_MECHANISM_PKEYS) {
        deny |= pkru_bits(region.key, (enum pkeys_rights)region.deny);
      } else {
        record.glibc_fields |= pkru_field(region.key);
        record.glibc_rights |= pkru_bits(region.key, (enum pkeys_rights)region.deny);
      }
    }
  }
  if (record.glibc_fields && pkeys_i_registry.loan_key) {
    record.glibc_fields |= record.loan_field;
    record.glibc_rights |= pkru_bits(pkeys_i_registry.loan_key, PKEYS_NO_ACCESS);
  }
  /* A gate that writes masks after pkeys_enter_foreign would open what that has just closed. */
  if (record.masks.keyed) deny |= record.glibc_rights;
  record.masks.keep = ~owned;
  record.masks.deny = deny;
  record.masks.deny_lent = deny & ~record.loan_field;
  record.masks.entered = record.glibc_rights;
  record.masks.entered_lent = record.glibc_rights & ~record.loan_field;
  record.masks.generation = before.masks.generation + (keys_grew ? 1 : 0);
  latch_publish(&pkeys_i_registry.masks.version, pkeys_i_registry.masks.copy, &record, sizeof record);
  if (pkeys_i_registry.listener) pkeys_i_registry.listener(&record.masks);
}

struct pkeys_masks pkeys_masks(void) {
  struct mask_record record;
  uint32_t saved = pkeys_i_reader_enter();
  pkeys_i_masks_read(&record);
  pkeys_i_reader_leave(saved);
  return record.masks;
}

void pkeys_open_thread(void) {
  if (pkeys_runtime_key() == 0) return;
  struct mask_record record;
  uint32_t saved = pkeys_i_reader_enter();
  pkeys_i_masks_read(&record);
  uint32_t open = saved & record.masks.keep;
  if (pkeys_rdpkru() != open) pkeys_wrpkru(open);
}
