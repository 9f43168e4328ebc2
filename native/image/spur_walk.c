/*
 * spur_walk.c: walking a heap that may hold anything.
 *
 * Two passes. The first follows the chain of objects in every segment and notes where objects start; the second looks
 * at each object's header, class and slots. Every read is inside a segment by construction: an object is looked at only
 * after its size was found to fit. Nothing here trusts a number from the heap further than that. The readers are
 * written once and instantiated for each word size and byte order, so that the common case (64 bits, native order)
 * costs no test per word.
 */
#include "spur.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

const char *spur_problem_name(enum spur_problem_kind kind) {
  static const char *const names[SPUR_PROBLEM_KINDS] = {
      [SPUR_OK] = "ok",
      [SPUR_BAD_CHAIN] = "bad-chain",
      [SPUR_BAD_HEADER] = "bad-header",
      [SPUR_BAD_FORMAT] = "bad-format",
      [SPUR_BAD_CLASS] = "bad-class",
      [SPUR_FORMAT_MISMATCH] = "format-mismatch",
      [SPUR_BAD_CLASS_HASH] = "bad-class-hash",
      [SPUR_BAD_POINTER] = "bad-pointer",
      [SPUR_POINTER_TO_FREE] = "pointer-to-free",
      [SPUR_BAD_TAG] = "bad-tag",
      [SPUR_BAD_METHOD] = "bad-method",
      [SPUR_BAD_FREE_CHUNK] = "bad-free-chunk",
      [SPUR_BAD_ROOTS] = "bad-roots",
      [SPUR_BAD_FILE] = "bad-file",
  };
  return (unsigned)kind < SPUR_PROBLEM_KINDS ? names[kind] : "unknown";
}

#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t load32(const uint8_t *p, bool swap) {
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return swap ? __builtin_bswap32(v) : v;
}
/* A 64-bit unit. In a heap of 32-bit words the two halves keep their order and each is swapped. */
INLINE uint64_t load64(const uint8_t *p, unsigned word, bool swap) {
  if (word == 4) return (uint64_t)load32(p, swap) | (uint64_t)load32(p + 4, swap) << 32;
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return swap ? __builtin_bswap64(v) : v;
}
INLINE uint64_t load_word(const uint8_t *p, unsigned word, bool swap) {
  return word == 8 ? load64(p, 8, swap) : load32(p, swap);
}

struct walker {
  const struct spur_heap *heap;
  struct spur_problem *problems;
  size_t capacity;
  struct spur_report *report;
  unsigned unit_shift;                 /* objects start at multiples of 1 << unit_shift */
  uint64_t *starts[SPUR_MAX_SEGMENTS]; /* one bit per unit */
  uint64_t *frees[SPUR_MAX_SEGMENTS];
  uint64_t walked[SPUR_MAX_SEGMENTS]; /* bytes covered by the chain */
  void *maps;
  size_t maps_bytes;
  uint32_t *specs; /* Spur: per class index; 0: no such class, else SPEC_* */
  uint64_t nil;
  uint64_t compact[32]; /* V3: oops of the compact classes, 0 where none */
};
#define SPEC_PRESENT 0x80000000u
#define SPEC_KNOWN 0x40000000u /* the instance specification was readable: 5 bits of format, 16 of fixed fields */
#define SPEC_CLASSES ((size_t)1 << SPUR_CLASS_BITS)
#define PAGE_SLOTS 1024u /* classes in a page of the class table */

static void problem(struct walker *w, enum spur_problem_kind kind, uint32_t segment, uint64_t offset, uint64_t object,
                    uint64_t class_index, int64_t slot, uint64_t value) {
  struct spur_report *r = w->report;
  r->problems++;
  r->by_kind[kind]++;
  r->segments[segment].problems++;
  if (r->kept < w->capacity)
    w->problems[r->kept++] = (struct spur_problem){.kind = kind,
                                                   .segment = segment,
                                                   .offset = offset,
                                                   .object = object,
                                                   .class_index = class_index,
                                                   .slot = slot,
                                                   .value = value};
}

INLINE void bit_set(uint64_t *map, uint64_t bit) { map[bit >> 6] |= (uint64_t)1 << (bit & 63); }
INLINE bool bit_get(const uint64_t *map, uint64_t bit) { return map[bit >> 6] >> (bit & 63) & 1; }

/* The segment that holds `address`, or -1. `guess` is tried first: most pointers stay at home. */
INLINE int locate(const struct walker *w, uint64_t address, uint32_t guess, uint64_t *offset) {
  const struct spur_segment *s = w->heap->segments;
  if (address - s[guess].address < s[guess].size) {
    *offset = address - s[guess].address;
    return (int)guess;
  }
  for (uint32_t i = 0; i < w->heap->count; i++)
    if (address - s[i].address < s[i].size) {
      *offset = address - s[i].address;
      return (int)i;
    }
  return -1;
}

