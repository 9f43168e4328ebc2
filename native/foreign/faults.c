/* One processor exception each, in assembly where the compiler would otherwise have an opinion. SDM vol. 3A, chapter 6.
 */
#define _GNU_SOURCE
#include "foreign.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

uint64_t foreign_null_read(void) {
  uint64_t value;
  __asm__ volatile("movq 0, %0" : "=r"(value));
  return value;
}
void foreign_null_write(void) { __asm__ volatile("movq $1, 0" : : : "memory"); }
void foreign_noncanonical_read(void) {
  __asm__ volatile("movq (%0), %%rax" : : "r"(UINT64_C(0x8000000000000010)) : "rax", "memory");
}
void foreign_noncanonical_write(void) {
  __asm__ volatile("movq %%rax, (%0)" : : "r"(UINT64_C(0x8000000000000010)) : "memory");
}
void foreign_jump(uint64_t address) { __asm__ volatile("jmp *%0" : : "r"(address) : "memory"); }
int foreign_call(uint64_t address) { return ((int (*)(void))(uintptr_t)address)(); }
void foreign_return_to(uint64_t address) { __asm__ volatile("push %0\n\tret" : : "r"(address) : "memory"); }
int foreign_divide(int dividend, int divisor) {
  int quotient;
  __asm__ volatile("cltd\n\tidivl %2" : "=a"(quotient) : "0"(dividend), "r"(divisor) : "edx", "cc");
  return quotient;
}
void foreign_illegal(void) { __asm__ volatile("ud2"); }
void foreign_breakpoint(void) { __asm__ volatile("int3"); }
void foreign_privileged(void) { __asm__ volatile("hlt"); }
void foreign_misaligned_sse(void) {
  char buffer[64] __attribute__((aligned(16)));
  __asm__ volatile("movaps %%xmm0, 1(%0)" : : "r"(buffer) : "memory");
}

/* The flags are set and the fault comes in one block: no compiler code runs with them odd. */
void foreign_fault_with_df(void) { __asm__ volatile("std\n\tmovq $1, 0" : : : "memory", "cc"); }
void foreign_fault_with_ac(void) {
  uint64_t words[2] = {0, 0};
  __asm__ volatile("pushfq\n\torq $0x40000, (%%rsp)\n\tpopfq\n\tmovq 1(%0), %%rax"
                   :
                   : "r"(words)
                   : "rax", "memory", "cc");
}
void foreign_fault_with_tf(void) {
  __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tnop" : : : "memory", "cc");
}
void foreign_fault_with_full_x87(void) {
  __asm__ volatile("fld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tmovq $1, 0" : : : "memory");
}
void foreign_fault_with_bad_control_words(void) {
  /* All exceptions unmasked, rounding towards zero, flush to zero. */
  uint32_t mxcsr = 0xe000;
  uint16_t control = 0x0c00;
  __asm__ volatile("ldmxcsr %0\n\tfldcw %1\n\tmovq $1, 0" : : "m"(mxcsr), "m"(control) : "memory");
}

void foreign_abort(void) { abort(); }
void foreign_raise(int signal) { raise(signal); }
void foreign_exit(int code) { exit(code); }
void foreign_exit_now(int code) { _exit(code); }
void foreign_spin(void) {
  for (;;) __asm__ volatile("pause");
}
