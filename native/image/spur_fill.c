/*
 * spur_fill.c: a deterministic object graph in the 64-bit Spur format.
 *
 * One pass, one pseudo-random word per slot, no look-back: it also runs in an emulated machine. Pointers go to objects
 * made earlier, taken from two small samples (the root area's and the area's own), so they are object starts by
 * construction.
 */
#include "spur.h"

#include <errno.h>
#include <string.h>

#define SAMPLES 512u            /* a power of two */
#define TAIL_BYTES 64u          /* an area is closed by a free chunk once less than this is left for certain */
#define LARGE_AREA (256u << 10) /* from this size on: large objects, and a class table of full size */

struct filler {
  uint64_t state; /* xorshift64* */
  uint8_t *at, *end;
  uint64_t nil;
  uint64_t root_samples[SAMPLES], own_samples[SAMPLES];
  uint64_t own_count;
  uint64_t last_free; /* oop of the last free chunk in this area */
  bool in_root, large;
  struct spur_filled *out;
};

static inline uint64_t next(struct filler *f) {
  uint64_t x = f->state;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  f->state = x;
  return x * 0x2545f4914f6cdd1dull;
}
/* splitmix64: a good state from any seed, 0 included. */
static uint64_t mix(uint64_t seed) {
  seed += 0x9e3779b97f4a7c15ull;
  seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9ull;
  seed = (seed ^ seed >> 27) * 0x94d049bb133111ebull;
  seed ^= seed >> 31;
  return seed ? seed : 1;
}

static inline uint64_t small_int(int64_t value) { return (uint64_t)value << 3 | 1; }

static inline size_t object_bytes(uint64_t slots) {
  return (slots >= SPUR_SLOTS_OVERFLOW ? 16u : 8u) + 8 * (size_t)(slots ? slots : 1);
}
static inline bool fits(const struct filler *f, uint64_t slots) {
  return (size_t)(f->end - f->at) >= object_bytes(slots) + TAIL_BYTES;
}
/* Writes the header; gives the slots. The one slot of an empty object is cleared: it is padding. */
static inline uint64_t *header(struct filler *f, uint32_t class_index, uint32_t format, uint64_t slots, uint32_t hash) {
  uint64_t *words = (uint64_t *)(void *)f->at;
  f->at += object_bytes(slots);
  if (slots >= SPUR_SLOTS_OVERFLOW) {
    *words++ = (uint64_t)SPUR_SLOTS_OVERFLOW << 56 | slots;
    *words++ = spur_header(class_index, format, hash, SPUR_SLOTS_OVERFLOW);
  } else {
    *words++ = spur_header(class_index, format, hash, (uint32_t)slots);
    if (!slots) *words = 0;
  }
  if (class_index != SPUR_CLASS_FREE) f->out->objects++;
  return words;
}
static inline uint64_t oop_of(const uint64_t *slots) { return (uint64_t)(uintptr_t)(slots - 1); }

/* Takes an object into the samples. The root area's sample keeps objects from all over it: after the first ones, one in
 * eight replaces any other. */
static inline void remember(struct filler *f, const uint64_t *slots, uint64_t random) {
  uint64_t oop = oop_of(slots), i = f->own_count++;
  f->own_samples[i & (SAMPLES - 1)] = oop;
  if (!f->in_root) return;
  if (i < SAMPLES) f->root_samples[i] = oop;
  else if ((random & 7) == 0) f->root_samples[random >> 3 & (SAMPLES - 1)] = oop;
}

static inline uint64_t value(struct filler *f) {
  uint64_t r = next(f), choice = r >> 60;
  if (choice < 4) return small_int((int64_t)r >> 40);
  if (choice == 4) return (r >> 20 & 0x10ffff) << 3 | 2; /* a Character up to U+10FFFF */
  if (choice == 5) return (r & ~(uint64_t)7) | 4;        /* a SmallFloat */
  if (choice == 6) return f->nil;
  f->out->pointers++;
  return choice < 12 ? f->root_samples[r >> 8 & (SAMPLES - 1)] : f->own_samples[r >> 8 & (SAMPLES - 1)];
}

