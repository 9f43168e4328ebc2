/*
 * pkeys.h: protection keys, spaces, loans and mechanisms, for a VM that calls foreign code.
 *
 * C11, no Node, no signals. What is here: probing by doing, PKRU arithmetic, the registry of images, spaces and
 * loans, and the mechanisms that close every open image around a callout. What is not: the gate and the fault
 * trap (native/trap), which call down into this layer.
 *
 * Return values: 0 or a non-negative result, else a negative errno (-EINVAL, -ENOMEM, -ENOSPC when no key is left,
 * -EOPNOTSUPP when this machine has no keys, -EMFILE when a table here is full). No function prints; none touches
 * errno.
 *
 * Threads: everything may be called from any thread. A function marked async-signal-safe takes no lock and does not
 * allocate; all others must not be called from a signal handler. Functions that change something open this thread's
 * rights to all owned keys first and leave them open: they are VM code (I13). pkeys_init must have returned before the
 * others are called on other threads. A fork inside a callout is not supported: the child would have the callout's
 * rights and counts, and nobody to give them back.
 *
 * Kernel pages: pkeys(7), pkey_alloc(2), pkey_mprotect(2); Documentation/core-api/protection-keys.rst.
 */
#ifndef TURNKEY_PKEYS_H
#define TURNKEY_PKEYS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <turnkey/export.h>

TURNKEY_API_BEGIN

#ifndef EKEYREJECTED
#define EKEYREJECTED 1129 /* where the system has no such number (Windows) */
#endif

#define PKEYS_PAGE 4096u
#define PKEYS_KEYS 16 /* architectural: PKRU holds two bits for each of 16 keys (SDM vol. 3A, 4.6.2) */
#define PKEYS_MAX_IMAGES 16
#define PKEYS_MAX_SPACES 128 /* over all images */
#define PKEYS_MAX_LOANS 256  /* live ones */
#define PKEYS_NAME_BYTES 32
#define PKEYS_MAX_BYTES ((size_t)1 << 46)   /* of one space, hidden area or loan: half of what a process can address */
#define PKEYS_GUARD_BYTES (16 * PKEYS_PAGE) /* without access, on either side of every space */

/* ---- rights and PKRU arithmetic: pure, testable on any CPU --------------------------------------------------- */

enum pkeys_rights {
  PKEYS_OPEN = 0,      /* AD = 0, WD = 0 */
  PKEYS_NO_ACCESS = 1, /* AD: neither read nor write; equals PKEY_DISABLE_ACCESS */
  PKEYS_NO_WRITE = 2,  /* WD: reads only; equals PKEY_DISABLE_WRITE */
};

/* The two bits of `key` in a PKRU image. */
static inline uint32_t pkru_field(int key) { return 3u << (2 * key); }
/* `rights` placed at `key`'s bits. */
static inline uint32_t pkru_bits(int key, enum pkeys_rights rights) { return (uint32_t)rights << (2 * key); }
/* I2: the bits in `owned` replaced by `rights`, all others kept. I1: key 0's bits are never changed. */
static inline uint32_t pkru_combine(uint32_t pkru, uint32_t owned, uint32_t rights) {
  owned &= ~pkru_field(0);
  return (pkru & ~owned) | (rights & owned);
}
static inline enum pkeys_rights pkru_rights(uint32_t pkru, int key) {
  return (enum pkeys_rights)((pkru >> (2 * key)) & 3u);
}

/* The version of the library that runs, as TURNKEY_VERSION of turnkey/version.h. Async-signal-safe. */
const char *pkeys_version(void);

/* ---- the machine --------------------------------------------------------------------------------------------- */

struct pkeys_probe {
  bool cpu_pku;     /* CPUID.7.0:ECX.PKU[bit 3] */
  bool cpu_ospke;   /* CPUID.7.0:ECX.OSPKE[bit 4]: the kernel has set CR4.PKE */
  bool alloc_works; /* pkey_alloc gave a key */
  bool tag_works;   /* pkey_mprotect tagged a page, and smaps agrees */
  bool deny_works;  /* read(2) into a write-denied page answered EFAULT */
  int alloc_errno;  /* errno of a failed pkey_alloc, else 0 */
  int tag_errno;
  int keys_free;    /* keys this process could still allocate when asked; they were freed again */
  bool usable;      /* all of the above */
  char reason[256]; /* one sentence: what is missing and why; empty if usable */
};

