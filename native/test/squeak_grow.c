/*
 * squeak_grow.c: makes Debian's Squeak VM map its heap piece by piece. The VM has a switch for that (its exported
 * variable `overallocateMemory`), which no option sets; preloaded, this sets it.
 */
extern int overallocateMemory __attribute__((weak));

__attribute__((constructor)) static void set(void) {
  if (&overallocateMemory) overallocateMemory = 1;
}
