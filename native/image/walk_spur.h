/*
 * walk_spur.h: walking a heap in the Spur format, as a template over word size and byte order. Included by
 * spur_walk.c alone.
 */
#ifndef TURNKEY_IMAGE_WALK_SPUR_H
#define TURNKEY_IMAGE_WALK_SPUR_H

#include "walker.h"

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

#endif
