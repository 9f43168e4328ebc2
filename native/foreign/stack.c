/* Stacks overrun, smashed and jumped over. Compiled with frame pointers and without the stack protector. */
#include "mistakes.h"

#include <setjmp.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Winfinite-recursion"

uint64_t foreign_recurse(uint64_t depth, uint64_t frame_bytes) {
  volatile char *frame = __builtin_alloca(frame_bytes + 16);
  frame[0] = (char)depth;
  if (depth == 1) return 1;
  return 1 + foreign_recurse(depth == 0 ? 0 : depth - 1, frame_bytes) + (uint64_t)(frame[0] - frame[0]);
}

void foreign_smash_own(uint64_t value) {
  volatile uint64_t *frame = __builtin_frame_address(0);
  frame[0] = value;
  frame[1] = value;
}

void foreign_smash_caller(uint64_t bytes, uint8_t value) {
  volatile uint8_t *above = (uint8_t *)__builtin_frame_address(0) + 16;
  for (uint64_t i = 0; i < bytes; i++) above[i] = value;
}

__attribute__((stack_protect)) void foreign_smash_protected(uint64_t bytes) {
  char buffer[32];
  char *at = buffer;
  __asm__ volatile("" : "+r"(at));
  for (uint64_t i = 0; i < sizeof buffer + bytes; i++) ((volatile char *)at)[i] = 0x5a;
  __asm__ volatile("" : : "r"(buffer) : "memory");
}

void foreign_push_on(uint64_t stack_pointer, uint64_t value) {
  __asm__ volatile("movq %%rsp, %%rbx\n\tmovq %0, %%rsp\n\tpushq %1\n\tmovq %%rbx, %%rsp"
                   :
                   : "r"(stack_pointer), "r"(value)
                   : "rbx", "memory");
}

void foreign_longjmp(void *jump_buffer) { longjmp(*(jmp_buf *)jump_buffer, 1); }

static jmp_buf back;

int foreign_setjmp_call(void (*callback)(void)) {
  if (setjmp(back) != 0) return 1;
  callback();
  return 0;
}

void foreign_longjmp_back(void) { longjmp(back, 1); }
