/*
 * adopt.c: spaces made of memory that the VM maps itself. The VM says what it maps, protects, moves and gives up; the
 * tags and the mechanisms follow. pkey_mprotect(2), mremap(2).
 *
 * A mapping is not visible here before it is adopted, and not touched after it is released. In between, this layer
 * alone changes its access: while a mechanism that works by mprotect has a page closed, what the VM gave the page and
 * what it has are two things. `struct range` keeps the first.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

#define ANY_PROTECTION (PROT_READ | PROT_WRITE | PROT_EXEC)

/* Whole pages, none of them past the end of what a process can address. *whole gets the size in whole pages. */
static bool valid(uintptr_t address, size_t bytes, size_t *whole) {
  if (address == 0 || address % PKEYS_PAGE != 0 || bytes == 0 || bytes > PKEYS_MAX_BYTES) return false;
  *whole = round_up(bytes);
  return address + *whole > address;
}

/* Calls `visit` for the part of each adopted range that lies in [address, end). Stops at the first error. `visit` may
 * change the table inside that part. Both locks held. */
static int each_piece(uintptr_t address, uintptr_t end, int (*visit)(const struct range *piece, void *context),
                      void *context) {
  struct range range;
  while (address < end && pkeys_i_range_next(address, &range) && range.address < end) {
    uintptr_t start = range.address > address ? range.address : address;
    uintptr_t last = range.address + range.bytes < end ? range.address + range.bytes : end;
    struct range piece = {start, last - start, range.region, range.protection};
    int error = visit(&piece, context);
    if (error) return error;
    address = last;
  }
  return 0;
}

/* Access and key as things are. Naive callouts are nobody's business but their own: open for the VM. */
static int apply_region(const struct region *region) {
  int access = pkeys_i_mechanism_access(region);
  return pkeys_i_region_apply(region->address, region->bytes, access < 0 ? (int)region->protection : access,
                              pkeys_i_region_key(region));
}

static int apply_piece(const struct range *piece, void *context) {
  (void)context;
  struct region region;
  return pkeys_i_range_region(piece, &region) ? apply_region(&region) : 0;
}

/* ---- adopting ---------------------------------------------------------------------------------------------------- */

/* Whether [address, end) meets what this layer has mapped itself. */
static bool meets_ours(uintptr_t address, uintptr_t end) {
  uint32_t used = atomic_load(&pkeys_i_registry.regions_used);
  for (uint32_t i = 0; i < used; i++) {
    struct region region;
    pkeys_i_region_read(i, &region);
    if (region.kind != REGION_FREE && region.address < end && address < region.address + region.reserved) return true;
  }
  return false;
}

/* After a failed adoption: what was adopted before gets back what it had, and the rest is untagged. The kernel stopped
 * where `address` is not mapped, and does so again. */
static void undo(uintptr_t address, uintptr_t end, int protection) {
  struct range range;
  while (address < end) {
    bool found = pkeys_i_range_next(address, &range) && range.address < end;
    uintptr_t gap = found && range.address > address ? range.address : found ? address : end;
    if (gap > address) pkeys_i_region_apply(address, gap - address, protection, 0);
    address = gap;
    if (!found) break;
    uintptr_t last = range.address + range.bytes < end ? range.address + range.bytes : end;
    struct range piece = {address, last - address, range.region, range.protection};
    apply_piece(&piece, NULL);
    address = last;
  }
}

static int adopt_locked(struct pkeys_image *image, size_t index, uintptr_t address, size_t bytes, int protection) {
  if (meets_ours(address, address + bytes)) return -EEXIST;
  struct range range = {address, bytes, image->space[index], (uint32_t)protection};
  struct region region;
  if (!pkeys_i_range_region(&range, &region)) return -EINVAL;
  if (pkeys_i_range_count() + RANGE_MOST_ADDED > PKEYS_MAX_RANGES) return -EMFILE;
  /* I9: access and key in one call, and before the VM has the address. */
  int error = apply_region(&region);
  if (error) {
    undo(address, address + bytes, protection);
    return error;
  }
  return pkeys_i_range_set(address, bytes, &range);
}

int pkeys_space_adopt(struct pkeys_image *image, size_t index, void *address, size_t bytes, int protection) {
  size_t whole;
  if (!valid((uintptr_t)address, bytes, &whole) || (protection & ~ANY_PROTECTION)) return -EINVAL;
  int error = pkeys_i_change_enter();
  if (error) return error;
  if (!image_is_open(image) || index >= image->space_count) return pkeys_i_change_leave(-EINVAL);
  return pkeys_i_change_leave(adopt_locked(image, index, (uintptr_t)address, whole, protection));
}

