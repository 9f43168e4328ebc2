/*
 * signals.c: the VM's signal handlers (I5, I12). For the trap's signals the trap stays first, and the VM's handler gets
 * what is no callee's fault. Every other handler is bracketed, because it may interrupt a callout. Either has the VM's
 * rights, which no handler starts with.
 *
 * What the VM asks for is what it gets to see: a handler is answered as the VM set it, not as it was put behind ours.
 * sigaction(2), sigaltstack(2), signal(7).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "internal.h"

#define SIGNALS 65

static bool is_the_traps(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE || signal == SIGTRAP ||
         signal == SIGABRT || signal == SIGSYS || signal == SIGXFSZ || signal == SIGXCPU;
}

/* ---- handlers that are bracketed ---- */

static _Atomic(void *) handlers[SIGNALS];

static void call(int signal) { ((void (*)(int))(uintptr_t)atomic_load(&handlers[signal]))(signal); }
static void call_informed(int signal, siginfo_t *info, void *context) {
  ((void (*)(int, siginfo_t *, void *))(uintptr_t)atomic_load(&handlers[signal]))(signal, info, context);
}

static void plain(int signal) {
  struct trap_signal saved;
  trap_signal_enter(&saved);
  call(signal);
  trap_signal_leave(&saved);
}
static void informed(int signal, siginfo_t *info, void *context) {
  struct trap_signal saved;
  trap_signal_enter(&saved);
  call_informed(signal, info, context);
  trap_signal_leave(&saved);
}

static bool is_ours(const struct sigaction *action) {
  return action->sa_flags & SA_SIGINFO ? action->sa_sigaction == informed : action->sa_handler == plain;
}

/* The kernel has the handler; the VM gets it back as it set it. */
static void unbracket(int signal, struct sigaction *action) {
  if (!is_ours(action)) return;
  void *handler = atomic_load(&handlers[signal]);
  if (action->sa_flags & SA_SIGINFO) action->sa_sigaction = (void (*)(int, siginfo_t *, void *))(uintptr_t)handler;
  else action->sa_handler = (void (*)(int))(uintptr_t)handler;
}

static int bracketed(int signal, const struct sigaction *new, struct sigaction *old) {
  struct sigaction before, ours;
  bool brackets = false;
  if (new != NULL) {
    ours = *new;
    void *handler = (void *)(uintptr_t)new->sa_sigaction;
    brackets = new->sa_flags & SA_SIGINFO || (new->sa_handler != SIG_DFL && new->sa_handler != SIG_IGN);
    /* What a caller saved through the C library, and puts back, is in its brackets already. */
    if (brackets && !is_ours(new)) {
      /* Whatever runs between the two lines runs the new handler: it belongs to the signal either way. */
      if (host_next()->sigaction(signal, NULL, &before) != 0) return -1;
      unbracket(signal, &before);
      atomic_store(&handlers[signal], handler);
      if (new->sa_flags & SA_SIGINFO) ours.sa_sigaction = informed;
      else ours.sa_handler = plain;
      if (host_next()->sigaction(signal, &ours, NULL) != 0) return -1;
      host_count(HOST_HANDLERS);
      if (old != NULL) *old = before;
      return 0;
    }
  }
  if (host_next()->sigaction(signal, new == NULL ? NULL : &ours, &before) != 0) return -1;
  unbracket(signal, &before);
  if (old != NULL) *old = before;
  return 0;
}

/* ---- the trap's signals ---- */

static struct sigaction views[SIGNALS]; /* what the VM has set last; before, what was inherited */
HOST_LOCK(lock)

void host_signals_start(void) {
  for (int signal = 1; signal < SIGNALS; signal++)
    if (is_the_traps(signal)) host_next()->sigaction(signal, NULL, &views[signal]);
}

/*
 * What the trap hands on reaches the VM's handler with the kernel's rights, which deny the heap that it looks at; and
 * with its signal blocked, so that the fault would end the process. In a callout the handler is bracketed. Elsewhere
 * the rights are opened and no more. A handler may leave by a jump, as Ruby's does when a stack is full: the VM then
 * goes on with its rights. Rights come first: whether this is a callout is itself written behind a key (I6).
 */
static void hand_on(int signal, siginfo_t *info, void *context) {
  bool keys = pkeys_supported(), informs = info != NULL;
  uint32_t rights = keys ? pkeys_rdpkru() : 0;
  pkeys_open_thread();
  struct trap_signal saved;
  bool brackets = trap_in_callout();
  if (brackets) trap_signal_enter(&saved);
  if (informs) call_informed(signal, info, context);
  else call(signal);
  if (brackets) trap_signal_leave(&saved);
  if (keys) pkeys_wrpkru(rights);
}
static void handed_on(int signal) { hand_on(signal, NULL, NULL); }
static void handed_on_informed(int signal, siginfo_t *info, void *context) { hand_on(signal, info, context); }