enum reach { REACH_OBJECT, REACH_FREE, REACH_NOTHING };

INLINE enum reach reach(const struct walker *w, uint64_t address, uint32_t guess, int *segment, uint64_t *offset) {
  int s = locate(w, address, guess, offset);
  *segment = s;
  if (s < 0 || (*offset & (((uint64_t)1 << w->unit_shift) - 1))) return REACH_NOTHING;
  if (*offset >= w->walked[s]) return REACH_OBJECT; /* behind a broken chain, which is reported once */
  uint64_t bit = *offset >> w->unit_shift;
  if (!bit_get(w->starts[s], bit)) return REACH_NOTHING;
  return bit_get(w->frees[s], bit) ? REACH_FREE : REACH_OBJECT;
}

/* ---- Spur ---------------------------------------------------------------------------------------------------- */

struct chunk {
  uint64_t start, object, end; /* start: with the overflow word; object: the header's offset */
  uint64_t header, slots;
  bool overflow;
};

/* The chunk at `start`. False if it does not fit into `size` bytes. */
INLINE bool spur_chunk(const uint8_t *bytes, uint64_t size, uint64_t start, unsigned word, bool swap, struct chunk *c) {
  if (size - start < 16) return false;
  uint64_t header = load64(bytes + start, word, swap);
  c->start = start;
  c->overflow = spur_slots_of(header) == SPUR_SLOTS_OVERFLOW;
  if (__builtin_expect(c->overflow, 0)) {
    c->slots = header & 0x00ffffffffffffffu;
    c->object = start + 8;
    c->header = load64(bytes + c->object, word, swap);
  } else {
    c->slots = spur_slots_of(header);
    c->object = start;
    c->header = header;
  }
  uint64_t room = size - c->object - 8;
  if (c->slots > room / word) return false;
  uint64_t body = (c->slots * word + 7) & ~(uint64_t)7;
  if (body == 0) body = 8;
  if (body > room) return false;
  c->end = c->object + 8 + body;
  return true;
}

INLINE void spur_pass1(struct walker *w, uint32_t segment, unsigned word, bool swap) {
  const struct spur_segment *s = &w->heap->segments[segment];
  const uint8_t *bytes = s->bytes;
  struct spur_segment_report *r = &w->report->segments[segment];
  uint64_t at = 0;
  struct chunk c;
  while (at < s->size) {
    if (!spur_chunk(bytes, s->size, at, word, swap, &c)) {
      uint64_t header = s->size - at >= 8 ? load64(bytes + at, word, swap) : 0;
      problem(w, SPUR_BAD_CHAIN, segment, at, at, spur_class_of(header), -1, header);
      break;
    }
    bit_set(w->starts[segment], c.object >> 3);
    if (spur_class_of(c.header) == SPUR_CLASS_FREE) {
      bit_set(w->frees[segment], c.object >> 3);
      r->free_chunks++;
      r->free_bytes += c.end - c.start;
    } else {
      r->objects++;
    }
    at = c.end;
  }
  w->walked[segment] = at;
  r->walked_bytes = at;
}

/* The object that a pointer names, if it is one inside the walked part. */
INLINE bool spur_follow(const struct walker *w, uint64_t oop, unsigned word, bool swap, int *segment, struct chunk *c) {
  uint64_t offset;
  if ((oop & 7) || reach(w, oop, w->heap->root, segment, &offset) != REACH_OBJECT || offset >= w->walked[*segment])
    return false;
  const struct spur_segment *s = &w->heap->segments[*segment];
  uint64_t header = load64((const uint8_t *)s->bytes + offset, word, swap);
  uint64_t start = offset;
  if (spur_slots_of(header) == SPUR_SLOTS_OVERFLOW && offset >= 8) start = offset - 8;
  return spur_chunk(s->bytes, s->size, start, word, swap, c) && c->object == offset;
}

INLINE uint64_t slot_at(const struct spur_segment *s, const struct chunk *c, uint64_t slot, unsigned word, bool swap) {
  return load_word((const uint8_t *)s->bytes + c->object + 8 + slot * word, word, swap);
}

INLINE bool is_small_integer(uint64_t value, unsigned word) { return word == 8 ? (value & 7) == 1 : value & 1; }
INLINE int64_t small_integer(uint64_t value, unsigned word) {
  return word == 8 ? (int64_t)value >> 3 : (int32_t)value >> 1;
}

