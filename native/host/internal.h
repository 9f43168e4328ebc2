/*
 * internal.h: what the core's files share. Adapters include host.h alone.
 *
 *   next.c          the C library's own functions, as the replaced symbols hide them
 *   modules.c       in which module an address lies, and whose that is
 *   text.c          a failed callout in words
 *   report.c        counting, messages, the report at the end
 *   fork.c          the core's locks over fork(2)
 *   heap_ranges.c   the image that the heap's mappings are adopted into
 *   memory.c call.c closure.c thread.c signals.c loader.c exit.c exec.c  the replaced functions
 *   imports.c       replacing what one module imports
 *   start.c         the constructor: environment, adapter, trap, image
 */
#ifndef TURNKEY_HOST_INTERNAL_H
#define TURNKEY_HOST_INTERNAL_H

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>

#include "host.h"

/* Replaces a symbol of the C library's or of libffi's. */
#define HOST_REPLACES __attribute__((visibility("default")))
#define HOST_CALLER() __builtin_extract_return_addr(__builtin_return_address(0))

struct host_state {
  _Atomic bool guarding;  /* trap and adapter are ready, and the mechanism is not none */
  _Atomic bool has_image; /* the heap's mappings are adopted */
  enum pkeys_mechanism mechanism;
  const struct host_adapter *adapter;
  struct host_program program;
  pid_t process; /* the process that counts and reports: this one, or after a fork the child */
};
extern struct host_state host_state;

static inline bool host_guarding(void) { return atomic_load_explicit(&host_state.guarding, memory_order_acquire); }
static inline bool host_is_vm(const void *caller) { return host_guarding() && host_role_of(caller) == HOST_VM; }

/*
 * A module in one word, so that no reader sees the bounds of two modules. It has the first page (35 bits, since
 * addresses of programs have 47), the number of pages (27 bits), and the role. 0: none.
 */
typedef _Atomic uint64_t host_module;
#define HOST_MODULE_PAGES(word) ((word) >> 2 & 0x7ffffff)
static inline bool host_module_holds(uint64_t word, const void *address) {
  return ((uintptr_t)address >> 12) - (word >> 29) < HOST_MODULE_PAGES(word);
}
static inline enum host_role host_module_role(uint64_t word) { return (enum host_role)(word & 3); }
/* Most questions are about the FFI's module: who calls ffi_call. */
extern host_module *_Atomic host_recent_ffi;
static inline bool host_is_vm_or_ffi(const void *caller) {
  if (!host_guarding()) return false;
  host_module *recent = atomic_load_explicit(&host_recent_ffi, memory_order_relaxed);
  uint64_t word = atomic_load_explicit(recent, memory_order_relaxed);
  if (host_module_holds(word, caller) && host_module_role(word) == HOST_FFI) return true;
  return host_role_of(caller) != HOST_OTHER;
}

/* ---- next.c ---- */

struct host_next {
  void *(*mmap)(void *, size_t, int, int, int, off_t);
  int (*munmap)(void *, size_t);
  int (*mprotect)(void *, size_t, int);
  void *(*mremap)(void *, size_t, size_t, int, void *);
  int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  int (*sigaction)(int, const struct sigaction *, struct sigaction *);
  int (*sigaltstack)(const stack_t *, stack_t *);
  void *(*dlsym)(void *, const char *);
  int (*dlclose)(void *);
  void (*_exit)(int) __attribute__((noreturn));
  int (*execve)(const char *, char *const[], char *const[]);
  int (*posix_spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                     char *const[], char *const[]);
};
extern struct host_next host_next_functions;
extern _Atomic bool host_next_known;
void host_next_find(void);
/* They are looked up at the first call, in whatever constructor that is. */
static inline const struct host_next *host_next(void) {
  if (__builtin_expect(!atomic_load_explicit(&host_next_known, memory_order_acquire), 0)) host_next_find();
  return &host_next_functions;
}
/* The program's libffi: its function of that name. The process ends if there is none. */
void *host_next_ffi(const char *name);
/* What pip's cffi calls the ffi_call of the libffi in it. */
#define HOST_CFFI_CALL "cffistatic_ffi_call"
/* The libffi of a module. The process ends if a function is called that none has. */
struct host_ffi {
  uintptr_t low;
  size_t bytes;
  void (*call)(struct host_cif *, host_function, void *, void **);
  int (*prepare)(void *, struct host_cif *, host_closure_function, void *, void *);
};
extern const struct host_ffi *_Atomic host_recent_ffi_functions;
const struct host_ffi *host_ffi_find(const void *caller);
static inline const struct host_ffi *host_ffi_of(const void *caller) {
  const struct host_ffi *recent = atomic_load_explicit(&host_recent_ffi_functions, memory_order_acquire);
  return (uintptr_t)caller - recent->low < recent->bytes ? recent : host_ffi_find(caller);
}

