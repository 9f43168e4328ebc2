/*
 * cpython.h: what the files of the CPython adapter share.
 *
 *   adapter_cpython.c   which modules are the VM, what becomes of a call, the start
 *   cpython_api.c       CPython's C interface, found by name: it is the program's own
 *   cpython_memory.c    what is closed, and what is meant for foreign writing
 *   cpython_ffi.c       _ctypes and _cffi_backend: where a callout begins and ends for Python
 *   cpython_error.c     turnkey.CalloutError
 *
 * No Python headers: one library serves every CPython that has the layout below. Whatever is not in the stable ABI is
 * checked before it is used (cpython_checked).
 */
#ifndef TURNKEY_HOST_CPYTHON_H
#define TURNKEY_HOST_CPYTHON_H

#include <stdarg.h>

#include "heap.h"
#include "host.h"

typedef struct py_object py_object; /* PyObject */
typedef struct py_frame py_frame;
struct py_buffer;

struct py_allocator { /* PyMemAllocatorEx */
  void *context;
  void *(*malloc)(void *context, size_t bytes);
  void *(*calloc)(void *context, size_t count, size_t bytes);
  void *(*realloc)(void *context, void *address, size_t bytes);
  void (*free)(void *context, void *address);
};
struct py_arenas { /* PyObjectArenaAllocator */
  void *context;
  void *(*alloc)(void *context, size_t bytes);
  void (*free)(void *context, void *address, size_t bytes);
};
enum py_domain { PY_DOMAIN_RAW, PY_DOMAIN_MEM, PY_DOMAIN_OBJ };

typedef py_object *(*py_new_function)(py_object *type, py_object *arguments, py_object *keywords);
typedef int (*py_init_function)(py_object *self, py_object *arguments, py_object *keywords);
struct py_method { /* PyMethodDef */
  const char *name;
  py_object *(*function)(py_object *self, py_object *arguments);
  int flags;
  const char *documentation;
};
typedef py_object *(*py_alloc_function)(py_object *type, intptr_t items);
typedef py_object *(*py_call_function)(py_object *self, py_object *arguments, py_object *keywords);
typedef int (*py_getbuffer_function)(py_object *self, struct py_buffer *view, int flags);

/* clang-format off */
#define PYTHON_FUNCTIONS(X)                                                                          \
  X(const char *, Py_GetVersion, (void))                                                             \
  X(void, PyMem_GetAllocator, (enum py_domain, struct py_allocator *))                               \
  X(void, PyMem_SetAllocator, (enum py_domain, struct py_allocator *))                               \
  X(void, PyObject_GetArenaAllocator, (struct py_arenas *))                                          \
  X(void, PyObject_SetArenaAllocator, (struct py_arenas *))                                          \
  X(void *, PyMem_Malloc, (size_t))                                                                  \
  X(void *, PyMem_Calloc, (size_t, size_t))                                                          \
  X(void *, PyMem_Realloc, (void *, size_t))                                                         \
  X(void, PyMem_Free, (void *))                                                                      \
  X(void *, PyObject_Malloc, (size_t))                                                               \
  X(void, PyObject_Free, (void *))                                                                   \
  X(int, PyImport_AppendInittab, (const char *, py_object *(*)(void)))                               \
  X( py_object *, PyModule_Create2, (void *, int))                                                   \
  X(int, PyModule_AddObject, (py_object *, const char *, py_object *))                               \
  X(py_object *, PyObject_GetAttrString, (py_object *, const char *))                                \
  X(int, PyObject_SetAttrString, (py_object *, const char *, py_object *))                           \
  X(py_object *, PyObject_CallObject, (py_object *, py_object *))                                    \
  X(py_object *, PyObject_CallFunction, (py_object *, const char *, ...))                            \
  X(py_object *, Py_VaBuildValue, (const char *, va_list))                                           \
  X(py_object *, PyTuple_New, (intptr_t))                                                            \
  X(py_object *, PyCFunction_NewEx, (struct py_method *, py_object *, py_object *))                  \
  X( py_object *, PyTuple_GetItem, (py_object *, intptr_t))                                          \
  X(intptr_t, PyTuple_Size, (py_object *))                                                           \
  X(int, PyTuple_SetItem, (py_object *, intptr_t, py_object *))                                      \
  X( py_object *, PyUnicode_FromString, (const char *))                                              \
  X(py_object *, PyLong_FromLong, (long))                                                            \
  X(py_object *, PyLong_FromUnsignedLongLong, (unsigned long long))                                  \
  X(void *, PyType_GetSlot, (py_object *, int))                                                      \
  X(int, PyType_IsSubtype, (py_object *, py_object *))                                               \
  X( py_object *, PyErr_NewExceptionWithDoc, (const char *, const char *, py_object *, py_object *)) \
  X(void, PyErr_SetObject, (py_object *, py_object *))                                               \
  X(void, PyErr_SetString, (py_object *, const char *))                                              \
  X(py_object *, PyErr_Occurred, (void))                                                             \
  X(void, PyErr_Clear, (void))                                                                       \
  X(void, PyErr_Fetch, (py_object **, py_object **, py_object **))                                   \
  X(void, PyErr_NormalizeException, (py_object **, py_object **, py_object **))                      \
  X(void, PyException_SetContext, (py_object *, py_object *))                                        \
  X(void *, PyEval_SaveThread, (void))                                                               \
  X(void, PyEval_RestoreThread, (void *))                                                            \
  X(void *, PyThreadState_Get, (void))                                                               \
  X(py_object *, PyThreadState_GetFrame, (void *))                                                   \
  X(py_object *, PyByteArray_FromStringAndSize, (const char *, intptr_t))                            \
  X(char *, PyByteArray_AsString, (py_object *))                                                     \
  X(void, Py_IncRef, (py_object *))                                                                  \
  X(void, Py_DecRef, (py_object *))

