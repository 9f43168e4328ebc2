/*
 * trap.h: guarded calls into foreign code.
 *
 * This header is the layer's manual. A *thunk* is a code address with the foreign function's own signature. Calling a
 * thunk does this:
 *   1. it arms the fault trap on this thread, and takes the write right to every open image away;
 *   2. it calls the function on a foreign stack;
 *   3. it puts all of that back.
 * If the function faults, the thunk returns 0 to its caller, and a fault record can be read. The layer is C11 and one
 * assembly file per ABI. It uses native/pkeys and needs no Node.
 *
 * Words:
 *   callout        one call from the VM into foreign code; the code called is the *callee*
 *   callback       a call from foreign code back into the VM during a callout
 *   gate           the code that a callout passes through
 *   VM code        code that runs with all rights to the images
 *   foreign stack  the stack that a callee runs on; the thread keeps its own for VM code
 * I1 to I13 are the rules of docs/invariants.md.
 *
 * Return values: a function returns 0 or a non-negative result on success, and a negative errno on failure. No function
 * prints. None changes errno, except the macros of call.h that answer a pointer.
 *
 * A few mistakes leave nothing to return to. They end the process by SIGABRT, with a message on standard error:
 *   - a longjmp over the gate;
 *   - a call of a thunk that was released;
 *   - more than TRAP_MAX_NESTING nested callouts;
 *   - a call of a shared thunk on a thread that cannot be attached. A private thunk has a record: it returns 0, and the
 *     record says what was short.
 *
 * Where each function may be called:
 *
 *   on                       allowed
 *   VM code, callbacks       everything; the target of a callback thunk is VM code
 *   foreign code             thunks (they call straight through), trap_in_callout, trap_depth; whatever makes, changes
 *                            or releases something answers -EBUSY (or NULL) and changes nothing
 *   VM signal handlers       see "VM signal handlers" below; nothing that makes or releases something, because the
 *                            interrupted code may hold the lock
 *
 * Threads: a thunk serves every thread. A fault record belongs to the thread that made the call, or to a private thunk.
 * A thread is attached by its first call and released when it ends (pthread_key_create(3)).
 *
 * fork: a child forked by VM code has the trap, on its one thread, and no lock is held in it. A child forked inside a
 * callout is not the VM: its faults are passed on.
 *
 * Other signal handlers: a handler that was installed before trap_init gets every signal that is not a callee's fault
 * (I5). For handlers that are installed later, see trap_rearm.
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

/* Sets the trap up for the life of the process. It installs the signal handlers (I5, I6), tags the trap's own pages
 * (I11) and attaches this thread. It is idempotent and thread-safe. Returns 0 or a negative errno.
 *
 *   Linux    handlers for SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT and SIGSYS; for SIGXFSZ and SIGXCPU too,
 *            unless they are ignored
 *   Windows  a vectored exception handler, and a handler for SIGABRT */
int trap_init(void);
/*
 * Whose handler comes first. A handler that foreign code installs after trap_init keeps its place before the trap's, as
 * it would without the trap. It is asked first about every fault, also under TRAP_NEVER and TRAP_DECLARED. What it
 * hands on to the handler that it replaced is the trap's. So a library with a write barrier or a safepoint of its own
 * works, in whatever order handlers and libraries come. A library whose handler hands nothing on keeps every fault of
 * the process.
 *
 * The VM's own handlers come after the trap's: they get what is not a callee's fault. Handlers are told apart by the
 * module (program or shared library) that their code lies in. The program is the VM's, and so is the module that this
 * library is linked into; all others are foreign code's.
 */
/* Puts the trap's handlers back where the VM has replaced them since. sigaction(2) replaces without notice; Node does
 * so for process.on('SIGABRT'), for example. From then on, the VM's handler gets what is not a callee's fault. If that
 * handler chains to the trap's, the handler before it is called. Handlers of foreign code stay. Must not be called in a
 * signal handler. Returns 0; -EBUSY inside a callout; -ENOSPC after 64 different handlers; or another negative errno.
 */
int trap_rearm(void);
/* Call this before the VM installs a handler of its own, and trap_rearm afterwards. sigaction(2) replaces the handler
 * of a foreign library too; the trap_rearm that follows puts the library's back in its place before the trap's. Returns
 * 0; -EBUSY inside a callout; or another negative errno. */
