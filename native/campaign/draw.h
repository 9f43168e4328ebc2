/*
 * draw.h: the fault space, and how a fault is drawn from it. Pure: a fault depends on the seed, its index and the
 * plan's strata alone, so that it is the same under every mechanism. src/campaign/draw.ts draws the same in TypeScript.
 */
#ifndef TURNKEY_CAMPAIGN_DRAW_H
#define TURNKEY_CAMPAIGN_DRAW_H

#include <stdbool.h>
#include <stdint.h>

/* The strata of the stand-in, in the order of indices: fault i belongs to stratum i % STRATA. */
/* clang-format off */
#define CAMPAIGN_STRATA(X)                                                                                        \
  X(EDEN, "eden") X(SURVIVOR, "survivor") X(OLD, "old") X(CODE, "code") X(STACK, "stack")                         \
  X(HEAP, "heap") X(CALLEE_HEAP, "callee-heap") X(VM_STACK, "vm-stack") X(FOREIGN_STACK, "foreign-stack")         \
  X(OTHER_STACKS, "other-stacks") X(TLS, "tls") X(VM_GLOBALS, "vm-globals") X(LIBC_GLOBALS, "libc-globals")       \
  X(CALLEE_GLOBALS, "callee-globals") X(TRAP, "trap") X(LENT, "lent") X(NEIGHBOUR, "neighbour")                   \
  X(UNTOUCHED, "untouched") X(UNMAPPED, "unmapped") X(OVERRUN, "overrun") X(STALE, "stale") X(LEFT, "left-behind")
/* clang-format on */
#define CAMPAIGN_NAME(id, name) STRATUM_##id,
enum stratum { CAMPAIGN_STRATA(CAMPAIGN_NAME) STRATA };
#undef CAMPAIGN_NAME
#define IMAGE_STRATA (STRATUM_STACK + 1) /* one for each space of the image */

enum moment { MOMENT_BEFORE, MOMENT_MIDDLE, MOMENT_END, MOMENT_CALLBACK, MOMENT_THREAD, MOMENT_AFTER, MOMENTS };
enum means { MEANS_BIT, MEANS_ZERO, MEANS_NOISE, MEANS_POINTER, MEANS_RUN, MEANS_KERNEL, MEANS };
/* Where the three strata without bytes of their own take their address from. */
enum overrun { OVERRUN_HEAP, OVERRUN_STACK, OVERRUN_LENT, OVERRUN_NEIGHBOUR, OVERRUNS };
enum stale { STALE_FREED, STALE_OBJECT, STALE_LOAN, STALES };
enum left_kind { LEFT_POINTER, LEFT_LENGTH, LEFT_STRING, LEFT_WORD, LEFT_ARGUMENT, LEFTS };

/* What a stratum's faults are: stores at a byte of it, or one of the four that have no bytes of their own. */
enum fault_kind { KIND_PLACED, KIND_UNMAPPED, KIND_OVERRUN, KIND_STALE, KIND_LEFT };

/* The strata of one program, in the order of indices. */
#define MOST_STRATA 32
struct fault_space {
  unsigned strata;
  const char *names[MOST_STRATA];
  uint8_t kinds[MOST_STRATA]; /* enum fault_kind */
  bool favours_first;         /* every second fault is into the first stratum; the others share the rest */
  uint8_t overruns;           /* kinds of overrun that the program has */
};

#define LARGEST_RUN 4096u

struct fault {
  uint64_t index;
  uint64_t position; /* byte offset in the stratum; for UNMAPPED, which of the random addresses; else random */
  uint64_t noise;
  uint32_t bytes;
  uint8_t stratum, kind, moment, means, source, bit;
};

extern const struct fault_space stand_in_space;
/* Word `which` of the fault: splitmix64 of the three numbers. */
uint64_t draw_word(uint64_t seed, uint64_t index, uint64_t which);
/* `stratum_bytes`: sizes of the strata, 0 where a stratum has no bytes of its own. */
void draw_fault(uint64_t seed, uint64_t index, const struct fault_space *space, const uint64_t *stratum_bytes,
                struct fault *out);
/* Fills `bytes` bytes with the noise of a fault. */
void draw_noise(uint64_t noise, void *to, uint32_t bytes);

#endif
