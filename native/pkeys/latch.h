/*
 * latch.h: a record that one thread writes and others read without waiting: two copies and a version. See internal.h,
 * rule 3. Reading is [handler].
 */
#ifndef TURNKEY_PKEYS_LATCH_H
#define TURNKEY_PKEYS_LATCH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t __attribute__((may_alias)) word_alias;

static inline void copy_out(void *to, const void *from, size_t bytes) {
  for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
    ((word_alias *)to)[i] = __atomic_load_n((const word_alias *)from + i, __ATOMIC_RELAXED);
}

static inline void copy_in(void *to, const void *from, size_t bytes) {
  for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
    __atomic_store_n((word_alias *)to + i, ((const word_alias *)from)[i], __ATOMIC_RELAXED);
}

static inline void latch_read(const _Atomic uint32_t *version, const void *copies, void *out, size_t bytes) {
  for (;;) {
    uint32_t before = atomic_load(version);
    copy_out(out, (const char *)copies + (before & 1) * bytes, bytes);
    /* Pairs with the fence in latch_publish: had a word of the publication after next been seen, so would be the next
     * version. */
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(version, memory_order_relaxed) == before) return;
  }
}

static inline void latch_publish(_Atomic uint32_t *version, void *copies, const void *value, size_t bytes) {
  uint32_t next = atomic_load_explicit(version, memory_order_relaxed) + 1;
  atomic_thread_fence(memory_order_release);
  copy_in((char *)copies + (next & 1) * bytes, value, bytes);
  /* Sequentially consistent: readers that decide by a record after announcing themselves (pkeys_i_registry_quiesce,
   * mechanism.c) rely on it. */
  atomic_store(version, next);
}

#endif
