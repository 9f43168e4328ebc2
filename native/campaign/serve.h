/*
 * serve.h: the warm process of a campaign, whichever program it is: it makes trials as it is told. Standard input says
 * what to do, a line each, and standard output gets JSON, a line each:
 *
 *   mechanism NAME       first; sets the program up
 *   seed N               of all faults
 *   planted K            every K-th fault of a stratum meets a gate that takes no rights away
 *   limit MS             processor time after which a trial hangs
 *   layout               reads the strata from a trial's maps, uses them and prints them
 *   stratum NAME FROM-TO,FROM-TO…   the strata of a plan, in place of `layout`
 *   check DIGEST         refuses to go on where a trial's memory is not laid out as in the plan
 *   trials FROM TO       makes the trials of the faults in [FROM, TO)
 */
#ifndef TURNKEY_CAMPAIGN_SERVE_H
#define TURNKEY_CAMPAIGN_SERVE_H

#include "follow.h"
#include "strata.h"

/* What is different for one program. */
struct subject {
  const struct fault_space *space;
  /* Once. `order` is this process's own; a trial reads the same pages at `seen`. Returns the program's image. */
  const struct image *(*set_up)(const char *mechanism, struct order *order, const struct order *seen);
  /* Reads the strata of a trial that has stopped itself. */
  void (*look)(pid_t trial, const struct outcome *outcome, struct strata *out);
  /* A digest of how a trial's memory is laid out; fills `mapped`. */
  uint64_t (*digest)(pid_t trial, const struct outcome *outcome, struct strata *out);
  /* Whether the mechanism closes the memory of a fault that the kernel gave this code. */
  bool (*closed)(uint64_t address, int code);
  /* Whether the callee's instructions lie there. */
  bool (*foreign)(uint64_t pc);
};

/* Does what standard input says. Returns true in each trial, at once; false at the end of the input. */
bool serve(const struct subject *subject, bool *is_open);
_Noreturn void serve_refuse(const char *why);
/* Memory that a trial does not have, and that is part of no stratum. */
void *serve_memory(size_t bytes);

#endif
