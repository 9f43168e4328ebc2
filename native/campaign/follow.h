/* follow.h: one trial, forked, traced to its end, and judged. */
#ifndef TURNKEY_CAMPAIGN_FOLLOW_H
#define TURNKEY_CAMPAIGN_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "order.h"

struct block {
  uintptr_t address;
  size_t bytes;
};

/* The memory whose change is damage. */
struct image {
  const struct block *blocks;
  size_t count;
  /* Its program changes it too: what is compared is the memory of the fault, at the fault, and not the whole at the
   * end. */
  bool is_live;
};

struct outcome {
  struct event thread, callee, fault, stored, returned, caught, unit, done; /* kept: the first caught, the last unit */
  bool has_fault, is_compared, has_stored, has_returned, is_done;
  unsigned caught_count;
  bool crashed, hung, image_equal;
  int exit_code, signal, code, pkey;
  uint64_t address, pc, end_ns, cpu_ns;
  uint64_t changed_at; /* first byte of the image that differs */
};

/* For what is done with a trial that has stopped itself. */
typedef void follow_look_function(pid_t trial, const struct outcome *outcome);

/* Once. The trials' events come by order->events; `events` is the other end of that pipe. */
void follow_set_up(const struct image *image, const struct order *order, int events);
/* Forks a trial and follows it to its end. `cpu_limit_ns`: a trial that has worked for longer hangs. Returns true in
 * the trial itself, which has none of the memory that it was not to have, `out` included. */
bool follow_trial(uint64_t cpu_limit_ns, follow_look_function *look, struct outcome *out);

#endif
