/*
 * strata.h: which memory of a trial belongs to which stratum, read from the trial's own maps while it stands in the
 * middle of its callout. No allocation: what the warm process allocates would change the memory that is looked at.
 */
#ifndef TURNKEY_CAMPAIGN_STRATA_H
#define TURNKEY_CAMPAIGN_STRATA_H

#include <sys/types.h>

#include "program.h"

#define MOST_RANGES 8192
#define MOST_MAPPINGS 2048

struct stratum_range {
  uintptr_t from, to;
  int stratum;
};

struct strata {
  struct stratum_range ranges[MOST_RANGES]; /* by address */
  size_t count;
  uint64_t bytes[STRATA];
  struct block mapped[MOST_MAPPINGS]; /* everything that is mapped, neighbours joined */
  size_t mapped_count;
  uint64_t digest; /* of `mapped`: equal for every mechanism, or the same fault would be another */
  bool full;       /* a table was too small */
};

/* What only the warm process knows of its mappings. */
struct landmarks {
  const struct program *program;
  const struct block *blocks; /* of the callee's libraries */
  size_t block_count;
  const struct block *before; /* mappings before the trap was set up, and those it has added */
  size_t before_count;
  const struct block *added;
  size_t added_count;
  uintptr_t callee_local, thread_local_address;
};

/* Reads the mappings of a process, all or the writable ones. Returns their number. */
size_t strata_mappings(pid_t process, struct block *out, size_t most, bool writable);
/* Fills `mapped` and `digest` alone. */
void strata_mapped(pid_t process, struct strata *out);
/* Fills everything. */
void strata_read(pid_t process, const struct landmarks *marks, struct strata *out);
/* The address of byte `position` of a stratum. */
uintptr_t strata_address(const struct strata *strata, int stratum, uint64_t position);
/* Whether the runtime key covers an address: the trap's arena, and the registry. */
bool strata_is_trap(uintptr_t address);
bool strata_is_mapped(const struct strata *strata, uintptr_t address, size_t bytes);

#endif
