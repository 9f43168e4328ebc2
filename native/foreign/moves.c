/* Instructions that store, other than the plain mov of writes.c. SDM vol. 2. */
#include "mistakes.h"

#include <cpuid.h>
#include <setjmp.h>

void foreign_copy_rep(uint64_t destination, uint64_t source, uint64_t bytes) {
  __asm__ volatile("rep movsb" : "+D"(destination), "+S"(source), "+c"(bytes) : : "memory");
}

void foreign_swap(uint64_t address, uint64_t value) {
  __asm__ volatile("xchgq %0, (%1)" : "+r"(value) : "r"(address) : "memory");
}
void foreign_increment(uint64_t address) { __asm__ volatile("addq $1, (%0)" : : "r"(address) : "memory", "cc"); }
void foreign_save_state(uint64_t address) { __asm__ volatile("fxsave64 (%0)" : : "r"(address) : "memory"); }

int foreign_masked_store(uint64_t address) {
  unsigned a, b, c = 0, d;
  const unsigned needed = (1u << 27) | (1u << 28); /* OSXSAVE and AVX */
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & needed) != needed) return -1;
  __asm__ volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n\tvmaskmovps %%ymm0, %%ymm0, (%0)\n\tvzeroupper"
                   :
                   : "r"(address)
                   : "xmm0", "memory");
  return 0;
}

int64_t foreign_setjmp_into(uint64_t address) { return _setjmp(*(jmp_buf *)(uintptr_t)address); }
