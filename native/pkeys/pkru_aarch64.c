/*
 * pkru_aarch64.c: what Linux on ARM64 says of keys, and this thread's rights: POR_EL0 (FEAT_S1POE), Linux 6.12 and
 * later. This file is written from the manuals. No machine and no emulator at hand has the register, so it was never
 * run (the arithmetic, por_aarch64.h, is tested).
 *
 * I3: this file holds the only write of POR_EL0 outside the gate's assembly, in one function that is never inlined.
 * Arm ARM, D19.2 (POR_EL0); arch/arm64/kernel/process.c; Documentation/arch/arm64/elf_hwcaps.rst.
 */
#define _GNU_SOURCE /* pkey_set */
#include <errno.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "internal.h"
#include "por_aarch64.h"

#ifndef HWCAP2_POE
#define HWCAP2_POE (1ul << 63)
#endif
#ifndef AT_HWCAP2
#define AT_HWCAP2 26
#endif

/* The kernel tells of the CPU's feature only where it uses it. */
bool pkeys_i_cpu_has_ospke(void) { return (getauxval(AT_HWCAP2) & HWCAP2_POE) != 0; }
bool pkeys_i_cpu_has_keys(void) { return pkeys_i_cpu_has_ospke(); }
const int pkeys_i_cpu_keys = 8;
const char pkeys_i_cpu_lacks_keys[] =
    "no permission overlay (HWCAP2_POE is not set): it takes a CPU with FEAT_S1POE and Linux "
    "6.12 or later with CONFIG_ARM64_POE";
const char pkeys_i_kernel_lacks_keys[] = "no permission overlay";

/* What kernels break is known of x86 only. */
void pkeys_i_kernel_cpu(struct kernel_cpu *out) { *out = (struct kernel_cpu){.amd = false, .xgetbv1 = true}; }

static inline uint64_t por_read(void) {
  uint64_t por;
  __asm__ volatile("mrs %0, S3_3_C10_C2_4" : "=r"(por));
  return por;
}

/* C libraries before the overlay have a pkey_set that only fails. */
bool pkeys_i_library_has_keys(void) {
  int saved = errno;
  bool has = pkey_get(0) >= 0;
  errno = saved;
  return has;
}
void pkeys_i_library_pkey_set(int key, unsigned rights) { pkey_set(key, rights); }

uint32_t pkeys_rdpkru(void) { return por_denies(por_read()); }

/* The ISB makes the rights hold for the very next access; the "memory" clobber keeps the compiler from moving loads and
 * stores of the image across. */
__attribute__((noinline, noclone)) void pkeys_wrpkru(uint32_t pkru) {
  __asm__ volatile("msr S3_3_C10_C2_4, %0\n\tisb" : : "r"(por_with(por_read(), pkru)) : "memory");
}
