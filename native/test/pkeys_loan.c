/* Loans: pages of their own behind guards, open only in callouts that were passed one, copies in and back. */
#include "pkeys_test.h"

static struct pkeys_loan lend(size_t bytes, bool flush_end) {
  struct pkeys_loan loan = {.id = 0};
  CHECK_EQ(pkeys_lend(bytes, NULL, 0, 0, PKEYS_LOAN_OUT, flush_end, &loan), 0);
  return loan;
}

CHECK_TEST(pages, "a loan is fresh zero memory with guard pages on both sides; flush_end puts its end at the guard") {
  for (size_t bytes = 1; bytes < 3 * 4096; bytes += 1021) {
    struct pkeys_loan front = lend(bytes, false), end = lend(bytes, true);
    char *first = front.address, *last = (char *)end.address + bytes - 1;
    CHECK_EQ(front.bytes, bytes);
    CHECK(front.id && end.id && front.id != end.id);
    CHECK_EQ((uintptr_t)first % 4096, 0);
    CHECK_EQ((uintptr_t)(last + 1) % 4096, 0);
    for (size_t i = 0; i < bytes; i++)
      if (first[i] || ((char *)end.address)[i]) CHECK_EQ(i, SIZE_MAX);
    memset(first, 1, bytes);
    memset(end.address, 1, bytes);
    CHECK(!can_write(first - 1) && !can_write(last + 1));
    CHECK_EQ(pkeys_loan_release(front.id), 0);
    CHECK_EQ(pkeys_loan_release(end.id), 0);
    CHECK(!can_read(first) && !can_read(last));
    CHECK_EQ(pkeys_loan_release(end.id), -EINVAL);
  }
  struct pkeys_loan loan = lend(100, true);
  CHECK_DIES(SIGSEGV, ((volatile char *)loan.address)[100] = 1);
  CHECK_DIES(SIGSEGV, ((volatile char *)lend(100, false).address)[-1] = 1);
}

CHECK_TEST(refused, "bad loans are refused: no bytes, absurd sizes, a range outside the space, an unknown mode") {
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_FLAG);
  struct pkeys_loan loan;
  CHECK_EQ(pkeys_lend(0, NULL, 0, 0, PKEYS_LOAN_OUT, false, &loan), -EINVAL);
  CHECK_EQ(pkeys_lend(SIZE_MAX, NULL, 0, 0, PKEYS_LOAN_OUT, false, &loan), -EINVAL);
  CHECK_EQ(pkeys_lend(16, NULL, 0, 0, PKEYS_LOAN_OUT, false, NULL), -EINVAL);
  CHECK_EQ(pkeys_lend(16, NULL, 0, 0, (enum pkeys_loan_mode)3, false, &loan), -EINVAL);
  CHECK_EQ(pkeys_lend(16, image, 2, 0, PKEYS_LOAN_IN, false, &loan), -EINVAL);
  CHECK_EQ(pkeys_lend(17, image, 0, 16 * KIB - 16, PKEYS_LOAN_IN, false, &loan), -ERANGE);
  CHECK_EQ(pkeys_lend(1, image, 0, 16 * KIB, PKEYS_LOAN_IN, false, &loan), -ERANGE);
  CHECK_EQ(pkeys_lend(16, image, 0, SIZE_MAX - 7, PKEYS_LOAN_IN, false, &loan), -ERANGE);
  CHECK_EQ(pkeys_lend(16, image, 0, 16 * KIB - 16, PKEYS_LOAN_IN, false, &loan), 0);
  CHECK_EQ(pkeys_loan_release(0), -EINVAL);
  CHECK_EQ(pkeys_loan_release(12345), -EINVAL);
}

CHECK_TEST(many, "as many loans as the table holds, -EMFILE for one more, and room again") {
  uint32_t ids[PKEYS_MAX_LOANS];
  struct pkeys_loan more;
  for (int i = 0; i < PKEYS_MAX_LOANS; i++) ids[i] = lend(16, false).id;
  CHECK_EQ(pkeys_lend(16, NULL, 0, 0, PKEYS_LOAN_OUT, false, &more), -EMFILE);
  for (int i = 0; i < PKEYS_MAX_LOANS; i++) CHECK_EQ(pkeys_loan_release(ids[i]), 0);
  CHECK(lend(16, false).id != 0);
}

