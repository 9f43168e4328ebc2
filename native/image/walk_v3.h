/*
 * walk_v3.h: walking a heap in the V3 format, as a template over byte order. Included by spur_walk.c alone.
 */
#ifndef TURNKEY_IMAGE_WALK_V3_H
#define TURNKEY_IMAGE_WALK_V3_H

#include "walker.h"

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

#endif
