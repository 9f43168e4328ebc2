/*
 * internal.h: what the files of native/pkeys share, and the rules they keep (I1 to I13: docs/invariants.md).
 *
 * 1. State lives in `registry`, whole pages under the runtime key: writable by the VM, read-only for callees (I11). The
 * boot page beside it is on key 0 and read-only once set, for threads that have no right to the runtime key yet.
 * 2. Two locks, always taken in this order: registry lock (who may change images, regions, loans, keys), mechanism lock
 * (who may change what is closed). A change of the region table holds both.
 * 3. Readers take no lock. A region and the masks are *latched*: two copies and a version. The writer fills the copy
 * that is not current, then publishes it by the version. A reader repeats only if the version moved, that is, if a
 * writer got on: no waiting for anybody, so a signal handler that interrupted the writer reads the last complete state
 * at once. (A sequence lock would spin there for ever.)
 * 4. Whoever calls mprotect on a region without the mechanism lock (a naive callout, a bystander past its limit) is
 * counted in `lockfree_users` meanwhile. Whoever takes address space away unpublishes it first and then waits until
 * that count was 0 (registry_quiesce).
 * 5. No code that holds the mechanism lock touches image or loan memory. So a VM thread that faults there does not hold
 * it, except where a signal handler interrupted the holder; see mechanism.c.
 *
 * Code marked [handler] runs in signal handlers too: no lock, no allocation, no errno.
 */
#ifndef TURNKEY_PKEYS_INTERNAL_H
#define TURNKEY_PKEYS_INTERNAL_H

#include <stdatomic.h>

#include "pkeys.h"

/* ---- lock.c -------------------------------------------------------------------------------------------------- */

/* A lock on a futex. The owner word names the thread, so a signal handler on the owner's own thread is let in: it
 * cannot wait for itself. What is locked must tolerate that; only the mechanism lock is used so. */
struct lock {
  _Atomic uintptr_t owner;
  _Atomic uint32_t waiters, sequence;
  uint32_t nested; /* how often the owner has been let in again; changes only while the lock is held */
};
void lock_take(struct lock *lock);
void lock_give(struct lock *lock);
/* True while this thread holds `lock` already: only a signal handler can see that. */
bool lock_mine(const struct lock *lock);

/* ---- regions ------------------------------------------------------------------------------------------------- */

enum region_kind { REGION_FREE = 0, REGION_SPACE, REGION_HIDDEN, REGION_LOAN };

/* A range that mechanisms close. Immutable once published; a multiple of 8 bytes (it is copied in words). */
struct region {
  char name[PKEYS_NAME_BYTES]; /* spaces only */
  uintptr_t address;           /* page-aligned */
  size_t bytes;                /* accessible now: whole pages */
  size_t reserved;             /* spaces: address space from `address`, at least `bytes`; others: equal to bytes */
  uintptr_t lent_address;      /* loans: what the borrower was told */
  size_t lent_bytes;
  uint32_t kind;      /* enum region_kind */
  uint32_t image_id;  /* 0 for loans that belong to no image */
  uint32_t number;    /* spaces: index in the image; loans: id */
  uint32_t mechanism; /* of the image; unused in loans */
  uint32_t deny;      /* enum pkeys_rights */
  int32_t key;
};
struct region_latch {
  _Atomic uint32_t version;
  struct region copy[2];
};

#define MAX_HIDDEN 128
#define MAX_REGIONS (PKEYS_MAX_SPACES + MAX_HIDDEN + PKEYS_MAX_LOANS)

/* ---- masks --------------------------------------------------------------------------------------------------- */

/* pkeys_masks and what the hooked mechanisms need beside it. A multiple of 8 bytes. */
struct mask_record {
  struct pkeys_masks masks;
  uint32_t glibc_fields,
      glibc_rights;    /* fields of the keys that pkeys-glibc sets, and the rights it sets them to, no loan passed */
  uint32_t loan_field; /* the loan key's field, 0 while there is none */
  uint32_t counted, naive; /* number of open images with mprotect-page or -range; with mprotect-naive */
};
struct mask_latch {
  _Atomic uint32_t version;
  _Alignas(8) struct mask_record copy[2];
};

