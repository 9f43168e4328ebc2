/*
 * pkeys_keys.h: the register of rights, what this machine can do, and the keys that this layer owns. Part of pkeys.h,
 * whose rules for return values, threads and signal handlers hold here.
 */
#ifndef TURNKEY_PKEYS_KEYS_H
#define TURNKEY_PKEYS_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <turnkey/export.h>

TURNKEY_API_BEGIN

#define PKEYS_PAGE 4096u
#define PKEYS_KEYS 16 /* architectural: PKRU holds two bits for each of 16 keys (SDM vol. 3A, 4.6.2) */

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
 *   key of the pool of virtual keys  the images' `deny`    in `keep` too: VM code has a right to one of them at most,
 *                                                          which its seat gives it (pkeys_virtual.h)
 */
struct pkeys_masks {
  uint32_t keep;      /* and-mask: the bits of all keys that are not owned; ~0u while no key is owned */
  uint32_t deny;      /* or-mask for a callout without a loan; see the table above */
  uint32_t deny_lent; /* or-mask for a callout that was passed a loan: `deny`, but with the loan key open */
  uint32_t entered;   /* what pkeys_enter_foreign itself denies: rights to images with pkeys-glibc, and to loans then */
  uint32_t entered_lent; /* the same, for a callout that was passed a loan */
  bool hooked;           /* an open image has mechanism mprotect-* or pkeys-glibc, which need enter and leave calls */
  bool keyed;            /* an open image has mechanism pkeys: the gate must write PKRU */
  uint32_t pool;         /* fields of the keys in the pool of virtual keys */
  uint32_t pool_deny;    /* the rights to them that a callout has */
  uint32_t generation;   /* changes whenever the set of owned keys grows: older threads must then open their rights */
};
/* The masks as they are now. Lock-free and async-signal-safe. */
struct pkeys_masks pkeys_masks(void);
/* Sets the one listener, which is the trap. It is called with the current masks: once now, and after each change. A
 * call after a change comes under the registry lock, before a page gets a new key and before an old key is freed. The
 * listener must not call back into this layer, pkeys_seat_keep apart. */
void pkeys_on_change(void (*listener)(const struct pkeys_masks *masks));
/* What takes and gives the locks that the listener takes: it is called around fork(2) inside this layer's own locks, as
 * the listener is. `give` runs in parent and child. Neither may call back into this layer. */
struct pkeys_inner_locks {
  void (*take)(void), (*give)(void);
};
void pkeys_hold_over_fork(struct pkeys_inner_locks locks);
/* Opens all owned keys for this thread: wrpkru(rdpkru & keep). Async-signal-safe. It also works on a thread that has no
 * right to any owned key: one that is older than the runtime key, or one in a signal handler. Does nothing without
 * keys. */
void pkeys_open_thread(void);

TURNKEY_API_END
#endif
