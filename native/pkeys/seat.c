/*
 * seat.c: which pooled image a thread is in, and its rights to it. [handler]: all but pkeys_seat_begin. WRPKRU,
 * pkeys(7).
 *
 * A seat's word changes in one step and says everything: a signal handler of this thread, and the masks' listener on
 * another, find it whole. Rights are widened after the pin and narrowed before the unpin:
 *
 *   pin the new image; write the word; write PKRU; unpin the old image
 *
 * At each point in between, PKRU and the word's `keep` open pinned keys alone.
 */
#include <errno.h>

#include "internal.h"

/* keep: bits 0 to 31. */
#define KEY_SHIFT 32      /* 4 bits: what is open; 0: nothing, entered or not */
#define BORROWED_SHIFT 36 /* 1 bit: the pin on that key is that of the code which was interrupted */
#define NUMBER_SHIFT 37   /* 11 bits: the image that is entered, by index + 1 */
#define ID_SHIFT 48       /* 16 bits of its id: the place in the table may be another's by now */
#define NUMBER_MASK 0x7ffu
_Static_assert(PKEYS_MAX_IMAGES <= NUMBER_MASK && PKEYS_KEYS <= 16, "fit their bits");

#define WAIT_LIMIT_NS 1000000000u

static struct pool *const pool = &pkeys_i_registry.pool;

