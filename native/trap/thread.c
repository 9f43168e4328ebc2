/*
 * thread.c: threads and their slots, foreign stacks and alternate stacks (I13). Ordinary VM code, except
 * trap_slot_find, which handlers and gates call too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "internal.h"

#define STACK_CACHE 16

static unsigned high_water = 1; /* slots ever used; read without the lock by trap_slot_find */
static struct {
  uint64_t base, map_bytes;
} stack_cache[STACK_CACHE];
static unsigned stack_cached;

unsigned trap_slots_used(void) {
  unsigned count = __atomic_load_n(&high_water, __ATOMIC_SEQ_CST);
  return count > SLOT_COUNT ? SLOT_COUNT : count;
}

/* I11: the word lies on key 0, so it is checked before it is believed. */
struct trap_slot *trap_slot_find(void) {
  if (TRAP_WORD_TELLS && trap_word() == SLOT_WORD_NONE) return NULL;
  uint64_t offset = trap_slot_offset();
  uint64_t tp = trap_thread_pointer();
  if ((offset & (uint64_t)(int64_t)SLOT_OFFSET_INVALID) == 0) {
    struct trap_slot *slot = trap_slot_at(offset);
    if (atomic_load_explicit(&slot->thread_pointer, memory_order_relaxed) == tp) return slot;
  }
  unsigned count = trap_slots_used();
  for (unsigned i = 1; i < count; i++) {
    struct trap_slot *slot = &trap_arena.slots[i];
    if (atomic_load_explicit(&slot->thread_pointer, memory_order_relaxed) == tp) {
      trap_slot_set(slot);
      return slot;
    }
  }
  return NULL;
}

int trap_stack_take(uint64_t *base, uint64_t *map_bytes, uint64_t *low, uint64_t *high) {
  uint64_t usable = trap_arena.shared.foreign_bytes;
  uint64_t total = STACK_GUARD_LOW + usable + STACK_GUARD_HIGH;
  *base = 0;
  /* A callout in a VM's signal handler may have interrupted the holder of the lock: then there is no cache for it. */
  bool cache = pthread_mutex_trylock(&trap_lock_threads) == 0;
  for (unsigned i = 0; cache && i < stack_cached; i++) {
    if (stack_cache[i].map_bytes == total) {
      *base = stack_cache[i].base;
      stack_cache[i] = stack_cache[--stack_cached];
      break;
    }
  }
  if (cache) pthread_mutex_unlock(&trap_lock_threads);
  if (*base == 0) {
    int rc = trap_stack_map(usable, base);
    if (rc < 0) return rc;
  }
  *map_bytes = total;
  *low = *base + STACK_GUARD_LOW;
  *high = *low + usable;
  return 0;
}

void trap_stack_give(uint64_t base, uint64_t map_bytes) {
  bool kept = false;
  if (pthread_mutex_trylock(&trap_lock_threads) == 0) {
    kept = stack_cached < STACK_CACHE;
    if (kept) {
      stack_cache[stack_cached].base = base;
      stack_cache[stack_cached++].map_bytes = map_bytes;
    }
    atomic_store_explicit(&trap_arena.shared.stacks_cached, stack_cached, memory_order_relaxed);
    pthread_mutex_unlock(&trap_lock_threads);
  }
  if (!kept) trap_stack_unmap(base, map_bytes);
}

/* A slot keeps its stacks when its thread ends, for the next one. */
static int slot_prepare(struct trap_slot *slot) {
  uint64_t wanted = STACK_GUARD_LOW + trap_arena.shared.foreign_bytes + STACK_GUARD_HIGH;
  if (slot->stack_base != 0 && slot->stack_map_bytes != wanted) {
    trap_stack_unmap(slot->stack_base, slot->stack_map_bytes);
    slot->stack_base = 0;
  }
  if (slot->stack_base == 0) {
    int rc = trap_stack_take(&slot->stack_base, &slot->stack_map_bytes, &slot->stack_low, &slot->stack_high);
    if (rc < 0) {
      slot->stack_base = 0;
      return rc;
    }
  }
  return 0;
}

static void slot_reset(struct trap_slot *slot) {
  uint64_t top = slot->stack_high - FOREIGN_TOP_BYTES;
  *(uint64_t *)(uintptr_t)top = (uint64_t)(uintptr_t)
      slot; /* the first word of a foreign stack is its slot: the gate looks for it on the way out */
  slot->frames[0].tail1 = top;
  slot->frames[0].flags = 0;
  slot->level = 0;
  slot->signal_level = 0;
  slot->recovering = 0;
  slot->fault.pending = 0;
}

/* A thread may end with less than the VM's rights: one that foreign code started, attached only while it called back.
 * It opens them before it holds signals back: a fault of its own could not be delivered then. */
static void thread_exits(struct trap_slot *slot) {
  if (trap_slot_find() != slot) return;
  pkeys_open_thread();
  struct trap_masked before;
  trap_signals_hold(&before);
  trap_filter_thread_end(slot);
  trap_thread_end(slot);
  pkeys_seat_end(&slot->seat);
  pthread_mutex_lock(&trap_lock_threads);
  trap_set_state(slot, STATE_UNUSED);
  trap_set_word(SLOT_WORD_NONE);
  atomic_store(&slot->thread_pointer, 0);
  atomic_fetch_sub(&trap_arena.shared.threads_live, 1);
  pthread_mutex_unlock(&trap_lock_threads);
  trap_signals_release(&before);
}

/* A gate with a wrong word looks at a slot that may never have been used, so STATE_UNUSED must stand there first. It is
 * written for 64 slots at a time: for all of them it would touch 4 MiB in every process. */
