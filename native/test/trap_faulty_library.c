/* A library whose constructor writes to a null pointer. Carried inside the test (trap_faulty_library.S), so that it is
 * found wherever the test runs. */
__attribute__((constructor)) static void at_load(void) {
  volatile int *null = 0;
  __asm__("" : "+r"(null)); /* the compiler knows nothing of it */
  null[4] = 1;
}