/* The first five objects: nil, false, true, the free lists, the hidden roots with the pages of the class table. */
INLINE void spur_roots(struct walker *w, unsigned word, bool swap) {
  uint32_t root = w->heap->root;
  const struct spur_segment *s = &w->heap->segments[root];
  struct chunk c[5];
  uint64_t at = 0;
  for (unsigned i = 0; i < 5; i++) {
    if (at >= w->walked[root] || !spur_chunk(s->bytes, s->size, at, word, swap, &c[i])) {
      problem(w, SPUR_BAD_ROOTS, root, at, at, 0, -1, i);
      return;
    }
    bool fits = spur_class_of(c[i].header) != SPUR_CLASS_FREE &&
                (i < 3    ? spur_format_of(c[i].header) == SPUR_ZERO_SIZED
                 : i == 3 ? spur_format_of(c[i].header) >= SPUR_BITS_64 && spur_format_of(c[i].header) < SPUR_METHOD
                          : spur_format_of(c[i].header) == SPUR_INDEXABLE && c[i].slots > 0);
    if (!fits) {
      problem(w, SPUR_BAD_ROOTS, root, c[i].object, c[i].object, spur_class_of(c[i].header), -1, c[i].header);
      if (i == 4) return;
    }
    at = c[i].end;
  }
  w->nil = s->address + c[0].object;
  uint64_t pages = c[4].slots < SPEC_CLASSES / PAGE_SLOTS ? c[4].slots : SPEC_CLASSES / PAGE_SLOTS;
  for (uint64_t p = 0; p < pages; p++) {
    uint64_t oop = slot_at(s, &c[4], p, word, swap);
    if (oop == w->nil) continue;
    int page_segment;
    struct chunk page;
    if (!spur_follow(w, oop, word, swap, &page_segment, &page) || spur_format_of(page.header) != SPUR_INDEXABLE) {
      problem(w, SPUR_BAD_ROOTS, root, c[4].object + 8 + p * word, c[4].object, spur_class_of(c[4].header), (int64_t)p,
              oop);
      continue;
    }
    const struct spur_segment *ps = &w->heap->segments[page_segment];
    uint64_t count = page.slots < PAGE_SLOTS ? page.slots : PAGE_SLOTS;
    for (uint64_t i = 0; i < count; i++) {
      uint64_t class_oop = slot_at(ps, &page, i, word, swap);
      if (class_oop == w->nil) continue;
      uint64_t index = p * PAGE_SLOTS + i;
      int class_segment;
      struct chunk k;
      if (!spur_follow(w, class_oop, word, swap, &class_segment, &k)) continue; /* reported as a bad pointer */
      uint32_t spec = SPEC_PRESENT;
      const struct spur_segment *ks = &w->heap->segments[class_segment];
      if (k.slots >= 3 && spur_format_of(k.header) <= SPUR_EPHEMERON) {
        uint64_t value = slot_at(ks, &k, 2, word, swap);
        if (is_small_integer(value, word)) spec |= SPEC_KNOWN | ((uint32_t)small_integer(value, word) & 0x1fffffu);
      }
      w->specs[index] = spec;
      w->report->classes++;
      if (w->heap->strict && index > SPUR_LAST_PUN && spur_hash_of(k.header) != index)
        problem(w, SPUR_BAD_CLASS_HASH, (uint32_t)class_segment, k.object, k.object, spur_class_of(k.header), -1,
                k.header);
    }
  }
}

INLINE bool format_exists(uint32_t format, uint64_t slots, uint32_t class_index, unsigned word) {
  if (format == 6 || format == 8) return false;
  if (format == SPUR_FORWARDED) return class_index == SPUR_CLASS_FORWARDED && slots > 0;
  if (format == SPUR_ZERO_SIZED) return slots == 0;
  if (format < SPUR_BITS_32) return true;
  /* the low bits of the other formats count the unused elements of the last slot */
  uint32_t odd = format < SPUR_BITS_16 ? format & 1 : format < SPUR_BYTES ? format & 3 : format & 7;
  uint32_t per_slot = format < SPUR_BITS_16 ? word / 4 : format < SPUR_BYTES ? word / 2 : word;
  return odd < per_slot && (odd == 0 || slots > 0);
}

/* Whether a class with this instance specification makes objects of this format and size. */
INLINE bool spec_makes(uint32_t spec, uint32_t format, uint64_t slots) {
  uint32_t made = spec >> 16 & 31u, fixed = spec & 0xffffu;
  if (made <= SPUR_EPHEMERON) {
    if (format != made) return false;
    return made == SPUR_ZERO_SIZED || made == SPUR_FIXED || made == SPUR_EPHEMERON ? slots == fixed : slots >= fixed;
  }
  if (made < SPUR_BITS_32) return format == made;
  if (made < SPUR_BITS_16) return format >= SPUR_BITS_32 && format < SPUR_BITS_16;
  if (made < SPUR_BYTES) return format >= SPUR_BITS_16 && format < SPUR_BYTES;
  if (made < SPUR_METHOD) return format >= SPUR_BYTES && format < SPUR_METHOD;
  return format >= SPUR_METHOD;
}

