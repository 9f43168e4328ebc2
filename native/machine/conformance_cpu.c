/*
 * conformance_cpu.c: what an emulated CPU could get wrong beside keys: flags, and the clock that counts instructions.
 * Intel SDM vol. 2A, CMPXCHG8B/CMPXCHG16B: ZF is set or cleared; CF, PF, AF, SF and OF are not touched.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <time.h>

#include "conformance.h"

/* CF 1, PF 4, AF 10, ZF 40, SF 80, OF 800. */
#define FLAGS_ALL 0x8d5u
#define FLAG_ZERO 0x40u

/*
 * The flags that an arithmetic instruction leaves, read at once (`between` is empty) or after a CMPXCHG16B. An emulator
 * that computes flags lazily may get this wrong (F8), but only where the exchange directly follows the arithmetic. So
 * the asm is one block. popfq before it makes the emulator's last computed flags different ones.
 */
#define FLAGS_OF(operation, between)                                                           \
  __asm__ volatile("sub $128, %%rsp\n\t"                                                       \
                   "pushq $0x202\n\t"                                                          \
                   "popfq\n\t" operation "\n\t" between "\n\t"                                 \
                   "pushfq\n\t"                                                                \
                   "popq %[out]\n\t"                                                           \
                   "lea 128(%%rsp), %%rsp"                                                     \
                   : [out] "=&r"(out), "+a"(low), "+d"(high), [x] "+&r"(x), [cell] "+m"(*cell) \
                   : [y] "r"(y), "b"((uint64_t)5), "c"((uint64_t)6)                            \
                   : "memory", "cc")

static _Alignas(16) volatile unsigned __int128 cell_storage;

static uint64_t flags_of(int which, bool exchange, uint64_t x, uint64_t y, bool equal) {
  volatile unsigned __int128 *cell = &cell_storage;
  *cell = 77;
  uint64_t low = equal ? 77 : 78, high = 0, out = 0;
  if (exchange) {
    switch (which) {
      case 0: FLAGS_OF("addq %[y], %[x]", "lock cmpxchg16b %[cell]"); break;
      case 1: FLAGS_OF("subq %[y], %[x]", "lock cmpxchg16b %[cell]"); break;
      case 2: FLAGS_OF("addb %b[y], %b[x]", "lock cmpxchg16b %[cell]"); break;
      case 3: FLAGS_OF("subl %k[y], %k[x]", "lock cmpxchg16b %[cell]"); break;
      case 4: FLAGS_OF("negw %w[x]", "lock cmpxchg16b %[cell]"); break;
      case 5: FLAGS_OF("incq %[x]", "lock cmpxchg16b %[cell]"); break;
      default: FLAGS_OF("cmpq %[y], %[x]", "cmpxchg16b %[cell]"); break;
    }
  } else {
    switch (which) {
      case 0: FLAGS_OF("addq %[y], %[x]", ""); break;
      case 1: FLAGS_OF("subq %[y], %[x]", ""); break;
      case 2: FLAGS_OF("addb %b[y], %b[x]", ""); break;
      case 3: FLAGS_OF("subl %k[y], %k[x]", ""); break;
      case 4: FLAGS_OF("negw %w[x]", ""); break;
      case 5: FLAGS_OF("incq %[x]", ""); break;
      default: FLAGS_OF("cmpq %[y], %[x]", ""); break;
    }
  }
  return out & FLAGS_ALL;
}

void cmpxchg16b_flags(void) {
  static const char name[] = "CMPXCHG16B changes no flag but ZF";
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 13))) {
    skip(name, "this CPU hides cx16");
    return;
  }
  static const uint64_t values[] = {
      0, 1, 0x7f, 0x80, 0xff, 0x8000, 0x7fffffff, 0x80000000, 0x7fffffffffffffff, 0x8000000000000000, ~0ull};
  enum { VALUES = sizeof values / sizeof values[0] };
  int wrong = 0, tried = 0, first = -1;
  uint64_t seen = 0, wanted = 0;
  for (int which = 0; which < 7; which++)
    for (int i = 0; i < VALUES * VALUES * 2; i++) {
      uint64_t x = values[i / 2 % VALUES], y = values[i / 2 / VALUES];
      bool equal = i & 1;
      uint64_t want = (flags_of(which, false, x, y, equal) & ~(uint64_t)FLAG_ZERO) | (equal ? FLAG_ZERO : 0);
      uint64_t got = flags_of(which, true, x, y, equal);
      bool stored = cell_storage == (equal ? ((unsigned __int128)6 << 64 | 5) : 77);
      tried++;
      if ((got != want || !stored) && wrong++ == 0) {
        first = which;
        seen = got;
        wanted = want;
      }
    }
  check(wrong == 0, name, "%d of %d wrong, first after operation %d: flags 0x%llx, expected 0x%llx", wrong, tried,
        first, (unsigned long long)seen, (unsigned long long)wanted);
}

/* In the counting machine CLOCK_MONOTONIC advances one nanosecond for each instruction. */
static uint64_t loop_ns(uint64_t rounds) {
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(rounds) : : "cc");
  clock_gettime(CLOCK_MONOTONIC, &to);
  return (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000u + (uint64_t)(to.tv_nsec - from.tv_nsec);
}

void counted_clock(void) {
  enum { ROUNDS = 200000 };
  uint64_t least = UINT64_MAX, base = UINT64_MAX;
  for (int i = 0; i < 20; i++) {
    uint64_t empty = loop_ns(1), full = loop_ns(ROUNDS + 1);
    if (empty < base) base = empty;
    if (full < least) least = full;
  }
  uint64_t counted = least - base;
  check(counted >= 2 * ROUNDS && counted < 2 * ROUNDS + ROUNDS / 50, "the clock counts instructions",
        "%llu ns for %d instructions", (unsigned long long)counted, 2 * ROUNDS);
}
