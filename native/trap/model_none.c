/*
 * model_none.c: in place of model.c on machines whose gate has no model of keys.
 */
#include <errno.h>

#include "internal.h"

void trap_model_write(void) {}

int trap_model(unsigned cycles, double *reached) {
  (void)cycles;
  (void)reached;
  return -ENOTSUP;
}
