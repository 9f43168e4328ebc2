/*
 * keys_windows.c: Windows has no protection keys for user memory. No call allocates one or tags a page, whatever the
 * CPU has; so pkeys_supported() is false, mechanisms with keys answer -EOPNOTSUPP, and the functions that write the
 * register are never called: they do nothing.
 */
#include <cpuid.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

bool pkeys_i_cpu_has_ospke(void) { return false; }
uint32_t pkeys_rdpkru(void) { return 0; }
void pkeys_wrpkru(uint32_t pkru) { (void)pkru; }
void pkeys_i_library_pkey_set(int key, unsigned rights) { (void)key, (void)rights; }
bool pkeys_i_library_has_keys(void) { return false; }

/* Never called: there is no OSPKE. */
void pkeys_i_rehearse(struct rehearsal *out, bool thorough) {
  (void)thorough;
  *out = (struct rehearsal){.failed = KEY_STEP_CHILD};
}

void pkeys_probe(struct pkeys_probe *out) {
  unsigned a, b, c, d;
  memset(out, 0, sizeof *out);
  out->cpu_pku = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & 1u << 3) != 0;
  snprintf(out->reason, sizeof out->reason,
           "Windows has no protection keys for user memory: no call allocates a key or tags a page with one%s",
           out->cpu_pku ? ", though the CPU shows PKU" : "");
}
