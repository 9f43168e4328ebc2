/* image_content.c: what joins heaps and comparing to the image's memory: contents, snapshots, files, pages that have
 * gone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "image.h"
#include "pkeys_test.h"

static const struct pkeys_space_request usual[] = {
    {.name = "eden", .bytes = 64 * KIB, .deny = PKEYS_NO_WRITE},
    {.name = "old", .bytes = 256 * KIB, .reserve_bytes = 512 * KIB, .deny = PKEYS_NO_WRITE},
};

static struct image *make(enum pkeys_mechanism mechanism) {
  struct pkeys_image *mapped;
  struct image *image = NULL;
  CHECK_EQ(pkeys_init(), 0);
  CHECK_EQ(pkeys_image_map(usual, 2, PKEYS_KEY_PER_IMAGE, &mapped, NULL), 0);
  CHECK_EQ(image_open(mapped, &image), 0);
  if (mechanism != PKEYS_MECHANISM_UNSET) CHECK_EQ(pkeys_image_set_mechanism(mapped, mechanism), 0);
  return image;
}
static struct pkeys_space space(struct image *image, size_t index) {
  struct pkeys_space s = {0};
  CHECK_EQ(pkeys_image_space(image_mapped(image), index, &s), 0);
  return s;
}
static uint64_t verify(struct image *image) {
  static struct image_report report;
  struct spur_problem problems[4];
  CHECK_EQ(image_verify(image, problems, 4, &report), 0);
  return report.problems;
}

CHECK_TEST(round_trip, "fill, verify, snapshot, damage, diff, restore, under every mechanism") {
  EACH_MECHANISM(mechanism) {
    if (!test_can(mechanism)) continue;
    struct image *image = make(mechanism);
    struct spur_filled filled;
    CHECK_EQ(image_fill(image, 42, &filled), 0);
    CHECK_EQ(verify(image), 0);
    CHECK(!image_has_snapshot(image));
    struct image_difference d;
    struct image_range ranges[4];
    uint64_t bytes, hash, after;
    CHECK_EQ(image_diff(image, ranges, 4, 4, &d), -ENODATA);
    CHECK_EQ(image_restore(image, &bytes), -ENODATA);
    CHECK_EQ(image_snapshot(image), 0);
    CHECK_EQ(image_hash(image, 1, &hash), 0);
    uint8_t *old = (uint8_t *)space(image, 1).address;
    old[100 * KIB + 3] ^= 1;
    old[200 * KIB] ^= 1;
    ((uint8_t *)space(image, 0).address)[0] ^= 1;
    CHECK_EQ(image_diff(image, ranges, 4, 2, &d), 0);
    CHECK_EQ(d.changed_bytes, 3);
    CHECK_EQ(d.ranges, 3);
    CHECK_EQ(ranges[0].space, 0);
    CHECK_EQ(ranges[1].offset, 100 * KIB + 3);
    CHECK(ranges[1].object_known && ranges[1].object.offset <= ranges[1].offset &&
          ranges[1].offset < ranges[1].object.offset + ranges[1].object.bytes);
    CHECK(!ranges[2].object_known);
    CHECK(verify(image) > 0);
    CHECK_EQ(image_restore(image, &bytes), 0);
    CHECK_EQ(bytes, 3 * 4096);
    CHECK_EQ(verify(image), 0);
    CHECK_EQ(image_hash(image, 1, &after), 0);
    CHECK(hash == after);
    CHECK_EQ(image_close(image), 0);
  }
}

CHECK_TEST(snapshot_protected, "the snapshot and the image's own state are as closed to foreign code as the image") {
  NEEDS_KEYS();
  struct image *image = make(PKEYS_MECHANISM_PKEYS);
  CHECK_EQ(image_fill(image, 1, NULL), 0);
  CHECK_EQ(image_snapshot(image), 0);
  CHECK_EQ(test_enter(false), 0);
  bool state = can_write(image), memory = can_write((void *)space(image, 1).address);
  CHECK_EQ(test_leave(false), 0);
  CHECK(!state && !memory);
  CHECK_EQ(image_close(image), 0);
}

CHECK_TEST(pages_gone, "pages unmapped or re-protected behind our back are reported, not run into") {
  if (process_vm_readv(getpid(), NULL, 0, NULL, 0, 0) < 0 && errno == ENOSYS)
    CHECK_SKIP("this kernel, or what emulates it, has no process_vm_readv");
  static const enum pkeys_mechanism mechanisms[] = {PKEYS_MECHANISM_UNSET, PKEYS_MECHANISM_FLAG,
                                                    PKEYS_MECHANISM_MPROTECT_RANGE};
  for (unsigned i = 0; i < 3; i++) {
    struct image *image = make(mechanisms[i]);
    static struct image_report report;
    uint64_t bytes;
    uint8_t buffer[64];
    struct image_difference d;
    CHECK_EQ(image_fill(image, 3, NULL), 0);
    CHECK_EQ(image_snapshot(image), 0);
    uint8_t *page = (uint8_t *)space(image, 1).address + 32 * KIB;
    if (i != 2) {
      REQUIRE(mprotect(page, 4096, PROT_READ) == 0);
      CHECK_EQ(image_verify(image, NULL, 0, &report), -EFAULT);
      CHECK_EQ(image_write(image, 1, 32 * KIB, "x", 1), -EFAULT);
      CHECK_EQ(image_read(image, 1, 32 * KIB, buffer, 1), 0);
      CHECK_EQ(pkeys_image_reapply(image_mapped(image)), 0);
      CHECK_EQ(image_verify(image, NULL, 0, &report), 0);
      CHECK_EQ(report.problems, 0);
    }
    uint64_t not_zero = 0; /* depends on where the image lies: pointers are addresses */
    for (int at = 0; at < 4096; at++) not_zero += page[at] != 0;
    CHECK(not_zero > 500);
    REQUIRE(munmap(page, 4096) == 0);
    CHECK_EQ(image_verify(image, NULL, 0, &report), -EFAULT);
    CHECK_EQ(image_diff(image, NULL, 0, 0, &d), -EFAULT);
    CHECK_EQ(image_restore(image, &bytes), -EFAULT);
    CHECK_EQ(image_snapshot(image), -EFAULT);
    CHECK_EQ(image_fill(image, 3, NULL), -EFAULT);
    CHECK_EQ(image_read(image, 1, 32 * KIB - 32, buffer, 64), -EFAULT);
    CHECK_EQ(image_write(image, 1, 32 * KIB - 32, buffer, 64), -EFAULT);
    REQUIRE(mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (void *)page);
    CHECK_EQ(image_diff(image, NULL, 0, 0, &d), 0);
    CHECK_EQ(d.changed_bytes, not_zero);
    CHECK(verify(image) > 0);
    CHECK_EQ(image_restore(image, &bytes), 0);
    CHECK_EQ(bytes, 4096);
    CHECK_EQ(verify(image), 0);
  }
}

