/*
 * cpython_ffi.c: _ctypes and _cffi_backend. When the interpreter has loaded such a module and asks for its PyInit
 * function, it gets ours (loader.c). That calls the original, and then replaces a few slots and imports of what the
 * original made:
 *
 *   what is replaced                        for what
 *   tp_call of CFuncPtr and of cffi's CData the error is raised here: where a callout ends for Python
 *   the metatypes of ctypes                 instances of new ctypes types come from the open heap
 *   PyMem_Malloc and its kin, as imported   buffers of instances do too; what belongs to a type does not
 *   PyObject_Malloc, as imported by cffi    its owned memory does
 *   PyEval_SaveThread, _RestoreThread       a PyDLL function is known by the GIL that it keeps: it may use the heap
 *   PyObject_CallFunction and its kin       no errcheck and no restype function is called for a failed callout
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cpython.h"
#include "internal.h"

_Thread_local struct cpython_call *cpython_current __attribute__((tls_model("initial-exec")));

/* ---- the call ------------------------------------------------------------------------------------------------ */

/*
 * A PyDLL function keeps the GIL and may run Python code. If it fails while Python code that it called has not ended,
 * the interpreter's frames are lost with the callee's stack: nothing can go on.
 */
static void check_frames(const struct cpython_call *call) {
  if (call->knows_lock && !call->released && call->frame != NULL) {
    py_object *frame = python.PyThreadState_GetFrame(python.PyThreadState_Get());
    if (frame != call->frame) {
      host_say("a foreign function failed inside Python code that it had called; the interpreter's state is lost");
      abort();
    }
    if (frame != NULL) python.Py_DecRef(frame);
  }
}

static py_object *finish(struct cpython_call *call, py_object *result) {
  cpython_current = call->outer;
  if (__builtin_expect(call->failed, 0)) check_frames(call);
  if (call->frame != NULL) python.Py_DecRef(call->frame);
  if (__builtin_expect(!call->failed, 1)) return result;
  if (result != NULL) python.Py_DecRef(result);
  if (result != NULL || call->failure == NULL) python.PyErr_Clear();
  if (call->failure == NULL) {
    python.PyErr_SetString(*(py_object **)python.PyExc_RuntimeError, "a callout failed, and there is no memory");
    return NULL;
  }
  cpython_raise(call->failure);
  free(call->failure);
  return NULL;
}

static py_call_function ctypes_call;
static bool ctypes_tells_lock;

static py_object *call_ctypes(py_object *self, py_object *arguments, py_object *keywords) {
  struct cpython_call call = {.outer = cpython_current, .knows_lock = ctypes_tells_lock};
  cpython_current = &call;
  return finish(&call, ctypes_call(self, arguments, keywords));
}

static py_call_function cffi_call;
static py_object *call_cffi(py_object *self, py_object *arguments, py_object *keywords) {
  struct cpython_call call = {.outer = cpython_current};
  cpython_current = &call;
  return finish(&call, cffi_call(self, arguments, keywords));
}

/* ---- imports of _ctypes -------------------------------------------------------------------------------------- */

static void *save_thread(void) {
  if (cpython_current != NULL) cpython_current->released = true;
  return python.PyEval_SaveThread();
}
static void restore_thread(void *state) {
  python.PyEval_RestoreThread(state);
  if (cpython_current != NULL) cpython_current->released = false;
}

/*
 * What a type owns (its format, its libffi description) stays closed: callouts have no business there. An instance's
 * buffer is the next thing that _ctypes allocates after the instance itself, unless that has room for it; or it comes
 * from resize.
 */
static _Thread_local bool buffer_next __attribute__((tls_model("initial-exec"))),
    resizing __attribute__((tls_model("initial-exec")));

static py_object *alloc_instance(py_object *type, intptr_t items) {
  py_object *instance = cpython_alloc_open(type, items);
  buffer_next = true;
  return instance;
}
static void *malloc_for_instance(size_t bytes) {
  bool open = buffer_next || resizing;
  buffer_next = false;
  return open ? cpython_malloc_open(bytes) : python.PyMem_Malloc(bytes);
}

