/*
 * pkru_x86_64.c: the PKRU register of this thread. RDPKRU and WRPKRU: Intel SDM vol. 2; pkeys(7).
 *
 * I3: this file holds the only WRPKRU outside the gate's assembly, in one function that is never inlined.
 */
#define _GNU_SOURCE   /* PKEY_DISABLE_* */
#include <sys/mman.h>

#include "internal.h"

_Static_assert((int)PKEYS_NO_ACCESS == PKEY_DISABLE_ACCESS && (int)PKEYS_NO_WRITE == PKEY_DISABLE_WRITE, "rights are the kernel's");

uint32_t pkeys_rdpkru(void) {
  uint32_t pkru, edx;
  /* ECX must be 0. */
  __asm__ volatile(".byte 0x0f, 0x01, 0xee" : "=a"(pkru), "=d"(edx) : "c"(0));
  return pkru;
}

/* The "memory" clobber keeps the compiler from moving loads and stores of the image across the change of rights; the processor
 * itself orders them (SDM: WRPKRU is not executed speculatively, and later accesses wait for it). I1: key 0 stays open. */
__attribute__((noinline, noclone)) void pkeys_wrpkru(uint32_t pkru) {
  __asm__ volatile(".byte 0x0f, 0x01, 0xef" : : "a"(pkru & ~pkru_field(0)), "c"(0), "d"(0) : "memory");
}
