/*
 * trap.c: set-up, attaching, records, statistics. Ordinary VM code.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "internal.h"

/* What assembly and JavaScript read at fixed offsets. */
#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field)
AT(struct trap_frame, sp, F_SP);
AT(struct trap_frame, entry, F_ENTRY);
AT(struct trap_frame, fsp, F_FSP);
AT(struct trap_frame, flags, F_FLAGS);
AT(struct trap_frame, tail0, T_STATE);
AT(struct trap_frame, tail1, T_FSP);
#ifdef T_SELECTOR
AT(struct trap_slot, frames[1].tail0, T_SELECTOR);
#endif
_Static_assert(sizeof(struct trap_frame) == FRAME_SIZE, "frame");
_Static_assert(sizeof(struct trap_slot) <= SLOT_SIZE, "slot");
AT(struct trap_entry, gate, E_GATE);
AT(struct trap_entry, target, E_TARGET);
AT(struct trap_entry, stack_bytes, E_STACK);
AT(struct trap_entry, deny, E_DENY);
AT(struct trap_entry, machine_deny, E_MACHINE_DENY);
_Static_assert(sizeof(struct trap_entry) == ENTRY_SIZE, "entry");
AT(struct trap_callback_entry, target, C_TARGET);
AT(struct trap_callback_entry, stack_bytes, C_STACK);
_Static_assert(sizeof(struct trap_callback_entry) == CALLBACK_SIZE, "callback entry");
AT(struct trap_shared, keep, S_KEEP);
#ifdef T_KEEP
AT(struct trap_slot, seat.word, T_KEEP);
#endif
TRAP_MACHINE_OFFSETS;
AT(struct trap_arena, thunks, ARENA_THUNKS);
AT(struct trap_arena, callbacks, ARENA_CALLBACKS);
AT(struct trap_arena, policies, ARENA_POLICIES);
AT(struct trap_arena, records, ARENA_RECORDS);
AT(struct trap_arena, shared, ARENA_SHARED);
_Static_assert(sizeof(struct trap_arena) == ARENA_SIZE, "arena");
_Static_assert(NESTING_COUNT == TRAP_MAX_NESTING && THUNK_COUNT == TRAP_MAX_THUNKS &&
                   CALLBACK_COUNT == TRAP_MAX_CALLBACKS && RECORD_COUNT == TRAP_MAX_TICKETS,
               "trap.h");
AT(struct trap_pass, sp, P_SP);
AT(struct trap_pass, handler, P_HANDLER);
AT(struct trap_pass, signal, P_SIGNAL);
AT(struct trap_pass, info, P_INFO);
AT(struct trap_pass, context, P_CONTEXT);
_Static_assert(sizeof(struct trap_pass) == PASS_SIZE, "pass");
#define BYTES_OF(field) +sizeof(((struct trap_fault *)0)->field)
_Static_assert((0 TRAP_FAULT_FIELDS(BYTES_OF)) == sizeof(struct trap_fault), "every field is listed, none is padded");
_Static_assert(sizeof(struct trap_fault) == 1024, "fault record");

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_result = -EAGAIN;
static int initialised; /* on key 0: threads without rights ask for it */

static bool is_initialised(void) { return __atomic_load_n(&initialised, __ATOMIC_ACQUIRE) != 0; }

/* The tables of thunks, once there are any: they depend on this file, and not the other way round. */
static void (*_Atomic refresh)(const struct pkeys_masks *masks);

void trap_masks_changed(const struct pkeys_masks *masks) {
  __atomic_store_n(&trap_arena.shared.keep, masks->keep, __ATOMIC_SEQ_CST);
  trap_machine_keep(&trap_arena.shared.machine, masks->keep);
  trap_arena.shared.pool = masks->pool;
  /* Slots that were never used are left untouched: they are 8 MiB, and a thread that takes one keeps its seat
   * (thread.c). */
  for (unsigned i = 1; i < trap_slots_used(); i++) pkeys_seat_keep(&trap_arena.slots[i].seat, masks->keep);
  void (*tables)(const struct pkeys_masks *) = atomic_load(&refresh);
  if (tables != NULL) tables(masks);
}

void trap_on_masks(void (*tables)(const struct pkeys_masks *masks)) { atomic_store(&refresh, tables); }

void trap_refresh(void) {
  struct pkeys_masks masks = pkeys_masks();
  trap_masks_changed(&masks);
}

static void initialise(void) {
  int rc = pkeys_init();
  /* I11 */
  if (rc == 0) rc = pkeys_protect_runtime(&trap_arena, sizeof trap_arena);
  if (rc < 0) {
    once_result = rc;
    return;
  }
  struct trap_shared *shared = &trap_arena.shared;
  trap_refresh();
  shared->process = trap_process_number();
  shared->foreign_stack = 1;
  shared->foreign_bytes = 8u << 20;
  trap_probe_platform();
  trap_modules_note();
  pkeys_hold_over_fork((struct pkeys_inner_locks){trap_locks_take_inner, trap_locks_give_inner});
  rc = trap_threads_init();
  if (rc == 0) rc = trap_handlers_install();
  if (rc == 0) {
    __atomic_store_n(&initialised, 1, __ATOMIC_RELEASE);
    pkeys_on_change(trap_masks_changed);
  }
  once_result = rc;
}

