/*
 * vm.h: a Lua 5.4 whose every object, and whose C stack, lie in the spaces of an image. Lua itself is the
 * distribution's, unmodified; Turnkey is used as any VM's author would: pkeys.h and trap.h.
 *
 * One struct vm is one Lua state on one thread, with an image of its own. Space 'heap' holds all that Lua allocates,
 * and this structure and the allocator's bookkeeping too; space 'stack' is the C stack that Lua runs on. What foreign
 * code may write on purpose lies outside: buffers, loans.
 */
#ifndef TURNKEY_LUA_VM_H
#define TURNKEY_LUA_VM_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap.h"
#include "pkeys.h"
#include "trap.h"

struct vm_options {
  enum pkeys_mechanism mechanism;
  enum pkeys_rights deny; /* what callouts lose on the heap; on the stack it is always PKEYS_NO_WRITE: the gate reads
                             its own frames there with the rights down */
  size_t heap_bytes;      /* reserved for the heap */
};

/* A callout in progress; lives on the VM's stack. */
struct vm_callout {
  struct vm_callout *outer;
  lua_State *state; /* which coroutine made it: its callbacks run there */
  int error_at;     /* stack index in `state` where a callback's error is kept */
  bool failed;      /* a callback raised an error: kept until the foreign function has returned */
};

/* What a callout changed in the heap, found by comparing: only for callouts made with turnkey.examined. */
#define VM_RANGES 8
struct vm_difference {
  uint64_t compared_bytes, changed_bytes;
  unsigned ranges;
  struct {
    uint64_t offset, bytes;
  } range[VM_RANGES];
};

struct vm {
  struct vm_options options;
  struct pkeys_image *image;
  struct heap *heap;
  lua_State *state;           /* the main thread's */
  struct vm_callout *callout; /* innermost */
  struct trap_fault *fault;   /* this thread's record; NULL where there is no trap */
  char *scratch;              /* outside the image: what foreign code is to read where it may not read the heap */
  size_t scratch_used;
  void *callbacks; /* table of live callbacks, by number */
  size_t callback_count;
  void *shapes; /* callout.c: what libffi reads of them; outside the image, stays mapped: a callee may have kept one */
  uint64_t callouts, callbacks_run, callbacks_refused, faults;
  int last_errno; /* as the last callout left it */
  bool examine;   /* the next callout */
  struct vm_difference difference;
  bool stack_in_image;
};

#define VM_SCRATCH_BYTES ((size_t)1 << 20)
#define VM_STACK_BYTES ((size_t)2 << 20)
#define VM_HEAP_FIRST ((size_t)1 << 20)

/* Space indices in the image. The stack is no space of it under mprotect: the code that closes the pages runs on it. */
enum { VM_SPACE_HEAP = 0, VM_SPACE_STACK = 1 };

/* Opens a VM on this thread, to be run and closed on it. On failure a negative errno, and *why says what failed. */
int vm_open(const struct vm_options *options, struct vm **out, const char **why);
void vm_close(struct vm *vm);
/* Calls `function` on the VM's own stack; it gets `argument`, and what it returns is returned. */
int vm_on_stack(struct vm *vm, int (*function)(struct vm *vm, void *argument), void *argument);
struct vm *vm_of(lua_State *L);
/* The VM of this thread, found without trusting anything that foreign code can write; NULL if it has none. */
struct vm *vm_here(void);

/* ---- fault.c ---- */
/* Pushes the error value for a fault; `arguments`: stack index of a table of the arguments as passed, or 0. */
void fault_push(lua_State *L, const struct trap_fault *fault, const char *function, int arguments);
void fault_open(lua_State *L);

/* ---- callout.c: the module `ffi` ---- */
int callout_open(lua_State *L);

/* ---- turnkey.c: the module `turnkey` ---- */
int turnkey_open(lua_State *L);

/* Lua's own libraries and the two modules above, as globals. */
void vm_libraries(lua_State *L);

#endif
