/* image_file.c: image files of the Squeak/Spur family, made here in every word size and byte order: headers, segments,
 * walks.
 * More than 400 lines: files of both families are made by the same writer, and read by the same functions. */
#include "check.h"
#include "spur.h"

/* A file in the making. Words are written in the file's size and order. */
struct writer {
  uint8_t bytes[16384];
  size_t at;
  unsigned word;
  bool swap;
  uint64_t heap_offset, base; /* base: where pointers believe the byte at heap_offset to be */
};

static void raw32(struct writer *w, size_t at, uint32_t v) {
  if (w->swap) v = __builtin_bswap32(v);
  memcpy(w->bytes + at, &v, 4);
}
static void raw64(struct writer *w, size_t at, uint64_t v) {
  if (w->word == 4) {
    raw32(w, at, (uint32_t)v);
    raw32(w, at + 4, (uint32_t)(v >> 32));
    return;
  }
  if (w->swap) v = __builtin_bswap64(v);
  memcpy(w->bytes + at, &v, 8);
}
static void raw_word(struct writer *w, size_t at, uint64_t v) {
  if (w->word == 8) raw64(w, at, v);
  else raw32(w, at, (uint32_t)v);
}
static void put64(struct writer *w, uint64_t v) {
  raw64(w, w->at, v);
  w->at += 8;
}
static void put_word(struct writer *w, uint64_t v) {
  raw_word(w, w->at, v);
  w->at += w->word;
}
static uint64_t here(const struct writer *w) { return w->base + w->at - w->heap_offset; }
static uint64_t integer(const struct writer *w, int64_t v) {
  return w->word == 8 ? (uint64_t)v << 3 | 1 : (uint32_t)(v << 1 | 1);
}
static size_t place(const struct writer *w, uint64_t oop) { return oop - w->base + w->heap_offset; }

static void file_header(struct writer *w, uint32_t version, uint64_t heap_bytes, uint64_t special,
                        uint64_t first_segment, size_t prefix) {
  size_t h = prefix;
  raw32(w, h, version);
  raw32(w, h + 4, w->word == 8 ? 128 : 64);
  raw_word(w, h + 8, heap_bytes);
  raw_word(w, h + 8 + w->word, w->base);
  raw_word(w, h + 8 + 2 * w->word, special);
  raw_word(w, h + (w->word == 8 ? 72 : 48), first_segment);
}

/* ---- Spur ---- */

static uint64_t spur_object(struct writer *w, uint32_t class_index, uint32_t format, uint32_t hash, uint64_t slots) {
  if (slots >= 255) put64(w, (uint64_t)255 << 56 | slots);
  uint64_t oop = here(w);
  put64(w, spur_header(class_index, format, hash, slots >= 255 ? 255 : (uint32_t)slots));
  return oop;
}
static void spur_end(struct writer *w, uint64_t slots) {
  if (slots == 0) put64(w, 0);
  else if (w->word == 4 && slots % 2) put_word(w, 0);
}
static uint64_t spur_pointers(struct writer *w, uint32_t class_index, uint32_t format, const uint64_t *values,
                              uint64_t slots) {
  uint64_t oop = spur_object(w, class_index, format, 7, slots);
  for (uint64_t i = 0; i < slots; i++) put_word(w, values[i]);
  spur_end(w, slots);
  return oop;
}

struct spur_made {
  uint64_t array, method, large;
  size_t bytes, second;
};