/* The holder of a lock takes no signal: a handler of the VM's may come to ask for the same one. */
static inline void host_lock(pthread_mutex_t *lock, sigset_t *mask) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, mask);
  pthread_mutex_lock(lock);
}
static inline bool host_try_lock(pthread_mutex_t *lock, sigset_t *mask) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, mask);
  bool taken = pthread_mutex_trylock(lock) == 0;
  if (!taken) pthread_sigmask(SIG_SETMASK, mask, NULL);
  return taken;
}
static inline void host_unlock(pthread_mutex_t *lock, const sigset_t *mask) {
  pthread_mutex_unlock(lock);
  pthread_sigmask(SIG_SETMASK, mask, NULL);
}

/* ---- fork.c ---- */

/* Every lock of the core is held over fork(2). fork.c has their order. */
void host_hold_over_fork(pthread_mutex_t *lock);
#define HOST_LOCK(name)                                    \
  static pthread_mutex_t name = PTHREAD_MUTEX_INITIALIZER; \
  __attribute__((constructor)) static void name##_over_fork(void) { host_hold_over_fork(&name); }
int host_fork_start(void); /* 0 or a negative errno */

/* ---- modules.c ---- */

/* Where the module that holds an address lies; 0 bytes if none does. */
void host_module_bounds(const void *address, uintptr_t *low, size_t *bytes);
/* Forgets what modules.c has cached: modules were unloaded. */
void host_modules_forget(void);
/* Changes whenever it does. */
extern _Atomic unsigned host_modules_generation;

/* ---- start.c ---- */

/* Says what the program does not get that it was started for. Wrappers make no callouts, and are not told. */
void host_first_callout(void);

/* ---- heap_ranges.c ---- */

/* Makes the image of the adapter's spaces and sets its mechanism. 0 or a negative errno. */
int host_image_start(void);
/* Whether [address, address+bytes) holds adopted memory. */
bool host_adopted(const void *address, size_t bytes);
/* The heap at its largest, as it was looked at now and then: some VMs give it up before they end. */
struct host_heap_size {
  uint64_t ranges, bytes;
};
struct host_heap_size host_image_largest(void);
struct host_heap_size host_image_now(void);
/* A child's heap is counted anew. */
void host_image_in_child(void);

/* ---- report.c ---- */

/* What a thread counts for itself, without atomics. */
struct host_thread {
  uint64_t callouts, open_callouts, callbacks, failures;
  struct host_failure failure;
  const struct host_call *call; /* the callout in progress, while learning */
  struct host_thread *next, *previous;
  bool listed;
};
extern _Thread_local struct host_thread host_thread __attribute__((tls_model("initial-exec")));
void host_thread_list(struct host_thread *thread);
static inline struct host_thread *host_this_thread(void) {
  struct host_thread *thread = &host_thread;
  if (__builtin_expect(!thread->listed, 0)) host_thread_list(thread);
  return thread;
}

enum host_counter {
  HOST_UNGUARDED,   /* callouts for which there was no thunk */
  HOST_NOT_ADOPTED, /* heap mappings that could not be adopted */
  HOST_THREADS,     /* VM threads attached */
  HOST_HANDLERS,    /* signal handlers of the VM's that were put behind the trap or bracketed */
  HOST_COUNTERS,
};
void host_count(enum host_counter counter);
void host_count_failure(const struct host_failure *failure);
void host_report_asked(const char *asked, const char *why_not_keys);
void host_report_start(void);
/* In a forked child, before any signal. */
void host_report_in_child(void);
/* Writes the report of this process, once. */
void host_report(void);
void host_fail(const struct host_failure *failure);

/* ---- signals.c ---- */

/* Notes which handlers the VM inherits, before the trap puts its own there. */
void host_signals_start(void);

/* ---- learn.c ---- */

/* Around what the VM does with handlers: learning's own come before the trap's, and are not taken for the VM's. A store
 * that another thread's callee makes in between fails its callout. */
void host_learn_step_back(void);
void host_learn_step_forward(void);

/* NULL, or why there is nothing to learn or lend. */
const char *host_learn_start(void);
void host_learn_report(void);
extern bool host_learning, host_lends;
/* Why nothing is lent though a list was given, or empty. */
extern char host_nothing_lent[];
#define HOST_LOANS 4
struct host_loans {
  unsigned count;
  struct host_loan {
    uintptr_t original;
    size_t bytes;
    void *copy, *slot; /* `slot`: the argument as it was */
    int argument;
  } loan[HOST_LOANS];
};
bool host_lend(struct host_call *call, struct host_loans *loans);
void host_lend_end(struct host_call *call, struct host_loans *loans, bool failed);

#endif
