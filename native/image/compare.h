/*
 * compare.h: where two stretches of memory differ, at nearly the speed of memcmp; and a 64-bit content hash.
 */
#ifndef TURNKEY_COMPARE_H
#define TURNKEY_COMPARE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Differences with fewer than this many equal bytes between them are reported as one range. */
#define COMPARE_MERGE_BYTES 16u

struct compare_range {
  uint64_t offset, bytes;
};

struct compare_result {
  uint64_t changed_bytes; /* bytes that differ, exactly; at most the sum of the ranges' lengths */
  uint64_t ranges;        /* all, also those not kept */
  uint64_t kept;          /* written to the caller's array: the first ones */
};

/* Compares `bytes` bytes. Each range begins and ends with a byte that differs. Adds to nothing: *out is written afresh.
 */
void compare_memory(const void *now, const void *before, size_t bytes, struct compare_range *ranges, size_t capacity,
                    struct compare_result *out);

/* Copies from `from` to `to` only the 4096-byte blocks that differ, so that pages that are equal stay untouched (and
 * shared). Bytes copied. */
size_t compare_copy(void *to, const void *from, size_t bytes);

/* XXH64 (seed given): the published algorithm of 64-bit xxHash, written from its specification. */
uint64_t compare_hash(const void *bytes, size_t size, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif
