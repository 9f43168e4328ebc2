/*
 * next.c: the functions behind the replaced symbols. dlsym(3), RTLD_NEXT: "the next occurrence of the symbol in the
 * search order after the current object".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
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
  LOOK_UP(ffi_call);
  LOOK_UP(ffi_prep_closure_loc);
#undef LOOK_UP
}

void host_next_find(void) {
  pthread_once(&once, look_up);
  atomic_store_explicit(&host_next_known, true, memory_order_release);
}

void *host_dlsym(void *handle, const char *name) { return host_next()->dlsym(handle, name); }

/* An FFI that is loaded later brings its libffi along privately (RTLD_LOCAL): outside the search order, but open. */
void *host_next_ffi(const char *name) {
  static const char *const names[] = {"libffi.so.8", "libffi.so.7", "libffi.so.6", "libffi.so"};
  void *found = host_next()->dlsym(RTLD_NEXT, name);
  for (size_t i = 0; found == NULL && i < sizeof names / sizeof *names; i++) {
    void *library = dlopen(names[i], RTLD_NOLOAD | RTLD_LAZY);
    if (library != NULL) found = host_next()->dlsym(library, name);
  }
  if (found == NULL) {
    host_say("%s was called, but no libffi is loaded that has it", name);
    abort();
  }
  return found;
}
