/*
 * Memory that the VM maps itself: adopted, protected, moved, given up, in any order and under every mechanism; tags and
 * access as the kernel shows them, page by page, against a model.
 */
#define _GNU_SOURCE
#include "pkeys_test.h"

#define PAGE 4096u
#define NONE PROT_NONE
#define R PROT_READ
#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)
#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

static char *map(size_t pages, int protection) {
  void *memory = mmap(NULL, pages * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) abort();
  return memory;
}

/* An image of three spaces without memory, young, old and code. */
static struct pkeys_image *create(enum pkeys_mechanism mechanism, enum pkeys_key_mode mode) {
  const struct pkeys_space_request requests[] = {{.name = "young"}, {.name = "old"}, {.name = "code"}};
  struct pkeys_image *image = NULL;
  CHECK_EQ(pkeys_image_create(requests, 3, mode, &image, NULL), 0);
  if (image && mechanism) CHECK_EQ(pkeys_image_set_mechanism(image, mechanism), 0);
  return image;
}
static bool closes(enum pkeys_mechanism m) { return m != PKEYS_MECHANISM_NONE && m != PKEYS_MECHANISM_FLAG; }

static const char *access_text(int protection, char text[5]) {
  snprintf(text, 5, "%c%c%cp", protection & PROT_READ ? 'r' : '-', protection & PROT_WRITE ? 'w' : '-',
           protection & PROT_EXEC ? 'x' : '-');
  return text;
}
/* Access and key of the page, as smaps shows them. */
static void check_page(const void *page, int protection, int key) {
  char seen[5] = "", wanted[5];
  CHECK_EQ(smaps_key(page, seen), key);
  CHECK_STR(seen, access_text(protection, wanted));
}

CHECK_TEST(each, "each mechanism closes adopted ranges in a callout and opens them as the VM had them, page for page") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    struct pkeys_image *image = create(m, PKEYS_KEY_PER_IMAGE);
    char *heap = map(8, NONE);
    CHECK_EQ(pkeys_space_adopt(image, 0, heap, 4 * PAGE, RW), 0);
    CHECK_EQ(pkeys_space_adopt(image, 1, heap + 4 * PAGE, 4 * PAGE, RW), 0);
    int key = space_at(image, 0).key;
    CHECK_EQ(key != 0, test_keyed(m));
    CHECK_EQ(pkeys_range_protect(heap + PAGE, PAGE, R), 0);
    CHECK_EQ(pkeys_range_protect(heap + 2 * PAGE, PAGE, RX), 0);
    CHECK_EQ(pkeys_range_protect(heap + 3 * PAGE, PAGE, NONE), 0);
    heap[0] = heap[7 * PAGE] = 1;
    for (int round = 0; round < 3; round++) {
      CHECK_EQ(test_enter(false), 0);
      bool first = can_write(heap), read_only = can_write(heap + PAGE), last = can_write(heap + 8 * PAGE - 1),
           read = can_read(heap), code = can_read(heap + 2 * PAGE);
      CHECK_EQ(test_leave(false), 0);
      CHECK_EQ(first, !closes(m));
      CHECK_EQ(last, !closes(m));
      CHECK(!read_only && read && code);
      check_page(heap, RW, key);
      check_page(heap + PAGE, R, key);
      check_page(heap + 2 * PAGE, RX, key);
      check_page(heap + 3 * PAGE, NONE, key);
      check_page(heap + 7 * PAGE, RW, key);
    }
    CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
    CHECK_EQ(pkeys_image_close(image), 0);
    check_page(heap, RW, 0);
    check_page(heap + 2 * PAGE, RX, 0);
    check_page(heap + 3 * PAGE, NONE, 0);
    munmap(heap, 8 * PAGE);
  }
}