INLINE void spur_slot(struct walker *w, uint32_t segment, const struct spur_segment *s, const struct chunk *c,
                      uint64_t slot, unsigned word, bool swap) {
  uint64_t value = slot_at(s, c, slot, word, swap);
  enum spur_problem_kind kind = SPUR_OK;
  unsigned tag = word == 8 ? value & 7 : value & 3;
  if (tag == 0) {
    int to;
    uint64_t offset;
    w->report->pointers++;
    enum reach found = reach(w, value, segment, &to, &offset);
    if (found != REACH_OBJECT) kind = found == REACH_FREE ? SPUR_POINTER_TO_FREE : SPUR_BAD_POINTER;
  } else if (word == 8 && tag != 1 && tag != 2 && tag != 4) {
    kind = SPUR_BAD_TAG;
  }
  if (__builtin_expect(kind != SPUR_OK, 0))
    problem(w, kind, segment, c->object + 8 + slot * word, c->object, spur_class_of(c->header), (int64_t)slot, value);
}

INLINE void spur_free_chunk(struct walker *w, uint32_t segment, const struct spur_segment *s, const struct chunk *c,
                            unsigned word, bool swap) {
  if (!w->heap->strict) return;
  if ((c->header & 0x00ffffffffffffffu) || c->slots == 0) {
    problem(w, SPUR_BAD_FREE_CHUNK, segment, c->object, c->object, 0, -1, c->header);
    return;
  }
  uint64_t link = slot_at(s, c, 0, word, swap);
  int to;
  uint64_t offset;
  if (link && reach(w, link, segment, &to, &offset) != REACH_FREE)
    problem(w, SPUR_BAD_FREE_CHUNK, segment, c->object + 8, c->object, 0, 0, link);
}

INLINE void spur_pass2(struct walker *w, uint32_t segment, unsigned word, bool swap) {
  const struct spur_segment *s = &w->heap->segments[segment];
  const bool strict = w->heap->strict;
  uint64_t at = 0, end = w->walked[segment];
  struct chunk c;
  while (at < end && spur_chunk(s->bytes, s->size, at, word, swap, &c)) {
    at = c.end;
    uint32_t class_index = spur_class_of(c.header), format = spur_format_of(c.header);
    if (__builtin_expect((spur_slots_of(c.header) == SPUR_SLOTS_OVERFLOW) != c.overflow ||
                             (c.overflow && strict && c.slots < SPUR_SLOTS_OVERFLOW),
                         0))
      problem(w, SPUR_BAD_HEADER, segment, c.object, c.object, class_index, -1, c.header);
    if (class_index == SPUR_CLASS_FREE) {
      spur_free_chunk(w, segment, s, &c, word, swap);
      continue;
    }
    if (__builtin_expect(strict && (c.header & (SPUR_UNUSED | SPUR_MARKED | SPUR_GREY)), 0))
      problem(w, SPUR_BAD_HEADER, segment, c.object, c.object, class_index, -1, c.header);
    if (__builtin_expect(!format_exists(format, c.slots, class_index, word), 0)) {
      problem(w, SPUR_BAD_FORMAT, segment, c.object, c.object, class_index, -1, c.header);
      continue; /* what its slots mean is not known */
    }
    if (class_index <= SPUR_LAST_PUN) {
      bool known = class_index == SPUR_CLASS_ARRAY_PUN || class_index == SPUR_CLASS_BITS_64_PUN ||
                   (!strict && class_index >= SPUR_CLASS_FORWARDED);
      if (!known) {
        problem(w, SPUR_BAD_CLASS, segment, c.object, c.object, class_index, -1, c.header);
        continue;
      }
    } else {
      uint32_t spec = w->specs[class_index];
      if (__builtin_expect(!spec, 0)) {
        problem(w, SPUR_BAD_CLASS, segment, c.object, c.object, class_index, -1, c.header);
        continue;
      }
      if (__builtin_expect(strict && (spec & SPEC_KNOWN) && !spec_makes(spec, format, c.slots), 0)) {
        problem(w, SPUR_FORMAT_MISMATCH, segment, c.object, c.object, class_index, -1, c.header);
        continue;
      }
    }
    uint64_t first = 0, limit = 0;
    if (format <= SPUR_EPHEMERON) {
      limit = c.slots;
      if (class_index == SPUR_CLASS_CONTEXT && format == SPUR_FIXED_INDEXABLE && c.slots > 6) {
        /* what lies above a context's stack pointer (slot 2) is not part of it */
        uint64_t sp = slot_at(s, &c, 2, word, swap);
        if (is_small_integer(sp, word) && small_integer(sp, word) >= 0 && (uint64_t)small_integer(sp, word) + 6 < limit)
          limit = (uint64_t)small_integer(sp, word) + 6;
      }
    } else if (format == SPUR_FORWARDED) {
      limit = 1;
    } else if (format >= SPUR_METHOD) {
      uint64_t header = c.slots ? slot_at(s, &c, 0, word, swap) : 0;
      uint64_t literals = is_small_integer(header, word) ? (uint64_t)small_integer(header, word) & 0x7fffu : 0;
      if (!c.slots || !is_small_integer(header, word) || literals + 1 > c.slots) {
        problem(w, SPUR_BAD_METHOD, segment, c.object + 8, c.object, class_index, 0, header);
        continue;
      }
      first = 1;
      limit = literals + 1;
    }
    for (uint64_t i = first; i < limit; i++) spur_slot(w, segment, s, &c, i, word, swap);
  }
}

