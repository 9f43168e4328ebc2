/*
 * pkeys_virtual.h: virtual keys: more images than the CPU has keys. Part of pkeys.h, whose rules for return values,
 * threads and signal handlers hold here.
 *
 * An image with PKEYS_KEY_VIRTUAL and mechanism pkeys is *pooled*. The hardware keys of the *pool* are a cache over the
 * pooled images. An image is *resident* while its pages carry one of these keys. A page of any other pooled image is
 * closed by its own protection, for every thread whatever its PKRU. It is readable if the image denies writes, else
 * not.
 *
 * A thread holds a *seat*. It can enter one pooled image at a time, and has a right to that image alone. To VM code
 * every other pooled image is as closed as to a callee. Entering makes the image resident (a *hit* if it was, else a
 * *miss*), opens its key in this thread's PKRU, and *pins* it. A pinned image is never evicted. So the key of an image
 * changes hands only when no thread has it open. No thread that runs or sleeps can keep a right to it. Leaving closes
 * the key first, then unpins.
 *
 * A miss evicts an unpinned image: its pages are closed, and only then does another image's memory get the key. Ways to
 * choose it:
 *
 *   lru       the image that no thread has entered for the longest time
 *   clock     one that was not entered since the hand last passed
 *   random    any
 *   nth-miss  on every nth miss the least recently entered; on the others the image under one key that is kept for
 *             such guests. One pass over many images then costs the others nothing
 *   stripes   none: a colour is shared by images that are `guard_bytes` or more apart, and nothing is ever evicted.
 *             It stops a store that misses by less than that, and no other
 *
 * The pool takes a key with each pooled image, as long as there are keys. It never takes one that VM threads may still
 * have open from an earlier image. An ordinary image, or the first loan, that finds no key left gets one from the pool.
 *
 * Callouts: every pooled image is closed in them, the entered one too, unless the trap's TRAP_INSIDE leaves that open.
 * Callbacks and signal handlers: pkeys_seat_push keeps what was entered pinned below them (the trap does that itself).
 * Threads: a thread inherits its maker's PKRU, and so the right to the image that the maker was in. pkeys_seat_begin,
 * which attaching to the trap does, takes it away. Before that such a thread must not outlive the maker's stay; a
 * callee's thread, made in a callout, has no right to inherit.
 * fork: in the child, call pkeys_seat_end for the seats of the threads that are not there (the trap does).
 */
#ifndef TURNKEY_PKEYS_VIRTUAL_H
#define TURNKEY_PKEYS_VIRTUAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <turnkey/export.h>

#include "pkeys_image.h"
#include "pkeys_keys.h"

TURNKEY_API_BEGIN

enum pkeys_policy {
  PKEYS_POLICY_LRU = 0,
  PKEYS_POLICY_CLOCK,
  PKEYS_POLICY_RANDOM,
  PKEYS_POLICY_NTH_MISS,
  PKEYS_POLICY_STRIPES,
};
#define PKEYS_POLICIES 5
/* "lru", "clock", "random", "nth-miss", "stripes"; NULL for anything else. */
const char *pkeys_policy_name(enum pkeys_policy policy);
int pkeys_policy_parse(const char *name, enum pkeys_policy *out);

/* When a miss loads the image: as the thread enters it, or at its first access, by the fault handler. */
enum pkeys_load { PKEYS_LOAD_ON_ENTRY = 0, PKEYS_LOAD_ON_FAULT = 1 };

struct pkeys_virtual_options {
  enum pkeys_policy policy;
  enum pkeys_load load;
  uint32_t ways;      /* most keys that the pool takes; 0: all that are free */
  uint32_t nth;       /* nth-miss; 0 means 8 */
  size_t guard_bytes; /* stripes; 0 means PKEYS_GUARD_BYTES */
  uint64_t seed;      /* random; any value */
};
/* Sets the pool's ways to work: -EBUSY while a pooled image is open, -EINVAL for values that are none of the above. */
int pkeys_virtual_configure(const struct pkeys_virtual_options *options);

struct pkeys_virtual_state {
  uint32_t ways;                     /* keys in the pool */
  uint32_t images, resident, pinned; /* pooled images: open; with a key; keys that seats have open */
  uint64_t loads, evictions, waits;  /* since the process began; a wait: every key was pinned */
};
struct pkeys_virtual_state pkeys_virtual_state(void);

/* One thread's seat. The caller provides it, in memory that foreign code cannot write (pkeys_protect_runtime). `word`
 * is this layer's. Its low half is the and-mask that gives the thread its VM rights back: the masks' `keep`, with the
 * entered image's key open. */
struct pkeys_seat {
  uint64_t word; /* atomic */
  uint64_t hits, misses;
};
struct pkeys_seat_saved {
  uint32_t part;
};

/* Takes the seat for this thread: it has entered nothing, and all rights to the pool's keys are taken from it. */
void pkeys_seat_begin(struct pkeys_seat *seat);
/* Gives up what the seat has entered, without touching PKRU: for a thread that ends, or that a fork left behind. */
void pkeys_seat_end(struct pkeys_seat *seat);
/*
 * Leaves what the seat has entered, and enters `image`; NULL enters none. An image that is not pooled is open to VM
 * code anyway: for it this is as NULL. Under PKEYS_LOAD_ON_FAULT an image that is not resident stays closed until
 * pkeys_seat_fault.
 *
 *   -EINVAL  the image is closed
 *   -EBUSY   other threads have had every key open for a second; nothing is entered
 *   others   as pkey_mprotect(2) answers; nothing is entered
 */
int pkeys_seat_enter(struct pkeys_seat *seat, struct pkeys_image *image);
struct pkeys_image *pkeys_seat_image(const struct pkeys_seat *seat); /* what is entered, or NULL */
/* The fault handler calls this on VM code that faulted at `address`. If that lies in the image that the seat has
 * entered and that is not resident, loads and pins it and returns true. The rights of pkeys_seat_rights then let the
 * instruction pass. Async-signal-safe, as pkeys_seat_enter is too. */
bool pkeys_seat_fault(struct pkeys_seat *seat, uintptr_t address);
/* VM code that interrupts other code on the same thread, and may enter images, brackets itself with these two. It
 * starts in what the interrupted code had entered, with the right to that. */
struct pkeys_seat_saved pkeys_seat_push(struct pkeys_seat *seat);
void pkeys_seat_pop(struct pkeys_seat *seat, struct pkeys_seat_saved saved);
/* `pkru` with the rights of VM code on this seat; the masks' listener calls the second when `keep` has changed. */
uint32_t pkeys_seat_rights(const struct pkeys_seat *seat, uint32_t pkru);
void pkeys_seat_keep(struct pkeys_seat *seat, uint32_t keep);

TURNKEY_API_END
#endif