CHECK_TEST(before, "ranges that are adopted before the image has a mechanism get its keys with it") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    struct pkeys_image *image = create(PKEYS_MECHANISM_UNSET, PKEYS_KEY_PER_SPACE);
    char *heap = map(3, RW);
    for (size_t s = 0; s < 3; s++) CHECK_EQ(pkeys_space_adopt(image, s, heap + s * PAGE, PAGE, RW), 0);
    CHECK_EQ(pkeys_image_set_mechanism(image, m), 0);
    for (size_t s = 0; s < 3; s++) {
      int key = space_at(image, s).key;
      check_page(heap + s * PAGE, RW, key);
      CHECK_EQ(key != 0, test_keyed(m));
      for (size_t other = 0; other < s && key; other++) CHECK(key != space_at(image, other).key);
    }
    CHECK_EQ(pkeys_image_close(image), 0);
    munmap(heap, 3 * PAGE);
  }
}

CHECK_TEST(closed_meanwhile, "what a VM thread asks for while others' callouts have the image closed stays closed, and "
                             "comes with the opening") {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_PAGE; m <= PKEYS_MECHANISM_MPROTECT_RANGE; m++) {
    struct pkeys_image *image = create(m, PKEYS_KEY_PER_IMAGE);
    char *heap = map(4, NONE), *more = map(2, NONE);
    CHECK_EQ(pkeys_space_adopt(image, 0, heap, 4 * PAGE, R), 0);
    CHECK_EQ(pkeys_enter_foreign(false), 0);
    CHECK_EQ(pkeys_range_protect(heap, PAGE, RW), 0);
    CHECK_EQ(pkeys_range_protect(heap + PAGE, PAGE, RWX), 0);
    CHECK_EQ(pkeys_space_adopt(image, 1, more, 2 * PAGE, RW), 0);
    check_page(heap, R, 0);
    check_page(heap + PAGE, RX, 0);
    check_page(more, R, 0);
    CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
    CHECK_EQ(pkeys_range_release(more + PAGE, PAGE), 0);
    check_page(more + PAGE, RW, 0);
    CHECK_EQ(pkeys_leave_foreign(false), 0);
    check_page(heap, RW, 0);
    check_page(heap + PAGE, RWX, 0);
    check_page(heap + 2 * PAGE, R, 0);
    check_page(more, RW, 0);
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

CHECK_TEST(joins, "alike neighbours are one range, what acts on a part splits it, and each address finds its own") {
  struct pkeys_image *image = create(PKEYS_MECHANISM_FLAG, PKEYS_KEY_PER_IMAGE);
  char *heap = map(16, NONE);
  struct pkeys_range range;
  CHECK(!pkeys_range_next(0, &range));
  for (size_t page = 0; page < 16; page += 2) CHECK_EQ(pkeys_space_adopt(image, 0, heap + page * PAGE, PAGE, RW), 0);
  for (size_t page = 0; page < 16; page++) {
    struct pkeys_space space;
    CHECK_EQ(pkeys_find_space((uintptr_t)heap + page * PAGE + 17, &space), page % 2 == 0);
    if (page == 15) continue;
    CHECK(pkeys_range_next((uintptr_t)heap + page * PAGE, &range));
    CHECK_EQ(range.address, (uintptr_t)heap + (page + page % 2) * PAGE);
    CHECK_EQ(range.bytes, PAGE);
  }
  for (size_t page = 1; page < 16; page += 2) CHECK_EQ(pkeys_space_adopt(image, 0, heap + page * PAGE, PAGE, RW), 0);
  CHECK(pkeys_range_next(0, &range));
  CHECK_EQ(range.address, (uintptr_t)heap);
  CHECK_EQ(range.bytes, 16 * PAGE);
  CHECK(!pkeys_range_next((uintptr_t)heap + 16 * PAGE, &range));
  CHECK_EQ(pkeys_range_protect(heap + 4 * PAGE, PAGE, R), 0);
  CHECK(pkeys_range_next((uintptr_t)heap + 5 * PAGE, &range));
  CHECK_EQ(range.address, (uintptr_t)heap + 5 * PAGE);
  CHECK_EQ(range.bytes, 11 * PAGE);
  CHECK_EQ(pkeys_space_adopt(image, 1, heap + 8 * PAGE, 2 * PAGE, RW), 0); /* to another space */
  CHECK(pkeys_range_next((uintptr_t)heap + 8 * PAGE, &range));
  CHECK_EQ(range.bytes, 2 * PAGE);
  CHECK_EQ(range.space, 1);
  CHECK_EQ(pkeys_range_protect(heap + 4 * PAGE, PAGE, RW), 0);
  CHECK_EQ(pkeys_space_adopt(image, 0, heap + 8 * PAGE, 2 * PAGE, RW), 0);
  CHECK(pkeys_range_next(0, &range));
  CHECK_EQ(range.bytes, 16 * PAGE);
  CHECK_EQ(pkeys_range_release(heap, 16 * PAGE), 0);
  CHECK(!pkeys_range_next(0, &range));
  CHECK_EQ(pkeys_image_close(image), 0);
}

CHECK_TEST(refuses, "wrong ranges are refused, and change nothing") {
  struct pkeys_image *image = create(PKEYS_MECHANISM_FLAG, PKEYS_KEY_PER_IMAGE),
                     *mapped = image_of(PKEYS_MECHANISM_FLAG);
  char *heap = map(4, RW), *eden = (char *)space_at(mapped, 0).address;
  struct pkeys_range range;
  void *moved;
  const struct pkeys_space_request with_bytes = {.name = "a", .bytes = 4096};
  struct pkeys_image *none;
  CHECK_EQ(pkeys_image_create(&with_bytes, 1, PKEYS_KEY_PER_IMAGE, &none, NULL), -EINVAL);
  CHECK_EQ(pkeys_space_adopt(image, 3, heap, PAGE, RW), -EINVAL);
  CHECK_EQ(pkeys_space_adopt(NULL, 0, heap, PAGE, RW), -EINVAL);
  CHECK_EQ(pkeys_space_adopt(image, 0, heap + 1, PAGE, RW), -EINVAL);
  CHECK_EQ(pkeys_space_adopt(image, 0, heap, 0, RW), -EINVAL);
  CHECK_EQ(pkeys_space_adopt(image, 0, heap, SIZE_MAX, RW), -EINVAL);
  CHECK_EQ(pkeys_space_adopt(image, 0, heap, PAGE, 64), -EINVAL);
  CHECK_EQ(pkeys_space_adopt(image, 0, eden, PAGE, RW), -EEXIST);
  CHECK_EQ(pkeys_range_protect(heap, PAGE, R), -ENOENT);
  CHECK_EQ(pkeys_range_protect(eden, PAGE, R), -ENOENT);
  CHECK_EQ(pkeys_range_remap(heap, PAGE, 2 * PAGE, MREMAP_MAYMOVE, NULL, &moved), -ENOENT);
  CHECK_EQ(pkeys_range_release(heap, 4 * PAGE), 0);
  CHECK(!pkeys_range_next(0, &range));
  CHECK_EQ(pkeys_space_adopt(image, 0, heap, 2 * PAGE, RW), 0);
  CHECK_EQ(pkeys_range_protect(heap, 3 * PAGE, R), -ENOENT);
  check_page(heap, RW, 0);
  CHECK_EQ(pkeys_space_resize(image, 0, PAGE), -ENOMEM);
  CHECK_EQ(pkeys_space_neighbour(image, 0, 16, &moved), -EINVAL);
  CHECK_EQ(pkeys_image_close(image), 0);
  CHECK_EQ(pkeys_space_adopt(image, 0, heap, PAGE, RW), -EINVAL);
}

CHECK_TEST(hole, "a range with a hole in it is not adopted: what was adopted before is as before, the rest untagged") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    struct pkeys_image *image = create(m, PKEYS_KEY_PER_IMAGE);
    char *heap = map(6, RW);
    int key = space_at(image, 0).key;
    CHECK_EQ(pkeys_space_adopt(image, 0, heap + PAGE, PAGE, R), 0);
    munmap(heap + 4 * PAGE, PAGE);
    CHECK_EQ(pkeys_space_adopt(image, 0, heap, 6 * PAGE, RW), -ENOMEM);
    check_page(heap, RW, 0);
    check_page(heap + PAGE, R, key);
    check_page(heap + 3 * PAGE, RW, 0);
    check_page(heap + 5 * PAGE, RW, 0);
    CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
    /* Unmapped behind the layer's back: what is still there is untagged all the same. */
    CHECK_EQ(pkeys_space_adopt(image, 0, heap, 4 * PAGE, RW), 0);
    munmap(heap + PAGE, PAGE);
    uintptr_t where = 0;
    CHECK_EQ(pkeys_image_verify_tags(image, &where), -EKEYREJECTED);
    CHECK_EQ(where, (uintptr_t)heap + PAGE);
    CHECK_EQ(pkeys_range_release(heap, 4 * PAGE), 0);
    check_page(heap, RW, 0);
    check_page(heap + 3 * PAGE, RW, 0);
    CHECK_EQ(pkeys_image_close(image), 0);
    munmap(heap, 6 * PAGE);
  }
}