static void *calloc_for_instance(size_t count, size_t bytes) {
  bool open = buffer_next || resizing;
  buffer_next = false;
  return open ? cpython_calloc_open(count, bytes) : python.PyMem_Calloc(count, bytes);
}

/* `self` is ctypes' own function. */
static py_object *resize(py_object *self, py_object *arguments) {
  resizing = true;
  py_object *result = python.PyObject_CallObject(self, arguments);
  resizing = false;
  return result;
}

static void replace_resize(py_object *module) {
  static struct py_method method = {"resize", resize, 1 /* METH_VARARGS */, "Resizes the memory of a ctypes instance."};
  py_object *original = python.PyObject_GetAttrString(module, "resize");
  py_object *ours = original == NULL ? NULL : python.PyCFunction_NewEx(&method, original, NULL);
  if (ours != NULL) python.PyObject_SetAttrString(module, "resize", ours);
  if (ours != NULL) python.Py_DecRef(ours);
  if (original != NULL) python.Py_DecRef(original);
}

/* After a failed callout, on the way out of it. The error here is replaced by the callout's (finish). */
static bool has_failed(void) {
  if (cpython_current == NULL || !cpython_current->failed) return false;
  python.PyErr_SetString(*(py_object **)python.PyExc_RuntimeError, "the callout failed");
  return true;
}

#define MOST_ARGUMENTS 16
static py_object *call_with_objects(py_object *callable, ...) {
  if (has_failed()) return NULL;
  py_object *objects[MOST_ARGUMENTS];
  intptr_t count = 0;
  va_list list;
  va_start(list, callable);
  for (py_object *object = va_arg(list, py_object *); object != NULL && count < MOST_ARGUMENTS;
       object = va_arg(list, py_object *))
    objects[count++] = object;
  va_end(list);
  py_object *arguments = python.PyTuple_New(count);
  if (arguments == NULL) return NULL;
  for (intptr_t i = 0; i < count; i++) {
    python.Py_IncRef(objects[i]);
    python.PyTuple_SetItem(arguments, i, objects[i]);
  }
  py_object *result = python.PyObject_CallObject(callable, arguments);
  python.Py_DecRef(arguments);
  return result;
}

/* As PyObject_CallFunction: a tuple is the arguments, everything else is one argument. */
static py_object *call_with_format(py_object *callable, const char *format, ...) {
  if (has_failed()) return NULL;
  va_list list;
  va_start(list, format);
  py_object *built = format == NULL || *format == 0 ? python.PyTuple_New(0) : python.Py_VaBuildValue(format, list);
  va_end(list);
  if (built == NULL) return NULL;
  const unsigned long tuple_subclass = 1ul << 26; /* Py_TPFLAGS_TUPLE_SUBCLASS; tp_flags is at 168 */
  py_object *arguments = built;
  if (!(*(unsigned long *)((char *)py_type(built) + 168) & tuple_subclass)) {
    arguments = python.PyTuple_New(1);
    if (arguments == NULL) return NULL;
    python.PyTuple_SetItem(arguments, 0, built); /* takes the reference */
  }
  py_object *result = python.PyObject_CallObject(callable, arguments);
  python.Py_DecRef(arguments);
  return result;
}

/* ---- ctypes: types whose instances are meant for foreign writing ----------------------------------------------- */

#define METATYPES 6
static struct metatype {
  py_object *type;
  py_new_function new;   /* NULL: inherited from `type`, and left alone */
  py_init_function init; /* the same */
} metatypes[METATYPES];
static unsigned metatype_count;

static const struct metatype *metatype_of(py_object *type) {
  for (unsigned i = 0; i < metatype_count; i++)
    if (python.PyType_IsSubtype(type, metatypes[i].type)) return &metatypes[i];
  return NULL;
}

/* A new type takes tp_alloc from `type`, and tp_call from the method object that CFuncPtr has for it: not by slot. */
static void patch_type(py_object *type) {
  if (metatype_of(py_type(type)) == NULL) return;
  *(py_alloc_function *)py_slot(type, PY_TP_ALLOC) = alloc_instance;
  py_call_function *call = (py_call_function *)py_slot(type, PY_TP_CALL);
  if (*call == ctypes_call) *call = call_ctypes;
}

