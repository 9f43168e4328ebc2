/*
 * fork.c: the core's locks over fork(2). Another thread may hold one at that moment, and the child, which has no such
 * thread, would wait for it for ever. So the forking thread takes them all, and both sides give them back.
 *
 * The order of locks, for all three layers: those of the core, then those of native/trap (lock.c there). The core's
 * have no order among each other, since no thread waits for one while it holds another, or while it holds a lock of a
 * lower layer. modules.c would break that: it is asked by every replaced function, and the trap calls some of them
 * (mmap, sigaction) in the midst of its own work. So it only tries its lock where it is asked.
 *
 * Meanwhile no asynchronous signal is taken: its handler may make a callout, which asks for one of these locks. Faults
 * stay unblocked: handlers of others for fork run in between, and may touch closed memory as bystanders.
 *
 * Those of the lower layers are older, so that their locks are taken inside ours. Handlers that were registered after
 * ours run before them. Those of a library that the program links may be older than ours: they run with the locks held
 * (docs/troubleshooting.md).
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "internal.h"

#define HELD 16
static pthread_mutex_t *held[HELD];
static unsigned held_count;
static sigset_t before; /* written and read with all locks held */

/* Runs in constructors, on one thread. */
void host_hold_over_fork(pthread_mutex_t *lock) {
  if (held_count == HELD) abort();
  held[held_count++] = lock;
}

static void take_all(void) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
  sigset_t mask, old;
  sigfillset(&mask);
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&mask, faults[i]);
  pthread_sigmask(SIG_BLOCK, &mask, &old);
  for (unsigned i = 0; i < held_count; i++) pthread_mutex_lock(held[i]);
  before = old;
}

static void give_all(void (*then)(void)) {
  sigset_t old = before;
  for (unsigned i = held_count; i-- > 0;) pthread_mutex_unlock(held[i]);
  if (then != NULL) then();
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}
static void in_parent(void) { give_all(NULL); }
static void in_child(void) { give_all(host_report_in_child); }

int host_fork_start(void) { return -pthread_atfork(take_all, in_parent, in_child); }
