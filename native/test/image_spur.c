/* image_spur.c: the synthetic Spur graph and the walker, on plain memory: no keys, no image. */
#include "check.h"
#include "spur.h"

static uint64_t random_state = 0x1234567;
static uint64_t random64(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

#define SPACES 3
struct fixture {
  struct spur_area areas[SPACES];
  struct spur_segment segments[SPACES];
  struct spur_heap heap;
  struct spur_filled filled;
  struct spur_report report;
  struct spur_problem problems[64];
};

static void fixture_make(struct fixture *f, const size_t sizes[SPACES], size_t root, uint64_t seed) {
  memset(f, 0, sizeof *f);
  for (size_t i = 0; i < SPACES; i++) {
    void *bytes = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(bytes != MAP_FAILED);
    f->areas[i] = (struct spur_area){bytes, sizes[i]};
    f->segments[i] = (struct spur_segment){bytes, sizes[i], (uintptr_t)bytes};
  }
  f->heap = (struct spur_heap){
      .segments = f->segments, .count = SPACES, .root = (uint32_t)root, .word_bytes = 8, .strict = true};
  CHECK_EQ(spur_fill(f->areas, SPACES, root, seed, &f->filled), 0);
}
static void fixture_free(struct fixture *f) {
  for (size_t i = 0; i < SPACES; i++) munmap(f->areas[i].bytes, f->areas[i].size);
}
static uint64_t walk(struct fixture *f) {
  CHECK_EQ(spur_walk(&f->heap, f->problems, 64, &f->report), 0);
  return f->report.problems;
}
static void show(const struct fixture *f) {
  for (uint32_t i = 0; i < f->report.kept && i < 5; i++)
    printf("#   %s segment %u offset %llu object %llu class %llu slot %lld value %llx\n",
           spur_problem_name(f->problems[i].kind), f->problems[i].segment, (unsigned long long)f->problems[i].offset,
           (unsigned long long)f->problems[i].object, (unsigned long long)f->problems[i].class_index,
           (long long)f->problems[i].slot, (unsigned long long)f->problems[i].value);
}

static const size_t usual[SPACES] = {64 << 10, 1 << 20, 128 << 10};

CHECK_TEST(round_trip, "a filled graph walks without a problem and with the counts that were made") {
  struct fixture f;
  for (uint64_t seed = 0; seed < 8; seed++) {
    fixture_make(&f, usual, 1, seed);
    CHECK_EQ(walk(&f), 0);
    if (f.report.problems) show(&f);
    CHECK_EQ(f.report.objects, f.filled.objects);
    CHECK_EQ(f.report.free_chunks, f.filled.free_chunks);
    CHECK_EQ(f.report.classes, 21);
    CHECK(f.report.pointers > f.filled.pointers); /* nil and the class table too */
    for (int i = 0; i < SPACES; i++) {
      CHECK_EQ(f.report.segments[i].walked_bytes, usual[i]);
      CHECK(f.report.segments[i].objects > usual[i] / 200);
    }
    fixture_free(&f);
  }
}

CHECK_TEST(sizes, "every size in pages from the smallest fills to its last byte, with a free chunk at the end") {
  struct fixture f;
  for (size_t pages = 1; pages <= 70; pages++) {
    size_t sizes[SPACES] = {pages * 4096, 4096, pages * 4096 + 8 * (pages % 7)};
    fixture_make(&f, sizes, pages % 2, pages * 31);
    CHECK_EQ(walk(&f), 0);
    if (f.report.problems) show(&f);
    for (uint32_t i = 0; i < SPACES; i++) {
      struct spur_object last;
      CHECK(spur_object_at(&f.heap, i, sizes[i] - 1, &last));
      CHECK(last.is_free);
      CHECK_EQ(last.offset + last.bytes, sizes[i]);
    }
    fixture_free(&f);
  }
}

CHECK_TEST(formats, "the graph holds pointer, indexable, byte, 16-, 32- and 64-bit objects, methods, weak ones, "
                    "overflow sizes, and pointers between spaces") {
  struct fixture f;
  fixture_make(&f, usual, 1, 42);
  bool seen[32] = {false}, overflow = false, between = false, outward = false, tags[8] = {false};
  for (uint32_t s = 0; s < SPACES; s++) {
    struct spur_object o;
    for (uint64_t at = 0; at < usual[s]; at = o.offset + o.bytes) {
      REQUIRE(spur_object_at(&f.heap, s, at + 8 < usual[s] ? at + 8 : at, &o));
      if (o.is_free) continue;
      seen[o.format] = true;
      overflow |= o.slots >= 255;
      if (o.format <= SPUR_EPHEMERON)
        for (uint64_t i = 0; i < o.slots && !(o.class_index == SPUR_CLASS_CONTEXT && i > 5); i++) {
          uint64_t v;
          memcpy(&v, (uint8_t *)f.areas[s].bytes + o.offset + 8 + 8 * i, 8);
          tags[v & 7] = true;
          bool in_root = v - f.segments[1].address < usual[1];
          if ((v & 7) == 0) between |= s != 1 && in_root, outward |= s == 1 && !in_root;
        }
      if (at > 256 << 10) break; /* enough: finding each object walks from the start */
    }
  }
  for (unsigned i = 0; i <= 5; i++) CHECK(seen[i]);
  CHECK(seen[SPUR_BITS_64] && seen[SPUR_BITS_32] && seen[SPUR_BITS_32 + 1] && seen[SPUR_BITS_16] && seen[SPUR_BYTES] &&
        seen[SPUR_BYTES + 7] && seen[SPUR_METHOD]);
  CHECK(overflow && between && !outward);
  for (unsigned t = 0; t < 8; t++) CHECK_EQ(tags[t], t == 0 || t == 1 || t == 2 || t == 4);
  fixture_free(&f);
}

CHECK_TEST(deterministic, "the same seed gives the same graph, another seed another") {
  struct fixture f, g, h;
  fixture_make(&f, usual, 1, 7);
  fixture_make(&g, usual, 1, 7);
  fixture_make(&h, usual, 1, 8);
  for (int s = 0; s < SPACES; s++) {
    size_t equal = 0, relocated = 0, other = 0;
    for (size_t i = 0; i < usual[s] / 8; i++) {
      uint64_t a = ((uint64_t *)f.areas[s].bytes)[i], b = ((uint64_t *)g.areas[s].bytes)[i],
               c = ((uint64_t *)h.areas[s].bytes)[i];
      if (a == b) equal++;
      else
        for (int k = 0; k < SPACES; k++)
          if (a - f.segments[k].address == b - g.segments[k].address && a - f.segments[k].address < usual[k]) {
            relocated++;
            break;
          }
      other += a != c;
    }
    CHECK_EQ(equal + relocated, usual[s] / 8);
    CHECK(other > usual[s] / 16);
  }
  fixture_free(&f);
  fixture_free(&g);
  fixture_free(&h);
}

/* Finds the n-th object that `wanted` likes, in the middle of space 1. */
static bool find(struct fixture *f, uint32_t s, bool (*wanted)(const struct spur_object *), unsigned skip,
                 struct spur_object *o) {
  for (uint64_t at = 60000; at + 8 < f->areas[s].size; at = o->offset + o->bytes) {
    if (!spur_object_at(&f->heap, s, at + 8, o)) return false;
    if (wanted(o) && skip-- == 0) return true;
  }
  return false;
}
static uint64_t *word(struct fixture *f, uint32_t s, uint64_t offset) {
  return (uint64_t *)(void *)((uint8_t *)f->areas[s].bytes + offset);
}

static bool is_fixed(const struct spur_object *o) { return !o->is_free && o->format == SPUR_FIXED; }
static bool is_array(const struct spur_object *o) {
  return !o->is_free && o->format == SPUR_INDEXABLE && o->slots > 1 && o->slots < 255;
}
static bool is_method(const struct spur_object *o) { return !o->is_free && o->format >= SPUR_METHOD; }
static bool is_free(const struct spur_object *o) { return o->is_free; }
static bool is_large(const struct spur_object *o) { return !o->is_free && o->slots >= 255; }
static bool is_bytes(const struct spur_object *o) {
  return !o->is_free && o->format >= SPUR_BYTES && o->format < SPUR_METHOD && o->slots > 2;
}

/* Injects one damage, expects that kind, at that place, repairs it, expects none. */
#define INJECT(f, wanted, at, injected, problem_kind, at_slot)                                                     \
  do {                                                                                                             \
    struct spur_object o;                                                                                          \
    REQUIRE(find(&f, 1, wanted, n, &o));                                                                           \
    uint64_t *p = word(&f, 1, (at)), saved = *p;                                                                   \
    *p = (injected);                                                                                               \
    CHECK(walk(&f) > 0);                                                                                           \
    bool found = false;                                                                                            \
    for (uint32_t i = 0; i < f.report.kept; i++)                                                                   \
      found |= f.problems[i].kind == (problem_kind) && f.problems[i].segment == 1 &&                               \
               f.problems[i].object == o.offset && f.problems[i].slot == (at_slot);                                \
    CHECK(found);                                                                                                  \
    if (!found)                                                                                                    \
      printf("#   looked for %s at object %llu\n", spur_problem_name(problem_kind), (unsigned long long)o.offset), \
          show(&f);                                                                                                \
    *p = saved;                                                                                                    \
    CHECK_EQ(walk(&f), 0);                                                                                         \
  } while (0)

CHECK_TEST(damage_kinds, "each kind of injected damage is found, with the object and slot, and is gone when undone") {
  struct fixture f;
  fixture_make(&f, usual, 1, 99);
  for (unsigned n = 0; n < 3; n++) {
    uint64_t header_mask = ~(uint64_t)0x3fffff;
    INJECT(f, is_fixed, o.offset, (*p & header_mask) | 777, SPUR_BAD_CLASS, -1);
    INJECT(f, is_fixed, o.offset, (*p & header_mask) | 1, SPUR_BAD_CLASS, -1);
    INJECT(f, is_fixed, o.offset, (*p & header_mask) | SPUR_CLASS_STRING, SPUR_FORMAT_MISMATCH, -1);
    INJECT(f, is_fixed, o.offset, (*p & ~((uint64_t)31 << 24)) | (uint64_t)6 << 24, SPUR_BAD_FORMAT, -1);
    INJECT(f, is_bytes, o.offset, (*p & ~((uint64_t)31 << 24)) | (uint64_t)SPUR_BITS_64 << 24, SPUR_FORMAT_MISMATCH,
           -1);
    INJECT(f, is_fixed, o.offset, *p | SPUR_MARKED, SPUR_BAD_HEADER, -1);
    INJECT(f, is_fixed, o.offset, *p ^ (uint64_t)1 << 22, SPUR_BAD_HEADER, -1);
    INJECT(f, is_array, o.offset + 8, 0x4141414141414140ull, SPUR_BAD_POINTER, 0);
    INJECT(f, is_array, o.offset + 8, 0x4141414141414143ull, SPUR_BAD_TAG, 0);
    INJECT(f, is_array, o.offset + 16, 0, SPUR_BAD_POINTER, 1);
    INJECT(f, is_array, o.offset + 16, f.segments[1].address + o.offset + 8, SPUR_BAD_POINTER,
           1); /* into an object, not at its start */
    INJECT(f, is_method, o.offset + 8, 0x40, SPUR_BAD_METHOD, 0);
    INJECT(f, is_method, o.offset + 8, *p | (uint64_t)0x7fff << 3, SPUR_BAD_METHOD, 0);
    INJECT(f, is_method, o.offset + 16, f.segments[0].address + 8, SPUR_BAD_POINTER, 1);
    INJECT(f, is_free, o.offset, *p | 5ull << 32, SPUR_BAD_FREE_CHUNK, -1);
    INJECT(f, is_free, o.offset + 8, f.segments[1].address, SPUR_BAD_FREE_CHUNK, 0);
    INJECT(f, is_large, o.offset, (*p & ~((uint64_t)255 << 56)) | (uint64_t)3 << 56, SPUR_BAD_HEADER, -1);
  }
  fixture_free(&f);
}

CHECK_TEST(damage_free_pointer, "a pointer to a free chunk is told apart from a wild one") {
  struct fixture f;
  fixture_make(&f, usual, 1, 5);
  struct spur_object chunk;
  REQUIRE(find(&f, 1, is_free, 2, &chunk));
  for (unsigned n = 0; n < 3; n++)
    INJECT(f, is_array, o.offset + 8, f.segments[1].address + chunk.offset, SPUR_POINTER_TO_FREE, 0);
  fixture_free(&f);
}

CHECK_TEST(damage_chain,
           "a size that runs past the end breaks the chain once, and pointers behind the break are not blamed") {
  struct fixture f;
  fixture_make(&f, usual, 1, 6);
  struct spur_object o;
  REQUIRE(find(&f, 1, is_large, 0, &o));
  uint64_t *p = word(&f, 1, o.offset - 8), saved = *p;
  *p = (uint64_t)255 << 56 | 0xffffffffffffull;
  CHECK_EQ(walk(&f), 1);
  CHECK_EQ(f.problems[0].kind, SPUR_BAD_CHAIN);
  CHECK_EQ(f.problems[0].offset, o.offset - 8);
  CHECK_EQ(f.report.segments[1].walked_bytes, o.offset - 8);
  *p = (uint64_t)255 << 56 | 0x00ffffffffffffffull; /* times eight it would wrap round */
  CHECK_EQ(walk(&f), 1);
  *p = saved;
  CHECK_EQ(walk(&f), 0);
  fixture_free(&f);
}

CHECK_TEST(damage_roots,
           "a class that vanished from the table, a class with another hash, a lost nil, a zeroed page of memory") {
  struct fixture f;
  fixture_make(&f, usual, 1, 11);
  struct spur_object roots, page;
  REQUIRE(spur_object_at(&f.heap, 1, 16 * 3 + 8 + 64 * 8 + 16, &roots));
  CHECK_EQ(roots.class_index, SPUR_CLASS_ARRAY_PUN);
  REQUIRE(spur_object_at(&f.heap, 1, roots.offset + roots.bytes + 8, &page));
  CHECK_EQ(page.slots, 1024);
  uint64_t *entry = word(&f, 1, page.offset + 8 + 8 * SPUR_CLASS_POINT), class_oop = *entry;
  *entry = f.segments[1].address; /* nil */
  CHECK(walk(&f) > 100);
  CHECK_EQ(f.report.by_kind[SPUR_BAD_CLASS], f.report.problems);
  *entry = class_oop;
  uint64_t *class_header = word(&f, 1, class_oop - f.segments[1].address);
  *class_header ^= (uint64_t)1 << 40;
  CHECK_EQ(walk(&f), 1);
  CHECK_EQ(f.problems[0].kind, SPUR_BAD_CLASS_HASH);
  *class_header ^= (uint64_t)1 << 40;
  *word(&f, 1, 0) |= (uint64_t)2 << 24;
  CHECK(walk(&f) > 0);
  CHECK_EQ(f.problems[0].kind, SPUR_BAD_ROOTS);
  *word(&f, 1, 0) &= ~((uint64_t)2 << 24);
  CHECK_EQ(walk(&f), 0);
  memset(word(&f, 1, 512 << 10), 0, 4096);
  CHECK(walk(&f) > 0);
  fixture_free(&f);
}

CHECK_TEST(
    property_pointer_damage,
    "property: any pointer slot overwritten by any word that is neither immediate nor an object's address is found") {
  struct fixture f;
  const size_t sizes[SPACES] = {8192, 32768, 8192};
  fixture_make(&f, sizes, 1, 77);
  for (unsigned trial = 0; trial < 200; trial++) {
    uint32_t s = (uint32_t)(random64() % SPACES);
    struct spur_object o;
    uint64_t at = random64() % (sizes[s] - 8);
    if (!spur_object_at(&f.heap, s, at, &o) || o.is_free || o.slot < 0 || o.format > SPUR_EPHEMERON ||
        o.format == SPUR_FIXED_INDEXABLE || (uint64_t)o.slot >= o.slots)
      continue;
    uint64_t *p = word(&f, s, o.offset + 8 + 8 * (uint64_t)o.slot), saved = *p, value = random64() & ~(uint64_t)7;
    if (trial & 1) value |= (uint64_t[]){3, 5, 6, 7}[random64() & 3];
    *p = value;
    CHECK(walk(&f) >= 1);
    if (o.offset > 6000 || s != 1) { /* not a class or the class table, whose damage shows elsewhere */
      CHECK_EQ(f.report.problems, 1);
      CHECK_EQ(f.problems[0].object, o.offset);
      CHECK_EQ(f.problems[0].slot, o.slot);
      CHECK_EQ(f.problems[0].value, value);
    }
    *p = saved;
  }
  CHECK_EQ(walk(&f), 0);
  fixture_free(&f);
}

CHECK_TEST(property_arbitrary_bytes,
           "property: arbitrary bytes end in a report, never in a crash, in every family, word size and byte order") {
  enum { SIZE = 16384 };
  uint8_t *bytes = mmap(NULL, SIZE + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(bytes != MAP_FAILED);
  REQUIRE(mprotect(bytes + SIZE, 4096, PROT_NONE) == 0); /* the segment ends at a wall: a read past it dies */
  for (unsigned trial = 0; trial < 300; trial++) {
    size_t size = SIZE - (trial % 5 ? 0 : random64() % SIZE);
    uint8_t *at = bytes + SIZE - size;
    unsigned kind = trial % 4;
    for (size_t i = 0; i < size; i++)
      at[i] = kind == 0   ? (uint8_t)random64()
              : kind == 1 ? (uint8_t)(random64() & random64() & random64())
              : kind == 2 ? (random64() % 16 ? 0 : (uint8_t)random64())
                          : (uint8_t)(random64() | random64());
    struct spur_segment segment = {at, size, trial % 3 ? (uintptr_t)at : 0};
    for (unsigned variant = 0; variant < 12; variant++) {
      struct spur_heap heap = {.segments = &segment,
                               .count = 1,
                               .family = variant % 3 == 2,
                               .word_bytes = variant % 3 == 0 ? 8 : 4,
                               .swapped = variant & 4,
                               .strict = variant & 8,
                               .special_objects = random64() % size};
      struct spur_report report;
      struct spur_problem problems[4];
      CHECK_EQ(spur_walk(&heap, problems, 4, &report), 0);
      CHECK(report.kept <= 4);
      struct spur_object o;
      (void)spur_object_at(&heap, 0, size - 1, &o);
    }
    struct spur_file file;
    (void)spur_file_parse(at, size, &file);
  }
  munmap(bytes, SIZE + 8192);
}

CHECK_TEST(property_flipped_graph, "property: a graph with random bytes changed ends in a report") {
  struct fixture f;
  const size_t sizes[SPACES] = {8192, 65536, 8192};
  for (unsigned trial = 0; trial < 60; trial++) {
    fixture_make(&f, sizes, 1, trial);
    for (unsigned i = 0; i <= trial; i++) {
      uint32_t s = (uint32_t)(random64() % SPACES);
      ((uint8_t *)f.areas[s].bytes)[random64() % sizes[s]] = (uint8_t)random64();
    }
    (void)walk(&f);
    CHECK(f.report.kept <= 64 && f.report.kept <= f.report.problems);
    fixture_free(&f);
  }
}

CHECK_TEST(arguments, "areas too small, misaligned or absent are refused") {
  static uint64_t memory[1024];
  struct spur_area area = {memory, sizeof memory};
  CHECK_EQ(spur_fill(&area, 0, 0, 1, NULL), -EINVAL);
  CHECK_EQ(spur_fill(NULL, 1, 0, 1, NULL), -EINVAL);
  CHECK_EQ(spur_fill(&area, 1, 1, 1, NULL), -EINVAL);
  area.size = 2048;
  CHECK_EQ(spur_fill(&area, 1, 0, 1, NULL), -EINVAL);
  area.bytes = (uint8_t *)memory + 4;
  area.size = 4096;
  CHECK_EQ(spur_fill(&area, 1, 0, 1, NULL), -EINVAL);
  struct spur_report report;
  struct spur_segment segment = {memory, sizeof memory, 0};
  struct spur_heap heap = {.segments = &segment, .count = 1, .word_bytes = 3};
  CHECK_EQ(spur_walk(&heap, NULL, 0, &report), -EINVAL);
  heap.word_bytes = 8;
  heap.count = SPUR_MAX_SEGMENTS + 1;
  CHECK_EQ(spur_walk(&heap, NULL, 0, &report), -EINVAL);
}

CHECK_MAIN()