INLINE void spur_passes(struct walker *w, unsigned word, bool swap) {
  for (uint32_t i = 0; i < w->heap->count; i++) spur_pass1(w, i, word, swap);
  spur_roots(w, word, swap);
  for (uint32_t i = 0; i < w->heap->count; i++) spur_pass2(w, i, word, swap);
}

/* ---- V3 ------------------------------------------------------------------------------------------------------ */

/*
 * V3 (32 bits): one to three header words. The low two bits of each say how many: 0 size, class and base header; 1
 * class and base; 3 base alone; 2 a free chunk. Base header: 2 type | 6 size in words, itself included | 4 format | 5
 * compact class index | 12 hash | 3 for the collector.
 */
struct v3_chunk {
  uint64_t start, object, end;
  uint32_t header, class_word, words;
  unsigned type;
  bool headers_agree;
};
enum { V3_SIZE_AND_CLASS = 0, V3_CLASS = 1, V3_FREE = 2, V3_SHORT = 3 };
#define V3_COMPACT_CLASSES_SLOT 28
#define V3_BLOCK_CONTEXT 13u
#define V3_METHOD_CONTEXT 14u

INLINE bool v3_chunk(const uint8_t *bytes, uint64_t size, uint64_t start, bool swap, struct v3_chunk *c) {
  if (size - start < 4) return false;
  uint32_t word = load32(bytes + start, swap);
  c->start = start;
  c->type = word & 3;
  c->class_word = 0;
  c->headers_agree = true;
  uint64_t bytes_from_object;
  if (c->type == V3_FREE) {
    c->object = start;
    c->header = word;
    bytes_from_object = word & ~(uint32_t)3;
  } else {
    unsigned extra = c->type == V3_SIZE_AND_CLASS ? 2 : c->type == V3_CLASS ? 1 : 0;
    if (size - start < 4 * (extra + 1u)) return false;
    c->object = start + 4 * extra;
    c->header = load32(bytes + c->object, swap);
    if (extra) c->class_word = load32(bytes + c->object - 4, swap);
    c->headers_agree = (c->header & 3) == c->type && (!extra || (c->class_word & 3) == c->type);
    bytes_from_object = c->type == V3_SIZE_AND_CLASS ? word & ~(uint32_t)3 : c->header & 0xfcu;
  }
  if (bytes_from_object < 4 || bytes_from_object > size - c->object) return false;
  c->end = c->object + bytes_from_object;
  c->words = (uint32_t)(bytes_from_object / 4 - 1);
  return true;
}

INLINE void v3_pass1(struct walker *w, uint32_t segment, bool swap) {
  const struct spur_segment *s = &w->heap->segments[segment];
  struct spur_segment_report *r = &w->report->segments[segment];
  uint64_t at = 0;
  struct v3_chunk c;
  while (at < s->size) {
    if (!v3_chunk(s->bytes, s->size, at, swap, &c)) {
      uint64_t header = s->size - at >= 4 ? load32((const uint8_t *)s->bytes + at, swap) : 0;
      problem(w, SPUR_BAD_CHAIN, segment, at, at, 0, -1, header);
      break;
    }
    bit_set(w->starts[segment], c.object >> 2);
    if (c.type == V3_FREE) {
      bit_set(w->frees[segment], c.object >> 2);
      r->free_chunks++;
      r->free_bytes += c.end - c.start;
    } else {
      r->objects++;
    }
    at = c.end;
  }
  w->walked[segment] = at;
  r->walked_bytes = at;
}

INLINE uint32_t v3_slot_at(const struct spur_segment *s, const struct v3_chunk *c, uint64_t slot, bool swap) {
  return load32((const uint8_t *)s->bytes + c->object + 4 + slot * 4, swap);
}

