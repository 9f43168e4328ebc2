/*
 * adapter_node.c: Node 20, 22 and 24, with V8's whole heap behind the mechanism.
 *
 * V8 asks for its heap by mmap, always near an address that it has drawn itself, and for nothing else so. It asks for
 * the memory of WebAssembly.Memory and of resizable ArrayBuffers, which programs lend to callees, at any address.
 * Everything else that Node holds (ArrayBuffers, Buffers, koffi's memory) comes from malloc.
 *
 * Which of V8's spaces a mapping is for shows when V8 sets its protection. What becomes executable is code, and W^X
 * toggling stays among code. What becomes read-only for good is the read-only space. Old and young objects lie in
 * mappings of the same kind, and share a space here.
 *
 * Node's FFI is an addon, koffi, which calls thunks of the Turnkey addon in the same process. That addon finds this
 * library's trap and registry (native/addon/CMakeLists.txt). turnkey/register puts koffi through it. No ffi_call is
 * seen here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/mman.h>

#include "host.h"

/* Node is what has the symbols of Node-API and of libuv, whatever its file is called. */
static bool recognises(const struct host_program *program) {
  (void)program;
  return host_dlsym(RTLD_DEFAULT, "napi_module_register") != NULL && host_dlsym(RTLD_DEFAULT, "uv_run") != NULL;
}

static bool starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

/* Debian links its node to libraries of V8 and libuv. */
static enum host_role role(const char *path, bool is_program) {
  if (is_program) return HOST_VM;
  const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
  return starts_with(name, "libnode.so") || starts_with(name, "libuv.so") || starts_with(name, "libv8") ? HOST_VM
                                                                                                        : HOST_OTHER;
}

enum { HEAP, CODE, READ_ONLY };
static const struct pkeys_space_request spaces[] = {
    [HEAP] = {.name = "heap", .deny = PKEYS_NO_WRITE},
    [CODE] = {.name = "code", .deny = PKEYS_NO_WRITE},
    [READ_ONLY] = {.name = "read-only", .deny = PKEYS_NO_WRITE},
};

static int heap(const struct host_mapping *mapping) {
  const int kind = MAP_PRIVATE | MAP_ANONYMOUS;
  if ((mapping->flags & kind) != kind || mapping->address == NULL) return -1;
  /* decommitting: V8 maps over a part of its heap, which stays in its space */
  struct pkeys_range range;
  if (mapping->flags & MAP_FIXED)
    return pkeys_range_next((uintptr_t)mapping->address, &range) && range.address <= (uintptr_t)mapping->address
               ? (int)range.space
               : -1;
  return HEAP;
}

static int protects(unsigned space, int protection) {
  if (protection & PROT_EXEC) return CODE;
  return space == HEAP && protection == PROT_READ ? READ_ONLY : (int)space;
}

const struct host_adapter host_adapter_node = {
    .name = "node",
    .recognises = recognises,
    .role = role,
    .spaces = spaces,
    .space_count = sizeof spaces / sizeof *spaces,
    .key_mode = PKEYS_KEY_PER_SPACE,
    .heap = heap,
    .protects = protects,
    .open = "what malloc gives: ArrayBuffers, Buffers, C++ objects of Node and V8; WebAssembly.Memory and resizable "
            "ArrayBuffers; stacks",
};