CHECK_TEST(resize, "a space that grew or shrank is told and restored") {
  struct image *image = make(PKEYS_MECHANISM_NONE);
  struct image_difference d;
  struct image_range range;
  uint64_t bytes;
  CHECK_EQ(image_fill(image, 3, NULL), 0);
  CHECK_EQ(image_snapshot(image), 0);
  CHECK_EQ(image_resize(image, 1, 300 * KIB), 0);
  CHECK_EQ(verify(image), 0);
  CHECK_EQ(image_diff(image, &range, 1, 0, &d), 0);
  CHECK_EQ(d.resized, 1);
  CHECK_EQ(range.offset, 256 * KIB);
  CHECK_EQ(range.bytes, 44 * KIB);
  CHECK_EQ(image_resize(image, 1, 128 * KIB), 0);
  CHECK(verify(image) > 0);
  CHECK_EQ(image_diff(image, &range, 1, 0, &d), 0);
  CHECK_EQ(d.changed_bytes, 128 * KIB);
  CHECK_EQ(image_restore(image, &bytes), 0);
  CHECK_EQ(space(image, 1).bytes, 256 * KIB);
  CHECK_EQ(verify(image), 0);
  CHECK_EQ(image_snapshot(image), 0);
  CHECK_EQ(image_close(image), 0);
}

CHECK_TEST(files, "loading: regular files only, grown as needed, cleared behind, and told why not") {
  struct image *image = make(PKEYS_MECHANISM_NONE);
  char path[] = "/tmp/turnkey-image-XXXXXX";
  int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  uint64_t bytes;
  static struct image_report report;
  CHECK_EQ(image_load(image, 1, path, &bytes), -ENODATA);
  static uint8_t content[300 * 1024];
  memset(content, 0x5a, sizeof content);
  CHECK_EQ(write(fd, content, sizeof content), sizeof content);
  CHECK_EQ(image_fill(image, 1, NULL), 0);
  CHECK_EQ(image_load(image, 1, path, &bytes), 0);
  CHECK_EQ(bytes, sizeof content);
  CHECK_EQ(space(image, 1).bytes, 300 * KIB);
  CHECK(memcmp((void *)space(image, 1).address, content, sizeof content) == 0);
  CHECK_EQ(image_verify(image, NULL, 0, &report), 0);
  CHECK_EQ(report.space[1].content, IMAGE_FILE);
  CHECK_EQ(report.space[0].content, IMAGE_EMPTY); /* its classes are gone */
  REQUIRE(ftruncate(fd, 5000) == 0);
  CHECK_EQ(image_load(image, 1, path, &bytes), 0);
  CHECK_EQ(space(image, 1).bytes, 300 * KIB);
  uint8_t buffer[8];
  CHECK_EQ(image_read(image, 1, 4998, buffer, 4), 0);
  CHECK_EQ(buffer[1], 0x5a);
  CHECK_EQ(buffer[2], 0);
  REQUIRE(ftruncate(fd, 512 * 1024 + 1) == 0);
  CHECK_EQ(image_load(image, 1, path, &bytes), -EFBIG);
  CHECK_EQ(bytes, 512 * 1024 + 1);
  CHECK_EQ(image_load(image, 1, "/tmp", &bytes), -EISDIR);
  CHECK_EQ(image_load(image, 1, "/tmp/turnkey-there-is-no-such-file", &bytes), -ENOENT);
  unlink(path);
  REQUIRE(mkfifo(path, 0600) == 0);
  CHECK_EQ(image_load(image, 1, path, &bytes), -EINVAL); /* and does not wait for a writer */
  unlink(path);
  close(fd);
  CHECK_EQ(image_close(image), 0);
}

