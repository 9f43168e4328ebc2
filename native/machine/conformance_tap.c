/*
 * conformance_tap.c: results as TAP, version 14: one line per behaviour.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>

#include "conformance.h"

static int lines, failed;

bool check(bool good, const char *name, const char *format, ...) {
  lines++;
  if (good) {
    printf("ok %d - %s\n", lines, name);
  } else {
    failed++;
    printf("not ok %d - %s # ", lines, name);
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
  }
  fflush(stdout);
  return good;
}

void skip(const char *name, const char *why) {
  lines++;
  printf("ok %d - %s # SKIP %s\n", lines, name, why);
}

void check_fault(const char *name, struct fault f, int code, int key, const volatile void *address) {
  check(f.raised && f.code == code && f.key == key && f.address == (const void *)address, name,
        "raised %d, si_code %d (expected %d), si_pkey %d (expected %d), si_addr %p (expected %p)", f.raised, f.code,
        code, f.key, key, f.address, (const void *)address);
}

int tap_end(void) {
  printf("1..%d\n", lines);
  return failed == 0 ? 0 : 1;
}