static inline void pointers(struct filler *f, uint64_t *slots, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) slots[i] = value(f);
}
static inline void bits(struct filler *f, uint64_t *slots, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) slots[i] = next(f);
}

static void free_chunk(struct filler *f, size_t bytes) {
  uint64_t slots = bytes / 8 - 1;
  if (slots >= SPUR_SLOTS_OVERFLOW) slots--;
  uint64_t *body = header(f, SPUR_CLASS_FREE, 0, slots, 0);
  memset(body, 0, slots * 8);
  body[0] = f->last_free;
  f->last_free = oop_of(body);
  f->out->free_chunks++;
}

/* One object. False when the area is to be closed. */
static bool make_object(struct filler *f) {
  uint64_t r = next(f), choice = r & 63;
  uint32_t hash = (uint32_t)(r >> 40) & 0x3fffffu;
  uint64_t *slots, count;
  if (choice < 16) {
    if (!fits(f, 2)) return false;
    slots = header(f, choice < 8 ? SPUR_CLASS_POINT : SPUR_CLASS_ASSOCIATION, SPUR_FIXED, 2, hash);
    pointers(f, slots, 2);
  } else if (choice < 28) {
    if (!fits(f, 3)) return false;
    slots = header(f, SPUR_CLASS_COLLECTION, SPUR_FIXED, 3, hash);
    pointers(f, slots, 3);
  } else if (choice < 42) {
    count = r >> 8 & 15;
    if (!fits(f, count)) return false;
    slots = header(f, SPUR_CLASS_ARRAY, SPUR_INDEXABLE, count, hash);
    pointers(f, slots, count);
  } else if (choice < 54) { /* strings up to 64 bytes, byte arrays up to 512 */
    uint64_t length = 1 + (choice < 50 ? r >> 8 & 63 : r >> 8 & 511);
    count = (length + 7) / 8;
    if (!fits(f, count)) return false;
    slots = header(f, choice < 50 ? SPUR_CLASS_STRING : SPUR_CLASS_BYTE_ARRAY,
                   SPUR_BYTES + (uint32_t)(count * 8 - length), count, hash);
    bits(f, slots, count);
  } else if (choice < 58) {
    static const struct {
      uint32_t class_index, format, odd;
    } kinds[4] = {
        {SPUR_CLASS_BITS_64, SPUR_BITS_64, 0},
        {SPUR_CLASS_BITS_32, SPUR_BITS_32, 1},
        {SPUR_CLASS_BITS_16, SPUR_BITS_16, 3},
        {SPUR_CLASS_FLOAT, SPUR_BITS_32, 0},
    };
    unsigned k = (unsigned)choice - 54;
    count = k == 3 ? 1 : 1 + (r >> 8 & 31);
    if (!fits(f, count)) return false;
    slots = header(f, kinds[k].class_index, kinds[k].format + ((uint32_t)(r >> 16) & kinds[k].odd), count, hash);
    bits(f, slots, count);
  } else if (choice < 60) { /* a compiled method: header, literals, bytecodes */
    uint64_t literals = 1 + (r >> 8 & 7), code = 1 + (r >> 12 & 15);
    count = 1 + literals + code;
    if (!fits(f, count)) return false;
    slots = header(f, SPUR_CLASS_METHOD, SPUR_METHOD + ((uint32_t)(r >> 20) & 7), count, hash);
    slots[0] = small_int((int64_t)(literals | (r >> 24 & 15) << 24));
    pointers(f, slots + 1, literals);
    bits(f, slots + 1 + literals, code);
  } else if (choice ==
             60) { /* a context: six fixed fields, then what its stack pointer says, then what was there before */
    uint64_t used = r >> 8 & 15;
    count = 6 + 16;
    if (!fits(f, count)) return false;
    slots = header(f, SPUR_CLASS_CONTEXT, SPUR_FIXED_INDEXABLE, count, hash);
    pointers(f, slots, 6 + used);
    slots[2] = small_int((int64_t)used);
    bits(f, slots + 6 + used, 16 - used);
  } else if (choice == 61) {
    bool weak = r >> 8 & 1;
    count = weak ? 1 + (r >> 9 & 7) : 2;
    if (!fits(f, count)) return false;
    slots = header(f, weak ? SPUR_CLASS_WEAK_ARRAY : SPUR_CLASS_EPHEMERON, weak ? SPUR_WEAK : SPUR_EPHEMERON, count,
                   hash);
    pointers(f, slots, count);
  } else if (choice == 62) {
    count = 1 + (r >> 8 & 31);
    if (!fits(f, count)) return false;
    free_chunk(f, object_bytes(count));
    return true;
  } else if (f->large && (r >> 8 & 3) == 0) { /* large enough for an overflow word */
    count = SPUR_SLOTS_OVERFLOW + (r >> 16 & 511);
    if (!fits(f, count)) return false;
    bool array = r >> 10 & 1;
    slots = header(f, array ? SPUR_CLASS_ARRAY : SPUR_CLASS_BITS_64, array ? SPUR_INDEXABLE : SPUR_BITS_64, count,
                   hash);
    if (array) pointers(f, slots, count);
    else bits(f, slots, count);
  } else {
    bool positive = r >> 8 & 1;
    if (!fits(f, 1)) return false;
    slots = header(f, positive ? SPUR_CLASS_LARGE_POSITIVE : SPUR_CLASS_LARGE_NEGATIVE, SPUR_BYTES, 1, hash);
    bits(f, slots, 1);
  }
  if ((r >> 32 & 31) == 0) ((uint64_t *)(uintptr_t)oop_of(slots))[0] |= SPUR_PINNED;
  if ((r >> 32 & 63) == 1) ((uint64_t *)(uintptr_t)oop_of(slots))[0] |= SPUR_IMMUTABLE;
  remember(f, slots, r >> 48);
  return true;
}

