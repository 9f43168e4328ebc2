/*
 * registry.c: the state of this layer, its set-up, and the way in for code that changes it. The rules are in
 * internal.h.
 */
#include <errno.h>

#include "internal.h"
#include "sys.h"

/* 4 MiB, all zero at first: no file holds them. What begins as something else, initialise() sets. */
struct registry pkeys_i_registry;

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

/* A child has no thread but the one that forked, so nobody there would give back a lock that another thread held. A
 * callee may fork too: with its rights a thread cannot take the locks, and it gets the same rights back. */
static void before_fork(void) {
  uint32_t saved = pkeys_supported() ? pkeys_rdpkru() : 0;
  pkeys_open_thread();
  pkeys_i_lock_take(&pkeys_i_registry.lock);
  pkeys_i_lock_take(&pkeys_i_registry.mechanism_lock);
  pkeys_i_lock_take(&pkeys_i_registry.pool.lock);
  pkeys_i_keys_hold();
  pkeys_i_registry.forking_rights = saved;
  if (pkeys_i_registry.inner.take) pkeys_i_registry.inner.take();
}

static void after_fork(void) {
  uint32_t saved = pkeys_i_registry.forking_rights;
  if (pkeys_i_registry.inner.give) pkeys_i_registry.inner.give();
  pkeys_i_keys_let_go();
  pkeys_i_lock_give(&pkeys_i_registry.pool.lock);
  pkeys_i_lock_give(&pkeys_i_registry.mechanism_lock);
  pkeys_i_lock_give(&pkeys_i_registry.lock);
  if (pkeys_supported()) pkeys_wrpkru(saved);
}

/* The first time, before anybody can have entered the registry. 0 or negative errno. */
static int initialise(void) {
  pkeys_i_registry.next_image_id = pkeys_i_registry.next_loan_id = 1;
  pkeys_i_registry.pool.options = (struct pkeys_virtual_options){.nth = 8, .guard_bytes = PKEYS_GUARD_BYTES};
  pkeys_i_registry.pool.random = 0x9e3779b97f4a7c15u;
  int key = pkeys_i_runtime_key_take();
  pkeys_i_registry.runtime_key = key;
  pkeys_i_masks_publish(key > 0);
  int error = sys_at_fork(before_fork, after_fork);
  return error ? error : pkeys_i_keys_seal(key);
}

int pkeys_init(void) {
  if (pkeys_i_keys_sealed()) return 0;
  pkeys_i_keys_hold();
  int error = pkeys_i_keys_sealed() ? 0 : initialise();
  pkeys_i_keys_let_go();
  return error;
}

int pkeys_protect_runtime(void *address, size_t bytes) {
  int error = pkeys_init();
  if (error) return error;
  int key = pkeys_runtime_key();
  if (key == 0) return 0;
  if ((uintptr_t)address % PKEYS_PAGE != 0 || bytes == 0 || bytes > PKEYS_MAX_BYTES) return -EINVAL;
  return sys_pkey_mprotect((uintptr_t)address, round_up(bytes), PROT_READ | PROT_WRITE, key);
}

/* ---- the way in -------------------------------------------------------------------------------------------------- */

int pkeys_i_registry_enter(void) {
  int error = pkeys_init();
  if (error) return error;
  pkeys_open_thread();
  pkeys_i_lock_take(&pkeys_i_registry.lock);
  pkeys_open_thread(); /* a key may have come while this thread waited */
  return 0;
}
void pkeys_i_registry_leave(void) { pkeys_i_lock_give(&pkeys_i_registry.lock); }

/* All locks, as a change of the region table needs. */
int pkeys_i_change_enter(void) {
  int error = pkeys_i_registry_enter();
  if (error) return error;
  pkeys_i_lock_take(&pkeys_i_registry.mechanism_lock);
  pkeys_i_lock_take(&pkeys_i_registry.pool.lock);
  return 0;
}
int pkeys_i_change_leave(int result) {
  pkeys_i_lock_give(&pkeys_i_registry.pool.lock);
  pkeys_i_lock_give(&pkeys_i_registry.mechanism_lock);
  pkeys_i_registry_leave();
  return result;
}

void pkeys_i_registry_quiesce(void) {
  while (atomic_load(&pkeys_i_registry.lockfree_users) > 0) sys_yield();
}

void pkeys_hold_over_fork(struct pkeys_inner_locks locks) {
  if (pkeys_i_registry_enter()) return;
  pkeys_i_registry.inner = locks;
  pkeys_i_registry_leave();
}

void pkeys_on_change(void (*listener)(const struct pkeys_masks *masks)) {
  if (pkeys_i_registry_enter()) return;
  pkeys_i_registry.listener = listener;
  struct mask_record record;
  pkeys_i_masks_read(&record);
  if (listener) listener(&record.masks);
  pkeys_i_registry_leave();
}
