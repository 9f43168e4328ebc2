/*
 * pkeys.h: protection keys, spaces, loans and mechanisms, for a VM that calls foreign code.
 *
 * This header is the layer's manual. The layer is C11; it needs no Node and handles no signals. It has four parts:
 *   probing     finds out, by trying, whether this machine has protection keys
 *   PKRU        arithmetic on the register that holds one thread's rights to all keys
 *   registry    the open images, their spaces, and the loans
 *   mechanisms  the ways to close every open image around a callout
 * The gate and the fault trap lie above, in native/trap, and call down into this layer.
 *
 * Words:
 *   image       the memory of a VM's object heap, made of spaces
 *   space       one named range of an image
 *   callout     one call from the VM into foreign code
 *   loan        memory lent to foreign code for writing
 *   owned key   a key that this layer has allocated
 *   VM code     code that runs with all rights to the owned keys
 *   bystander   a VM thread that meets a page which another thread's callout has closed
 * I1 to I13 are the rules of docs/invariants.md.
 *
 * Return values: a function returns 0 or a non-negative result on success, and a negative errno on failure:
 *   -EINVAL      an argument is wrong, or the image or loan is closed
 *   -ENOMEM      the kernel gave no memory or address space, or a reservation is exhausted
 *   -EOPNOTSUPP  this machine has no keys
 *   -ENOSPC      this machine has keys, and none is left
 *   -EMFILE      a table of this layer is full
 * No function prints, and none changes errno.
 *
 * Threads: any thread may call any function. pkeys_init must have returned before another thread calls one.
 * Signal handlers: only functions marked async-signal-safe may be called; they take no lock and do not allocate.
 * Rights: a function that changes something is VM code (I13). It first opens this thread's rights to all owned keys,
 * and leaves them open.
 * fork: the child has everything the parent has, and no lock is held in it. If VM code forked, the child calls
 * pkeys_forked next. A child forked inside a callout is foreign code: it keeps the callout's rights and counts for
 * ever.
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
#define PKEYS_MAX_SPACES 128   /* open at the same time, over all images */
#define PKEYS_MAX_LOANS 256    /* live at the same time, over all images */
#define PKEYS_MAX_RANGES 65536 /* adopted at the same time, over all images; Linux allows about as many mappings */
#define PKEYS_NAME_BYTES 32
#define PKEYS_MAX_BYTES ((size_t)1 << 46)   /* largest space, hidden area or loan: half of a process's addresses */
#define PKEYS_GUARD_BYTES (16 * PKEYS_PAGE) /* size of the inaccessible guard on either side of every space */

/* ---- rights and PKRU arithmetic: pure, testable on any CPU ------------------------------------------------------- */

enum pkeys_rights {
  PKEYS_OPEN = 0,      /* AD = 0, WD = 0 */
  PKEYS_NO_ACCESS = 1, /* AD: neither read nor write; equals PKEY_DISABLE_ACCESS */
  PKEYS_NO_WRITE = 2,  /* WD: reads only; equals PKEY_DISABLE_WRITE */
};

/* Mask of the two bits that PKRU holds for `key`. */
static inline uint32_t pkru_field(int key) { return 3u << (2 * key); }
/* `rights`, shifted to the two bits of `key`. */
static inline uint32_t pkru_bits(int key, enum pkeys_rights rights) { return (uint32_t)rights << (2 * key); }
/* `pkru` with the bits in `owned` replaced by those of `rights`. Other owners' bits are kept (I2), and so are key 0's
 * (I1). */
static inline uint32_t pkru_combine(uint32_t pkru, uint32_t owned, uint32_t rights) {
  owned &= ~pkru_field(0);
  return (pkru & ~owned) | (rights & owned);
}
/* The rights that `pkru` gives to `key`. */
static inline enum pkeys_rights pkru_rights(uint32_t pkru, int key) {
  return (enum pkeys_rights)((pkru >> (2 * key)) & 3u);
}

/* Version of the library that runs, in the form of TURNKEY_VERSION in turnkey/version.h. Async-signal-safe. */
const char *pkeys_version(void);

/* ---- the machine ------------------------------------------------------------------------------------------------- */