#define SAID_UNUSED 64
static void say_unused(unsigned first) {
  for (unsigned i = first; i < SLOT_COUNT && i < first + SAID_UNUSED; i++)
    trap_set_state(&trap_arena.slots[i], STATE_UNUSED);
}

/* A free slot, or one of a thread that ended without releasing it (it was attached again after its destructors) and
 * whose thread pointer is ours now. */
static struct trap_slot *slot_take(bool *taken_over) {
  uint64_t tp = trap_thread_pointer();
  unsigned index = 0;
  *taken_over = false;
  pthread_mutex_lock(&trap_lock_threads);
  for (unsigned i = 1; i < SLOT_COUNT && !*taken_over; i++) {
    uint64_t owner = atomic_load_explicit(&trap_arena.slots[i].thread_pointer, memory_order_relaxed);
    if (owner == tp) *taken_over = true;
    if (owner == tp || (owner == 0 && index == 0)) index = i;
    if (i >= high_water && index != 0) break; /* none was ever used from here on */
  }
  if (index != 0) {
    atomic_store(&trap_arena.slots[index].thread_pointer, 1); /* taken, nobody's yet */
    if (index + 1 > high_water && (index + 1) % SAID_UNUSED == 0) say_unused(index + 1);
    if (index + 1 > high_water) __atomic_store_n(&high_water, index + 1, __ATOMIC_SEQ_CST);
  }
  pthread_mutex_unlock(&trap_lock_threads);
  return index == 0 ? NULL : &trap_arena.slots[index];
}

/* Whoever changes what is kept walks the slots that are used. What changes while this one comes among them is seen
 * here: the slot is counted first. */
static void keep_seat(struct trap_slot *slot) {
  uint32_t *keep = &trap_arena.shared.keep, wanted;
  do {
    wanted = __atomic_load_n(keep, __ATOMIC_SEQ_CST);
    pkeys_seat_keep(&slot->seat, wanted);
  } while (__atomic_load_n(keep, __ATOMIC_SEQ_CST) != wanted);
}

static int attach_masked(struct trap_slot **out, const struct trap_masked *before) {
  /* Read before the rights are opened: a key that comes in between is opened next time. */
  uint32_t generation = pkeys_masks().generation;
  pkeys_open_thread();
  bool taken_over;
  struct trap_slot *slot = slot_take(&taken_over);
  if (slot == NULL) return -EAGAIN;
  int rc;
  trap_set_state(slot, STATE_UNUSED);
  keep_seat(slot);
  rc = slot_prepare(slot);
  if (rc == 0) rc = trap_thread_begin(slot);
  if (rc < 0) {
    if (taken_over) atomic_fetch_sub(&trap_arena.shared.threads_live, 1);
    atomic_store(&slot->thread_pointer, 0);
    return rc;
  }
  slot_reset(slot);
  if (taken_over) pkeys_seat_end(&slot->seat);
  pkeys_seat_begin(&slot->seat);
  trap_mask_note_held(slot, before);
  trap_float_read(&slot->fp);
  slot->thread_id = trap_thread_number();
  slot->generation = generation;
  trap_set_state(slot, 0);
  atomic_store(&slot->thread_pointer, trap_thread_pointer());
  trap_slot_set(slot);
  if (!taken_over) atomic_fetch_add(&trap_arena.shared.threads_live, 1);
  atomic_fetch_add(&trap_arena.shared.threads_ever, 1);
  *out = slot;
  return 0;
}

static int attach_new(struct trap_slot **out) {
  struct trap_masked before;
  trap_signals_hold(&before);
  int rc = attach_masked(out, &before);
  trap_signals_release(&before);
  return rc;
}

int trap_slot_attach(struct trap_slot **out) {
  struct trap_slot *slot = *out = trap_slot_find();
  if (slot != NULL) {
    if (trap_state_is_callout(trap_state(slot))) return 0; /* foreign code calls us: its rights stay down */
    uint32_t generation = pkeys_masks().generation;
    if (slot->generation != generation) {
      pkeys_open_thread();
      slot->generation = generation;
    }
    return 0;
  }
  int saved = errno;
  int rc = attach_new(out);
  errno = saved;
  return rc;
}

struct trap_slot *trap_slot_attached(void) {
  struct trap_slot *slot;
  return trap_slot_attach(&slot) == 0 ? slot : NULL;
}

bool trap_in_callout(void) {
  struct trap_slot *slot = trap_slot_find();
  return slot != NULL && trap_state_is_callout(trap_state(slot));
}

unsigned trap_depth(void) {
  struct trap_slot *slot = trap_slot_find();
  return slot == NULL ? 0 : slot->level + (trap_state_is_callout(trap_state(slot)) ? 1 : 0);
}

/* A VM that forks goes on in the child; a callee that forks leaves a child that is nobody's VM. */
static void thread_forked(void) {
  struct trap_slot *slot = trap_slot_find();
  if (slot == NULL || trap_in_callout()) return;
  trap_arena.shared.process = trap_process_number();
  slot->thread_id = trap_thread_number(); /* the only thread of the child */
  for (unsigned i = 1; i < trap_slots_used(); i++)
    if (&trap_arena.slots[i] != slot) pkeys_seat_end(&trap_arena.slots[i].seat);
  trap_filter_forked();
  (void)pkeys_forked(); /* other threads' callouts do not go on here */
}

static void in_parent(void) { trap_locks_give_outer(NULL); }
static void in_child(void) { trap_locks_give_outer(thread_forked); }

int trap_threads_init(void) {
  say_unused(0);
  return trap_platform_init(thread_exits, &(struct trap_fork){trap_locks_take_outer, in_parent, in_child});
}
