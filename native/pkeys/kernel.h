/*
 * kernel.h: what this layer asks of the kernel and the CPU, beside the system calls of sys.h. It asks whether keys work
 * here, which kernels break them, and what /proc says of this process's mappings. A file for each platform answers.
 * [handler] as in internal.h.
 */
#ifndef TURNKEY_PKEYS_KERNEL_H
#define TURNKEY_PKEYS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

#endif
