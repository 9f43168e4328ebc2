/* load.h: words of a heap, by word size and byte order. */
#ifndef TURNKEY_IMAGE_LOAD_H
#define TURNKEY_IMAGE_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

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

#endif
