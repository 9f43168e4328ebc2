/*
 * pool.c: the hardware keys as a cache over the images with virtual keys: residence, eviction, policies.
 * pkey_mprotect(2). The words are those of pkeys_virtual.h.
 *
 * Order is what makes it safe. An eviction first takes the key's `word` away from its owner, which succeeds only while
 * no seat has the key open; a seat that comes now finds another owner and goes to the lock. Then the victim's pages are
 * closed, for all threads and whatever their PKRU. Only then does other memory get the key. So at no moment does a page
 * that is open under a key belong to another image than the one that the key's word names.
 *
 * The lock lets a signal handler in that has interrupted its owner (lock.c). A handler enters images too, and may find
 * an eviction or a load half done. It leaves keys that change hands (WAY_BUSY) alone and works with the others; what it
 * interrupted looks, after each step, whether the image that it deals with has been moved meanwhile, and then follows.
 */
#include <errno.h>

#include "pool.h"
#include "sys.h"

/* ---- pages ------------------------------------------------------------------------------------------------------- */

static int tag(const struct region *region, int key) {
  if (region->bytes == 0) return 0;
  return sys_pkey_mprotect(region->address, region->bytes,
                           key ? (int)region->protection : pkeys_i_closed_access(region),
                           key ? key : pkeys_i_closed_key(region));
}

static int tag_hidden(size_t index, struct region *region, void *context) {
  (void)index;
  return region->kind == REGION_HIDDEN ? tag(region, *(const int *)context) : 0;
}

/* All pages of the image open under `key`, or closed (0). */
static int tag_image(const struct pkeys_image *image, int key) {
  for (uint32_t s = 0; s < image->space_count; s++) {
    int error = tag(pkeys_i_region_current(image->space[s]), key);
    if (error) return error;
  }
  if (image->hidden == 0 && pkeys_i_range_count() == 0) return 0;
  struct region region;
  uint32_t id = atomic_load(&image->id);
  int error = image->hidden ? pkeys_i_each_region(id, tag_hidden, &key) : 0;
  struct range range;
  for (uintptr_t from = 0; !error && pkeys_i_range_next(from, &range); from = range.address + range.bytes)
    if (pkeys_i_range_region(&range, &region) && region.image_id == id) error = tag(&region, key);
  return error;
}

/* The image is about to get another key. What faults before the pages have it finds the key of before, a move ago. */
static void moved(struct pkeys_image *image, int key) {
  uint64_t moves = atomic_load(&image->moves);
  while (!atomic_compare_exchange_weak(&image->moves, &moves, moves << MOVE_BITS | (uint64_t)key)) continue;
}

/* ---- pins -------------------------------------------------------------------------------------------------------- */

int pkeys_i_pool_pin(const struct pkeys_image *image) {
  int key = image_key(image);
  if (key == 0) return 0;
  struct way *way = &pool->way[key];
  uint32_t owner = stripes() ? WAY_SHARED : image_number(image);
  uint64_t word = atomic_load(&way->word);
  do
    if (owner_of(word) != owner) return 0;
  while (!atomic_compare_exchange_weak(&way->word, &word, word + 1));
  pkeys_i_policy_entered(key);
  return key;
}

void pkeys_i_pool_unpin(int key) {
  uint64_t word = atomic_fetch_sub(&pool->way[key].word, 1);
  if (pins_of(word) == 1 && atomic_load(&pool->waiters) > 0) {
    atomic_fetch_add(&pool->released, 1);
    sys_futex_wake(&pool->released, INT32_MAX);
  }
}

/* ---- loading ----------------------------------------------------------------------------------------------------- */

static void vacate(int key) {
  atomic_store(&pool->way[key].word, way_word(WAY_FREE, 0));
  atomic_fetch_add(&pool->vacant, 1);
}

/* Rather lost to the pool than given away with pages under it. */
static void lose(int key) {
  pool->keys &= ~(1u << key);
  pool->lost |= 1u << key;
}

/* After a step that a signal handler may have interrupted: if the handler has made the image resident, the pages get
 * that key again. They are pinned meanwhile, so that no other handler gives the key away. */
