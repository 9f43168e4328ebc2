/*
 * squeak_memory.c: addresses that the image can hold in 32 bits, objects lent by copy, and external memory. See
 * squeak.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "squeak.h"

/* ---- handles ---- */

/*
 * A window stands for 16 MiB of the address space, so that arithmetic on a handle is arithmetic on the address. A
 * window is never given up: the image may keep a handle as long as it likes. Neighbouring blocks get neighbouring
 * windows where these are free.
 */
#define WINDOW_SHIFT 24
#define WINDOWS 128u
static uint64_t windows[WINDOWS]; /* the block's number plus 1; 0: free */

bool squeak_address(uint32_t handle, void **address) {
  *address = NULL;
  if (handle == 0) return true;
  if (handle >= SQUEAK_WINDOWS) {
    uint64_t block = windows[(handle - SQUEAK_WINDOWS) >> WINDOW_SHIFT];
    if (block != 0) {
      *address = (void *)(uintptr_t)((block - 1) << WINDOW_SHIFT | (handle & ((1u << WINDOW_SHIFT) - 1)));
      return true;
    }
  }
  squeak_refuse("16r%08X is no address that a callout or an allocation has answered", handle);
  return false;
}

bool squeak_handle(const void *address, uint32_t *handle) {
  uint64_t block = (uintptr_t)address >> WINDOW_SHIFT;
  *handle = 0;
  if (address == NULL) return true;
  for (unsigned i = 0; i < WINDOWS; i++) {
    unsigned at = ((unsigned)block + i) % WINDOWS;
    if (windows[at] == 0) windows[at] = block + 1;
    if (windows[at] != block + 1) continue;
    *handle = SQUEAK_WINDOWS + (at << WINDOW_SHIFT) + (uint32_t)((uintptr_t)address & ((1u << WINDOW_SHIFT) - 1));
    return true;
  }
  squeak_refuse("the address %p does not fit: the image knows addresses in %u blocks of 16 MiB already", address,
                WINDOWS);
  return false;
}

/* ---- loans ---- */

#define SLOT_BYTES ((size_t)64 << 10)
#define SLOT_STRIDE (SLOT_BYTES + PKEYS_PAGE)
static char *slots; /* a page without access, then slots, each with such a page behind it */
static struct squeak_loan loans[SQUEAK_LOANS];
static unsigned loan_count;

static bool make_slots(void) {
  if (slots != NULL) return true;
  const struct host_next *next = host_next();
  char *area = next->mmap(NULL, PKEYS_PAGE + SQUEAK_LOANS * SLOT_STRIDE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) return false;
  for (size_t i = 0; i < SQUEAK_LOANS; i++)
    if (next->mprotect(area + PKEYS_PAGE + i * SLOT_STRIDE, SLOT_BYTES, PROT_READ | PROT_WRITE) != 0) {
      next->munmap(area, PKEYS_PAGE + SQUEAK_LOANS * SLOT_STRIDE);
      return false;
    }
  slots = area + PKEYS_PAGE;
  return true;
}

static size_t whole_pages(size_t bytes) { return (bytes + PKEYS_PAGE - 1) & ~(size_t)(PKEYS_PAGE - 1); }

/* A mapping for a large object: pages without access on both sides. */
static char *map_large(size_t bytes, size_t *mapped) {
  const struct host_next *next = host_next();
  size_t inside = whole_pages(bytes);
  *mapped = inside + 2 * PKEYS_PAGE;
  char *area = next->mmap(NULL, *mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) return NULL;
  if (next->mprotect(area + PKEYS_PAGE, inside, PROT_READ | PROT_WRITE) != 0) {
    next->munmap(area, *mapped);
    return NULL;
  }
  return area + PKEYS_PAGE + inside - bytes;
}

static struct squeak_loan *lend(size_t bytes) {
  if (loan_count == SQUEAK_LOANS || !make_slots()) {
    squeak_refuse("a callout takes no more than %d objects", SQUEAK_LOANS);
    return NULL;
  }
  struct squeak_loan *loan = &loans[loan_count];
  *loan = (struct squeak_loan){.bytes = bytes};
  loan->copy = bytes <= SLOT_BYTES ? slots + loan_count * SLOT_STRIDE + SLOT_BYTES - bytes
                                   : map_large(bytes, &loan->mapped);
  if (loan->copy == NULL) {
    squeak_refuse("there is no memory to lend an object of %zu bytes", bytes);
    return NULL;
  }
  loan_count++;
  return loan;
}

char *squeak_lend_bytes(const void *source, size_t bytes) {
  struct squeak_loan *loan = lend(bytes);
  if (loan == NULL) return NULL;
  if (source != NULL) memcpy(loan->copy, source, bytes);
  else memset(loan->copy, 0, bytes);
  return loan->copy;
}

/* The bytes of the object whose first byte is at heap offset `object`, from its V3 header. False: no such object of
 * bytes or words. */