/* The simple types make their twins of the other byte order by themselves. */
static void patch_new_type(py_object *type) {
  static const char *const twins[] = {"__ctype_be__", "__ctype_le__"};
  patch_type(type);
  for (size_t i = 0; i < sizeof twins / sizeof *twins; i++) {
    py_object *twin = python.PyObject_GetAttrString(type, twins[i]);
    if (twin != NULL) patch_type(twin);
    if (twin != NULL) python.Py_DecRef(twin);
    else python.PyErr_Clear();
  }
}

/* ctypes makes its types in tp_new up to 3.12, in tp_init from 3.13 on. Slots that `type` has given stay: whether they
 * are that is what Python goes by when a metatype of the program's calls type.__new__. */
static py_object *new_type(py_object *metatype, py_object *arguments, py_object *keywords) {
  py_object *type = metatype_of(metatype)->new(metatype, arguments, keywords);
  if (type != NULL) patch_new_type(type);
  return type;
}
static int init_type(py_object *type, py_object *arguments, py_object *keywords) {
  int rc = metatype_of(py_type(type))->init(type, arguments, keywords);
  if (rc == 0) patch_new_type(type);
  return rc;
}

static void patch_metatype(py_object *metatype) {
  struct metatype *entry = &metatypes[metatype_count++];
  py_new_function *new = (py_new_function *)py_slot(metatype, PY_TP_NEW);
  py_init_function *init = (py_init_function *)py_slot(metatype, PY_TP_INIT);
  *entry = (struct metatype){metatype, NULL, NULL};
  if (*new != *(py_new_function *)py_slot(python.PyType_Type, PY_TP_NEW)) {
    entry->new = *new;
    *new = new_type;
  }
  if (*init != *(py_init_function *)py_slot(python.PyType_Type, PY_TP_INIT)) {
    entry->init = *init;
    *init = init_type;
  }
}

static void open_types(py_object *module) {
  static const char *const names[METATYPES] = {"Structure", "Union", "_Pointer", "Array", "_SimpleCData", "CFuncPtr"};
  for (unsigned i = 0; i < METATYPES; i++) {
    py_object *type = python.PyObject_GetAttrString(module, names[i]);
    if (type == NULL) {
      python.PyErr_Clear();
      continue;
    }
    patch_metatype(py_type(type));
    patch_type(type);
    python.Py_DecRef(type);
  }
}

/* ---- the modules --------------------------------------------------------------------------------------------- */

/* Whether what is about to be patched is laid out as this adapter knows it, and memory as it placed it. Otherwise the
 * heap is opened: buffers in it are lent to callees all the time. */
static bool served(const char *module) {
  static int known; /* 1 yes, -1 no */
  if (known != 0) return known > 0;
  const char *why = !cpython_checked()         ? "its types are laid out in another way"
                    : !cpython_memory_in_use() ? "another memory allocator is chosen (PYTHONMALLOC or -X dev)"
                                               : NULL;
  known = why == NULL ? 1 : -1;
  if (why != NULL) {
    cpython_memory_release();
    host_say("Python's heap is open, and failed callouts return zeros: %s (%s)", why, module);
    host_note("Python's heap is open: %s", why);
  } else {
    cpython_open_bytearrays();
  }
  return known > 0;
}

static void import(const void *inside, const char *symbol, const void *replacement) {
  host_import_replace(inside, symbol, replacement, NULL);
}

static const void *ctypes_inside, *cffi_inside;

static void patch_ctypes(py_object *module) {
  if (ctypes_call != NULL || !served("_ctypes")) return;
  py_object *type = python.PyObject_GetAttrString(module, "CFuncPtr");
  if (type == NULL) return;
  ctypes_call = *(py_call_function *)py_slot(type, PY_TP_CALL);
  open_types(module);
  replace_resize(module);
  python.Py_DecRef(type);
  const void *inside = ctypes_inside;
  import(inside, "PyMem_Malloc", (const void *)(uintptr_t)malloc_for_instance);
  import(inside, "PyMem_Calloc", (const void *)(uintptr_t)calloc_for_instance);
  import(inside, "PyMem_Realloc", (const void *)(uintptr_t)cpython_realloc_open);
  ctypes_tells_lock =
      host_import_replace(inside, "PyEval_SaveThread", (const void *)(uintptr_t)save_thread, NULL) == 0 &&
      host_import_replace(inside, "PyEval_RestoreThread", (const void *)(uintptr_t)restore_thread, NULL) == 0;
  import(inside, "PyObject_CallFunctionObjArgs", (const void *)(uintptr_t)call_with_objects);
  import(inside, "PyObject_CallFunction", (const void *)(uintptr_t)call_with_format);
  import(inside, "_PyObject_CallFunction_SizeT", (const void *)(uintptr_t)call_with_format);
}

