/*
 * state.h: what the registry holds, and in which form: locks, regions, adopted ranges, masks, images, loans. The rules
 * for reading and changing it stand in internal.h.
 */
#ifndef TURNKEY_PKEYS_STATE_H
#define TURNKEY_PKEYS_STATE_H

#include <stdatomic.h>

#include "pkeys.h"

/* A lock on a futex. The owner word names the thread, so a signal handler on the owner's own thread is let in: it
 * cannot wait for itself. What is locked must tolerate that; only the mechanism lock is used so. */
struct lock {
  _Atomic uintptr_t owner;
  _Atomic uint32_t waiters, sequence;
  uint32_t nested; /* how often the owner has been let in again; changes only while the lock is held */
};

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
  uint32_t pooled;  /* image with a virtual key, by index + 1: key and access follow from its residence (pool.c) */
  uint32_t unused;
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
#define MAX_REGIONS (PKEYS_MAX_ALL_SPACES + MAX_HIDDEN + PKEYS_MAX_LOANS)

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
  uint32_t loans;             /* live loans of its spaces */
  uint32_t hidden;            /* hidden areas */
  _Atomic uint32_t pooled;    /* its key is virtual, and it is protected */
  _Atomic uint32_t residence; /* then: the hardware key that its pages carry (image_key); 0: they are closed */
  _Atomic uint64_t moves;     /* its last 16 keys, 4 bits each, the newest lowest; 0: evicted, or never loaded */
  uint32_t sealed;            /* bool: the committed pages of its spaces are */
  uintptr_t reservation;
  size_t reservation_bytes;
  size_t neighbour_bytes[PKEYS_MAX_SPACES];
  uint16_t space[PKEYS_MAX_SPACES]; /* indices of regions */
};

#define MOVE_BITS 4
#define MOVES_KEPT 16

/* ---- the pool of virtual keys (pool.c) ----------------------------------------------------------------------------
 */

/* One hardware key of the pool. `word`: the owner in the upper half, the number of seats that have it open in the
 * lower. */
struct way {
  _Atomic uint64_t word;
  _Atomic uint32_t stamp; /* the policy's: when it was last entered, or whether */
};
#define WAY_FREE 0u
#define WAY_BUSY 0xffffffffu   /* changing hands */
#define WAY_SHARED 0xfffffffeu /* a colour of stripes; any other value: index + 1 of the image */

struct pool {
  struct lock lock;
  struct pkeys_virtual_options options;
  uint32_t keys;           /* members, a bit each */
  uint32_t lost;           /* former members that pages may still carry, a bit each */
  uint32_t broad;          /* keys that VM threads have been given for good: never members, a bit each */
  uint32_t deny;           /* enum pkeys_rights of all pooled images */
  uint32_t images;         /* pooled images that are open */
  _Atomic uint32_t fields; /* PKRU fields of the members */
  _Atomic uint32_t denied; /* the rights to them that nobody has who is not inside */
  _Atomic uint32_t clock;  /* of `stamp` */
  _Atomic uint32_t vacant; /* members that are WAY_FREE */
  uint32_t misses, hand;   /* the policy's */
  uint64_t random;
  _Atomic uint32_t released, waiters; /* a futex: raised when a key is left while somebody waits */
  _Atomic uint64_t loads, evictions, waits;
  struct way way[PKEYS_KEYS]; /* by hardware key */
};

/* The pages of a loan, without the guard pages on both sides (block.c). */
struct loan_block {
  uintptr_t address; /* 0: none */
  size_t bytes;
  int key;
  bool sealed;
};
/* Sealed ones, lent or kept: far more than live loans, since each size has its own. */
#define MAX_BLOCKS (4 * PKEYS_MAX_LOANS)

/* Where a loan came from; changed under the registry lock only. */
struct loan {
  uint32_t id; /* 0: free; else that of its region */
  uint16_t region;
  uint16_t mode;             /* enum pkeys_loan_mode */
  struct pkeys_image *image; /* NULL: bytes of their own */
  size_t space_index, offset, bytes;
  struct loan_block block;
  bool releasing;
};

/* What the bystander code remembers of a thread's last fault, so that a fault which no mechanism caused is not retried
 * for ever. */
struct bystander_memory {
  _Atomic uintptr_t thread, address;
  _Atomic uint32_t word, repeats;
};
#define BYSTANDER_SLOTS 64

/* One thing that the counted mechanisms close and open: the images, or the lending arena. Odd: closed. It is raised
 * before the first page is closed and after the last page is open. So a thread that faults on a closed page sees it
 * odd, or open already. */
struct closing {
  _Atomic uint32_t word;
  _Atomic uint32_t waiters;
};

struct registry {
  struct lock lock;
  struct lock mechanism_lock;
  struct pool pool;

  /* Keys. */
  int runtime_key, loan_key;
  uint32_t spare_keys; /* keys that the kernel would not take back, a bit each: given out again before new ones */
  uint32_t next_image_id, next_loan_id;
  uint32_t forking_rights; /* PKRU of the thread that forks; under all locks */
  void (*listener)(const struct pkeys_masks *masks);
  struct pkeys_inner_locks inner; /* written under `lock` */
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
  bool blocks_sealed; /* those that are made from now on */
  uint32_t block_count;
  struct loan_block kept[MAX_BLOCKS]; /* sealed, and not lent */
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

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

/* Index + 1, so that 0 can say "none". */
static inline uint32_t image_number(const struct pkeys_image *image) {
  return (uint32_t)(image - pkeys_i_registry.images) + 1;
}
/* `residence` counts its changes above the key: that a handler has loaded and evicted an image shows, too. */
#define RESIDENCE_KEY 15u
static inline int image_key(const struct pkeys_image *image) {
  return (int)(atomic_load(&image->residence) & RESIDENCE_KEY);
}
static inline uint32_t residence_with(uint32_t before, int key) {
  return (before & ~RESIDENCE_KEY) + RESIDENCE_KEY + 1 + (uint32_t)key;
}
static inline void set_residence(struct pkeys_image *image, int key) {
  atomic_store(&image->residence, residence_with(atomic_load(&image->residence), key));
}
static inline bool image_is_open(const struct pkeys_image *image) { return image && atomic_load(&image->id) != 0; }
/* Page arithmetic. Needs value <= PKEYS_MAX_BYTES. */
static inline size_t round_up(size_t value) { return (value + PKEYS_PAGE - 1) & ~(size_t)(PKEYS_PAGE - 1); }

#endif