/* ---- any order ------------------------------------------------------------------------------------------------ */

enum { PAGES = 192, MOST = 12 };
struct page {
  bool mapped;
  int space; /* -1: not adopted */
  int protection;
};
static struct page model[PAGES];
static char *arena;
static struct pkeys_image *heap_image;
static int keys[3];
static bool inside;

static char *page_at(size_t page) { return arena + page * PAGE; }

/* What smaps shows of the arena, in one pass. */
static void see(int access[PAGES], int key[PAGES]) {
  for (size_t i = 0; i < PAGES; i++) access[i] = -1, key[i] = 0;
  FILE *file = fopen("/proc/self/smaps", "r");
  if (!file) abort();
  char line[512], perms[5];
  unsigned long first, last;
  size_t from = 0, to = 0;
  int number;
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "%lx-%lx %4s", &first, &last, perms) == 3) {
      uintptr_t start = (uintptr_t)arena, end = start + PAGES * PAGE;
      first = first < start ? start : first > end ? end : first;
      last = last < start ? start : last > end ? end : last;
      from = (first - start) / PAGE;
      to = (last - start) / PAGE;
      for (size_t i = from; i < to; i++)
        access[i] = (perms[0] == 'r' ? R : 0) | (perms[1] == 'w' ? PROT_WRITE : 0) | (perms[2] == 'x' ? PROT_EXEC : 0);
    } else if (sscanf(line, "ProtectionKey: %d", &number) == 1) {
      for (size_t i = from; i < to; i++) key[i] = number;
    }
  }
  fclose(file);
}

