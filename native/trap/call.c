/*
 * call.c: what the macros of call.h call. Ordinary VM code.
 */
#include <errno.h>
#include <string.h>

#include "call.h"
#include "internal.h"

uintptr_t trap_guard_code(uintptr_t target, size_t stack_bytes, unsigned flags, trap_policy *policy) {
  void *code;
  int rc = trap_thunk((const void *)target, stack_bytes, flags, policy, &code);
  if (rc < 0) {
    errno = -rc;
    return 0;
  }
  return (uintptr_t)code;
}

uintptr_t trap_callback_code_of(uintptr_t target, size_t stack_bytes) {
  void *code;
  int rc = trap_callback((const void *)target, stack_bytes, &code);
  if (rc < 0) {
    errno = -rc;
    return 0;
  }
  return (uintptr_t)code;
}

/* The site keeps the thunk of the first function for good; both words are written once, the code last. */
int trap_call_begin(struct trap_site *site, uintptr_t target, size_t stack_bytes, struct trap_call *call) {
  int rc = trap_attach();
  if (rc < 0) return rc;
  const struct trap_fault *record = trap_thread_fault();
  if (record == NULL) return -EAGAIN;
  call->before = record->pending;
  call->once = false;
  call->code = __atomic_load_n(&site->code, __ATOMIC_ACQUIRE);
  if (call->code != NULL && __atomic_load_n(&site->target, __ATOMIC_RELAXED) == (const void *)target) return 0;
  rc = trap_thunk((const void *)target, stack_bytes, 0, NULL, &call->code);
  if (rc < 0) return rc;
  const void *nobody = NULL;
  if (__atomic_compare_exchange_n(&site->target, &nobody, (const void *)target, false, __ATOMIC_RELAXED,
                                  __ATOMIC_RELAXED))
    __atomic_store_n(&site->code, call->code, __ATOMIC_RELEASE);
  else call->once = true;
  return 0;
}

int trap_call_end(const struct trap_call *call, struct trap_fault *fault) {
  struct trap_fault local;
  struct trap_fault *record = trap_thread_fault();
  if (fault == NULL) fault = &local;
  bool failed = record != NULL && record->pending != call->before;
  if (failed) failed = trap_take_fault(fault);
  if (call->once) trap_thunk_release(call->code);
  if (!failed) return 0;
  return fault->signal == 0 && fault->code < 0 ? fault->code : -EFAULT; /* refused: slow.c */
}
