/*
 * image.c: images and their spaces: reserve, commit, tag, grow, shrink, release. mmap(2), mprotect(2),
 * pkey_mprotect(2).
 *
 * I9: an address range is reserved without access and gets access and key in one call. Nothing here unmaps into the
 * middle of a reservation and maps again: what is given back is replaced by a fresh PROT_NONE mapping in one MAP_FIXED
 * step, which also drops tag and contents.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

#define READ_WRITE (PROT_READ | PROT_WRITE)

int pkeys_i_region_apply(uintptr_t address, size_t bytes, int access, int key) {
  if (access < 0) access = READ_WRITE;
  /* Where keys are in use, the same call sets key 0: plain mprotect would keep an old key (F3). */
  return pkeys_runtime_key() ? sys_pkey_mprotect(address, bytes, access, key) : sys_mprotect(address, bytes, access);
}

/* The same for pages that were just reserved, and so have key 0 already. */
static int apply_fresh(uintptr_t address, size_t bytes, int access, int key) {
  if (access < 0) access = READ_WRITE;
  return key ? sys_pkey_mprotect(address, bytes, access, key) : sys_mprotect(address, bytes, access);
}

/* Both locks, as a change of the region table needs. */
static int change_enter(void) {
  int error = pkeys_i_registry_enter();
  if (!error) pkeys_i_lock_take(&pkeys_i_registry.mechanism_lock);
  return error;
}
static int change_leave(int result) {
  pkeys_i_lock_give(&pkeys_i_registry.mechanism_lock);
  pkeys_i_registry_leave();
  return result;
}

/* ---- mapping ------------------------------------------------------------------------------------------------- */

struct layout {
  size_t bytes, reserved; /* rounded up to pages */
};

/* `adopted`: the space gets no memory from us. */
static int check_request(const struct pkeys_space_request *requests, size_t index, bool adopted, struct layout *out) {
  const struct pkeys_space_request *request = &requests[index];
  if (!request->name) return -EINVAL;
  size_t length = strnlen(request->name, PKEYS_NAME_BYTES);
  if (length == 0 || length >= PKEYS_NAME_BYTES) return -EINVAL;
  for (size_t i = 0; i < index; i++)
    if (strcmp(requests[i].name, request->name) == 0) return -EINVAL;
  if (request->deny != PKEYS_OPEN && request->deny != PKEYS_NO_WRITE && request->deny != PKEYS_NO_ACCESS)
    return -EINVAL;
  *out = (struct layout){0, 0};
  if (adopted) return request->bytes || request->reserve_bytes ? -EINVAL : 0;
  if (request->bytes == 0 || request->bytes > PKEYS_MAX_BYTES) return -EINVAL;
  if (request->reserve_bytes > PKEYS_MAX_BYTES || (request->reserve_bytes && request->reserve_bytes < request->bytes))
    return -EINVAL;
  out->bytes = round_up(request->bytes);
  size_t reserve = request->reserve_bytes ? request->reserve_bytes : 4 * request->bytes; /* at most 2^48: no overflow */
  out->reserved = round_up(reserve > PKEYS_MAX_BYTES ? PKEYS_MAX_BYTES : reserve);
  if (out->reserved < out->bytes) out->reserved = out->bytes;
  return 0;
}

static size_t count_regions(uint32_t kind) {
  size_t count = 0;
  for (size_t i = 0; i < MAX_REGIONS; i++) {
    struct region region;
    pkeys_i_region_read(i, &region);
    count += region.kind == kind;
  }
  return count;
}

