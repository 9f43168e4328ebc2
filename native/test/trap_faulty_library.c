/* A library whose constructor writes to a null pointer. Carried inside the test (trap_faulty_library.S), so that it is found wherever the test runs. */
__attribute__((constructor)) static void at_load(void) { __asm__ volatile("movq $1, 16(%0)" : : "r"(0ul) : "memory"); }
