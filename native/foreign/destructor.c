/* A library whose destructor writes where it was told, when it is unloaded: what a cleanup through a pointer long gone
 * does. */
#include "mistakes.h"

static uint64_t target;

int foreign_destructor_at(uint64_t address) {
  target = address;
  return 1;
}

__attribute__((destructor)) static void at_unload(void) {
  if (target != 0) __asm__ volatile("movq $0x41, (%0)" : : "r"(target) : "memory");
}
