/*
 * squeak_ffi.c: the back end of Squeak's FFI plugin (so.SqueakFFIPrims), for 64-bit addresses. The plugin checks types
 * and converts between objects and C; it calls its back end, functions of its own named ffi..., through its linkage
 * table. The table is overwritten: the plugin's own back end keeps addresses in `int`. The interface is the plugin's
 * sqFFI.h: `int` for every value, a type as words of flags.
 *
 * The plugin calls in this order: ffiInitialize, ffiCanReturn, ffiPush… for each argument, ffiCallAddressOfWith…,
 * ffiStoreStructure for a structure, ffiCleanup.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "squeak.h"

/* ---- types ---- */

/* Words of a type, as the image compiles it. */
#define FLAG_STRUCTURE 0x10000
#define FLAG_POINTER 0x20000
#define FLAG_ATOMIC 0x40000
#define SIZE_MASK 0xffff
#define ATOMIC(word) ((unsigned)(word) >> 24 & 15u)
enum { TYPE_VOID, TYPE_CHAR = 10, TYPE_FLOAT = 12, TYPE_DOUBLE, ATOMIC_TYPES };

/* libffi's descriptions (ffi.h), by the number of the atomic type; unsigned before signed. */
#define FFI_TYPE(bytes, number) {bytes, bytes, number, NULL}
static struct host_ffi_type types[ATOMIC_TYPES] = {
    {1, 1, 0, NULL}, FFI_TYPE(1, 5),  FFI_TYPE(1, 5),  FFI_TYPE(1, 6), FFI_TYPE(2, 7), FFI_TYPE(2, 8), FFI_TYPE(4, 9),
    FFI_TYPE(4, 10), FFI_TYPE(8, 11), FFI_TYPE(8, 12), FFI_TYPE(1, 5), FFI_TYPE(1, 6), FFI_TYPE(4, 2), FFI_TYPE(8, 3)};
static struct host_ffi_type pointer_type = FFI_TYPE(8, 14);
#define FFI_TYPE_STRUCTURE 13
#define FFI_UNIX64 2 /* the default ABI on x86-64 */

/* ---- the call that is being put together ---- */

#define ARGUMENTS 32
static struct {
  unsigned count;
  struct host_ffi_type *types[ARGUMENTS], structures[ARGUMENTS + 1], *result_type;
  void *values[ARGUMENTS];
  uint64_t words[ARGUMENTS];
  unsigned structure_count;
  int result_word; /* the first word of the result's type */
  union {
    uint64_t word;
    float single;
    double real;
  } result;
  char structure[SIZE_MASK + 1];
} call;

static int initialize(void) {
  squeak_forget_fault();
  call.count = call.structure_count = 0;
  call.result_type = NULL;
  return 1;
}

static int cleanup(void) {
  for (unsigned i = 0; i < call.structure_count; i++) free(call.structures[i].elements);
  call.structure_count = 0;
  (void)squeak_loans_end(false);
  return 1;
}

/* A value of up to 8 bytes. */
static int push(struct host_ffi_type *type, const void *value) {
  if (call.count == ARGUMENTS) {
    squeak_refuse("a callout takes no more than %d arguments", ARGUMENTS);
    return 0;
  }
  memcpy(&call.words[call.count], value, type->size);
  call.values[call.count] = &call.words[call.count];
  call.types[call.count++] = type;
  return 1;
}

#define PUSH_INTEGER(name, number) \
  static int name(int value) { return push(&types[number], &value); }