CHECK_TEST(copies,
           "ranges of a space are copied in for IN and INOUT, and back for OUT and INOUT, and nothing beside them") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    struct pkeys_image *image = image_of(m);
    char *eden = (char *)space_at(image, 0).address;
    for (enum pkeys_loan_mode mode = PKEYS_LOAN_OUT; mode <= PKEYS_LOAN_INOUT; mode++) {
      memset(eden, 'v', 16 * KIB);
      struct pkeys_loan loan;
      CHECK_EQ(pkeys_lend(5000, image, 0, 3000, mode, true, &loan), 0);
      char *bytes = loan.address;
      CHECK_EQ(bytes[0], mode == PKEYS_LOAN_OUT ? 0 : 'v');
      CHECK_EQ(bytes[4999], mode == PKEYS_LOAN_OUT ? 0 : 'v');
      CHECK_EQ(test_enter(true), 0);
      bool writable = can_write(bytes) && can_write(bytes + 4999);
      if (writable) memset(bytes, 'c', 5000);
      CHECK_EQ(test_leave(true), 0);
      CHECK(writable);
      CHECK_EQ(eden[3000], 'v');
      CHECK_EQ(pkeys_image_close(image), -EBUSY);
      CHECK_EQ(pkeys_space_resize(image, 0, 4096), -EBUSY);
      CHECK_EQ(pkeys_loan_release(loan.id), 0);
      CHECK_EQ(eden[2999], 'v');
      CHECK_EQ(eden[3000], mode == PKEYS_LOAN_IN ? 'v' : 'c');
      CHECK_EQ(eden[7999], mode == PKEYS_LOAN_IN ? 'v' : 'c');
      CHECK_EQ(eden[8000], 'v');
    }
    CHECK_EQ(pkeys_space_resize(image, 0, 4096), 0);
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

CHECK_TEST(closed, "a loan is closed in every callout that is not passed one, and open in those that are") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    for (int loan_first = 0; loan_first < 2; loan_first++) {
      struct pkeys_loan loan = {.id = 0};
      if (loan_first) loan = lend(4096, false);
      struct pkeys_image *image = image_of(m);
      if (!loan_first) loan = lend(4096, false);
      bool protects = m > PKEYS_MECHANISM_FLAG;
      CHECK_EQ(test_enter(false), 0);
      bool write = can_write(loan.address), read = can_read(loan.address);
      CHECK_EQ(test_leave(false), 0);
      if (write != !protects || read != !protects)
        printf("#   %s, loan first: %d\n", pkeys_mechanism_name(m), loan_first);
      CHECK_EQ(write, !protects);
      CHECK_EQ(read, !protects);
      CHECK(can_write(loan.address));
      CHECK_EQ(test_enter(true), 0);
      write = can_write(loan.address);
      bool image_open = can_write((char *)space_at(image, 0).address);
      CHECK_EQ(test_leave(true), 0);
      CHECK(write);
      CHECK_EQ(image_open, !protects);
      CHECK_EQ(pkeys_loan_release(loan.id), 0);
      CHECK_EQ(pkeys_image_close(image), 0);
    }
  }
}

CHECK_TEST(key, "the loan key: its own, there while something keyed is open, then given back and the loans untagged") {
  NEEDS_KEYS();
  struct pkeys_probe probe;
  struct pkeys_loan early = lend(16, false);
  pkeys_probe(&probe);
  int free_keys = probe.keys_free;
  CHECK_EQ(smaps_key(early.address, NULL), 0);
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_PKEYS);
  int loan_key = smaps_key(early.address, NULL);
  CHECK(loan_key > 0 && loan_key != space_at(image, 0).key && loan_key != pkeys_runtime_key());
  struct pkeys_masks masks = pkeys_masks();
  CHECK_EQ(pkru_rights(masks.deny, loan_key), PKEYS_NO_ACCESS);
  CHECK_EQ(pkru_rights(masks.deny_lent, loan_key), PKEYS_OPEN);
  CHECK_EQ(masks.deny & ~pkru_field(loan_key), masks.deny_lent);
  CHECK_EQ(masks.keep & pkru_field(loan_key), 0);
  CHECK_EQ(smaps_key(lend(16, false).address, NULL), loan_key);
  pkeys_probe(&probe);
  CHECK_EQ(probe.keys_free, free_keys - 2);
  CHECK_EQ(pkeys_image_close(image), 0);
  CHECK_EQ(smaps_key(early.address, NULL), 0);
  CHECK(can_write(early.address));
  pkeys_probe(&probe);
  CHECK_EQ(probe.keys_free, free_keys);
  CHECK_EQ(pkeys_loan_release(early.id), 0);
}