static void follow(struct pkeys_image *image) {
  int key = pkeys_i_pool_pin(image);
  if (!key) return;
  moved(image, key);
  tag_image(image, key);
  pkeys_i_pool_unpin(key);
}

/* Closes the pages of the image that `key` was just taken from. */
static int evict(struct pkeys_image *victim, int key) {
  uint32_t residence = atomic_load(&victim->residence), owner = image_number(victim);
  /* A handler may have moved the image to another key since: then no page has this one. */
  if ((residence & RESIDENCE_KEY) != (uint32_t)key) return 0;
  if (!atomic_compare_exchange_strong(&victim->residence, &residence, residence_with(residence, 0))) return 0;
  residence = residence_with(residence, 0);
  moved(victim, 0);
  int error = tag_image(victim, 0);
  if (!error) {
    follow(victim);
    return 0;
  }
  /* A first part may be closed: to its owner's seat that is an image that is not resident. */
  if (tag_image(victim, key) == 0) {
    moved(victim, key);
    atomic_store(&pool->way[key].word, way_word(owner, 1)); /* pinned until the image says the same */
    bool back = atomic_compare_exchange_strong(&victim->residence, &residence, residence_with(residence, key));
    if (back) {
      pkeys_i_pool_unpin(key);
      return error;
    }
  }
  lose(key);
  follow(victim);
  return error;
}

/* Takes a key that no seat has open, with no page left under it: WAY_BUSY. 0: every key is pinned. */
static int claim(int *error) {
  *error = 0;
  for (;;) {
    int key = 0;
    if (atomic_load(&pool->vacant) > 0)
      for (int k = 1; k < PKEYS_KEYS && !key; k++)
        if (is_member(k) && atomic_load(&pool->way[k].word) == way_word(WAY_FREE, 0)) key = k;
    if (!key) key = pkeys_i_policy_victim();
    if (!key) return 0;
    uint64_t word = atomic_load(&pool->way[key].word);
    uint32_t owner = owner_of(word);
    if (pins_of(word) != 0 || owner == WAY_BUSY || owner == WAY_SHARED) continue;
    if (!atomic_compare_exchange_strong(&pool->way[key].word, &word, way_word(WAY_BUSY, 0))) continue;
    if (owner == WAY_FREE) {
      atomic_fetch_sub(&pool->vacant, 1);
      return key;
    }
    *error = evict(image_of(owner), key);
    if (*error) return 0;
    atomic_fetch_add_explicit(&pool->evictions, 1, memory_order_relaxed);
    return key;
  }
}

/* No page keeps the key that was claimed: all get `other` (0: they are closed). */
static int give_up(struct pkeys_image *image, int key, int other) {
  moved(image, other);
  int error = tag_image(image, other);
  if (error) lose(key);
  else vacate(key);
  return error;
}

/* Makes the image resident under the key that was claimed, and pins it. Answers the key that the image has then: a
 * signal handler may have come first. */
static int settle(struct pkeys_image *image, int key) {
  for (;;) {
    uint32_t residence = atomic_load(&image->residence);
    int handlers = pkeys_i_pool_pin(image);
    if (handlers) {
      int error = give_up(image, key, handlers);
      if (error) pkeys_i_pool_unpin(handlers);
      return error ? error : handlers;
    }
    moved(image, key);
    int error = tag_image(image, key);
    if (error) {
      give_up(image, key, 0);
      follow(image);
      return error;
    }
    atomic_store(&pool->way[key].word, way_word(image_number(image), 1));
    if (atomic_compare_exchange_strong(&image->residence, &residence, residence_with(residence, key))) break;
    /* A handler has loaded it meanwhile, and may have evicted it again. */
    atomic_store(&pool->way[key].word, way_word(WAY_BUSY, 0));
  }
  pkeys_i_policy_entered(key);
  atomic_fetch_add_explicit(&pool->loads, 1, memory_order_relaxed);
  return key;
}

/* Until a seat leaves a key. False past the limit. */
static bool wait_for_release(uint32_t released, uint64_t until_ns) {
  uint64_t now = sys_now_ns();
  if (now >= until_ns) return false;
  sys_futex_wait(&pool->released, released, until_ns - now);
  return true;
}