/* Maps and publishes into a free slot. Both locks held. */
static int map_locked(const struct pkeys_space_request *requests, const struct layout *layouts, size_t count,
                      enum pkeys_key_mode mode, struct pkeys_image **out, size_t *failed_index) {
  struct pkeys_image *image = NULL;
  for (size_t i = 0; i < PKEYS_MAX_IMAGES && !image; i++)
    /* Round robin, so that a handle kept after close does not name the next image at once. */
    if (atomic_load(&pkeys_i_registry.images[(pkeys_i_registry.next_image_id + i) % PKEYS_MAX_IMAGES].id) == 0)
      image = &pkeys_i_registry.images[(pkeys_i_registry.next_image_id + i) % PKEYS_MAX_IMAGES];
  if (!image || count_regions(REGION_SPACE) + count > PKEYS_MAX_SPACES) return -EMFILE;

  bool reserves = layouts[0].reserved > 0;
  size_t total = reserves ? PKEYS_GUARD_BYTES : 0;
  for (size_t i = 0; i < count && reserves; i++)
    total += layouts[i].reserved + PKEYS_GUARD_BYTES; /* at most 128 * (2^46 + 2^16): no overflow */
  int error = 0;
  uintptr_t base = reserves ? sys_reserve(0, total, &error) : 0;
  if (error) return error;

  uintptr_t address = base + PKEYS_GUARD_BYTES;
  for (size_t i = 0; i < count && reserves; i++) {
    error = apply_fresh(address, layouts[i].bytes, READ_WRITE, 0);
    if (error) {
      *failed_index = i;
      sys_munmap(base, total);
      return error;
    }
    address += layouts[i].reserved + PKEYS_GUARD_BYTES;
  }

  uint32_t id = pkeys_i_registry.next_image_id++;
  if (pkeys_i_registry.next_image_id == 0) pkeys_i_registry.next_image_id = 1;
  image->mode = mode;
  image->space_count = (uint32_t)count;
  image->loans = 0;
  image->reservation = base;
  image->reservation_bytes = total;
  memset(image->neighbour_bytes, 0, sizeof image->neighbour_bytes);
  atomic_store(&image->mechanism, PKEYS_MECHANISM_UNSET);
  address = base + PKEYS_GUARD_BYTES;
  for (size_t i = 0; i < count; i++) {
    struct region region = {
        .address = reserves ? address : 0,
        .bytes = layouts[i].bytes,
        .reserved = layouts[i].reserved,
        .kind = REGION_SPACE,
        .image_id = id,
        .number = (uint32_t)i,
        .deny = requests[i].deny ? requests[i].deny : PKEYS_NO_WRITE,
        .protection = READ_WRITE,
    };
    strncpy(region.name, requests[i].name, sizeof region.name - 1);
    int slot =
        pkeys_i_region_free_slot(); /* there is one: each kind has its own limit, and the table holds their sum */
    image->space[i] = (uint16_t)slot;
    pkeys_i_region_publish((size_t)slot, &region);
    address += layouts[i].reserved + PKEYS_GUARD_BYTES;
  }
  atomic_store(&image->id, id);
  *out = image;
  return 0;
}

static int make(const struct pkeys_space_request *requests, size_t count, enum pkeys_key_mode mode, bool adopted,
                struct pkeys_image **out, size_t *failed_index) {
  size_t ignored;
  if (!failed_index) failed_index = &ignored;
  *failed_index = count;
  if (!requests || !out || count == 0) return -EINVAL;
  if (mode != PKEYS_KEY_PER_IMAGE && mode != PKEYS_KEY_PER_SPACE) return -EINVAL;
  if (count > PKEYS_MAX_SPACES) return -EMFILE;
  struct layout layouts[PKEYS_MAX_SPACES];
  for (size_t i = 0; i < count; i++) {
    int error = check_request(requests, i, adopted, &layouts[i]);
    if (error) {
      *failed_index = i;
      return error;
    }
  }
  int error = change_enter();
  if (error) return error;
  return change_leave(map_locked(requests, layouts, count, mode, out, failed_index));
}

int pkeys_image_map(const struct pkeys_space_request *requests, size_t count, enum pkeys_key_mode mode,
                    struct pkeys_image **out, size_t *failed_index) {
  return make(requests, count, mode, false, out, failed_index);
}
int pkeys_image_create(const struct pkeys_space_request *requests, size_t count, enum pkeys_key_mode mode,
                       struct pkeys_image **out, size_t *failed_index) {
  return make(requests, count, mode, true, out, failed_index);
}

/* ---- tags ---------------------------------------------------------------------------------------------------- */

/* Calls `visit` for every space and hidden area of the image. Stops at the first non-zero result. Locks held. */
static int each_region(uint32_t image_id, int (*visit)(size_t index, struct region *region, void *context),
                       void *context) {
  uint32_t used = atomic_load(&pkeys_i_registry.regions_used);
  for (size_t i = 0; i < used; i++) {
    struct region region;
    pkeys_i_region_read(i, &region);
    if ((region.kind != REGION_SPACE && region.kind != REGION_HIDDEN) || region.image_id != image_id) continue;
    int result = visit(i, &region, context);
    if (result) return result;
  }
  return 0;
}

