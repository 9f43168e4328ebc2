/*
 * signature.h: what generated signatures (signature_generate.mjs) and the test that calls them (signature_test.c)
 * share.
 *
 * A generated callee mixes all that it sees into a hash, makes its result from that hash, and returns; a generated
 * caller calls a function of that signature with values from the pools and mixes the result that it gets. So one call
 * leaves two numbers behind: what the callee saw and what the caller got.
 */
#ifndef TURNKEY_TEST_SIGNATURE_H
#define TURNKEY_TEST_SIGNATURE_H

#include <stdint.h>

typedef void *pointer;
typedef float vector_float __attribute__((vector_size(16)));
typedef int vector_int __attribute__((vector_size(16)));
#ifdef __aarch64__
typedef _Float128 float128;
#else
typedef __float128 float128;
#endif

struct signature {
  void *callee;
  void (*call)(void *function); /* calls `function`, of the callee's type */
  unsigned stack_bytes;         /* exact, a multiple of 8 */
  unsigned number;
  const char *text;
};
struct signature_part {
  const struct signature *signatures;
  const unsigned *count;
};
extern const struct signature_part signature_parts[];
extern const unsigned signature_part_count;

/* New random values in all pools. */
void signature_refill(void);

/* From a callee: on entry (its frame's address tells the stack's alignment), after its last argument, before it
 * returns. From a caller: the call is back. */
void signature_called(unsigned number, void *frame);
void signature_leaves(void);
void signature_made(void);
void signature_got(void);

/* One scalar a line. */
/* clang-format off */
#define SIGNATURE_SCALARS(X) \
  X(b, _Bool) \
  X(c, char) \
  X(sc, signed char) \
  X(uc, unsigned char) \
  X(s, short) \
  X(us, unsigned short) \
  X(i, int) \
  X(ui, unsigned) \
  X(l, long) \
  X(ul, unsigned long) \
  X(ll, long long) \
  X(p, pointer) \
  X(q, __int128) \
  X(uq, unsigned __int128) \
  X(f, float) \
  X(d, double) \
  X(ld, long double) \
  X(cf, float _Complex) \
  X(cd, double _Complex) \
  X(cld, long double _Complex) \
  X(f128, float128) \
  X(vf, vector_float) \
  X(vi, vector_int)
/* clang-format on */
#define SIGNATURE_DECLARE(id, type) \
  void fill_##id(type *to);         \
  void mix_##id(const type *from);
SIGNATURE_SCALARS(SIGNATURE_DECLARE)

#endif
