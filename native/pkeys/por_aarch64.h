/*
 * por_aarch64.h: between the rights of pkeys.h and POR_EL0, the overlay register of FEAT_S1POE. The first have PKRU's
 * form: two bits to a key say what is denied. In the second, four bits to a key say what is allowed. Arithmetic only,
 * for tests on any ARM64 CPU.
 *
 * Arm ARM, D19.2 (POR_EL0); arch/arm64/include/asm/por.h; arch/arm64/mm/mmu.c (arch_set_user_pkey_access). Linux gives
 * keys 0 to 7.
 */
#ifndef TURNKEY_PKEYS_POR_AARCH64_H
#define TURNKEY_PKEYS_POR_AARCH64_H

#include <stdint.h>

#define POR_READ 1u
#define POR_EXECUTE 2u
#define POR_WRITE 4u
#define POR_ALL (POR_READ | POR_EXECUTE | POR_WRITE)

/* Everything allowed for the keys that have a bit in `owned`, nothing said of others. */
static inline uint64_t por_of_owned(uint32_t owned) {
  uint64_t por = 0;
  for (int key = 0; key < 16; key++)
    if (owned >> 2 * key & 3u) por |= (uint64_t)POR_ALL << 4 * key;
  return por;
}
/* The bits that must go for what `pkru` denies. Execution is never denied: PKRU does not know it. */
static inline uint64_t por_of_denied(uint32_t pkru) {
  uint64_t por = 0;
  for (int key = 0; key < 16; key++) {
    uint32_t denied = pkru >> 2 * key & 3u;
    if (denied & 1u) por |= (uint64_t)(POR_READ | POR_WRITE) << 4 * key;
    else if (denied & 2u) por |= (uint64_t)POR_WRITE << 4 * key;
  }
  return por;
}
/* What `por` denies, as PKRU says it. */
static inline uint32_t por_denies(uint64_t por) {
  uint32_t pkru = 0;
  for (int key = 0; key < 16; key++) {
    uint32_t allowed = (uint32_t)(por >> 4 * key) & 15u;
    if (!(allowed & POR_READ)) pkru |= 1u << 2 * key;
    else if (!(allowed & POR_WRITE)) pkru |= 2u << 2 * key;
  }
  return pkru;
}
/* `por` with the rights of `pkru`. A key for which it says so already stays as it is, bit for bit (I2); another may be
 * executed from now on too. I1: key 0 stays open. */
static inline uint64_t por_with(uint64_t por, uint32_t pkru) {
  uint32_t now = por_denies(por);
  for (int key = 1; key < 16; key++) {
    uint32_t field = 3u << 2 * key;
    if (((pkru ^ now) & field) == 0) continue;
    por &= ~((uint64_t)15 << 4 * key);
    por |= ((uint64_t)POR_ALL << 4 * key) & ~por_of_denied(pkru & field);
  }
  return por;
}

#endif
