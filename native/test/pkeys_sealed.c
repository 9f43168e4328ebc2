/* The sealed lending arena: pkeys_seal_loans. On Linux alone; a kernel without mseal(2) skips. */
#include <sys/mman.h>

#include "pkeys_test.h"

static struct pkeys_loan lend(size_t bytes, bool flush_end) {
  struct pkeys_loan loan = {.id = 0};
  CHECK_EQ(pkeys_lend(bytes, NULL, 0, 0, PKEYS_LOAN_OUT, flush_end, &loan), 0);
  return loan;
}
#define SEAL()                                                                  \
  do {                                                                          \
    int check_sealed = pkeys_seal_loans();                                      \
    if (check_sealed == -EOPNOTSUPP) CHECK_SKIP("this kernel has no mseal(2)"); \
    CHECK_EQ(check_sealed, 0);                                                  \
  } while (0)

#define SEAL_POSSIBLE()                                                                 \
  do {                                                                                  \
    if (pkeys_seal_runtime() == -EOPNOTSUPP) CHECK_SKIP("this kernel has no mseal(2)"); \
  } while (0)

/* What a callee may try with lent pages, with its rights. */
static int unmaps(char *page) { return munmap(page, 4096) == 0 ? 0 : -errno; }
static int closes(char *page) { return mprotect(page, 4096, PROT_NONE) == 0 ? 0 : -errno; }
static int replaces(char *page) {
  void *got = mmap(page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return got == MAP_FAILED ? -errno : 0;
}

static void stays(enum pkeys_mechanism mechanism) {
  struct pkeys_image *image = image_of(mechanism);
  struct pkeys_loan before = lend(100, false);
  SEAL();
  struct pkeys_loan loan;
  CHECK_EQ(pkeys_lend(5000, image, 0, 0, PKEYS_LOAN_OUT, true, &loan), 0);
  char *first = loan.address, *last = first + 4999;
  CHECK_EQ((uintptr_t)(last + 1) % 4096, 0);
  CHECK_EQ(test_enter(true), 0);
  char *page = (char *)((uintptr_t)first & ~(uintptr_t)4095);
  int unmapped = unmaps(page), closed = closes(page), replaced = replaces(page), guard = unmaps(last + 1);
  memset(first, 'c', 5000);
  CHECK_EQ(test_leave(true), 0);
  CHECK_EQ(unmapped, -EPERM);
  CHECK_EQ(closed, -EPERM);
  CHECK_EQ(replaced, -EPERM);
  CHECK_EQ(guard, -EPERM);
  CHECK(!can_write(last + 1));
  CHECK_EQ(pkeys_loan_release(loan.id), 0);
  CHECK_EQ(((char *)space_at(image, 0).address)[4999], 'c');
  /* The next of its size has the same pages, empty. Broken once: both wipes left out: the page holds c. */
  struct pkeys_loan next = lend(8192, false);
  CHECK_EQ((uintptr_t)next.address, (uintptr_t)page);
  CHECK_EQ(*first, 0);
  /* It grows: a second, and a larger one. */
  struct pkeys_loan second = lend(8192, false), large = lend(100000, false);
  CHECK(second.address != next.address);
  CHECK_EQ(unmaps(large.address), -EPERM);
  CHECK_EQ(pkeys_loan_release(next.id), 0);
  CHECK_EQ(pkeys_loan_release(second.id), 0);
  CHECK_EQ(pkeys_loan_release(large.id), 0);
  /* What was lent before goes as ever. */
  CHECK_EQ(pkeys_loan_release(before.id), 0);
  CHECK(!can_read(before.address));
  /* Nothing that has to close loans by mprotect can come now. */
  struct pkeys_space_request request = {.name = "old", .bytes = 4096, .deny = PKEYS_NO_WRITE};
  struct pkeys_image *other;
  CHECK_EQ(pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &other, NULL), 0);
  CHECK_EQ(pkeys_image_set_mechanism(other, PKEYS_MECHANISM_MPROTECT_RANGE), -EBUSY);
  CHECK_EQ(pkeys_image_close(other), 0);
  CHECK_EQ(pkeys_image_close(image), 0);
}