static bool compare_with_model(enum pkeys_mechanism m) {
  int access[PAGES], key[PAGES];
  see(access, key);
  bool closed = inside && (m == PKEYS_MECHANISM_MPROTECT_PAGE || m == PKEYS_MECHANISM_MPROTECT_RANGE), right = true;
  for (size_t i = 0; i < PAGES; i++) {
    bool adopted = model[i].space >= 0;
    int wanted = !model[i].mapped ? -1 : adopted && closed ? model[i].protection & ~PROT_WRITE : model[i].protection;
    int wanted_key = adopted ? keys[model[i].space] : 0;
    if (access[i] == wanted && key[i] == wanted_key) continue;
    printf("#   page %zu: access %d key %d, expected %d and %d\n", i, access[i], key[i], wanted, wanted_key);
    right = false;
  }
  /* The table: the longest runs of pages that are alike. */
  struct pkeys_range range;
  uintptr_t from = 0;
  for (size_t i = 0; i < PAGES;) {
    size_t end = i + 1;
    if (model[i].space < 0) {
      i = end;
      continue;
    }
    while (end < PAGES && model[end].space == model[i].space && model[end].protection == model[i].protection) end++;
    if (!pkeys_range_next(from, &range) || range.address != (uintptr_t)page_at(i) || range.bytes != (end - i) * PAGE ||
        range.protection != model[i].protection || (int)range.space != model[i].space) {
      printf("#   pages %zu to %zu are one range of space %d, and the table says otherwise\n", i, end, model[i].space);
      right = false;
    }
    from = (uintptr_t)page_at(end);
    i = end;
  }
  if (pkeys_range_next(from, &range)) right = false;
  return right;
}

static bool all(size_t first, size_t count, bool (*is)(const struct page *page)) {
  for (size_t i = first; i < first + count; i++)
    if (!is(&model[i])) return false;
  return true;
}
static bool is_mapped(const struct page *page) { return page->mapped; }
static bool is_adopted(const struct page *page) { return page->space >= 0; }
static void become(size_t first, size_t count, bool mapped, int space, int protection) {
  for (size_t i = first; i < first + count; i++) model[i] = (struct page){mapped, space, protection};
}