PUSH_INTEGER(push_unsigned_byte, 2)
PUSH_INTEGER(push_signed_byte, 3)
PUSH_INTEGER(push_unsigned_short, 4)
PUSH_INTEGER(push_signed_short, 5)
PUSH_INTEGER(push_unsigned_int, 6)
PUSH_INTEGER(push_signed_int, 7)
PUSH_INTEGER(push_unsigned_char, 10)
PUSH_INTEGER(push_signed_char, 11)
static int push_long_long(struct host_ffi_type *type, int low, int high) {
  uint64_t value = (uint64_t)(uint32_t)high << 32 | (uint32_t)low;
  return push(type, &value);
}
static int push_unsigned_long_long(int low, int high) { return push_long_long(&types[8], low, high); }
static int push_signed_long_long(int low, int high) { return push_long_long(&types[9], low, high); }
static int push_single(double value) {
  float single = (float)value;
  return push(&types[TYPE_FLOAT], &single);
}
static int push_double(double value) { return push(&types[TYPE_DOUBLE], &value); }

static int push_pointer(int handle) {
  uint32_t value = (uint32_t)handle;
  void *address = NULL;
  if (squeak_in_heap(value)) {
    if ((address = squeak_lend_object(value)) == NULL) return 0;
  } else if (value >= SQUEAK_FUNCTIONS && value < SQUEAK_WINDOWS) {
    address = squeak_function(value);
  } else if (!squeak_address(value, &address)) {
    return 0;
  }
  return push(&pointer_type, &address);
}

/* A String for a `char *`: a copy with a terminator, which nobody copies back. */
static int push_string(int start, int length) {
  char *copy = squeak_lend_bytes(NULL, (size_t)length + 1);
  if (copy == NULL) return 0;
  memcpy(copy, squeak_heap.base + (uint32_t)start, (size_t)length);
  return push(&pointer_type, &copy);
}

/* The description of a structure, from its type's words in the heap. NULL: the primitive has failed. */
static struct host_ffi_type *structure_type(const int *words, int count) {
  struct host_ffi_type **elements = calloc((size_t)count + 1, sizeof *elements);
  struct host_ffi_type *type = &call.structures[call.structure_count];
  size_t members = 0, end = 0, alignment = 1;
  for (int i = 0; elements != NULL && i < count; i++) {
    struct host_ffi_type *member = NULL;
    if (words[i] & FLAG_POINTER) member = (words[i] & SIZE_MASK) == 8 ? &pointer_type : NULL;
    else if (words[i] & FLAG_ATOMIC && ATOMIC(words[i]) > TYPE_VOID && ATOMIC(words[i]) < ATOMIC_TYPES)
      member = &types[ATOMIC(words[i])];
    else continue; /* the head of this structure or of one within it */
    if (member == NULL) {
      free(elements);
      squeak_refuse("a structure with pointers of 4 bytes has no counterpart here, where pointers have 8");
      return NULL;
    }
    end = (end + member->alignment - 1) / member->alignment * member->alignment + member->size;
    if (member->alignment > alignment) alignment = member->alignment;
    elements[members++] = member;
  }
  end = (end + alignment - 1) / alignment * alignment;
  if (elements == NULL || members == 0 || end != (size_t)(words[0] & SIZE_MASK)) {
    free(elements);
    squeak_refuse("a structure of %d bytes whose members need %zu", words[0] & SIZE_MASK, end);
    return NULL;
  }
  *type = (struct host_ffi_type){end, (unsigned short)alignment, FFI_TYPE_STRUCTURE, elements};
  call.structure_count++;
  return type;
}

static int push_structure(int handle, int *specification, int count) {
  uint32_t value = (uint32_t)handle;
  if (call.count == ARGUMENTS) return push(&pointer_type, &value);
  struct host_ffi_type *type = structure_type((const int *)(squeak_heap.base + (uint32_t)(uintptr_t)specification),
                                              count);
  if (type == NULL) return 0;
  void *source = squeak_heap.base + value;
  if (!squeak_in_heap(value)) {
    if (!squeak_address(value, &source)) return 0;
    void *copy = squeak_lend_bytes(NULL, type->size);
    if (copy == NULL || !squeak_copy(copy, source, type->size)) return 0;
    source = copy;
  }
  call.values[call.count] = source;
  call.types[call.count++] = type;
  return 1;
}

