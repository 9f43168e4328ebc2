/*
 * trap.h: guarded calls into foreign code.
 *
 * A *thunk* is a code address with the foreign function's own signature. Calling it arms the fault trap on this thread,
 * takes the write right to every open image away, calls the function on a foreign stack, and puts all back. If the
 * function faults, the thunk returns 0 to its caller and a fault record is there to be read. C11 and one .S file per
 * ABI; no Node. Uses native/pkeys.
 *
 * Return values: 0 or a non-negative result, else a negative errno. No function prints, and none touches errno (the
 * macros of call.h that answer a pointer do). A program that goes on where nobody can (a longjmp over the gate, a
 * released thunk called, TRAP_MAX_NESTING exceeded, a thread that calls a thunk and cannot be attached) ends by SIGABRT
 * with a message on standard error.
 *
 * Where each function may be called:
 *   VM code, callbacks     everything. A callback thunk makes its target VM code.
 *   foreign code           thunks, which call straight through, trap_in_callout and trap_depth. What makes, changes or
 * releases something answers -EBUSY (NULL) inside a callout and changes nothing. signal handlers trap_signal_enter
 * first and trap_signal_leave last; between them thunks and callbacks that exist already, trap_take_fault,
 *                          trap_thread_fault, trap_thunk_fault, trap_in_callout and trap_depth, on a thread that is
 * attached. Nothing that makes or releases: it takes a lock that the interrupted code may hold. Threads: any. A thunk
 * serves every thread; a fault record belongs to the thread that called, or to the private thunk. A thread is attached
 * by its first call and released when it ends (pthread_key_create(3)).
 *
 * fork: the child of VM code has the trap, on its one thread. A child forked inside a callout is not the VM: its faults
 * are passed on.
 *
 * Before and after: sigaction(2) handlers that were there get whatever is not a callee's fault (I5); handlers installed
 * later replace these silently (trap_rearm).
 *
 * Kernel pages: sigaction(2), sigaltstack(2), signal(7), getauxval(3) (AT_MINSIGSTKSZ), pkeys(7), arch/x86/xstate.rst
 * (the XSAVE image in a signal frame, where PKRU lies). ABI: System V AMD64 psABI 3.2 (calling), Itanium C++ ABI 1.6
 * (unwinding).
 */
#ifndef TURNKEY_TRAP_H
#define TURNKEY_TRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <turnkey/export.h>

TURNKEY_API_BEGIN

/* ---- set-up -------------------------------------------------------------------------------------------------- */

/* Installs the handlers for SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT (I5, I6; on Windows a vectored exception
 * handler and one for SIGABRT), tags the trap's pages (I11) and attaches this thread. Idempotent, thread-safe. 0 or
 * negative errno. Handlers stay for the life of the process. */
int trap_init(void);
/* Puts the handlers back where the program has installed its own over them since (sigaction replaces silently; Node
 * does it for process.on('SIGABRT')). Those become the handlers that whatever is not ours is passed on to, and may
 * themselves chain to us: then the one before them gets it. Not from a signal handler. 0; -EBUSY inside a callout;
 * -ENOSPC after 64 different handlers; negative errno. */
int trap_rearm(void);
/* Attaches this thread (I13): VM rights, alternate stack, foreign stack; released at thread exit. Cheap if attached
 * already and no key was added since. The gate does it too when a thread first calls a thunk. 0, -ENOMEM, -EAGAIN (no
 * thread slot left; TRAP_MAX_THREADS). */
int trap_attach(void);
/* A thread that changed its signal mask or its floating-point environment (rounding, exceptions) since it attached says
 * so: a failed callout comes back with these (I7, I12). */
void trap_note_thread(void);
#define TRAP_MAX_THREADS 1023
#define TRAP_MAX_NESTING 48

/* Size of the foreign stacks made from now on (default 8 MiB, at least 2 MiB; 0: as it is), and whether callouts switch
 * to them (default true). -EINVAL; -EBUSY when the latter would change while any thread is in a callout. */
int trap_set_foreign_stack(bool enabled, size_t bytes);

/* ---- response policy ----------------------------------------------------------------------------------------- */

enum trap_response { TRAP_NEVER = 0, TRAP_DECLARED = 1, TRAP_ALWAYS = 2 }; /* Cog's ffiExceptionResponse <0, 0, >0 */
typedef struct trap_policy trap_policy;
/* A policy cell (one per guard); up to 1024 live ones. NULL on exhaustion. Changing the response takes effect for calls
 * in progress too. */
trap_policy *trap_policy_create(enum trap_response response);
void trap_policy_set(trap_policy *policy, enum trap_response response);
void trap_policy_release(trap_policy *policy);