static void fresh(size_t first, size_t count) {
  CHECK_EQ(pkeys_range_forget(page_at(first), count * PAGE), 0);
  CHECK(mmap(page_at(first), count * PAGE, NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
        page_at(first));
}

static void step(unsigned *seed) {
  static const int protections[] = {NONE, R, RW, RW, RW, RX, RWX, PROT_EXEC};
  size_t first = test_random(seed) % (PAGES - 2 * MOST), count = 1 + test_random(seed) % MOST;
  int space = (int)(test_random(seed) % 3), protection = protections[test_random(seed) % 8];
  char *address = page_at(first);
  size_t bytes = count * PAGE;
  switch (test_random(seed) % 10) {
    case 0:
    case 1: /* map */
      fresh(first, count);
      CHECK_EQ(pkeys_space_adopt(heap_image, (size_t)space, address, bytes, protection), 0);
      become(first, count, true, space, protection);
      return;
    case 2: /* adopt what is there */
      if (!all(first, count, is_mapped)) return;
      CHECK_EQ(pkeys_space_adopt(heap_image, (size_t)space, address, bytes, protection), 0);
      become(first, count, true, space, protection);
      return;
    case 3:
    case 4: { /* protect */
      bool adopted = all(first, count, is_adopted);
      CHECK_EQ(pkeys_range_protect(address, bytes, protection), adopted ? 0 : -ENOENT);
      for (size_t i = first; i < first + count && adopted; i++) model[i].protection = protection;
      return;
    }
    case 5: /* discard */
      if (all(first, count, is_mapped)) CHECK_EQ(madvise(address, bytes, MADV_DONTNEED), 0);
      return;
    case 6: /* unmap */
      CHECK_EQ(pkeys_range_forget(address, bytes), 0);
      CHECK_EQ(munmap(address, bytes), 0);
      become(first, count, false, -1, 0);
      return;
    case 7: /* release */
      CHECK_EQ(pkeys_range_release(address, bytes), 0);
      for (size_t i = first; i < first + count; i++) model[i].space = -1;
      return;
    case 8: { /* move one page elsewhere, and make it longer */
      size_t to = (first + MOST + test_random(seed) % MOST) % (PAGES - MOST);
      bool adopted = is_adopted(&model[first]);
      void *moved = NULL;
      if (first >= to && first < to + count) return;
      int error = pkeys_range_remap(address, PAGE, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, page_at(to), &moved);
      CHECK_EQ(error, adopted ? 0 : -ENOENT);
      if (error) return;
      CHECK(moved == page_at(to));
      become(to, count, true, model[first].space, model[first].protection);
      become(first, 1, false, -1, 0);
      return;
    }
    case 9: /* execute-only behind the layer's back takes the kernel's own key; said, it gets ours again */
      if (!all(first, count, is_adopted)) return;
      CHECK_EQ(mprotect(address, bytes, PROT_EXEC), 0);
      CHECK_EQ(pkeys_range_protect(address, bytes, protection), 0);
      for (size_t i = first; i < first + count; i++) model[i].protection = protection;
      return;
  }
}

/* Broken once: what is left above a range cut in two is forgotten; neighbours that are alike are not joined. */
CHECK_TEST(any_order, "random sequences of map, adopt, protect, discard, move, unmap, release, enter and leave: key, "
                      "access and table are the model's after each step, under every mechanism") {
  unsigned seed = (unsigned)check_random();
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    heap_image = create(m, m == PKEYS_MECHANISM_PKEYS_GLIBC ? PKEYS_KEY_PER_IMAGE : PKEYS_KEY_PER_SPACE);
    for (size_t s = 0; s < 3; s++) keys[s] = space_at(heap_image, s).key;
    arena = map(PAGES, NONE);
    become(0, PAGES, true, -1, NONE);
    for (int i = 0; i < 400; i++) {
      if (test_hooked(m) && m != PKEYS_MECHANISM_MPROTECT_NAIVE && test_random(&seed) % 8 == 0) {
        CHECK_EQ(inside ? pkeys_leave_foreign(false) : pkeys_enter_foreign(false), 0);
        inside = !inside;
      }
      step(&seed);
      bool right = compare_with_model(m);
      CHECK(right);
      if (i % 16 == 0) CHECK_EQ(pkeys_image_verify_tags(heap_image, NULL), 0);
      if (!right) {
        printf("#   %s, step %d\n", pkeys_mechanism_name(m), i);
        return;
      }
    }
    if (inside) CHECK_EQ(pkeys_leave_foreign(false), 0);
    inside = false;
    CHECK_EQ(pkeys_image_close(heap_image), 0);
    for (size_t i = 0; i < PAGES; i++) model[i].space = -1;
    CHECK(compare_with_model(m));
    munmap(arena, PAGES * PAGE);
  }
}