CHECK_TEST(find, "find_loan: ranges inside the bytes lent, by id") {
  struct pkeys_loan a = lend(100, true), b = lend(5000, false);
  uintptr_t start_a = (uintptr_t)a.address, start_b = (uintptr_t)b.address;
  CHECK_EQ(pkeys_find_loan(start_a, 100), a.id);
  CHECK_EQ(pkeys_find_loan(start_a + 99, 1), a.id);
  CHECK_EQ(pkeys_find_loan(start_a + 99, 2), 0);
  CHECK_EQ(pkeys_find_loan(start_a - 1, 1), 0);
  CHECK_EQ(pkeys_find_loan(start_a, SIZE_MAX), 0);
  CHECK_EQ(pkeys_find_loan(start_a + 100, 0), 0);
  CHECK_EQ(pkeys_find_loan(start_b + 10, 4990), b.id);
  CHECK_EQ(pkeys_find_loan(start_b + 5000, 1), 0);
  CHECK_EQ(pkeys_find_loan((uintptr_t)&a, 1), 0);
  CHECK_EQ(pkeys_loan_release(a.id), 0);
  CHECK_EQ(pkeys_find_loan(start_a, 1), 0);
}

CHECK_TEST(arena_counted,
           "counted mprotect: the arena is open for all while one lent callout is inside, closed while none is") {
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_MPROTECT_RANGE);
  struct pkeys_loan loan = lend(16, false);
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  CHECK(!can_write(loan.address));
  CHECK_EQ(pkeys_enter_foreign(true), 0);
  CHECK(can_write(loan.address));
  CHECK(!can_write((char *)space_at(image, 0).address));
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  CHECK(can_write(loan.address));
  CHECK_EQ(pkeys_leave_foreign(true), 0);
  CHECK(!can_write(loan.address));
  /* A loan made meanwhile is closed too. */
  struct pkeys_loan late = lend(16, false);
  CHECK(!can_write(late.address));
  CHECK_EQ(pkeys_leave_foreign(false), 0);
  CHECK_EQ(pkeys_leave_foreign(false), 0);
  CHECK(can_write(loan.address) && can_write(late.address));
}

/* Another thread's callout has the image closed; this thread lends a range of it and releases it. */
static struct pkeys_image *held;
static pthread_barrier_t barrier;
static void *hold(void *argument) {
  CHECK_EQ(pkeys_enter_foreign(false), 0);
  pthread_barrier_wait(&barrier);
  struct timespec some = {
      0, 20000000}; /* so that the other usually has to wait; either way the copies must come out right */
  nanosleep(&some, NULL);
  CHECK_EQ(pkeys_leave_foreign(false), 0);
  return argument;
}

CHECK_TEST(copy_while_closed, "copies in and back wait for a counted image that another thread's callout has closed") {
  held = image_of(PKEYS_MECHANISM_MPROTECT_RANGE);
  char *eden = (char *)space_at(held, 0).address;
  memset(eden, 'v', 16 * KIB);
  pthread_barrier_init(&barrier, NULL, 2);
  struct pkeys_loan loan;
  pthread_t thread = start(hold, NULL);
  pthread_barrier_wait(&barrier);
  CHECK_EQ(pkeys_lend(16, held, 0, 0, PKEYS_LOAN_INOUT, false, &loan), 0);
  CHECK_EQ(*(char *)loan.address, 'v');
  pthread_join(thread, NULL);
  *(char *)loan.address = 'c';
  thread = start(hold, NULL);
  pthread_barrier_wait(&barrier);
  CHECK_EQ(pkeys_loan_release(loan.id), 0);
  pthread_join(thread, NULL);
  CHECK_EQ(eden[0], 'c');
}

CHECK_MAIN()
