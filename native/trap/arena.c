/*
 * arena.c: all that the trap knows, in pages under the runtime key (I11).
 */
#include "internal.h"

struct trap_arena trap_arena TRAP_HIDDEN;