/* ---- many ----------------------------------------------------------------------------------------------------- */

CHECK_TEST(many, "10,000 ranges: each is found, all are closed and opened, and the table says when it is full") {
  struct pkeys_image *image = create(PKEYS_MECHANISM_MPROTECT_RANGE, PKEYS_KEY_PER_IMAGE);
  enum { RANGES = 10000 };
  /* Read-only neighbours keep the mappings apart, as a heap's guards do. */
  char *heap = map(2 * RANGES, R);
  for (size_t i = 0; i < RANGES; i++) {
    size_t page = i * 7919 % RANGES; /* in no order */
    CHECK_EQ(pkeys_space_adopt(image, 0, heap + 2 * page * PAGE, PAGE, RW), 0);
  }
  size_t wrong = 0, ranges = 0;
  struct pkeys_space space;
  struct pkeys_range range;
  for (size_t page = 0; page < 2 * RANGES; page++)
    wrong += pkeys_find_space((uintptr_t)heap + page * PAGE + 5, &space) != (page % 2 == 0);
  for (uintptr_t from = 0; pkeys_range_next(from, &range); from = range.address + range.bytes) ranges++;
  CHECK_EQ(wrong, 0);
  CHECK_EQ(ranges, RANGES);
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  for (size_t page = 0; page < RANGES; page += 501) CHECK(!can_write(heap + 2 * page * PAGE));
  CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
  CHECK_EQ(pkeys_leave_foreign(false), 0);
  for (size_t page = 0; page < RANGES; page += 501) CHECK(can_write(heap + 2 * page * PAGE));
  CHECK_EQ(pkeys_range_release(heap, 2 * RANGES * PAGE), 0);
  CHECK(!pkeys_range_next(0, &range));
  CHECK_EQ(pkeys_image_close(image), 0);
  munmap(heap, 2 * RANGES * PAGE);

  /* Two spaces of one key: many ranges, one mapping. */
  image = create(PKEYS_MECHANISM_FLAG, PKEYS_KEY_PER_IMAGE);
  char *full = map(PKEYS_MAX_RANGES + 16, RW);
  size_t adopted = 0;
  int error = 0;
  while (adopted < PKEYS_MAX_RANGES + 16 && !error)
    if (!(error = pkeys_space_adopt(image, adopted % 2, full + adopted * PAGE, PAGE, RW))) adopted++;
  CHECK_EQ(error, -EMFILE);
  CHECK(adopted > PKEYS_MAX_RANGES - 16);
  CHECK(pkeys_range_next((uintptr_t)full + (adopted - 1) * PAGE, &range));
  CHECK_EQ(range.space, (adopted - 1) % 2);
  CHECK_EQ(pkeys_range_release(full, PAGE * adopted), 0);
  CHECK_EQ(pkeys_space_adopt(image, 0, full, PAGE, RW), 0);
  CHECK_EQ(pkeys_image_close(image), 0);
}

/* ---- code ------------------------------------------------------------------------------------------------------ */