static int apply_one(size_t index, struct region *region, void *context) {
  (void)index;
  (void)context;
  if (region->bytes == 0) return 0;
  return pkeys_i_region_apply(region->address, region->bytes, pkeys_i_mechanism_access(region), region->key);
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
                                                            .key = region->key};
  return 0;
}
static int verify_locked(uint32_t image_id, uintptr_t *where) {
  struct expectations list = {.count = 0};
  each_region(image_id, expect_one, &list);
  return pkeys_i_smaps_check(list.entries, list.count, where);
}
/* Access and key of all that belongs to the image. */
static int apply_all(const struct pkeys_image *image) {
  int error = each_region(atomic_load(&image->id), apply_one, NULL);
  return error ? error : pkeys_i_apply_ranges(image);
}
static int verify_all(const struct pkeys_image *image, uintptr_t *where) {
  int error = verify_locked(atomic_load(&image->id), where);
  return error ? error : pkeys_i_verify_ranges(image, where);
}

int pkeys_image_verify_tags(const struct pkeys_image *image, uintptr_t *where) {
  int error = change_enter();
  if (error) return error;
  return change_leave(pkeys_i_image_is_open(image) ? verify_all(image, where) : -EINVAL);
}

int pkeys_image_reapply(struct pkeys_image *image) {
  int error = change_enter();
  if (error) return error;
  if (!pkeys_i_image_is_open(image)) return change_leave(-EINVAL);
  error = apply_all(image);
  return change_leave(error ? error : verify_all(image, NULL));
}

/* Key and mechanism written into each region of the image; `keys` by space, hidden areas get the first. */
struct assignment {
  enum pkeys_mechanism mechanism;
  const int *keys;
};
static int assign_one(size_t index, struct region *region, void *context) {
  const struct assignment *assignment = context;
  region->mechanism = assignment->mechanism;
  region->key = assignment->keys[region->kind == REGION_SPACE ? region->number : 0];
  pkeys_i_region_publish(index, region);
  return 0;
}
static void assign(struct pkeys_image *image, enum pkeys_mechanism mechanism, const int *keys) {
  struct assignment assignment = {mechanism, keys};
  each_region(atomic_load(&image->id), assign_one, &assignment);
  atomic_store(&image->mechanism, mechanism);
}

