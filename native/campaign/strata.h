/*
 * strata.h: which memory of a trial belongs to which stratum, read from the trial's own maps while it stands in the
 * middle of its callout. No allocation: what the warm process allocates would change the memory that is looked at.
 */
#ifndef TURNKEY_CAMPAIGN_STRATA_H
#define TURNKEY_CAMPAIGN_STRATA_H

#include "follow.h"

#define PAGE_BYTES 4096u
#define MOST_RANGES 8192
#define MOST_MAPPINGS 2048

struct stratum_range {
  uintptr_t from, to;
  int stratum;
};

struct strata {
  struct stratum_range ranges[MOST_RANGES]; /* by address */
  size_t count;
  uint64_t bytes[MOST_STRATA];
  struct block mapped[MOST_MAPPINGS]; /* everything that is mapped, neighbours joined */
  size_t mapped_count;
  uint64_t digest; /* of `mapped`: equal for every mechanism, or the same fault would be another */
  bool full;       /* a table was too small */
};

struct mapping {
  uintptr_t from, to;
  char access[5];
  const char *path;
  size_t path_bytes;
};

/* Adds a writable page to its stratum. `owner` is the mapping whose rest this one may be (a library's bss); `exists`:
 * something was written there. */
typedef void strata_page_function(const struct mapping *mapping, const struct mapping *owner, uintptr_t page,
                                  bool exists, struct strata *out);

/* Reads the mappings of a process, all or the writable ones. Returns their number. */
size_t strata_mappings(pid_t process, struct block *out, size_t most, bool writable);
/* Fills `mapped` and `digest` alone. */
void strata_mapped(pid_t process, struct strata *out);
/* Fills everything. */
void strata_read(pid_t process, strata_page_function *take, struct strata *out);
void strata_add(struct strata *out, int stratum, uintptr_t from, uintptr_t to);
/* Adds [from, to); what of it lies in blocks, which are in the order of addresses, to `inner`. */
void strata_add_split(struct strata *out, int stratum, int inner, const struct block *blocks, size_t count,
                      uintptr_t from, uintptr_t to);
/* Whether the mapping's path has this part. */
bool strata_has(const struct mapping *mapping, const char *part);
/* Thread-local storage of the calling thread, which a forked trial has at the same place. */
struct block strata_tls(void);
/* The code of the module that holds an address. */
struct block strata_code(uintptr_t address);
/* A digest of the strata alone, for programs whose other mappings are a matter of chance. */
uint64_t strata_digest(const struct strata *strata);
/* The address of byte `position` of a stratum. */
uintptr_t strata_address(const struct strata *strata, int stratum, uint64_t position);
bool strata_is_mapped(const struct strata *strata, uintptr_t address, size_t bytes);

#endif
