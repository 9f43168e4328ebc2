/*
 * lock.c: the lock of native/pkeys. futex(2).
 *
 * It is no pthread mutex: the owner has to be known in the same instant in which the lock is taken. So a signal handler
 * that interrupted the owner can tell (pkeys_i_lock_mine). Nothing here may touch errno.
 */
#include "internal.h"
#include "sys.h"

bool pkeys_i_lock_mine(const struct lock *lock) {
  return atomic_load_explicit(&lock->owner, memory_order_relaxed) == sys_thread();
}

void pkeys_i_lock_take(struct lock *lock) {
  uintptr_t me = sys_thread();
  if (pkeys_i_lock_mine(lock)) {
    lock->nested++;
    return;
  }
  uintptr_t nobody = 0;
  if (!atomic_compare_exchange_strong(&lock->owner, &nobody, me)) {
    atomic_fetch_add(&lock->waiters, 1);
    for (;;) {
      /* The sequence is read before the last try: a lock given back in between changes it, and the wait returns at
       * once. */
      uint32_t sequence = atomic_load(&lock->sequence);
      nobody = 0;
      if (atomic_compare_exchange_strong(&lock->owner, &nobody, me)) break;
      sys_futex_wait(&lock->sequence, sequence, UINT64_MAX);
    }
    atomic_fetch_sub(&lock->waiters, 1);
  }
}

void pkeys_i_lock_give(struct lock *lock) {
  if (lock->nested > 0) {
    lock->nested--;
    return;
  }
  atomic_store(&lock->owner, 0);
  if (atomic_load(&lock->waiters) > 0) {
    atomic_fetch_add(&lock->sequence, 1);
    sys_futex_wake(&lock->sequence, 1);
  }
}