static void spur_make(struct writer *w, unsigned word, bool swap, size_t prefix, struct spur_made *made) {
  memset(w, 0, sizeof *w);
  *w = (struct writer){.word = word, .swap = swap, .base = word == 8 ? 0x10000000000 : 0x1000000};
  w->heap_offset = w->at = prefix + (word == 8 ? 128 : 64);
  uint64_t nil = spur_object(w, 38, SPUR_ZERO_SIZED, 1, 0);
  spur_end(w, 0);
  for (unsigned i = 0; i < 2; i++) {
    spur_object(w, 39 + i, SPUR_ZERO_SIZED, 2, 0);
    spur_end(w, 0);
  }
  uint64_t lists = word * 8;
  spur_object(w, SPUR_CLASS_BITS_64_PUN, SPUR_BITS_64, 0, lists);
  for (uint64_t i = 0; i < lists; i++) put_word(w, 0);
  uint64_t roots[2], page[64];
  for (unsigned i = 0; i < 64; i++) page[i] = nil;
  roots[0] = roots[1] = nil;
  uint64_t roots_oop = spur_pointers(w, SPUR_CLASS_ARRAY_PUN, SPUR_INDEXABLE, roots, 2);
  uint64_t page_oop = spur_pointers(w, SPUR_CLASS_ARRAY_PUN, SPUR_INDEXABLE, page, 64);
  raw_word(w, place(w, roots_oop) + 8, page_oop);
  static const struct {
    uint32_t index, format, fixed;
  } classes[] = {
      {38, 0, 0},
      {39, 0, 0},
      {40, 0, 0},
      {SPUR_CLASS_CLASS, 1, 3},
      {SPUR_CLASS_ARRAY, 2, 0},
      {SPUR_CLASS_POINT, 1, 2},
      {SPUR_CLASS_METHOD, 24, 0},
      {SPUR_CLASS_STRING, 16, 0},
      {SPUR_CLASS_CONTEXT, 3, 6},
  };
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    uint64_t values[3] = {nil, nil, integer(w, classes[i].format << 16 | classes[i].fixed)};
    uint64_t oop = spur_pointers(w, SPUR_CLASS_CLASS, SPUR_FIXED, values, 3);
    raw_word(w, place(w, page_oop) + 8 + word * classes[i].index, oop);
  }
  uint64_t point[2] = {integer(w, -5), 'A' << (word == 8 ? 3 : 2) | 2};
  uint64_t point_oop = spur_pointers(w, SPUR_CLASS_POINT, SPUR_FIXED, point, 2);
  uint64_t array[5] = {nil, point_oop, point_oop, page_oop, integer(w, 1)};
  made->array = spur_pointers(w, SPUR_CLASS_ARRAY, SPUR_INDEXABLE, array, 5);
  uint64_t method[5] = {integer(w, 2 | 1 << 20), nil, made->array, 0x1234567, 0xffffffff};
  made->method = spur_pointers(w, SPUR_CLASS_METHOD, SPUR_METHOD + 3, method, 5);
  uint64_t context[9] = {nil,       integer(w, 1), integer(w, 1), nil,       nil,
                         point_oop, nil,           0x33333330,    0x44444444}; /* two dead slots */
  spur_pointers(w, SPUR_CLASS_CONTEXT, SPUR_FIXED_INDEXABLE, context, 9);
  static uint64_t many[300];
  for (unsigned i = 0; i < 300; i++) many[i] = i % 2 ? nil : integer(w, i);
  made->large = spur_pointers(w, SPUR_CLASS_ARRAY, SPUR_INDEXABLE, many, 300);
  uint64_t string_slots = 3;
  spur_object(w, SPUR_CLASS_STRING, SPUR_BYTES + 1, 9, string_slots);
  for (uint64_t i = 0; i < string_slots; i++) put_word(w, 0x3f3f3f3f3f3f3f3f);
  spur_end(w, string_slots);
  /* the first segment's bridge: a gap of 1000 words to the next, of which this file has little */
  size_t second = 16 + 2 * (word == 8 ? 24u : 16u) + 16; /* an empty array, two points, a bridge */
  put64(w, (uint64_t)255 << 56 | 1000);
  put64(w, second);
  size_t first = w->at - w->heap_offset;
  uint64_t old_base = w->base;
  w->base += 1000 * word;
  made->second = w->at;
  spur_pointers(w, SPUR_CLASS_ARRAY, SPUR_INDEXABLE, NULL, 0);
  uint64_t back[2] = {made->array, here(w)};
  spur_pointers(w, SPUR_CLASS_POINT, SPUR_FIXED, back, 2);
  spur_pointers(w, SPUR_CLASS_POINT, SPUR_FIXED, back, 2);
  put64(w, (uint64_t)255 << 56);
  put64(w, 0);
  CHECK_EQ(w->at - made->second, second);
  w->base = old_base;
  made->bytes = w->at;
  file_header(w, word == 8 ? 68021 : 6521, w->at - w->heap_offset, nil, first, prefix);
}

