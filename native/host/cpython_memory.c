/*
 * cpython_memory.c: CPython's heap, closed and open.
 *
 *   what Python takes for                       comes from              callouts
 *   objects and their parts, up to 512 bytes    pymalloc's arenas       may not write
 *   larger ones                                 the closed heap         may not write
 *   ctypes instances and their buffers          the open heap           may write
 *   cffi's owned memory                         the open heap           may write
 *   bytearrays, once their memory was asked for the open heap           may write
 *   the raw domain (PyMem_RawMalloc)            malloc                  may write
 *
 * `bytes` and `str` are closed: what writes there breaks the language. pymalloc itself sends larger requests to malloc;
 * so the allocators of the domains `mem` and `obj` are replaced by ones that ask pymalloc for small objects only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#include "cpython.h"
#include "internal.h"

#define SMALL 512 /* SMALL_REQUEST_THRESHOLD in obmalloc.c: what pymalloc serves */
enum { SPACE_HEAP };

static struct host_heap *closed_heap, *open_heap;
static struct host_heap_bounds closed_bounds, open_bounds;
static struct py_allocator before[3]; /* by domain */
static struct py_arenas arenas_before;

/* The next allocation of this thread is for foreign writing. */
static _Thread_local bool open_next __attribute__((tls_model("initial-exec")));

/* ---- allocators ---------------------------------------------------------------------------------------------- */

static void *allocate(void *context, size_t bytes) {
  if (__builtin_expect(open_next, 0)) {
    open_next = false;
    return host_heap_malloc(open_heap, bytes);
  }
  const struct py_allocator *next = context;
  return bytes <= SMALL ? next->malloc(next->context, bytes) : host_heap_malloc(closed_heap, bytes);
}

static void *allocate_zeroed(void *context, size_t count, size_t bytes) {
  if (__builtin_expect(open_next, 0)) {
    open_next = false;
    return host_heap_calloc(open_heap, count, bytes);
  }
  const struct py_allocator *next = context;
  if (bytes == 0 || count <= SMALL / bytes) return next->calloc(next->context, count, bytes);
  return host_heap_calloc(closed_heap, count, bytes);
}

static void release(void *context, void *address) {
  const struct py_allocator *next = context;
  if (host_heap_holds(&closed_bounds, address)) host_heap_free(closed_heap, address);
  else if (host_heap_holds(&open_bounds, address)) host_heap_free(open_heap, address);
  else next->free(next->context, address);
}

/* Memory stays on its side, however often it changes its size. A pymalloc object that outgrows pymalloc is copied. */
static void *reallocate(void *context, void *address, size_t bytes) {
  const struct py_allocator *next = context;
  if (address == NULL) return allocate(context, bytes);
  if (host_heap_holds(&closed_bounds, address)) return host_heap_realloc(closed_heap, address, bytes);
  if (host_heap_holds(&open_bounds, address)) return host_heap_realloc(open_heap, address, bytes);
  if (bytes <= SMALL) return next->realloc(next->context, address, bytes);
  /* pymalloc alone knows how large it is: as large as can be, it has SMALL bytes. */
  void *new = host_heap_malloc(closed_heap, bytes), *grown = next->realloc(next->context, address, SMALL);
  if (new == NULL || grown == NULL) {
    host_heap_free(closed_heap, new);
    return NULL;
  }
  memcpy(new, grown, SMALL);
  next->free(next->context, grown);
  return new;
}

static void *map_arena(void *context, size_t bytes) {
  (void)context;
  return host_map(SPACE_HEAP, bytes);
}
static void unmap_arena(void *context, void *address, size_t bytes) {
  (void)context;
  host_unmap(address, bytes);
}

const char *cpython_memory_start(void) {
  int rc = host_heap_create(SPACE_HEAP, false, &closed_heap, &closed_bounds);
  if (rc == 0) rc = host_heap_create(SPACE_HEAP, true, &open_heap, &open_bounds);
  if (rc < 0)
    return "there are no addresses for Python's heap (ulimit -v?): the heap is open, the trap alone is in place";
  python.PyObject_GetArenaAllocator(&arenas_before);
  struct py_arenas arenas = {NULL, map_arena, unmap_arena};
  python.PyObject_SetArenaAllocator(&arenas);
  for (enum py_domain domain = PY_DOMAIN_MEM; domain <= PY_DOMAIN_OBJ; domain++) {
    python.PyMem_GetAllocator(domain, &before[domain]);
    struct py_allocator ours = {&before[domain], allocate, allocate_zeroed, reallocate, release};
    python.PyMem_SetAllocator(domain, &ours);
  }
  return NULL;
}

