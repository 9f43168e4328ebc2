/*
 * adapter_squeak.c: the Squeak VM of Debian's package `squeak-vm` (the interpreter VM 4.10.2, not rebuilt) with a V3
 * image. What holds for it holds for this: Debian's binary, its FFI repaired by interposition, an image with a script
 * hook (src/squeak).
 *
 * On x86-64 the FFI of that package works with no pointer, since it keeps addresses in `int`. The repair is done under
 * every mechanism, `none` too, because without it there is no callout to protect or not. It has five parts:
 *
 *   1. the heap lies at a multiple of 2^32, so that an address cut to 32 bits is an offset into it
 *   2. libraries and functions have numbers of 32 bits (squeak_library.c)
 *   3. other addresses have handles of 32 bits (squeak_memory.c)
 *   4. the plugin's back end is made anew (squeak_ffi.c)
 *   5. so are its memory primitives (squeak_memory.c)
 *
 * The VM has one thread. A failed callout fails the primitive, as in every VM of this family, and Smalltalk goes on in
 * the method's own code. `primitiveTurnkeyLastFault` (module SqueakFFIPrims) answers what happened.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "squeak.h"

struct squeak_vm squeak_vm;
struct squeak_heap squeak_heap;

/* ---- modules ---- */

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), tail = strlen(end);
  return length >= tail && strcmp(text + length - tail, end) == 0;
}

static bool recognises(const struct host_program *program) { return strcmp(program->name, "squeakvm") == 0; }

#define FFI_PLUGIN "/so.SqueakFFIPrims"
static enum host_role role(const char *path, bool is_program) {
  if (is_program) return HOST_VM;
  /* this library makes the plugin's calls */
  if (ends_with(path, FFI_PLUGIN) || ends_with(path, "/libturnkey-host.so")) return HOST_FFI;
  return strstr(path, "/so.") != NULL ? HOST_VM : HOST_OTHER;
}

/* ---- what Smalltalk is told ---- */

static struct {
  const char *name; /* NULL: the last callout did not fail */
  struct trap_fault fault;
  char function[256], text[1024];
} last;

bool squeak_heap_closes(void) {
  enum pkeys_mechanism mechanism = host_mechanism();
  return host_guarding() && mechanism != PKEYS_MECHANISM_NONE && mechanism != PKEYS_MECHANISM_FLAG;
}

void squeak_fail(const char *name, const char *text) {
  last.name = name;
  memset(&last.fault, 0, sizeof last.fault);
  last.function[0] = 0;
  snprintf(last.text, sizeof last.text, "%s", text);
  squeak_vm.primitiveFail();
}

void squeak_refuse(const char *format, ...) {
  char text[sizeof last.text];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  squeak_fail("callout refused", text);
}

static const char *const fault_name = "exception in FFI call"; /* as in Cog */

void squeak_fault(const struct trap_fault *fault, const char *doing) {
  struct host_failure failure = {.fault = *fault};
  last.name = fault_name;
  last.fault = *fault;
  snprintf(last.function, sizeof last.function, "%s", doing);
  host_failure_text(&failure, last.text, sizeof last.text);
  squeak_vm.primitiveFail();
}

static void failed(const struct host_failure *failure) {
  last.name = fault_name;
  last.fault = failure->fault;
  host_function_name(failure, last.function, sizeof last.function);
  host_failure_text(failure, last.text, sizeof last.text);
  squeak_vm.primitiveFail();
}

bool squeak_copy(void *destination, const void *source, size_t bytes) {
  struct trap_fault fault;
  if (!host_guarding()) {
    memcpy(destination, source, bytes);
    return true;
  }
  if (trap_copy(destination, source, bytes, &fault) == 0) return true;
  squeak_fault(&fault, "copying external memory");
  return false;
}

bool squeak_copy_string(char *destination, const char *source, size_t limit, bool *terminated) {
  struct trap_fault fault;
  if (!host_guarding()) {
    size_t length = strnlen(source, limit);
    *terminated = length < limit;
    memcpy(destination, source, *terminated ? length + 1 : length);
    return true;
  }
  if (trap_copy_string(destination, source, limit, 1, terminated, &fault) >= 0) return true;
  squeak_fault(&fault, "copying a string that a callout answered");
  return false;
}

static int new_string(const char *text) {
  size_t length = strlen(text);
  int oop = squeak_vm.instantiateClassindexableSize(squeak_vm.classString(), (int)length);
  memcpy(squeak_vm.firstIndexableField(oop), text, length);
  return oop;
}

