/*
 * next.c: the functions behind the replaced symbols. dlsym(3), RTLD_NEXT: "the next occurrence of the symbol in the
 * search order after the current object".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "internal.h"

struct host_next host_next_functions;
_Atomic bool host_next_known;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* dlsym is replaced too; dlvsym is not. Its version is 2.2.5 where the C library is older than 2.34 (x86-64). */
static void look_up(void) {
  void *real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
  if (real == NULL) real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
  if (real == NULL) {
    host_say("the C library's dlsym was not found: the program cannot be guarded");
    abort();
  }
  host_next_functions.dlsym = (void *(*)(void *, const char *))(uintptr_t)real;
#define LOOK_UP(name)                                                                                              \
  host_next_functions.name = (__typeof__(host_next_functions.name))(uintptr_t)host_next_functions.dlsym(RTLD_NEXT, \
                                                                                                        #name)
  LOOK_UP(mmap);
  LOOK_UP(munmap);
  LOOK_UP(mprotect);
  LOOK_UP(mremap);
  LOOK_UP(pthread_create);
  LOOK_UP(sigaction);
  LOOK_UP(sigaltstack);
  LOOK_UP(dlclose);
  LOOK_UP(_exit);
  LOOK_UP(execve);
  LOOK_UP(posix_spawn);
#undef LOOK_UP
}

void host_next_find(void) {
  pthread_once(&once, look_up);
  atomic_store_explicit(&host_next_known, true, memory_order_release);
}

void *host_dlsym(void *handle, const char *name) { return host_next()->dlsym(handle, name); }

/* ---- libffi ---------------------------------------------------------------------------------------------------- */

/* Whether an answer is this library's own function: it comes first in the program's search order. */
static bool is_this_library(const void *answer) {
  uintptr_t low;
  size_t bytes;
  host_module_bounds(&once, &low, &bytes);
  return (uintptr_t)answer - low < bytes;
}

/*
 * A module's own libffi: it may carry one inside itself, or bring another version along privately. Asking the module's
 * handle finds the first in it and in what it links. The executable's handle asks the whole search order, and finds
 * this library. Only then is libffi looked for behind this library, and by name. NULL if there is none.
 */
static void *of_module(void *module, const char *name) {
  static const char *const names[] = {"libffi.so.8", "libffi.so.7", "libffi.so.6", "libffi.so"};
  void *found = module == NULL ? NULL : host_next()->dlsym(module, name);
  if (found == NULL || is_this_library(found)) found = host_next()->dlsym(RTLD_NEXT, name);
  for (size_t i = 0; found == NULL && i < sizeof names / sizeof *names; i++) {
    void *library = dlopen(names[i], RTLD_NOLOAD | RTLD_LAZY);
    if (library != NULL) found = host_next()->dlsym(library, name);
  }
  return found;
}

static void end_without(const char *name) {
  host_say("%s was called, but no libffi that has it is loaded: neither in the caller nor as libffi.so.8, .7 or .6. "
           "The program needs its libffi (Debian: libffi8)",
           name);
  abort();
}

void *host_next_ffi(const char *name) {
  void *found = of_module(NULL, name);
  if (found == NULL) end_without(name);
  return found;
}

/* In place of what a libffi lacks: a module may carry a part of one. */
static void no_call(struct host_cif *cif, host_function function, void *result, void **arguments) {
  (void)cif, (void)function, (void)result, (void)arguments;
  end_without("ffi_call");
}
static int no_prepare(void *closure, struct host_cif *cif, host_closure_function function, void *user_data,
                      void *code) {
  (void)closure, (void)cif, (void)function, (void)user_data, (void)code;
  end_without("ffi_prep_closure_loc");
  return -1;
}

#define FFIS 32
static struct host_ffi ffis[FFIS];
static const struct host_ffi of_nobody; /* of 0 bytes: no caller is in it */
const struct host_ffi *_Atomic host_recent_ffi_functions = &of_nobody;
static _Atomic unsigned ffi_count;
HOST_LOCK(ffi_lock)

/* The module's handle stays open: what is found stays where it is. */
static void find_functions(struct host_ffi *ffi, const void *caller) {
  Dl_info info;
  void *module = NULL;
  int saved = errno;
  /* The executable is known to the loader by its empty name. */
  if (dladdr(caller, &info) != 0)
    module = dlopen(info.dli_fname, RTLD_NOLOAD | RTLD_LAZY) ?: dlopen(NULL, RTLD_NOLOAD | RTLD_LAZY);
  void *call = module == NULL ? NULL : host_next()->dlsym(module, HOST_CFFI_CALL);
  if ((uintptr_t)call - ffi->low >= ffi->bytes || is_this_library(call)) call = of_module(module, "ffi_call");
  void *prepare = of_module(module, "ffi_prep_closure_loc");
  ffi->call = call == NULL ? no_call : (void (*)(struct host_cif *, host_function, void *, void **))(uintptr_t)call;
  ffi->prepare = prepare == NULL
                     ? no_prepare
                     : (int (*)(void *, struct host_cif *, host_closure_function, void *, void *))(uintptr_t)prepare;
  errno = saved;
}

const struct host_ffi *host_ffi_find(const void *caller) {
  unsigned count = atomic_load_explicit(&ffi_count, memory_order_acquire);
  for (unsigned i = 0; i < count; i++)
    if ((uintptr_t)caller - ffis[i].low < ffis[i].bytes) return host_recent_ffi_functions = &ffis[i];
  struct host_ffi new = {0}; /* at 0, of 0 bytes: whoever calls from generated code */
  host_module_bounds(caller, &new.low, &new.bytes);
  for (unsigned i = 0; i < count; i++)
    if (ffis[i].low == new.low) return &ffis[i];
  find_functions(&new, caller);
  sigset_t mask;
  host_lock(&ffi_lock, &mask);
  count = atomic_load(&ffi_count);
  const struct host_ffi *kept = NULL;
  for (unsigned i = 0; i < count && kept == NULL; i++)
    if (ffis[i].low == new.low) kept = &ffis[i];
  if (kept == NULL && count < FFIS) {
    ffis[count] = new;
    atomic_store_explicit(&ffi_count, count + 1, memory_order_release);
    kept = &ffis[count];
  }
  host_unlock(&ffi_lock, &mask);
  static _Thread_local struct host_ffi uncached; /* more FFIs than the table holds: looked up on each call */
  if (kept == NULL) uncached = new;
  return kept != NULL ? kept : &uncached;
}
