/*
 * ruby_ffi.c: how a failed callout becomes an error of Ruby's, and what a callback may not do to the gate.
 *
 *   who calls, how                          where the error is raised
 *   Fiddle or ffi, lock released            after rb_thread_call_without_gvl, which takes the lock again
 *   Fiddle with `need_gvl`                  after ffi_call
 *   ffi, lock held (its default)            after rbffi_frame_pop, which comes next: the gem's frame is off its list
 *
 * A callback of Fiddle's that raises jumps over the callee's frames, and would jump over the gate. So the error is held
 * until the callout is over: the callee goes on, and this callback and all later ones of the callout answer zeros. The
 * ffi gem does the same for exceptions, but lets a `throw` and the end of a thread through.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "ruby.h"

#define THREAD_LOCAL static _Thread_local __attribute__((tls_model("initial-exec")))

/* ---- failed callouts ---- */

struct callout { /* without the lock */
  void *(*function)(void *);
  void *data;
  struct host_failure failure;
  bool failed;
};
THREAD_LOCAL struct callout *running;

static const void *gem; /* where ffi_c.so lies */
THREAD_LOCAL struct {
  bool failed; /* the gem's callout; its frame is popped next */
  struct host_failure failure;
} pending;

static bool is_the_gems(const struct host_call *call) {
  Dl_info info;
  return dladdr(call->caller, &info) != 0 && info.dli_fbase == gem;
}

void ruby_ffi_failed(const struct host_failure *failure) {
  if (ruby.rb_eStandardError == NULL) {
    host_fail(failure); /* a Ruby that is not served */
  } else if (!ruby.ruby_thread_has_gvl_p()) {
    if (running == NULL) return;
    running->failure = *failure;
    running->failed = true;
  } else if (is_the_gems(&failure->call)) {
    pending.failure = *failure;
    pending.failed = true;
  } else {
    ruby_raise(failure);
  }
}

static void (*frame_pop)(void *frame);
static void pop_frame(void *frame) {
  frame_pop(frame);
  if (__builtin_expect(!pending.failed, 1)) return;
  pending.failed = false;
  ruby_raise(&pending.failure);
}

/* ---- callbacks that raise ---- */

/* By the callout's depth: the state of rb_protect in which a callback ended. The error itself stays in rb_errinfo. */
THREAD_LOCAL int held[TRAP_MAX_NESTING + 2];

struct callback {
  void *(*function)(void *);
  void *data, *result;
};

static ruby_value run_callback(ruby_value argument) {
  struct callback *callback = (struct callback *)argument;
  callback->result = callback->function(callback->data);
  return 0;
}

static void *protect_callback(void *data) {
  struct callback *callback = data;
  struct callout *outer = running;
  int state = 0;
  ruby.rb_protect(run_callback, (ruby_value)callback, &state);
  running = outer;
  held[trap_depth()] = state;
  return callback->result;
}

static void *call_with_gvl(void *(*function)(void *), void *data) {
  struct callback callback = {function, data, NULL};
  if (held[trap_depth()] != 0) return NULL;
  return ruby.ruby_thread_has_gvl_p() ? protect_callback(&callback)
                                      : ruby.rb_thread_call_with_gvl(protect_callback, &callback);
}
/* Fiddle then asks for the lock by call_with_gvl, whether it has it or not. */
static int says_no(void) { return 0; }

/* With the lock, after the callout that ran at this depth. */
static void raise_held(unsigned depth) {
  int state = held[depth];
  if (__builtin_expect(state == 0, 1)) return;
  held[depth] = 0;
  ruby.rb_jump_tag(state);
}

void ruby_ffi_returned(struct host_call *call, bool failed) {
  (void)call;
  unsigned depth = trap_depth() + 1;
  if (__builtin_expect(held[depth] == 0, 1)) return;
  if (failed) held[depth] = 0; /* the failure is the later of the two */
  else if (ruby.ruby_thread_has_gvl_p()) raise_held(depth);
}

/* ---- callouts without the lock ---- */

static void *run_callout(void *data) {
  struct callout *callout = data, *outer = running;
  running = callout;
  void *result = callout->function(callout->data);
  running = outer;
  return result;
}

/* An interrupt (Thread#raise, a signal's handler) that is raised when the lock is taken comes before the failure. */
static void *call_without_gvl(void *(*function)(void *), void *data, void (*unblock)(void *), void *unblock_data) {
  struct callout callout = {.function = function, .data = data};
  void *result = ruby.rb_thread_call_without_gvl(run_callout, &callout, unblock, unblock_data);
  if (__builtin_expect(callout.failed, 0)) ruby_raise(&callout.failure);
  raise_held(trap_depth() + 1);
  return result;
}

/* ---- the two FFIs ---- */

void ruby_ffi_fiddle(const void *inside) {
  ruby_error_define();
  ruby_memory_ffi(inside);
  ruby_replace(inside, "rb_thread_call_without_gvl", (const void *)(uintptr_t)call_without_gvl);
  ruby_replace(inside, "rb_thread_call_with_gvl", (const void *)(uintptr_t)call_with_gvl);
  ruby_replace(inside, "ruby_thread_has_gvl_p", (const void *)(uintptr_t)says_no);
}

void ruby_ffi_gem(const void *inside) {
  ruby_error_define();
  ruby_memory_ffi(inside);
  Dl_info info;
  if (dladdr(inside, &info) != 0) gem = info.dli_fbase;
  ruby_replace(inside, "rb_thread_call_without_gvl", (const void *)(uintptr_t)call_without_gvl);
  /* the gem's own symbol: in the global scope only if the loader was asked for that */
  void *handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  frame_pop = (void (*)(void *))(uintptr_t)(handle == NULL ? NULL : host_dlsym(handle, "rbffi_frame_pop"));
  if (frame_pop == NULL) {
    host_say("this ffi gem has no rbffi_frame_pop: failed callouts of its functions return zeros, and no error");
    return;
  }
  ruby_replace(inside, "rbffi_frame_pop", (const void *)(uintptr_t)pop_frame);
}