/*
 * The functions below, and those for policies, are the VM's: foreign code that calls them from inside a callout gets
 * -EBUSY (NULL), and nothing is changed.
 */

/* ---- thunks -------------------------------------------------------------------------------------------------- */

enum trap_thunk_flags {
  TRAP_CAN_FAIL = 1,     /* the function was declared canFail (policy 'declared') */
  TRAP_LENT = 2,         /* callouts through this thunk are passed a loan: the lending arena is open in them */
  TRAP_PHASE_LOAD = 4,   /* recorded in the fault: dlopen/dlclose */
  TRAP_PHASE_DECODE = 8, /* recorded in the fault: Turnkey's own bounded copies */
  TRAP_FLOAT = 32, /* the floating-point environment (mxcsr, x87 control word) is saved on each call and restored after
                      a fault. Without it a fault restores what the thread had when it attached or last called
                      trap_note_thread: STMXCSR alone costs more than the gate */
  TRAP_BARE = 16,  /* measurement only: trap armed, but no image is closed whatever is open */
};
#define TRAP_MAX_STACK_BYTES 65536
/*
 * Code address that calls `target` guarded. Cached by (target, stack_bytes, flags, policy) and counted: release once
 * for each get. stack_bytes: bytes of arguments passed on the stack, an upper bound suffices (as many bytes above the
 * call must be mapped: they are copied); rounded up to 16. policy NULL: always. 0, -EINVAL, -ENOSPC (TRAP_MAX_THUNKS
 * live).
 */
#define TRAP_MAX_THUNKS 8192
int trap_thunk(const void *target, size_t stack_bytes, unsigned flags, trap_policy *policy, void **code);
/* A thunk of its own, not shared, with a fault record of its own: for a call in flight on another thread (async). */
int trap_thunk_private(const void *target, size_t stack_bytes, unsigned flags, trap_policy *policy, void **code);
int trap_thunk_release(void *code);
/* The target behind a thunk, or NULL if `code` is not a live thunk. */
const void *trap_thunk_target(const void *code);

/* Code address to hand to foreign code in place of the VM function `target`: goes back to the VM's stack and rights,
 * calls, and returns to foreign rights. Straight through on a thread with no callout. stack_bytes: exact bytes of stack
 * arguments, rounded up to 8. */
#define TRAP_MAX_CALLBACKS 8192
int trap_callback(const void *target, size_t stack_bytes, void **code);
int trap_callback_release(void *code);

/* ---- faults -------------------------------------------------------------------------------------------------- */

enum trap_access { TRAP_ACCESS_UNKNOWN = 0, TRAP_ACCESS_READ = 1, TRAP_ACCESS_WRITE = 2, TRAP_ACCESS_EXECUTE = 3 };
enum trap_phase { TRAP_IN_CALL = 0, TRAP_IN_LOAD = 1, TRAP_IN_DECODE = 2 };

/* The fault record. Fixed layout: JavaScript reads it through a view at these offsets (static_assert in trap.c). All
 * little-endian. */
struct trap_fault {
  uint32_t pending;  /* 0: non-zero from the fault until taken; counts up: 1.. */
  uint32_t phase;    /* 4: enum trap_phase */
  int32_t signal;    /* 8: of the fault. Windows: the C signal that stands for the exception: SIGSEGV, SIGILL, SIGFPE;
                        SIGABRT for abort and for what reached the gate */
  int32_t code;      /* 12: si_code. Windows: the exception code, as in 0xC0000005 */
  uint64_t address;  /* 16: si_addr; 0 for general-protection faults (Windows: where it tells the last address) */
  uint64_t pc;       /* 24 */
  uint32_t access;   /* 32: enum trap_access */
  int32_t pkey;      /* 36: si_pkey, or -1 */
  int32_t thread_id; /* 40: kernel tid; Windows: thread id */
  uint32_t depth;    /* 44: nesting depth of the failed callout, 1.. */
  uint64_t function; /* 48: the target of the thunk */
  uint64_t thunk;    /* 56: its code address */
  uint32_t space_found;    /* 64: 1 if address lies in a space */
  uint32_t space_image_id; /* 68 */
  uint64_t space_offset;   /* 72 */
  char space_name[32];     /* 80 */
  uint64_t error_code;     /* 112: page-fault error code (REG_ERR), valid with trap_number 14. ARM64: ESR, 0 where the
                              kernel gives none */
  uint64_t trap_number;    /* 120: REG_TRAPNO. ARM64: the exception class of ESR */
  uint64_t registers[24]; /* 128: rax rbx rcx rdx rsi rdi rbp rsp r8..r15 rip rflags; the rest 0. ARM64: x0..x18 x29 x30
                             sp pc pstate */
  uint32_t pkru;          /* 320: interrupted PKRU if known, else 0 */
  uint32_t flags;         /* 324: TRAP_FAULT_* */
  uint64_t foreign_sp_top; /* 328: top of the foreign stack used (for scanning return addresses), 0 if none */
  uint32_t stack_words;    /* 336: entries used in stack[] */
  uint32_t mechanism_held; /* 340: 1 if the rights were still denied when the fault came (nothing in the callee had
                              opened them) */
  uint64_t stack[64]; /* 344: values found on the foreign stack that point into executable mappings, innermost first */
  uint64_t more_registers[10]; /* 856: ARM64: x19..x28 */
  uint64_t reserved[11];       /* to 1024 bytes */
};
#define TRAP_FAULT_STACK_OVERFLOW \
  1u /* address in the guard below the foreign stack; Windows: EXCEPTION_STACK_OVERFLOW, on the caller's stack too */