CHECK_TEST(code,
           "a JIT's toggling between writable and executable goes on under a key for code: the pages keep it, also "
           "through execute-only, and run inside a callout in which nobody can write them") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    struct pkeys_image *image = create(m, PKEYS_KEY_PER_SPACE);
    char *pages = map(2, NONE);
    CHECK_EQ(pkeys_space_adopt(image, 2, pages, 2 * PAGE, RW), 0);
    int key = space_at(image, 2).key;
    for (int round = 0; round < 4; round++) {
#if defined(__x86_64__)
      const unsigned char code[] = {0xb8, (unsigned char)round, 0, 0, 0, 0xc3}; /* mov eax, round; ret */
#else
      const uint32_t code[] = {0x52800000u | (uint32_t)round << 5, 0xd65f03c0u}; /* mov w0, #round; ret */
#endif
      memcpy(pages, code, sizeof code);
      int protection = round % 2 ? PROT_EXEC : RX;
      CHECK_EQ(pkeys_range_protect(pages, 2 * PAGE, protection), 0);
      __builtin___clear_cache(pages, pages + PAGE);
      check_page(pages, protection, key);
      CHECK_EQ(((int (*)(void))(uintptr_t)pages)(), round);
      CHECK_EQ(test_enter(false), 0);
      int inside_result = ((int (*)(void))(uintptr_t)pages)();
      bool open = can_write(pages);
      CHECK_EQ(test_leave(false), 0);
      CHECK_EQ(inside_result, round);
      CHECK(!open);
      CHECK_EQ(pkeys_range_protect(pages, 2 * PAGE, RW), 0);
      check_page(pages, RW, key);
    }
    CHECK_EQ(pkeys_image_close(image), 0);
    munmap(pages, 2 * PAGE);
  }
}

/* ---- threads and processes --------------------------------------------------------------------------------------- */

static _Atomic int stop, looked, wrong_looks;
static char *arenas[3];
static void look(int signal) {
  (void)signal;
  /* No rights are opened here: a reader takes what it needs. */
  for (int i = 0; i < 3; i++) {
    struct pkeys_space space;
    struct pkeys_range range;
    uintptr_t base = (uintptr_t)arenas[i];
    for (size_t page = 0; page < 8; page++) {
      uintptr_t address = base + page * PAGE;
      if (pkeys_find_space(address, &space) && (space.name[0] != "yoc"[i] || address - space.address >= space.bytes))
        wrong_looks++;
      if (pkeys_range_next(address, &range) && range.address + range.bytes <= address) wrong_looks++;
    }
  }
  looked++;
}
static void *looks(void *argument) {
  while (!stop) look(0);
  return argument;
}
static void *maps(void *argument) {
  size_t number = (size_t)(uintptr_t)argument;
  unsigned seed = (unsigned)number + 1;
  pkeys_open_thread();
  for (int i = 0; i < 400; i++) {
    /* At an address of its own, so that what is found there is its own too. */
    char *memory = arenas[number];
    CHECK(mmap(memory, 8 * PAGE, NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory);
    CHECK_EQ(pkeys_space_adopt(heap_image, number, memory, 8 * PAGE, RW), 0);
    size_t page = test_random(&seed) % 8;
    CHECK_EQ(pkeys_range_protect(memory + page * PAGE, PAGE, test_random(&seed) % 2 ? R : RX), 0);
    CHECK_EQ(pkeys_range_protect(memory, 8 * PAGE, RW), 0);
    if (i % 4 == 0) CHECK_EQ(pkeys_range_release(memory + page * PAGE, (8 - page) * PAGE), 0);
    CHECK_EQ(pkeys_range_forget(memory, 8 * PAGE), 0);
  }
  return NULL;
}
static void *calls(void *argument) {
  pkeys_open_thread();
  while (!stop) {
    CHECK_EQ(test_enter(false), 0);
    CHECK_EQ(test_leave(false), 0);
  }
  return argument;
}
/* Broken once: both copies of the order changed without a new version. */
CHECK_TEST(threads, "three threads map, protect and unmap, two make callouts, one looks up, a timer's handler too: no "
                    "error, no wrong answer, and all is as it should be after") {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_PAGE; m <= PKEYS_MECHANISM_PKEYS; m++) {
    if (!test_can(m) || m == PKEYS_MECHANISM_MPROTECT_NAIVE) continue;
    heap_image = create(m, PKEYS_KEY_PER_IMAGE);
    char *kept = map(4, NONE);
    CHECK_EQ(pkeys_space_adopt(heap_image, 1, kept, 4 * PAGE, RW), 0);
    stop = 0;
    for (int i = 0; i < 3; i++) arenas[i] = map(8, NONE);
    pthread_t others[3] = {start(calls, NULL), start(calls, NULL), start(looks, NULL)}, mappers[3];
    for (uintptr_t i = 0; i < 3; i++) mappers[i] = start(maps, (void *)i);
    test_interrupts(look, 499);
    for (int i = 0; i < 3; i++) pthread_join(mappers[i], NULL);
    test_interrupts(NULL, 0);
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(others[i], NULL);
    CHECK(looked > 0);
    CHECK_EQ(wrong_looks, 0);
    check_page(kept, RW, space_at(heap_image, 1).key);
    CHECK_EQ(pkeys_image_verify_tags(heap_image, NULL), 0);
    struct pkeys_range range;
    CHECK(pkeys_range_next(0, &range));
    CHECK_EQ(range.address, (uintptr_t)kept);
    CHECK(!pkeys_range_next(range.address + range.bytes, &range));
    CHECK_EQ(pkeys_image_close(heap_image), 0);
    munmap(kept, 4 * PAGE);
  }
}

