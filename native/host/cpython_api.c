/*
 * cpython_api.c: CPython's C interface by name, and the parts of its layout that are used.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpython.h"

struct python python;

const char *cpython_find(void) {
  static char missing[256];
  const char *name = NULL;
#define FIND(result, function, parameters)                                                \
  python.function = (result(*) parameters)(uintptr_t)host_dlsym(RTLD_DEFAULT, #function); \
  if (python.function == NULL && name == NULL) name = #function;
  PYTHON_FUNCTIONS(FIND)
#undef FIND
#define FIND(data)                               \
  python.data = host_dlsym(RTLD_DEFAULT, #data); \
  if (python.data == NULL && name == NULL) name = #data;
  PYTHON_DATA(FIND)
#undef FIND
  int major = 0;
  if (python.Py_GetVersion != NULL) sscanf(python.Py_GetVersion(), "%d.%d", &major, &python.minor);
  if (major != 3 || python.minor < 9) {
    snprintf(missing, sizeof missing,
             "CPython %d.%d cannot be served (3.9 and later can): the trap alone is in place, and failed callouts "
             "return zeros",
             major, python.minor);
    return missing;
  }
  if (name == NULL) return NULL;
  snprintf(missing, sizeof missing,
           "this CPython 3.%d has no %s: the trap alone is in place, and failed callouts return zeros", python.minor,
           name);
  return missing;
}

bool cpython_checked(void) {
  static const struct {
    enum py_slot offset;
    int number; /* Include/typeslots.h, part of the stable ABI */
  } slots[] = {{PY_TP_CALL, 50}, {PY_TP_INIT, 60}, {PY_TP_ALLOC, 47}, {PY_TP_NEW, 65}};
  py_object *type = python.PyErr_NewExceptionWithDoc("turnkey.Probe", NULL, NULL, NULL); /* any heap type */
  if (type == NULL) {
    python.PyErr_Clear();
    return false;
  }
  bool right = true;
  for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
    right = right && *py_slot(type, slots[i].offset) == python.PyType_GetSlot(type, slots[i].number);
  python.Py_DecRef(type);
  return right;
}