/* By doing: PYTHONMALLOC and -X dev put other allocators in their place, tracemalloc puts one before them. */
bool cpython_memory_in_use(void) {
  bool used = true;
  for (int i = 0; i < 2 && used; i++) {
    open_next = true;
    void *probe = i == 0 ? python.PyMem_Malloc(64) : python.PyObject_Malloc(64);
    used = !open_next && host_heap_holds(&open_bounds, probe);
    open_next = false;
    if (i == 0) python.PyMem_Free(probe);
    else python.PyObject_Free(probe);
  }
  return used;
}

void cpython_memory_release(void) {
  struct pkeys_range range;
  for (uintptr_t at = 0; pkeys_range_next(at, &range); at = range.address + range.bytes)
    pkeys_range_release((void *)range.address, range.bytes);
  atomic_store(&host_state.has_image, false);
}

/* ---- what is meant for foreign writing ----------------------------------------------------------------------- */

/* The object is the first thing that PyType_GenericAlloc allocates; a collection that it starts comes later. */
py_object *cpython_alloc_open(py_object *type, intptr_t items) {
  static py_alloc_function generic;
  if (generic == NULL) generic = (py_alloc_function)(uintptr_t)host_dlsym(RTLD_DEFAULT, "PyType_GenericAlloc");
  open_next = true;
  py_object *object = generic(type, items);
  open_next = false;
  return object;
}

void *cpython_malloc_open(size_t bytes) { return bytes > PTRDIFF_MAX ? NULL : host_heap_malloc(open_heap, bytes); }

void *cpython_calloc_open(size_t count, size_t bytes) { return host_heap_calloc(open_heap, count, bytes); }

void *cpython_realloc_open(void *address, size_t bytes) {
  if (bytes > PTRDIFF_MAX) return NULL;
  if (address == NULL || host_heap_holds(&open_bounds, address)) return host_heap_realloc(open_heap, address, bytes);
  return python.PyMem_Realloc(address, bytes);
}

/* PyByteArrayObject, the same from 3.4 on. */
struct bytearray {
  void *head[3];
  intptr_t allocated;
  char *bytes, *start;
  intptr_t exports;
};

static py_getbuffer_function bytearray_getbuffer;

static int open_bytearray(py_object *self, struct py_buffer *view, int flags) {
  struct bytearray *array = (struct bytearray *)self;
  if (array->exports == 0 && array->allocated > 0 && !host_heap_holds(&open_bounds, array->bytes)) {
    char *moved = host_heap_malloc(open_heap, (size_t)array->allocated);
    if (moved != NULL) {
      memcpy(moved, array->bytes, (size_t)array->allocated);
      char *old = array->bytes;
      array->start = moved + (array->start - old);
      array->bytes = moved;
      python.PyObject_Free(old);
    }
  }
  return bytearray_getbuffer(self, view, flags);
}

void cpython_open_bytearrays(void) {
  py_object *type = python.PyByteArray_Type;
  py_getbuffer_function *slots = *(py_getbuffer_function **)py_slot(type, PY_TP_AS_BUFFER);
  py_object *probe = python.PyByteArray_FromStringAndSize("turnkey", 7);
  if (probe == NULL) return;
  struct bytearray *array = (struct bytearray *)probe;
  char *memory = python.PyByteArray_AsString(probe);
  bool right = array->bytes == memory && array->start == memory && array->exports == 0 && array->allocated >= 7 &&
               array->allocated < 64;
  /* 3.9 answers slots of types made by a program only. */
  if (python.minor >= 10) right = right && (void *)slots[0] == python.PyType_GetSlot(type, 1 /* Py_bf_getbuffer */);
  python.Py_DecRef(probe);
  if (!right) {
    host_note("bytearrays stay closed: this CPython lays them out in another way");
    return;
  }
  if (slots[0] == open_bytearray) return;
  bytearray_getbuffer = slots[0];
  slots[0] = open_bytearray;
}

/* Whether an object of `type` lies `header` bytes before `address`. */
static bool is_inside(uintptr_t address, size_t header, const void *type) {
  struct pkeys_range range;
  uintptr_t object = address - header;
  return pkeys_range_next(object, &range) && range.address <= object && object % 16 == 0 &&
         py_type((py_object *)object) == type;
}

/* ctypes passes the contents of `bytes` and of ASCII `str`: 32 and 48 bytes behind their headers, their size at 16. */
const char *cpython_object(uintptr_t address, uintptr_t *start, size_t *bytes) {
  *start = address;
  if (is_inside(address, 32, python.PyBytes_Type) || is_inside(address, 48, python.PyUnicode_Type)) {
    bool is_bytes = is_inside(address, 32, python.PyBytes_Type);
    *bytes = *(size_t *)(address - (is_bytes ? 32 : 48) + 16) + 1;
    return is_bytes ? "bytes" : "str";
  }
  if (host_heap_holds(&closed_bounds, (void *)address) && host_heap_object(closed_heap, address, start, bytes))
    return "memory of more than 512 bytes";
  return NULL;
}