/* Probes by doing, afresh each time; leaves nothing behind. Safe from any thread, raises no signal. For an instant it
 * holds every free key: a pkey_alloc by others in the process may find none just then (this layer's own wait). */
void pkeys_probe(struct pkeys_probe *out);
/* Whether the CPU and kernel have keys at all: cached result of CPUID OSPKE. RDPKRU is #UD where this is false. */
bool pkeys_supported(void);

/* RDPKRU / WRPKRU of this thread. Only where pkeys_supported(). pkeys_wrpkru is the one C-callable place (I3) that
 * holds WRPKRU: never inlined, a compiler barrier for memory; key 0's bits in `pkru` are ignored (I1).
 * Async-signal-safe. */
uint32_t pkeys_rdpkru(void);
void pkeys_wrpkru(uint32_t pkru);

/* ---- owned keys ---------------------------------------------------------------------------------------------- */

/*
 * The process-wide set of keys that Turnkey owns. The VM's rights to an owned key are always PKEYS_OPEN, so
 * `(pkru & keep)` gives the VM's PKRU, and `(pkru & keep) | deny` the foreign one.
 *
 * pkeys_init: idempotent, thread-safe; allocates the runtime key (used for the trap's own state, I11, and for this
 * registry's pages) where keys are supported; without support, and where no key is left, returns 0 as well and
 * runtime_key stays 0: every mechanism without keys works then, and those with keys answer -EOPNOTSUPP or -ENOSPC.
 */
int pkeys_init(void);
int pkeys_runtime_key(void);
/* Tags [address, address+bytes) with the runtime key, readable and writable, in one call; `address` page-aligned
 * (-EINVAL). No-op returning 0 without keys. Does pkeys_init if need be. */
int pkeys_protect_runtime(void *address, size_t bytes);

struct pkeys_masks {
  uint32_t keep; /* and-mask: every bit that is not an owned key's. ~0u while no key is owned */
  uint32_t deny; /* or-mask for a callout without loans: runtime key NO_WRITE (the gate's way out reads its frame), loan
                    key NO_ACCESS, images of mechanism pkeys by their spaces' rights. Keys of pkeys-glibc images are
                    owned, but not denied here unless `keyed`: pkeys_enter_foreign does it */
  uint32_t deny_lent;  /* the same for a callout that was passed a loan: loan key open */
  bool hooked;         /* some open image has a mechanism that needs enter/leave calls (mprotect-*, pkeys-glibc) */
  bool keyed;          /* some open image has mechanism pkeys: masks must be written */
  uint32_t generation; /* changes whenever the set of owned keys grows: older threads must open their rights */
};
/* Current masks. Lock-free, async-signal-safe. */
struct pkeys_masks pkeys_masks(void);
/* One listener (the trap): called once now with the current masks, then, under the registry lock, after each change,
 * before any page is tagged with a new key and before a key that is given up is freed. It must not call back into this
 * layer. */
void pkeys_on_change(void (*listener)(const struct pkeys_masks *masks));
/* Opens all owned keys for this thread: wrpkru(rdpkru & keep). Async-signal-safe, and works on a thread that has no
 * right to any of them yet (older than the runtime key, or in a signal handler). No-op without keys. */
void pkeys_open_thread(void);

/* ---- images and spaces --------------------------------------------------------------------------------------- */

enum pkeys_mechanism {
  PKEYS_MECHANISM_UNSET = 0,
  PKEYS_MECHANISM_NONE,
  PKEYS_MECHANISM_FLAG,
  PKEYS_MECHANISM_MPROTECT_PAGE,
  PKEYS_MECHANISM_MPROTECT_RANGE,
  PKEYS_MECHANISM_MPROTECT_NAIVE,
  PKEYS_MECHANISM_PKEYS,
  PKEYS_MECHANISM_PKEYS_GLIBC,
};
const char *pkeys_mechanism_name(
    enum pkeys_mechanism mechanism); /* 'mprotect-page' and so on (docs/architecture.md, Mechanisms) */
int pkeys_mechanism_parse(const char *name, enum pkeys_mechanism *out); /* -EINVAL if unknown */

struct pkeys_image; /* opaque; lives in runtime-key pages */

enum pkeys_key_mode { PKEYS_KEY_PER_IMAGE = 0, PKEYS_KEY_PER_SPACE = 1 };

