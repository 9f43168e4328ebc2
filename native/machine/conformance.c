/*
 * conformance.c: does this machine do what protection keys are said to do? Run in a guest before the guest is believed.
 *
 * A static program of its own: it shares no code with native/pkeys or native/trap, so that it cannot share a mistake
 * with what it vouches for. One TAP line per behaviour; the exit code is 0 only if every line is ok. With the word
 * `counting`, the clock is checked too. This file is the list; the behaviours are in conformance_*.c.
 *
 * Rests on: pkeys(7), signal(7); Documentation/core-api/protection-keys.rst; Intel SDM vol. 3A 4.6.2 (rights of a key).
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <stdio.h>
#include <string.h>

#include "conformance.h"

static bool cpu_has_keys(void) {
  unsigned a, b, c = 0, d;
  bool good = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 3)) && (c & (1u << 4));
  return check(good, "CPUID shows PKU and OSPKE", "leaf 7 ECX 0x%08x", c);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("TAP version 14\n");
  catch_faults();
  if (cpu_has_keys()) {
    check(rdpkru() == INIT_PKRU, "a program starts with PKRU 0x55555554", "0x%08x", rdpkru());
    int older = thread_older_than_key();
    int key = key_alloc();
    if (check(older > 0 && key > 0 && key != older, "pkey_alloc gives two keys", "%d and %d", older, key)) {
      denied_accesses(key);
      inheritance(key);
      remapping(key);
      remote_access(key);
      stress(older, key);
      reuse(key);
    }
  }
  cmpxchg16b_flags();
  if (argc > 1 && strcmp(argv[1], "counting") == 0) counted_clock();
  return tap_end();
}
