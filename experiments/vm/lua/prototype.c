/* prototype.c: see prototype.h. A recursive descent over the few forms that a prototype has (C11, 6.7.6). */
#include "prototype.h"

#include <ctype.h>
#include <string.h>

struct parser {
  const char *text, *at;
  struct signature *out;
  const char *wrong;
};

static void fail(struct parser *p, const char *why) {
  if (p->wrong == NULL) p->wrong = why;
}

static void skip(struct parser *p) {
  while (isspace((unsigned char)*p->at)) p->at++;
}

static bool take(struct parser *p, const char *sign) {
  skip(p);
  size_t length = strlen(sign);
  if (strncmp(p->at, sign, length) != 0) return false;
  p->at += length;
  return true;
}

static bool in_name(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* The next identifier, not taken; its length, 0 if there is none. */
static size_t peek(struct parser *p) {
  skip(p);
  if (!in_name(*p->at) || isdigit((unsigned char)*p->at)) return 0;
  size_t length = 0;
  while (in_name(p->at[length])) length++;
  return length;
}

static bool is(const char *at, size_t length, const char *word) {
  return strlen(word) == length && strncmp(at, word, length) == 0;
}

static bool word(struct parser *p, const char *wanted) {
  size_t length = peek(p);
  if (!is(p->at, length, wanted)) return false;
  p->at += length;
  return true;
}

static const struct {
  const char *name;
  struct type type;
} known[] = {
    {"size_t", {TYPE_UNSIGNED, 8, false, 0}},    {"ssize_t", {TYPE_SIGNED, 8, false, 0}},
    {"ptrdiff_t", {TYPE_SIGNED, 8, false, 0}},   {"intptr_t", {TYPE_SIGNED, 8, false, 0}},
    {"uintptr_t", {TYPE_UNSIGNED, 8, false, 0}}, {"int8_t", {TYPE_SIGNED, 1, false, 0}},
    {"uint8_t", {TYPE_UNSIGNED, 1, false, 0}},   {"int16_t", {TYPE_SIGNED, 2, false, 0}},
    {"uint16_t", {TYPE_UNSIGNED, 2, false, 0}},  {"int32_t", {TYPE_SIGNED, 4, false, 0}},
    {"uint32_t", {TYPE_UNSIGNED, 4, false, 0}},  {"int64_t", {TYPE_SIGNED, 8, false, 0}},
    {"uint64_t", {TYPE_UNSIGNED, 8, false, 0}},  {"off_t", {TYPE_SIGNED, 8, false, 0}},
};

/* What the specifiers add up to. `opaque`: a name that is known only where it is pointed at. */
struct specifiers {
  struct type type;
  bool constant, character, opaque;
};

static struct specifiers specifiers(struct parser *p) {
  struct specifiers s = {.type = {TYPE_VOID, 0, false, 0}};
  int longs = 0;
  bool is_signed = false, is_unsigned = false, is_short = false, any = false, named = false;
  for (;;) {
    size_t length = peek(p);
    if (length == 0) break;
    const char *at = p->at;
    if (is(at, length, "const")) s.constant = true;
    else if (is(at, length, "volatile") || is(at, length, "restrict") || is(at, length, "extern")) {
    } else if (is(at, length, "long") && !named) longs++, any = true;
    else if (is(at, length, "short") && !named) is_short = any = true;
    else if (is(at, length, "signed") && !named) is_signed = any = true;
    else if (is(at, length, "unsigned") && !named) is_unsigned = any = true;
    else if (is(at, length, "int") && !named) any = true, s.type.kind = TYPE_SIGNED;
    else if (is(at, length, "char") && !named) any = s.character = true;
    else if (named || any) break; /* the declarator's name */
    else if (is(at, length, "void")) named = true;
    else if (is(at, length, "float")) named = true, s.type = (struct type){TYPE_FLOAT, 4, false, 0};
    else if (is(at, length, "double")) named = true, s.type = (struct type){TYPE_DOUBLE, 8, false, 0};
    else if (is(at, length, "bool") || is(at, length, "_Bool"))
      named = true, s.type = (struct type){TYPE_BOOL, 1, false, 0};
    else if (is(at, length, "struct") || is(at, length, "union") || is(at, length, "enum")) {
      bool is_enum = is(at, length, "enum");
      p->at += length;
      length = peek(p);
      if (length == 0) fail(p, "a name was expected");
      named = true;
      if (is_enum) s.type = (struct type){TYPE_UNSIGNED, 4, false, 0};
      else s.opaque = true;
    } else {
      named = s.opaque = true;
      for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is(at, length, known[i].name)) s.type = known[i].type, s.opaque = false;
    }
    p->at += length;
  }
  if (!named && !any) fail(p, "a type was expected");
  if (any) {
    uint8_t bytes = s.character ? 1 : is_short ? 2 : longs > 0 ? 8 : 4;
    bool is_plain = !is_unsigned;
    if (s.character && !is_signed && !is_unsigned) is_plain = true;
    s.type = (struct type){is_plain ? TYPE_SIGNED : TYPE_UNSIGNED, bytes, false, 0};
    size_t length = peek(p);
    if (is(p->at, length, "double")) fail(p, "long double cannot be passed");
  }
  return s;
}