static void *maps_forever(void *argument) {
  pkeys_open_thread();
  while (!stop) {
    char *memory = map(2, NONE);
    CHECK_EQ(pkeys_space_adopt(heap_image, 0, memory, 2 * PAGE, RW), 0);
    CHECK_EQ(pkeys_range_forget(memory, 2 * PAGE), 0);
    munmap(memory, 2 * PAGE);
  }
  return argument;
}
/* Broken once: no handlers around fork, and the child waited for ever for a lock that a thread of the parent's held. */
CHECK_TEST(forks,
           "a child that is forked while other threads adopt and call out can go on: keys and table are its own, "
           "no lock is held, and others' callouts are forgotten") {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_RANGE; m <= PKEYS_MECHANISM_PKEYS; m++) {
    if (!test_can(m) || m == PKEYS_MECHANISM_MPROTECT_NAIVE) continue;
    heap_image = create(m, PKEYS_KEY_PER_IMAGE);
    char *kept = map(4, NONE);
    CHECK_EQ(pkeys_space_adopt(heap_image, 1, kept, 4 * PAGE, RW), 0);
    stop = 0;
    pthread_t threads[2] = {start(maps_forever, NULL), start(calls, NULL)};
    for (int i = 0; i < 50; i++) {
      CHECK_EXITS(0, pkeys_forked(); kept[0] = 1; CHECK(can_write(kept)); char *mine = map(2, NONE);
                  CHECK_EQ(pkeys_space_adopt(heap_image, 0, mine, 2 * PAGE, RW), 0); CHECK_EQ(test_enter(false), 0);
                  bool open = can_write(kept) || can_write(mine); CHECK_EQ(test_leave(false), 0); CHECK(!open);
                  mine[0] = kept[4 * PAGE - 1] = 1; CHECK_EQ(pkeys_image_close(heap_image), 0);
                  _exit(check_now->failures ? 1 : 0));
    }
    stop = 1;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    CHECK_EQ(pkeys_image_verify_tags(heap_image, NULL), 0);
    CHECK_EQ(pkeys_image_close(heap_image), 0);
    munmap(kept, 4 * PAGE);
  }
}

CHECK_TEST(forked_inside, "a callee that forks inside a callout keeps its rights, in parent and child") {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_MPROTECT_RANGE; m <= PKEYS_MECHANISM_PKEYS; m++) {
    if (!test_can(m) || m == PKEYS_MECHANISM_MPROTECT_NAIVE) continue;
    heap_image = create(m, PKEYS_KEY_PER_IMAGE);
    char *kept = map(4, NONE);
    CHECK_EQ(pkeys_space_adopt(heap_image, 1, kept, 4 * PAGE, RW), 0);
    CHECK_EQ(test_enter(false), 0);
    pid_t child = fork();
    if (child == 0) _exit(can_write(kept) ? 1 : 0);
    bool open = can_write(kept);
    CHECK_EQ(test_leave(false), 0);
    CHECK_EQ(check_wait(child), 0);
    CHECK(!open);
    CHECK_EQ(pkeys_image_close(heap_image), 0);
    munmap(kept, 4 * PAGE);
  }
}

CHECK_MAIN()