static int walk_file(const void *bytes, size_t size, struct spur_problem *problems, size_t capacity,
                     struct spur_report *report) {
  struct spur_file f;
  struct spur_segment segments[SPUR_MAX_SEGMENTS];
  if (spur_file_parse(bytes, size, &f) < 0) return -1;
  int n = spur_file_segments(bytes, size, &f, segments, SPUR_MAX_SEGMENTS);
  if (n < 0) return -2;
  struct spur_heap heap = {.segments = segments,
                           .count = (uint32_t)n,
                           .family = f.family,
                           .word_bytes = f.word_bytes,
                           .swapped = f.swapped,
                           .special_objects = f.special_objects};
  return spur_walk(&heap, problems, capacity, report) == 0 ? n : -3;
}
static void show(const struct spur_report *r, const struct spur_problem *p) {
  for (uint32_t i = 0; i < r->kept; i++)
    printf("#   %s segment %u offset %llu object %llu class %llu slot %lld value %llx\n", spur_problem_name(p[i].kind),
           p[i].segment, (unsigned long long)p[i].offset, (unsigned long long)p[i].object,
           (unsigned long long)p[i].class_index, (long long)p[i].slot, (unsigned long long)p[i].value);
}

CHECK_TEST(
    spur_files,
    "Spur files of 32 and 64 bits, in either byte order, with and without a prefix, walk clean over two segments") {
  static struct writer w;
  for (unsigned variant = 0; variant < 8; variant++) {
    struct spur_made made;
    struct spur_file f;
    struct spur_report r;
    struct spur_problem problems[4];
    unsigned word = variant & 1 ? 8 : 4;
    spur_make(&w, word, variant & 2, variant & 4 ? 512 : 0, &made);
    CHECK_EQ(spur_file_parse(w.bytes, made.bytes, &f), 0);
    CHECK_EQ(f.word_bytes, word);
    CHECK_EQ(f.family, SPUR_FAMILY_SPUR);
    CHECK_EQ(f.swapped, (variant & 2) != 0);
    CHECK_EQ(f.file_offset, variant & 4 ? 512 : 0);
    CHECK_EQ(f.base_address, w.base);
    CHECK_EQ(walk_file(w.bytes, made.bytes, problems, 4, &r), 2);
    CHECK_EQ(r.problems, 0);
    if (r.problems) show(&r, problems);
    CHECK_EQ(r.objects, 6 + 9 + 6 + 3);
    CHECK_EQ(r.classes, 9);
    CHECK_EQ(r.segments[1].objects, 3);
    /* damage: a pointer, a header, a size */
    size_t slot = place(&w, made.array) + 8 + word;
    raw_word(&w, slot, w.base + 4096 * word);
    CHECK_EQ(walk_file(w.bytes, made.bytes, problems, 4, &r), 2);
    CHECK_EQ(r.problems, 1);
    CHECK_EQ(problems[0].kind, SPUR_BAD_POINTER);
    CHECK_EQ(problems[0].offset, slot - w.heap_offset);
    CHECK_EQ(problems[0].slot, 1);
    CHECK_EQ(problems[0].class_index, SPUR_CLASS_ARRAY);
    raw_word(&w, slot, w.base);
    raw64(&w, place(&w, made.method), spur_header(1000, SPUR_METHOD, 0, 5));
    walk_file(w.bytes, made.bytes, problems, 4, &r);
    CHECK_EQ(r.problems, 1);
    CHECK_EQ(problems[0].kind, SPUR_BAD_CLASS);
    raw64(&w, place(&w, made.large) - 8, (uint64_t)255 << 56 | 1 << 20);
    walk_file(w.bytes, made.bytes, problems, 4, &r);
    CHECK(r.by_kind[SPUR_BAD_CHAIN] == 1);
  }
}

/* ---- V3 ---- */

struct v3_made {
  uint64_t array, method, special, context;
  size_t bytes;
};

/* One to three header words; returns the oop. class_oop 0: compact. */
static uint64_t v3_object(struct writer *w, uint32_t compact, uint64_t class_oop, uint32_t format, uint32_t words,
                          bool three) {
  uint32_t size = 4 * (words + 1), type = three ? 0 : class_oop ? 1 : 3;
  if (three) {
    put_word(w, size);
    put_word(w, class_oop);
  } else if (class_oop) put_word(w, class_oop | 1);
  uint64_t oop = here(w);
  put_word(w, type | (three ? 0 : size & 0xfc) | format << 8 | compact << 12 | 5u << 17);
  return oop;
}

