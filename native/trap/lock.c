/*
 * lock.c: the trap's locks, their order, and fork(2). Ordinary VM code.
 *
 * They are taken in this order: the filter's, that of the handlers, then those of native/pkeys, then those of the
 * thunks and of the threads. pkeys lies in between because its listener, with its locks held, looks through all thunks.
 * Locks of a host (native/host/fork.c) come before all of these.
 *
 * Another thread may hold one at a fork, and the child, which has no such thread, would wait for it for ever. So the
 * forking thread takes all of them, and both sides give them back. pkeys calls for the inner ones inside its own. No
 * asynchronous signal is taken meanwhile: its handler may ask for one of them. Faults stay unblocked: handlers of
 * others for fork run in between. pthread_atfork(3).
 */
#include "internal.h"

pthread_mutex_t trap_lock_filter = PTHREAD_MUTEX_INITIALIZER, trap_lock_handlers = PTHREAD_MUTEX_INITIALIZER;
pthread_mutex_t trap_lock_thunks = PTHREAD_MUTEX_INITIALIZER, trap_lock_threads = PTHREAD_MUTEX_INITIALIZER;

static struct trap_masked before; /* written and read with the outer locks held */

void trap_locks_take_outer(void) {
  struct trap_masked now;
  trap_signals_hold_asynchronous(&now);
  pthread_mutex_lock(&trap_lock_filter);
  pthread_mutex_lock(&trap_lock_handlers);
  before = now;
}
void trap_locks_give_outer(void (*then)(void)) {
  struct trap_masked now = before;
  pthread_mutex_unlock(&trap_lock_handlers);
  pthread_mutex_unlock(&trap_lock_filter);
  if (then != NULL) then();
  trap_signals_release(&now);
}

void trap_locks_take_inner(void) {
  pthread_mutex_lock(&trap_lock_thunks);
  pthread_mutex_lock(&trap_lock_threads);
}
void trap_locks_give_inner(void) {
  pthread_mutex_unlock(&trap_lock_threads);
  pthread_mutex_unlock(&trap_lock_thunks);
}
