/* names.c: mechanisms by name. */
#include <errno.h>
#include <string.h>

#include "pkeys.h"

static const char *const mechanism_names[] = {
    [PKEYS_MECHANISM_UNSET] = "unset",
    [PKEYS_MECHANISM_NONE] = "none",
    [PKEYS_MECHANISM_FLAG] = "flag",
    [PKEYS_MECHANISM_MPROTECT_PAGE] = "mprotect-page",
    [PKEYS_MECHANISM_MPROTECT_RANGE] = "mprotect-range",
    [PKEYS_MECHANISM_MPROTECT_NAIVE] = "mprotect-naive",
    [PKEYS_MECHANISM_PKEYS] = "pkeys",
    [PKEYS_MECHANISM_PKEYS_GLIBC] = "pkeys-glibc",
};

#define MECHANISMS (sizeof mechanism_names / sizeof mechanism_names[0])

const char *pkeys_mechanism_name(enum pkeys_mechanism mechanism) {
  return (unsigned)mechanism < MECHANISMS ? mechanism_names[mechanism] : "unknown";
}

int pkeys_mechanism_parse(const char *name, enum pkeys_mechanism *out) {
  for (size_t i = PKEYS_MECHANISM_NONE; name && i < MECHANISMS; i++)
    if (strcmp(name, mechanism_names[i]) == 0) {
      *out = (enum pkeys_mechanism)i;
      return 0;
    }
  return -EINVAL;
}
