/*
 * internal.h: what the files of native/pkeys share, and the rules they keep (I1 to I13: docs/invariants.md).
 *
 *   1. State. It lives in `pkeys_i_registry`, in whole pages under the runtime key: writable by the VM, read-only for
 *      callees (I11). The boot page beside it lies on key 0 and is read-only once set. It serves threads that have no
 *      right to the runtime key yet.
 *   2. Locks. There are two, always taken in this order: the registry lock for whoever changes images, regions, loans
 *      or keys; the mechanism lock for whoever changes what is closed. A change of the region table holds both.
 *   3. Readers take no lock. A region and the masks are *latched*: there are two copies and a version. The writer fills
 *      the copy that is not current, then publishes it by the version. A reader repeats only if the version moved, that
 *      is, if a writer made progress. So a signal handler that interrupted the writer reads the last complete state at
 *      once. A sequence lock would spin there for ever.
 *   4. A naive callout, or a bystander past its limit, calls mprotect on a region without the mechanism lock. It counts
 *      itself in `lockfree_users` meanwhile. Code that takes address space away unpublishes it first, and then waits
 *      until that count was 0 (pkeys_i_registry_quiesce).
 *   5. No code that holds the mechanism lock touches image or loan memory. So a VM thread that faults there does not
 *      hold it, except where a signal handler interrupted the holder; see mechanism.c.
 *
 * Code marked [handler] runs in signal handlers too: no lock, no allocation, no errno.
 */
#ifndef TURNKEY_PKEYS_INTERNAL_H
#define TURNKEY_PKEYS_INTERNAL_H

#include <stdatomic.h>

#include "pkeys.h"

/* ---- lock.c ------------------------------------------------------------------------------------------------------ */

/* A lock on a futex. The owner word names the thread, so a signal handler on the owner's own thread is let in: it
 * cannot wait for itself. What is locked must tolerate that; only the mechanism lock is used so. */
struct lock {
  _Atomic uintptr_t owner;
  _Atomic uint32_t waiters, sequence;
  uint32_t nested; /* how often the owner has been let in again; changes only while the lock is held */
};
void pkeys_i_lock_take(struct lock *lock);
void pkeys_i_lock_give(struct lock *lock);
/* True while this thread holds `lock` already: only a signal handler can see that. */
bool pkeys_i_lock_mine(const struct lock *lock);

/* ---- regions ----------------------------------------------------------------------------------------------------- */

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
  uint32_t protection; /* PROT_*: access while open */
  uint32_t adopted; /* bool: a view of an adopted range, made by pkeys_i_range_region; never in the table of regions */
};
struct region_latch {
  _Atomic uint32_t version;
  struct region copy[2];
};

/* An adopted range: memory of a space that the VM mapped itself. Disjoint; neighbours that are alike are one. */
struct range {
  uintptr_t address;   /* page-aligned */
  size_t bytes;        /* whole pages */
  uint32_t region;     /* index of its space's region, where name, key, deny and mechanism are */
  uint32_t protection; /* PROT_*: what the VM gave it */
};
struct range_slot {
  _Atomic uintptr_t address;
  _Atomic size_t bytes;
  _Atomic uint32_t region, protection;
};
/* One change adds at most what is left below, the new range, and what is left above. */
#define RANGE_MOST_ADDED 4
#define RANGE_SLOTS (PKEYS_MAX_RANGES + 2 * RANGE_MOST_ADDED)
struct range_table {
  _Atomic uint32_t version, count[2];
  _Atomic uint32_t order[2][PKEYS_MAX_RANGES + RANGE_MOST_ADDED];
  uint32_t slots_used, free_count, free[RANGE_SLOTS];
  struct range_slot slots[RANGE_SLOTS];
};

#define MAX_HIDDEN 128
#define MAX_REGIONS (PKEYS_MAX_SPACES + MAX_HIDDEN + PKEYS_MAX_LOANS)

/* ---- masks ------------------------------------------------------------------------------------------------------- */

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

