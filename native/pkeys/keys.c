/*
 * keys.c: keys of this process. Whether there are any, how they are taken and given back, the runtime key, and a
 * thread's right to read what lies behind that. pkey_alloc(2), pkeys(7).
 */
#include <errno.h>

#include "internal.h"
#include "sys.h"

/* What a thread must know before it has any right to the registry. A page of its own on key 0, read-only once
 * pkeys_init is done. */
static struct {
  _Atomic int32_t supported;   /* 0: not asked yet, 1: yes, -1: no */
  _Atomic int32_t runtime_key; /* 0: none */
  _Atomic int32_t initialised;
  struct rehearsal rehearsal; /* set before `supported` is */
} __attribute__((aligned(4096))) boot;

/* On key 0 as well: a thread that waits for the first pkeys_init has no right yet to what that tags. */
static struct lock key_lock;

void pkeys_i_keys_hold(void) { pkeys_i_lock_take(&key_lock); }
void pkeys_i_keys_let_go(void) { pkeys_i_lock_give(&key_lock); }

_Static_assert(sizeof boot % 4096 == 0 && sizeof(struct registry) % 4096 == 0,
               "whole pages: nothing else is tagged or sealed with them");

bool pkeys_supported(void) {
  int32_t known = atomic_load_explicit(&boot.supported, memory_order_relaxed);
  if (known == 0) {
    /* Under the lock: the page may be sealed by now. */
    pkeys_i_keys_hold();
    known = atomic_load(&boot.supported);
    if (known == 0) {
      known = pkeys_i_cpu_has_ospke() ? 1 : -1;
      if (known > 0) {
        pkeys_i_rehearse(&boot.rehearsal, false);
        enum key_step failed = boot.rehearsal.failed;
        if (failed == KEY_STEP_CHILD || failed == KEY_STEP_REGISTER) known = -1;
        if (boot.rehearsal.key > 0) pkeys_i_registry.spare_keys |= 1u << boot.rehearsal.key;
      }
      atomic_store(&boot.supported, known);
    }
    pkeys_i_keys_let_go();
  }
  return known > 0;
}

/* ---- taking and giving back -------------------------------------------------------------------------------------- */

int pkeys_i_key_alloc(void) {
  pkeys_i_keys_hold();
  int key = 0;
  for (int spare = 1; spare < PKEYS_KEYS && key == 0; spare++)
    if (pkeys_i_registry.spare_keys & 1u << spare) key = spare;
  if (key) {
    pkeys_i_registry.spare_keys &= ~(1u << key);
    pkeys_wrpkru(pkeys_rdpkru() & ~pkru_field(key)); /* as pkey_alloc leaves it */
  } else {
    key = sys_pkey_alloc();
  }
  pkeys_i_keys_let_go();
  return key;
}

void pkeys_i_key_free(int key) {
  pkeys_i_keys_hold();
  enum key_step failed = boot.rehearsal.failed;
  if ((failed == KEY_STEP_FREE && boot.rehearsal.signal) || sys_pkey_free(key))
    pkeys_i_registry.spare_keys |= 1u << key;
  pkeys_i_keys_let_go();
}

/* ---- the runtime key --------------------------------------------------------------------------------------------- */

/* Takes the runtime key and tags the registry with it. 0 where there is none: what needs no keys works without. */
int pkeys_i_runtime_key_take(void) {
  if (!pkeys_supported() || boot.rehearsal.failed < KEY_STEP_FREE) return 0;
  int key = pkeys_i_key_alloc();
  if (key < 0) {
    boot.rehearsal.error[KEY_STEP_ALLOC] = -key; /* they went since the rehearsal */
    return 0;
  }
  /* I11 */
  if (sys_pkey_mprotect((uintptr_t)&pkeys_i_registry, sizeof pkeys_i_registry, PROT_READ | PROT_WRITE, key)) {
    pkeys_i_key_free(key);
    return 0;
  }
  return key;
}

bool pkeys_i_keys_sealed(void) { return atomic_load(&boot.initialised); }
int pkeys_i_keys_seal(int runtime_key) {
  atomic_store(&boot.runtime_key, runtime_key);
  atomic_store(&boot.initialised, 1);
  return sys_mprotect((uintptr_t)&boot, sizeof boot, PROT_READ);
}

int pkeys_i_keys_error(void) {
  if (!pkeys_supported()) return -EOPNOTSUPP;
  if (pkeys_runtime_key()) return 0;
  /* None was left at pkeys_init, or they do not work here. Either way the trap's own pages would lie open. */
  return boot.rehearsal.error[KEY_STEP_ALLOC] == ENOSPC ? -ENOSPC : -EOPNOTSUPP;
}

int pkeys_i_virtual_error(void) {
#if defined(__aarch64__)
  return -EOPNOTSUPP;
#else
  return pkeys_i_keys_error();
#endif
}

int pkeys_runtime_key(void) { return atomic_load_explicit(&boot.runtime_key, memory_order_relaxed); }

/* ---- the right to read ------------------------------------------------------------------------------------------- */

uint32_t pkeys_i_reader_enter(void) {
  int key = atomic_load_explicit(&boot.runtime_key, memory_order_relaxed);
  if (key == 0) return 0;
  uint32_t pkru = pkeys_rdpkru();
  if (pkru_rights(pkru, key) & PKEYS_NO_ACCESS)
    pkeys_wrpkru(pkru_combine(pkru, pkru_field(key), pkru_bits(key, PKEYS_NO_WRITE)));
  return pkru;
}

void pkeys_i_reader_leave(uint32_t saved) {
  int key = atomic_load_explicit(&boot.runtime_key, memory_order_relaxed);
  if (key != 0 && (pkru_rights(saved, key) & PKEYS_NO_ACCESS)) pkeys_wrpkru(saved);
}
