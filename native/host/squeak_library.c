/*
 * squeak_library.c: the libraries and functions that an image calls, by numbers that fit into the 4 bytes which it has
 * for either. A number holds for this process: an image that saves itself forgets its numbers when it starts again, as
 * it forgets addresses under any VM.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "squeak.h"

#define LIBRARIES 256
#define FUNCTIONS ((SQUEAK_WINDOWS - SQUEAK_FUNCTIONS) / 16)
static struct {
  char *name;
  void *handle;
} libraries[LIBRARIES];
static void **functions;
static uint32_t library_count, function_count, function_room;

void *squeak_function(uint32_t handle) {
  uint32_t index = (handle - SQUEAK_FUNCTIONS) / 16;
  bool known = handle % 16 == 0 && handle >= SQUEAK_FUNCTIONS && index < function_count;
  return known ? functions[index] : NULL;
}

/* Loading runs the library's own code: it is a callout. */
static void *load(const char *name) {
  char message[512] = "";
  struct trap_fault fault = {0};
  void *handle = host_guarding() ? trap_dlopen(name, RTLD_NOW | RTLD_GLOBAL, NULL, &fault, message, sizeof message)
                                 : dlopen(name, RTLD_NOW | RTLD_GLOBAL);
  if (fault.pending) squeak_fault(&fault, "loading a library");
  else if (handle == NULL && *message == 0) squeak_refuse("%s", dlerror());
  else if (handle == NULL) squeak_refuse("the library '%s' is not to be had: %s", name, message);
  return handle;
}

int squeak_load_library(int start, int length) {
  char name[1024];
  if (length < 0 || (size_t)length >= sizeof name || library_count == LIBRARIES) {
    squeak_refuse("a library's name of %d bytes, or a 257th library", length);
    return 0;
  }
  memcpy(name, squeak_heap.base + (uint32_t)start, (size_t)length);
  name[length] = 0;
  for (uint32_t i = 0; i < library_count; i++)
    if (strcmp(libraries[i].name, name) == 0) return (int)i + 1;
  void *handle = load(name);
  if (handle == NULL) return 0;
  libraries[library_count].name = strdup(name);
  libraries[library_count].handle = handle;
  return libraries[library_count].name == NULL ? 0 : (int)++library_count;
}

int squeak_load_function(int start, int length, int library) {
  char name[1024];
  if (length < 0 || (size_t)length >= sizeof name || library < 1 || (uint32_t)library > library_count) {
    squeak_refuse("a function's name of %d bytes, or no library", length);
    return 0;
  }
  memcpy(name, squeak_heap.base + (uint32_t)start, (size_t)length);
  name[length] = 0;
  void *address = host_dlsym(libraries[library - 1].handle, name);
  if (address == NULL) {
    squeak_refuse("the library '%s' has no function '%s'", libraries[library - 1].name, name);
    return 0;
  }
  host_name_function(address, name);
  uint32_t index = 0;
  while (index < function_count && functions[index] != address) index++;
  if (index == function_room) {
    uint32_t room = function_room == 0 ? 64 : 2 * function_room;
    void **more = room <= FUNCTIONS ? realloc(functions, room * sizeof *functions) : NULL;
    if (more == NULL) {
      squeak_refuse("there is no room for a function more");
      return 0;
    }
    functions = more;
    function_room = room;
  }
  if (index == function_count) functions[function_count++] = address;
  return (int)(SQUEAK_FUNCTIONS + 16 * index);
}
