/*
 * load.c: dlopen and dlclose are callouts too: they run constructors and destructors (phase 'load'). Ordinary VM code.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static void explain(char *message, size_t bytes, const char *fallback) {
  if (message == NULL || bytes == 0) return;
  if (!trap_loader_message(message, bytes)) snprintf(message, bytes, "%s", fallback);
}

/* Whether the call since `before` was read failed; a fault that nobody took earlier stays what it is. */
static uint32_t pending_now(void) {
  const struct trap_fault *fault = trap_thread_fault();
  return fault != NULL ? fault->pending : 0;
}
static bool failed_since(uint32_t before, struct trap_fault *fault) {
  struct trap_fault local;
  return pending_now() != before && trap_take_fault(fault != NULL ? fault : &local);
}

/* Once the filter is set up, loading is judged too: constructors are foreign code like any other. */
static unsigned load_flags(void) {
  return TRAP_PHASE_LOAD | TRAP_CAN_FAIL | (trap_arena.shared.filter.way != TRAP_FILTER_NONE ? TRAP_FILTER : 0);
}

/* What constructors and destructors may leave changed on this thread, as they leave it on the loader's callers:
 * flushing to zero, blocked signals. Loading gives it back. */
struct surroundings {
  struct trap_float fp;
  struct trap_masked mask;
};
static void remember(struct surroundings *before) {
  trap_float_read(&before->fp);
  trap_mask_read(&before->mask);
}
static void give_back(const struct surroundings *before) {
  trap_float_write(&before->fp);
  trap_signals_release(&before->mask);
}

void *trap_dlopen(const char *name, int flags, trap_policy *policy, struct trap_fault *fault, char *message,
                  size_t message_bytes) {
  void *code;
  if (fault != NULL) fault->pending = 0;
  if (message != NULL && message_bytes > 0) message[0] = '\0';
  int rc = trap_thunk(trap_loader_open, 0, load_flags(), policy, &code);
  if (rc < 0) {
    if (message != NULL) snprintf(message, message_bytes, "no thunk for dlopen: %s", strerror(-rc));
    return NULL;
  }
  void *(*guarded)(const char *, int);
  memcpy(&guarded, &code, sizeof code);
  uint32_t before = pending_now();
  struct surroundings surroundings;
  remember(&surroundings);
  void *handle = guarded(name, flags);
  give_back(&surroundings);
  trap_thunk_release(code);
  if (handle == NULL && !failed_since(before, fault))
    explain(message, message_bytes, "dlopen failed without saying why");
  return handle;
}

int trap_dlclose(void *handle, trap_policy *policy, struct trap_fault *fault, char *message, size_t message_bytes) {
  void *code;
  if (fault != NULL) fault->pending = 0;
  if (message != NULL && message_bytes > 0) message[0] = '\0';
  int rc = trap_thunk(trap_loader_close, 0, load_flags(), policy, &code);
  if (rc < 0) return rc;
  int (*guarded)(void *);
  memcpy(&guarded, &code, sizeof code);
  uint32_t before = pending_now();
  struct surroundings surroundings;
  remember(&surroundings);
  rc = guarded(handle);
  give_back(&surroundings);
  trap_thunk_release(code);
  if (failed_since(before, fault)) return -EFAULT;
  if (rc != 0) {
    explain(message, message_bytes, "dlclose failed without saying why");
    return -EINVAL;
  }
  return 0;
}
