/*
 * inside_windows_x86_64.c: the code that runs inside a Windows exception.
 *
 * The handler is a *vectored* one. The system calls those first, from a list, before it looks for frame-based handlers;
 * those it finds by walking the stack, and a walk from a wild pc, over a smashed frame or over frames that somebody
 * generated does not arrive. What the handler asks is this thread's own mark: is it in a callout?
 *
 * Rules for changing this file (I1 to I13: docs/invariants.md): it runs on the stack that faulted (the foreign stack;
 * in a stack overflow on what SetThreadStackGuarantee has kept), and anywhere in the callee's code: no locks but the
 * system's own, no allocation, no C library that may have been interrupted, LastError as it was. A second entry on a
 * thread whose callout is being failed ends the process with a message.
 *
 * AddVectoredExceptionHandler, EXCEPTION_RECORD, CONTEXT, RtlRestoreContext; "x64 exception handling"
 * (language-specific handlers).
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "internal.h"

#define BYSTANDER_LIMIT_NS 200000000u

#define FLAG_TF 0x100u
#define FLAG_DF 0x400u
#define FLAG_NT 0x4000u
#define FLAG_AC 0x40000u

#ifndef STATUS_FATAL_APP_EXIT
#define STATUS_FATAL_APP_EXIT 0x40000015
#endif
#define FLOAT_MULTIPLE_FAULTS 0xC00002B4u /* what the SSE unit's exceptions are called */
#define FLOAT_MULTIPLE_TRAPS 0xC00002B5u
#define SOFTWARE_ORIGINATE \
  0x80u /* ExceptionFlags: RaiseException's, not the processor's; Windows 10 and later say so */

/* The C signals that Windows has; the record's `signal` is the one that stands for the code. */
static int signal_of(DWORD code) {
  switch (code) {
    case EXCEPTION_ACCESS_VIOLATION:
    case EXCEPTION_IN_PAGE_ERROR:
    case EXCEPTION_GUARD_PAGE:
    case EXCEPTION_STACK_OVERFLOW:
    case EXCEPTION_DATATYPE_MISALIGNMENT:
    case EXCEPTION_ARRAY_BOUNDS_EXCEEDED:
    case EXCEPTION_PRIV_INSTRUCTION: /* as Linux has it: a general-protection fault */ return SIGSEGV;
    case EXCEPTION_ILLEGAL_INSTRUCTION: return SIGILL;
    case EXCEPTION_INT_DIVIDE_BY_ZERO:
    case EXCEPTION_INT_OVERFLOW:
    case EXCEPTION_FLT_DENORMAL_OPERAND:
    case EXCEPTION_FLT_DIVIDE_BY_ZERO:
    case EXCEPTION_FLT_INEXACT_RESULT:
    case EXCEPTION_FLT_INVALID_OPERATION:
    case EXCEPTION_FLT_OVERFLOW:
    case EXCEPTION_FLT_STACK_CHECK:
    case EXCEPTION_FLT_UNDERFLOW:
    case FLOAT_MULTIPLE_FAULTS:
    case FLOAT_MULTIPLE_TRAPS: return SIGFPE;
    default: /* breakpoints and single steps are a debugger's, C++ exceptions their catcher's, the rest somebody's */
      return 0;
  }
}

EXCEPTION_DISPOSITION trap_barrier(EXCEPTION_RECORD *record, void *frame, CONTEXT *context, void *dispatcher);
EXCEPTION_DISPOSITION trap_callback_barrier(EXCEPTION_RECORD *record, void *frame, CONTEXT *context, void *dispatcher);

/* ---- dying --------------------------------------------------------------------------------------------------- */

static void die_at(const char *why, const char *what, uint64_t number, uint64_t pc, uint64_t address)
    __attribute__((noreturn));
static void die_at(const char *why, const char *what, uint64_t number, uint64_t pc, uint64_t address) {
  char text[512];
  DWORD written;
  WriteFile(GetStdHandle(STD_ERROR_HANDLE), text,
            (DWORD)trap_last_words(text, sizeof text, why, what, number, pc, address), &written, NULL);
  TerminateProcess(GetCurrentProcess(), STATUS_FATAL_APP_EXIT);
  for (;;) Sleep(INFINITE);
}

void trap_die(const char *why, int signal) { die_at(why, "signal", (uint64_t)signal, 0, 0); }

/* ---- failing a callout --------------------------------------------------------------------------------------- */

