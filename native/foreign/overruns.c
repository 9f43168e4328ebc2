/* Wrong lengths, sizes, types and prototypes, each through the function of C's library in which it usually happens. */
#define _GNU_SOURCE
#include "mistakes.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LONGEST 4096

/* Hides from the compiler what a value is, so that it warns of nothing and proves nothing. */
#define HIDE(value) __asm__ volatile("" : "+r"(value))

/* A text of `length` letters A. Not on the stack: the stack may be the small one. */
static const char *text_of(uint64_t length) {
  static char text[LONGEST + 1];
  if (length > LONGEST) length = LONGEST;
  memset(text, 'A', length);
  text[length] = '\0';
  return text;
}

enum how { BY_MEMCPY, BY_STRCPY, BY_SPRINTF };

static void copy(enum how how, char *to, const char *from, uint64_t length) {
  switch (how) {
    case BY_MEMCPY: memcpy(to, from, length); break;
    case BY_STRCPY: strcpy(to, from); break;
    case BY_SPRINTF: sprintf(to, "%s", from); break;
  }
}

struct job {
  const char *text;
  uint64_t length;
  enum how how;
  uint64_t buffer;
};

/* The function with the small buffer. */
static void __attribute__((noinline)) with_local(struct job *job) {
  char local[32];
  char *to = local;
  HIDE(to);
  job->buffer = (uint64_t)(uintptr_t)to;
  copy(job->how, to, job->text, job->length);
  __asm__ volatile("" : : "r"(to) : "memory");
}

/* Calls with_local on the stack that ends at `top`. The old stack pointer waits in a register that every callee saves.
 */
static uint64_t on_stack(uint64_t base, uint64_t bytes, uint64_t length, enum how how) {
  struct job job = {text_of(length), length, how, 0};
  uint64_t top = (base + bytes) & ~UINT64_C(15);
  __asm__ volatile("movq %%rsp, %%rbx\n\tmovq %0, %%rsp\n\tcall *%1\n\tmovq %%rbx, %%rsp"
                   :
                   : "r"(top), "r"(with_local), "D"(&job)
                   : "rbx", "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
  return job.buffer;
}

uint64_t foreign_stack_memcpy(uint64_t base, uint64_t bytes, uint64_t length) {
  return on_stack(base, bytes, length, BY_MEMCPY);
}
uint64_t foreign_stack_strcpy(uint64_t base, uint64_t bytes, uint64_t length) {
  return on_stack(base, bytes, length, BY_STRCPY);
}
uint64_t foreign_stack_sprintf(uint64_t base, uint64_t bytes, uint64_t length) {
  return on_stack(base, bytes, length, BY_SPRINTF);
}

static uint64_t in_heap(uint64_t base, uint64_t bytes, uint64_t block, uint64_t length, enum how how) {
  char *last = (char *)(uintptr_t)(base + bytes - block);
  HIDE(last);
  copy(how, last, text_of(length), length);
  return (uint64_t)(uintptr_t)last;
}

uint64_t foreign_heap_memcpy(uint64_t base, uint64_t bytes, uint64_t block, uint64_t length) {
  return in_heap(base, bytes, block, length, BY_MEMCPY);
}
uint64_t foreign_heap_strcpy(uint64_t base, uint64_t bytes, uint64_t block, uint64_t length) {
  return in_heap(base, bytes, block, length, BY_STRCPY);
}
uint64_t foreign_heap_sprintf(uint64_t base, uint64_t bytes, uint64_t block, uint64_t length) {
  return in_heap(base, bytes, block, length, BY_SPRINTF);
}

void foreign_pad_field(uint64_t field, int room, int used) {
  char *at = (char *)(uintptr_t)field;
  size_t left = (size_t)(room - used);
  HIDE(left);
  memset(at + used, ' ', left);
}

void foreign_local_time(uint64_t address, int64_t when) {
  time_t seconds = (time_t)when;
  struct tm *to = (struct tm *)(uintptr_t)address;
  HIDE(to);
  localtime_r(&seconds, to);
}

void foreign_ones(uint64_t array, int count) {
  for (int i = 0; i < count; i++) ((volatile double *)(uintptr_t)array)[i] = 1.0;
}

static int __attribute__((noinline)) sum_into(int a, int b, int *sum) {
  *(volatile int *)sum = a + b;
  return 0;
}

int foreign_call_with_two(int a, int b, uint64_t left_over) {
  int result;
  int (*callee)(int, int, int *) = sum_into;
  /* In assembly, for the compiler would not leave the register alone. Past the red zone, and aligned for the call. */
  __asm__ volatile("movq %%rsp, %%rbx\n\tsubq $128, %%rsp\n\tandq $-16, %%rsp\n\tcall *%1\n\tmovq %%rbx, %%rsp"
                   : "=a"(result), "+r"(callee), "+D"(a), "+S"(b), "+d"(left_over)
                   :
                   : "rbx", "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
  return result;
}
