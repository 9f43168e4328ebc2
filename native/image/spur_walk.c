/*
 * spur_walk.c: walking a heap that may hold anything.
 *
 * Two passes. The first follows the chain of objects in every segment and notes where objects start; the second looks
 * at each object's header, class and slots. Every read is inside a segment by construction: an object is looked at only
 * after its size was found to fit. Nothing here trusts a number from the heap further than that. The readers are
 * written once and instantiated for each word size and byte order, so that the common case (64 bits, native order)
 * costs no test per word. walk_spur.h and walk_v3.h are these readers.
 */
#include "walk_spur.h"
#include "walk_v3.h"

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
