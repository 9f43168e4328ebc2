/*
 * spur_name.c: the name of an object's class, by following pointers without a walk. In a damaged heap it may be the wrong name; it never leads outside the segments.
 */
#include "spur_read.h"

/* An object followed by address alone, in either family: where its slots are, and how its class is told. */
struct peek { uint32_t segment; uint64_t object, slots; uint64_t header, class_oop; uint32_t format; };

static bool peek_at(const struct spur_heap *heap, uint32_t segment, uint64_t offset, struct peek *p) {
  const struct spur_segment *s = &heap->segments[segment];
  const uint8_t *bytes = s->bytes;
  unsigned word = heap->word_bytes;
  uint64_t unit = heap->family == SPUR_FAMILY_V3 ? 4 : 8;
  if ((offset & (unit - 1)) || offset >= s->size || s->size - offset < unit) return false;
  p->segment = segment;
  p->object = offset;
  p->class_oop = 0;
  if (heap->family == SPUR_FAMILY_V3) {
    uint32_t header = load32(bytes + offset, heap->swapped), type = header & 3;
    uint64_t size = header & 0xfcu;
    if (type == V3_FREE) return false;
    if (type == V3_SIZE_AND_CLASS ? offset < 8 : type == V3_CLASS && offset < 4) return false;
    if (type != V3_SHORT) p->class_oop = load32(bytes + offset - 4, heap->swapped) & ~(uint32_t)3;
    if (type == V3_SIZE_AND_CLASS) size = load32(bytes + offset - 8, heap->swapped) & ~(uint32_t)3;
    if (size < 4 || size > s->size - offset) return false;
    p->header = header;
    p->slots = size / 4 - 1;
    p->format = header >> 8 & 15u;
    return true;
  }
  uint64_t header = load64(bytes + offset, word, heap->swapped);
  struct chunk c;
  bool overflow = spur_slots_of(header) == SPUR_SLOTS_OVERFLOW;
  if (overflow && offset < 8) return false;
  uint64_t start = overflow ? offset - 8 : offset;
  if (!spur_chunk(bytes, s->size, start, word, heap->swapped, &c) || c.object != offset || spur_class_of(header) == SPUR_CLASS_FREE) return false;
  p->header = header;
  p->slots = c.slots;
  p->format = spur_format_of(header);
  return true;
}
static bool peek_oop(const struct spur_heap *heap, uint64_t oop, struct peek *p) {
  for (uint32_t i = 0; i < heap->count; i++)
    if (oop - heap->segments[i].address < heap->segments[i].size) return peek_at(heap, i, oop - heap->segments[i].address, p);
  return false;
}
static uint64_t peek_slot(const struct spur_heap *heap, const struct peek *p, uint64_t slot) {
  unsigned header = heap->family == SPUR_FAMILY_V3 ? 4 : 8;
  return slot < p->slots ? load_word((const uint8_t *)heap->segments[p->segment].bytes + p->object + header + slot * heap->word_bytes, heap->word_bytes, heap->swapped) : 0;
}
static bool peek_class(const struct spur_heap *heap, const struct peek *object, struct peek *k) {
  struct peek table;
  if (heap->family == SPUR_FAMILY_V3) {
    uint32_t compact = (uint32_t)object->header >> 12 & 31u;
    if (!compact) return peek_oop(heap, object->class_oop, k);
    return peek_oop(heap, heap->special_objects, &table) && peek_oop(heap, peek_slot(heap, &table, V3_COMPACT_CLASSES_SLOT), &table) &&
           peek_oop(heap, peek_slot(heap, &table, compact - 1), k);
  }
  uint32_t index = spur_class_of(object->header);
  uint64_t at = 0;
  struct chunk c;
  for (unsigned i = 0; i < 5; i++) {
    if (at >= heap->segments[heap->root].size || !spur_chunk(heap->segments[heap->root].bytes, heap->segments[heap->root].size, at, heap->word_bytes, heap->swapped, &c)) return false;
    at = c.end;
  }
  return peek_at(heap, heap->root, c.object, &table) && peek_oop(heap, peek_slot(heap, &table, index / PAGE_SLOTS), &table) &&
         peek_oop(heap, peek_slot(heap, &table, index % PAGE_SLOTS), k);
}
/* A class has its name in slot 6 (Squeak's Class); Turnkey's small ones in slot 3. A string has bytes and only printable ones. */
static bool peek_name(const struct spur_heap *heap, const struct peek *k, char *name, size_t size) {
  struct peek string;
  if (!peek_oop(heap, peek_slot(heap, k, k->slots > 6 ? 6 : 3), &string)) return false;
  bool v3 = heap->family == SPUR_FAMILY_V3;
  unsigned low = v3 ? 8 : SPUR_BYTES, high = v3 ? 11 : SPUR_METHOD - 1;
  if (string.format < low || string.format > high) return false;
  uint64_t bytes = string.slots * heap->word_bytes, odd = string.format - low;
  if (odd > bytes || bytes - odd == 0 || bytes - odd >= size) return false;
  const uint8_t *p = (const uint8_t *)heap->segments[string.segment].bytes + string.object + (v3 ? 4 : 8);
  for (uint64_t i = 0; i < bytes - odd; i++) {
    uint8_t c = p[i];   /* bytes lie in their own order, whatever the order of words */
    if (c < 0x20 || c > 0x7e) return false;
    name[i] = (char)c;
  }
  name[bytes - odd] = 0;
  return true;
}

void spur_class_name(const struct spur_heap *heap, uint32_t segment, uint64_t offset, char *name, size_t size) {
  struct peek object, k, of;
  if (size == 0) return;
  name[0] = 0;
  if (!heap_usable(heap) || segment >= heap->count || !peek_at(heap, segment, offset, &object) || !peek_class(heap, &object, &k)) return;
  if (peek_name(heap, &k, name, size)) return;
  name[0] = 0;
  /* the class of a class, a metaclass, names its one instance in slot 5 */
  if (size > 7 && peek_oop(heap, peek_slot(heap, &k, 5), &of) && peek_name(heap, &of, name, size - 6)) strcat(name, " class");
  else name[0] = 0;
}
