/*
 * vm.c: a Lua state in an image. Order matters in two places. The trap comes before the image's mechanism, so that no
 * callout could be made with one and without the other; and a thread attaches after the keys were allocated, so that it
 * has the rights to them.
 */
#define _GNU_SOURCE
#include "vm.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

/* ---- which VM runs on which thread: behind the runtime key, since callbacks come from foreign code ----------- */

#define MOST_VMS PKEYS_MAX_IMAGES
struct entry {
  _Atomic uintptr_t thread;
  struct vm *vm;
};
static union {
  struct entry entry[MOST_VMS];
  char page[PKEYS_PAGE]; /* nothing else shares it */
} registry __attribute__((aligned(PKEYS_PAGE)));

static int note_vm(struct vm *vm) {
  uintptr_t self = (uintptr_t)__builtin_thread_pointer();
  for (size_t i = 0; i < MOST_VMS; i++) {
    uintptr_t none = 0;
    if (atomic_compare_exchange_strong(&registry.entry[i].thread, &none, self)) {
      registry.entry[i].vm = vm;
      return 0;
    }
  }
  return -EMFILE;
}

static void forget_vm(void) {
  uintptr_t self = (uintptr_t)__builtin_thread_pointer();
  for (size_t i = 0; i < MOST_VMS; i++)
    if (atomic_load(&registry.entry[i].thread) == self) atomic_store(&registry.entry[i].thread, 0);
}

struct vm *vm_here(void) {
  uintptr_t self = (uintptr_t)__builtin_thread_pointer();
  for (size_t i = 0; i < MOST_VMS; i++)
    if (atomic_load_explicit(&registry.entry[i].thread, memory_order_relaxed) == self) return registry.entry[i].vm;
  return NULL;
}

struct vm *vm_of(lua_State *L) { return *(struct vm **)lua_getextraspace(L); /* Lua copies it into every coroutine */ }

/* ---- memory -------------------------------------------------------------------------------------------------- */

static int grow(void *context, size_t bytes) { return pkeys_space_resize(context, VM_SPACE_HEAP, bytes); }

static void *allocate(void *context, void *block, size_t old_bytes, size_t bytes) {
  struct vm *vm = context;
  (void)old_bytes; /* for a new block it tells the kind of object */
  if (bytes == 0) {
    heap_free(vm->heap, block);
    return NULL;
  }
  return heap_reallocate(vm->heap, block, bytes);
}

static bool by_mprotect(enum pkeys_mechanism mechanism) {
  return mechanism == PKEYS_MECHANISM_MPROTECT_PAGE || mechanism == PKEYS_MECHANISM_MPROTECT_RANGE ||
         mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE;
}

/* ---- opening and closing ------------------------------------------------------------------------------------- */

static int panic(lua_State *L) {
  const char *text = lua_tostring(L, -1);
  fprintf(stderr, "turnkey-lua: error outside every protected call: %s\n", text != NULL ? text : "no message");
  return 0; /* Lua aborts */
}