int pkeys_i_pool_load(struct pkeys_image *image, uint64_t limit_ns) {
  uint64_t until = 0;
  for (;;) {
    int error = 0;
    pkeys_i_lock_take(&pool->lock);
    if (!atomic_load(&image->pooled)) {
      pkeys_i_lock_give(&pool->lock);
      return -EINVAL;
    }
    int key = pkeys_i_pool_pin(image); /* another thread may have loaded it meanwhile */
    /* Announced before the last look: who leaves a key after that sees it. */
    if (until) atomic_fetch_add(&pool->waiters, 1);
    uint32_t released = atomic_load(&pool->released);
    if (!key && (key = claim(&error)) > 0) key = settle(image, key);
    pkeys_i_lock_give(&pool->lock);
    bool again = !key && !error;
    if (again && until) again = wait_for_release(released, until);
    if (until) atomic_fetch_sub(&pool->waiters, 1);
    if (key) return key;
    if (!again) return error ? error : -EBUSY;
    if (until) continue;
    if (limit_ns == 0) return -EBUSY;
    atomic_fetch_add_explicit(&pool->waits, 1, memory_order_relaxed);
    until = sys_now_ns() + limit_ns;
  }
}

/* ---- members ----------------------------------------------------------------------------------------------------- */

/* Rights to the members, as the masks and the seats want them. */
static void members_changed(void) {
  uint32_t fields = 0, denied = 0;
  for (int key = 1; key < PKEYS_KEYS; key++) {
    if (!((pool->keys | pool->lost) & 1u << key)) continue;
    fields |= pkru_field(key);
    denied |= pkru_bits(key, (enum pkeys_rights)pool->deny);
  }
  atomic_store(&pool->denied, denied);
  atomic_store(&pool->fields, fields);
}

/* One key more, if there is one that no VM thread can have open from before. -ENOSPC else. */
static int grow(void) {
  uint32_t unfit = 0;
  int key;
  while ((key = pkeys_i_key_alloc()) > 0 && (pool->broad & 1u << key)) unfit |= 1u << key;
  if (key > 0) pkeys_wrpkru(pkeys_rdpkru() | pkru_bits(key, PKEYS_NO_ACCESS));
  for (int k = 1; k < PKEYS_KEYS; k++)
    if (unfit & 1u << k) pkeys_i_key_free(k);
  if (key < 0) return key;
  if (stripes()) atomic_store(&pool->way[key].word, way_word(WAY_SHARED, 0));
  else vacate(key);
  atomic_store(&pool->way[key].stamp, 0);
  pool->keys |= 1u << key;
  return 0;
}

/* ---- stripes ----------------------------------------------------------------------------------------------------- */

static uintptr_t first_of(const struct pkeys_image *image) { return image->reservation; }
static uintptr_t last_of(const struct pkeys_image *image) { return image->reservation + image->reservation_bytes; }

/* The colour whose nearest image is farthest from this one. 0: even that is nearer than the guard. */
static int colour_of(const struct pkeys_image *image) {
  uintptr_t gap[PKEYS_KEYS];
  for (int key = 0; key < PKEYS_KEYS; key++) gap[key] = UINTPTR_MAX;
  for (size_t i = 0; i < PKEYS_MAX_IMAGES; i++) {
    const struct pkeys_image *other = &pkeys_i_registry.images[i];
    int key = image_key(other);
    if (other == image || !atomic_load(&other->pooled) || !key) continue;
    uintptr_t apart = first_of(other) >= last_of(image) ? first_of(other) - last_of(image)
                                                        : first_of(image) - last_of(other);
    if (apart < gap[key]) gap[key] = apart;
  }
  int best = 0;
  for (int key = 1; key < PKEYS_KEYS; key++)
    if (is_member(key) && (!best || gap[key] > gap[best])) best = key;
  return best && gap[best] >= pool->options.guard_bytes ? best : 0;
}

/* ---- images come and go ------------------------------------------------------------------------------------------ */

