/* ruby_error.c: Turnkey::CalloutError, a StandardError that the call itself raises. */
#define _GNU_SOURCE
#include <signal.h>

#include "ruby.h"

static ruby_value error_class;

static const char *const attributes[] = {"error_name", "error_code", "pc",   "module", "address",   "access",   "space",
                                         "function",   "signal",     "code", "pkey",   "mechanism", "thread_id"};

void ruby_error_define(void) {
  if (error_class != 0) return;
  ruby_value module = ruby.rb_define_module("Turnkey");
  ruby_value class = ruby.rb_define_class_under(module, "CalloutError", *ruby.rb_eStandardError);
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) ruby.rb_define_attr(class, attributes[i], 1, 0);
  error_class = class; /* the constant keeps it alive */
}

static void set_number(ruby_value error, const char *name, uint64_t value) {
  ruby.rb_iv_set(error, name, ruby.rb_ull2inum(value));
}
static void set_text(ruby_value error, const char *name, const char *value) {
  ruby.rb_iv_set(error, name, ruby.rb_str_new_cstr(value));
}

/* An attribute that is not set is nil. */
static void describe(ruby_value error, const struct host_failure *failure) {
  const struct trap_fault *fault = &failure->fault;
  char function[512], module[256];
  bool touches = fault->signal == SIGSEGV || fault->signal == SIGBUS;
  set_text(error, "@error_name", "exception in FFI call");
  set_number(error, "@error_code", (uint64_t)fault->signal);
  set_number(error, "@pc", fault->pc);
  host_module_name(fault->pc, module, sizeof module);
  if (module[0] != 0) set_text(error, "@module", module);
  if (touches && fault->code != SI_KERNEL) set_number(error, "@address", fault->address);
  set_text(error, "@access", host_access_name(fault->access));
  if (fault->space_found) set_text(error, "@space", fault->space_name);
  set_text(error, "@function", host_function_name(failure, function, sizeof function));
  set_text(error, "@signal", host_signal_name(fault->signal));
  set_text(error, "@code", host_code_name(fault->signal, fault->code));
  if (fault->pkey >= 0) set_number(error, "@pkey", (uint64_t)fault->pkey);
  set_text(error, "@mechanism", pkeys_mechanism_name(host_mechanism()));
  set_number(error, "@thread_id", (uint64_t)fault->thread_id);
}

void ruby_raise(const struct host_failure *failure) {
  char message[1024];
  ruby_value error = ruby.rb_exc_new_cstr(error_class, host_failure_text(failure, message, sizeof message));
  describe(error, failure);
  ruby.rb_exc_raise(error);
  __builtin_unreachable();
}
