/*
 * cpython_error.c: turnkey.CalloutError, an OSError, and the built-in module `turnkey` that holds it. A program that
 * also runs unguarded catches OSError.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "cpython.h"

static const char documentation[] =
    "A foreign function failed: it faulted, aborted, or wrote where it must not.\n\n"
    "errorName    'exception in FFI call'\n"
    "errorCode    the number of the signal\n"
    "pc           the address of the instruction\n"
    "module       the file name of the module that pc lies in, or None\n"
    "address      the address that it touched, or None\n"
    "access       'read', 'write', 'execute' or 'unknown'\n"
    "space        the space of Python's heap that the address lies in, or None\n"
    "function     the name of the function that was called\n"
    "signal, code the names of signal and signal code, such as 'SIGSEGV' and 'SEGV_PKUERR'\n"
    "pkey         the protection key of the page, or None\n"
    "mechanism    what protected the heap: 'pkeys', 'mprotect-range', 'flag' (nothing), …\n"
    "threadId     the kernel's id of the thread";

static py_object *error_class; /* lives as long as the process */

static py_object *class(void) {
  if (error_class == NULL)
    error_class = python.PyErr_NewExceptionWithDoc("turnkey.CalloutError", documentation,
                                                   *(py_object **)python.PyExc_OSError, NULL);
  return error_class;
}

/* PyModuleDef, without what this module does not have. */
struct definition {
  struct {
    intptr_t references;
    void *type, *init;
    intptr_t index;
    void *copy;
  } base;
  const char *name, *documentation;
  intptr_t bytes;
  void *methods, *slots, *traverse, *clear, *free;
};

static py_object *init_module(void) {
  static struct definition definition = {
      .base = {.references = 1}, .name = "turnkey", .documentation = "Errors of guarded foreign calls.", .bytes = -1};
  const int api_version = 1013;
  py_object *module = python.PyModule_Create2(&definition, api_version), *error = class();
  if (module == NULL || error == NULL) return NULL;
  python.Py_IncRef(error);
  python.PyModule_AddObject(module, "CalloutError", error);
  return module;
}

void cpython_error_start(void) { python.PyImport_AppendInittab("turnkey", init_module); }

static py_object *none(void) {
  python.Py_IncRef(python._Py_NoneStruct);
  return python._Py_NoneStruct;
}
static py_object *number(uint64_t value) { return python.PyLong_FromUnsignedLongLong(value); }
static py_object *text(const char *value) { return python.PyUnicode_FromString(value); }

static void set(py_object *error, const char *name, py_object *value) {
  if (value != NULL) {
    python.PyObject_SetAttrString(error, name, value);
    python.Py_DecRef(value);
  }
  python.PyErr_Clear();
}

static void describe(py_object *error, const struct host_failure *failure) {
  const struct trap_fault *fault = &failure->fault;
  char function[512], module[256];
  bool touches = fault->signal == SIGSEGV || fault->signal == SIGBUS;
  set(error, "errorName", text("exception in FFI call"));
  set(error, "errorCode", number((uint64_t)fault->signal));
  set(error, "pc", number(fault->pc));
  host_module_name(fault->pc, module, sizeof module);
  set(error, "module", module[0] != 0 ? text(module) : none());
  set(error, "address", touches && fault->code != SI_KERNEL ? number(fault->address) : none());
  set(error, "access", text(host_access_name(fault->access)));
  set(error, "space", fault->space_found ? text(fault->space_name) : none());
  set(error, "function", text(host_function_name(failure, function, sizeof function)));
  set(error, "signal", text(host_signal_name(fault->signal)));
  set(error, "code", text(host_code_name(fault->signal, fault->code)));
  set(error, "pkey", fault->pkey >= 0 ? number((uint64_t)fault->pkey) : none());
  set(error, "mechanism", text(pkeys_mechanism_name(host_mechanism())));
  set(error, "threadId", number((uint64_t)fault->thread_id));
}

void cpython_raise(const struct host_failure *failure) {
  py_object *type, *context, *traceback;
  python.PyErr_Fetch(&type, &context, &traceback);
  if (type != NULL) python.PyErr_NormalizeException(&type, &context, &traceback);
  char message[1024];
  host_failure_text(failure, message, sizeof message);
  py_object *error = class() == NULL ? NULL : python.PyObject_CallFunction(class(), "is", EFAULT, message);
  if (error != NULL) {
    describe(error, failure);
    if (context != NULL) python.PyException_SetContext(error, context); /* takes the reference */
    context = NULL;
    python.PyErr_SetObject(class(), error);
    python.Py_DecRef(error);
  }
  if (type != NULL) python.Py_DecRef(type);
  if (context != NULL) python.Py_DecRef(context);
  if (traceback != NULL) python.Py_DecRef(traceback);
}
