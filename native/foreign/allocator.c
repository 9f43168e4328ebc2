/* Damage to glibc's heap that its own checks find: glibc aborts with the arena's lock held (F6, docs/invariants.md). */
#include "foreign.h"

#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wuse-after-free"
#pragma GCC diagnostic ignored "-Wfree-nonheap-object"

/* Hides from the compiler where a pointer came from. */
static void *launder(void *pointer) {
  __asm__ volatile("" : "+r"(pointer));
  return pointer;
}

void foreign_double_free(void) {
  /* Past the thread cache and the fast bins, so that the arena is locked when the second free is found out. */
  char *chunk = launder(malloc(4096));
  char *fence = launder(malloc(4096));
  free(chunk);
  free(launder(chunk));
  free(fence);
}

void foreign_smash_chunk(void) {
  char *first = launder(malloc(4088)), *second = launder(malloc(4088));
  while (second - first != 4096) { /* old holes are used up first: not every pair are neighbours */
    first = second;
    second = launder(malloc(4088));
  }
  char *fence = launder(malloc(4088));
  *(volatile size_t *)(first + 4088) = SIZE_MAX / 255 *
                                       0x41; /* what an overflow of `first` by one word leaves: the size of `second` */
  free(second);
  free(first);
  free(fence);
}

void foreign_use_after_free_unlink(void) {
  char *first = launder(malloc(4088));
  char *second = launder(malloc(4088));
  char *fence = launder(malloc(4088));
  free(first);
  memset(first, 0x41, 2 * sizeof(void *)); /* fd and bk of the free chunk */
  free(second);                            /* consolidates backwards: unlinks `first` */
  free(fence);
}

void foreign_free_wild(uint64_t address) { free((void *)(uintptr_t)address); }