int trap_rearm_note(void);
/* Says whose the handlers in a module are. `address` is any address of its code or data. Use it for a
 * shared library that holds the VM, and for foreign code that is linked into the program; then call trap_rearm. For a
 * foreign library whose handler hands nothing on, false gives the trap its place back. Returns 0; -EBUSY inside a
 * callout; -EINVAL if no module is there; -ENOSPC past 64 modules; -ENOTSUP on Windows. */
int trap_module_is_foreign(const void *address, bool foreign);
/* Attaches this thread (I13): it gets VM rights, an alternate signal stack and a foreign stack, until it ends. A thread
 * that never calls this is attached by its first call of a thunk. Repeating it is cheap; it opens the keys that were
 * added since. Returns 0; -ENOMEM; or -EAGAIN if TRAP_MAX_THREADS threads are attached. */
int trap_attach(void);
/* Notes this thread's signal mask and floating-point environment (rounding, exceptions) as they are now. A failed
 * callout comes back with what was noted last (I7, I12). Attaching notes them too, so call this after changing one of
 * them. */
void trap_note_thread(void);
/*
 * Virtual keys (pkeys_virtual.h): this thread leaves the pooled image that it is in, and enters `image`, or none
 * (NULL). It alone is open to the thread from then on, among the pooled images. A callback and a signal handler start
 * in the image of what they interrupt, and may enter others; that is put back when they end. Answers as
 * pkeys_seat_enter.
 */
struct pkeys_image;
int trap_enter_image(struct pkeys_image *image);
struct pkeys_image *trap_entered_image(void);
struct trap_visits {
  uint64_t hits, misses; /* of this thread's entries: the image had a key, or had to be loaded */
};
struct trap_visits trap_visits(void);
#define TRAP_MAX_THREADS 1023
#define TRAP_MAX_NESTING 48

/* Sets whether callouts run on foreign stacks (default true). `bytes` is the size of those made from now on: default 8
 * MiB, at least 2 MiB, and 0 leaves it as it is. Returns 0; -EINVAL; or -EBUSY if `enabled` would change while a thread
 * is in a callout. */
int trap_set_foreign_stack(bool enabled, size_t bytes);

/* Seals the trap's own pages with mseal(2) (Linux 6.10): its state, the gates and thunks, the pages of native/pkeys.
 * With them the code of what is never unloaded: the program, the C library, and this module; and the pages of loans
 * that are made from now on, unless an image of mprotect-* is open (pkeys_seal_loans). After that no code in this
 * process can unmap, replace, retag or rewrite them. Call it once everything is set up; repeating it is cheap. Returns
 * 0; -EBUSY inside a callout; -EOPNOTSUPP where the kernel cannot seal; or another negative errno. */
int trap_seal(void);

/* ---- response policy ----------------------------------------------------------------------------------------- */

/* What a fault in a callout does. The values stand for Cog's ffiExceptionResponse: below 0, 0, above 0.
 *
 *   TRAP_NEVER     the fault goes to the handler before
 *   TRAP_DECLARED  the callout fails if its thunk was made with TRAP_CAN_FAIL; otherwise as TRAP_NEVER
 *   TRAP_ALWAYS    the callout fails */
enum trap_response { TRAP_NEVER = 0, TRAP_DECLARED = 1, TRAP_ALWAYS = 2 };
/* A policy holds a response that can be changed for many thunks at once, also for calls in progress. Up to 1,024
 * policies can be live. trap_policy_create answers NULL past that. */
typedef struct trap_policy trap_policy;
trap_policy *trap_policy_create(enum trap_response response);
void trap_policy_set(trap_policy *policy, enum trap_response response);
void trap_policy_release(trap_policy *policy);

/*
 * The functions for policies, thunks and callbacks are for VM code. Foreign code that calls one from inside a callout
 * gets -EBUSY (or NULL), and nothing changes.
 */

/* ---- thunks -------------------------------------------------------------------------------------------------- */

