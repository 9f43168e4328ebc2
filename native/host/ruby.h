/*
 * ruby.h: what the files of the Ruby adapter share. Ruby's functions are looked up in the process: no header of Ruby's
 * is needed to build, and none of its structures is read.
 */
#ifndef TURNKEY_HOST_RUBY_H
#define TURNKEY_HOST_RUBY_H

#include "internal.h"

typedef uintptr_t ruby_value; /* VALUE */

/* result, name, arguments: doc/extension.rdoc, include/ruby/internal of Ruby 3.1 */
#define RUBY_API(X)                                                                              \
  X(int, ruby_thread_has_gvl_p, (void))                                                          \
  X(void *, rb_thread_call_without_gvl, (void *(*)(void *), void *, void (*)(void *), void *))   \
  X(void *, rb_thread_call_with_gvl, (void *(*)(void *), void *))                                \
  X(ruby_value, rb_protect, (ruby_value (*)(ruby_value), ruby_value, int *))                     \
  X(void, rb_jump_tag, (int))                                                                    \
  X(void, rb_exc_raise, (ruby_value))                                                            \
  X(ruby_value, rb_exc_new_cstr, (ruby_value, const char *))                                     \
  X(ruby_value, rb_define_module, (const char *))                                                \
  X(ruby_value, rb_define_class_under, (ruby_value, const char *, ruby_value))                   \
  X(void, rb_define_attr, (ruby_value, const char *, int, int))                                  \
  X(ruby_value, rb_iv_set, (ruby_value, const char *, ruby_value))                               \
  X(ruby_value, rb_ull2inum, (unsigned long long))                                               \
  X(ruby_value, rb_str_new_cstr, (const char *))                                                 \
  X(char *, rb_string_value_ptr, (ruby_value *))                                                 \
  X(ruby_value, rb_obj_frozen_p, (ruby_value))                                                   \
  X(size_t, rb_str_capacity, (ruby_value))                                                       \
  X(void, rb_str_modify_expand, (ruby_value, long))                                              \
  X(void *, ruby_xmalloc, (size_t))                                                              \
  X(void *, ruby_xmalloc2, (size_t, size_t))                                                     \
  X(void *, ruby_xcalloc, (size_t, size_t))                                                      \
  X(void *, ruby_xrealloc, (void *, size_t))                                                     \
  X(void *, ruby_xrealloc2, (void *, size_t, size_t))                                            \
  X(ruby_value, rb_data_object_zalloc, (ruby_value, size_t, void (*)(void *), void (*)(void *))) \
  X(ruby_value, rb_data_typed_object_zalloc, (ruby_value, size_t, const void *))

struct ruby_api {
#define FIELD(result, name, arguments) result(*name) arguments;
  RUBY_API(FIELD)
#undef FIELD
  ruby_value *rb_eStandardError;
};
extern struct ruby_api ruby;

/* Makes this module call `replacement` where it imports `symbol`; a module that does not import it stays as it is. */
void ruby_replace(const void *inside, const char *symbol, const void *replacement);

/* ---- ruby_memory.c ---- */
/* Puts Ruby's heap behind the mechanism. NULL, or one clear sentence why that cannot be done. */
const char *ruby_memory_start(void);
/* The module is an extension: what it frees may be Ruby's. */
void ruby_memory_extension(const void *inside);
/* The module is an FFI: what it takes for itself is lent, and so are the strings whose bytes it asks for. */
void ruby_memory_ffi(const void *inside);
const char *ruby_object(uintptr_t address, uintptr_t *start, size_t *bytes);

/* ---- ruby_error.c ---- */
/* Defines Turnkey::CalloutError. With the lock. */
void ruby_error_define(void);
/* Raises it. With the lock. */
void ruby_raise(const struct host_failure *failure) __attribute__((noreturn));

/* ---- ruby_ffi.c ---- */
void ruby_ffi_fiddle(const void *inside);
void ruby_ffi_gem(const void *inside);
void ruby_ffi_failed(const struct host_failure *failure);
void ruby_ffi_returned(struct host_call *call, bool failed);

#endif
