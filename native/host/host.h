/*
 * host.h: programs with a VM in them that were never ported. One preloaded library, libturnkey-host.so, stands between
 * such a program and a handful of C functions. It puts the program's callouts through the trap, and the heap behind a
 * mechanism. Nothing is patched on disk and nothing is rebuilt.
 *
 * The core does what is the same for every VM. An *adapter* says what is different: one file per VM, which fills in one
 * `struct host_adapter`. This header is the manual for writing one. adapter_ffi.c is the smallest example.
 *
 * What the core replaces, and for whom. Each replacement asks in which module (program or shared library) its caller
 * lies. Callers that are not the VM's go straight on to the C library.
 *
 *   function                         for callers in      what happens
 *   mmap mmap64 munmap mremap        the VM              the adapter says which mappings are heap; these are adopted
 *   mprotect                                             into a space before the VM gets the address (pkeys.h)
 *   ffi_call                         the VM, its FFI     a callout: called through a thunk
 *   ffi_prep_closure(_loc)           the VM, its FFI     a callback: the closure's function runs with the VM's rights
 *   dlsym                            the VM              the adapter may answer with a function of its own
 *   pthread_create                   the VM              a VM thread: attached before its first instruction
 *   sigaction signal                 the VM              the trap's own signals: the trap keeps its place, and the VM's
 *                                                        handler gets what is no callee's fault. All others: the
 *                                                        handler is bracketed by trap_signal_enter and _leave
 *   sigaltstack                      the VM              threads keep the trap's alternate stack; the VM is told that
 *                                                        it has its own
 *   _exit _Exit                      the VM              the report is written first
 *   execve execv posix_spawn         the VM              a program that cannot be guarded is named on standard error
 *
 * madvise needs no replacement: what it discards keeps its key. glibc calls itself without these symbols, so malloc and
 * thread stacks are never heap.
 *
 * Threads: each function of an adapter may run on any VM thread, unless its comment says more. `failed` runs without
 * the VM's lock where the VM releases it around callouts.
 *
 * Environment, read once at the start (`turnkey guard` sets it):
 *
 *   TURNKEY_HOST_MECHANISM  none, flag, mprotect-page, mprotect-range, pkeys, or auto (default): pkeys where this
 *                           machine has keys, else flag
 *   TURNKEY_HOST_ADAPTER    the name of an adapter; default: the first that recognises the program
 *   TURNKEY_HOST_JSON       file to which each guarded process appends one line of JSON when it ends
 *   TURNKEY_HOST_SUMMARY    1: a summary on standard error at the end; 0 (default): none
 *   TURNKEY_HOST_CHILDREN   0: programs that this one starts are not guarded; 1 (default): they are
 *   TURNKEY_HOST_LEARN      file to which is added what callees wrote into the heap: such stores are let through
 * (learn.c) TURNKEY_HOST_LEND       such a file, to lend what it names TURNKEY_HOST_HEAP       for the adapter `ffi`:
 * see adapter_ffi.c TURNKEY_HOST_POLICY     for adapters without a way to raise an error: see adapter_ffi.c
 */
#ifndef TURNKEY_HOST_H
#define TURNKEY_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../pkeys/pkeys.h"
#include "../trap/trap.h"

/* What a module is to the VM. */
enum host_role {
  HOST_OTHER = 0, /* a stranger: its calls go straight through, and its functions are foreign code */
  HOST_VM = 1,    /* the VM itself: its mappings, threads and handlers are the VM's; its functions are no callouts */
  HOST_FFI = 2,   /* the VM's FFI: its ffi_call makes callouts; its functions are no callouts */
};

/* The program as the dynamic loader has it. */
struct host_program {
  const char *path; /* of the executable, links resolved */
  const char *name; /* the part of `path` after the last slash */
};

/* A mapping that the VM asks for, before it is made. */
struct host_mapping {
  void *address;
  size_t bytes;
  int protection, flags, fd;
  off_t offset;
  const void *caller; /* an address in the VM's code */
};

/* libffi's call interface, of which the core reads `bytes`: the size of the arguments on the stack. The layout is
 * libffi 3's (ffi.h), on x86-64. */
struct host_ffi_type {
  size_t size;
  unsigned short alignment, type;
  struct host_ffi_type **elements;
};
struct host_cif {
  int abi;
  unsigned nargs;
  struct host_ffi_type **arg_types;
  struct host_ffi_type *rtype;
  unsigned bytes, flags;
};
typedef void (*host_function)(void);
typedef void (*host_closure_function)(struct host_cif *cif, void *result, void **arguments, void *user_data);

/* One ffi_call by the VM or its FFI. An adapter may change everything but `caller` before the call. */
struct host_call {
  struct host_cif *cif;
  host_function function;
  void *result;
  void **arguments;
  const void *caller;
};

/* What becomes of a call. */
enum host_decision {
  HOST_CALLOUT = 0, /* through a thunk: trap armed, heap closed */
  HOST_OPEN = 1, /* through a thunk, trap armed, heap open: the function uses the VM's own interface by declaration */
  HOST_STRAIGHT = 2 /* not guarded: the function is the VM's own */
};

/* A callout that failed. */
struct host_failure {
  struct trap_fault fault;
  struct host_call call;
};

struct host_adapter {
  const char *name;