/* ---- the registry ------------------------------------------------------------------------------------------------ */

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
  uint32_t spare_keys; /* keys that the kernel would not take back, a bit each: given out again before new ones */
  uint32_t next_image_id, next_loan_id;
  uint32_t forking_rights; /* PKRU of the thread that forks; under all locks */
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
  struct range_table ranges;
} __attribute__((aligned(4096))); /* so that nothing else shares its pages */

extern struct registry pkeys_i_registry;

/* ---- kinds of mechanisms ----------------------------------------------------------------------------------------- */

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

/* ---- keys.c ------------------------------------------------------------------------------------------------------ */

/* [handler] A thread may lack the right even to read the registry (it is older than the runtime key, or in a signal
 * handler): takes it, and gives back what was there before. Returns the PKRU to hand to pkeys_i_reader_leave. */
uint32_t pkeys_i_reader_enter(void);
void pkeys_i_reader_leave(uint32_t saved);
/* Keys are taken and given back one at a time. The lock is on key 0, and the innermost of all. */
void pkeys_i_keys_hold(void);
void pkeys_i_keys_let_go(void);
int pkeys_i_key_alloc(void);
/* A key that the kernel does not take back is kept, and given out by the next pkeys_i_key_alloc. */
void pkeys_i_key_free(int key);
/* Takes the runtime key and tags the registry with it. 0 where there is none: what needs no keys works without. */
int pkeys_i_runtime_key_take(void);
/* Ends the set-up: the runtime key is known from now on, and the page that says so can only be read. */
int pkeys_i_keys_seal(int runtime_key);
bool pkeys_i_keys_sealed(void);
/* Why no image can have keys, whatever is free now: -EOPNOTSUPP or -ENOSPC; 0 if they can. After pkeys_init. */
int pkeys_i_keys_error(void);

/* ---- regions.c --------------------------------------------------------------------------------------------------- */

/* Reading is [handler]; publishing needs both locks. */
void pkeys_i_region_read(size_t index, struct region *out);
void pkeys_i_region_publish(size_t index, const struct region *region);
/* A free region's index, or -EMFILE. */
int pkeys_i_region_free_slot(void);
size_t pkeys_i_region_count(uint32_t kind);
/* Calls `visit` for every mapped space and hidden area of the image. Stops at the first non-zero result. Both locks
 * held. */
int pkeys_i_each_region(uint32_t image_id, int (*visit)(size_t index, struct region *region, void *context),
                        void *context);
/* Access and key of [address, address+bytes) in one call (I9). The second is for pages that were just reserved, and so
 * have key 0 already. An access of -1 means readable and writable. */
int pkeys_i_region_apply(uintptr_t address, size_t bytes, int access, int key);
int pkeys_i_region_apply_fresh(uintptr_t address, size_t bytes, int access, int key);

/* ---- ranges.c ---------------------------------------------------------------------------------------------------- */

/* [handler] The range that contains `address`; the first that ends past `address`. False if there is none. */
bool pkeys_i_range_find(uintptr_t address, struct range *out);
bool pkeys_i_range_next(uintptr_t address, struct range *out);
size_t pkeys_i_range_count(void);
/* Makes [address, address+bytes) `with`, which has that address and size; NULL: of no range. Ranges that reach into it
 * are cut, neighbours that are alike joined. -EMFILE, nothing changed then. Both locks held. */
int pkeys_i_range_set(uintptr_t address, size_t bytes, const struct range *with);

/* ---- find.c ------------------------------------------------------------------------------------------------------ */

/* [handler] What contains `address`: a mapped region (reservations count as inside), or an adopted range as a region of
 * its space. False if nothing does. */
bool pkeys_i_region_find(uintptr_t address, struct region *out);
/* [handler] The range as a region of its space. False where the space is gone. */
bool pkeys_i_range_region(const struct range *range, struct region *out);
/* The region as others see it. */
void pkeys_i_space_of(const struct region *region, struct pkeys_space *out);