static unsigned parameters(struct parser *p, unsigned index);

/* A whole type with its declarator; `name` gets the declared name, or "". A parameter's function pointer becomes a
 * nested prototype. */
static struct type declaration(struct parser *p, char *name, bool top) {
  struct specifiers s = specifiers(p);
  struct type type = s.type;
  int stars = 0;
  bool constant = s.constant;
  while (take(p, "*")) {
    if (stars > 0) constant = false;
    stars++;
    while (word(p, "const") || word(p, "restrict") || word(p, "volatile")) {}
  }
  if (stars == 0 && s.opaque) fail(p, "this type is not known; a pointer to it could be passed");
  if (stars > 0) {
    bool text = stars == 1 && s.character && s.constant;
    type = (struct type){text ? TYPE_STRING : TYPE_POINTER, 8, stars == 1 && constant, 0};
  }
  name[0] = '\0';
  if (!top && take(p, "(")) {
    if (!take(p, "*")) fail(p, "'*' of a function pointer was expected");
    size_t length = peek(p);
    p->at += length;
    if (!take(p, ")")) fail(p, "')' was expected");
    if (p->wrong != NULL) return type;
    if (p->out->functions > PROTOTYPE_NESTED) {
      fail(p, "too many function pointers");
      return type;
    }
    unsigned index = p->out->functions++;
    p->out->function[index].result = type;
    parameters(p, index);
    return (struct type){TYPE_FUNCTION, 8, false, (uint8_t)index};
  }
  size_t length = peek(p);
  if (length >= PROTOTYPE_NAME) fail(p, "this name is too long");
  else if (length > 0) {
    memcpy(name, p->at, length);
    name[length] = '\0';
  }
  p->at += length;
  if (!top && take(p, "[")) {
    while (*p->at != '\0' && *p->at != ']') p->at++;
    if (!take(p, "]")) fail(p, "']' was expected");
    type = (struct type){TYPE_POINTER, 8, s.constant, 0};
  }
  return type;
}

static unsigned parameters(struct parser *p, unsigned index) {
  if (!take(p, "(")) {
    fail(p, "'(' was expected");
    return 0;
  }
  unsigned count = 0;
  if (take(p, ")")) return 0;
  do {
    if (take(p, "...")) {
      p->out->function[index].variadic = true;
      break;
    }
    if (count == PROTOTYPE_ARGUMENTS) {
      fail(p, "too many parameters");
      break;
    }
    char name[PROTOTYPE_NAME];
    struct type type = declaration(p, name, false);
    if (type.kind == TYPE_VOID) {
      skip(p);
      if (count > 0 || *p->at != ')' || name[0] != '\0') fail(p, "a parameter cannot be void");
      break;
    }
    p->out->function[index].argument[count++] = type;
    p->out->function[index].count = count;
  } while (p->wrong == NULL && take(p, ","));
  if (!take(p, ")")) fail(p, "',' or ')' was expected");
  return count;
}

const char *prototype_parse(const char *text, struct signature *out, size_t *where) {
  struct parser p = {.text = text, .at = text, .out = out};
  memset(out, 0, sizeof *out);
  out->functions = 1;
  struct prototype *main_one = &out->function[0];
  main_one->result = declaration(&p, main_one->name, true);
  if (p.wrong == NULL) parameters(&p, 0);
  take(&p, ";");
  skip(&p);
  if (p.wrong == NULL && *p.at != '\0') fail(&p, "this is too much");
  if (p.wrong == NULL)
    for (unsigned i = 1; i < out->functions; i++)
      if (out->function[i].variadic) fail(&p, "a callback cannot be variadic");
  *where = (size_t)(p.at - text);
  return p.wrong;
}

ffi_type *prototype_ffi(struct type type) {
  switch ((enum type_kind)type.kind) {
    case TYPE_VOID: return &ffi_type_void;
    case TYPE_FLOAT: return &ffi_type_float;
    case TYPE_DOUBLE: return &ffi_type_double;
    case TYPE_BOOL: return &ffi_type_uint8;
    case TYPE_SIGNED:
      return type.bytes == 1   ? &ffi_type_sint8
             : type.bytes == 2 ? &ffi_type_sint16
             : type.bytes == 4 ? &ffi_type_sint32
                               : &ffi_type_sint64;
    case TYPE_UNSIGNED:
      return type.bytes == 1   ? &ffi_type_uint8
             : type.bytes == 2 ? &ffi_type_uint16
             : type.bytes == 4 ? &ffi_type_uint32
                               : &ffi_type_uint64;
    default: return &ffi_type_pointer;
  }
}

ffi_status prototype_prepare(const struct prototype *prototype, ffi_cif *cif, ffi_type **types) {
  for (unsigned i = 0; i < prototype->count; i++) types[i] = prototype_ffi(prototype->argument[i]);
  return ffi_prep_cif(cif, FFI_DEFAULT_ABI, prototype->count, prototype_ffi(prototype->result), types);
}
