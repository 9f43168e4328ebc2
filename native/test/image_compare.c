/* image_compare.c: comparing and hashing memory. */
#include "check.h"
#include "compare.h"

static uint64_t random_state = 88172645463325252ull;
static uint64_t random64(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

CHECK_TEST(hash_vectors, "the hash is XXH64: its published vectors") {
  CHECK_EQ(compare_hash("", 0, 0), 0xef46db3751d8e999ull);
  CHECK_EQ(compare_hash("a", 1, 0), 0xd24ec4f1a98c6e5bull);
  CHECK_EQ(compare_hash("abc", 3, 0), 0x44bc2cf5ad770999ull);
  const char *text = "Nobody inspects the spammish repetition";
  CHECK_EQ(compare_hash(text, strlen(text), 0), 0xfbcea83c8a378bf1ull);
}

CHECK_TEST(property_exact, "property: after random writes the ranges cover exactly the bytes that differ") {
  enum { SIZE = 20000, CAPACITY = 4096 };
  static uint8_t now[SIZE], before[SIZE];
  static struct compare_range ranges[CAPACITY];
  for (unsigned trial = 0; trial < 200; trial++) {
    size_t size = trial % 3 ? SIZE : random64() % SIZE;
    for (size_t i = 0; i < size; i++) now[i] = before[i] = (uint8_t)random64();
    unsigned writes = trial % 20;
    for (unsigned w = 0; w < writes && size > 64; w++) {
      size_t length = 1 + random64() % (trial & 1 ? 40 : 3), at = random64() % (size - length);
      for (size_t i = 0; i < length; i++) now[at + i] = (uint8_t)random64();
    }
    struct compare_result r;
    compare_memory(now, before, size, ranges, CAPACITY, &r);
    CHECK_EQ(r.kept, r.ranges);
    size_t different = 0, at = 0;
    for (uint64_t k = 0; k < r.kept; k++) {
      CHECK(ranges[k].bytes > 0 && ranges[k].offset + ranges[k].bytes <= size);
      if (k) CHECK(ranges[k].offset - at >= COMPARE_MERGE_BYTES);
      for (; at < ranges[k].offset; at++)
        if (now[at] != before[at]) {
          CHECK(!"a difference outside every range");
          break;
        }
      CHECK(now[ranges[k].offset] != before[ranges[k].offset]);
      size_t last = ranges[k].offset + ranges[k].bytes - 1;
      CHECK(now[last] != before[last]);
      at = last + 1;
    }
    for (; at < size; at++) CHECK(now[at] == before[at]);
    for (size_t i = 0; i < size; i++) different += now[i] != before[i];
    CHECK_EQ(r.changed_bytes, different);
    size_t copied = compare_copy(now, before, size);
    CHECK_EQ(copied == 0, different == 0);
    CHECK(memcmp(now, before, size) == 0);
  }
}

CHECK_TEST(capped, "more ranges than there is room for are counted, the first ones kept") {
  static uint8_t now[64000], before[64000];
  struct compare_range ranges[3];
  struct compare_result r;
  for (size_t i = 100; i < sizeof now; i += 100) now[i] = 1;
  compare_memory(now, before, sizeof now, ranges, 3, &r);
  CHECK_EQ(r.ranges, 639);
  CHECK_EQ(r.kept, 3);
  CHECK_EQ(r.changed_bytes, 639);
  CHECK_EQ(ranges[2].offset, 300);
  compare_memory(now, before, sizeof now, NULL, 0, &r);
  CHECK_EQ(r.ranges, 639);
  CHECK_EQ(r.kept, 0);
}

CHECK_TEST(across_blocks, "a change across a block boundary is one range; the whole memory changed is one range") {
  static uint8_t now[16384], before[16384];
  struct compare_range ranges[8];
  struct compare_result r;
  memset(now + 4090, 1, 20);
  compare_memory(now, before, sizeof now, ranges, 8, &r);
  CHECK_EQ(r.ranges, 1);
  CHECK_EQ(ranges[0].offset, 4090);
  CHECK_EQ(ranges[0].bytes, 20);
  memset(now, 0xff, sizeof now);
  compare_memory(now, before, sizeof now, ranges, 8, &r);
  CHECK_EQ(r.ranges, 1);
  CHECK_EQ(ranges[0].bytes, sizeof now);
  CHECK_EQ(r.changed_bytes, sizeof now);
}

CHECK_MAIN()