/* ---- while adopted ----------------------------------------------------------------------------------------------- */

static int protect_piece(const struct range *piece, void *context) {
  struct range changed = *piece;
  changed.protection = *(const uint32_t *)context;
  int error = apply_piece(&changed, NULL);
  return error ? error : pkeys_i_range_set(changed.address, changed.bytes, &changed);
}

static int count_bytes(const struct range *piece, void *context) {
  *(size_t *)context += piece->bytes;
  return 0;
}
static bool all_adopted(uintptr_t address, size_t bytes) {
  size_t adopted = 0;
  each_piece(address, address + bytes, count_bytes, &adopted);
  return adopted == bytes;
}

int pkeys_range_protect(void *address, size_t bytes, int protection) {
  size_t whole;
  uintptr_t start = (uintptr_t)address;
  if (!valid(start, bytes, &whole) || (protection & ~ANY_PROTECTION)) return -EINVAL;
  int error = pkeys_i_change_enter();
  if (error) return error;
  if (!all_adopted(start, whole)) return pkeys_i_change_leave(-ENOENT);
  if (pkeys_i_range_count() + RANGE_MOST_ADDED > PKEYS_MAX_RANGES) return pkeys_i_change_leave(-EMFILE);
  uint32_t wanted = (uint32_t)protection;
  return pkeys_i_change_leave(each_piece(start, start + whole, protect_piece, &wanted));
}

/* ---- giving up --------------------------------------------------------------------------------------------------- */

/* Access and key 0 for what is still mapped of it. */
static int untag(uintptr_t address, size_t bytes, int protection) {
  int error = pkeys_i_region_apply(address, bytes, protection, 0);
  if (error != -ENOMEM) return error;
  /* Something in it was unmapped behind our back, and the kernel has stopped there. */
  int first = 0;
  for (size_t done = 0; done < bytes; done += PKEYS_PAGE) {
    error = pkeys_i_region_apply(address + done, PKEYS_PAGE, protection, 0);
    if (error && error != -ENOMEM && !first) first = error;
  }
  return first;
}

static int release_piece(const struct range *piece, void *context) {
  (void)context;
  int error = pkeys_i_range_set(piece->address, piece->bytes, NULL);
  if (error) return error;
  pkeys_i_registry_quiesce(); /* nobody closes it any more that has seen it */
  error = untag(piece->address, piece->bytes, (int)piece->protection);
  if (error) pkeys_i_range_set(piece->address, piece->bytes, piece);
  return error;
}
static int forget_piece(const struct range *piece, void *context) {
  (void)context;
  return pkeys_i_range_set(piece->address, piece->bytes, NULL);
}

static int give_up(void *address, size_t bytes, int (*visit)(const struct range *piece, void *context)) {
  size_t whole;
  if (!valid((uintptr_t)address, bytes, &whole)) return -EINVAL;
  int error = pkeys_i_change_enter();
  if (error) return error;
  error = each_piece((uintptr_t)address, (uintptr_t)address + whole, visit, NULL);
  if (!error) pkeys_i_registry_quiesce();
  return pkeys_i_change_leave(error);
}
int pkeys_range_release(void *address, size_t bytes) { return give_up(address, bytes, release_piece); }
int pkeys_range_forget(void *address, size_t bytes) { return give_up(address, bytes, forget_piece); }

/* ---- moving ------------------------------------------------------------------------------------------------------ */

#define MOVE_FIXED 2     /* MREMAP_FIXED */
#define MOVE_KEEPS_OLD 4 /* MREMAP_DONTUNMAP */

/* The piece that [address, address+bytes) is, if it is all adopted and alike. */
static bool alike(uintptr_t address, size_t bytes, struct range *out) {
  return pkeys_i_range_find(address, out) && bytes <= out->address + out->bytes - address;
}