CHECK_TEST(heap_file, "a heap file is recognised, walked in place, and one whose header lies is told") {
  struct image *image = make(PKEYS_MECHANISM_NONE);
  char path[] = "/tmp/turnkey-image-XXXXXX";
  int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  /* a 64-bit Spur file around a graph filled here: pointers name the addresses it was filled at */
  enum { HEAP = 65536 };
  uint8_t *heap = mmap(NULL, HEAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct spur_area area = {heap, HEAP};
  CHECK_EQ(spur_fill(&area, 1, 0, 9, NULL), 0);
  uint64_t header[16] =
      {68021 | (uint64_t)128 << 32, HEAP + 16, (uintptr_t)heap, (uintptr_t)heap, 0, 0, 0, 0, 0, HEAP + 16},
           bridge[2] = {(uint64_t)255 << 56, 0};
  CHECK(write(fd, header, 128) == 128 && write(fd, heap, HEAP) == HEAP && write(fd, bridge, 16) == 16);
  uint64_t bytes;
  static struct image_report report;
  struct spur_problem problem;
  struct spur_file file;
  struct spur_object object;
  CHECK_EQ(image_load(image, 1, path, &bytes), 0);
  CHECK(image_file(image, 1, &file));
  CHECK_EQ(file.version, 68021);
  CHECK(!image_file(image, 0, &file));
  CHECK_EQ(image_verify(image, NULL, 0, &report), 0);
  CHECK_EQ(report.space[1].content, IMAGE_HEAP_FILE);
  CHECK(report.space[1].walked && report.objects > 500);
  CHECK_EQ(report.problems, 0);
  CHECK_EQ(image_object_at(image, 1, 128 + 4, &object), 0);
  CHECK_EQ(object.offset, 128);
  CHECK_EQ(object.class_index, SPUR_CLASS_UNDEFINED);
  CHECK_EQ(image_object_at(image, 1, 4, &object), -ENOENT);
  CHECK_EQ(image_object_at(image, 0, 4, &object), -ENODATA);
  CHECK_EQ(image_snapshot(image), 0);
  uint64_t *nil = (uint64_t *)(space(image, 1).address + 128);
  *nil |= (uint64_t)3 << 24;
  CHECK_EQ(image_verify(image, &problem, 1, &report), 0);
  CHECK(report.problems > 0);
  CHECK_EQ(problem.segment, 1);
  CHECK_EQ(problem.object, 128); /* from the space's start, the file's header included */
  struct image_difference d;
  struct image_range range;
  CHECK_EQ(image_diff(image, &range, 1, 1, &d), 0);
  CHECK(range.object_known && range.object.offset == 128 && range.object.slot == -1);
  ((uint64_t *)space(image, 1).address)[1] = 1 << 30;
  CHECK_EQ(pwrite(fd, &(uint64_t){1 << 30}, 8, 8), 8);
  CHECK_EQ(image_load(image, 1, path, &bytes), 0);
  CHECK_EQ(image_verify(image, &problem, 1, &report), 0);
  CHECK_EQ(report.by_kind[SPUR_BAD_FILE], 1);
  CHECK_EQ(problem.kind, SPUR_BAD_FILE);
  unlink(path);
  close(fd);
  CHECK_EQ(image_close(image), 0);
}

CHECK_TEST(copies, "reads and writes stay within the committed bytes") {
  struct image *image = make(PKEYS_MECHANISM_NONE);
  uint8_t byte = 7, back = 0;
  CHECK_EQ(image_write(image, 0, 64 * KIB - 1, &byte, 1), 0);
  CHECK_EQ(image_read(image, 0, 64 * KIB - 1, &back, 1), 0);
  CHECK_EQ(back, 7);
  CHECK_EQ(image_write(image, 0, 64 * KIB, &byte, 1), -ERANGE);
  CHECK_EQ(image_read(image, 0, UINT64_MAX, &byte, 2), -ERANGE);
  CHECK_EQ(image_read(image, 0, 1, &byte, SIZE_MAX), -ERANGE);
  CHECK_EQ(image_read(image, 0, 64 * KIB, NULL, 0), 0);
  CHECK_EQ(image_close(image), 0);
}

CHECK_MAIN()
