/*
 * closure.c: libffi's closures, by which foreign code calls back into the VM. libffi's own trampoline runs with the
 * callee's rights, and reads the heap at most; the function that it calls is the VM's, and is reached by way of a
 * callback thunk. So a closure costs no thunk of its own: there is one for each function of the FFI's, of which an FFI
 * has one or two.
 *
 * The closure's own fields stay as libffi has them: FFIs read `user_data` back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "internal.h"

#define FUNCTIONS 32

static struct {
  _Atomic(host_closure_function) function;
  void *code;
} entries[FUNCTIONS];
HOST_LOCK(lock)

/*
 * On a thread that is in no callout the thunk has come straight through. Either the callee made that thread, which has
 * the rights of the callout that made it, or a VM thread calls a closure by its address. VM code has the VM's rights
 * for its time, and the thread what it had before.
 */
static void enter(unsigned index, struct host_cif *cif, void *result, void **arguments, void *user_data) {
  host_closure_function function = atomic_load_explicit(&entries[index].function, memory_order_acquire);
  bool keys = pkeys_supported();
  bool elsewhere = trap_depth() == 0;
  uint32_t rights = 0;
  if (elsewhere) {
    int saved = errno;
    if (keys) rights = pkeys_rdpkru();
    if (trap_attach() < 0) host_say_once("a thread of foreign code's could not be attached for a callback");
    pkeys_open_thread();
    errno = saved;
  }
  host_this_thread()->callbacks++;
  function(cif, result, arguments, user_data);
  if (elsewhere && keys) pkeys_wrpkru(rights);
}

#define ENTER(n)                                                                                 \
  static void enter_##n(struct host_cif *cif, void *result, void **arguments, void *user_data) { \
    enter(n, cif, result, arguments, user_data);                                                 \
  }
#define EACH(X) \
  X(0)          \
  X(1)          \
  X(2)          \
  X(3)          \
  X(4)          \
  X(5)          \
  X(6)          \
  X(7)          \
  X(8)          \
  X(9)          \
  X(10)         \
  X(11)         \
  X(12)         \
  X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
EACH(ENTER)
#define NAME(n) enter_##n,
static const host_closure_function enters[FUNCTIONS] = {EACH(NAME)};

/* The code for libffi to call in place of `function`, or NULL. */
static host_closure_function guarded_function(host_closure_function function) {
  void *code = NULL;
  sigset_t mask;
  host_lock(&lock, &mask);
  for (unsigned i = 0; i < FUNCTIONS && code == NULL; i++) {
    host_closure_function here = atomic_load(&entries[i].function);
    if (here == function) {
      code = entries[i].code;
    } else if (here == NULL) {
      if (trap_callback((const void *)(uintptr_t)enters[i], 0, &entries[i].code) < 0) break;
      atomic_store_explicit(&entries[i].function, function, memory_order_release);
      code = entries[i].code;
    }
  }
  host_unlock(&lock, &mask);
  return (host_closure_function)(uintptr_t)code;
}

static int prepare(void *closure, struct host_cif *cif, host_closure_function function, void *user_data, void *code,
                   const void *caller) {
  if (host_is_vm_or_ffi(caller)) {
    host_closure_function instead = guarded_function(function);
    if (instead != NULL) function = instead;
    else
      host_say_once("callbacks of more than %d functions cannot be guarded: what they do has the callee's rights",
                    FUNCTIONS);
  }
  return host_ffi_of(caller)->prepare(closure, cif, function, user_data, code);
}

HOST_REPLACES int ffi_prep_closure_loc(void *closure, struct host_cif *cif, host_closure_function function,
                                       void *user_data, void *code);
int ffi_prep_closure_loc(void *closure, struct host_cif *cif, host_closure_function function, void *user_data,
                         void *code) {
  return prepare(closure, cif, function, user_data, code, HOST_CALLER());
}

/* The old name, for closures that are their own code. */
HOST_REPLACES int ffi_prep_closure(void *closure, struct host_cif *cif, host_closure_function function,
                                   void *user_data);
int ffi_prep_closure(void *closure, struct host_cif *cif, host_closure_function function, void *user_data) {
  return prepare(closure, cif, function, user_data, closure, HOST_CALLER());
}