static uint32_t keep_of(uint64_t word) { return (uint32_t)word; }
static int key_of(uint64_t word) { return (int)(word >> KEY_SHIFT & 15); }
static bool is_borrowed(uint64_t word) { return (word >> BORROWED_SHIFT & 1) != 0; }
static uint32_t number_of(uint64_t word) { return (uint32_t)(word >> NUMBER_SHIFT) & NUMBER_MASK; }
static uint64_t word_of(const struct pkeys_seat *seat) { return __atomic_load_n(&seat->word, __ATOMIC_SEQ_CST); }
static bool swap(struct pkeys_seat *seat, uint64_t *before, uint64_t after) {
  return __atomic_compare_exchange_n(&seat->word, before, after, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
static uint32_t field_of(int key) { return key ? pkru_field(key) : 0; }

static struct pkeys_image *image_of(uint64_t word) {
  uint32_t number = number_of(word);
  if (!number) return NULL;
  struct pkeys_image *image = &pkeys_i_registry.images[number - 1];
  return (uint16_t)atomic_load(&image->id) == (uint16_t)(word >> ID_SHIFT) && atomic_load(&image->pooled) ? image
                                                                                                          : NULL;
}

/* The word of `before` with another image and key; the pin is this code's own. */
static uint64_t word_with(uint64_t before, const struct pkeys_image *image, int key) {
  uint64_t keep = (keep_of(before) | field_of(key_of(before))) & ~field_of(key);
  uint64_t number = image ? image_number(image) : 0, id = image ? (uint16_t)atomic_load(&image->id) : 0;
  return keep | (uint64_t)key << KEY_SHIFT | number << NUMBER_SHIFT | id << ID_SHIFT;
}

/* The listener may change `keep` meanwhile: then again. */
static void set(struct pkeys_seat *seat, const struct pkeys_image *image, int key) {
  uint64_t before = word_of(seat);
  while (!swap(seat, &before, word_with(before, image, key)));
}

static uint32_t rights_with(uint32_t pkru, int key) {
  return (pkru & ~atomic_load(&pool->fields)) | (atomic_load(&pool->denied) & ~field_of(key));
}
/* I2: absolute for the pool's keys, others' bits kept. Nothing is written where nothing changes. */
static void write_rights(int key) {
  if (!pkeys_runtime_key()) return;
  uint32_t pkru = pkeys_rdpkru(), rights = rights_with(pkru, key);
  if (rights != pkru) pkeys_wrpkru(rights);
}

static void give_back(uint64_t word) {
  if (key_of(word) && !is_borrowed(word)) pkeys_i_pool_unpin(key_of(word));
}

/* From what is entered to `image` with `key`, which is pinned. */
static void change(struct pkeys_seat *seat, const struct pkeys_image *image, int key) {
  uint64_t before = word_of(seat);
  set(seat, image, key);
  write_rights(key);
  give_back(before);
}

void pkeys_seat_begin(struct pkeys_seat *seat) {
  *seat = (struct pkeys_seat){.hits = 0};
  __atomic_store_n(&seat->word, pkeys_masks().keep, __ATOMIC_SEQ_CST);
  write_rights(0);
}

void pkeys_seat_end(struct pkeys_seat *seat) {
  uint64_t before = word_of(seat);
  set(seat, NULL, 0);
  give_back(before);
}

int pkeys_i_seat_load(struct pkeys_seat *seat, struct pkeys_image *image) {
  int key = pkeys_i_pool_load(image, WAIT_LIMIT_NS);
  if (key < 0) return key;
  change(seat, image, key);
  return 0;
}

int pkeys_seat_enter(struct pkeys_seat *seat, struct pkeys_image *image) {
  if (image && !image_is_open(image)) return -EINVAL;
  if (!image || !atomic_load(&image->pooled)) {
    change(seat, NULL, 0);
    return 0;
  }
  uint64_t now = word_of(seat);
  if (key_of(now) && number_of(now) == image_number(image)) {
    seat->hits++;
    return 0;
  }
  int key = pkeys_i_pool_pin(image);
  if (key) {
    seat->hits++;
  } else if (pool->options.load == PKEYS_LOAD_ON_ENTRY) {
    /* The old image is left first: its key is as good as any other's, and threads that wait hold none. */
    seat->misses++;
    change(seat, NULL, 0);
    key = pkeys_i_pool_load(image, WAIT_LIMIT_NS);
    if (key < 0) return key;
  }
  change(seat, image, key);
  return 0;
}

struct pkeys_image *pkeys_seat_image(const struct pkeys_seat *seat) { return image_of(word_of(seat)); }

static bool contains(const struct pkeys_image *image, uintptr_t address) {
  struct region region;
  for (uint32_t s = 0; s < image->space_count; s++) {
    pkeys_i_region_read(image->space[s], &region);
    if (address - region.address < region.bytes) return true;
  }
  return pkeys_i_region_find(address, &region) && region.image_id == atomic_load(&image->id) &&
         address - region.address < region.bytes;
}

bool pkeys_seat_fault(struct pkeys_seat *seat, uintptr_t address) {
  uint64_t now = word_of(seat);
  struct pkeys_image *image = image_of(now);
  if (!image || key_of(now) || !contains(image, address)) return false;
  seat->misses++;
  int key = pkeys_i_pool_load(image, WAIT_LIMIT_NS);
  if (key > 0) set(seat, image, key);
  return key > 0;
}

/* What push saves fits the upper half of the word, and pop puts it back with the `keep` of its day. */
struct pkeys_seat_saved pkeys_seat_push(struct pkeys_seat *seat) {
  uint64_t before = __atomic_fetch_or(&seat->word, 1ull << BORROWED_SHIFT, __ATOMIC_SEQ_CST);
  if (key_of(before)) write_rights(key_of(before)); /* a signal handler starts without */
  return (struct pkeys_seat_saved){(uint32_t)(before >> 32)};
}

void pkeys_seat_pop(struct pkeys_seat *seat, struct pkeys_seat_saved saved) {
  uint64_t before = __atomic_load_n(&seat->word, __ATOMIC_SEQ_CST), outer = (uint64_t)saved.part << 32, after;
  do {
    uint32_t keep = (keep_of(before) | field_of(key_of(before))) & ~field_of(key_of(outer));
    after = keep | outer;
  } while (!swap(seat, &before, after));
  if (key_of(before) != key_of(outer)) write_rights(key_of(outer));
  give_back(before);
}

uint32_t pkeys_seat_rights(const struct pkeys_seat *seat, uint32_t pkru) {
  uint64_t word = word_of(seat);
  return rights_with(pkru & keep_of(word), key_of(word));
}

void pkeys_seat_keep(struct pkeys_seat *seat, uint32_t keep) {
  uint64_t before = __atomic_load_n(&seat->word, __ATOMIC_SEQ_CST), after;
  do after = (before & ~(uint64_t)UINT32_MAX) | (keep & ~field_of(key_of(before)));
  while (!swap(seat, &before, after));
}