enum trap_thunk_flags {
  TRAP_CAN_FAIL = 1,      /* the VM expects that this function can fail; see TRAP_DECLARED */
  TRAP_LENT = 2,          /* callouts through this thunk are passed a loan, so the lending arena is open in them */
  TRAP_PHASE_LOAD = 4,    /* the fault record says: phase 'load', that is, dlopen or dlclose */
  TRAP_PHASE_DECODE = 8,  /* the fault record says: phase 'decode', that is, one of the bounded copies below */
  TRAP_BARE = 16,         /* for measuring only: the trap is armed, but no image is closed */
  TRAP_FLOAT = 32,        /* each call saves the floating-point environment (mxcsr, x87 control word), and a failed one
                             restores it. Without this flag, a failed call restores what trap_note_thread noted. Saving
                             costs more than the rest of the gate */
  TRAP_CALLER_STACK = 64, /* the function runs on its caller's stack, not on a foreign one: for code that looks at the
                             bounds of its thread's stack, such as a collector. An overrun then reaches VM frames */
  TRAP_FILTER = 256,      /* the callee's system calls are judged (filter.h) */
  TRAP_TICKETED = 128,    /* the last word of the stack arguments is a ticket, whose record this call's fault goes to */
  TRAP_INSIDE = 512, /* the function may write the pooled image that the calling thread has entered (trap_enter_image):
                        code of that tenant's own. Every other pooled image is closed to it as to all */
};
#define TRAP_MAX_STACK_BYTES (512u << 10)       /* a quarter of the smallest foreign stack */
#define TRAP_MAX_CALLER_STACK_BYTES (32u << 10) /* with TRAP_CALLER_STACK: a quarter of koffi's smaller stack */
#define TRAP_TICKET_BYTES 16 /* with TRAP_TICKETED, as many more: the ticket, and what makes it end on 16 */
/*
 * Stores in *code an address that calls `target` guarded. Equal arguments give the same thunk, which is counted:
 * release it once for each successful call.
 *
 *   stack_bytes  size of the arguments that the ABI passes on the stack, rounded up to 16. An upper bound suffices, as
 *                long as that many bytes above the call are mapped, because the gate copies them. At most
 *                TRAP_MAX_STACK_BYTES, or what the flags say
 *   policy       NULL means TRAP_ALWAYS
 *
 * Returns 0; -EINVAL; or -ENOSPC if TRAP_MAX_THUNKS thunks are live.
 */
#define TRAP_MAX_THUNKS 8192
int trap_thunk(const void *target, size_t stack_bytes, unsigned flags, trap_policy *policy, void **code);
/* Makes a thunk that is not shared and has a fault record of its own. Use it for a call that runs on another thread. */
int trap_thunk_private(const void *target, size_t stack_bytes, unsigned flags, trap_policy *policy, void **code);
int trap_thunk_release(void *code);
/* The function that a thunk calls, or NULL if `code` is not a live thunk. */
const void *trap_thunk_target(const void *code);

/* Stores in *code an address to hand to foreign code in place of the VM function `target`. A call of it goes back to
 * the VM's stack and rights, calls `target`, and then returns to foreign stack and rights. On a thread that is in no
 * callout it calls straight through. `stack_bytes` is the exact size of the stack arguments, rounded up to 8, and at
 * most TRAP_MAX_CALLBACK_STACK_BYTES: they are copied to the VM's stack, whose room the gate cannot know. Returns 0;
 * -EINVAL; or -ENOSPC if TRAP_MAX_CALLBACKS callbacks are live. */
#define TRAP_MAX_CALLBACKS 8192
#define TRAP_MAX_CALLBACK_STACK_BYTES (64u << 10)
int trap_callback(const void *target, size_t stack_bytes, void **code);
/* Ends a callback. Foreign code that kept the address gets zeros from then on; the first such call of the process
 * writes a message to standard error. A released address is the last to be given out again. */
int trap_callback_release(void *code);

/* For a VM that takes apart what `target` needs, while threads that it does not know may be on their way there. From
 * trap_callback_count on, calls of `code` by threads in no callout are counted. An exception, pthread_exit or
 * cancellation cannot pass through such a call any more, and a longjmp leaves it counted. Linux on x86-64. Returns 0;
 * -EINVAL; or -EOPNOTSUPP. */
int trap_callback_count(void *code);
/* Such calls that have not returned. None comes to them after trap_callback_release: once 0, no thread outside callouts
 * is on the way to `target` or in it. Of callouts the VM knows itself. */
uint32_t trap_callback_calls(const void *code);

/* ---- faults -------------------------------------------------------------------------------------------------- */

enum trap_access { TRAP_ACCESS_UNKNOWN = 0, TRAP_ACCESS_READ = 1, TRAP_ACCESS_WRITE = 2, TRAP_ACCESS_EXECUTE = 3 };
enum trap_phase { TRAP_IN_CALL = 0, TRAP_IN_LOAD = 1, TRAP_IN_DECODE = 2 };

