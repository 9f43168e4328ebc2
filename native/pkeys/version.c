/* version.c: the version of the library that runs, against that of the headers that a program was compiled with. */
#include <turnkey/version.h>

#include "pkeys.h"

const char *pkeys_version(void) { return TURNKEY_VERSION; }