struct pkeys_space_request {
  const char *name;       /* 1 to 31 bytes, unique in the image */
  size_t bytes;           /* committed at once; rounded up to pages; > 0 */
  size_t reserve_bytes;   /* address space to grow into; 0: 4 times bytes; >= bytes */
  enum pkeys_rights deny; /* PKEYS_NO_WRITE (default when 0) or PKEYS_NO_ACCESS: what callouts lose */
};

/* Maps an image. Spaces lie in the given order in one reservation, each between guards of PKEYS_GUARD_BYTES. The image
 * has no mechanism yet and its pages key 0. *failed_index, if not NULL, gets the index of the offending request, or
 * `count` where none alone is to blame. -EINVAL: no name, a long or double one, no bytes, more than PKEYS_MAX_BYTES,
 * reserve below bytes, unknown rights, no requests; -EMFILE: too many images or spaces; -ENOMEM. */
int pkeys_image_map(const struct pkeys_space_request *requests, size_t count, enum pkeys_key_mode mode,
                    struct pkeys_image **out, size_t *failed_index);
/* Sets the mechanism once; -EBUSY if another is set; 0 if the same. Allocates and applies keys for pkeys and
 * pkeys-glibc (I9): -EOPNOTSUPP without keys, -ENOSPC when they run out (nothing is changed then). -EINVAL: with one
 * key for the image, all its spaces must deny the same. Older threads must open their rights to new keys
 * (masks.generation) before they touch the image. If callouts are inside, a counted mprotect mechanism closes the image
 * at once. Verified against /proc/self/smaps (-EKEYREJECTED, undone). */
int pkeys_image_set_mechanism(struct pkeys_image *image, enum pkeys_mechanism mechanism);
enum pkeys_mechanism pkeys_image_mechanism(const struct pkeys_image *image);
/* Unmaps everything, then frees its keys: pkey_free untags nothing, so no page may carry a key that is given up. -EBUSY
 * while the image's mechanism is hooked and a hooked callout is inside, or a loan of it is out. -EINVAL if closed
 * already. The handle may be given out again by a later pkeys_image_map. */
int pkeys_image_close(struct pkeys_image *image);

struct pkeys_space { /* a snapshot of a space's state */
  char name[PKEYS_NAME_BYTES];
  uintptr_t address;
  size_t bytes, reserved_bytes;
  int key; /* 0 while untagged */
  enum pkeys_rights deny;
  uint32_t image_id; /* 1.. ; unique for the life of the process */
  enum pkeys_mechanism mechanism;
};
size_t pkeys_image_space_count(const struct pkeys_image *image);
int pkeys_image_space(const struct pkeys_image *image, size_t index, struct pkeys_space *out);
uint32_t pkeys_image_id(const struct pkeys_image *image);
/* Commit more, or give back the tail (contents lost, pages PROT_NONE). bytes: the new size, > 0, rounded up to pages.
 * -ENOMEM past the reservation; -EBUSY if a loan needs the tail. New pages get access and key in one call and are
 * verified in smaps. */
int pkeys_space_resize(struct pkeys_image *image, size_t index, size_t bytes);
/* Makes the `bytes` directly below a space, in the tail of its guard, readable and writable on key 0: what an overflow
 * from a C buffer next to the image starts from. *out + bytes is the space's first address. At most PKEYS_GUARD_BYTES -
 * PKEYS_PAGE (-EINVAL): one guard page stays. Asked again, the larger size holds. Never closed by any mechanism. */
int pkeys_space_neighbour(struct pkeys_image *image, size_t index, size_t bytes, void **out);
/* After a remapping behind our back: access and key applied again in one pkey_mprotect each (I9), and verified. (A
 * fresh mapping, and mprotect to PROT_EXEC and back, leave key 0; plain mprotect, mremap and MADV_DONTNEED keep the
 * key.) */
int pkeys_image_reapply(struct pkeys_image *image);
/* 0 if every committed page shows the expected key and access in /proc/self/smaps, else -EKEYREJECTED; *where gets the
 * first wrong address. */
int pkeys_image_verify_tags(const struct pkeys_image *image, uintptr_t *where);
/* A hidden, keyed area belonging to the image (snapshots live here so that foreign code cannot spoil them): same
 * key/protection as the image's first space, guard pages around it. The mprotect mechanisms close it too, in one call
 * each. Released with the image. */