int pkeys_i_pool_add(struct pkeys_image *image, bool *grew) {
  struct region region;
  pkeys_i_region_read(image->space[0], &region);
  if (pool->images > 0 && pool->deny != region.deny) return -EINVAL;
  pool->deny = region.deny;
  uint32_t most = pool->options.ways ? pool->options.ways : PKEYS_KEYS, have = (uint32_t)__builtin_popcount(pool->keys);
  int error = have < most && have <= pool->images ? grow() : 0;
  if (error && !pool->keys) return error;
  *grew = error == 0 && have < most && have <= pool->images;
  members_changed();
  int colour = 0;
  if (stripes() && (colour = colour_of(image)) == 0) return -ENOSPC;
  error = tag_image(image, colour);
  if (error) return error;
  pool->images++;
  set_residence(image, colour);
  atomic_store(&image->moves, (uint64_t)colour);
  atomic_store(&image->pooled, 1);
  return 0;
}

int pkeys_i_pool_remove(struct pkeys_image *image, uint32_t *was) {
  *was = (uint32_t)image_key(image);
  if (*was && !stripes()) {
    uint64_t word = way_word(image_number(image), 0);
    if (!atomic_compare_exchange_strong(&pool->way[*was].word, &word, way_word(WAY_BUSY, 0))) return -EBUSY;
  }
  atomic_store(&image->pooled, 0);
  set_residence(image, 0);
  pool->images--;
  return 0;
}

void pkeys_i_pool_restore(struct pkeys_image *image, uint32_t was) {
  pool->images++;
  set_residence(image, (int)was); /* first: who takes the key finds its pages by that (evict) */
  if (was && !stripes()) atomic_store(&pool->way[was].word, way_word(image_number(image), 0));
  atomic_store(&image->pooled, 1);
}

uint32_t pkeys_i_pool_gone(uint32_t was, bool untagged) {
  if (was && !untagged) {
    lose((int)was);
  } else if (was && !stripes()) {
    vacate((int)was);
  }
  if (pool->images > 0) return 0;
  atomic_store(&pool->vacant, 0);
  uint32_t keys = pool->keys;
  pool->keys = 0;
  members_changed();
  return keys;
}

int pkeys_i_pool_key_alloc(bool locked) {
  int key = pkeys_i_key_alloc();
  if (key == -ENOSPC && __builtin_popcount(pool->keys) > 1 && !stripes()) {
    if (!locked) pkeys_i_lock_take(&pool->lock);
    int error, given = claim(&error);
    if (given > 0) {
      pool->keys &= ~(1u << given);
      members_changed();
      key = given;
    }
    if (!locked) pkeys_i_lock_give(&pool->lock);
  }
  if (key > 0) {
    pool->broad |= 1u << key;
    pkeys_wrpkru(pkeys_rdpkru() & ~pkru_field(key));
  }
  return key;
}

/* ---- for users --------------------------------------------------------------------------------------------------- */

int pkeys_virtual_configure(const struct pkeys_virtual_options *options) {
  if (!options || (unsigned)options->policy >= PKEYS_POLICIES || options->ways >= PKEYS_KEYS ||
      (options->load != PKEYS_LOAD_ON_ENTRY && options->load != PKEYS_LOAD_ON_FAULT))
    return -EINVAL;
  int error = pkeys_i_change_enter();
  if (error) return error;
  if (pool->images > 0) return pkeys_i_change_leave(-EBUSY);
  pool->options = *options;
  if (!options->nth) pool->options.nth = 8;
  if (!options->guard_bytes) pool->options.guard_bytes = PKEYS_GUARD_BYTES;
  pool->random = options->seed ? options->seed : 0x9e3779b97f4a7c15u;
  pool->misses = pool->hand = 0;
  return pkeys_i_change_leave(0);
}

struct pkeys_virtual_state pkeys_virtual_state(void) {
  struct pkeys_virtual_state state = {0};
  if (pkeys_i_change_enter()) return state;
  state.ways = (uint32_t)__builtin_popcount(pool->keys);
  state.images = pool->images;
  for (size_t i = 0; i < PKEYS_MAX_IMAGES; i++) state.resident += image_key(&pkeys_i_registry.images[i]) != 0;
  for (int key = 1; key < PKEYS_KEYS; key++)
    state.pinned += is_member(key) && pins_of(atomic_load(&pool->way[key].word)) > 0;
  state.loads = atomic_load(&pool->loads);
  state.evictions = atomic_load(&pool->evictions);
  state.waits = atomic_load(&pool->waits);
  pkeys_i_change_leave(0);
  return state;
}