struct pkeys_probe {
  bool cpu_pku;     /* CPUID.7.0:ECX.PKU[bit 3] */
  bool cpu_ospke;   /* CPUID.7.0:ECX.OSPKE[bit 4]: the kernel has set CR4.PKE */
  bool alloc_works; /* pkey_alloc gave a key */
  bool tag_works;   /* pkey_mprotect tagged a page, and smaps agrees */
  bool deny_works;  /* read(2) into a write-denied page answered EFAULT */
  int alloc_errno;  /* errno of a failed pkey_alloc, else 0 */
  int tag_errno;    /* errno of a failed pkey_mprotect, else 0 */
  int keys_free;    /* number of keys this process could allocate; the probe has freed them again */
  bool usable;      /* every bool above is true */
  char reason[512]; /* what is missing: the call, its errno by name, and the likely causes; empty if usable */
  /* The first thing that failed: "pkey_alloc", "pkey_mprotect", "pkey_free", "/proc/self/smaps", "RDPKRU", "read" or
   * "clone"; NULL if nothing failed. A refused pkey_free alone leaves keys usable: this layer reuses its own keys. */
  const char *failed_call;
  int failed_errno;  /* errno of that call, 0 if there is none */
  int failed_signal; /* signal that the call raises (a filter that kills, a CPU without the instruction), else 0 */
  bool filtered;     /* this thread has a seccomp filter */
  char warning[320]; /* how this version of the kernel is known to break keys; empty if nothing is known */
};

/* Fills *out by trying each step anew, in a child process. So this process sees no signal and loses no key, whatever a
 * seccomp filter does. Nothing is left behind. */
void pkeys_probe(struct pkeys_probe *out);
/* True if the rights register can be used: CPUID OSPKE, and a child process has read the register and lived. Tried
 * once. RDPKRU may be an illegal instruction where this is false. */
bool pkeys_supported(void);

/* Read and write this thread's PKRU. Call them only where pkeys_supported() is true. pkeys_wrpkru is the only C
 * function that holds WRPKRU (I3): it is never inlined, and it is a compiler barrier for memory. It ignores key 0's
 * bits in `pkru` (I1). Both are async-signal-safe. */
uint32_t pkeys_rdpkru(void);
void pkeys_wrpkru(uint32_t pkru);

/* ---- owned keys -------------------------------------------------------------------------------------------------- */

/*
 * The set of owned keys belongs to the process. VM code has PKEYS_OPEN rights to every owned key. So `pkru & keep` is
 * the PKRU of VM code, and `(pkru & keep) | deny` is the PKRU of foreign code.
 *
 * pkeys_init sets the layer up. It is idempotent and thread-safe. It tries to allocate the *runtime key*, which covers
 * this registry's pages and the trap's own state (I11):
 *
 *   this process has      result of pkeys_init   pkeys_runtime_key()   mechanisms that need keys answer
 *   a usable key          0                      1 to 15               0
 *   keys, but none left   0                      0                     -ENOSPC
 *   no keys at all        0                      0                     -EOPNOTSUPP
 *   keys that a seccomp   0                      0                     -EOPNOTSUPP
 *     filter refuses
 *
 * Mechanisms without keys work in all four cases.
 */
int pkeys_init(void);
int pkeys_runtime_key(void);
/* Makes [address, address+bytes) readable and writable and tags it with the runtime key, in one system call. `address`
 * must be page-aligned (-EINVAL). Without a runtime key it does nothing and returns 0. Calls pkeys_init if necessary.
 */
int pkeys_protect_runtime(void *address, size_t bytes);

/*
 * What a callout may do, and how PKRU says it. `deny` holds these rights:
 *
 *   key                              rights in a callout   why
 *   runtime key                      PKEYS_NO_WRITE        on its way out the gate reads its frame
 *   loan key                         PKEYS_NO_ACCESS       `deny_lent` opens it
 *   image with mechanism pkeys       its spaces' `deny`
 *   image with pkeys-glibc           open                  pkeys_enter_foreign denies it; in `deny` only if `keyed`
 */
struct pkeys_masks {
  uint32_t keep;      /* and-mask: the bits of all keys that are not owned; ~0u while no key is owned */
  uint32_t deny;      /* or-mask for a callout without a loan; see the table below */
  uint32_t deny_lent; /* or-mask for a callout that was passed a loan: `deny`, but with the loan key open */
  uint32_t entered;   /* what pkeys_enter_foreign itself denies: rights to images with pkeys-glibc, and to loans then */
  uint32_t entered_lent; /* the same, for a callout that was passed a loan */
  bool hooked;           /* an open image has mechanism mprotect-* or pkeys-glibc, which need enter and leave calls */
  bool keyed;            /* an open image has mechanism pkeys: the gate must write PKRU */
  uint32_t generation;   /* changes whenever the set of owned keys grows: older threads must then open their rights */
};
/* The masks as they are now. Lock-free and async-signal-safe. */
struct pkeys_masks pkeys_masks(void);
/* Sets the one listener, which is the trap. It is called with the current masks: once now, and after each change. A
 * call after a change comes under the registry lock, before a page gets a new key and before an old key is freed. The
 * listener must not call back into this layer. */
