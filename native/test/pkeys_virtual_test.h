/*
 * pkeys_virtual_test.h: what the tests of virtual keys share. Rights are checked in two ways: PKRU is read, and a store
 * is tried. The kernel does that store (clock_gettime into the page), so that a refusal is an answer and no signal.
 */
#ifndef TURNKEY_TEST_PKEYS_VIRTUAL_H
#define TURNKEY_TEST_PKEYS_VIRTUAL_H

#include "pkeys_test.h"

#define SPACE_BYTES (4 * KIB)

static struct pkeys_seat seat; /* of the test's own thread */

static inline bool can_store(uintptr_t address) { return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, address) == 0; }

static inline int map_virtual(size_t bytes, enum pkeys_rights deny, struct pkeys_image **out) {
  const struct pkeys_space_request request = {.name = "old", .bytes = bytes, .reserve_bytes = bytes, .deny = deny};
  int error = pkeys_image_map(&request, 1, PKEYS_KEY_VIRTUAL, out, NULL);
  return error ? error : pkeys_image_set_mechanism(*out, PKEYS_MECHANISM_PKEYS);
}

struct tenants {
  struct pkeys_image *image[PKEYS_MAX_IMAGES];
  uintptr_t address[PKEYS_MAX_IMAGES];
  int count;
};
static struct tenants tenants;

static inline void open_tenants(int count, const struct pkeys_virtual_options *options) {
  CHECK_EQ(pkeys_virtual_configure(options), 0);
  for (tenants.count = 0; tenants.count < count; tenants.count++) {
    struct pkeys_image **image = &tenants.image[tenants.count];
    int error = map_virtual(SPACE_BYTES, PKEYS_NO_WRITE, image);
    CHECK_EQ(error, 0);
    if (error) return;
    tenants.address[tenants.count] = space_at(*image, 0).address;
  }
  pkeys_seat_begin(&seat);
}

static inline int key_now(int tenant) { return space_at(tenants.image[tenant], 0).key; }

/* Whether this thread has `key` open and no other of the pool's keys; 0: none. */
static inline bool only_right(int key) {
  uint32_t pkru = pkeys_rdpkru(), pool = pkeys_masks().pool;
  for (int k = 1; k < PKEYS_KEYS; k++)
    if (pool & pkru_field(k) && (pkru_rights(pkru, k) == PKEYS_OPEN) != (k == key)) return false;
  return true;
}

#endif