/* ---- masks.c ----------------------------------------------------------------------------------------------------- */

/* [handler] */
void pkeys_i_masks_read(struct mask_record *out);
/* Computes and publishes the masks from regions and keys, tells the listener. keys_grew: a key was added, older threads
 * must open it. */
void pkeys_i_masks_publish(bool keys_grew);

/* ---- registry.c -------------------------------------------------------------------------------------------------- */

/* Entry and exit of every function that changes the registry: initialised, this thread's rights opened, registry lock
 * held. 0 or the negative errno of pkeys_init, without the lock then. */
int pkeys_i_registry_enter(void);
void pkeys_i_registry_leave(void);
/* The same with both locks, as a change of regions and ranges needs. pkeys_i_change_leave returns `result`. */
int pkeys_i_change_enter(void);
int pkeys_i_change_leave(int result);
/* Waits until nobody uses a region without the mechanism lock. Call after unpublishing, before the address space goes.
 */
void pkeys_i_registry_quiesce(void);

/* ---- adopt.c ----------------------------------------------------------------------------------------------------- */

/* Access and key of every adopted range of the image, as things are. 0 or a negative errno. Both locks held. */
int pkeys_i_apply_ranges(const struct pkeys_image *image);
/* Every adopted range of the image given back to the VM, untagged and as the VM had it. 0, or the first error: pages
 * may carry the image's keys then. Nobody is inside; both locks held. */
int pkeys_i_release_ranges(const struct pkeys_image *image);
/* As pkeys_i_smaps_check, in one pass, for the adopted ranges of the image. */
int pkeys_i_verify_ranges(const struct pkeys_image *image, uintptr_t *where);

/* ---- mechanism.c ------------------------------------------------------------------------------------------------- */

/* Whether any hooked callout is in foreign code. [handler] */
bool pkeys_i_mechanism_anyone_inside(void);
/* The access (PROT_*) that a region has now, given what is closed. -1: cannot be said (mprotect-naive with callouts
 * inside). Mechanism lock held. */
int pkeys_i_mechanism_access(const struct region *region);
/* The same as far as it stays so under the locks: naive callouts take none, so one may begin while smaps is being read.
 * -1: cannot be told. */
int pkeys_i_mechanism_settled_access(const struct region *region);
/* Brings what is closed in line with who is inside. 0 or negative errno (then everything is open). Mechanism lock held.
 */
int pkeys_i_mechanism_reconcile_locked(void);
/* Waits until the region at `address` is open, at most limit_ns, then opens it. As pkeys_bystander_wait, for a thread
 * that has not faulted yet. */
bool pkeys_i_mechanism_await_open(uintptr_t address, uint64_t limit_ns);

/* ---- rehearse_linux.c -------------------------------------------------------------------------------------------- */

/* What keys need of the kernel and the CPU, in the order in which it is tried. */
enum key_step {
  KEY_STEP_CHILD,    /* a child process, to try the rest in */
  KEY_STEP_REGISTER, /* reading the rights register */
  KEY_STEP_ALLOC,    /* pkey_alloc */
  KEY_STEP_TAG,      /* pkey_mprotect */
  KEY_STEP_SMAPS,    /* the tag read back from /proc/self/smaps; thorough only */
  KEY_STEP_DENY,     /* a denied write answered with EFAULT; thorough only */
  KEY_STEP_FREE,     /* pkey_free */
  KEY_STEPS
};
struct rehearsal {
  enum key_step reached; /* the last step begun */
  enum key_step failed;  /* the first that did not go well; KEY_STEPS: all went well */
  int error[KEY_STEPS];  /* errno of each step, 0 where it went well or was not reached */
  int signal;            /* that ended the child in `failed`; 0 */
  int keys;              /* keys that could be had; at most 1 unless thorough */
  int key;               /* a key that could not be given back, and may be this process's now; 0 */
  bool filtered;         /* a seccomp filter is set: /proc/self/status, Seccomp: 2 */
  bool done;             /* the child came to its end */
};
/* A seccomp filter is set in this thread. */
bool pkeys_i_filtered(void);
/* Raises no signal in this process. Without `thorough` it takes tens of microseconds. */
void pkeys_i_rehearse(struct rehearsal *out, bool thorough);