int vm_open(const struct vm_options *options, struct vm **out, const char **why) {
  bool trapped = options->mechanism != PKEYS_MECHANISM_NONE;
  bool stack_in_image = !by_mprotect(options->mechanism);
  size_t reserve = options->heap_bytes < 2 * VM_HEAP_FIRST ? 2 * VM_HEAP_FIRST : options->heap_bytes;
  struct pkeys_space_request requests[] = {
      [VM_SPACE_HEAP] = {.name = "heap",
                         .bytes = VM_HEAP_FIRST + heap_minimum(reserve),
                         .reserve_bytes = reserve,
                         .deny = options->deny},
      [VM_SPACE_STACK] = {.name = "stack",
                          .bytes = VM_STACK_BYTES,
                          .reserve_bytes = VM_STACK_BYTES,
                          .deny = PKEYS_NO_WRITE},
  };
  if (requests[VM_SPACE_HEAP].bytes > reserve) requests[VM_SPACE_HEAP].bytes = reserve;
  enum pkeys_key_mode keys = stack_in_image && options->deny == PKEYS_NO_ACCESS ? PKEYS_KEY_PER_SPACE
                                                                                : PKEYS_KEY_PER_IMAGE;
  struct pkeys_image *image = NULL;
  void *scratch = MAP_FAILED;
  int rc;
  *why = "the registry of keys could not be set up";
  if ((rc = pkeys_init()) < 0) goto failed;
  if ((rc = pkeys_protect_runtime(&registry, sizeof registry)) < 0) goto failed;
  *why = "the trap could not be set up";
  if (trapped && (rc = trap_init()) < 0) goto failed;
  *why = "the image could not be mapped";
  if ((rc = pkeys_image_map(requests, stack_in_image ? 2 : 1, keys, &image, NULL)) < 0) goto failed;
  *why = "the image could not be protected";
  if ((rc = pkeys_image_set_mechanism(image, options->mechanism)) < 0) goto failed;
  pkeys_open_thread();
  *why = "this thread could not be attached";
  if (trapped && (rc = trap_attach()) < 0) goto failed;
  *why = "no memory outside the image";
  rc = -ENOMEM;
  scratch = mmap(NULL, VM_SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (scratch == MAP_FAILED) goto failed;

  struct pkeys_space space;
  *why = "the heap could not be set up";
  if ((rc = pkeys_image_space(image, VM_SPACE_HEAP, &space)) < 0) goto failed;
  struct heap *heap = heap_create((void *)space.address, space.bytes, space.reserved_bytes, grow, image);
  struct vm *vm = heap == NULL ? NULL : heap_allocate(heap, sizeof *vm);
  rc = -ENOMEM;
  if (vm == NULL) goto failed;
  memset(vm, 0, sizeof *vm);
  vm->options = *options;
  vm->image = image;
  vm->heap = heap;
  vm->scratch = scratch;
  vm->stack_in_image = stack_in_image;
  vm->fault = trapped ? trap_thread_fault() : NULL;
  *why = "Lua could not make a state";
  if ((vm->state = lua_newstate(allocate, vm)) == NULL) goto failed;
  *(struct vm **)lua_getextraspace(vm->state) = vm;
  lua_atpanic(vm->state, panic);
  *why = "too many VMs";
  if ((rc = note_vm(vm)) < 0) goto failed;
  *out = vm;
  return 0;

failed:
  if (scratch != MAP_FAILED) munmap(scratch, VM_SCRATCH_BYTES);
  if (image != NULL) pkeys_image_close(image);
  return rc;
}

static int close_state(struct vm *vm, void *unused) {
  (void)unused;
  lua_close(vm->state); /* runs finalizers, which may call out */
  return 0;
}

void vm_close(struct vm *vm) {
  vm_on_stack(vm, close_state, NULL);
  struct pkeys_image *image = vm->image;
  munmap(vm->scratch, VM_SCRATCH_BYTES);
  forget_vm();
  pkeys_image_close(image);
}

/* ---- the stack ----------------------------------------------------------------------------------------------- */

struct crossing {
  struct vm *vm;
  int (*function)(struct vm *, void *);
  void *argument;
  int result;
};

static void arrive(unsigned low, unsigned high) {
  struct crossing *crossing = (struct crossing *)((uintptr_t)low | (uintptr_t)high << 32);
  crossing->result = crossing->function(crossing->vm, crossing->argument);
}

/* getcontext counts as a function that returns twice: nothing else lives here. */
static int cross(void *stack, struct crossing *crossing) {
  ucontext_t here, there;
  if (getcontext(&there) != 0) return -errno;
  there.uc_stack.ss_sp = stack;
  there.uc_stack.ss_size = VM_STACK_BYTES;
  there.uc_link = &here;
  uintptr_t at = (uintptr_t)crossing;
  makecontext(&there, (void (*)(void))arrive, 2, (unsigned)at, (unsigned)(at >> 32));
  return swapcontext(&here, &there) != 0 ? -errno : crossing->result;
}

int vm_on_stack(struct vm *vm, int (*function)(struct vm *, void *), void *argument) {
  struct crossing crossing = {.vm = vm, .function = function, .argument = argument};
  if (vm->stack_in_image) {
    struct pkeys_space space;
    int rc = pkeys_image_space(vm->image, VM_SPACE_STACK, &space);
    return rc < 0 ? rc : cross((void *)space.address, &crossing);
  }
  void *own = mmap(NULL, VM_STACK_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (own == MAP_FAILED) return -errno;
  int result = cross(own, &crossing);
  munmap(own, VM_STACK_BYTES);
  return result;
}

void vm_libraries(lua_State *L) {
  luaL_openlibs(L);
  luaL_requiref(L, "ffi", callout_open, 1);
  luaL_requiref(L, "turnkey", turnkey_open, 1);
  lua_pop(L, 2);
}