#define TRAP_FAULT_ABORT 2u /* SIGABRT this thread raised itself */
#define TRAP_FAULT_UNWIND                                                                                              \
  4u /* abort from the unwind barrier: C++ throw, pthread_exit, cancellation; Windows: an exception that nobody in the \
        callee took, told by its code */

/* This thread's record (written for shared thunks). Valid while the thread lives. Attaches the thread if need be; NULL
 * if that fails. */
struct trap_fault *trap_thread_fault(void);
/* The record of a private thunk; NULL for others. */
struct trap_fault *trap_thunk_fault(const void *code);
/* If the last callout on this thread failed: copies the record to *out, clears it, returns true. */
bool trap_take_fault(struct trap_fault *out);

/* ---- bounded copies through the gate (what a callee leaves behind is untrusted) ------------------------------ */

/* Copies bytes at `source` with the trap armed and rights dropped. 0, or -EFAULT with the fault in *fault (may be
 * NULL). */
int trap_copy(void *destination, const void *source, size_t bytes, struct trap_fault *fault);
/* Copies a string of units of 1, 2 or 4 bytes up to its terminator, at most max_units. Returns units before the
 * terminator; *terminated says whether one was found; -EFAULT as above. */
intptr_t trap_copy_string(void *destination, const void *source, size_t max_units, unsigned unit_bytes,
                          bool *terminated, struct trap_fault *fault);

/* ---- loading ------------------------------------------------------------------------------------------------- */

/* dlopen/dlclose as callouts, phase 'load'. On failure returns NULL / non-zero: the fault, if any, in *fault (pending
 * != 0), else dlerror text in message. */
void *trap_dlopen(const char *name, int flags, trap_policy *policy, struct trap_fault *fault, char *message,
                  size_t message_bytes);
int trap_dlclose(void *handle, trap_policy *policy, struct trap_fault *fault, char *message, size_t message_bytes);

/* ---- VM signal handlers -------------------------------------------------------------------------------------- */

/* A VM's own signal handler that may have interrupted a callout, and touches the image or makes callouts, calls enter
 * first and leave last (I12). Async-signal-safe. Its callouts go through private thunks if they may fail: the thread's
 * record may hold a fault that the interrupted code has yet to take. */
struct trap_signal {
  uint64_t words[4];
};
void trap_signal_enter(struct trap_signal *saved);
void trap_signal_leave(const struct trap_signal *saved);

/* ---- a model of keys, for measurement only ------------------------------------------------------------------- */

/*
 * From now on every callout of this process that closes nothing (mechanism `flag`) pays a serialising delay of about
 * `cycles` wherever the gate would write PKRU: twice for a callout, twice more for each callback. It PROTECTS NOTHING:
 * it lets real programs feel what such writes would cost on a CPU that has none. Calibrated against a chain of 32-bit
 * multiplications (3 cycles each); *reached, if not NULL, gets the cycles of the delay chosen, which has a least of its
 * own. `cycles` 0 ends it. -ENOTSUP where the CPU has keys (there is something real to measure), -ERANGE (more than
 * TRAP_MODEL_MOST_CYCLES), -EBUSY while this thread is in a callout.
 */
#define TRAP_MODEL_MOST_CYCLES 1500
int trap_model(unsigned cycles, double *reached);

/* ---- introspection ------------------------------------------------------------------------------------------- */

bool trap_in_callout(void); /* this thread, now */
unsigned trap_depth(void);  /* callouts this thread is inside of, suspended ones included */
struct trap_statistics {
  uint64_t faults, passed_on, threads_live, threads_ever, thunks_live, callbacks_live, stacks_cached;
};
struct trap_statistics trap_statistics(void);

TURNKEY_API_END
#endif
