/*
 * copy.c: bounded copies through the gate. What a callee leaves behind (strings, structures, pointers in them) is as
 * untrusted as its code: it is read with the trap armed and rights dropped. Ordinary VM code, but for the two functions
 * that run as callees.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "internal.h"

/* A null source is a fault like any other, not undefined behaviour to reason from. */
__attribute__((no_sanitize("undefined"))) static intptr_t copy_callee(void *destination, const void *source,
                                                                      size_t bytes) {
  __asm__("" : "+r"(destination), "+r"(source));
  memcpy(destination, source, bytes);
  return 1;
}

/* Unit by unit: reading past the terminator could fault where an honest string would not. Returns units << 2 |
 * terminated << 1 | 1, never the 0 of a failed callout. */
__attribute__((no_sanitize("undefined"))) static intptr_t string_callee(void *destination, const void *source,
                                                                        size_t max_units, unsigned unit_bytes) {
  size_t i = 0;
#define COPY(type)                                  \
  for (; i < max_units; i++) {                      \
    type unit = ((const volatile type *)source)[i]; \
    ((type *)destination)[i] = unit;                \
    if (unit == 0) return (intptr_t)i << 2 | 3;     \
  }
  if (unit_bytes == 1) {
    COPY(uint8_t)
  } else if (unit_bytes == 2) {
    COPY(uint16_t)
  } else {
    COPY(uint32_t)
  }
#undef COPY
  return (intptr_t)i << 2 | 1;
}

static intptr_t (*copy_thunk)(void *, const void *, size_t);
static intptr_t (*string_thunk)(void *, const void *, size_t, unsigned);
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_result;

static void make(void) {
  void *code;
  once_result = trap_thunk((const void *)(uintptr_t)copy_callee, 0, TRAP_PHASE_DECODE, NULL, &code);
  if (once_result < 0) return;
  memcpy(&copy_thunk, &code, sizeof code);
  once_result = trap_thunk((const void *)(uintptr_t)string_callee, 0, TRAP_PHASE_DECODE, NULL, &code);
  if (once_result == 0) memcpy(&string_thunk, &code, sizeof code);
}

static int ready(void) {
  int rc = trap_attach();
  if (rc < 0) return rc;
  pthread_once(&once, make);
  return once_result;
}

int trap_copy(void *destination, const void *source, size_t bytes, struct trap_fault *fault) {
  int rc = ready();
  if (rc < 0) return rc;
  struct trap_fault local;
  if (copy_thunk(destination, source, bytes) == 1) return 0;
  if (!trap_take_fault(fault != NULL ? fault : &local)) return -EIO;
  return -EFAULT;
}

intptr_t trap_copy_string(void *destination, const void *source, size_t max_units, unsigned unit_bytes,
                          bool *terminated, struct trap_fault *fault) {
  if (unit_bytes != 1 && unit_bytes != 2 && unit_bytes != 4) return -EINVAL;
  int rc = ready();
  if (rc < 0) return rc;
  if (max_units == 0) {
    if (terminated != NULL) *terminated = false;
    return 0;
  }
  struct trap_fault local;
  intptr_t result = string_thunk(destination, source, max_units, unit_bytes);
  if (result == 0) return trap_take_fault(fault != NULL ? fault : &local) ? -EFAULT : -EIO;
  if (terminated != NULL) *terminated = (result & 2) != 0;
  return result >> 2;
}
