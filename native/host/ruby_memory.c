/*
 * ruby_memory.c: Ruby's heap, closed and open.
 *
 *   what                                              comes from                      callouts
 *   objects, short strings in them; transient heap    mappings (adapter_ruby.c)       may not write
 *   longer strings, arrays, hashes, code, the VM      libruby's malloc: closed heap   may not write
 *   what Fiddle and the ffi gem allocate              malloc                          may write
 *   a string that is not frozen, once passed as a     the open heap                   may write
 *   pointer
 *
 * "Passed as a pointer" is what Fiddle does with a String for a VOIDP parameter and in Fiddle::Pointer[], and the ffi
 * gem for :pointer and :buffer_*. A CONST_STRING or :string parameter lends nothing; a frozen string is never lent.
 *
 * libruby's malloc and free are replaced where libruby imports them, so no other library's are touched. Extensions may
 * free by free(3) what Ruby allocated, so theirs look at the address too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "heap.h"
#include "ruby.h"

enum { SPACE_HEAP };

static struct host_heap *closed_heap, *open_heap;
static struct host_heap_bounds closed_bounds, open_bounds;

/* Where this thread's next allocations in libruby come from. */
enum source { CLOSED, OPEN, MALLOC };
static _Thread_local enum source source __attribute__((tls_model("initial-exec")));

/* The heap that an address is from; NULL: malloc's. */
static inline struct host_heap *heap_of(const void *address) {
  if (host_heap_holds(&closed_bounds, address)) return closed_heap;
  return host_heap_holds(&open_bounds, address) ? open_heap : NULL;
}
static inline struct host_heap *heap_for_next(void) {
  return __builtin_expect(source == CLOSED, 1) ? closed_heap : source == OPEN ? open_heap : NULL;
}

/* ---- for libruby's imports ---- */

/* What is lent is zeroed: Ruby moves a string's bytes without the zero behind them, which Fiddle then looks for. */
static void *allocate(size_t bytes) {
  struct host_heap *heap = heap_for_next();
  if (heap == NULL) return malloc(bytes);
  return heap == open_heap ? host_heap_calloc(heap, 1, bytes) : host_heap_malloc(heap, bytes);
}

static void *allocate_zeroed(size_t count, size_t bytes) {
  struct host_heap *heap = heap_for_next();
  return heap == NULL ? calloc(count, bytes) : host_heap_calloc(heap, count, bytes);
}

static void release(void *address) {
  struct host_heap *heap = heap_of(address);
  if (heap == NULL) free(address);
  else host_heap_free(heap, address);
}

static size_t usable_size(void *address) {
  struct host_heap *heap = heap_of(address);
  uintptr_t start;
  size_t bytes;
  if (heap == NULL) return malloc_usable_size(address);
  return host_heap_object(heap, (uintptr_t)address, &start, &bytes) ? bytes : 0;
}

/* Memory stays on its side, but for a string that is lent: its bytes move out. */
static void *reallocate(void *address, size_t bytes) {
  if (address == NULL) return allocate(bytes);
  struct host_heap *heap = heap_of(address);
  if (heap == NULL) return realloc(address, bytes);
  if (heap == open_heap || source != OPEN) return host_heap_realloc(heap, address, bytes);
  size_t before = usable_size(address);
  void *moved = host_heap_malloc(open_heap, bytes);
  if (moved == NULL) return NULL;
  memcpy(moved, address, before < bytes ? before : bytes);
  host_heap_free(heap, address);
  return moved;
}

#define FUNCTION(name) ((const void *)(uintptr_t)(name))

void ruby_memory_extension(const void *inside) {
  if (closed_heap == NULL) return;
  ruby_replace(inside, "free", FUNCTION(release));
  ruby_replace(inside, "realloc", FUNCTION(reallocate));
  ruby_replace(inside, "malloc_usable_size", FUNCTION(usable_size));
}

const char *ruby_memory_start(void) {
  int rc = host_heap_create(SPACE_HEAP, false, &closed_heap, &closed_bounds);
  if (rc == 0) rc = host_heap_create(SPACE_HEAP, true, &open_heap, &open_bounds);
  const void *libruby = FUNCTION(ruby.ruby_xmalloc);
  if (rc == 0) rc = host_import_replace(libruby, "free", FUNCTION(release), NULL);
  if (rc == 0) rc = host_import_replace(libruby, "realloc", FUNCTION(reallocate), NULL);
  if (rc < 0) {
    closed_heap = NULL;
    return "Ruby's memory from malloc stays open: there are no addresses for it (ulimit -v?)";
  }
  ruby_replace(libruby, "malloc_usable_size", FUNCTION(usable_size));
  ruby_replace(libruby, "malloc", FUNCTION(allocate));
  ruby_replace(libruby, "calloc", FUNCTION(allocate_zeroed));
  return NULL;
}