static void patch_cffi(py_object *module) {
  if (cffi_call != NULL || !served("_cffi_backend")) return;
  /* CData and the types made from it: owned, collected, from a buffer, with a destructor. */
  static const char *const names[] = {"_CDataBase",   "CData",          "__CDataOwn",
                                      "__CDataOwnGC", "__CDataFromBuf", "__CDataGCP"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    py_object *type = python.PyObject_GetAttrString(module, names[i]);
    if (type == NULL) {
      python.PyErr_Clear();
      continue;
    }
    py_call_function *slot = (py_call_function *)py_slot(type, PY_TP_CALL);
    if (cffi_call == NULL && *slot != NULL) cffi_call = *slot;
    if (cffi_call != NULL && *slot == cffi_call) *slot = call_cffi;
    python.Py_DecRef(type);
  }
  import(cffi_inside, "PyObject_Malloc", (const void *)(uintptr_t)cpython_malloc_open);
}

/*
 * PyInit functions come in two kinds: one answers the finished module, the other a definition whose slots the
 * interpreter runs afterwards (PEP 489). Of a definition the slots are copied, with ours behind the others.
 */
struct slot {
  int id;
  void *value;
};
#define SLOT_EXEC 2         /* Py_mod_exec */
#define DEFINITION_SLOTS 72 /* m_slots in PyModuleDef, from 3.5 on */
#define MOST_SLOTS 16

static py_object *patched(py_object *answer, struct slot *slots, int (*execute)(py_object *),
                          void (*patch)(py_object *)) {
  if (answer == NULL) return NULL;
  if (py_type(answer) != python.PyModuleDef_Type) {
    patch(answer);
    return answer;
  }
  struct slot **theirs = (struct slot **)((char *)answer + DEFINITION_SLOTS);
  if (*theirs == slots || *theirs == NULL) return answer;
  unsigned count = 0, execs = 0;
  for (; (*theirs)[count].id != 0; count++)
    if ((*theirs)[count].id == SLOT_EXEC) execs = count + 1;
  if (count + 2 > MOST_SLOTS || execs == 0) {
    host_note("a module's definition has slots that this adapter does not know");
    return answer;
  }
  memcpy(slots, *theirs, execs * sizeof *slots);
  slots[execs] = (struct slot){SLOT_EXEC, (void *)(uintptr_t)execute};
  memcpy(&slots[execs + 1], &(*theirs)[execs], (count - execs + 1) * sizeof *slots);
  *theirs = slots;
  return answer;
}

static int execute_ctypes(py_object *module) {
  patch_ctypes(module);
  python.PyErr_Clear();
  return 0;
}
static py_object *(*original_ctypes)(void);
static py_object *init_ctypes(void) {
  static struct slot slots[MOST_SLOTS];
  return patched(original_ctypes(), slots, execute_ctypes, patch_ctypes);
}
void *cpython_init_ctypes(void *original) {
  original_ctypes = (py_object * (*)(void))(uintptr_t)original;
  ctypes_inside = original;
  return (void *)(uintptr_t)init_ctypes;
}

static int execute_cffi(py_object *module) {
  patch_cffi(module);
  python.PyErr_Clear();
  return 0;
}
static py_object *(*original_cffi)(void);
static py_object *init_cffi(void) {
  static struct slot slots[MOST_SLOTS];
  return patched(original_cffi(), slots, execute_cffi, patch_cffi);
}
void *cpython_init_cffi(void *original) {
  original_cffi = (py_object * (*)(void))(uintptr_t)original;
  cffi_inside = original;
  return (void *)(uintptr_t)init_cffi;
}