void pkeys_on_change(void (*listener)(const struct pkeys_masks *masks));
/* Opens all owned keys for this thread: wrpkru(rdpkru & keep). Async-signal-safe. It also works on a thread that has no
 * right to any owned key: one that is older than the runtime key, or one in a signal handler. Does nothing without
 * keys. */
void pkeys_open_thread(void);

/* ---- images and spaces ------------------------------------------------------------------------------------------- */

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
/* The name of a mechanism, such as 'mprotect-page', and back. docs/architecture.md explains each mechanism. Parsing an
 * unknown name answers -EINVAL. */
const char *pkeys_mechanism_name(enum pkeys_mechanism mechanism);
int pkeys_mechanism_parse(const char *name, enum pkeys_mechanism *out);

struct pkeys_image; /* opaque; lies in pages under the runtime key */

enum pkeys_key_mode { PKEYS_KEY_PER_IMAGE = 0, PKEYS_KEY_PER_SPACE = 1 };

struct pkeys_space_request {
  const char *name;       /* 1 to 31 bytes, unique in the image */
  size_t bytes;           /* size to commit at once, at least 1; rounded up to pages */
  size_t reserve_bytes;   /* size of the address range to grow into, at least `bytes`; 0 means 4 times `bytes` */
  enum pkeys_rights deny; /* right that callouts lose: PKEYS_NO_WRITE (also if 0) or PKEYS_NO_ACCESS */
};

/*
 * Maps an image of `count` spaces. They lie in the order of the requests in one reservation, each between two guards.
 * The new image has no mechanism, and its pages have key 0. If `failed_index` is not NULL, *failed_index gets the index
 * of the request that failed, or `count` where no single request is to blame.
 *
 *   -EINVAL  there are no requests; a name is missing, too long or used twice; `bytes` is 0 or over PKEYS_MAX_BYTES;
 *            `reserve_bytes` is below `bytes`; `deny` is unknown
 *   -EMFILE  more than PKEYS_MAX_IMAGES images or PKEYS_MAX_SPACES spaces would be open
 *   -ENOMEM  the kernel gave no memory
 */
int pkeys_image_map(const struct pkeys_space_request *requests, size_t count, enum pkeys_key_mode mode,
                    struct pkeys_image **out, size_t *failed_index);
/*
 * Sets the image's mechanism, once. For pkeys and pkeys-glibc it allocates the keys, applies them, and compares
 * /proc/self/smaps with what was asked for (I9). A failed call changes nothing.
 *
 *   0              the mechanism is set, or it was set before
 *   -EBUSY         the image has another mechanism already
 *   -EINVAL        the image has one key for all spaces, and they do not all deny the same right
 *   -EOPNOTSUPP    the mechanism needs keys, and this machine has none
 *   -ENOSPC        the mechanism needs keys, and too few are left
 *   -EKEYREJECTED  smaps shows another key or access than the one applied
 *
 * A thread that is older than the new keys must open its rights before it touches the image (masks.generation).
 * mprotect-page and mprotect-range close the image at once if a callout is in foreign code now.
 */
int pkeys_image_set_mechanism(struct pkeys_image *image, enum pkeys_mechanism mechanism);
enum pkeys_mechanism pkeys_image_mechanism(const struct pkeys_image *image);
/* Unmaps the image, then frees its keys. The order matters: pkey_free untags nothing, so no page may still carry a
 * freed key. A later pkeys_image_map may give the same handle out again.
 *
 *   -EBUSY   a loan of this image is live; or its mechanism is hooked, and a callout is in foreign code
 *   -EINVAL  the image is closed already */
int pkeys_image_close(struct pkeys_image *image);

