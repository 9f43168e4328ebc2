/*
 * spur_read.h: reading one chunk of a heap, for the files of this folder. Written once and instantiated for each word size and byte order: the two are constants
 * wherever speed matters. Nothing is read outside [bytes, bytes + size).
 */
#ifndef TURNKEY_SPUR_READ_H
#define TURNKEY_SPUR_READ_H

#include <string.h>

#include "spur.h"

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
INLINE uint64_t load_word(const uint8_t *p, unsigned word, bool swap) { return word == 8 ? load64(p, 8, swap) : load32(p, swap); }

#define PAGE_SLOTS 1024u   /* classes in a page of the class table */

/* ---- Spur ---- */

struct chunk {
  uint64_t start, object, end;     /* start: with the overflow word; object: the header's offset */
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

INLINE bool is_small_integer(uint64_t value, unsigned word) { return word == 8 ? (value & 7) == 1 : value & 1; }
INLINE int64_t small_integer(uint64_t value, unsigned word) { return word == 8 ? (int64_t)value >> 3 : (int32_t)value >> 1; }

/* ---- V3 ---- */

/*
 * V3 (32 bits): one to three header words. The low two bits of each say how many: 0 size, class and base header; 1 class and base; 3 base alone;
 * 2 a free chunk. Base header: 2 type | 6 size in words, itself included | 4 format | 5 compact class index | 12 hash | 3 for the collector.
 */
struct v3_chunk { uint64_t start, object, end; uint32_t header, class_word, words; unsigned type; bool headers_agree; };
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

/* ---- both ---- */

INLINE bool heap_usable(const struct spur_heap *heap) {
  if (!heap || !heap->segments || heap->count == 0 || heap->count > SPUR_MAX_SEGMENTS || heap->root >= heap->count) return false;
  if (heap->family == SPUR_FAMILY_V3) return heap->word_bytes == 4;
  return heap->family == SPUR_FAMILY_SPUR && (heap->word_bytes == 4 || heap->word_bytes == 8);
}

#endif
