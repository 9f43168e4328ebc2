/* draw.c: see draw.h. splitmix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014. */
#include "draw.h"

#include <string.h>

static uint64_t mixed(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

#define GOLDEN 0x9e3779b97f4a7c15u

uint64_t draw_word(uint64_t seed, uint64_t index, uint64_t which) {
  uint64_t key = mixed(mixed(seed + GOLDEN) ^ (index + 1) * GOLDEN);
  return mixed(key + (which + 1) * GOLDEN);
}

/* A number below `limit`, from all bits of `random`. */
static uint64_t below(uint64_t random, uint64_t limit) { return (uint64_t)(((unsigned __int128)random * limit) >> 64); }

#define NAME(id, name) name,
const struct fault_space stand_in_space = {
    .strata = STRATA,
    .names = {CAMPAIGN_STRATA(NAME)},
    .kinds = {[STRATUM_UNMAPPED] = KIND_UNMAPPED,
              [STRATUM_OVERRUN] = KIND_OVERRUN,
              [STRATUM_STALE] = KIND_STALE,
              [STRATUM_LEFT] = KIND_LEFT},
    .overruns = OVERRUNS,
};
#undef NAME

void draw_fault(uint64_t seed, uint64_t index, const struct fault_space *space, const uint64_t *stratum_bytes,
                struct fault *out) {
  struct fault fault = {.index = index, .stratum = (uint8_t)(index % space->strata)};
  if (space->favours_first) fault.stratum = index % 2 == 0 ? 0 : (uint8_t)(1 + index / 2 % (space->strata - 1));
  fault.kind = space->kinds[fault.stratum];
  fault.moment = (uint8_t)below(draw_word(seed, index, 0), MOMENTS);
  fault.means = (uint8_t)below(draw_word(seed, index, 1), MEANS);
  uint64_t place = draw_word(seed, index, 2), size = stratum_bytes[fault.stratum];
  fault.position = size > 0 ? below(place, size) : place;
  fault.bytes = 1 + (uint32_t)below(draw_word(seed, index, 3), LARGEST_RUN);
  fault.bit = (uint8_t)below(draw_word(seed, index, 4), 8);
  fault.noise = draw_word(seed, index, 5);
  uint64_t source = draw_word(seed, index, 6);
  switch (fault.kind) {
    case KIND_OVERRUN: fault.source = (uint8_t)below(source, space->overruns), fault.means = MEANS_RUN; break;
    case KIND_STALE: fault.source = (uint8_t)below(source, STALES); break;
    case KIND_LEFT: fault.source = (uint8_t)below(source, LEFTS); break;
    default: break;
  }
  if (fault.means == MEANS_BIT) fault.bytes = 1;
  else if (fault.means != MEANS_RUN && fault.means != MEANS_KERNEL) fault.bytes = 8;
  *out = fault;
}

void draw_noise(uint64_t noise, void *to, uint32_t bytes) {
  for (uint32_t at = 0; at < bytes; at += 8) {
    uint64_t word = mixed(noise += GOLDEN);
    memcpy((uint8_t *)to + at, &word, bytes - at < 8 ? bytes - at : 8);
  }
}
