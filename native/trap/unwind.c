/*
 * unwind.c: the gate's personality. A C++ throw, a cancellation and pthread_exit all search the stack by CFI; at the
 * gate they end, so that no VM frame is ever crossed (I8). The runtime then calls std::terminate or abort, this thread
 * raises SIGABRT, and the callout fails.
 *
 * Itanium C++ ABI: Exception Handling, 1.6.2 (personality routine).
 */
#include <stdint.h>
#include <unwind.h>

extern __thread volatile uint32_t trap_unwinding __attribute__((tls_model("initial-exec"), visibility("hidden")));

_Unwind_Reason_Code trap_personality(int version, _Unwind_Action actions, uint64_t exception_class,
                                     struct _Unwind_Exception *exception, struct _Unwind_Context *context)
    __attribute__((visibility("hidden")));

_Unwind_Reason_Code trap_personality(int version, _Unwind_Action actions, uint64_t exception_class,
                                     struct _Unwind_Exception *exception, struct _Unwind_Context *context) {
  (void)version;
  (void)exception_class;
  (void)exception;
  (void)context;
  trap_unwinding = 1;
  return actions & _UA_SEARCH_PHASE ? _URC_FATAL_PHASE1_ERROR : _URC_FATAL_PHASE2_ERROR;
}