/* ---- the registry -------------------------------------------------------------------------------------------- */

struct pkeys_image {
  _Atomic uint32_t id;        /* 0: free slot */
  _Atomic uint32_t mechanism; /* enum pkeys_mechanism */
  enum pkeys_key_mode mode;
  uint32_t space_count;
  uint32_t loans; /* live loans of its spaces */
  uintptr_t reservation;
  size_t reservation_bytes;
  size_t neighbour_bytes[PKEYS_MAX_SPACES];
  uint16_t space[PKEYS_MAX_SPACES]; /* indices of regions */
};

/* Where a loan came from; changed under the registry lock only. */
struct loan {
  uint32_t id; /* 0: free; else that of its region */
  uint16_t region;
  uint16_t mode;             /* enum pkeys_loan_mode */
  struct pkeys_image *image; /* NULL: bytes of their own */
  size_t space_index, offset, bytes;
  uintptr_t mapping; /* with its guard pages */
  size_t mapping_bytes;
  bool releasing;
};

/* What the bystander code remembers of a thread's last fault, so that a fault which no mechanism caused is not retried
 * for ever. */
struct bystander_memory {
  _Atomic uintptr_t thread, address;
  _Atomic uint32_t word, repeats;
};
#define BYSTANDER_SLOTS 64

/* One thing that the counted mechanisms close and open: the images, or the lending arena. Odd: closed. Raised before
 * the first page is closed and after the last page is open, so whoever faults on a closed page sees it odd, or open
 * already. */
struct closing {
  _Atomic uint32_t word;
  _Atomic uint32_t waiters;
};

struct registry {
  struct lock lock;
  struct lock mechanism_lock;

  /* Keys. */
  int runtime_key, loan_key;
  uint32_t next_image_id, next_loan_id;
  void (*listener)(const struct pkeys_masks *masks);
  struct mask_latch masks;

  /* Mechanisms. */
  _Atomic uint32_t inside;                                 /* callouts between enter and leave */
  _Atomic uint32_t lent_inside;                            /* those of them that were passed a loan */
  _Atomic uint64_t callers_inside[PKEYS_MAX_CALLERS / 64]; /* the same for callers with numbers, a bit each */
  _Atomic uint64_t callers_lent[PKEYS_MAX_CALLERS / 64];
  _Atomic uint32_t lockfree_users;
  _Atomic uint32_t images_stale, arena_stale; /* the pages may not be as the closings say: act on all */
  struct closing images_closing, arena_closing;
  _Atomic uint64_t bystander_faults, bystander_waited_ns, bystander_windows;
  struct bystander_memory bystanders[BYSTANDER_SLOTS];

  _Atomic uint32_t regions_used; /* high-water mark in `regions` */
  struct region_latch regions[MAX_REGIONS];
  struct pkeys_image images[PKEYS_MAX_IMAGES];
  struct loan loans[PKEYS_MAX_LOANS];
} __attribute__((aligned(4096))); /* so that nothing else shares its pages */

extern struct registry registry;

/* ---- registry.c ---------------------------------------------------------------------------------------------- */

/* Reading and publishing latched state. Reads are [handler]; publishing needs both locks. */
void region_read(size_t index, struct region *out);
void region_publish(size_t index, const struct region *region);
void masks_read(struct mask_record *out);
/* A free region's index, or -EMFILE. */
int region_free_slot(void);
/* [handler] The region that contains `address`; its reservation counts as inside for spaces. False if none. */
bool region_find(uintptr_t address, struct region *out);

/* [handler] A thread may lack the right even to read the registry (it is older than the runtime key, or in a signal
 * handler): takes it, and gives back what was there before. Returns the PKRU to hand to reader_leave. */
uint32_t reader_enter(void);
void reader_leave(uint32_t saved);

/* Entry and exit of every function that changes the registry: initialised, this thread's rights opened, registry lock
 * held. 0 or the negative errno of pkeys_init, without the lock then. */
int registry_enter(void);
void registry_leave(void);
/* Allocation and probing of keys, one at a time: a probe holds every free key for an instant, and nobody else here
 * shall find none then. The lock is on key 0, and the innermost of all. */
