/*
 * image.c: images from mapping to closing. mmap(2).
 *
 * I9: an address range is reserved without access and gets access and key in one call.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

#define READ_WRITE (PROT_READ | PROT_WRITE)

/* ---- mapping ----------------------------------------------------------------------------------------------------- */

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

/* Maps and publishes into a free slot. Both locks held. */
static int map_locked(const struct pkeys_space_request *requests, const struct layout *layouts, size_t count,
                      enum pkeys_key_mode mode, struct pkeys_image **out, size_t *failed_index) {
  struct pkeys_image *image = NULL;
  for (size_t i = 0; i < PKEYS_MAX_IMAGES && !image; i++)
    /* Round robin, so that a handle kept after close does not name the next image at once. */
    if (atomic_load(&pkeys_i_registry.images[(pkeys_i_registry.next_image_id + i) % PKEYS_MAX_IMAGES].id) == 0)
      image = &pkeys_i_registry.images[(pkeys_i_registry.next_image_id + i) % PKEYS_MAX_IMAGES];
  if (!image || pkeys_i_region_count(REGION_SPACE) + count > PKEYS_MAX_ALL_SPACES) return -EMFILE;

  bool reserves = layouts[0].reserved > 0;
  size_t total = reserves ? PKEYS_GUARD_BYTES : 0;
  for (size_t i = 0; i < count && reserves; i++)
    total += layouts[i].reserved + PKEYS_GUARD_BYTES; /* at most 128 * (2^46 + 2^16): no overflow */
  int error = 0;
  uintptr_t base = reserves ? sys_reserve(0, total, &error) : 0;
  if (error) return error;

  uintptr_t address = base + PKEYS_GUARD_BYTES;
  for (size_t i = 0; i < count && reserves; i++) {
    error = pkeys_i_region_apply_fresh(address, layouts[i].bytes, READ_WRITE, 0);
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
  image->loans = image->hidden = 0;
  atomic_store(&image->pooled, 0);
  set_residence(image, 0);
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
  if (mode != PKEYS_KEY_PER_IMAGE && mode != PKEYS_KEY_PER_SPACE && mode != PKEYS_KEY_VIRTUAL) return -EINVAL;
  if (count > PKEYS_MAX_SPACES) return -EMFILE;
  struct layout layouts[PKEYS_MAX_SPACES];
  for (size_t i = 0; i < count; i++) {
    int error = check_request(requests, i, adopted, &layouts[i]);
    if (error) {
      *failed_index = i;
      return error;
    }
  }
  int error = pkeys_i_change_enter();
  if (error) return error;
  return pkeys_i_change_leave(map_locked(requests, layouts, count, mode, out, failed_index));
}

int pkeys_image_map(const struct pkeys_space_request *requests, size_t count, enum pkeys_key_mode mode,
                    struct pkeys_image **out, size_t *failed_index) {
  return make(requests, count, mode, false, out, failed_index);
}
int pkeys_image_create(const struct pkeys_space_request *requests, size_t count, enum pkeys_key_mode mode,
                       struct pkeys_image **out, size_t *failed_index) {
  return make(requests, count, mode, true, out, failed_index);
}

/* ---- what is known of it ----------------------------------------------------------------------------------------- */

uint32_t pkeys_image_id(const struct pkeys_image *image) {
  uint32_t saved = pkeys_i_reader_enter();
  uint32_t id = atomic_load(&image->id);
  pkeys_i_reader_leave(saved);
  return id;
}

enum pkeys_mechanism pkeys_image_mechanism(const struct pkeys_image *image) {
  uint32_t saved = pkeys_i_reader_enter();
  uint32_t mechanism = atomic_load(&image->mechanism);
  pkeys_i_reader_leave(saved);
  return (enum pkeys_mechanism)mechanism;
}

size_t pkeys_image_space_count(const struct pkeys_image *image) {
  uint32_t saved = pkeys_i_reader_enter();
  size_t count = image_is_open(image) ? image->space_count : 0;
  pkeys_i_reader_leave(saved);
  return count;
}

int pkeys_image_space(const struct pkeys_image *image, size_t index, struct pkeys_space *out) {
  struct region region;
  uint32_t saved = pkeys_i_reader_enter();
  bool found = image_is_open(image) && index < image->space_count;
  if (found) {
    pkeys_i_region_read(image->space[index], &region);
    found = region.kind == REGION_SPACE && region.number == index && region.image_id == atomic_load(&image->id);
  }
  pkeys_i_reader_leave(saved);
  if (!found) return -EINVAL;
  pkeys_i_space_of(&region, out);
  return 0;
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

static bool in_use(const struct pkeys_image *image, uint32_t mechanism) {
  return image->loans > 0 || (mechanism_is_hooked(mechanism) && pkeys_i_mechanism_anyone_inside());
}

static int close_locked(struct pkeys_image *image) {
  uint32_t mechanism = atomic_load(&image->mechanism);
  if (image->sealed) return -EPERM;
  if (in_use(image, mechanism)) return -EBUSY;
  bool pooled = atomic_load(&image->pooled);
  uint32_t resident = 0;
  if (pooled && pkeys_i_pool_remove(image, &resident)) return -EBUSY;
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
    pkeys_i_masks_publish(false);
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
      pkeys_i_masks_publish(false);
      /* Who left meanwhile opened nothing. */
      atomic_store(&pkeys_i_registry.images_stale, 1);
      pkeys_i_mechanism_reconcile_locked();
      if (mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE) pkeys_i_apply_image(image);
    }
    if (pooled) pkeys_i_pool_restore(image, resident);
    return error;
  }
  pkeys_i_hidden_release_all(image);
  /* Pages of the VM's that could not be untagged keep their keys from ever being given to somebody else. */
  bool untagged = pkeys_i_release_ranges(image) == 0;
  if (!untagged) keys = 0;
  if (pooled) {
    uint32_t freed = pkeys_i_pool_gone(resident, untagged);
    for (int key = 1; key < PKEYS_KEYS; key++)
      if (freed & 1u << key) keys |= pkru_field(key);
  }
  atomic_store(&image->id, 0);
  atomic_store(&image->mechanism, PKEYS_MECHANISM_UNSET);
  image->space_count = 0;
  /* No page carries the keys that are left. Masks without them first, then they may be given to others. */
  pkeys_i_masks_publish(false);
  for (int key = 1; key < PKEYS_KEYS; key++)
    if (keys & pkru_field(key)) pkeys_i_key_free(key);
  pkeys_i_loan_key_drop();
  return 0;
}

int pkeys_image_close(struct pkeys_image *image) {
  int error = pkeys_i_change_enter();
  if (error) return error;
  return pkeys_i_change_leave(image_is_open(image) ? close_locked(image) : -EINVAL);
}
