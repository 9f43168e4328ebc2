/*
 * pkeys_handover.c: virtual keys: which thread keeps a right to a hardware key that comes from another owner, or goes
 * to one. Those are earlier images, other owners in the process, and threads and children of a thread that is in an
 * image. And which key it was, when a thread faulted.
 */
#include "pkeys_virtual_test.h"

static struct pkeys_seat other;

/* Broken once: `broad` not looked at in `grow`: the ordinary image's key, which threads have open, joins the pool. */
CHECK_TEST(handed_over, "a key that VM threads may still have open never joins the pool; the pool gives keys away") {
  NEEDS_KEYS();
  struct pkeys_image *ordinary = image_of(PKEYS_MECHANISM_PKEYS);
  int key = space_at(ordinary, 0).key;
  CHECK_EQ(pkeys_image_close(ordinary), 0);
  CHECK_EQ(pkru_rights(pkeys_rdpkru(), key), PKEYS_OPEN); /* this thread's, as every VM thread's */
  open_tenants(20, &(struct pkeys_virtual_options){.policy = PKEYS_POLICY_LRU});
  CHECK((pkeys_masks().pool & pkru_field(key)) == 0);
  unsigned ways = pkeys_virtual_state().ways;
  for (int i = 0; i < 20; i++) CHECK_EQ(pkeys_seat_enter(&seat, tenants.image[i]), 0);
  CHECK_EQ(pkeys_seat_enter(&seat, NULL), 0);
  struct pkeys_image *images[3];
  for (int i = 0; i < 3; i++) images[i] = image_of(PKEYS_MECHANISM_PKEYS); /* the first one gets the old key */
  CHECK_EQ(pkeys_virtual_state().ways, ways - 2);
  struct pkeys_loan loan;
  CHECK_EQ(pkeys_lend(64, tenants.image[5], 0, 0, PKEYS_LOAN_INOUT, false, &loan), 0);
  CHECK_EQ(pkeys_virtual_state().ways, ways - 3);
  memset(loan.address, 0x5a, 64);
  CHECK_EQ(pkeys_loan_release(loan.id), 0);
  CHECK(only_right(0) && !can_store(tenants.address[5]));
  CHECK_EQ(*(unsigned char *)tenants.address[5], 0x5a);
  for (int i = 0; i < 20; i++) {
    CHECK_EQ(pkeys_seat_enter(&seat, tenants.image[i]), 0);
    for (int j = 0; j < 20; j++) CHECK_EQ(can_store(tenants.address[j] + 64), j == i);
  }
  for (int i = 0; i < 3; i++) {
    CHECK(can_write((void *)space_at(images[i], 0).address));
    CHECK_EQ(pkeys_image_verify_tags(images[i], NULL), 0);
    CHECK_EQ(pkeys_image_close(images[i]), 0);
  }
}

static void *younger(void *argument) {
  bool inherited = can_store(tenants.address[0]);
  struct pkeys_seat own;
  pkeys_open_thread();
  pkeys_seat_begin(&own);
  *(bool *)argument = can_store(tenants.address[0]);
  return (void *)(intptr_t)inherited;
}

/* Broken once: pkeys_seat_begin without write_rights: the thread keeps the right. */
CHECK_TEST(inherited, "a thread made inside an image has its maker's right until it takes a seat, and then none") {
  NEEDS_KEYS();
  open_tenants(2, &(struct pkeys_virtual_options){.ways = 1});
  CHECK_EQ(pkeys_seat_enter(&seat, tenants.image[0]), 0);
  bool seated = true;
  void *inherits = NULL;
  CHECK_EQ(pthread_join(start(younger, &seated), &inherits), 0);
  CHECK(inherits != NULL);
  CHECK(!seated);
}

CHECK_TEST(forked, "in a child the seats of other threads end, and its own image stays; the parent notices nothing") {
  NEEDS_KEYS();
  open_tenants(4, &(struct pkeys_virtual_options){.ways = 2});
  pkeys_seat_begin(&other);
  CHECK_EQ(pkeys_seat_enter(&other, tenants.image[0]), 0);
  CHECK_EQ(pkeys_seat_enter(&seat, tenants.image[1]), 0);
  pid_t child = check_fork();
  if (child == 0) {
    pkeys_seat_end(&other);
    bool good = can_store(tenants.address[1]) && pkeys_seat_enter(&seat, tenants.image[2]) == 0 &&
                pkeys_virtual_state().pinned == 1 && can_store(tenants.address[2]) && !can_store(tenants.address[1]) &&
                pkeys_seat_enter(&seat, tenants.image[3]) == 0 && !can_store(tenants.address[0]);
    _exit(good ? 0 : 1);
  }
  CHECK_EQ(check_wait(child), 0);
  CHECK(can_store(tenants.address[1]) && !can_store(tenants.address[2]));
  CHECK_EQ(pkeys_virtual_state().pinned, 2);
}