void keys_hold(void);
void keys_let_go(void);
int key_alloc(void);
/* Waits until nobody uses a region without the mechanism lock. Call after unpublishing, before the address space goes.
 */
void registry_quiesce(void);
/* Computes and publishes the masks from regions and keys, tells the listener. keys_grew: a key was added, older threads
 * must open it. */
void registry_publish_masks(bool keys_grew);
/* The image's slot if it is open, else NULL. Registry lock held. */
bool image_is_open(const struct pkeys_image *image);
/* Frees the loan key if nothing keyed is open any more, retagging live loans to key 0. Both locks held. */
void registry_drop_loan_key(void);

static inline bool mechanism_is_counted(uint32_t mechanism) {
  return mechanism == PKEYS_MECHANISM_MPROTECT_PAGE || mechanism == PKEYS_MECHANISM_MPROTECT_RANGE;
}
static inline bool mechanism_is_keyed(uint32_t mechanism) {
  return mechanism == PKEYS_MECHANISM_PKEYS || mechanism == PKEYS_MECHANISM_PKEYS_GLIBC;
}
static inline bool mechanism_is_hooked(uint32_t mechanism) {
  return mechanism_is_counted(mechanism) || mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE ||
         mechanism == PKEYS_MECHANISM_PKEYS_GLIBC;
}

/* ---- mechanism.c --------------------------------------------------------------------------------------------- */

/* Whether any hooked callout is in foreign code. [handler] */
bool mechanism_anyone_inside(void);
/* The access (PROT_*) that a region has now, given what is closed. -1: cannot be said (mprotect-naive with callouts
 * inside). Mechanism lock held. */
int mechanism_access(const struct region *region);
/* The same as far as it stays so under the locks: naive callouts take none, so one may begin while smaps is being read.
 * -1: cannot be told. */
int mechanism_settled_access(const struct region *region);
/* Brings what is closed in line with who is inside. 0 or negative errno (then everything is open). Mechanism lock held.
 */
int mechanism_reconcile_locked(void);
/* Waits until the region at `address` is open, at most limit_ns, then opens it. As pkeys_bystander_wait, for a thread
 * that has not faulted yet. */
bool mechanism_await_open(uintptr_t address, uint64_t limit_ns);

/* ---- pkru_<machine>.c, beside pkeys_rdpkru and pkeys_wrpkru -------------------------------------------------- */

bool cpu_has_keys(void);               /* the CPU says that it has them */
bool cpu_has_ospke(void);              /* and the kernel has switched them on */
extern const int cpu_keys;             /* how many the architecture and kernel know, key 0 included */
extern const char cpu_lacks_keys[];    /* one sentence for the user: the first is not so */
extern const char kernel_lacks_keys[]; /* the second is not so */

/* ---- pkru_x86_64.c ------------------------------------------------------------------------------------------- */

/* pkey_set(3) of the C library, for pkeys-glibc. [handler] */
void library_pkey_set(int key, unsigned rights);
bool library_has_keys(void); /* whether it works; asked only where the CPU has keys */

/* ---- smaps_linux.c ------------------------------------------------------------------------------------------- */

struct smaps_expectation {
  uintptr_t address;
  size_t bytes;
  int access; /* PROT_*, or -1: any */
  int key;
  uintptr_t covered; /* internal: everything below has been seen and is right */
};
/* Compares /proc/self/smaps with `count` expectations, in one pass. 0; -EKEYREJECTED with the first wrong address (or a
 * gap) in *where; or the negative errno of reading it. Kernels without keys print no ProtectionKey line: that counts as
 * key 0. */
int smaps_check(struct smaps_expectation *expectations, size_t count, uintptr_t *where);

/* ---- image.c ------------------------------------------------------------------------------------------------- */

/* Page arithmetic. round_up needs value <= PKEYS_MAX_BYTES. */
static inline size_t round_up(size_t value) { return (value + PKEYS_PAGE - 1) & ~(size_t)(PKEYS_PAGE - 1); }

/* Access and key of [address, address+bytes) in one call; without a key, and on machines without keys, plain mprotect.
 */
int region_apply(uintptr_t address, size_t bytes, int access, int key);

#endif