static int remap_locked(uintptr_t address, size_t bytes, size_t new_bytes, int flags, uintptr_t wanted, void **out) {
  struct range old;
  if (!alike(address, bytes, &old)) return -ENOENT;
  if (pkeys_i_range_count() + 2 * RANGE_MOST_ADDED > PKEYS_MAX_RANGES) return -EMFILE;
  if ((flags & MOVE_FIXED) && meets_ours(wanted, wanted + new_bytes)) return -EEXIST;
  old.address = address;
  old.bytes = bytes;
  /* Unpublished while it moves: nobody may close what is not there any more. */
  pkeys_i_range_set(address, bytes, NULL);
  if (flags & MOVE_FIXED) each_piece(wanted, wanted + new_bytes, forget_piece, NULL);
  pkeys_i_registry_quiesce();
  int error;
  uintptr_t now = sys_mremap(address, bytes, new_bytes, flags, wanted, &error);
  if (error || (flags & MOVE_KEEPS_OLD)) pkeys_i_range_set(address, bytes, &old);
  if (error) return error;
  /* The kernel moves key and access along, and what is added has them too. */
  struct range moved = {now, new_bytes, old.region, old.protection};
  *out = (void *)now;
  return pkeys_i_range_set(now, new_bytes, &moved);
}

int pkeys_range_remap(void *address, size_t bytes, size_t new_bytes, int flags, void *new_address, void **out) {
  size_t whole, new_whole;
  uintptr_t wanted = flags & MOVE_FIXED ? (uintptr_t)new_address : (uintptr_t)address;
  if (!out || !valid((uintptr_t)address, bytes, &whole) || !valid(wanted, new_bytes, &new_whole)) return -EINVAL;
  int error = pkeys_i_change_enter();
  if (error) return error;
  return pkeys_i_change_leave(remap_locked((uintptr_t)address, whole, new_whole, flags, wanted, out));
}

/* ---- for the image as a whole ------------------------------------------------------------------------------------ */

static bool of_image(const struct range *range, const struct pkeys_image *image, struct region *region) {
  return pkeys_i_range_region(range, region) && region->image_id == atomic_load(&image->id);
}

int pkeys_i_apply_ranges(const struct pkeys_image *image) {
  struct range range;
  struct region region;
  for (uintptr_t from = 0; pkeys_i_range_next(from, &range); from = range.address + range.bytes) {
    if (!of_image(&range, image, &region)) continue;
    int error = apply_piece(&range, NULL);
    if (error) return error;
  }
  return 0;
}

/* Its spaces may be unpublished by now, so ranges are told by the region that they name. */
static bool names_space_of(const struct range *range, const struct pkeys_image *image) {
  for (uint32_t s = 0; s < image->space_count; s++)
    if (image->space[s] == range->region) return true;
  return false;
}

int pkeys_i_release_ranges(const struct pkeys_image *image) {
  int first = 0;
  struct range range;
  for (uintptr_t from = 0; pkeys_i_range_next(from, &range); from = range.address + range.bytes) {
    if (!names_space_of(&range, image)) continue;
    pkeys_i_range_set(range.address, range.bytes, NULL);
    int error = untag(range.address, range.bytes, (int)range.protection);
    if (error && !first) first = error;
  }
  return first;
}

/* What the walk over smaps has seen: every range of the image below `covered` is right. */
struct walk {
  const struct pkeys_image *image;
  uintptr_t covered;
  bool wrong;
};

static bool next_of(struct walk *walk, struct range *range, struct region *region) {
  for (uintptr_t from = walk->covered; pkeys_i_range_next(from, range); from = range->address + range->bytes)
    if (of_image(range, walk->image, region)) {
      if (range->address > walk->covered) walk->covered = range->address;
      return true;
    }
  return false;
}

static bool compare(const struct smaps_mapping *mapping, void *context) {
  struct walk *walk = context;
  struct range range;
  struct region region;
  while (next_of(walk, &range, &region) && walk->covered < mapping->last) {
    int access = pkeys_i_mechanism_settled_access(&region);
    walk->wrong = mapping->first > walk->covered || mapping->key != pkeys_i_region_key(&region) ||
                  (access >= 0 && mapping->access != access);
    if (walk->wrong) return false;
    uintptr_t end = range.address + range.bytes;
    walk->covered = mapping->last < end ? mapping->last : end;
  }
  return true;
}

int pkeys_i_verify_ranges(const struct pkeys_image *image, uintptr_t *where) {
  struct walk walk = {.image = image};
  struct range range;
  struct region region;
  if (!next_of(&walk, &range, &region)) return 0;
  int error = pkeys_i_mappings_each(true, compare, &walk);
  if (error) return error;
  if (!walk.wrong && !next_of(&walk, &range, &region)) return 0;
  if (where) *where = walk.covered;
  return -EKEYREJECTED;
}
