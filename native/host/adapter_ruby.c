/*
 * adapter_ruby.c: Ruby 3.1, as Debian has it, with Fiddle and the ffi gem.
 *
 *   ruby_memory.c   the heap: pages of objects, and what Ruby takes from malloc
 *   ruby_ffi.c      callouts and callbacks of Fiddle and of the ffi gem
 *   ruby_error.c    Turnkey::CalloutError
 *
 * The extensions are patched when Ruby asks dlsym for their Init function, before any of their code has run.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/mman.h>

#include "ruby.h"

struct ruby_api ruby;

static bool recognises(const struct host_program *program) {
  (void)program;
  return host_dlsym(RTLD_DEFAULT, "ruby_init") != NULL &&
         host_dlsym(RTLD_DEFAULT, "rb_thread_call_without_gvl") != NULL;
}

static bool starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

static enum host_role role(const char *path, bool is_program) {
  const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
  if (is_program || starts_with(name, "libruby")) return HOST_VM;
  return strcmp(name, "fiddle.so") == 0 || strcmp(name, "ffi_c.so") == 0 ? HOST_FFI : HOST_OTHER;
}

static const struct pkeys_space_request spaces[] = {{.name = "heap", .deny = PKEYS_NO_WRITE}};

/* Pages of objects and the transient heap are anonymous mappings of libruby's, asked for anywhere. Its other ones are
 * stacks of fibers, which say so, and code. */
static int heap(const struct host_mapping *mapping) {
  const int kind = MAP_PRIVATE | MAP_ANONYMOUS, access = PROT_READ | PROT_WRITE;
  bool objects = (mapping->flags & (kind | MAP_STACK | MAP_FIXED)) == kind && mapping->protection == access;
  return objects ? 0 : -1;
}

void ruby_replace(const void *inside, const char *symbol, const void *replacement) {
  int rc = host_import_replace(inside, symbol, replacement, NULL);
  if (rc < 0 && rc != -2 /* ENOENT */) host_note("%s could not be replaced in an extension of Ruby's", symbol);
}

static const char *start(void) {
#define LOOK_UP(result, name, arguments)                  \
  *(void **)&ruby.name = host_dlsym(RTLD_DEFAULT, #name); \
  if (ruby.name == NULL) return "this Ruby has no " #name ": the trap alone is in place, and prints what failed";
  RUBY_API(LOOK_UP)
  ruby.rb_eStandardError = host_dlsym(RTLD_DEFAULT, "rb_eStandardError");
  return ruby_memory_start();
}

static bool wants(const char *name) { return starts_with(name, "Init_"); }

static void *symbol(const char *name, void *answer) {
  if (ruby.rb_eStandardError == NULL) return answer;
  ruby_memory_extension(answer);
  if (strcmp(name, "Init_fiddle") == 0) ruby_ffi_fiddle(answer);
  if (strcmp(name, "Init_ffi_c") == 0) ruby_ffi_gem(answer);
  return answer;
}

const struct host_adapter host_adapter_ruby = {
    .name = "ruby",
    .recognises = recognises,
    .role = role,
    .spaces = spaces,
    .space_count = sizeof spaces / sizeof *spaces,
    .heap = heap,
    .start = start,
    .wants = wants,
    .symbol = symbol,
    .returned = ruby_ffi_returned,
    .failed = ruby_ffi_failed,
    .object = ruby_object,
    .open = "strings that are not frozen, from the first time that a program passes them as a pointer; what Fiddle and "
            "the ffi gem allocate; memory that extensions take from malloc themselves; stacks of threads and fibers",
};