int pkeys_image_hidden(struct pkeys_image *image, size_t bytes, void **out);
int pkeys_image_hidden_release(struct pkeys_image *image, void *area);
/* The space that contains `address` (any image, reservations included, guards not). Lock-free, async-signal-safe. False
 * if none. */
bool pkeys_find_space(uintptr_t address, struct pkeys_space *out);

/* ---- loans --------------------------------------------------------------------------------------------------- */

enum pkeys_loan_mode {
  PKEYS_LOAN_OUT = 0,
  PKEYS_LOAN_IN = 1,
  PKEYS_LOAN_INOUT = 2
}; /* direction as the callee sees it: 'out' = callee writes */
struct pkeys_loan {
  void *address; /* where the callee may write: the END of the bytes is flush with the guard page when `flush_end` (then
                    unaligned), else the start */
  size_t bytes;
  uint32_t id;
};
/* Whole pages in the lending arena, guard pages on both sides, a key of their own under pkeys (allocated with the first
 * loan; closed in every callout that is not passed a loan). Fresh pages are zero. With image != NULL, [offset,
 * offset+bytes) of space `index` is copied in now (mode != OUT) and copied back on release (mode != IN). -ERANGE when
 * the range is outside the space; -EINVAL: no bytes, too many, closed image; -EMFILE: PKEYS_MAX_LOANS. Where a counted
 * mechanism has the image closed for other threads' callouts, copies are a bystander's: they wait up to a second, and
 * rely on the trap after that. The loan key exists from the first loan while an image of mechanism pkeys or pkeys-glibc
 * is open (-ENOSPC if there is none left). Under mprotect mechanisms the arena is closed while callouts are inside and
 * none of them was passed a loan: process-wide, one lent callout opens it for all (mprotect-naive: each callout for
 * itself). */
int pkeys_lend(size_t bytes, struct pkeys_image *image, size_t space_index, size_t offset, enum pkeys_loan_mode mode,
               bool flush_end, struct pkeys_loan *out);
int pkeys_loan_release(uint32_t id); /* -EINVAL if no such loan is live */
/* Whether [address, address+bytes) lies inside a live loan; its id or 0. Lock-free, async-signal-safe. */
uint32_t pkeys_find_loan(uintptr_t address, size_t bytes);

/* ---- mechanisms as the gate sees them ------------------------------------------------------------------------ */

/*
 * Called by the hooked gate on the way into and out of foreign code: closes / opens every open image whose mechanism is
 * not done by the gate itself. Counted per process for mprotect-page and -range (first in closes, last out opens),
 * uncounted for mprotect-naive, PKRU by glibc's pkey_set for pkeys-glibc. `lent`: this callout was passed a loan. A
 * callback leaves and enters again, with the same `lent`. Call with the VM's rights. Allocation-free; takes the
 * mechanism lock where a counted mechanism is open. A signal handler that has interrupted a callout may leave and enter
 * too, even on the thread that holds that lock. Touches no errno. Return 0 or negative errno of the first mprotect that
 * failed; enter has opened everything again then, is not counted, and must not be followed by leave.
 */
int pkeys_enter_foreign(bool lent);
int pkeys_leave_foreign(bool lent);
/*
 * The same for a caller that has a number of its own (the trap: its thread's slot), below PKEYS_MAX_CALLERS. Each of
 * the two may be repeated, or cut short by the other in a signal handler of the same thread: the caller is in or out
 * afterwards, never twice in. A count could not be told apart from one that was just about to change.
 */
#define PKEYS_MAX_CALLERS 1024
int pkeys_enter_foreign_as(unsigned caller, bool lent);
int pkeys_leave_foreign_as(unsigned caller, bool lent);

/*
 * For the fault handler: a VM thread (not in a callout) faulted at `address` with SEGV_ACCERR. If that address is in a
 * space that is closed now by a counted mprotect mechanism, waits until it is open, at most limit_ns, then opens it (an
 * unprotected window, counted). True: retry the instruction. Opens this thread's rights. Async-signal-safe (futex,
 * clock_gettime, mprotect), takes no lock, so it ends whoever holds one. False: not ours; also where the same fault
 * keeps coming back while nothing is closed (an instruction fetch, say), so that it is not retried for ever.
 */
bool pkeys_bystander_wait(uintptr_t address, uint64_t limit_ns);
struct pkeys_bystanders {
  uint64_t faults, waited_ns, windows;
};
struct pkeys_bystanders pkeys_bystanders(void);

TURNKEY_API_END
#endif