static int retag_loans(int key) {
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

static bool any_loans(void) { return count_regions(REGION_LOAN) > 0; }

static int set_keyed(struct pkeys_image *image, enum pkeys_mechanism mechanism) {
  int refused = pkeys_i_keys_error();
  if (refused) return refused;
  if (mechanism == PKEYS_MECHANISM_PKEYS_GLIBC && !pkeys_i_library_has_keys()) return -EOPNOTSUPP;

  size_t wanted = image->mode == PKEYS_KEY_PER_SPACE ? image->space_count : 1;
  for (uint32_t s = 1; wanted == 1 && s < image->space_count; s++) {
    struct region first, other;
    pkeys_i_region_read(image->space[0], &first);
    pkeys_i_region_read(image->space[s], &other);
    if (first.deny != other.deny) return -EINVAL;
  }
  if (wanted >= PKEYS_KEYS) return -ENOSPC;

  int taken[PKEYS_KEYS], keys[PKEYS_MAX_SPACES];
  static const int no_keys[PKEYS_MAX_SPACES];
  size_t count = 0;
  bool loan_key = pkeys_i_registry.loan_key == 0 && any_loans();
  int error = 0;
  while (!error && count < wanted + loan_key) {
    int key = pkeys_i_key_alloc();
    if (key < 0) error = key;
    else taken[count++] = key;
  }
  if (!error) {
    for (size_t s = 0; s < image->space_count; s++) keys[s] = taken[wanted == 1 ? 0 : s];
    if (loan_key) pkeys_i_registry.loan_key = taken[count - 1];
    /* Masks first: a thread that attaches now opens the new keys before any page carries one. */
    assign(image, mechanism, keys);
    pkeys_i_registry_publish_masks(true);
    error = apply_all(image);
    if (!error && loan_key) error = retag_loans(pkeys_i_registry.loan_key);
    if (!error) error = verify_all(image, NULL);
    if (!error) return 0;
    assign(image, PKEYS_MECHANISM_UNSET, no_keys);
    int undone = apply_all(image);
    if (loan_key) {
      if (!undone) undone = retag_loans(0);
      pkeys_i_registry.loan_key = 0;
    }
    pkeys_i_registry_publish_masks(false);
    /* Where pages still carry the keys, rather lose these than give them to somebody else. */
    if (undone && (loan_key || verify_all(image, NULL))) return error;
  }
  while (count > 0) pkeys_i_key_free(taken[--count]);
  return error;
}

static int set_unkeyed(struct pkeys_image *image, enum pkeys_mechanism mechanism) {
  static const int no_keys[PKEYS_MAX_SPACES];
  assign(image, mechanism, no_keys);
  pkeys_i_registry_publish_masks(false);
  if (!mechanism_is_counted(mechanism)) return 0;
  /* Published before the count is read: a callout that enters or leaves now sees it, or is seen (mechanism.c). */
  atomic_store(&pkeys_i_registry.images_stale, 1);
  int error = pkeys_i_mechanism_reconcile_locked();
  if (error) {
    assign(image, PKEYS_MECHANISM_UNSET, no_keys);
    pkeys_i_registry_publish_masks(false);
    apply_all(image);
  }
  return error;
}

int pkeys_image_set_mechanism(struct pkeys_image *image, enum pkeys_mechanism mechanism) {
  if (mechanism <= PKEYS_MECHANISM_UNSET || mechanism > PKEYS_MECHANISM_PKEYS_GLIBC) return -EINVAL;
  int error = change_enter();
  if (error) return error;
  if (!pkeys_i_image_is_open(image)) return change_leave(-EINVAL);
  uint32_t now = atomic_load(&image->mechanism);
  if (now == (uint32_t)mechanism) return change_leave(0);
  if (now != PKEYS_MECHANISM_UNSET) return change_leave(-EBUSY);
  return change_leave(mechanism_is_keyed(mechanism) ? set_keyed(image, mechanism) : set_unkeyed(image, mechanism));
}

/* ---- growing and shrinking ----------------------------------------------------------------------------------- */

static bool loans_reach_past(const struct pkeys_image *image, size_t index, size_t bytes) {
  for (size_t i = 0; i < PKEYS_MAX_LOANS; i++) {
    const struct loan *loan = &pkeys_i_registry.loans[i];
    if (loan->id && loan->image == image && loan->space_index == index && loan->offset + loan->bytes > bytes)
      return true;
  }
  return false;
}

static int resize_locked(struct pkeys_image *image, size_t index, size_t bytes) {
  struct region region;
  pkeys_i_region_read(image->space[index], &region);
  if (bytes > region.reserved) return -ENOMEM;
  if (bytes == region.bytes) return 0;
  size_t before = region.bytes;
  region.bytes = bytes;
  if (bytes > before) {
    int error = apply_fresh(region.address + before, bytes - before, pkeys_i_mechanism_access(&region), region.key);
    if (error) return error;
    struct smaps_expectation grown = {.address = region.address,
                                      .bytes = bytes,
                                      .access = pkeys_i_mechanism_settled_access(&region),
                                      .key = region.key};
    if (region.key) error = pkeys_i_smaps_check(&grown, 1, NULL);
    if (error) {
      sys_reserve(region.address + before, bytes - before, &(int){0});
      return error;
    }
    pkeys_i_region_publish(image->space[index], &region);
    return 0;
  }
  if (loans_reach_past(image, index, bytes)) return -EBUSY;
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
  int error = change_enter();
  if (error) return error;
  if (!pkeys_i_image_is_open(image) || index >= image->space_count) return change_leave(-EINVAL);
  return change_leave(bytes > PKEYS_MAX_BYTES ? -ENOMEM : resize_locked(image, index, round_up(bytes)));
}

int pkeys_space_neighbour(struct pkeys_image *image, size_t index, size_t bytes, void **out) {
  if (!out || bytes == 0 || bytes > PKEYS_GUARD_BYTES - PKEYS_PAGE) return -EINVAL;
  int error = change_enter();
  if (error) return error;
  if (!pkeys_i_image_is_open(image) || index >= image->space_count) return change_leave(-EINVAL);
  struct region region;
  pkeys_i_region_read(image->space[index], &region);
  if (region.reserved == 0) return change_leave(-EINVAL);
  size_t whole = round_up(bytes);
  error = whole > image->neighbour_bytes[index] ? pkeys_i_region_apply(region.address - whole, whole, READ_WRITE, 0)
                                                : 0;
  if (!error) {
    if (whole > image->neighbour_bytes[index]) image->neighbour_bytes[index] = whole;
    *out = (void *)(region.address - bytes);
  }
  return change_leave(error);
}

/* ---- hidden areas -------------------------------------------------------------------------------------------- */

static int hidden_locked(struct pkeys_image *image, size_t bytes, void **out) {
  if (count_regions(REGION_HIDDEN) >= MAX_HIDDEN) return -EMFILE;
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
      .protection = READ_WRITE,
  };
  error = apply_fresh(region.address, bytes, pkeys_i_mechanism_access(&region), region.key);
  if (!error && region.key) {
    struct smaps_expectation tagged = {
        .address = region.address, .bytes = bytes, .access = READ_WRITE, .key = region.key};
    error = pkeys_i_smaps_check(&tagged, 1, NULL);
  }
  if (error) {
    sys_munmap(mapping, bytes + 2 * PKEYS_PAGE);
    return error;
  }
  pkeys_i_region_publish((size_t)pkeys_i_region_free_slot(), &region);
  *out = (void *)region.address;
  return 0;
}

