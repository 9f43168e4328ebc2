/*
 * pkru_x86_64.c: what x86-64 says of keys, and the PKRU register of this thread. CPUID leaf 7, RDPKRU and WRPKRU: Intel
 * SDM vol. 2; pkeys(7).
 *
 * I3: this file holds the only WRPKRU outside the gate's assembly, in one function that is never inlined.
 */
#define _GNU_SOURCE /* PKEY_DISABLE_* */
#include <cpuid.h>
#include <sys/mman.h>

#include "internal.h"

_Static_assert((int)PKEYS_NO_ACCESS == PKEY_DISABLE_ACCESS && (int)PKEYS_NO_WRITE == PKEY_DISABLE_WRITE,
               "rights are the kernel's");

#define CPUID_7_ECX_PKU (1u << 3)
#define CPUID_7_ECX_OSPKE (1u << 4)

static unsigned cpuid_7_ecx(void) {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) ? ecx : 0;
}

bool pkeys_i_cpu_has_keys(void) { return (cpuid_7_ecx() & CPUID_7_ECX_PKU) != 0; }
bool pkeys_i_cpu_has_ospke(void) { return (cpuid_7_ecx() & CPUID_7_ECX_OSPKE) != 0; }
const int pkeys_i_cpu_keys = 16;
const char pkeys_i_cpu_lacks_keys[] = "the CPU shows no PKU (CPUID.7.0:ECX bit 3 is 0)";
const char pkeys_i_kernel_lacks_keys[] =
    "the CPU has PKU, but the kernel has not switched it on (CPUID.7.0:ECX bit 4, OSPKE, is 0): "
    "started with 'nopku', or built without CONFIG_X86_INTEL_MEMORY_PROTECTION_KEYS";

void pkeys_i_kernel_cpu(struct kernel_cpu *out) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  *out = (struct kernel_cpu){.amd = false};
  if (__get_cpuid(0, &a, &b, &c, &d)) out->amd = b == signature_AMD_ebx || b == 0x6f677948 /* "Hygo" */;
  if (__get_cpuid_count(0xd, 1, &a, &b, &c, &d)) out->xgetbv1 = (a & 1u << 2) != 0;
}

uint32_t pkeys_rdpkru(void) {
  uint32_t pkru, edx;
  /* ECX must be 0. */
  __asm__ volatile(".byte 0x0f, 0x01, 0xee" : "=a"(pkru), "=d"(edx) : "c"(0));
  return pkru;
}

#ifndef __GLIBC__
#error "pkeys-glibc needs the C library's pkey_set"
#endif
bool pkeys_i_library_has_keys(void) { return true; }
void pkeys_i_library_pkey_set(int key, unsigned rights) { pkey_set(key, rights); }

/* The "memory" clobber keeps the compiler from moving loads and stores of the image across the change of rights; the
 * processor itself orders them (F7). I1: key 0 stays open. */
__attribute__((noinline, noclone)) void pkeys_wrpkru(uint32_t pkru) {
  __asm__ volatile(".byte 0x0f, 0x01, 0xef" : : "a"(pkru & ~pkru_field(0)), "c"(0), "d"(0) : "memory");
}