static bool extent(uint32_t object, size_t *bytes) {
  if (object % 4 != 0 || object < 16 + 12) return false;
  uint32_t header, size;
  memcpy(&header, squeak_heap.base + object - 4, sizeof header);
  size = header & 0xfcu;
  if ((header & 3) == 0) memcpy(&size, squeak_heap.base + object - 12, sizeof size), size &= ~(uint32_t)3;
  unsigned format = header >> 8 & 15u;
  bool of_bytes = format >= 8 && format < 12;
  unsigned unused = of_bytes ? format & 3u : 0;
  if ((format != 6 && !of_bytes) || size < 4 + unused || object - 4 + (size_t)size > squeak_heap.bytes + 16)
    return false;
  *bytes = size - 4 - unused;
  return true;
}

/* The class of Symbols is that of the special object #doesNotUnderstand:. */
#define DOES_NOT_UNDERSTAND 20
static bool is_symbol(uint32_t object) {
  const struct squeak_vm *vm = &squeak_vm;
  return vm->fetchClassOf((int)object - 4) == vm->fetchClassOf(vm->splObj(DOES_NOT_UNDERSTAND));
}

char *squeak_lend_object(uint32_t object) {
  size_t bytes;
  if (!squeak_heap_closes()) return squeak_heap.base + object;
  if (!extent(object, &bytes)) {
    squeak_refuse("there is no object of bytes or words at heap offset 16r%X", object);
    return NULL;
  }
  for (unsigned i = 0; i < loan_count; i++)
    if (loans[i].object == object) return loans[i].copy;
  struct squeak_loan *loan = lend(bytes);
  if (loan == NULL) return NULL;
  memcpy(loan->copy, squeak_heap.base + object, bytes);
  loan->object = object;
  loan->constant = is_symbol(object);
  return loan->copy;
}

uint32_t squeak_loan_origin(const void *address) {
  for (unsigned i = 0; i < loan_count; i++) {
    size_t offset = (size_t)((uintptr_t)address - (uintptr_t)loans[i].copy);
    if (loans[i].object != 0 && offset <= loans[i].bytes) return loans[i].object + (uint32_t)offset;
  }
  return 0;
}

bool squeak_loans_end(bool copy_back) {
  bool honest = true;
  for (unsigned i = 0; copy_back && i < loan_count; i++)
    if (loans[i].constant && memcmp(squeak_heap.base + loans[i].object, loans[i].copy, loans[i].bytes) != 0)
      honest = false;
  for (unsigned i = 0; i < loan_count; i++) {
    struct squeak_loan *loan = &loans[i];
    if (copy_back && honest && loan->object != 0) memcpy(squeak_heap.base + loan->object, loan->copy, loan->bytes);
    if (loan->mapped != 0)
      host_next()->munmap(loan->copy + loan->bytes - whole_pages(loan->bytes) - PKEYS_PAGE, loan->mapped);
  }
  loan_count = 0;
  if (!honest)
    squeak_fail("write to a Symbol", "the callout wrote to a Symbol that was lent to it; it stays as it was");
  return honest;
}

/* ---- external memory ---- */

static void *allocated; /* a tree of search.h: what squeak_allocate gave and squeak_free did not take back */

static int by_address(const void *a, const void *b) {
  return (uintptr_t)a<(uintptr_t)b ? -1 : (uintptr_t)a>(uintptr_t) b;
}

uint32_t squeak_allocate(int bytes) {
  uint32_t handle;
  void *memory = bytes > 0 ? calloc(1, (size_t)bytes) : NULL;
  if (memory == NULL) {
    squeak_refuse("%d bytes of external memory are not to be had", bytes);
    return 0;
  }
  if (squeak_handle(memory, &handle) && tsearch(memory, &allocated, by_address) != NULL) return handle;
  free(memory);
  return 0;
}

bool squeak_free(uint32_t handle) {
  void *memory;
  if (!squeak_address(handle, &memory)) return false;
  if (memory == NULL) return true;
  if (tfind(memory, &allocated, by_address) == NULL) {
    squeak_refuse("16r%08X is no external memory that was allocated and not yet freed", handle);
    return false;
  }
  tdelete(memory, &allocated, by_address);
  free(memory);
  return true;
}

/* ---- the plugin's memory primitives ---- */

/* What a primitive reads or writes: bytes of an object, or of external memory. */
struct place {
  void *address;
  bool external;
};

static bool find_place(int receiver, int offset, int bytes, struct place *place) {
  const struct squeak_vm *vm = &squeak_vm;
  if (vm->isIntegerObject(receiver) || !vm->isBytes(receiver) || offset <= 0) {
    squeak_refuse("the receiver has no bytes, or no byte %d", offset);
    return false;
  }
  int size = vm->byteSizeOf(receiver);
  char *first = vm->firstIndexableField(receiver);
  place->external = vm->fetchClassOf(receiver) == vm->classExternalAddress();
  if (!place->external) {
    place->address = first + offset - 1;
    if (bytes <= size && offset - 1 <= size - bytes) return true;
    squeak_refuse("bytes %d to %d are outside an object of %d", offset, offset + bytes - 1, size);
    return false;
  }
  uint32_t handle = 0;
  if (size == sizeof handle) memcpy(&handle, first, sizeof handle);
  if (handle == 0) {
    squeak_refuse("an address of %d bytes, or null, leads nowhere", size);
    return false;
  }
  if (!squeak_address(handle, &place->address)) return false;
  place->address = (char *)place->address + offset - 1;
  return true;
}