/* The state of a space when it was asked for. */
struct pkeys_space {
  char name[PKEYS_NAME_BYTES];
  uintptr_t address;
  size_t bytes, reserved_bytes;
  int key; /* 0 while the space has no key of its own */
  enum pkeys_rights deny;
  uint32_t image_id; /* 1 or more, and never used again in this process */
  enum pkeys_mechanism mechanism;
};
size_t pkeys_image_space_count(const struct pkeys_image *image);
int pkeys_image_space(const struct pkeys_image *image, size_t index, struct pkeys_space *out);
uint32_t pkeys_image_id(const struct pkeys_image *image);
/* Sets the size of a space to `bytes`, rounded up to pages. Growing gives the new pages access and key in one system
 * call and verifies both in smaps (I9). Shrinking loses the contents of the tail, whose pages become PROT_NONE.
 *
 *   -EINVAL  `bytes` is 0, the index is wrong, or the image is closed
 *   -ENOMEM  `bytes` exceeds the reservation
 *   -EBUSY   a live loan was made from the tail */
int pkeys_space_resize(struct pkeys_image *image, size_t index, size_t bytes);
/* Opens the last `bytes` of the guard below a space, on key 0. This is the place of a C buffer from which an overflow
 * runs into the image. *out + bytes is the first address of the space. `bytes` is at most PKEYS_GUARD_BYTES -
 * PKEYS_PAGE (-EINVAL), so one guard page remains. A second call can enlarge the range, not shrink it. No mechanism
 * closes it. */
int pkeys_space_neighbour(struct pkeys_image *image, size_t index, size_t bytes, void **out);
/* Applies access and key to the whole image again, one pkey_mprotect for each range, and verifies both (I9). Call it
 * after something outside this layer has remapped pages of the image. What the kernel does with the key of a page:
 *
 *   the key is kept   plain mprotect; mremap; MADV_DONTNEED
 *   the key is lost   a new mapping over the page; mprotect to PROT_EXEC alone and back */
int pkeys_image_reapply(struct pkeys_image *image);
/* Compares each committed page with /proc/self/smaps. Returns 0 if key and access are right everywhere. Otherwise
 * returns -EKEYREJECTED and stores the first wrong address in *where, unless `where` is NULL. */
int pkeys_image_verify_tags(const struct pkeys_image *image, uintptr_t *where);
/* Asks /proc/self/maps whether each committed page is still mapped, with at least the access that it should have now.
 * Returns 0, or -EFAULT: a callee may have unmapped or re-protected what the VM is about to read. Returns 0 too where
 * /proc cannot be read. Far cheaper than pkeys_image_verify_tags, and says nothing of keys. */
int pkeys_image_reachable(const struct pkeys_image *image);
/* Maps a hidden area of `bytes` that belongs to the image, between guard pages. Snapshots lie in such areas, so foreign
 * code cannot spoil them. The area has the key and the `deny` of the image's first space. The mprotect mechanisms close
 * it too, with one mprotect. It is released with the image, or by pkeys_image_hidden_release. */
int pkeys_image_hidden(struct pkeys_image *image, size_t bytes, void **out);
int pkeys_image_hidden_release(struct pkeys_image *image, void *area);
/* Finds the space, in any image, whose reservation or adopted range contains `address`. Returns false if there is none;
 * a guard belongs to no space. For an adopted range, address and sizes are the range's. Lock-free and
 * async-signal-safe. */
bool pkeys_find_space(uintptr_t address, struct pkeys_space *out);

/* ---- memory that the VM maps itself ------------------------------------------------------------------------------ */

/*
 * A VM with an allocator of its own keeps it: it maps, protects, discards, moves and unmaps as it likes, and says so.
 * An *adopted range* is such memory. It belongs to a space, has the space's key, and every mechanism closes it.
 *
 *   the VM wants to             it does
 *   map memory                  mmap with PROT_NONE, then pkeys_space_adopt with the access that it wants
 *   change access               pkeys_range_protect in place of mprotect
 *   discard contents            madvise(MADV_DONTNEED) and the like; nothing need be said
 *   move or resize a mapping    pkeys_range_remap in place of mremap
 *   unmap memory                pkeys_range_forget, then munmap
 *   map over adopted memory     pkeys_range_forget, mmap with PROT_NONE and MAP_FIXED, pkeys_space_adopt
 *   keep memory, unprotected    pkeys_range_release
 *
 * PROT_NONE first, because a fresh mapping has key 0: it would be open to other threads' callouts until it is adopted.
 * A VM that adopts memory in use accepts that instant.
 *
 * `address` must be page-aligned; `bytes` is rounded up to pages; `protection` is made of PROT_READ, PROT_WRITE and
 * PROT_EXEC (mmap(2)). Neighbouring ranges of the same space and protection become one; what acts on part of a range
 * splits it. Up to PKEYS_MAX_RANGES ranges exist at the same time. They are looked up in logarithmic time.
 *
 * Under mprotect-* a range that is closed for other threads' callouts stays closed until they are out: the protection
 * that the VM asks for meanwhile is noted, and comes with the opening.
 *
 * PROT_EXEC alone: plain mprotect gives such pages the kernel's own execute-only key, and the way back leaves key 0.
 * With pkeys_range_protect the pages keep the space's key.
 */