#define PYTHON_DATA(X)  \
  X(PyExc_OSError)      \
  X(PyExc_RuntimeError) \
  X(PyBytes_Type)       \
  X(PyUnicode_Type)     \
  X(PyByteArray_Type)   \
  X(PyType_Type)        \
  X(PyModuleDef_Type)   \
  X(_Py_NoneStruct)
/* clang-format on */

struct python {
  int minor; /* of version 3 */
#define DECLARE(result, name, parameters) result(*name) parameters;
  PYTHON_FUNCTIONS(DECLARE)
#undef DECLARE
#define DECLARE(name) void *name;
  PYTHON_DATA(DECLARE)
#undef DECLARE
};
extern struct python python;

/* ---- cpython_api.c ---- */

/* Finds all of it. NULL, or a sentence that says what is missing. */
const char *cpython_find(void);
/* Whether the type objects of this CPython have the layout that the offsets below stand for. Needs a running
 * interpreter. */
bool cpython_checked(void);

/* PyTypeObject, the same from 3.8 on: offsets, and the numbers by which PyType_GetSlot knows the slots. */
enum py_slot { PY_TP_CALL = 128, PY_TP_AS_BUFFER = 160, PY_TP_INIT = 296, PY_TP_ALLOC = 304, PY_TP_NEW = 312 };
static inline void **py_slot(py_object *type, enum py_slot offset) { return (void **)((char *)type + offset); }
static inline py_object *py_type(const py_object *object) { return ((py_object *const *)object)[1]; }

/* ---- cpython_memory.c ---- */

/* Replaces the allocators. NULL, or a sentence why not. */
const char *cpython_memory_start(void);
/* Whether the replaced allocators are those in use (PYTHONMALLOC and -X dev put others there). Needs a running
 * interpreter. */
bool cpython_memory_in_use(void);
/* Gives the whole heap up: it stays open from now on. */
void cpython_memory_release(void);
/* tp_alloc for types whose instances are meant for foreign writing. */
py_object *cpython_alloc_open(py_object *type, intptr_t items);
/* PyMem_Malloc and its kin for memory that is. */
void *cpython_malloc_open(size_t bytes);
void *cpython_calloc_open(size_t count, size_t bytes);
void *cpython_realloc_open(void *address, size_t bytes);
/* Lets bytearrays move out of the closed heap when their memory is asked for. */
void cpython_open_bytearrays(void);
const char *cpython_object(uintptr_t address, uintptr_t *start, size_t *bytes);

/* ---- cpython_ffi.c ---- */

/* A Python-level call that may hold a callout, innermost first. */
struct cpython_call {
  struct cpython_call *outer;
  bool failed, knows_lock, released; /* whether it says when the GIL is released, and whether it is */
  py_object *frame;                  /* of Python, for a callout that keeps the GIL */
  struct host_failure *failure;
};
extern _Thread_local struct cpython_call *cpython_current;
void *cpython_init_ctypes(void *original);
void *cpython_init_cffi(void *original);

/* ---- cpython_error.c ---- */

/* Makes the module `turnkey` importable. Before the interpreter starts. */
void cpython_error_start(void);
/* Raises turnkey.CalloutError in place of what is raised already, which becomes its context. */
void cpython_raise(const struct host_failure *failure);

#endif
