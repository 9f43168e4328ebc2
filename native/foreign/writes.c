/* Stray stores and loads: what a wrong pointer, length or type comes down to. Volatile so that each is one access, as
 * written. */
#include "foreign.h"

#include <stdio.h>
#include <string.h>

void foreign_write8(uint64_t address, uint8_t value) { *(volatile uint8_t *)(uintptr_t)address = value; }
void foreign_write32(uint64_t address, uint32_t value) { *(volatile uint32_t *)(uintptr_t)address = value; }
void foreign_write64(uint64_t address, uint64_t value) { *(volatile uint64_t *)(uintptr_t)address = value; }
uint64_t foreign_read64(uint64_t address) { return *(volatile uint64_t *)(uintptr_t)address; }

void foreign_write128(uint64_t address, uint64_t value) {
  __asm__ volatile("movq %1, %%xmm0\n\tpunpcklqdq %%xmm0, %%xmm0\n\tmovups %%xmm0, (%0)"
                   :
                   : "r"(address), "r"(value)
                   : "xmm0", "memory");
}

void foreign_write_nontemporal(uint64_t address, uint64_t value) {
  __asm__ volatile("movnti %1, (%0)\n\tsfence" : : "r"(address), "r"(value) : "memory");
}

void foreign_write_rep(uint64_t address, uint8_t value, uint64_t bytes) {
  __asm__ volatile("rep stosb" : "+D"(address), "+c"(bytes) : "a"(value) : "memory");
}

uint64_t foreign_atomic_add(uint64_t address, uint64_t value) {
  return __atomic_fetch_add((volatile uint64_t *)(uintptr_t)address, value, __ATOMIC_SEQ_CST);
}

uint64_t foreign_atomic_cas(uint64_t address, uint64_t expected, uint64_t value) {
  __atomic_compare_exchange_n((volatile uint64_t *)(uintptr_t)address, &expected, value, 0, __ATOMIC_SEQ_CST,
                              __ATOMIC_SEQ_CST);
  return expected;
}

uint64_t foreign_overflow(uint8_t *start, uint64_t bytes, uint8_t value) {
  volatile uint8_t *at = start;
  for (uint64_t i = 0; i < bytes; i++) at[i] = value;
  return bytes;
}

void foreign_memcpy(uint8_t *destination, const uint8_t *source, uint64_t bytes) { memcpy(destination, source, bytes); }
void foreign_strcpy(char *destination, const char *source) { strcpy(destination, source); }
int foreign_sprintf(char *destination, const char *text, int number) {
  return sprintf(destination, "%s: %d", text, number);
}

static void *kept;

void foreign_keep(void *pointer) { kept = pointer; }
void *foreign_kept(void) { return kept; }
int foreign_scribble(uint8_t value, uint64_t bytes) {
  if (kept == NULL) return 0;
  foreign_overflow(kept, bytes, value);
  return 1;
}
