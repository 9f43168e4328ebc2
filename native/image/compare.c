/* compare.c: see compare.h. Whole blocks go through memcmp; only blocks that differ are looked at word by word. */
#include "compare.h"

#include <string.h>

#define BLOCK 4096u

static inline uint64_t load64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

struct collector {
  struct compare_range *ranges;
  size_t capacity;
  struct compare_result *out;
  uint64_t start, end; /* the open range, if end > start */
};

static void close_range(struct collector *c) {
  if (c->end <= c->start) return;
  if (c->out->ranges < c->capacity) {
    c->ranges[c->out->ranges] = (struct compare_range){.offset = c->start, .bytes = c->end - c->start};
    c->out->kept++;
  }
  c->out->ranges++;
}
/* Bytes [start, end) differ at both ends. */
static inline void differs(struct collector *c, uint64_t start, uint64_t end) {
  if (c->end > c->start && start - c->end < COMPARE_MERGE_BYTES) {
    c->end = end;
    return;
  }
  close_range(c);
  c->start = start;
  c->end = end;
}

static void compare_block(struct collector *c, const uint8_t *now, const uint8_t *before, uint64_t at, size_t bytes) {
  size_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    uint64_t x = load64(now + at + i) ^ load64(before + at + i);
    if (!x) continue;
    /* the high bit of each byte that differs: carries cannot cross, each byte's sum is at most 0x7f + 0x7f */
    uint64_t ones = 0x7f7f7f7f7f7f7f7full, marks = (((x & ones) + ones) | x) & ~ones;
    c->out->changed_bytes += (unsigned)__builtin_popcountll(marks);
    unsigned first = (unsigned)__builtin_ctzll(x) / 8, last = 7 - (unsigned)__builtin_clzll(x) / 8;
    differs(c, at + i + first, at + i + last + 1);
  }
  for (; i < bytes; i++)
    if (now[at + i] != before[at + i]) {
      c->out->changed_bytes++;
      differs(c, at + i, at + i + 1);
    }
}

void compare_memory(const void *now, const void *before, size_t bytes, struct compare_range *ranges, size_t capacity,
                    struct compare_result *out) {
  *out = (struct compare_result){0};
  struct collector c = {.ranges = ranges, .capacity = capacity, .out = out};
  const uint8_t *a = now, *b = before;
  for (size_t at = 0; at < bytes; at += BLOCK) {
    size_t n = bytes - at < BLOCK ? bytes - at : BLOCK;
    if (memcmp(a + at, b + at, n) != 0) compare_block(&c, a, b, at, n);
  }
  close_range(&c);
}

size_t compare_copy(void *to, const void *from, size_t bytes) {
  uint8_t *a = to;
  const uint8_t *b = from;
  size_t copied = 0;
  for (size_t at = 0; at < bytes; at += BLOCK) {
    size_t n = bytes - at < BLOCK ? bytes - at : BLOCK;
    if (memcmp(a + at, b + at, n) == 0) continue;
    memcpy(a + at, b + at, n);
    copied += n;
  }
  return copied;
}

/* ---- XXH64 --------------------------------------------------------------------------------------------------- */

#define P1 0x9e3779b185ebca87ull
#define P2 0xc2b2ae3d27d4eb4full
#define P3 0x165667b19e3779f9ull
#define P4 0x85ebca77c2b2ae63ull
#define P5 0x27d4eb2f165667c5ull

static inline uint64_t rotate(uint64_t v, unsigned n) { return v << n | v >> (64 - n); }
static inline uint64_t lane(uint64_t accumulator, uint64_t input) { return rotate(accumulator + input * P2, 31) * P1; }
static inline uint64_t join(uint64_t hash, uint64_t accumulator) { return (hash ^ lane(0, accumulator)) * P1 + P4; }

uint64_t compare_hash(const void *bytes, size_t size, uint64_t seed) {
  const uint8_t *p = bytes, *end = p + size;
  uint64_t hash = seed + P5;
  if (size >= 32) {
    uint64_t a[4] = {seed + P1 + P2, seed + P2, seed, seed - P1};
    for (; end - p >= 32; p += 32)
      for (unsigned i = 0; i < 4; i++) a[i] = lane(a[i], load64(p + 8 * i));
    hash = rotate(a[0], 1) + rotate(a[1], 7) + rotate(a[2], 12) + rotate(a[3], 18);
    for (unsigned i = 0; i < 4; i++) hash = join(hash, a[i]);
  }
  hash += size;
  for (; end - p >= 8; p += 8) hash = rotate(hash ^ lane(0, load64(p)), 27) * P1 + P4;
  if (end - p >= 4) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    hash = rotate(hash ^ v * P1, 23) * P2 + P3;
    p += 4;
  }
  for (; p < end; p++) hash = rotate(hash ^ *p * P5, 11) * P1;
  hash = (hash ^ hash >> 33) * P2;
  hash = (hash ^ hash >> 29) * P3;
  return hash ^ hash >> 32;
}