struct cause {
  DWORD code;
  int signal;
  uint32_t flags;
  uint64_t pc, address;
  enum trap_access access;
};

/* Fills the record and makes `context` one that continues in the gate. */
static void recover(struct trap_slot *slot, const struct cause *cause, CONTEXT *context) {
  struct trap_frame *frame = &slot->frames[slot->level];
  struct trap_fault *fault = trap_record_begin(slot);
  fault->signal = cause->signal;
  fault->code = (int32_t)cause->code;
  fault->flags = cause->flags;
  fault->pc = cause->pc;
  fault->address = cause->address;
  fault->access = cause->access;
  const uint64_t registers[] = {context->Rax, context->Rbx, context->Rcx, context->Rdx, context->Rsi, context->Rdi,
                                context->Rbp, context->Rsp, context->R8,  context->R9,  context->R10, context->R11,
                                context->R12, context->R13, context->R14, context->R15, context->Rip, context->EFlags};
  memcpy(fault->registers, registers, sizeof registers);
  trap_record_end(slot, fault, context->Rsp, cause->signal == SIGSEGV);
  if (cause->code == EXCEPTION_STACK_OVERFLOW) {
    fault->flags |= TRAP_FAULT_STACK_OVERFLOW;
    frame->flags |= FRAME_OVERFLOWED;
  }
  context->Rcx = (uint64_t)(uintptr_t)frame;
  context->Rsp = context->Rbp = frame->sp;
  context->Rip = (uint64_t)(uintptr_t)trap_landing;
  context->EFlags &= ~(FLAG_DF | FLAG_TF | FLAG_AC | FLAG_NT); /* I7 */
}

static bool takes(const struct trap_slot *slot) {
  uint64_t state = slot == NULL ? 0 : trap_state(slot);
  return trap_state_is_callout(state) && trap_policy_takes((const struct trap_entry *)(uintptr_t)state);
}

/* ---- the handler --------------------------------------------------------------------------------------------- */

static LONG CALLBACK on_exception(EXCEPTION_POINTERS *pointers) {
  const EXCEPTION_RECORD *record = pointers->ExceptionRecord;
  CONTEXT *context = pointers->ContextRecord;
  struct cause cause = {.code = record->ExceptionCode, .signal = signal_of(record->ExceptionCode), .pc = context->Rip};
  if (cause.signal == 0 || (record->ExceptionFlags & SOFTWARE_ORIGINATE))
    return EXCEPTION_CONTINUE_SEARCH; /* I5: nobody's instruction */
  DWORD error = GetLastError();
  bool memory = cause.code == EXCEPTION_ACCESS_VIOLATION || cause.code == EXCEPTION_IN_PAGE_ERROR ||
                cause.code == EXCEPTION_GUARD_PAGE || cause.code == EXCEPTION_STACK_OVERFLOW;
  /* A general-protection fault is reported as a read of the last address. */
  if (memory && record->NumberParameters >= 2 && record->ExceptionInformation[1] != UINTPTR_MAX) {
    ULONG_PTR kind = record->ExceptionInformation[0];
    cause.address = record->ExceptionInformation[1];
    cause.access = kind == EXCEPTION_EXECUTE_FAULT ? TRAP_ACCESS_EXECUTE
                   : kind == EXCEPTION_WRITE_FAULT ? TRAP_ACCESS_WRITE
                                                   : TRAP_ACCESS_READ;
  }

  struct trap_slot *slot = trap_slot_find();
  if (slot != NULL && slot->recovering)
    die_at("a fault while a callout was being failed", "exception", cause.code, cause.pc, cause.address);
  LONG answer = EXCEPTION_CONTINUE_SEARCH;
  if (takes(slot)) {
    recover(slot, &cause, context);
    answer = EXCEPTION_CONTINUE_EXECUTION;
  } else if (slot != NULL && !trap_state_is_callout(trap_state(slot)) && cause.code == EXCEPTION_ACCESS_VIOLATION &&
             cause.access != TRAP_ACCESS_UNKNOWN &&
             pkeys_bystander_wait((uintptr_t)cause.address, BYSTANDER_LIMIT_NS)) {
    answer = EXCEPTION_CONTINUE_EXECUTION; /* a VM thread met an image that is closed for somebody else's callout; one
                                              that never attached is not the VM's (I13): a callee's own, say */
  } else {
    atomic_fetch_add_explicit(&trap_arena.shared.passed_on, 1, memory_order_relaxed);
  }
  SetLastError(error);
  return answer;
}

