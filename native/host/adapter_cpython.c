/*
 * adapter_cpython.c: CPython 3.9 and later, as the distribution built it: ctypes, and cffi in ABI mode.
 *
 *   callout      a function called through ctypes or cffi that lies outside the interpreter
 *   failed one   raises turnkey.CalloutError, an OSError, from the call itself (cpython_error.c)
 *   closed       every object and what it owns (cpython_memory.c)
 *   open         what is meant for foreign writing: ctypes instances, cffi's owned memory, exported bytearrays; and
 * what is the process's rather than Python's: malloc, static types, interpreter and thread states
 *
 * A PyDLL function keeps the GIL because it uses Python's own interface, which writes to the heap. The trap is armed
 * for it, and the heap stays open.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cpython.h"
#include "internal.h"

static bool recognises(const struct host_program *program) {
  (void)program;
  return host_dlsym(RTLD_DEFAULT, "PyObject_SetArenaAllocator") != NULL &&
         host_dlsym(RTLD_DEFAULT, "Py_GetVersion") != NULL;
}

static enum host_role role(const char *path, bool is_program) {
  const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
  if (is_program || strncmp(name, "libpython3", 10) == 0) return HOST_VM;
  if (strncmp(name, "_ctypes.", 8) == 0 || strncmp(name, "_cffi_backend.", 14) == 0) return HOST_FFI;
  return HOST_OTHER;
}

static bool served = false;

static const char *start(void) {
  const char *why = cpython_find();
  if (why == NULL) why = cpython_memory_start();
  if (why == NULL) cpython_error_start();
  /* ctypes has these by address, not by dlsym. */
  host_name_function(host_dlsym(RTLD_DEFAULT, "memset"), "memset");
  host_name_function(host_dlsym(RTLD_DEFAULT, "memmove"), "memmove");
  served = why == NULL;
  return why;
}

static bool wants(const char *name) {
  return served && (strcmp(name, "PyInit__ctypes") == 0 || strcmp(name, "PyInit__cffi_backend") == 0);
}
static void *symbol(const char *name, void *answer) {
  return strcmp(name, "PyInit__ctypes") == 0 ? cpython_init_ctypes(answer) : cpython_init_cffi(answer);
}

static enum host_decision decide(struct host_call *call, bool own) {
  (void)call;
  if (own) return HOST_STRAIGHT;
  struct cpython_call *python_call = cpython_current;
  if (python_call == NULL || !python_call->knows_lock || python_call->released) return HOST_CALLOUT;
  python_call->frame = python.PyThreadState_GetFrame(python.PyThreadState_Get());
  return HOST_OPEN;
}

/* The GIL may be released: nothing of Python's is touched. The record is copied, because errors on the way out may make
 * callouts of their own. */
static void failed(const struct host_failure *failure) {
  struct cpython_call *call = cpython_current;
  if (call == NULL) {
    host_fail(failure);
    return;
  }
  call->failed = true;
  if (call->failure == NULL) call->failure = malloc(sizeof *failure);
  if (call->failure != NULL) *call->failure = *failure;
}

static const struct pkeys_space_request spaces[] = {{.name = "python heap", .deny = PKEYS_NO_WRITE}};

const struct host_adapter host_adapter_cpython = {
    .name = "cpython",
    .recognises = recognises,
    .role = role,
    .spaces = spaces,
    .space_count = 1,
    .start = start,
    .wants = wants,
    .symbol = symbol,
    .decide = decide,
    .failed = failed,
    .object = cpython_object,
    .open = "ctypes instances and their buffers, cffi's owned memory, bytearrays whose memory was asked for; static "
            "types, interpreter and thread states, and all else that comes from malloc; the whole heap while a PyDLL "
            "function runs",
};
