/*
 * callback.c: from foreign code back into the VM and out again, called from gate_*.S.
 *
 * Each function that drops rights does so as its very last action: the VM's own stack may be a keyed space.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>

#include "internal.h"

/* Suspends the innermost callout: the thread is VM code now. */
static void suspend_callout(struct trap_slot *slot, uint64_t foreign_sp, uint32_t pkru) {
  struct trap_frame *frame = &slot->frames[slot->level];
  if (slot->level == 0 && !(frame->flags & FRAME_OWN_STACK)) {
    frame->stack_low = slot->stack_low;
    frame->stack_high = slot->stack_high;
  }
  bool own = foreign_sp > frame->stack_low && foreign_sp <= frame->stack_high;
  frame->callback_sp = foreign_sp;
  frame->flags = own ? frame->flags & ~FRAME_ELSEWHERE : frame->flags | FRAME_ELSEWHERE;
  frame->foreign_pkru = pkru;
  /* The image that the callout was made from stays pinned below the callback. */
  slot->seats[slot->level] = pkeys_seat_push(&slot->seat);
  trap_suspend(slot);
}

uint64_t trap_callback_enter(struct trap_callback_entry *entry, uint64_t foreign_sp) {
  struct trap_slot *slot = trap_slot_find();
  if (slot == NULL || !trap_state_is_callout(trap_state(slot))) return trap_callback_outside(entry);
  uint32_t pkru = 0;
  if (trap_arena.shared.keys) {
    pkru = pkeys_rdpkru();
    pkeys_wrpkru(pkru & trap_keep(slot));
  } else if (trap_arena.shared.model) {
    trap_model_write();
  }
  trap_filter_set(slot, 0);
  if (slot->level + 1 >= NESTING_COUNT) trap_die("callbacks nested too deeply (TRAP_MAX_NESTING)", SIGABRT);
  struct trap_frame *frame = &slot->frames[slot->level];
  frame->entry = (struct trap_entry *)(uintptr_t)trap_state(slot);
  uint32_t flags = frame->flags;
  trap_hooked_leave(slot, frame);
  if (flags & FRAME_HOOKED) frame->flags |= FRAME_SUSPENDED_HOOK;
  suspend_callout(slot, foreign_sp, pkru);
  if (trap_on_caller_stack(frame->entry))
    return foreign_sp - CALLBACK_SAVE_BYTES; /* the callback thunk's own stack pointer */
  return (frame->sp - 128) & ~(uint64_t)15;
}

void trap_callback_leave(uint64_t foreign_sp) {
  struct trap_slot *slot = trap_slot_find();
  if (slot == NULL || slot->level == 0) trap_die("a callback returned on a thread that has none in progress", SIGABRT);
  if (trap_state(slot) != STATE_VM || slot->frames[slot->level - 1].callback_sp != foreign_sp)
    trap_die("a callback returned while callouts or callbacks inside it had not: a longjmp or coroutine switch went "
             "over the gate; the process cannot go on",
             SIGABRT);
  struct trap_frame *frame = trap_resume(slot, (uint64_t)(uintptr_t)slot->frames[slot->level - 1].entry);
  pkeys_seat_pop(&slot->seat, slot->seats[slot->level]);
  if (frame->flags & FRAME_SUSPENDED_HOOK) {
    frame->flags &= ~FRAME_SUSPENDED_HOOK;
    if (trap_hooked_enter(slot, frame) < 0)
      trap_die("the image could not be closed again after a callback (mprotect failed)", SIGABRT);
  }
  if (trap_filtered(frame->entry)) trap_filter_set(slot, 1);
  /* A callout that had rights taken away loses them again, those to images opened meanwhile included; one that had all
   * keeps all: its way out would not give them back. */
  if (frame->foreign_pkru & ~trap_arena.shared.keep) {
    uint32_t deny = frame->entry->deny;
    pkeys_wrpkru(trap_rights_foreign(slot, deny != 0 ? deny : frame->foreign_pkru & ~trap_arena.shared.keep));
  } else if (trap_arena.shared.model) {
    trap_model_write();
  }
}

/* Foreign code may keep a callback's address past its end, on a thread that the VM knows nothing of: no reason to die.
 */
void trap_tell_gone(void) {
  static _Atomic int told;
  if (atomic_exchange(&told, 1) == 0)
    trap_say("turnkey: foreign code called a callback that was released (unregistered, or its guard, worker or "
             "program has ended); it gets zeros, from now on without a message\n");
}
