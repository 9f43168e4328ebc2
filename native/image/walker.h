/*
 * walker.h: what walking Spur and V3 heaps has in common. Included by spur_walk.c alone.
 */
#ifndef TURNKEY_IMAGE_WALKER_H
#define TURNKEY_IMAGE_WALKER_H

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "load.h"
#include "spur.h"

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

#endif