/* ---- kernel_linux.c: what versions of Linux are known for -------------------------------------------------------- */

/* "6.12.3-cloud" to {6, 12, 3}. False for anything else. */
bool pkeys_i_kernel_version(const char *release, int version[3]);
struct kernel_cpu {
  bool amd;     /* the vendor is AMD or Hygon */
  bool xgetbv1; /* XGETBV with ECX = 1: CPUID.0xD.1:EAX[2] */
};
/* How this kernel is known to break keys on this CPU: one sentence, or NULL. Pure. */
const char *pkeys_i_kernel_breaks(const int version[3], const struct kernel_cpu *cpu);

/* ---- pkru_<machine>.c, beside pkeys_rdpkru and pkeys_wrpkru ------------------------------------------------------ */

bool pkeys_i_cpu_has_keys(void);               /* the CPU says that it has them */
bool pkeys_i_cpu_has_ospke(void);              /* and the kernel has switched them on */
extern const int pkeys_i_cpu_keys;             /* how many the architecture and kernel know, key 0 included */
extern const char pkeys_i_cpu_lacks_keys[];    /* one sentence for the user: the first is not so */
extern const char pkeys_i_kernel_lacks_keys[]; /* the second is not so */

/* What of the CPU decides whether a kernel breaks keys on it. */
void pkeys_i_kernel_cpu(struct kernel_cpu *out);

/* ---- pkru_x86_64.c ----------------------------------------------------------------------------------------------- */

/* pkey_set(3) of the C library, for pkeys-glibc. [handler] */
void pkeys_i_library_pkey_set(int key, unsigned rights);
bool pkeys_i_library_has_keys(void); /* whether it works; asked only where the CPU has keys */

/* ---- smaps_linux.c ----------------------------------------------------------------------------------------------- */

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
int pkeys_i_smaps_check(struct smaps_expectation *expectations, size_t count, uintptr_t *where);

/* Calls `visit` for each mapping of this process, in the order of their addresses, until it answers false. With `keys`
 * from /proc/self/smaps; without, from /proc/self/maps, which walks no page tables. 0 or a negative errno. */
struct smaps_mapping {
  uintptr_t first, last;
  int access, key;
};
int pkeys_i_mappings_each(bool keys, bool (*visit)(const struct smaps_mapping *mapping, void *context), void *context);

/* ---- loan.c ------------------------------------------------------------------------------------------------------ */

/* Under both locks. */
bool pkeys_i_any_loans(void);
/* Gives every live loan `key`. 0 or a negative errno; a first part may have it then. */
int pkeys_i_loans_retag(int key);
/* Whether a live loan was made from past the first `bytes` of the space. */
bool pkeys_i_loans_reach_past(const struct pkeys_image *image, size_t index, size_t bytes);
/* Frees the loan key if nothing keyed is open any more, retagging live loans to key 0. */
void pkeys_i_loan_key_drop(void);

/* ---- tags.c, space.c --------------------------------------------------------------------------------------------- */

/* Access and key of all that belongs to the image, as things are. 0 or a negative errno. Both locks held. */
int pkeys_i_apply_image(const struct pkeys_image *image);
/* Unmaps the hidden areas of the image. Both locks held. */
void pkeys_i_hidden_release_all(const struct pkeys_image *image);

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static inline bool image_is_open(const struct pkeys_image *image) { return image && atomic_load(&image->id) != 0; }
/* Page arithmetic. Needs value <= PKEYS_MAX_BYTES. */
static inline size_t round_up(size_t value) { return (value + PKEYS_PAGE - 1) & ~(size_t)(PKEYS_PAGE - 1); }

#endif
