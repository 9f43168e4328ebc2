/* Ways out of a call other than its return. */
#include "mistakes.h"

#include <setjmp.h>
#include <string.h>

static jmp_buf gone;

static void __attribute__((noinline)) leave_behind(void) {
  if (_setjmp(gone) != 0) __asm__ volatile("" : : : "memory");
}

/* Takes the stack that leave_behind used. */
static void __attribute__((noinline)) use_again(void) {
  char frame[1024];
  memset(frame, 0x41, sizeof frame);
  __asm__ volatile("" : : "r"(frame) : "memory");
  _longjmp(gone, 1);
}

void foreign_longjmp_stale(void) {
  leave_behind();
  use_again();
}

static void __attribute__((noinline)) fill_words(volatile uint64_t *words, unsigned count, uint64_t value) {
  for (unsigned i = 0; i < count; i++) words[i] = value;
}

void foreign_smash_by_callee(uint64_t value) {
  uint64_t local[4];
  fill_words(local, sizeof local / sizeof local[0] + 8, value);
  __asm__ volatile("" : : "r"(local) : "memory");
}
