/* A library whose constructor does harm while it is loaded. TURNKEY_FOREIGN_CTOR says what: null (also the default) |
 * write:0xADDRESS | none | registers: denormals are flushed to zero, as crtfastm.c does, and all signals blocked. */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xmmintrin.h>

__attribute__((constructor)) static void at_load(void) {
  const char *how = getenv("TURNKEY_FOREIGN_CTOR");
  uint64_t address = 0;
  if (how != NULL && strcmp(how, "none") == 0) return;
  if (how != NULL && strcmp(how, "registers") == 0) {
#ifndef _WIN32 /* which has no signal masks */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
#endif
    _mm_setcsr(_mm_getcsr() | 0x8040); /* FTZ, DAZ */
    return;
  }
  if (how != NULL && strncmp(how, "write:", 6) == 0) address = strtoull(how + 6, NULL, 0);
  __asm__ volatile("movq $1, (%0)" : : "r"(address) : "memory");
}

__attribute__((visibility("default"))) int foreign_ctor_loaded(void);
int foreign_ctor_loaded(void) { return 1; }
