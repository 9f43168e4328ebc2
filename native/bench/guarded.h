/* guarded.h: an image under a mechanism, and guarded calls past it, for rows that go through the gate. pkeys.h, trap.h.
 */
#ifndef TURNKEY_BENCH_GUARDED_H
#define TURNKEY_BENCH_GUARDED_H

#include "bench.h"
#include "pkeys.h"
#include "trap.h"

struct guarded {
  struct pkeys_image *image;
  enum pkeys_mechanism mechanism;
  char *memory; /* the one space */
  size_t bytes;
  bool closes; /* the mechanism takes writes away during a callout */
};
extern struct guarded guarded;

/*
 * An image of option `pages` 4 KiB pages, all touched, under the row's mechanism; trap ready, this thread attached.
 * Then it is tried. From inside a guarded call, read(2) into the image must answer EFAULT where the mechanism closes,
 * and must work where it does not. Afterwards it must work again. `flags`: of all thunks of this row. Fills the row's
 * counts and take_down. NULL, or why not.
 */
const char *guarded_set_up(struct bench_row *row, unsigned flags);
/* A thunk for `target`; ends the process with a message where there is none to be had. */
void *guarded_thunk(const void *target, size_t stack_bytes, unsigned flags);

#endif