static void v3_make(struct writer *w, bool swap, struct v3_made *made) {
  memset(w, 0, sizeof *w);
  *w = (struct writer){.word = 4, .swap = swap, .base = 0x2000000};
  w->heap_offset = w->at = 64;
  uint64_t nil = w->base + 4;
  size_t nil_class = w->at;
  CHECK_EQ(v3_object(w, 0, 0x77777774, 0, 0, false), nil); /* its class comes later */
  uint64_t undefined = v3_object(w, 0, nil, 1, 3, false);  /* a class, more or less */
  for (int i = 0; i < 3; i++) put_word(w, nil);
  raw32(w, nil_class, (uint32_t)undefined | 1);
  uint64_t compact = v3_object(w, 0, undefined, 2, 31, false);
  for (unsigned i = 1; i <= 31; i++) put_word(w, i == 2 || i == 3 || i == 14 || i == 12 ? undefined : nil);
  made->special = v3_object(w, 3, 0, 2, 40, false);
  for (unsigned i = 0; i < 40; i++) put_word(w, i == 28 ? compact : nil);
  made->array = v3_object(w, 3, 0, 2, 3, false);
  put_word(w, nil);
  put_word(w, undefined);
  put_word(w, integer(w, -7));
  v3_object(w, 0, undefined, 6, 100, true); /* words, with a size of its own */
  for (int i = 0; i < 100; i++) put_word(w, 0x88888888);
  made->method = v3_object(w, 12, 0, 12, 5, false); /* two literals, two words of bytecodes */
  put_word(w, integer(w, 2 << 9));
  put_word(w, nil);
  put_word(w, made->array);
  put_word(w, 0xfefefefe);
  put_word(w, 0x88888888);
  made->context = v3_object(w, 14, 0, 3, 9, false); /* sp 1: two dead slots */
  put_word(w, nil);
  put_word(w, integer(w, 1));
  put_word(w, integer(w, 1));
  put_word(w, nil);
  put_word(w, nil);
  put_word(w, nil);
  put_word(w, nil);
  put_word(w, 0x88888888);
  put_word(w, 0x12121210);
  v3_object(w, 0, undefined, 9, 2, false); /* seven bytes */
  put_word(w, 0x61616161);
  put_word(w, 0x00616161);
  put_word(w, 12 | 2);
  put_word(w, 0xdeadbeec);
  put_word(w, 0xdeadbeec); /* a free chunk of three words */
  v3_object(w, 0, undefined, 0, 0, false);
  made->bytes = w->at;
  file_header(w, 6504, w->at - w->heap_offset, made->special, 0, 0);
}

CHECK_TEST(
    v3_files,
    "V3 files in either byte order walk clean: one, two and three header words, contexts, methods, free chunks") {
  static struct writer w;
  for (unsigned swap = 0; swap < 2; swap++) {
    struct v3_made made;
    struct spur_report r;
    struct spur_problem problems[4];
    v3_make(&w, swap, &made);
    CHECK_EQ(walk_file(w.bytes, made.bytes, problems, 4, &r), 1);
    CHECK_EQ(r.problems, 0);
    if (r.problems) show(&r, problems);
    CHECK_EQ(r.objects, 10);
    CHECK_EQ(r.free_chunks, 1);
    CHECK_EQ(r.free_bytes, 12);
    CHECK_EQ(r.classes, 4);
    size_t slot = place(&w, made.array) + 8;
    raw32(&w, slot, (uint32_t)w.base + 2);
    walk_file(w.bytes, made.bytes, problems, 4, &r);
    CHECK_EQ(r.problems, 1);
    CHECK_EQ(problems[0].kind, SPUR_BAD_POINTER);
    CHECK_EQ(problems[0].object, place(&w, made.array) - 64);
    CHECK_EQ(problems[0].slot, 1);
    v3_make(&w, swap, &made);
    raw32(&w, place(&w, made.method), 3 | 5u << 8 | 12u << 12 | 24); /* format 5 */
    walk_file(w.bytes, made.bytes, problems, 4, &r);
    CHECK_EQ(r.problems, 1);
    CHECK_EQ(problems[0].kind, SPUR_BAD_FORMAT);
    raw32(&w, place(&w, made.method), 3 | 12u << 8 | 9u << 12 | 24); /* compact class 9 is nil */
    walk_file(w.bytes, made.bytes, problems, 4, &r);
    CHECK_EQ(problems[0].kind, SPUR_BAD_CLASS);
    raw32(&w, place(&w, made.method), 3 | 12u << 8 | 12u << 12 | 0); /* no size */
    walk_file(w.bytes, made.bytes, problems, 4, &r);
    CHECK_EQ(r.by_kind[SPUR_BAD_CHAIN], 1);
    v3_make(&w, swap, &made);
    raw32(&w, place(&w, made.method) + 4, (uint32_t)integer(&w, 200 << 9));
    walk_file(w.bytes, made.bytes, problems, 4, &r);
    CHECK_EQ(problems[0].kind, SPUR_BAD_METHOD);
    v3_make(&w, swap, &made);
    raw32(&w, place(&w, made.special) + 4 + 4 * 28, 0x10);
    walk_file(w.bytes, made.bytes, problems, 4, &r);
    CHECK_EQ(problems[0].kind, SPUR_BAD_ROOTS);
  }
}