/* Slots of the object that `oop` names, as they lie: its offset and how many words certainly follow. */
INLINE bool v3_follow(const struct walker *w, uint64_t oop, bool swap, int *segment, uint64_t *object,
                      uint64_t *words) {
  uint64_t offset;
  if ((oop & 3) || reach(w, oop, 0, segment, &offset) != REACH_OBJECT || offset >= w->walked[*segment]) return false;
  const struct spur_segment *s = &w->heap->segments[*segment];
  uint32_t header = load32((const uint8_t *)s->bytes + offset, swap);
  uint64_t size = header & 0xfcu;
  if ((header & 3) == V3_SIZE_AND_CLASS && offset >= 8)
    size = load32((const uint8_t *)s->bytes + offset - 8, swap) & ~(uint32_t)3;
  if (size < 4 || size > s->size - offset) return false;
  *object = offset;
  *words = size / 4 - 1;
  return true;
}

/* The compact classes: slot 28 of the special objects. `special` is the oop from the file's header, or 0 where it is
 * not known. */
INLINE void v3_roots(struct walker *w, uint64_t special, bool swap) {
  int segment;
  uint64_t object, words;
  if (!v3_follow(w, special, swap, &segment, &object, &words) || words <= V3_COMPACT_CLASSES_SLOT) {
    problem(w, SPUR_BAD_ROOTS, 0, 0, 0, 0, -1, special);
    return;
  }
  uint64_t at = object + 4 + 4 * V3_COMPACT_CLASSES_SLOT;
  uint32_t oop = load32((const uint8_t *)w->heap->segments[segment].bytes + at, swap);
  uint64_t array, count;
  int where;
  if (!v3_follow(w, oop, swap, &where, &array, &count)) {
    problem(w, SPUR_BAD_ROOTS, (uint32_t)segment, at, object, 0, V3_COMPACT_CLASSES_SLOT, oop);
    return;
  }
  struct v3_chunk nil;
  w->nil = v3_chunk(w->heap->segments[0].bytes, w->heap->segments[0].size, 0, swap, &nil)
               ? w->heap->segments[0].address + nil.object
               : 0;
  for (uint64_t i = 0; i < count && i < 31; i++) {
    uint32_t k = load32((const uint8_t *)w->heap->segments[where].bytes + array + 4 + 4 * i, swap);
    if (k == w->nil) continue;
    w->compact[i + 1] = k;
    w->report->classes++;
  }
}

INLINE void v3_pointer(struct walker *w, uint32_t segment, const struct v3_chunk *c, uint64_t class_index, int64_t slot,
                       uint64_t at, uint64_t value, enum spur_problem_kind otherwise) {
  int to;
  uint64_t offset;
  enum reach found = reach(w, value, segment, &to, &offset);
  w->report->pointers++;
  if (__builtin_expect(found != REACH_OBJECT, 0))
    problem(w, found == REACH_FREE && otherwise == SPUR_BAD_POINTER ? SPUR_POINTER_TO_FREE : otherwise, segment, at,
            c->object, class_index, slot, value);
}

INLINE void v3_pass2(struct walker *w, uint32_t segment, bool swap) {
  const struct spur_segment *s = &w->heap->segments[segment];
  uint64_t at = 0, end = w->walked[segment];
  struct v3_chunk c;
  while (at < end && v3_chunk(s->bytes, s->size, at, swap, &c)) {
    at = c.end;
    if (c.type == V3_FREE) continue;
    uint32_t compact = c.header >> 12 & 31u, format = c.header >> 8 & 15u;
    uint64_t class_index = compact ? compact : c.class_word & ~(uint32_t)3;
    if (__builtin_expect(!c.headers_agree, 0)) {
      problem(w, SPUR_BAD_HEADER, segment, c.object, c.object, class_index, -1, c.header);
      continue;
    }
    if (compact ? !w->compact[compact] : c.type == V3_SHORT) {
      problem(w, SPUR_BAD_CLASS, segment, c.object, c.object, class_index, -1, c.header);
      continue;
    }
    if (!compact) v3_pointer(w, segment, &c, class_index, -1, c.object - 4, class_index, SPUR_BAD_CLASS);
    if (__builtin_expect(format == 5 || format == 7 || (format == 0 && c.words > 0), 0)) {
      problem(w, SPUR_BAD_FORMAT, segment, c.object, c.object, class_index, -1, c.header);
      continue;
    }
    uint64_t first = 0, limit = 0;
    if (format <= 4) {
      limit = c.words;
      if (format == 3 && (compact == V3_METHOD_CONTEXT || compact == V3_BLOCK_CONTEXT) && c.words > 6) {
        uint32_t sp = v3_slot_at(s, &c, 2, swap);
        uint64_t used = sp & 1 ? (uint64_t)(sp >> 1) + 6 : 6;
        if (used < limit) limit = used;
      }
    } else if (format >= 12) {
      uint32_t header = c.words ? v3_slot_at(s, &c, 0, swap) : 0;
      uint64_t literals = header >> 10 & 255u;
      if (!(header & 1) || literals + 1 > c.words) {
        problem(w, SPUR_BAD_METHOD, segment, c.object + 4, c.object, class_index, 0, header);
        continue;
      }
      first = 1;
      limit = literals + 1;
    }
    for (uint64_t i = first; i < limit; i++) {
      uint32_t value = v3_slot_at(s, &c, i, swap);
      if (!(value & 1))
        v3_pointer(w, segment, &c, class_index, (int64_t)i, c.object + 4 + 4 * i, value, SPUR_BAD_POINTER);
    }
  }
}