/* ---- calling ---- */

static int can_return(int *specification, int count) {
  const int *words = (const int *)(squeak_heap.base + (uint32_t)(uintptr_t)specification);
  call.result_word = words[0];
  if (words[0] & FLAG_POINTER || !(words[0] & FLAG_STRUCTURE)) return 1;
  call.result_type = structure_type(words, count);
  return call.result_type != NULL;
}

static int supports_convention(int type) { return type == 0; /* cdecl */ }

/* Declared here, since libffi's header is no condition for building this. */
void ffi_call(struct host_cif *cif, host_function function, void *result, void **arguments);
typedef int prepare(struct host_cif *, int abi, unsigned count, struct host_ffi_type *, struct host_ffi_type **);

/* Makes the call. False: it failed, and so has the primitive. */
static bool make_call(int handle, struct host_ffi_type *type) {
  static prepare *prepare_cif;
  struct host_cif cif;
  void *function = squeak_function((uint32_t)handle);
  if (prepare_cif == NULL) prepare_cif = (prepare *)(uintptr_t)host_next_ffi("ffi_prep_cif");
  if (function == NULL || prepare_cif(&cif, FFI_UNIX64, call.count, type, call.types) != 0) {
    squeak_refuse("16r%08X is no foreign function, or libffi does not know the call", (unsigned)handle);
    return false;
  }
  void *result = &call.result;
  call.result.word = 0;
  if (type->type == FFI_TYPE_STRUCTURE && (result = squeak_lend_bytes(NULL, type->size)) == NULL) return false;
  uint64_t before = host_failures();
  ffi_call(&cif, (host_function)(uintptr_t)function, result, call.values);
  bool done = host_failures() == before;
  if (done && result != &call.result) memcpy(call.structure, result, type->size);
  return done;
}

/* A C string for the plugin, which reads it at a sign-extended `int`: below 2 GiB. 0: NULL, or the primitive failed. */
#define STRING_BYTES ((size_t)1 << 20)
static int string_result(const char *string) {
  static char *buffer;
  bool terminated = true;
  if (string == NULL) return 0;
  if (buffer == NULL) {
    void *low = host_next()->mmap(NULL, STRING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
                                  -1, 0);
    if (low == MAP_FAILED) {
      squeak_refuse("there is no memory below 2 GiB for a string that a callout answered");
      return 0;
    }
    buffer = low;
  }
  if (!squeak_copy_string(buffer, string, STRING_BYTES, &terminated)) return 0;
  if (!terminated) {
    squeak_refuse("a callout answered a string of more than %zu bytes", STRING_BYTES);
    return 0;
  }
  return (int)(intptr_t)buffer;
}

static int call_for_pointer(int function, int convention) {
  (void)convention;
  uint32_t handle = 0;
  int answer = 0;
  if (make_call(function, &pointer_type)) {
    void *address = (void *)(uintptr_t)call.result.word;
    bool is_string = call.result_word & FLAG_ATOMIC && ATOMIC(call.result_word) >> 1 == TYPE_CHAR >> 1;
    handle = squeak_loan_origin(address);
    if (is_string) answer = string_result(address);
    else if (handle != 0 || squeak_handle(address, &handle)) answer = (int)handle;
    (void)squeak_loans_end(!squeak_vm.failed());
  }
  return answer;
}

static int call_for_structure(int function, int convention, int *specification, int count) {
  (void)convention, (void)specification, (void)count;
  if (make_call(function, call.result_type)) (void)squeak_loans_end(true);
  return 0;
}

static int call_for_atomic(int function, int convention, int word) {
  (void)convention;
  unsigned atomic = ATOMIC(word);
  if (atomic >= ATOMIC_TYPES) {
    squeak_refuse("there is no atomic type %u", atomic);
    return 0;
  }
  if (!make_call(function, &types[atomic]) || !squeak_loans_end(true)) return 0;
  if (atomic == TYPE_FLOAT) call.result.real = (double)call.result.single;
  /* libffi widens what is shorter than a word by its sign */
  return (int)call.result.word;
}