/* The fault record. It also describes a callout that was not made. Then `signal` is 0 and `code` a negative errno, and
 * `address` is how much was short (-EAGAIN: thread slots; -ENOMEM: bytes of stack). Bindings take the fields' offsets
 * from TRAP_FAULT_FIELDS; numbers are little-endian. "Windows" and "ARM64" say where a field differs there. */
struct trap_fault {
  uint32_t pending;     /* number of the fault, from 1, until the record is taken; then 0 */
  uint32_t phase;       /* enum trap_phase */
  int32_t signal;       /* signal number. Windows: the C signal that stands for the exception: SIGSEGV, SIGILL, SIGFPE,
                           or SIGABRT for abort and for an exception that reached the gate */
  int32_t code;         /* si_code. Windows: the exception code, such as 0xC0000005 */
  uint64_t address;     /* si_addr; 0 for general-protection faults. Windows gives the last address for those */
  uint64_t pc;          /* address of the instruction that faulted */
  uint32_t access;      /* enum trap_access */
  int32_t pkey;         /* si_pkey, or -1 */
  int32_t thread_id;    /* the kernel's thread id */
  uint32_t depth;       /* nesting depth of the failed callout, from 1 */
  uint64_t function;    /* the function that the thunk calls */
  uint64_t thunk;       /* the thunk's code address */
  uint32_t space_found; /* 1 if `address` lies in a space; the next three fields then name it */
  uint32_t space_image_id;
  uint64_t space_offset;
  char space_name[32];
  uint64_t error_code;         /* page-fault error code (REG_ERR), valid if trap_number is 14. ARM64: ESR, or 0 where
                                  the kernel gives none */
  uint64_t trap_number;        /* REG_TRAPNO. ARM64: the exception class of ESR */
  uint64_t registers[24];      /* rax rbx rcx rdx rsi rdi rbp rsp r8..r15 rip rflags; the rest 0. ARM64: x0..x18 x29 x30
                                  sp pc pstate */
  uint32_t pkru;               /* PKRU of the interrupted code if known, else 0 */
  uint32_t flags;              /* TRAP_FAULT_* */
  uint64_t foreign_sp_top;     /* top of the foreign stack that was in use, or 0 */
  uint32_t stack_words;        /* number of entries used in `stack` */
  uint32_t mechanism_held;     /* 1 if the rights were still denied at the fault; the callee had not opened them */
  int32_t space_key;           /* pkeys_space_key_at_fault: the space's key at the fault, or -1 */
  uint32_t space_moves;        /* and how often the space got another key since */
  uint64_t stack[64];          /* words on the foreign stack that point into executable mappings, innermost first */
  uint64_t more_registers[10]; /* ARM64: x19..x28 */
  uint64_t reserved[10];       /* fills the record to 1,024 bytes */
};
/* The fields in order, without gaps: for bindings, which need offsets. */
/* clang-format off */
#define TRAP_FAULT_FIELDS(X)                                                                                     \
  X(pending)                                                                                                     \
  X(phase)                                                                                                       \
  X(signal)                                                                                                      \
  X(code) X(address) X(pc) X(access) X(pkey) X(thread_id) X(depth) X(function) X(thunk) X(space_found)           \
      X(space_image_id) X(space_offset) X(space_name) X(error_code) X(trap_number) X(registers) X(pkru) X(flags) \
          X(foreign_sp_top) X(stack_words) X(mechanism_held) X(space_key) X(space_moves) X(stack)                \
              X(more_registers) X(reserved)
/* clang-format on */
/* Bits of `flags`:
 *
 *   STACK_OVERFLOW  the address lies in the guard below the foreign stack. Windows: EXCEPTION_STACK_OVERFLOW, on the
 *                   caller's stack too
 *   ABORT           this thread sent SIGABRT to itself
 *   UNWIND          the gate stopped an unwind, which became an abort: a C++ throw, pthread_exit or a cancellation.
 *                   Windows: an exception that the callee did not handle; `code` names it */
#define TRAP_FAULT_STACK_OVERFLOW 1u
#define TRAP_FAULT_ABORT 2u
#define TRAP_FAULT_UNWIND 4u

/* This thread's record, which shared thunks fill. It stays valid while the thread lives. Attaches the thread if
 * necessary and answers NULL if that fails. */
struct trap_fault *trap_thread_fault(void);
/* The record of a private thunk, or NULL for any other address. */
struct trap_fault *trap_thunk_fault(const void *code);
/* If a callout on this thread has failed, copies the record to *out, clears it and returns true. Otherwise returns
 * false. A later fault overwrites a record that was not taken. */
bool trap_take_fault(struct trap_fault *out);

