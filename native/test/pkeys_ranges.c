/*
 * Memory that the VM maps itself: adopted, protected, given up, under every mechanism; code that a JIT writes.
 */
#define _GNU_SOURCE
#include "pkeys_ranges.h"

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

/* ---- code ------------------------------------------------------------------------------------------------------ */

CHECK_TEST(code,
           "a JIT's toggling between writable and executable goes on under a key for code: the pages keep it, also "
           "through execute-only, and run inside a callout in which nobody can write them") {
  if (X == 0) CHECK_SKIP("smaps does not show PROT_EXEC here, so execute-only pages cannot be verified");
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

CHECK_MAIN()