  /* Whether this adapter serves the program. Runs in the library's constructor: nothing of the VM has run yet. */
  bool (*recognises)(const struct host_program *program);

  /* The role of a module by the path that the loader has for it. `is_program` marks the executable. */
  enum host_role (*role)(const char *path, bool is_program);

  /* The spaces of the VM's heap, in order; at most 16. `bytes` stays 0. No spaces: the trap alone. */
  const struct pkeys_space_request *spaces;
  size_t space_count;
  enum pkeys_key_mode key_mode;

  /* The index of the space to which a mapping of the VM's belongs, or -1. NULL: none does; the adapter may still adopt
   * memory by host_adopt. */
  int (*heap)(const struct host_mapping *mapping);

  /* The VM gives memory of `space` another protection: the space that it belongs to from now on. NULL: the same. */
  int (*protects)(unsigned space, int protection);

  /* Called once in the constructor under every mechanism, `none` too, before trap and image: for what the program needs
   * in order to make callouts at all. Returns NULL, or one clear sentence why that cannot be done. May be NULL. */
  const char *(*prepare)(void);

  /* Called once, when trap and image are ready and before the program's main. Returns NULL, or one clear sentence why
   * this VM cannot be served; the program then runs with the trap alone, and the sentence is printed. */
  const char *(*start)(void);

  /* What the VM's dlsym(handle, name) answers instead of `answer`. Asked only for names that `wants` accepts. */
  bool (*wants)(const char *name);
  void *(*symbol)(const char *name, void *answer);

  /* Around each ffi_call. NULL for `decide`: functions of VM and FFI modules go straight, all others are callouts.
   * `own` says that the function lies in a VM or FFI module. `returned` runs after each guarded call, failed or not:
   * the place to take lent copies back. */
  enum host_decision (*decide)(struct host_call *call, bool own);
  void (*returned)(struct host_call *call, bool failed);

  /* A callout has failed on this thread; its result is zeroed. The record stays readable by host_failure until the next
   * callout fails. The core has counted it already. NULL: the policy of adapter_ffi.c. */
  void (*failed)(const struct host_failure *failure);

  /* What is passed to callees by `address`, which lies in the heap: where the memory that they may mean starts, and how
   * large it is. For loans and for learning, there in a signal handler: no locks. Returns a static name for its kind,
   * or NULL if that cannot be told. */
  const char *(*object)(uintptr_t address, uintptr_t *start, size_t *bytes);

  /* Text about what stays open under this adapter, for the JSON line. May be NULL. */
  const char *open;
};

/* ---- what the core gives adapters ---------------------------------------------------------------------------- */

extern const struct host_adapter host_adapter_ffi, host_adapter_cpython, host_adapter_node, host_adapter_ruby,
    host_adapter_squeak;

/* The mechanism that is set, after `auto` was resolved. */
enum pkeys_mechanism host_mechanism(void);
/* The adapter in use. */
const struct host_adapter *host_adapter(void);

/* Maps `bytes` of private memory into space `space`: PROT_NONE, adopted, then answered. NULL on failure. host_unmap
 * gives it back. */
void *host_map(unsigned space, size_t bytes);
void host_unmap(void *address, size_t bytes);
/* Adopts memory that the VM has mapped. Returns 0 or a negative errno; a failure is counted and said once. */
int host_adopt(unsigned space, void *address, size_t bytes, int protection);

/* The number of callouts that have failed on this thread. An adapter notes it before a call into the VM's FFI, and
 * finds afterwards whether a callout in there failed. */
uint64_t host_failures(void);
/* This thread's last failed callout. */
const struct host_failure *host_failure(void);
/* The text of a failed callout, such as "exception in FFI call: SIGSEGV (SEGV_PKUERR), write to 0x…, heap, in memset
 * (libc.so.6+0x…)". Answers `text`. */
char *host_failure_text(const struct host_failure *failure, char *text, size_t bytes);
/* The name of the function that a failed callout called, or its module and offset, or its address. Answers `text`. */
char *host_function_name(const struct host_failure *failure, char *text, size_t bytes);
/* The file name of the module in which an address lies; empty if it lies in none. Answers `text`. */
char *host_module_name(uint64_t address, char *text, size_t bytes);
/* Gives a function the name by which the program knows it; the first name stays. The core does so for what the VM and
 * its FFI ask dlsym for. Others are named by dladdr(3), which does not know functions that the loader chose (ifunc). */
void host_name_function(const void *function, const char *name);
/* SIGSEGV, SEGV_PKUERR, … as text. */
const char *host_signal_name(int signal);
const char *host_code_name(int signal, int code);
const char *host_access_name(uint32_t access);

/* The role of the module in which an address lies. Cached: a few nanoseconds. */
enum host_role host_role_of(const void *address);
/* The C library's dlsym, not the replaced one. */
void *host_dlsym(void *handle, const char *name);

/* Makes the module that holds `inside` call `replacement` where it imports `symbol`. *before gets what it called until
 * now. Returns 0; -ENOENT if the module imports no such symbol; or another negative errno. */
int host_import_replace(const void *inside, const char *symbol, const void *replacement, void **before);

/* Writes "turnkey: TEXT" to standard error. host_say_once says each text once per process. printf's formats. */
void host_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void host_say_once(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Adds a sentence to the report: something that stays unprotected, and why. */
void host_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
