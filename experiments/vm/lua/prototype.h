/*
 * prototype.h: C prototypes as text, `unsigned long crc32(unsigned long, const char *, unsigned)`, to types that libffi
 * marshals. No Lua, no calls: pure.
 *
 * Understood: the arithmetic types, the usual typedefs of stddef.h and stdint.h, pointers to anything, arrays as
 * parameters, function pointers as parameters, `...`. Not: structures and unions by value, long double, complex
 * numbers, typedef names that are not pointed at.
 */
#ifndef TURNKEY_LUA_PROTOTYPE_H
#define TURNKEY_LUA_PROTOTYPE_H

#include <ffi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOTYPE_ARGUMENTS 16
#define PROTOTYPE_NESTED 4 /* function pointers among the parameters */
#define PROTOTYPE_NAME 64

enum type_kind {
  TYPE_VOID,
  TYPE_SIGNED,
  TYPE_UNSIGNED,
  TYPE_BOOL,
  TYPE_FLOAT,
  TYPE_DOUBLE,
  TYPE_POINTER,
  TYPE_STRING,
  TYPE_FUNCTION
};

struct type {
  uint8_t kind;
  uint8_t bytes;
  bool readable;  /* a pointer to const: foreign code only reads through it */
  uint8_t nested; /* TYPE_FUNCTION: index in signature.function */
};

struct prototype {
  char name[PROTOTYPE_NAME];
  struct type result;
  unsigned count;
  bool variadic;
  struct type argument[PROTOTYPE_ARGUMENTS];
};

/* function[0] is the prototype itself, the others are those of its function pointers. */
struct signature {
  unsigned functions;
  struct prototype function[1 + PROTOTYPE_NESTED];
};

/* Parses `text`. The name may be missing. NULL, or what is wrong; *where is then the offset in the text. */
const char *prototype_parse(const char *text, struct signature *out, size_t *where);
ffi_type *prototype_ffi(struct type type);
/* types[] for libffi; returns what ffi_prep_cif returns. */
ffi_status prototype_prepare(const struct prototype *prototype, ffi_cif *cif, ffi_type **types);

#endif
