/*
 * program.h: the stand-in for a program with a VM in it: an image, tables in malloc's heap, a second thread, and real
 * libraries at work. It is set up once, in the warm process; each trial is a fork of that process.
 */
#ifndef TURNKEY_CAMPAIGN_PROGRAM_H
#define TURNKEY_CAMPAIGN_PROGRAM_H

#include <stdbool.h>

#include "follow.h"
#include "pkeys.h"
#include "stray.h"

#define UNITS 3 /* of the aftermath's fixed work */
#define NEIGHBOUR_BYTES (4 * PKEYS_PAGE)

struct program {
  struct pkeys_space spaces[IMAGE_STRATA];
  struct pkeys_loan loan;
  struct block neighbour;
  struct block code; /* of the callee's library: where the pc of a stray store lies */
  const struct tools *tools;
  bool has_trap;
};

/* Sets the program up, once. `order` is what trials read; `blocks` gets what the callee's libraries have allocated.
 * Returns NULL, or what went wrong. */
const char *program_set_up(enum pkeys_mechanism mechanism, struct order *order, const struct order *order_seen,
                           struct block *blocks, size_t *block_count, struct program *out);
/* Runs one trial in a child of the warm process: the callout, then the aftermath. `is_open`: the gate takes no rights
 * away in this trial (the planted mechanism). Never returns. */
_Noreturn void program_trial(bool is_open);

#endif