/* ---- what is meant for foreign writing ---- */

/* Ruby's own function, with allocations from malloc. Where it raises NoMemoryError, later allocations of this thread
 * stay open: less protection, and nothing that breaks. */
#define FROM_MALLOC(type, call)  \
  do {                           \
    enum source before = source; \
    source = MALLOC;             \
    type result = call;          \
    source = before;             \
    return result;               \
  } while (0)

static void *ffi_xmalloc(size_t bytes) { FROM_MALLOC(void *, ruby.ruby_xmalloc(bytes)); }
static void *ffi_xmalloc2(size_t count, size_t bytes) { FROM_MALLOC(void *, ruby.ruby_xmalloc2(count, bytes)); }
static void *ffi_xcalloc(size_t count, size_t bytes) { FROM_MALLOC(void *, ruby.ruby_xcalloc(count, bytes)); }
static void *ffi_xrealloc(void *old, size_t bytes) { FROM_MALLOC(void *, ruby.ruby_xrealloc(old, bytes)); }
static void *ffi_xrealloc2(void *old, size_t count, size_t bytes) {
  FROM_MALLOC(void *, ruby.ruby_xrealloc2(old, count, bytes));
}
/* A small FFI::Buffer lies in its object's data, and so does the pointer that Fiddle::Pointer#ref lends. */
static ruby_value ffi_object(ruby_value class, size_t bytes, void (*mark)(void *), void (*drop)(void *)) {
  FROM_MALLOC(ruby_value, ruby.rb_data_object_zalloc(class, bytes, mark, drop));
}
static ruby_value ffi_typed_object(ruby_value class, size_t bytes, const void *type) {
  FROM_MALLOC(ruby_value, ruby.rb_data_typed_object_zalloc(class, bytes, type));
}

/* In memory that callouts may not write. */
static bool is_closed(const void *address) {
  struct pkeys_range range;
  return !host_heap_holds(&open_bounds, address) && pkeys_range_next((uintptr_t)address, &range) &&
         range.address <= (uintptr_t)address;
}

/* Past what an object holds, and past what is allocated: Ruby takes new memory for the bytes, and its own ones if they
 * are another string's too. */
static char *lend_string(ruby_value *value) {
  const long embedded = 24;
  char *bytes = ruby.rb_string_value_ptr(value);
  if (!is_closed(bytes) || ruby.rb_obj_frozen_p(*value) != 0 /* Qfalse */) return bytes;
  enum source before = source;
  source = OPEN;
  long room = (long)ruby.rb_str_capacity(*value) + 1;
  ruby.rb_str_modify_expand(*value, room > embedded ? room : embedded);
  source = before;
  return ruby.rb_string_value_ptr(value);
}

void ruby_memory_ffi(const void *inside) {
  if (closed_heap == NULL) return;
  ruby_replace(inside, "ruby_xmalloc", FUNCTION(ffi_xmalloc));
  ruby_replace(inside, "ruby_xmalloc2", FUNCTION(ffi_xmalloc2));
  ruby_replace(inside, "ruby_xcalloc", FUNCTION(ffi_xcalloc));
  ruby_replace(inside, "ruby_xrealloc", FUNCTION(ffi_xrealloc));
  ruby_replace(inside, "ruby_xrealloc2", FUNCTION(ffi_xrealloc2));
  ruby_replace(inside, "rb_data_object_zalloc", FUNCTION(ffi_object));
  ruby_replace(inside, "rb_data_typed_object_zalloc", FUNCTION(ffi_typed_object));
  ruby_replace(inside, "rb_string_value_ptr", FUNCTION(lend_string));
}

const char *ruby_object(uintptr_t address, uintptr_t *start, size_t *bytes) {
  if (host_heap_holds(&closed_bounds, (void *)address) && host_heap_object(closed_heap, address, start, bytes))
    return "memory of Ruby's";
  if (host_heap_holds(&open_bounds, (void *)address) && host_heap_object(open_heap, address, start, bytes))
    return "a lent string";
  return NULL;
}