static bool read_place(const struct place *place, void *destination, size_t bytes) {
  if (place->external) return squeak_copy(destination, place->address, bytes);
  memcpy(destination, place->address, bytes);
  return true;
}
static bool write_place(const struct place *place, const void *source, size_t bytes) {
  if (place->external) return squeak_copy(place->address, source, bytes);
  memcpy(place->address, source, bytes);
  return true;
}

static bool whole_size(int bytes) {
  if (bytes == 1 || bytes == 2 || bytes == 4) return true;
  squeak_refuse("an integer has 1, 2 or 4 bytes, not %d", bytes);
  return false;
}

/* receiver integerAt: offset size: bytes signed: aBoolean */
static int integer_at(void) {
  const struct squeak_vm *vm = &squeak_vm;
  int is_signed = vm->booleanValueOf(vm->stackValue(0)), bytes = vm->stackIntegerValue(1);
  int offset = vm->stackIntegerValue(2), receiver = vm->stackObjectValue(3);
  struct place place;
  uint32_t value = 0;
  if (vm->failed() || !whole_size(bytes) || !find_place(receiver, offset, bytes, &place) ||
      !read_place(&place, &value, (size_t)bytes))
    return 0;
  unsigned unused = 32 - 8 * (unsigned)bytes;
  int answer = is_signed ? vm->signed32BitIntegerFor((int)(value << unused) >> unused)
                         : vm->positive32BitIntegerFor((int)value);
  vm->pop(4);
  return vm->push(answer);
}

/* receiver integerAt: offset put: value size: bytes signed: aBoolean */
static int integer_at_put(void) {
  const struct squeak_vm *vm = &squeak_vm;
  int is_signed = vm->booleanValueOf(vm->stackValue(0)), bytes = vm->stackIntegerValue(1);
  int value_oop = vm->stackValue(2), offset = vm->stackIntegerValue(3), receiver = vm->stackObjectValue(4);
  struct place place;
  if (vm->failed() || !whole_size(bytes) || !find_place(receiver, offset, bytes, &place)) return 0;
  uint32_t value = (uint32_t)(is_signed ? vm->signed32BitValueOf(value_oop) : vm->positive32BitValueOf(value_oop));
  if (vm->failed()) return 0;
  unsigned unused = 32 - 8 * (unsigned)bytes;
  uint32_t again = is_signed ? (uint32_t)((int)(value << unused) >> unused) : value << unused >> unused;
  if (again != value) {
    squeak_refuse("the value does not fit into %d bytes", bytes);
    return 0;
  }
  if (!write_place(&place, &value, (size_t)bytes)) return 0;
  vm->pop(5);
  return vm->push(value_oop);
}

static int real_at(size_t bytes) {
  const struct squeak_vm *vm = &squeak_vm;
  int offset = vm->stackIntegerValue(0), receiver = vm->stackObjectValue(1);
  struct place place;
  float single;
  double value;
  if (vm->failed() || !find_place(receiver, offset, (int)bytes, &place) ||
      !read_place(&place, bytes == sizeof single ? (void *)&single : (void *)&value, bytes))
    return 0;
  if (bytes == sizeof single) value = (double)single;
  vm->pop(2);
  return vm->pushFloat(value);
}
static int real_at_put(size_t bytes) {
  const struct squeak_vm *vm = &squeak_vm;
  int value_oop = vm->stackValue(0), offset = vm->stackIntegerValue(1), receiver = vm->stackObjectValue(2);
  struct place place;
  if (vm->failed() || !find_place(receiver, offset, (int)bytes, &place)) return 0;
  double value = vm->isIntegerObject(value_oop) ? (double)(value_oop >> 1) : vm->floatValueOf(value_oop);
  float single = (float)value;
  if (vm->failed() || !write_place(&place, bytes == sizeof single ? (void *)&single : (void *)&value, bytes)) return 0;
  vm->pop(3);
  return vm->push(value_oop);
}
static int double_at(void) { return real_at(sizeof(double)); }
static int float_at(void) { return real_at(sizeof(float)); }
static int double_at_put(void) { return real_at_put(sizeof(double)); }
static int float_at_put(void) { return real_at_put(sizeof(float)); }

void *squeak_memory_primitive(const char *name) {
  static const struct {
    const char *name;
    int (*primitive)(void);
  } primitives[] = {
      {"primitiveFFIIntegerAt", integer_at},
      {"primitiveFFIDoubleAt", double_at},
      {"primitiveFFIIntegerAtPut", integer_at_put},
      {"primitiveFFIDoubleAtPut", double_at_put},
      {"primitiveFFIFloatAt", float_at},
      {"primitiveFFIFloatAtPut", float_at_put},
  };
  for (size_t i = 0; i < sizeof primitives / sizeof *primitives; i++)
    if (strcmp(name, primitives[i].name) == 0) return (void *)(uintptr_t)primitives[i].primitive;
  return NULL;
}
