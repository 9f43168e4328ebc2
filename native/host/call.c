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
 * Thunks by function and stack bytes. An entry is complete before its `function` is written, under the lock; readers
 * take no lock. Past CACHED entries a call takes a thunk for itself and gives it back.
 */
#define SLOTS 16384
#define CACHED 3000 /* two thunks each, of TRAP_MAX_THUNKS: what is left serves calls that are not cached */
struct cached {
  _Atomic uintptr_t function;
  size_t stack_bytes;
  _Atomic unsigned generation; /* of the modules, when the function was last found to lie outside the VM's */
  _Atomic(void *) code[2];     /* with the heap closed, and open (TRAP_BARE); NULL until it is called so */
};
static struct cached cache[SLOTS];
static unsigned cached;
HOST_LOCK(lock)

static size_t stack_bytes_of(const struct host_cif *cif) { return ((size_t)cif->bytes + 15) & ~(size_t)15; }

/* The entry, or the place for it. */
static inline struct cached *look_up(uintptr_t function, size_t stack_bytes) {
  size_t hash = (function ^ stack_bytes << 48) * 0x9e3779b97f4a7c15u >> 50;
  for (size_t i = hash;; i = (i + 1) % SLOTS) {
    uintptr_t here = atomic_load_explicit(&cache[i].function, memory_order_acquire);
    if (here == 0 || (here == function && cache[i].stack_bytes == stack_bytes)) return &cache[i];
  }
}

/* A thunk for a call that the cache does not serve. *once: to be given back after it. 0 or a negative errno. */
static int new_thunk(uintptr_t function, size_t stack_bytes, bool open, void **code, bool *once) {
  int rc = trap_thunk((const void *)function, stack_bytes, open ? TRAP_BARE : 0, NULL, code);
  if (rc < 0) return rc;
  *once = true;
  host_first_callout();
  sigset_t mask;
  host_lock(&lock, &mask);
  struct cached *entry = look_up(function, stack_bytes);
  bool new = atomic_load(&entry->function) == 0;
  if (new && cached < CACHED) {
    cached++;
    entry->stack_bytes = stack_bytes;
    atomic_store_explicit(&entry->function, function, memory_order_release);
    new = false;
  }
  if (!new && atomic_load(&entry->code[open]) == NULL) {
    atomic_store_explicit(&entry->code[open], *code, memory_order_release);
    *once = false;
  }
  host_unlock(&lock, &mask);
  return 0;
}

/* Whether a function is the VM's own. Modules come and go: what was found out holds until they do. `entry` is the
 * function's, or the place for it. */
static inline bool is_own(struct cached *entry, uintptr_t function) {
  unsigned generation = atomic_load_explicit(&host_modules_generation, memory_order_acquire);
  bool known = atomic_load_explicit(&entry->function, memory_order_relaxed) == function;
  if (known && atomic_load_explicit(&entry->generation, memory_order_relaxed) == generation) return false;
  if (host_role_of((const void *)function) != HOST_OTHER) return true;
  if (known) atomic_store_explicit(&entry->generation, generation, memory_order_relaxed);
  return false;
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
  host_ffi_of(call->caller)->call(call->cif, function, call->result, call->arguments);
}

static void guarded(struct host_call *call, struct cached *entry, bool open) {
  bool once = false;
  /* An empty place may have become another function's since. */
  void *code = atomic_load_explicit(&entry->code[open], memory_order_acquire);
  if (atomic_load_explicit(&entry->function, memory_order_relaxed) != (uintptr_t)call->function ||
      entry->stack_bytes != stack_bytes_of(call->cif))
    code = NULL;
  int rc = code != NULL ? 0 : new_thunk((uintptr_t)call->function, stack_bytes_of(call->cif), open, &code, &once);
  if (__builtin_expect(rc < 0, 0)) {
    if (rc != -EBUSY) { /* busy: foreign code calls the FFI itself, inside a callout that is guarded already */
      host_count(HOST_UNGUARDED);
      host_say_once("a callout could not be guarded (%s), and others after it", strerror(-rc));
    }
    make_call(call, call->function);
    return;
  }
  struct host_thread *thread = host_this_thread();
  thread->callouts++;
  const struct host_call *outer = thread->call;
  if (__builtin_expect(host_learning, 0)) thread->call = call;
  make_call(call, (host_function)(uintptr_t)code);
  if (__builtin_expect(host_learning, 0)) thread->call = outer;
  bool failed = trap_take_fault(&thread->failure.fault);
  if (__builtin_expect(once, 0)) {
    int saved = errno;
    trap_thunk_release(code);
    errno = saved;
  }
  if (host_state.adapter->returned != NULL) host_state.adapter->returned(call, failed);
  if (__builtin_expect(failed, 0)) after_failure(thread, call);
}

static inline __attribute__((always_inline)) void foreign_call(struct host_cif *cif, host_function function,
                                                               void *result, void **arguments, const void *caller) {
  struct host_call call = {cif, function, result, arguments, caller};
  if (!host_is_vm_or_ffi(call.caller)) {
    make_call(&call, function);
    return;
  }
  const struct host_adapter *adapter = host_state.adapter;
  struct cached *entry = look_up((uintptr_t)function, stack_bytes_of(cif));
  bool own = is_own(entry, (uintptr_t)function);
  enum host_decision decision = adapter->decide != NULL ? adapter->decide(&call, own)
                                : own                   ? HOST_STRAIGHT
                                                        : HOST_CALLOUT;
  if (call.function != function || call.cif != cif) /* the adapter has put another call in its place */
    entry = look_up((uintptr_t)call.function, stack_bytes_of(call.cif));
  if (decision == HOST_STRAIGHT) {
    make_call(&call, call.function);
  } else if (__builtin_expect(host_lends && decision == HOST_CALLOUT, 0)) {
    struct host_loans loans;
    uint64_t failures = host_failures();
    bool open = !host_lend(&call, &loans);
    guarded(&call, entry, open);
    host_lend_end(&call, &loans, host_failures() != failures);
  } else {
    guarded(&call, entry, decision == HOST_OPEN);
  }
}

HOST_REPLACES void ffi_call(struct host_cif *cif, host_function function, void *result, void **arguments);
void ffi_call(struct host_cif *cif, host_function function, void *result, void **arguments) {
  foreign_call(cif, function, result, arguments, HOST_CALLER());
}

HOST_REPLACES void cffi_call(struct host_cif *cif, host_function function, void *result,
                             void **arguments) __asm__(HOST_CFFI_CALL);
void cffi_call(struct host_cif *cif, host_function function, void *result, void **arguments) {
  foreign_call(cif, function, result, arguments, HOST_CALLER());
}