/* A ticket: a fault record for one call in flight, whatever thread makes it. Its number is passed as the last stack
 * argument of a call through a TRAP_TICKETED thunk. `stack_bytes` of that thunk is exact, and a multiple of 16. The
 * function does not miss what it did not declare. Returns 0, or -ENOSPC if TRAP_MAX_TICKETS are out. */
#define TRAP_MAX_TICKETS 4096
int trap_ticket_take(uint32_t *ticket);
/* Gives a ticket back. Returns true, and the record in *out, if the call failed. */
bool trap_ticket_end(uint32_t ticket, struct trap_fault *out);

/* ---- bounded copies through the gate (what a callee leaves behind is untrusted) ------------------------------ */

/* Copies `bytes` from `source` as a callout: with the trap armed and the rights dropped. Returns 0, or -EFAULT with the
 * fault in *fault, unless `fault` is NULL. */
int trap_copy(void *destination, const void *source, size_t bytes, struct trap_fault *fault);
/* Copies a string up to its terminator, as a callout, and at most `max_units` units of `unit_bytes` (1, 2 or 4) bytes
 * each. Returns the number of units before the terminator, or -EFAULT as above. *terminated says whether the terminator
 * was reached. */
intptr_t trap_copy_string(void *destination, const void *source, size_t max_units, unsigned unit_bytes,
                          bool *terminated, struct trap_fault *fault);

/* ---- loading ------------------------------------------------------------------------------------------------- */

/* dlopen(3) and dlclose(3) as callouts, since both run the library's own code. A failed dlopen answers NULL, and a
 * failed dlclose a non-zero value. If fault->pending is not 0 then, *fault holds a fault of phase 'load'. Otherwise
 * `message` holds the text of dlerror(3). */
void *trap_dlopen(const char *name, int flags, trap_policy *policy, struct trap_fault *fault, char *message,
                  size_t message_bytes);
int trap_dlclose(void *handle, trap_policy *policy, struct trap_fault *fault, char *message, size_t message_bytes);

/* ---- VM signal handlers -------------------------------------------------------------------------------------- */

/*
 * A signal handler of the VM may interrupt a callout. If it touches the image or makes callouts, it calls
 * trap_signal_enter first and trap_signal_leave last (I12). Both are async-signal-safe. Between them, on an attached
 * thread, these may be called: existing thunks and callbacks, trap_take_fault, trap_thread_fault, trap_thunk_fault,
 * trap_in_callout and trap_depth. Callouts that may fail go through private thunks there: the thread's record may hold
 * a fault that the interrupted code has not taken yet.
 */
struct trap_signal {
  uint64_t words[4];
};
void trap_signal_enter(struct trap_signal *saved);
void trap_signal_leave(const struct trap_signal *saved);

/* ---- a model of keys, for measurement only ------------------------------------------------------------------- */

/*
 * Makes the callouts of this process as slow as rights writes might make them, on a CPU without keys. It PROTECTS
 * NOTHING. A callout that closes nothing (mechanism `flag`) then runs a serialising delay of about `cycles` wherever
 * the gate would write PKRU. That is twice for a callout, and twice more for each callback. 0 cycles end the delay.
 *
 * The delay is calibrated against a chain of 32-bit multiplications of 3 cycles each. It cannot be arbitrarily short:
 * *reached, unless `reached` is NULL, gets the cycles that it really takes.
 *
 *   -ENOTSUP  this CPU has keys, so the real cost can be measured
 *   -ERANGE   `cycles` exceeds TRAP_MODEL_MOST_CYCLES
 *   -EBUSY    this thread is in a callout
 */
#define TRAP_MODEL_MOST_CYCLES 1500
int trap_model(unsigned cycles, double *reached);

/* ---- introspection ------------------------------------------------------------------------------------------- */

bool trap_in_callout(void); /* whether this thread runs foreign code now */
unsigned trap_depth(void);  /* number of callouts that this thread is inside of, suspended ones included */
struct trap_statistics {
  uint64_t faults;       /* callouts failed by the trap since the process began */
  uint64_t passed_on;    /* signals passed on to the handlers before */
  uint64_t threads_live; /* threads attached now */
  uint64_t threads_ever; /* threads attached since the process began */
  uint64_t thunks_live;
  uint64_t callbacks_live;
  uint64_t stacks_cached; /* foreign stacks of ended threads, kept for the next ones */
};
struct trap_statistics trap_statistics(void);

TURNKEY_API_END
#endif
