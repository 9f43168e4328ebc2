/*
 * host_own_ffi.c: what pip's cffi is for the search order, a library that exports the libffi in it. Its calls go by way
 * of the search order all the same, and so to whoever comes first. Its libffi calls nothing, but says that it was
 * there.
 */
#include "host_own_ffi.h"

static unsigned calls;

void ffi_call(void *cif, void (*function)(void), void *result, void **arguments);
void ffi_call(void *cif, void (*function)(void), void *result, void **arguments) {
  (void)cif, (void)function, (void)arguments;
  calls++;
  *(long *)result = 4711;
}

int ffi_prep_closure_loc(void *closure, void *cif, void (*function)(void), void *user_data, void *code);
int ffi_prep_closure_loc(void *closure, void *cif, void (*function)(void), void *user_data, void *code) {
  (void)closure, (void)cif, (void)function, (void)user_data, (void)code;
  calls++;
  return 4712;
}

long own_ffi_call(void) {
  long result = 0;
  ffi_call(0, 0, &result, 0);
  return result;
}
/* No jump: the caller is known by where its call comes back to. */
int own_ffi_prepare(void) {
  int result = ffi_prep_closure_loc(0, 0, 0, 0, 0);
  __asm__ volatile("" ::: "memory");
  return result;
}
unsigned own_ffi_calls(void) { return calls; }