/* Makes an image of spaces without memory, to adopt ranges into. `bytes` and `reserve_bytes` of each request must be 0.
 * Otherwise as pkeys_image_map. */
int pkeys_image_create(const struct pkeys_space_request *requests, size_t count, enum pkeys_key_mode mode,
                       struct pkeys_image **out, size_t *failed_index);
/*
 * Adopts [address, address+bytes), which must be mapped, into space `index`: gives it access and key in one system call
 * (I9), or closes it at once where a mechanism has the image closed. What is adopted already changes space and
 * protection. Spaces that pkeys_image_map has mapped can adopt ranges too. Closing the image releases its ranges.
 *
 *   -EINVAL  the range, protection or index is wrong, or the image is closed
 *   -EEXIST  part of it is a mapped space, a hidden area or a loan
 *   -EMFILE  PKEYS_MAX_RANGES ranges are adopted
 *   -ENOMEM  part of it is not mapped, or the process has too many mappings (vm.max_map_count)
 *   others   as mprotect(2) answers: -EACCES for a file that is not writable, say
 *
 * After a failure what was adopted before is as before, and the rest is not adopted; its part below a hole may have got
 * `protection`.
 */
int pkeys_space_adopt(struct pkeys_image *image, size_t index, void *address, size_t bytes, int protection);
/* Gives [address, address+bytes) another protection, in place of mprotect(2). All of it must be adopted (-ENOENT); it
 * may belong to several spaces. After another failure, a first part may have the new protection. */
int pkeys_range_protect(void *address, size_t bytes, int protection);
/* mremap(2) of an adopted range, with the same arguments; *out gets where it is. Key and access move along. All of
 * [address, address+bytes) must be adopted, in one space and with one protection (-ENOENT). With MREMAP_FIXED, what was
 * adopted at the target is forgotten, also if the kernel refuses. With MREMAP_DONTUNMAP the old range stays adopted. */
int pkeys_range_remap(void *address, size_t bytes, size_t new_bytes, int flags, void *new_address, void **out);
/* Ends the adoption of what is adopted in [address, address+bytes). pkeys_range_release untags the pages and gives them
 * the VM's protection. pkeys_range_forget leaves the pages as they are, for a caller that unmaps or replaces them right
 * after. It is no failure if nothing there is adopted. */
int pkeys_range_release(void *address, size_t bytes);
int pkeys_range_forget(void *address, size_t bytes);

struct pkeys_range {
  uintptr_t address;
  size_t bytes;
  int protection;    /* what the VM gave it; less while a mechanism has it closed */
  int key;           /* 0 while the space has none */
  uint32_t image_id; /* as pkeys_image_id */
  uint32_t space;    /* index in the image */
};
/* The first adopted range that ends past `address`, in the order of addresses: the one that contains it, if one does.
 * Returns false if there is none. Lock-free and async-signal-safe. */
bool pkeys_range_next(uintptr_t address, struct pkeys_range *out);

/* ---- loans ------------------------------------------------------------------------------------------------------- */