/* The VM's action with our function before its handler. */
static struct sigaction with_rights(int signal, const struct sigaction *action) {
  struct sigaction ours = *action;
  bool informs = action->sa_flags & SA_SIGINFO;
  bool is_default = !informs && (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN);
  /* What a caller saved through the C library, and puts back, has our function before it already. */
  if (is_default || (informs ? action->sa_sigaction == handed_on_informed : action->sa_handler == handed_on))
    return ours;
  atomic_store(&handlers[signal], (void *)(uintptr_t)action->sa_sigaction);
  if (informs) ours.sa_sigaction = handed_on_informed;
  else ours.sa_handler = handed_on;
  return ours;
}

/*
 * POSIX lets a handler call sigaction. A handler that interrupted the lock's holder would wait for its own thread, so
 * no signal is taken while the lock is held. What the caller points to is read and written outside: it may fault.
 */
static int behind_the_trap(int signal, const struct sigaction *new, struct sigaction *old) {
  if (trap_in_callout()) return host_next()->sigaction(signal, new, old);
  int rc = 0;
  struct sigaction wanted = {0};
  if (new != NULL) {
    wanted = *new;      /* `new` and `old` may be the same */
    rc = trap_attach(); /* here: it notes the thread's mask */
    if (rc < 0) {
      errno = -rc;
      return -1;
    }
  }
  sigset_t mask;
  host_lock(&lock, &mask);
  struct sigaction before = views[signal];
  if (new != NULL) {
    host_learn_step_back();
    rc = trap_rearm_note();
    if (rc == 0) {
      void *former = atomic_load(&handlers[signal]);
      struct sigaction ours = with_rights(signal, &wanted);
      if (host_next()->sigaction(signal, &ours, NULL) != 0) {
        rc = -errno;
        atomic_store(&handlers[signal], former);
      }
    }
    int rearmed = trap_rearm();
    if (rc == 0) rc = rearmed;
    host_learn_step_forward();
    if (rc == 0) views[signal] = wanted;
    host_count(HOST_HANDLERS);
  }
  host_unlock(&lock, &mask);
  if (rc < 0) {
    errno = -rc;
    return -1;
  }
  if (old != NULL) *old = before;
  return 0;
}

/* ---- the replaced functions ---- */

static int act(int signal, const struct sigaction *new, struct sigaction *old, const void *caller) {
  if (signal <= 0 || signal >= SIGNALS || !host_is_vm_or_ffi(caller)) return host_next()->sigaction(signal, new, old);
  return is_the_traps(signal) ? behind_the_trap(signal, new, old) : bracketed(signal, new, old);
}

HOST_REPLACES int sigaction(int signal, const struct sigaction *new, struct sigaction *old) {
  return act(signal, new, old, HOST_CALLER());
}

/* BSD's semantics, as glibc's signal has them. */
static void (*set_handler(int signal, void (*handler)(int), const void *caller))(int) {
  struct sigaction new = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
  sigemptyset(&new.sa_mask);
  sigaddset(&new.sa_mask, signal);
  if (handler == SIG_ERR) {
    errno = EINVAL;
    return SIG_ERR;
  }
  return act(signal, &new, &old, caller) != 0 ? SIG_ERR : old.sa_handler;
}
HOST_REPLACES void (*signal(int number, void (*handler)(int)))(int) {
  return set_handler(number, handler, HOST_CALLER());
}
HOST_REPLACES void (*bsd_signal(int number, void (*handler)(int)))(int);
void (*bsd_signal(int number, void (*handler)(int)))(int) { return set_handler(number, handler, HOST_CALLER()); }

/*
 * The trap's handlers need an alternate stack on which the kernel can write during a callout, and the VM's may lie in
 * its heap. So a VM thread keeps the trap's, which is at least as large; the VM's handlers run there too.
 */
static _Thread_local stack_t wanted = {.ss_flags = SS_DISABLE};

HOST_REPLACES int sigaltstack(const stack_t *new, stack_t *old) {
  stack_t now;
  if (!host_is_vm(HOST_CALLER()) || host_next()->sigaltstack(NULL, &now) != 0 || now.ss_flags & SS_DISABLE)
    return host_next()->sigaltstack(new, old);
  stack_t before = wanted;
  if (new != NULL) {
    if (!(new->ss_flags & SS_DISABLE) && new->ss_size < (size_t)MINSIGSTKSZ) {
      errno = ENOMEM;
      return -1;
    }
    if (now.ss_flags & SS_ONSTACK) {
      errno = EPERM;
      return -1;
    }
    wanted = *new;
  }
  if (old != NULL) {
    *old = before;
    old->ss_flags |= now.ss_flags & SS_ONSTACK;
  }
  return 0;
}
