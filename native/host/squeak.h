/*
 * squeak.h: what the files of the Squeak adapter share.
 *
 *   adapter_squeak.c  the adapter: modules, the heap's place, failed callouts, what Smalltalk is told
 *   squeak_ffi.c      the FFI plugin's back end, made anew for 64-bit addresses
 *   squeak_library.c  libraries and functions by number
 *   squeak_memory.c   32-bit handles for 64-bit addresses; objects lent by copy; external memory
 *
 * Debian's squeak-vm keeps 32-bit object pointers (oops) in a 64-bit process: an oop is an offset from `sqMemoryBase`.
 * Its FFI plugin keeps addresses in `int`. So whatever leaves the heap is cut to 32 bits, and no callout with a pointer
 * works as shipped. The adapter gives each 32-bit value that the plugin can hold one meaning:
 *
 *   0                        the null pointer
 *   1 to 2^30 - 1            an offset into the heap, which begins at a multiple of 2^32 for this reason
 *   2^30 to 2^31 - 1         a foreign function (squeak_library.c)
 *   2^31 to 2^32 - 1         external memory, in windows of 16 MiB onto the address space (squeak_memory.c)
 *
 * Everything here runs on the VM's one thread, with the VM's rights.
 */
#ifndef TURNKEY_HOST_SQUEAK_H
#define TURNKEY_HOST_SQUEAK_H

#include "internal.h"

#define SQUEAK_HEAP_LIMIT ((uint32_t)1 << 30)
#define SQUEAK_FUNCTIONS ((uint32_t)1 << 30)
#define SQUEAK_WINDOWS ((uint32_t)1 << 31)

/* The VM's own functions, which its executable exports: name, result, parameters. sqInt is `int` in this VM. */
#define SQUEAK_VM_FUNCTIONS(X)                           \
  X(primitiveFail, int, (void))                          \
  X(failed, int, (void))                                 \
  X(pop, int, (int))                                     \
  X(push, int, (int))                                    \
  X(pushFloat, int, (double))                            \
  X(stackValue, int, (int))                              \
  X(stackIntegerValue, int, (int))                       \
  X(stackObjectValue, int, (int))                        \
  X(booleanValueOf, int, (int))                          \
  X(floatValueOf, double, (int))                         \
  X(fetchClassOf, int, (int))                            \
  X(isBytes, int, (int))                                 \
  X(isIntegerObject, int, (int))                         \
  X(byteSizeOf, int, (int))                              \
  X(firstIndexableField, void *, (int))                  \
  X(classExternalAddress, int, (void))                   \
  X(classByteArray, int, (void))                         \
  X(classString, int, (void))                            \
  X(splObj, int, (int))                                  \
  X(classArray, int, (void))                             \
  X(nilObject, int, (void))                              \
  X(instantiateClassindexableSize, int, (int, int))      \
  X(storePointerofObjectwithValue, int, (int, int, int)) \
  X(pushRemappableOop, int, (int))                       \
  X(popRemappableOop, int, (void))                       \
  X(positive64BitIntegerFor, int, (long long))           \
  X(positive32BitIntegerFor, int, (int))                 \
  X(signed32BitIntegerFor, int, (int))                   \
  X(signed32BitValueOf, int, (int))                      \
  X(positive32BitValueOf, int, (int))                    \
  X(integerObjectOf, int, (int))                         \
  X(sqGetInterpreterProxy, void *, (void))
struct squeak_vm {
#define X(name, result, parameters) result(*name) parameters;
  SQUEAK_VM_FUNCTIONS(X)
#undef X
};
extern struct squeak_vm squeak_vm;

/* Where the heap is; NULL until the VM has mapped it. */
struct squeak_heap {
  char *base;   /* a multiple of 2^32; offset 0 of the heap */
  size_t bytes; /* from offset 16 */
};
extern struct squeak_heap squeak_heap;
static inline bool squeak_in_heap(uint32_t handle) { return handle >= 16 && handle < squeak_heap.bytes + 16; }
/* Whether the mechanism takes the heap's rights away, so that objects are lent by copy. */
bool squeak_heap_closes(void);

/* Fails the primitive that is running; `Turnkey lastFault` then answers this text. printf's formats. */
void squeak_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same under another name than "callout refused". */
void squeak_fail(const char *name, const char *text);
/* Fails it for a fault; `doing` stands in the place of the function's name. */
void squeak_fault(const struct trap_fault *fault, const char *doing);
/* A callout begins: what the last one came to is forgotten. */
void squeak_forget_fault(void);
/* Copies from or to foreign memory with the trap armed. False: it faulted, and the primitive has failed. */
bool squeak_copy(void *destination, const void *source, size_t bytes);
/* A string of at most `limit` bytes with its terminator, so. */
bool squeak_copy_string(char *destination, const char *source, size_t limit, bool *terminated);

/* ---- squeak_ffi.c ---- */

/* Puts the new back end into the plugin that holds `inside`, and its loader into the VM's table of functions. NULL, or
 * one sentence why that cannot be. */
const char *squeak_ffi_repair(const void *inside);

/* ---- squeak_library.c ---- */

/* What replaces the VM's ioLoadModuleOfLength and ioLoadSymbolOfLengthFromModule. `start` is the heap offset of a name.
 * The library's number, from 1; the function's handle. 0: there is none, and the primitive has failed. */
int squeak_load_library(int start, int length);
int squeak_load_function(int start, int length, int library);
/* The function of a handle; NULL for no such handle. */
void *squeak_function(uint32_t handle);

/* ---- squeak_memory.c ---- */

/* The address that a handle stands for. False: it stands for none, and the primitive has failed. */
bool squeak_address(uint32_t handle, void **address);
/* A handle of the windows for an address; 0 for NULL. False: no window is left, and the primitive has failed. */
bool squeak_handle(const void *address, uint32_t *handle);

/* Objects lent for one callout. The copy ends where a page without access begins: what runs past the object faults. */
struct squeak_loan {
  char *copy;
  size_t bytes;
  uint32_t object; /* the heap offset it was copied from, and is copied back to; 0: nothing to copy back to */
  size_t mapped;   /* bytes of a mapping of its own; 0: a slot */
  bool constant;   /* a Symbol, which Smalltalk never writes to */
};
#define SQUEAK_LOANS 40 /* 32 arguments, their structures' copies, and the result */
/* Lends the object at heap offset `object`, all of it. The same object twice in a call is one loan. NULL: the primitive
 * has failed. */
char *squeak_lend_object(uint32_t object);
/* Lends a copy of `bytes` bytes, or zeroed bytes where `source` is NULL. It is not copied back. */
char *squeak_lend_bytes(const void *source, size_t bytes);
/* Ends all loans, and copies objects back where the callout did not fail. False: it wrote to a Symbol, none is copied
 * back, and the primitive has failed. */
bool squeak_loans_end(bool copy_back);
/* The object that a pointer into a loan stands for, as a heap offset; 0: it points into none. */
uint32_t squeak_loan_origin(const void *address);

/* Zeroed memory from malloc, by the image's wish. 0 and false: it failed. */
uint32_t squeak_allocate(int bytes);
bool squeak_free(uint32_t handle);

/* The plugin's memory primitives, by name; NULL for any other name. */
void *squeak_memory_primitive(const char *name);

#endif
