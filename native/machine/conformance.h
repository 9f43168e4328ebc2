/*
 * conformance.h: what the parts of the conformance program share: the register, the calls, faults, and TAP.
 */
#ifndef TURNKEY_MACHINE_CONFORMANCE_H
#define TURNKEY_MACHINE_CONFORMANCE_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096u
#define RIGHT_NO_ACCESS 1u
#define RIGHT_NO_WRITE 2u
#define INIT_PKRU 0x55555554u /* F1, docs/invariants.md */
#define CODE_ACCERR 2
#define CODE_PKUERR 4

/* ---- conformance_keys.c: the register, the calls, and faults ----------------------------------------------------- */

static inline uint32_t rdpkru(void) {
  uint32_t eax, edx;
  __asm__ volatile(".byte 0x0f,0x01,0xee" : "=a"(eax), "=d"(edx) : "c"(0) : "memory");
  return eax;
}

static inline void wrpkru(uint32_t value) {
  __asm__ volatile(".byte 0x0f,0x01,0xef" : : "a"(value), "c"(0), "d"(0) : "memory");
}

static inline void set_rights(int key, uint32_t rights) {
  wrpkru((rdpkru() & ~(3u << (2 * key))) | (rights << (2 * key)));
}

int key_alloc(void);
int key_free(int key);
int key_tag(void *p, size_t n, int prot, int key);
/* Fresh pages, readable and writable; ends the program where there are none. */
volatile uint8_t *map_pages(size_t pages);
/* The ProtectionKey line of /proc/self/smaps for the mapping that holds `p`; -1 where there is none. */
int key_in_smaps(const volatile void *p);

struct fault {
  bool raised;
  int code;
  int key;
  const void *address;
  uint32_t handler_pkru;
};

/* A test that makes an access of its own sets `expecting` and catches the fault by sigsetjmp(resume, 1). */
extern __thread sigjmp_buf resume;
extern __thread volatile bool expecting;
extern __thread struct fault last;
void catch_faults(void);
/* Reads or writes *p under the present rights, and leaves them as they were. */
struct fault try_access(volatile uint8_t *p, bool write_it);

/* ---- conformance_tap.c ------------------------------------------------------------------------------------------- */

bool check(bool good, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void skip(const char *name, const char *why);
void check_fault(const char *name, struct fault f, int code, int key, const volatile void *address);
/* Prints the plan. The program's exit code. */
int tap_end(void);

/* ---- the behaviours ---------------------------------------------------------------------------------------------- */

/* conformance_access.c */
void denied_accesses(int key);
void remapping(int key);
void remote_access(int key);
void reuse(int key);
/* conformance_threads.c. The first returns a key that it has allocated. */
int thread_older_than_key(void);
void inheritance(int key);
void stress(int key_a, int key_b);
/* conformance_cpu.c */
void cmpxchg16b_flags(void);
void counted_clock(void);

#endif
