/* follow.h: one trial, forked, traced to its end, and judged. */
#ifndef TURNKEY_CAMPAIGN_FOLLOW_H
#define TURNKEY_CAMPAIGN_FOLLOW_H

#include "program.h"

struct outcome {
  struct event thread, callee, fault, stored, returned, caught, unit, done; /* kept: the first caught, the last unit */
  bool has_fault, has_stored, has_returned, is_done;
  unsigned caught_count;
  bool crashed, hung, image_equal;
  int exit_code, signal, code, pkey;
  uint64_t address, pc, end_ns, cpu_ns;
  uint64_t changed_at; /* first byte of the image that differs */
};

/* For what is done with a trial that has stopped itself. */
typedef void follow_look_function(pid_t trial, const struct outcome *outcome);

/* Once. `events` is the end of the pipe that trials write to. */
void follow_set_up(const struct program *program, int events);
/* Forks a trial and follows it to its end. `cpu_limit_ns`: a trial that has worked for longer hangs. */
void follow_trial(bool is_open, uint64_t cpu_limit_ns, follow_look_function *look, struct outcome *out);

#endif