/* Element `index` (from 0) of the array on top of the remappable oops: making `oop` may have moved the array. */
static void put(int index, int oop) {
  int array = squeak_vm.popRemappableOop();
  squeak_vm.storePointerofObjectwithValue(index, array, oop);
  squeak_vm.pushRemappableOop(array);
}
static void put_number(int index, uint64_t number) { put(index, squeak_vm.positive64BitIntegerFor((long long)number)); }

/* nil, or an Array: errorName, errorCode, pc, address, access, key, function, text, code, module. errorCode is the
 * signal's number, 0 for a callout that was not made; code is the name of its si_code; module is pc's. */
static int last_fault(void) {
  const struct squeak_vm *vm = &squeak_vm;
  if (last.name == NULL) {
    vm->pop(1);
    return vm->push(vm->nilObject());
  }
  vm->pushRemappableOop(vm->instantiateClassindexableSize(vm->classArray(), 10));
  put(0, new_string(last.name));
  put(1, vm->integerObjectOf(last.fault.signal));
  put_number(2, last.fault.pc);
  put_number(3, last.fault.address);
  put(4, new_string(host_access_name(last.fault.access)));
  put(5, vm->integerObjectOf(last.fault.pkey < 0 ? 0 : last.fault.pkey));
  put(6, new_string(last.function));
  put(7, new_string(last.text));
  put(8, new_string(host_code_name(last.fault.signal, last.fault.code)));
  char module[256];
  put(9, new_string(host_module_name(last.fault.pc, module, sizeof module)));
  vm->pop(1);
  return vm->push(vm->popRemappableOop());
}

/* The address of an object's first byte: for experiments, which aim at objects. */
static int address_of(void) {
  int oop = squeak_vm.stackObjectValue(0);
  if (squeak_vm.failed()) return 0;
  int address = squeak_vm.positive64BitIntegerFor((long long)(uintptr_t)squeak_vm.firstIndexableField(oop));
  squeak_vm.pop(2);
  return squeak_vm.push(address);
}

/* Ends the VM with the exit code on its stack; the VM's own primitive knows no code. */
static int exit_with(void) {
  int code = squeak_vm.stackIntegerValue(0);
  if (!squeak_vm.failed()) exit(code);
  return 0;
}

void squeak_forget_fault(void) { last.name = NULL; }

/* ---- the heap ---- */

#define WINDOW ((size_t)1 << 32)
#define HEADROOM ((size_t)16) /* the VM's `sqMemoryBase` is its heap less 16 */

/* Maps [start, end) of the heap's window: no access, then key and access at once (I9), before the VM has the address.
 */
static bool open_pages(char *start, char *end) {
  const struct host_next *next = host_next();
  size_t bytes = (size_t)(end - start);
  const int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, access = PROT_READ | PROT_WRITE;
  if (next->mmap(start, bytes, PROT_NONE, kind, -1, 0) == MAP_FAILED) return false;
  if (host_adopt(0, start, bytes, access) == 0 && host_adopted(start, bytes)) return true;
  return next->mprotect(start, bytes, access) == 0;
}

/* A multiple of 2^32 with 4 GiB free behind it. */
static char *reserve_window(void) {
  for (uint64_t k = 32; k < 512; k++) {
    char *at = (char *)(k << 32);
    void *got = host_next()->mmap(at, WINDOW, PROT_NONE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == at) return at;
    if (got != MAP_FAILED) host_next()->munmap(got, WINDOW);
  }
  return NULL;
}

/* The page behind the heap's last byte, when the heap has `bytes`: it begins 16 bytes into its first page. */
static char *pages_end(size_t bytes) { return squeak_heap.base + bytes + PKEYS_PAGE; }

static void *new_heap(size_t bytes) {
  char *base = bytes + HEADROOM <= SQUEAK_HEAP_LIMIT + HEADROOM ? reserve_window() : NULL;
  if (base == NULL) {
    host_say("a heap of %zu bytes has no place at a multiple of 2^32: use squeakvm -mmap 1024m or less", bytes);
    errno = ENOMEM;
    return MAP_FAILED;
  }
  squeak_heap.base = base;
  if (!open_pages(base, pages_end(bytes))) {
    host_next()->munmap(base, WINDOW);
    squeak_heap.base = NULL;
    errno = ENOMEM;
    return MAP_FAILED;
  }
  squeak_heap.bytes = bytes;
  return base + HEADROOM;
}

static bool in_window(const void *address) {
  return squeak_heap.base != NULL && (uintptr_t)address - (uintptr_t)squeak_heap.base < WINDOW;
}