INLINE void v3_passes(struct walker *w, bool swap) {
  for (uint32_t i = 0; i < w->heap->count; i++) v3_pass1(w, i, swap);
  v3_roots(w, w->heap->special_objects, swap);
  for (uint32_t i = 0; i < w->heap->count; i++) v3_pass2(w, i, swap);
}

/* ---- both ---------------------------------------------------------------------------------------------------- */

static bool heap_usable(const struct spur_heap *heap) {
  if (!heap || !heap->segments || heap->count == 0 || heap->count > SPUR_MAX_SEGMENTS || heap->root >= heap->count)
    return false;
  if (heap->family == SPUR_FAMILY_V3) return heap->word_bytes == 4;
  return heap->family == SPUR_FAMILY_SPUR && (heap->word_bytes == 4 || heap->word_bytes == 8);
}

int spur_walk(const struct spur_heap *heap, struct spur_problem *problems, size_t capacity,
              struct spur_report *report) {
  if (!heap_usable(heap) || !report || (capacity && !problems)) return -EINVAL;
  memset(report, 0, sizeof *report);
  struct walker w = {.heap = heap,
                     .problems = problems,
                     .capacity = capacity,
                     .report = report,
                     .unit_shift = heap->family == SPUR_FAMILY_V3 ? 2 : 3};
  size_t words[SPUR_MAX_SEGMENTS], total = 0;
  for (uint32_t i = 0; i < heap->count; i++) {
    words[i] = (size_t)((heap->segments[i].size >> w.unit_shift) / 64 + 1);
    total += 2 * words[i] * 8;
  }
  size_t specs = heap->family == SPUR_FAMILY_SPUR ? SPEC_CLASSES * sizeof *w.specs : 0;
  w.maps_bytes = total + specs;
  w.maps = mmap(NULL, w.maps_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (w.maps == MAP_FAILED) return -ENOMEM;
  uint64_t *next = w.maps;
  for (uint32_t i = 0; i < heap->count; i++) {
    w.starts[i] = next;
    w.frees[i] = next + words[i];
    next += 2 * words[i];
  }
  w.specs = (uint32_t *)next;

  if (heap->family == SPUR_FAMILY_V3) {
    if (heap->swapped) v3_passes(&w, true);
    else v3_passes(&w, false);
  } else if (heap->word_bytes == 8) {
    if (heap->swapped) spur_passes(&w, 8, true);
    else spur_passes(&w, 8, false);
  } else {
    if (heap->swapped) spur_passes(&w, 4, true);
    else spur_passes(&w, 4, false);
  }
  for (uint32_t i = 0; i < heap->count; i++) {
    report->objects += report->segments[i].objects;
    report->free_chunks += report->segments[i].free_chunks;
    report->free_bytes += report->segments[i].free_bytes;
  }
  munmap(w.maps, w.maps_bytes);
  return 0;
}

bool spur_object_at(const struct spur_heap *heap, uint32_t segment, uint64_t offset, struct spur_object *out) {
  if (!heap_usable(heap) || segment >= heap->count || offset >= heap->segments[segment].size) return false;
  const struct spur_segment *s = &heap->segments[segment];
  uint64_t at = 0;
  memset(out, 0, sizeof *out);
  if (heap->family == SPUR_FAMILY_V3) {
    struct v3_chunk c;
    while (v3_chunk(s->bytes, s->size, at, heap->swapped, &c)) {
      if (offset < c.end) {
        *out = (struct spur_object){.offset = c.object,
                                    .bytes = c.end - c.object,
                                    .slots = c.words,
                                    .format = c.header >> 8 & 15u,
                                    .class_index = c.header >> 12 & 31u,
                                    .is_free = c.type == V3_FREE,
                                    .slot = offset < c.object + 4 ? -1 : (int64_t)((offset - c.object - 4) / 4)};
        return true;
      }
      at = c.end;
    }
    return false;
  }
  struct chunk c;
  while (at < s->size && spur_chunk(s->bytes, s->size, at, heap->word_bytes, heap->swapped, &c)) {
    if (offset < c.end) {
      *out = (struct spur_object){
          .offset = c.object,
          .bytes = c.end - c.object,
          .slots = c.slots,
          .format = spur_format_of(c.header),
          .class_index = spur_class_of(c.header),
          .is_free = spur_class_of(c.header) == SPUR_CLASS_FREE,
          .slot = offset < c.object + 8 ? -1 : (int64_t)((offset - c.object - 8) / heap->word_bytes)};
      return true;
    }
    at = c.end;
  }
  return false;
}

/* ---- image files --------------------------------------------------------------------------------------------- */

/* 512 in the version says that the image uses more than one bytecode set; it changes nothing in the heap. */
#define MULTIPLE_BYTECODES 512u

static bool version_known(uint32_t version, struct spur_file *out) {
  static const struct {
    uint32_t version, family, word_bytes;
  } known[] = {
      {6502, SPUR_FAMILY_V3, 4},  {6504, SPUR_FAMILY_V3, 4},  {6505, SPUR_FAMILY_V3, 4},  {6521, SPUR_FAMILY_SPUR, 4},
      {68000, SPUR_FAMILY_V3, 8}, {68002, SPUR_FAMILY_V3, 8}, {68003, SPUR_FAMILY_V3, 8}, {68021, SPUR_FAMILY_SPUR, 8},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (version == known[i].version || version == known[i].version + MULTIPLE_BYTECODES) {
      out->version = version;
      out->multiple_bytecodes = version != known[i].version;
      out->family = known[i].family;
      out->word_bytes = known[i].word_bytes;
      return true;
    }
  return false;
}

int spur_file_parse(const void *bytes, size_t size, struct spur_file *out) {
  const uint8_t *p = bytes;
  memset(out, 0, sizeof *out);
  for (uint64_t offset = 0; offset <= 512; offset += 512) {
    if (size < offset + 96) continue; /* enough for every field below */
    for (int swap = 0; swap < 2; swap++) {
      if (!version_known(load32(p + offset, swap), out)) continue;
      const uint8_t *h = p + offset;
      unsigned word = out->word_bytes;
      out->swapped = swap;
      out->file_offset = offset;
      out->header_bytes = load32(h + 4, swap); /* 32 bits in both word sizes */
      out->heap_bytes = load_word(h + 8, word, swap);
      out->base_address = load_word(h + 8 + word, word, swap);
      out->special_objects = load_word(h + 8 + 2 * word, word, swap);
      if (out->family == SPUR_FAMILY_SPUR) out->first_segment_bytes = load_word(h + (word == 8 ? 72 : 48), word, swap);
      return 0;
    }
  }
  memset(out, 0, sizeof *out);
  return -EINVAL;
}

int spur_file_segments(const void *bytes, size_t size, const struct spur_file *file, struct spur_segment *out,
                       size_t capacity) {
  if (file->header_bytes < SPUR_FILE_HEADER_MIN || file->header_bytes > 65536 || (file->header_bytes & 3) ||
      capacity == 0)
    return -EINVAL;
  uint64_t start = file->file_offset + file->header_bytes;
  if (start >= size || file->heap_bytes == 0 || file->heap_bytes > size - start) return -EINVAL;
  const uint8_t *heap = (const uint8_t *)bytes + start;
  if (file->family == SPUR_FAMILY_V3) {
    out[0] = (struct spur_segment){.bytes = heap, .size = file->heap_bytes, .address = file->base_address};
    return 1;
  }
  /*
   * Spur saves its segments one after another. The last 16 bytes of each are a bridge of two words. The low 56 bits
   * of the first are the gap to the next segment's address, in words. The second is the next segment's size, or 0.
   */
  uint64_t at = 0, address = file->base_address,
           bytes_here = file->first_segment_bytes ? file->first_segment_bytes : file->heap_bytes;
  int count = 0;
  while (bytes_here) {
    if (bytes_here < 32 || (bytes_here & 7) || bytes_here > file->heap_bytes - at || (size_t)count >= capacity)
      return -EINVAL;
    out[count++] = (struct spur_segment){.bytes = heap + at, .size = bytes_here - 16, .address = address};
    uint64_t bridge = load64(heap + at + bytes_here - 16, file->word_bytes, file->swapped);
    uint64_t following = load64(heap + at + bytes_here - 8, file->word_bytes, file->swapped);
    address += bytes_here + (spur_slots_of(bridge) ? (bridge & 0x00ffffffffffffffu) * file->word_bytes : 0);
    at += bytes_here;
    bytes_here = at < file->heap_bytes ? following : 0;
  }
  return count;
}