struct class_row {
  uint32_t index, format, fixed;
  const char *name;
};
static const struct class_row classes[] = {
    {SPUR_CLASS_LARGE_NEGATIVE, SPUR_BYTES, 0, "LargeNegativeInteger"},
    {SPUR_CLASS_LARGE_POSITIVE, SPUR_BYTES, 0, "LargePositiveInteger"},
    {SPUR_CLASS_FLOAT, SPUR_BITS_32, 0, "BoxedFloat64"},
    {SPUR_CLASS_METHOD, SPUR_METHOD, 0, "CompiledMethod"},
    {SPUR_CLASS_CONTEXT, SPUR_FIXED_INDEXABLE, 6, "Context"},
    {SPUR_CLASS_CLOSURE, SPUR_FIXED_INDEXABLE, 3, "BlockClosure"},
    {SPUR_CLASS_UNDEFINED, SPUR_ZERO_SIZED, 0, "UndefinedObject"},
    {SPUR_CLASS_FALSE, SPUR_ZERO_SIZED, 0, "False"},
    {SPUR_CLASS_TRUE, SPUR_ZERO_SIZED, 0, "True"},
    {SPUR_CLASS_CLASS, SPUR_FIXED, 4, "Class"},
    {SPUR_CLASS_POINT, SPUR_FIXED, 2, "Point"},
    {SPUR_CLASS_ASSOCIATION, SPUR_FIXED, 2, "Association"},
    {SPUR_CLASS_COLLECTION, SPUR_FIXED, 3, "OrderedCollection"},
    {SPUR_CLASS_BITS_64, SPUR_BITS_64, 0, "DoubleWordArray"},
    {SPUR_CLASS_BITS_32, SPUR_BITS_32, 0, "Bitmap"},
    {SPUR_CLASS_BITS_16, SPUR_BITS_16, 0, "DoubleByteArray"},
    {SPUR_CLASS_WEAK_ARRAY, SPUR_WEAK, 0, "WeakArray"},
    {SPUR_CLASS_EPHEMERON, SPUR_EPHEMERON, 2, "Ephemeron"},
    {SPUR_CLASS_BYTE_ARRAY, SPUR_BYTES, 0, "ByteArray"},
    {SPUR_CLASS_ARRAY, SPUR_INDEXABLE, 0, "Array"},
    {SPUR_CLASS_STRING, SPUR_BYTES, 0, "ByteString"},
};