CHECK_TEST(key_at_fault,
           "I10: the key at a fault is found after the image has moved on, and a key it never had is not") {
  NEEDS_KEYS();
  open_tenants(3, &(struct pkeys_virtual_options){.ways = 2});
  uintptr_t at = tenants.address[0];
  uint32_t moves = 9;
  CHECK_EQ(pkeys_space_key_at_fault(at, -1, NULL, &moves), 0); /* closed by its access */
  CHECK_EQ(moves, 0);
  CHECK_EQ(pkeys_seat_enter(&seat, tenants.image[0]), 0);
  int key = key_now(0), never = 0;
  for (int k = 1; k < PKEYS_KEYS; k++)
    if (!(pkeys_masks().pool & pkru_field(k))) never = k;
  CHECK_EQ(pkeys_space_key_at_fault(at, key, NULL, &moves), key);
  CHECK_EQ(moves, 0);
  CHECK_EQ(pkeys_space_key_at_fault(at, -1, NULL, &moves), 0); /* the fault came before the load */
  CHECK_EQ(moves, 1);
  for (int i = 1; i < 3; i++) CHECK_EQ(pkeys_seat_enter(&seat, tenants.image[i]), 0);
  CHECK_EQ(key_now(0), 0);
  CHECK_EQ(pkeys_space_key_at_fault(at, key, NULL, &moves), key); /* before the eviction */
  CHECK_EQ(moves, 1);
  CHECK_EQ(pkeys_space_key_at_fault(at, never, NULL, &moves), 0);
  CHECK_EQ(moves, 0);
  CHECK_EQ(pkeys_space_key_at_fault((uintptr_t)&moves, key, NULL, &moves), -1);
}

static void *keeps_right(void *argument) {
  pkeys_wrpkru(pkeys_rdpkru() & ~pkru_field(*(int *)argument)); /* as pkey_set, by an owner who then frees the key */
  struct pkeys_seat own;
  pkeys_open_thread();
  pkeys_seat_begin(&own);
  bool good = true;
  for (int i = 0; i < tenants.count; i++) good = good && !can_store(tenants.address[i]);
  good = good && pkeys_seat_enter(&own, tenants.image[1]) == 0;
  for (int i = 0; i < tenants.count; i++) good = good && can_store(tenants.address[i]) == (i == 1);
  pkeys_seat_enter(&own, NULL);
  return (void *)(intptr_t)good;
}

/* Broken once: pkeys_seat_begin without write_rights: the thread writes the image under the key that it had open. */
CHECK_TEST(freed_by_others,
           "a key that somebody else freed with rights to it open is no right to an image of the pool") {
  NEEDS_KEYS();
  CHECK_EQ(pkeys_init(), 0);
  int key = (int)syscall(SYS_pkey_alloc, 0, 0);
  REQUIRE(key > 0);
  CHECK_EQ(pkru_rights(pkeys_rdpkru(), key), PKEYS_OPEN);
  CHECK_EQ(syscall(SYS_pkey_free, key), 0);
  open_tenants(4, &(struct pkeys_virtual_options){.policy = PKEYS_POLICY_LRU});
  CHECK(pkeys_masks().pool & pkru_field(key)); /* it is the pool's now */
  for (int i = 0; i < 4; i++) CHECK(!can_store(tenants.address[i]));
  for (int i = 0; i < 4; i++) CHECK_EQ(pkeys_seat_enter(&seat, tenants.image[i]), 0);
  CHECK_EQ(pkeys_seat_enter(&seat, NULL), 0);
  void *good = NULL;
  CHECK_EQ(pthread_join(start(keeps_right, &key), &good), 0);
  CHECK(good != NULL);
  /* And the other way: once the pool is gone, a new owner's key is open to nobody who was in an image. */
  CHECK_EQ(pkeys_seat_enter(&seat, tenants.image[0]), 0);
  key = key_now(0);
  CHECK_EQ(pkeys_seat_enter(&seat, NULL), 0);
  for (int i = 0; i < 4; i++) CHECK_EQ(pkeys_image_close(tenants.image[i]), 0);
  while (syscall(SYS_pkey_alloc, 0, 3) > 0) continue; /* with no rights for the owner itself */
  char *theirs = test_reserve(SPACE_BYTES);
  CHECK_EQ(syscall(SYS_pkey_mprotect, theirs, SPACE_BYTES, TEST_READ_WRITE, key), 0);
  CHECK(!can_store((uintptr_t)theirs));
}

CHECK_MAIN()