/* The VM's mmap: its heap is its one anonymous mapping of many pages at no given address; it grows by mapping more
 * behind it (MAP_FIXED). */
static void *vm_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  if (squeak_heap.base == NULL && address == NULL && flags & MAP_ANONYMOUS && protection & PROT_WRITE &&
      bytes >= ((size_t)1 << 20))
    return new_heap(bytes);
  if (!in_window(address)) return mmap(address, bytes, protection, flags, fd, offset);
  size_t before = (size_t)((char *)address - squeak_heap.base) - HEADROOM;
  if (before + bytes > SQUEAK_HEAP_LIMIT || !open_pages(pages_end(before), pages_end(before + bytes))) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  squeak_heap.bytes = before + bytes;
  return address;
}

static int vm_munmap(void *address, size_t bytes) {
  if (!in_window(address)) return munmap(address, bytes);
  size_t left = (size_t)((char *)address - squeak_heap.base) - HEADROOM;
  char *start = pages_end(left), *end = pages_end(left + bytes);
  pkeys_range_forget(start, (size_t)(end - start));
  if (host_next()->mmap(start, (size_t)(end - start), PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
    return -1;
  squeak_heap.bytes = left;
  return 0;
}

static const char *object(uintptr_t address, uintptr_t *start, size_t *bytes) {
  if (!in_window((const void *)address)) return NULL;
  /* Objects carry no mark by which one inside of them could find their start. */
  *start = (uintptr_t)squeak_heap.base;
  *bytes = squeak_heap.bytes;
  return NULL;
}

/* ---- the plugin ---- */

static void say(const char *why) {
  if (why == NULL) return;
  host_say("%s", why);
  host_note("%s", why);
}

static bool is_plugin(const void *inside) {
  Dl_info info;
  return dladdr(inside, &info) != 0 && info.dli_fname != NULL && ends_with(info.dli_fname, FFI_PLUGIN);
}

/* Primitives of this adapter's, in the plugin's module. */
static void *own_primitive(const char *name) {
  if (strcmp(name, "primitiveTurnkeyLastFault") == 0) return (void *)(uintptr_t)last_fault;
  if (strcmp(name, "primitiveTurnkeyExit") == 0) return (void *)(uintptr_t)exit_with;
  if (strcmp(name, "primitiveTurnkeyAddress") == 0) return (void *)(uintptr_t)address_of;
  return squeak_memory_primitive(name);
}

/* The VM's dlsym, by which it finds plugins and their primitives. It asks a plugin for `setInterpreter` first. */
static void *vm_dlsym(void *handle, const char *name) {
  void *answer = host_dlsym(handle, name);
  void *module = answer != NULL ? answer : host_dlsym(handle, "setInterpreter");
  if (module == NULL || !is_plugin(module)) return answer;
  if (strcmp(name, "setInterpreter") == 0) say(squeak_ffi_repair(module));
  void *ours = own_primitive(name);
  return ours != NULL ? ours : answer;
}

static const char *prepare(void) {
  const void *inside = host_dlsym(RTLD_DEFAULT, "interpret");
  static const char *const unknown = "this squeakvm does not export its own functions, so its FFI cannot be repaired";
  if (inside == NULL) return unknown;
#define X(name, result, parameters) \
  if ((*(void **)&squeak_vm.name = host_dlsym(RTLD_DEFAULT, #name)) == NULL) return unknown;
  SQUEAK_VM_FUNCTIONS(X)
#undef X
  if (host_import_replace(inside, "mmap", (const void *)(uintptr_t)vm_mmap, NULL) < 0 ||
      host_import_replace(inside, "munmap", (const void *)(uintptr_t)vm_munmap, NULL) < 0 ||
      host_import_replace(inside, "dlsym", (const void *)(uintptr_t)vm_dlsym, NULL) < 0)
    return "this squeakvm does not map its heap and load its plugins by the C library, so its FFI cannot be repaired";
  return NULL;
}

static const struct pkeys_space_request spaces[] = {{.name = "heap", .deny = PKEYS_NO_WRITE}};

const struct host_adapter host_adapter_squeak = {
    .name = "squeak",
    .recognises = recognises,
    .role = role,
    .spaces = spaces,
    .space_count = 1,
    .prepare = prepare,
    .failed = failed,
    .object = object,
    .open = "memory outside the object heap: the VM's own tables, external memory, the loader's data; objects of bytes "
            "and words that are passed to a callout, as copies for its length",
};