int pkeys_image_hidden(struct pkeys_image *image, size_t bytes, void **out) {
  if (!out || bytes == 0 || bytes > PKEYS_MAX_BYTES) return -EINVAL;
  int error = change_enter();
  if (error) return error;
  return change_leave(pkeys_i_image_is_open(image) ? hidden_locked(image, round_up(bytes), out) : -EINVAL);
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
  int error = change_enter();
  if (error) return error;
  int result = pkeys_i_image_is_open(image) ? each_region(atomic_load(&image->id), release_hidden_one, area) : 0;
  return change_leave(result == 1 ? 0 : -EINVAL);
}

/* ---- closing ------------------------------------------------------------------------------------------------- */

static bool in_use(const struct pkeys_image *image, uint32_t mechanism) {
  return image->loans > 0 || (mechanism_is_hooked(mechanism) && pkeys_i_mechanism_anyone_inside());
}

static int close_locked(struct pkeys_image *image) {
  uint32_t mechanism = atomic_load(&image->mechanism);
  if (in_use(image, mechanism)) return -EBUSY;
  struct region spaces[PKEYS_MAX_SPACES];
  static const struct region nothing;
  uint32_t keys = 0;
  for (uint32_t s = 0; s < image->space_count; s++) {
    pkeys_i_region_read(image->space[s], &spaces[s]);
    if (spaces[s].key) keys |= pkru_field(spaces[s].key);
    pkeys_i_region_publish(image->space[s], &nothing);
  }
  if (mechanism_is_hooked(mechanism)) {
    atomic_store(&image->mechanism, PKEYS_MECHANISM_UNSET);
    pkeys_i_registry_publish_masks(false);
  }
  /* Asked again now that it is unpublished: a callout that enters from here on does not see the image, one that entered
   * before is seen. */
  int error = in_use(image, mechanism) ? -EBUSY : 0;
  if (!error) {
    pkeys_i_registry_quiesce();
    if (image->reservation_bytes) error = sys_munmap(image->reservation, image->reservation_bytes);
  }
  if (error) {
    for (uint32_t s = 0; s < image->space_count; s++) pkeys_i_region_publish(image->space[s], &spaces[s]);
    if (mechanism_is_hooked(mechanism)) {
      atomic_store(&image->mechanism, mechanism);
      pkeys_i_registry_publish_masks(false);
      /* Who left meanwhile opened nothing. */
      atomic_store(&pkeys_i_registry.images_stale, 1);
      pkeys_i_mechanism_reconcile_locked();
      if (mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE) apply_all(image);
    }
    return error;
  }
  each_region(atomic_load(&image->id), release_hidden_one, NULL);
  /* Pages of the VM's that could not be untagged keep their keys from ever being given to somebody else. */
  if (pkeys_i_release_ranges(image)) keys = 0;
  atomic_store(&image->id, 0);
  atomic_store(&image->mechanism, PKEYS_MECHANISM_UNSET);
  image->space_count = 0;
  /* No page carries the keys that are left. Masks without them first, then they may be given to others. */
  pkeys_i_registry_publish_masks(false);
  for (int key = 1; key < PKEYS_KEYS; key++)
    if (keys & pkru_field(key)) pkeys_i_key_free(key);
  pkeys_i_registry_drop_loan_key();
  return 0;
}

int pkeys_image_close(struct pkeys_image *image) {
  int error = change_enter();
  if (error) return error;
  return change_leave(pkeys_i_image_is_open(image) ? close_locked(image) : -EINVAL);
}