static double float_result(void) { return call.result.real; }
static int long_long_low(void) { return (int)call.result.word; }
static int long_long_high(void) { return (int)(call.result.word >> 32); }

static int store_structure(int start, int bytes) {
  memcpy(squeak_heap.base + (uint32_t)start, call.structure, (size_t)bytes);
  return 1;
}

static int allocate(int bytes) { return (int)squeak_allocate(bytes); }
static int release(int handle) { return squeak_free((uint32_t)handle); }

/* ---- putting it in ---- */

static const struct {
  const char *name;
  const void *function;
} back_end[] = {
#define ENTRY(name, function) {name, (const void *)(uintptr_t)function}
    ENTRY("ffiInitialize", initialize),
    ENTRY("ffiSupportsCallingConvention", supports_convention),
    ENTRY("ffiAlloc", allocate),
    ENTRY("ffiFree", release),
    ENTRY("ffiPushUnsignedByte", push_unsigned_byte),
    ENTRY("ffiPushSignedByte", push_signed_byte),
    ENTRY("ffiPushUnsignedShort", push_unsigned_short),
    ENTRY("ffiPushSignedShort", push_signed_short),
    ENTRY("ffiPushUnsignedInt", push_unsigned_int),
    ENTRY("ffiPushSignedInt", push_signed_int),
    ENTRY("ffiPushUnsignedLongLong", push_unsigned_long_long),
    ENTRY("ffiPushSignedLongLong", push_signed_long_long),
    ENTRY("ffiPushUnsignedChar", push_unsigned_char),
    ENTRY("ffiPushSignedChar", push_signed_char),
    ENTRY("ffiPushSingleFloat", push_single),
    ENTRY("ffiPushDoubleFloat", push_double),
    ENTRY("ffiPushPointer", push_pointer),
    ENTRY("ffiPushStringOfLength", push_string),
    ENTRY("ffiPushStructureOfLength", push_structure),
    ENTRY("ffiCanReturn", can_return),
    ENTRY("ffiCallAddressOfWithPointerReturn", call_for_pointer),
    ENTRY("ffiCallAddressOfWithStructReturn", call_for_structure),
    ENTRY("ffiCallAddressOfWithReturnType", call_for_atomic),
    ENTRY("ffiReturnFloatValue", float_result),
    ENTRY("ffiLongLongResultLow", long_long_low),
    ENTRY("ffiLongLongResultHigh", long_long_high),
    ENTRY("ffiStoreStructure", store_structure),
    ENTRY("ffiCleanup", cleanup),
#undef ENTRY
};

/* Replaces `before` in the VM's table of functions for plugins, where it is found by its address. */
static bool replace_in_table(const void **table, const char *name, const void *after) {
  const void *before = host_dlsym(RTLD_DEFAULT, name);
  for (size_t i = 0; before != NULL && i < 128; i++)
    if (table[i] == before) {
      table[i] = after;
      return true;
    }
  return false;
}

const char *squeak_ffi_repair(const void *inside) {
  for (size_t i = 0; i < sizeof back_end / sizeof *back_end; i++)
    if (host_import_replace(inside, back_end[i].name, back_end[i].function, NULL) < 0)
      return "this build of Squeak's FFI plugin does not call its back end by name, so it cannot be repaired";
  const void **table = squeak_vm.sqGetInterpreterProxy();
  if (!replace_in_table(table, "ioLoadModuleOfLength", (const void *)(uintptr_t)squeak_load_library) ||
      !replace_in_table(table, "ioLoadSymbolOfLengthFromModule", (const void *)(uintptr_t)squeak_load_function))
    return "this VM gives plugins no loader, so its FFI cannot be repaired";
  return NULL;
}
