/*
 * loan.c: memory lent to foreign code for writing. The lending arena is the set of these mappings: whole pages each,
 * guard pages on both sides, all under the loan key where one exists. mmap(2), pkey_mprotect(2).
 */
#include <errno.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

/* How long a copy waits for an image that a counted mechanism has closed for other threads' callouts. */
#define COPY_LIMIT_NS 1000000000u

/* The copy between a space and a loan, no lock held: either side may be closed now, and then this thread is a bystander
 * like any other. A pooled image is entered on a seat of the copy's own: the thread's keeps its pin meanwhile. */
static int copy_as_vm(void *to, const void *from, size_t bytes) {
  pkeys_open_thread();
  struct pkeys_image *pooled = NULL;
  const struct {
    uintptr_t address;
    int access;
  } sides[2] = {{(uintptr_t)from, PROT_READ}, {(uintptr_t)to, PROT_WRITE}};
  for (int i = 0; i < 2; i++) {
    struct region region;
    if (!pkeys_i_region_find(sides[i].address, &region)) continue;
    if (region.pooled) pooled = &pkeys_i_registry.images[region.pooled - 1];
    else if ((pkeys_i_mechanism_access(&region) & sides[i].access) == 0)
      pkeys_i_mechanism_await_open(sides[i].address, COPY_LIMIT_NS);
  }
  struct pkeys_seat guest;
  uint32_t rights = pooled ? pkeys_rdpkru() : 0;
  int error = 0;
  if (pooled) {
    pkeys_seat_begin(&guest);
    error = pkeys_i_seat_load(&guest, pooled);
  }
  if (!error) memcpy(to, from, bytes);
  if (pooled) {
    pkeys_wrpkru(rights);
    pkeys_seat_end(&guest);
  }
  return error;
}

/* The loan key, made if something keyed is open. Both locks held. 0 or negative errno. */
static int need_loan_key(void) {
  if (pkeys_i_registry.loan_key) return 0;
  bool keyed = false;
  for (size_t i = 0; i < PKEYS_MAX_IMAGES; i++)
    keyed = keyed || (atomic_load(&pkeys_i_registry.images[i].id) &&
                      mechanism_is_keyed(atomic_load(&pkeys_i_registry.images[i].mechanism)));
  if (!keyed) return 0;
  int key = pkeys_i_pool_key_alloc(false);
  if (key < 0) return key;
  pkeys_i_registry.loan_key = key;
  pkeys_i_masks_publish(true);
  return 0;
}

bool pkeys_i_any_loans(void) { return pkeys_i_region_count(REGION_LOAN) > 0; }

int pkeys_i_loans_retag(int key) {
  for (size_t i = 0; i < MAX_REGIONS; i++) {
    struct region region;
    pkeys_i_region_read(i, &region);
    if (region.kind != REGION_LOAN) continue;
    int error = pkeys_i_region_apply(region.address, region.bytes, pkeys_i_mechanism_access(&region), key);
    if (error) return error;
    region.key = key;
    pkeys_i_region_publish(i, &region);
  }
  return 0;
}

bool pkeys_i_loans_reach_past(const struct pkeys_image *image, size_t index, size_t bytes) {
  for (size_t i = 0; i < PKEYS_MAX_LOANS; i++) {
    const struct loan *loan = &pkeys_i_registry.loans[i];
    if (loan->id && loan->image == image && loan->space_index == index && loan->offset + loan->bytes > bytes)
      return true;
  }
  return false;
}

void pkeys_i_loan_key_drop(void) {
  if (pkeys_i_registry.loan_key == 0) return;
  for (size_t i = 0; i < PKEYS_MAX_IMAGES; i++)
    if (atomic_load(&pkeys_i_registry.images[i].id) &&
        mechanism_is_keyed(atomic_load(&pkeys_i_registry.images[i].mechanism)))
      return;
  if (pkeys_i_blocks_carry(pkeys_i_registry.loan_key)) return;
  for (size_t i = 0; i < MAX_REGIONS; i++) {
    struct region region;
    pkeys_i_region_read(i, &region);
    if (region.kind != REGION_LOAN) continue;
    if (pkeys_i_region_apply(region.address, region.bytes, pkeys_i_mechanism_access(&region), 0))
      return; /* keep the key rather than free one in use */
    region.key = 0;
    pkeys_i_region_publish(i, &region);
  }
  int key = pkeys_i_registry.loan_key;
  pkeys_i_registry.loan_key = 0;
  pkeys_i_masks_publish(false);
  pkeys_i_key_free(key);
}

static struct loan *find_loan(uint32_t id) {
  for (size_t i = 0; id && i < PKEYS_MAX_LOANS; i++)
    if (pkeys_i_registry.loans[i].id == id) return &pkeys_i_registry.loans[i];
  return NULL;
}
static struct loan *free_loan(void) {
  for (size_t i = 0; i < PKEYS_MAX_LOANS; i++)
    if (pkeys_i_registry.loans[i].id == 0) return &pkeys_i_registry.loans[i];
  return NULL;
}