CHECK_TEST(sealed, "a sealed arena: no callee unmaps, closes or replaces a loan; it grows, and pages are used again") {
  stays(PKEYS_MECHANISM_FLAG);
}
CHECK_TEST(sealed_keyed, "the same under keys") {
  NEEDS_KEYS();
  stays(PKEYS_MECHANISM_PKEYS);
}

CHECK_TEST(sealed_key, "sealed pages keep the loan key, and no image gets it, after the last keyed image") {
  /* Should break it: pkeys_i_blocks_carry left out of pkeys_i_loan_key_drop. */
  NEEDS_KEYS();
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_PKEYS);
  SEAL();
  struct pkeys_loan loan = lend(16, false);
  int key = smaps_key(loan.address, NULL);
  CHECK_EQ(pkeys_loan_release(loan.id), 0);
  CHECK_EQ(pkeys_image_close(image), 0);
  image = image_of(PKEYS_MECHANISM_PKEYS);
  CHECK(space_at(image, 0).key != key);
  loan = lend(16, false);
  CHECK_EQ(smaps_key(loan.address, NULL), key);
  CHECK_EQ(pkeys_loan_release(loan.id), 0);
}

/* Broken once: not refused: the keys run out, or the image opens beside a loan without a key. */
static void first_keyed(enum pkeys_key_mode mode) {
  struct pkeys_space_request request = {.name = "old", .bytes = 4096, .deny = PKEYS_NO_WRITE};
  struct pkeys_image *image;
  CHECK_EQ(pkeys_image_map(&request, 1, mode, &image, NULL), 0);
  struct pkeys_loan loan = lend(16, false);
  for (int i = 0; i < 2 * PKEYS_KEYS; i++) /* no key is lost */
    CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS), -EBUSY);
  CHECK_EQ(smaps_key(loan.address, NULL), 0);
  CHECK_EQ(pkeys_loan_release(loan.id), 0);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS), 0);
  /* Its loans have the key from the start, and stay as long as they like. */
  loan = lend(16, false);
  int key = smaps_key(loan.address, NULL);
  CHECK(key > 0);
  CHECK_EQ(pkeys_image_close(image), 0);
  CHECK_EQ(pkeys_image_map(&request, 1, mode, &image, NULL), 0);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS), 0);
  CHECK(space_at(image, 0).key != key);
  CHECK_EQ(smaps_key(loan.address, NULL), key);
  CHECK_EQ(pkeys_loan_release(loan.id), 0);
  CHECK_EQ(pkeys_image_close(image), 0);
}
CHECK_TEST(sealed_first,
           "a live sealed loan without a key stays so: no first keyed image beside it, and no key is lost") {
  NEEDS_KEYS();
  SEAL();
  first_keyed(PKEYS_KEY_PER_IMAGE);
}
CHECK_TEST(sealed_virtual, "the same of an image with a virtual key") {
  NEEDS_KEYS();
  SEAL();
  first_keyed(PKEYS_KEY_VIRTUAL);
}

CHECK_TEST(sealed_refused, "no sealing beside an image that closes loans by mprotect, and the answer tells it apart") {
  SEAL_POSSIBLE();
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_MPROTECT_RANGE);
  CHECK_EQ(pkeys_seal_loans(), -EBUSY);
  CHECK_EQ(pkeys_image_close(image), 0);
  CHECK_EQ(pkeys_seal_loans(), 0);
}

CHECK_TEST(sealed_sizes, "as many sealed loans as the table holds, of many sizes, and again") {
  SEAL();
  uint32_t ids[PKEYS_MAX_LOANS];
  for (size_t round = 0; round < 4; round++) {
    for (size_t i = 0; i < PKEYS_MAX_LOANS; i++) ids[i] = lend(((i + round) % 7 + 1) * 4096, false).id;
    for (size_t i = 0; i < PKEYS_MAX_LOANS; i++) CHECK_EQ(pkeys_loan_release(ids[i]), 0);
  }
}

CHECK_MAIN()
