/*
 * Adopted ranges in any order: random sequences of all that a VM does with its memory; tags and access as the kernel
 * shows them, page by page, against a model.
 */
#define _GNU_SOURCE
#include "pkeys_ranges.h"

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
  const int protections[] = {NONE, R, RW, RW, RW, RX, RWX, X};
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

CHECK_MAIN()
