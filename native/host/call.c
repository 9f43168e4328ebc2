/*
 * call.c: ffi_call. A callout is the VM's or its FFI's ffi_call of a function outside their modules; it goes through a
 * thunk. libffi passes arguments and takes results as it would without: the thunk has the function's own signature.
 *
 * The path of a callout takes no lock and allocates nothing once its function's thunk is cached.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "internal.h"

/*
 * Thunks by function and stack bytes. An entry is written once, under the lock, and its `function` last; readers take
 * no lock. Past CACHED entries a call takes a thunk for itself and gives it back.
 */
#define SLOTS 16384
#define CACHED 6000 /* of TRAP_MAX_THUNKS: what is left serves calls that are not cached */
struct cached {
  _Atomic uintptr_t function;
  size_t stack_bytes;
  unsigned flags;
  void *code;
};
static struct cached cache[SLOTS];
static unsigned cached;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t slot_of(uintptr_t function, size_t stack_bytes, unsigned flags) {
  uint64_t hash = (function ^ stack_bytes << 48 ^ (uint64_t)flags << 40) * 0x9e3779b97f4a7c15u;
  return (size_t)(hash >> 50);
}

static struct cached *look_up(uintptr_t function, size_t stack_bytes, unsigned flags) {
  for (size_t i = slot_of(function, stack_bytes, flags);; i = (i + 1) % SLOTS) {
    uintptr_t here = atomic_load_explicit(&cache[i].function, memory_order_acquire);
    if (here == 0 || (here == function && cache[i].stack_bytes == stack_bytes && cache[i].flags == flags))
      return &cache[i];
  }
}

/* The thunk for a call. *once: to be given back after it. 0 or a negative errno. */
static int thunk_for(host_function function, size_t stack_bytes, unsigned flags, void **code, bool *once) {
  struct cached *entry = look_up((uintptr_t)function, stack_bytes, flags);
  *once = false;
  if (atomic_load_explicit(&entry->function, memory_order_acquire) != 0) {
    *code = entry->code;
    return 0;
  }
  int rc = trap_thunk((const void *)(uintptr_t)function, stack_bytes, flags, NULL, code);
  if (rc < 0) return rc;
  *once = true;
  pthread_mutex_lock(&lock);
  entry = look_up((uintptr_t)function, stack_bytes, flags);
  if (atomic_load(&entry->function) == 0 && cached < CACHED) {
    cached++;
    entry->stack_bytes = stack_bytes;
    entry->flags = flags;
    entry->code = *code;
    atomic_store_explicit(&entry->function, (uintptr_t)function, memory_order_release);
    *once = false;
  }
  pthread_mutex_unlock(&lock);
  return 0;
}

/* What a callee leaves behind in a result that it did not finish is not decoded. libffi writes at least one word. */
static void zero_result(const struct host_call *call) {
  if (call->result == NULL || call->cif->rtype == NULL) return;
  size_t bytes = call->cif->rtype->size;
  if (call->cif->rtype->type == 0 /* FFI_TYPE_VOID */) return;
  memset(call->result, 0, bytes < sizeof(uint64_t) ? sizeof(uint64_t) : bytes);
}

static void after_failure(struct host_thread *thread, const struct host_call *call) {
  int saved = errno;
  thread->failures++;
  thread->failure.call = *call;
  zero_result(call);
  host_count_failure(&thread->failure);
  if (host_state.adapter->failed != NULL) host_state.adapter->failed(&thread->failure);
  else host_fail(&thread->failure);
  errno = saved;
}

static void make_call(const struct host_call *call, host_function function) {
  host_next()->ffi_call(call->cif, function, call->result, call->arguments);
}

static void guarded(struct host_call *call, unsigned flags) {
  void *code;
  bool once;
  size_t stack_bytes = ((size_t)call->cif->bytes + 15) & ~(size_t)15;
  int rc = thunk_for(call->function, stack_bytes, flags, &code, &once);
  if (rc < 0) {
    if (rc != -EBUSY) { /* busy: foreign code calls the FFI itself, inside a callout that is guarded already */
      host_count(HOST_UNGUARDED);
      host_say_once("a callout could not be guarded (%s), and others after it", strerror(-rc));
    }
    make_call(call, call->function);
    return;
  }
  struct host_thread *thread = host_this_thread();
  thread->callouts++;
  make_call(call, (host_function)(uintptr_t)code);
  bool failed = trap_take_fault(&thread->failure.fault);
  if (__builtin_expect(once, 0)) {
    int saved = errno;
    trap_thunk_release(code);
    errno = saved;
  }
  if (host_state.adapter->returned != NULL) host_state.adapter->returned(call, failed);
  if (__builtin_expect(failed, 0)) after_failure(thread, call);
}

HOST_REPLACES void ffi_call(struct host_cif *cif, host_function function, void *result, void **arguments);
void ffi_call(struct host_cif *cif, host_function function, void *result, void **arguments) {
  const struct host_next *next = host_next();
  if (__builtin_expect(next->ffi_call == NULL, 0))
    ((struct host_next *)(uintptr_t)next)->ffi_call = (void (*)(struct host_cif *, host_function, void *, void **))(
        uintptr_t)host_next_ffi("ffi_call");
  struct host_call call = {cif, function, result, arguments, HOST_CALLER()};
  if (!host_is_vm_or_ffi(call.caller)) {
    make_call(&call, function);
    return;
  }
  const struct host_adapter *adapter = host_state.adapter;
  bool own = host_role_of((const void *)(uintptr_t)function) != HOST_OTHER;
  enum host_decision decision = adapter->decide != NULL ? adapter->decide(&call, own)
                                : own                   ? HOST_STRAIGHT
                                                        : HOST_CALLOUT;
  if (decision == HOST_STRAIGHT) make_call(&call, call.function);
  else guarded(&call, decision == HOST_OPEN ? TRAP_BARE : 0);
}
