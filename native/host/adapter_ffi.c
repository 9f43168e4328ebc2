/*
 * adapter_ffi.c: any program that calls foreign functions through libffi (PHP, Guile, Lua's FFIs, a VM of one's own).
 * Nothing is known of its heap, so it gets the trap alone. The example to start from when you write an adapter: a role
 * for each module, and what becomes of a failed callout.
 *
 * A failed callout returns zeros, and nobody tells the program: it cannot see the difference between that and a
 * function that answers 0. TURNKEY_HOST_POLICY says what to do:
 *
 *   continue   (default) the callout returns zeros; each failing function is described on standard error once
 *   abort      it is described, and the process ends by SIGABRT at the first one
 *
 * TURNKEY_HOST_HEAP=anonymous closes what the program's own code maps as private, anonymous, writable memory. For a
 * program that is known to lend none of it to foreign code for writing. Memory from malloc stays open.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

static bool recognises(const struct host_program *program) {
  (void)program;
  return true;
}

/* Libraries that call their own functions through libffi: those are no callouts of the program's. */
static const char *const strangers[] = {"libffi.so", "libgobject-2.0.so", "libwayland-", "libp11-kit.so", "libturnkey"};

static const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

/* Whatever calls ffi_call is an FFI; only the program itself is the VM. A library's functions are foreign code, so a
 * library is an FFI by its name alone: Ruby's fiddle.so, PHP's ffi.so, libguile. */
static enum host_role role(const char *path, bool is_program) {
  if (is_program) return HOST_VM;
  const char *name = file_name(path);
  for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
    if (strncmp(name, strangers[i], strlen(strangers[i])) == 0) return HOST_OTHER;
  static const char *const ffis[] = {"fiddle",   "ffi",     "_ctypes", "_cffi_backend",
                                     "libguile", "libruby", "lgi",     "alien"};
  for (size_t i = 0; i < sizeof ffis / sizeof *ffis; i++)
    if (strncmp(name, ffis[i], strlen(ffis[i])) == 0) return HOST_FFI;
  return HOST_OTHER;
}

static bool anonymous_heap;

static int heap(const struct host_mapping *mapping) {
  const int kind = MAP_PRIVATE | MAP_ANONYMOUS;
  return anonymous_heap && (mapping->flags & kind) == kind && mapping->protection & PROT_WRITE ? 0 : -1;
}

static bool aborts;

static const char *start(void) {
  const char *policy = getenv("TURNKEY_HOST_POLICY"), *which = getenv("TURNKEY_HOST_HEAP");
  aborts = policy != NULL && strcmp(policy, "abort") == 0;
  anonymous_heap = which != NULL && strcmp(which, "anonymous") == 0;
  if (policy != NULL && *policy != 0 && !aborts && strcmp(policy, "continue") != 0)
    return "TURNKEY_HOST_POLICY is neither 'continue' nor 'abort': 'continue' is used";
  return NULL;
}

/* Each function once: a loop that fails a million times is one line. */
void host_fail(const struct host_failure *failure) {
  static _Atomic uint64_t described[256];
  uint64_t function = failure->fault.function;
  bool new = true;
  for (size_t i = 0; i < sizeof described / sizeof *described && new; i++) {
    uint64_t here = 0;
    if (atomic_compare_exchange_strong(&described[i], &here, function)) break;
    new = here != function;
  }
  char text[1024];
  if (new || aborts) host_say("%s", host_failure_text(failure, text, sizeof text));
  if (aborts) abort();
}

static const struct pkeys_space_request spaces[] = {{.name = "heap", .deny = PKEYS_NO_WRITE}};

const struct host_adapter host_adapter_ffi = {
    .name = "ffi",
    .recognises = recognises,
    .role = role,
    .spaces = spaces,
    .space_count = 1,
    .heap = heap,
    .start = start,
    .open = "everything that malloc gives; the program's own mappings unless TURNKEY_HOST_HEAP=anonymous; nobody tells "
            "the program of a failed callout",
};