CHECK_TEST(versions, "every version of the family is told apart; other bytes are no image file") {
  static struct writer w;
  static const struct {
    uint32_t version, family, word;
    bool many;
  } known[] = {
      {6502, 1, 4, false},  {6504, 1, 4, false},  {6505, 1, 4, false},  {6521, 0, 4, false},  {7033, 0, 4, true},
      {68000, 1, 8, false}, {68002, 1, 8, false}, {68003, 1, 8, false}, {68021, 0, 8, false}, {68533, 0, 8, true},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    for (unsigned swap = 0; swap < 2; swap++) {
      struct spur_file f;
      memset(&w, 0, sizeof w);
      w.word = known[i].word;
      w.swap = swap;
      w.base = 0x123450;
      file_header(&w, known[i].version, 1000, w.base + 8, 500, 0);
      CHECK_EQ(spur_file_parse(w.bytes, 200, &f), 0);
      CHECK_EQ(f.version, known[i].version);
      CHECK_EQ(f.family, known[i].family);
      CHECK_EQ(f.word_bytes, known[i].word);
      CHECK_EQ(f.multiple_bytecodes, known[i].many);
      CHECK_EQ(f.swapped, swap);
      CHECK_EQ(f.heap_bytes, 1000);
      CHECK_EQ(f.base_address, 0x123450);
      CHECK_EQ(f.special_objects, 0x123458);
      CHECK_EQ(f.first_segment_bytes, known[i].family ? 0 : 500);
    }
  struct spur_file f;
  CHECK_EQ(spur_file_parse("\x7f"
                           "ELF",
                           4, &f),
           -EINVAL);
  CHECK_EQ(spur_file_parse(w.bytes, 10, &f), -EINVAL);
  memset(w.bytes, 0, 4);
  CHECK_EQ(spur_file_parse(w.bytes, 2000, &f), -EINVAL);
  CHECK_EQ(spur_file_parse(NULL, 0, &f), -EINVAL);
}

CHECK_TEST(
    property_cut,
    "property: a file cut anywhere, or with a header word changed, is refused or walked, never read past its end") {
  static struct writer w;
  uint8_t *wall = mmap(NULL, 5 * 4096 + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(wall != MAP_FAILED && mprotect(wall + 5 * 4096, 4096, PROT_NONE) == 0);
  uint64_t state = 99;
  for (unsigned variant = 0; variant < 6; variant++) {
    struct spur_made spur;
    struct v3_made v3;
    size_t bytes;
    if (variant < 4) {
      spur_make(&w, variant & 1 ? 8 : 4, variant & 2, 0, &spur);
      bytes = spur.bytes;
    } else {
      v3_make(&w, variant & 1, &v3);
      bytes = v3.bytes;
    }
    struct spur_report r;
    struct spur_problem problems[2];
    unsigned refused = 0;
    for (size_t size = 0; size <= bytes; size += 1 + size / 23) {
      uint8_t *at = wall + 5 * 4096 - size;
      memcpy(at, w.bytes, size);
      refused += walk_file(at, size, problems, 2, &r) < 0;
    }
    CHECK(refused > 20);
    for (unsigned trial = 0; trial < 300; trial++) {
      uint8_t *at = wall + 5 * 4096 - bytes;
      memcpy(at, w.bytes, bytes);
      state = state * 6364136223846793005u + 1;
      size_t where = trial < 150 ? (state >> 40) % 96 : (state >> 40) % bytes;
      at[where] = (uint8_t)(state >> 33);
      (void)walk_file(at, bytes, problems, 2, &r);
    }
  }
}

CHECK_MAIN()
