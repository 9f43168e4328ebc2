/*
 * loader.c: dlsym, which answers an adapter's function in place of the VM's, and dlclose. dlsym looks at who calls it
 * (RTLD_NEXT), so the replaced one jumps to the C library's with everything as it was: loader_x86_64.S.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "internal.h"

/* Called by loader_x86_64.S. What dlsym answers, or NULL: the C library's answer. *next gets the C library's dlsym. */
void *host_dlsym_asked(void *handle, const char *name, const void *caller, const void **next);

void *host_dlsym_asked(void *handle, const char *name, const void *caller, const void **next) {
  *next = (const void *)(uintptr_t)host_next()->dlsym;
  const struct host_adapter *adapter = host_state.adapter;
  if (name == NULL || handle == RTLD_NEXT || !host_guarding()) return NULL;
  enum host_role role = host_role_of(caller);
  bool wanted = role == HOST_VM && adapter->wants != NULL && adapter->wants(name);
  if (!wanted && role == HOST_OTHER) return NULL;
  void *answer = host_dlsym(handle, name);
  if (answer == NULL) return NULL; /* it is asked again, for dlerror(3) as its caller sees it */
  host_name_function(answer, name);
  if (handle == RTLD_DEFAULT) return NULL; /* what is asked for depends on who asks */
  return wanted ? adapter->symbol(name, answer) : answer;
}

HOST_REPLACES int dlclose(void *handle) {
  int rc = host_next()->dlclose(handle);
  if (host_guarding()) host_modules_forget();
  return rc;
}