/* ---- the barrier --------------------------------------------------------------------------------------------- */

/*
 * The language-specific handler of the gate's frame on the foreign stack. The search for a handler of an exception, or
 * an unwind, has come out of the callee. A C++ exception (0xE06D7363, GCC's 0x20474343) or one that the callee raised
 * under a number of its own fails the callout. An unwind that goes on over the gate is a longjmp into a VM frame, or a
 * thread that exits.
 */
EXCEPTION_DISPOSITION trap_barrier(EXCEPTION_RECORD *record, void *frame, CONTEXT *context, void *dispatcher) {
  (void)frame;
  (void)dispatcher;
  if (record->ExceptionFlags & (EXCEPTION_UNWINDING | EXCEPTION_EXIT_UNWIND))
    die_at("an unwind went over the gate (longjmp, or a thread that exits in a callout)", "exception",
           record->ExceptionCode, context->Rip, 0);
  struct trap_slot *slot = trap_slot_find();
  /* What the vectored handler has declined, and what belongs to a debugger, stays declined. */
  if (signal_of(record->ExceptionCode) != 0 || record->ExceptionCode == EXCEPTION_BREAKPOINT ||
      record->ExceptionCode == EXCEPTION_SINGLE_STEP || !takes(slot))
    return ExceptionContinueSearch;
  struct cause cause = {.code = record->ExceptionCode,
                        .signal = SIGABRT,
                        .flags = TRAP_FAULT_UNWIND,
                        .pc = (uint64_t)(uintptr_t)record->ExceptionAddress};
  recover(slot, &cause, context);
  RtlRestoreContext(context, NULL); /* also where the exception is not continuable */
  return ExceptionContinueSearch;
}

EXCEPTION_DISPOSITION trap_callback_barrier(EXCEPTION_RECORD *record, void *frame, CONTEXT *context, void *dispatcher) {
  (void)frame;
  (void)dispatcher;
  if (signal_of(record->ExceptionCode) != 0 || record->ExceptionCode == EXCEPTION_BREAKPOINT ||
      record->ExceptionCode == EXCEPTION_SINGLE_STEP)
    return ExceptionContinueSearch; /* the VM's own fault: its handlers have their say at the end of the search */
  die_at("an exception of the VM's left a callback into foreign frames", "exception", record->ExceptionCode,
         context->Rip, 0);
}

/* ---- abort --------------------------------------------------------------------------------------------------- */

/* I5's exception, as far as Windows has it: abort, by way of this C runtime's own SIGABRT, on this thread. */
static void on_abort(int number) {
  struct trap_slot *slot = trap_slot_find();
  if (takes(slot) && !slot->recovering) {
    signal(SIGABRT, on_abort); /* the runtime has set it back */
    CONTEXT context;
    RtlCaptureContext(&context);
    struct cause cause = {
        .code = (DWORD)STATUS_FATAL_APP_EXIT, .signal = SIGABRT, .flags = TRAP_FAULT_ABORT, .pc = context.Rip};
    recover(slot, &cause, &context);
    RtlRestoreContext(&context, NULL);
  }
  void (*before)(int) = trap_arena.shared.before.on_abort;
  if (before != SIG_DFL && before != SIG_IGN && before != SIG_ERR) before(number);
}

/* ---- set-up (not inside an exception) ------------------------------------------------------------------------ */

void trap_probe_platform(void) {
  trap_arena.shared.keys = 0;
  trap_arena.shared.machine.avx = __builtin_cpu_supports("avx") != 0;
}

/* Again: to the head of the list. */
int trap_handlers_install(void) {
  struct trap_handlers_before *before = &trap_arena.shared.before;
  if (before->vectored != NULL) RemoveVectoredExceptionHandler(before->vectored);
  before->vectored = AddVectoredExceptionHandler(1, on_exception);
  if (before->vectored == NULL) return -ENOMEM;
  void (*earlier)(int) = signal(SIGABRT, on_abort);
  if (earlier != on_abort) before->on_abort = earlier;
  return 0;
}

/* Vectored handlers are a list, and the trap's are at its head: nobody's are replaced. */
int trap_handlers_note(void) { return 0; }
int trap_handlers_module(const void *address, bool foreign) {
  (void)address, (void)foreign;
  return -ENOTSUP;
}