int trap_init(void) {
  pthread_once(&once, initialise);
  return once_result < 0 ? once_result : trap_attach();
}

int trap_attach(void) {
  if (!is_initialised()) return trap_init();
  struct trap_slot *slot;
  return trap_slot_attach(&slot);
}

int trap_attach_vm(void) {
  int rc = trap_attach();
  return rc < 0 ? rc : trap_in_callout() ? -EBUSY : 0;
}

int trap_enter_image(struct pkeys_image *image) {
  struct trap_slot *slot = trap_slot_find();
  if (slot == NULL) {
    int rc = trap_attach_vm();
    if (rc < 0 || (slot = trap_slot_find()) == NULL) return rc;
  }
  return trap_state_is_callout(trap_state(slot)) ? -EBUSY : pkeys_seat_enter(&slot->seat, image);
}

struct pkeys_image *trap_entered_image(void) {
  struct trap_slot *slot = trap_attach() < 0 ? NULL : trap_slot_find();
  return slot == NULL ? NULL : pkeys_seat_image(&slot->seat);
}

struct trap_visits trap_visits(void) {
  struct trap_slot *slot = trap_attach() < 0 ? NULL : trap_slot_find();
  return slot == NULL ? (struct trap_visits){0} : (struct trap_visits){slot->seat.hits, slot->seat.misses};
}

void trap_note_thread(void) {
  struct trap_slot *slot = trap_slot_attached();
  if (slot == NULL) return;
  trap_mask_note(slot);
  trap_float_read(&slot->fp);
}

/* ---- handlers ------------------------------------------------------------------------------------------------ */

/* No signal is taken while the lock is held: its handler may set handlers, and would wait for its own thread. */
static int handlers_enter(struct trap_masked *before) {
  int rc = trap_attach_vm();
  if (rc < 0) return rc;
  trap_signals_hold(before);
  pthread_mutex_lock(&trap_lock_handlers);
  return 0;
}
static int handlers_leave(const struct trap_masked *before, int rc) {
  pthread_mutex_unlock(&trap_lock_handlers);
  trap_signals_release(before);
  return rc;
}

int trap_rearm(void) {
  struct trap_masked before;
  int rc = handlers_enter(&before);
  return rc < 0 ? rc : handlers_leave(&before, trap_handlers_install());
}
int trap_rearm_note(void) {
  struct trap_masked before;
  int rc = handlers_enter(&before);
  return rc < 0 ? rc : handlers_leave(&before, trap_handlers_note());
}
int trap_module_is_foreign(const void *address, bool foreign) {
  struct trap_masked before;
  int rc = handlers_enter(&before);
  return rc < 0 ? rc : handlers_leave(&before, trap_handlers_module(address, foreign));
}

int trap_set_foreign_stack(bool enabled, size_t bytes) {
  if (bytes != 0 && (bytes < 2u << 20 || bytes > (size_t)1 << 32)) return -EINVAL;
  int rc = trap_attach();
  if (rc < 0) return rc;
  if (enabled != (trap_arena.shared.foreign_stack != 0)) /* callouts in progress are on the one or the other */
    for (unsigned i = 1; i < trap_slots_used(); i++) {
      uint64_t state = trap_state(&trap_arena.slots[i]);
      if (state != 0 && state != STATE_UNUSED) return -EBUSY;
    }
  trap_arena.shared.foreign_stack = enabled;
  if (bytes != 0) trap_arena.shared.foreign_bytes = (bytes + PKEYS_PAGE - 1) & ~(size_t)(PKEYS_PAGE - 1);
  trap_refresh();
  return 0;
}

struct trap_fault *trap_thread_fault(void) {
  if (trap_attach() < 0) return NULL;
  struct trap_slot *slot = trap_slot_find();
  return slot == NULL ? NULL : &slot->fault;
}

/* Asked after every callout: a thread that has made none is not attached for it. */
bool trap_take_fault(struct trap_fault *out) {
  const struct trap_slot *slot = is_initialised() ? trap_slot_find() : NULL;
  if (slot == NULL || slot->fault.pending == 0) return false;
  struct trap_fault *fault = trap_thread_fault();
  if (fault == NULL) return false;
  *out = *fault;
  fault->pending = 0;
  return true;
}

struct trap_statistics trap_statistics(void) {
  struct trap_statistics s = {0};
  if (trap_attach() < 0) return s;
  struct trap_shared *shared = &trap_arena.shared;
  s.faults = shared->faults;
  s.passed_on = shared->passed_on;
  s.threads_live = shared->threads_live;
  s.threads_ever = shared->threads_ever;
  s.thunks_live = shared->thunks_live;
  s.callbacks_live = shared->callbacks_live;
  s.stacks_cached = shared->stacks_cached;
  return s;
}