/* Direction of a loan, as the callee sees it. With OUT the callee writes; with IN it reads. */
enum pkeys_loan_mode {
  PKEYS_LOAN_OUT = 0,
  PKEYS_LOAN_IN = 1,
  PKEYS_LOAN_INOUT = 2,
};
struct pkeys_loan {
  void *address; /* the first byte that the callee may use; not aligned if the loan was made with `flush_end` */
  size_t bytes;
  uint32_t id;
};
/*
 * Lends `bytes` of memory to foreign code. A loan is made of whole, zeroed pages between two guard pages. All loans
 * together are the *lending arena*. `flush_end` puts the end of the bytes directly before the upper guard page;
 * otherwise their start lies directly after the lower one.
 *
 * With `image`, the loan stands for [offset, offset+bytes) of space `space_index`:
 *
 *   mode               copied into the loan now   copied back by pkeys_loan_release
 *   PKEYS_LOAN_OUT     no                         yes
 *   PKEYS_LOAN_IN      yes                        no
 *   PKEYS_LOAN_INOUT   yes                        yes
 *
 * These copies are VM code. If other threads' callouts keep the image closed, a copy waits for up to one second; after
 * that it relies on the trap.
 *
 * Who can reach the arena during callouts:
 *
 *   open images have               the arena is open in
 *   pkeys, pkeys-glibc             each callout that was passed a loan, by the loan key
 *   mprotect-page, -range          all callouts, while at least one of them was passed a loan
 *   mprotect-naive                 all callouts or none, by the callout that entered or left last
 *
 * The loan key is allocated with the first loan while an image with a keyed mechanism is open.
 *
 *   -EINVAL  `bytes` is 0 or over PKEYS_MAX_BYTES; the mode or space is unknown; the image is closed
 *   -ERANGE  the range reaches outside the space
 *   -EMFILE  PKEYS_MAX_LOANS loans are live
 *   -ENOSPC  the arena needs the loan key, and no key is left
 */
int pkeys_lend(size_t bytes, struct pkeys_image *image, size_t space_index, size_t offset, enum pkeys_loan_mode mode,
               bool flush_end, struct pkeys_loan *out);
int pkeys_loan_release(uint32_t id); /* -EINVAL if no such loan is live */
/* The id of the live loan that contains [address, address+bytes), or 0. Lock-free and async-signal-safe. */
uint32_t pkeys_find_loan(uintptr_t address, size_t bytes);

/* ---- mechanisms as the gate sees them ---------------------------------------------------------------------------- */

/*
 * The slow gate calls these two on the way into and out of foreign code, with the VM's rights. Enter closes, and leave
 * opens, every image whose mechanism is *hooked*, that is, not done by the fast gate:
 *
 *   mechanism               enter                               leave
 *   mprotect-page, -range   closes if it is the first inside    opens if it is the last inside
 *   mprotect-naive          closes                              opens, whoever else is inside
 *   pkeys-glibc             pkey_set(3) denies, this thread     pkey_set(3) opens, this thread
 *
 * `lent` says that this callout was passed a loan. A callback leaves and enters again, with the same `lent`.
 * Both return 0, or the negative errno of the first mprotect that failed. A failed enter has opened everything again;
 * no leave may follow it.
 * Neither allocates or changes errno. With mprotect-page or -range both take the mechanism lock. A signal handler that
 * interrupted a callout may call both, even on the thread that holds that lock.
 */
int pkeys_enter_foreign(bool lent);
int pkeys_leave_foreign(bool lent);
/*
 * The same for a caller with a number of its own below PKEYS_MAX_CALLERS; the trap passes its thread's slot. Calls may
 * be repeated, and a signal handler on the same thread may interrupt one with the other. The caller is then in or out,
 * as the last call said, and never in twice. A plain count cannot do that: a handler could not see whether the
 * interrupted code had counted already.
 */
#define PKEYS_MAX_CALLERS 1024
int pkeys_enter_foreign_as(unsigned caller, bool lent);
int pkeys_leave_foreign_as(unsigned caller, bool lent);
/* In a child that VM code forked: other threads' callouts do not go on there, so their counts are forgotten and what
 * they had closed is opened. The trap does this for its own. 0 or a negative errno. */
int pkeys_forked(void);

/*
 * The fault handler calls this on a bystander: a VM thread outside callouts that got SEGV_ACCERR at `address`. The
 * function waits, for at most `limit_ns`, until the counted mprotect mechanisms have opened that page. Past the limit
 * it opens the page itself: the callouts inside are unprotected for that window, which is counted.
 *
 *   true   retry the instruction
 *   false  no counted mechanism has closed the page; or the same fault has come back several times while the page was
 *          open (an instruction fetch, for example), so a retry would never end
 *
 * It opens this thread's rights. It is async-signal-safe (futex, clock_gettime, mprotect) and takes no lock, so it
 * returns whoever holds one.
 */
bool pkeys_bystander_wait(uintptr_t address, uint64_t limit_ns);
/* What bystanders have suffered since the process began. */
struct pkeys_bystanders {
  uint64_t faults;    /* faults that were waited for */
  uint64_t waited_ns; /* sum of the waits, in nanoseconds */
  uint64_t windows;   /* times that closed pages were opened although callouts were inside */
};
struct pkeys_bystanders pkeys_bystanders(void);

TURNKEY_API_END
#endif
