/* A library whose constructor faults while it is loaded, when TURNKEY_FOREIGN_CTOR says how: null | write:0xADDRESS. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

__attribute__((constructor)) static void at_load(void) {
  const char *how = getenv("TURNKEY_FOREIGN_CTOR");
  uint64_t address = 0;
  if (how != NULL && strcmp(how, "none") == 0) return;
  if (how != NULL && strncmp(how, "write:", 6) == 0) address = strtoull(how + 6, NULL, 0);
  __asm__ volatile("movq $1, (%0)" : : "r"(address) : "memory");
}

__attribute__((visibility("default"))) int foreign_ctor_loaded(void);
int foreign_ctor_loaded(void) { return 1; }