static uint64_t make_string(struct filler *f, const char *text) {
  size_t length = strlen(text), count = (length + 7) / 8;
  uint64_t *slots = header(f, SPUR_CLASS_STRING, SPUR_BYTES + (uint32_t)(count * 8 - length), count,
                           (uint32_t)mix(length + (uint8_t)text[0]) & 0x3fffffu);
  slots[count - 1] = 0;
  memcpy(slots, text, length);
  return oop_of(slots);
}

/* nil, false, true, free lists, hidden roots, the first page of the class table, the classes. */
static void make_roots(struct filler *f) {
  f->nil = oop_of(header(f, SPUR_CLASS_UNDEFINED, SPUR_ZERO_SIZED, 0, 1));
  header(f, SPUR_CLASS_FALSE, SPUR_ZERO_SIZED, 0, 2);
  header(f, SPUR_CLASS_TRUE, SPUR_ZERO_SIZED, 0, 3);
  uint64_t lists = f->large ? 64 : 8, pages = f->large ? 4096 + 8 : 8, page_slots = f->large ? 1024 : 64;
  memset(header(f, SPUR_CLASS_BITS_64_PUN, SPUR_BITS_64, lists, 0), 0, lists * 8);
  uint64_t *roots = header(f, SPUR_CLASS_ARRAY_PUN, SPUR_INDEXABLE, pages, 0);
  uint64_t *page = header(f, SPUR_CLASS_ARRAY_PUN, SPUR_INDEXABLE, page_slots, 0);
  for (uint64_t i = 0; i < pages; i++) roots[i] = f->nil;
  for (uint64_t i = 0; i < page_slots; i++) page[i] = f->nil;
  roots[0] = oop_of(page);
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    uint64_t name = make_string(f, classes[i].name);
    uint64_t *k = header(f, SPUR_CLASS_CLASS, SPUR_FIXED, 4, classes[i].index);
    k[0] = f->nil;                                                           /* superclass */
    k[1] = f->nil;                                                           /* method dictionary */
    k[2] = small_int((int64_t)(classes[i].format << 16 | classes[i].fixed)); /* instance specification */
    k[3] = name;
    page[classes[i].index] = oop_of(k);
    remember(f, k, 0);
  }
  /* the samples are full from the start, so that no slot needs to ask */
  for (uint64_t i = f->own_count; i < SAMPLES; i++) f->root_samples[i] = f->root_samples[i % f->own_count];
}

static void fill_area(struct filler *f, const struct spur_area *area, bool root, uint64_t seed) {
  f->state = mix(seed);
  f->at = area->bytes;
  f->end = f->at + area->size;
  f->own_count = 0;
  f->last_free = 0;
  f->in_root = root;
  f->large = area->size >= LARGE_AREA;
  if (root) make_roots(f);
  for (uint64_t i = 0; i < SAMPLES; i++) f->own_samples[i] = f->root_samples[i];
  while (make_object(f)) {}
  size_t rest = (size_t)(f->end - f->at);
  if (rest == 2048) { /* the one size no chunk has: 255 words after the header would need an overflow word, 254 leave
                         one over */
    uint64_t *slots = header(f, SPUR_CLASS_LARGE_POSITIVE, SPUR_BYTES, 1, 1);
    bits(f, slots, 1);
    rest -= 16;
  }
  free_chunk(f, rest);
}

int spur_fill(const struct spur_area *areas, size_t count, size_t root, uint64_t seed, struct spur_filled *out) {
  struct spur_filled ignored;
  if (!out) out = &ignored;
  memset(out, 0, sizeof *out);
  if (!areas || count == 0 || root >= count) return -EINVAL;
  for (size_t i = 0; i < count; i++)
    if (!areas[i].bytes || ((uintptr_t)areas[i].bytes & 7) || (areas[i].size & 7) ||
        areas[i].size < (i == root ? SPUR_MIN_ROOT_BYTES : 32u))
      return -EINVAL;
  struct filler f = {.out = out};
  fill_area(&f, &areas[root], true, mix(seed) + root);
  for (size_t i = 0; i < count; i++)
    if (i != root) fill_area(&f, &areas[i], false, mix(seed) + i);
  return 0;
}
