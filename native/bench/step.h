/* step.h: what one operation really executes, seen by single-stepping it from outside. ptrace(2). */
#ifndef TURNKEY_BENCH_STEP_H
#define TURNKEY_BENCH_STEP_H

#include <sys/types.h>

#include "bench.h"

struct step_counts {
  struct bench_counts counts;
  unsigned instructions; /* in user mode, the mark's own left out */
};

/* In the process to be seen: lets its parent trace it, and runs one operation between two marks. */
void step_be_seen(const struct bench_row *row);
/* In the parent, at the same time: steps through that operation. False if it took more than `most` steps or went wrong;
 * then the child has been killed. */
bool step_see(pid_t child, unsigned most, struct step_counts *out);

#endif