/* Maps and publishes the loan, empty. Both locks held. *source gets where the bytes come from, 0 if nowhere. */
static int lend_locked(size_t bytes, struct pkeys_image *image, size_t space_index, size_t offset,
                       enum pkeys_loan_mode mode, bool flush_end, struct pkeys_loan *out, uintptr_t *source) {
  *source = 0;
  if (image) {
    if (!image_is_open(image) || space_index >= image->space_count) return -EINVAL;
    struct region space;
    pkeys_i_region_read(image->space[space_index], &space);
    if (offset > space.bytes || bytes > space.bytes - offset) return -ERANGE;
    *source = space.address + offset;
  }
  struct loan *loan = free_loan();
  if (!loan) return -EMFILE;
  int error = need_loan_key();
  if (error) return error;

  struct region region = {
      .lent_bytes = bytes,
      .kind = REGION_LOAN,
      .image_id = image ? atomic_load(&image->id) : 0,
      .number = pkeys_i_registry.next_loan_id,
      .deny = PKEYS_NO_ACCESS,
      .key = pkeys_i_registry.loan_key,
      .protection = PROT_READ | PROT_WRITE,
  };
  struct loan_block block;
  error = pkeys_i_block_take(bytes, pkeys_i_mechanism_access(&region), region.key, &block);
  if (error) return error;
  region.address = block.address;
  region.bytes = region.reserved = block.bytes;
  region.lent_address = block.address + (flush_end ? block.bytes - bytes : 0);
  if (++pkeys_i_registry.next_loan_id == 0) pkeys_i_registry.next_loan_id = 1;
  int slot = pkeys_i_region_free_slot();
  *loan = (struct loan){.id = region.number,
                        .region = (uint16_t)slot,
                        .mode = (uint16_t)mode,
                        .image = image,
                        .space_index = space_index,
                        .offset = offset,
                        .bytes = bytes,
                        .block = block};
  if (image) image->loans++;
  pkeys_i_region_publish((size_t)slot, &region);
  *out = (struct pkeys_loan){(void *)region.lent_address, bytes, region.number};
  return 0;
}

static int release(uint32_t id, bool copies) {
  int error = pkeys_i_registry_enter();
  if (error) return error;
  struct loan *loan = find_loan(id);
  if (!loan || loan->releasing) {
    pkeys_i_registry_leave();
    return -EINVAL;
  }
  struct region region;
  pkeys_i_region_read(loan->region, &region);
  int copy_error = 0;
  if (copies && loan->image && loan->mode != PKEYS_LOAN_IN) {
    struct region space;
    pkeys_i_region_read(loan->image->space[loan->space_index], &space);
    loan->releasing = true; /* nobody else releases it while the lock is not held */
    pkeys_i_registry_leave();
    copy_error = copy_as_vm((void *)(space.address + loan->offset), (const void *)region.lent_address, loan->bytes);
    if ((error = pkeys_i_registry_enter())) return error;
  }
  pkeys_i_block_wipe(&loan->block);
  pkeys_i_lock_take(&pkeys_i_registry.mechanism_lock);
  static const struct region nothing;
  pkeys_i_region_read(loan->region, &region);
  pkeys_i_region_publish(loan->region, &nothing);
  pkeys_i_registry_quiesce();
  loan->block.key = region.key; /* it may have been retagged */
  error = pkeys_i_block_give_back(&loan->block);
  if (error) {
    pkeys_i_region_publish(loan->region, &region);
    loan->releasing = false;
  } else {
    if (loan->image) loan->image->loans--;
    loan->id = 0;
  }
  pkeys_i_lock_give(&pkeys_i_registry.mechanism_lock);
  pkeys_i_registry_leave();
  return error ? error : copy_error;
}

int pkeys_loan_release(uint32_t id) { return release(id, true); }

int pkeys_lend(size_t bytes, struct pkeys_image *image, size_t space_index, size_t offset, enum pkeys_loan_mode mode,
               bool flush_end, struct pkeys_loan *out) {
  if (!out || bytes == 0 || bytes > PKEYS_MAX_BYTES) return -EINVAL;
  if (mode != PKEYS_LOAN_OUT && mode != PKEYS_LOAN_IN && mode != PKEYS_LOAN_INOUT) return -EINVAL;
  int error = pkeys_i_registry_enter();
  if (error) return error;
  pkeys_i_lock_take(&pkeys_i_registry.mechanism_lock);
  uintptr_t source;
  error = lend_locked(bytes, image, space_index, offset, mode, flush_end, out, &source);
  pkeys_i_lock_give(&pkeys_i_registry.mechanism_lock);
  if (!error) pkeys_i_block_wipe(&find_loan(out->id)->block);
  pkeys_i_registry_leave();
  /* The loan counts on the image by now, so the image cannot be closed or shrunk below its range under the copy. */
  if (!error && source && mode != PKEYS_LOAN_OUT) {
    error = copy_as_vm(out->address, (const void *)source, bytes);
    if (error) (void)release(out->id, false);
  }
  return error;
}
