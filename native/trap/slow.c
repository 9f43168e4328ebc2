/*
 * slow.c: the slow gate's C. Runs on every callout that the fast gate declines, where the fast gate has lost its slot,
 * and after every recovery.
 *
 * Each function that drops rights does so as its very last action: the VM's own stack may be a keyed space.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "internal.h"

#define NESTED_ROOM (256u << 10) /* a nested callout with less foreign stack than this takes a fresh one */

static void rights_open(const struct trap_slot *slot) { pkeys_wrpkru(pkeys_rdpkru() & trap_keep(slot)); }

/*
 * Foreign code may call a thunk itself, and then is foreign code already. But a thread that is marked as in a callout,
 * and calls from the VM's own stack near where it left that, never came back through the gate. Near: what lies above
 * belongs to the VM's live frames; what lies below does too while the callee has a stack of its own. The arguments of
 * the new call lie between.
 */
#define NEAR_ABOVE 4096u
#define NEAR_BELOW (64u << 10)
static bool on_vm_stack(const struct trap_frame *frame, const struct trap_entry *left, const struct trap_entry *called,
                        uint64_t sp) {
  uint64_t below = trap_on_caller_stack(left) ? 0 : NEAR_BELOW + called->stack_bytes;
  return sp < frame->sp + NEAR_ABOVE && sp >= frame->sp - below;
}

/* A callout that is not made: `signal` is 0, `code` tells the error, `address` how much was short: bytes of memory, or
 * thread slots. */
static void refuse_record(struct trap_fault *fault, const struct trap_entry *entry, int error) {
  uint32_t pending = fault->pending;
  memset(fault, 0, sizeof *fault);
  fault->code = error;
  fault->address = error == -EAGAIN   ? TRAP_MAX_THREADS
                   : error == -ENOMEM ? STACK_GUARD_LOW + trap_arena.shared.foreign_bytes + STACK_GUARD_HIGH
                                      : 0;
  fault->function = (uint64_t)(uintptr_t)entry->target;
  fault->thread_id = trap_thread_number();
  fault->depth = 1;
  fault->pkey = -1;
  fault->pending = pending + 1 == 0 ? 1 : pending + 1;
}

struct trap_frame *trap_slow_frame(struct trap_entry *entry, uint64_t caller_sp) {
  struct trap_slot *slot = trap_slot_find();
  if (slot != NULL && trap_state_is_callout(trap_state(slot))) {
    if (on_vm_stack(&slot->frames[slot->level], (struct trap_entry *)(uintptr_t)trap_state(slot), entry, caller_sp))
      trap_die("a callout was left by a longjmp over the gate: the thread calls again from where it was; the process "
               "cannot go on",
               SIGABRT);
    return NULL;
  }
  int rc = trap_slot_attach(&slot);
  if (rc < 0) {
    struct trap_fault *fault = trap_record_of(entry, NULL, caller_sp);
    if (fault == NULL)
      trap_die("a thread called a guarded function but could not be attached (no memory for its stacks, or no thread "
               "slot left)",
               SIGABRT);
    refuse_record(fault, entry, rc);
    return (struct trap_frame *)SLOW_REFUSED;
  }
  if (slot->level >= NESTING_COUNT) trap_die("callouts nested too deeply (TRAP_MAX_NESTING)", SIGABRT);
  struct trap_frame *frame = &slot->frames[slot->level];
  frame->entry = entry;
  frame->flags = FRAME_SLOW;
  return frame;
}

static uint64_t vm_state(const struct trap_slot *slot) { return slot->level > 0 ? STATE_VM : 0; }

static void give_own_stack(const struct trap_frame *frame) {
  trap_stack_give(frame->stack_low - STACK_GUARD_LOW,
                  STACK_GUARD_LOW + (frame->stack_high - frame->stack_low) + STACK_GUARD_HIGH);
}

/* Not on the frame's foreign stack. */
static void frame_done(struct trap_slot *slot, struct trap_frame *frame) {
  if (frame->flags & FRAME_OWN_STACK) give_own_stack(frame);
  frame->flags = 0;
  trap_set_state(slot, vm_state(slot));
}

/* The mechanism could not close the image: no call is made, the record tells the error. */
static uint64_t refuse(struct trap_slot *slot, struct trap_frame *frame, int error) {
  struct trap_entry *entry = frame->entry;
  struct trap_fault *fault = trap_record_of(entry, slot, frame->sp);
  refuse_record(fault, entry, error);
  fault->depth = slot->level + 1;
  if (++slot->fault_count == 0) slot->fault_count = 1;
  fault->pending = slot->fault_count;
  frame_done(slot, frame);
  return 0;
}

uint64_t trap_slow_close(struct trap_frame *frame, uint64_t current_sp) {
  struct trap_slot *slot = trap_slot_find();
  struct trap_entry *entry = frame->entry;
  struct pkeys_masks masks = pkeys_masks();
  bool bare = (entry->flags & TRAP_BARE) != 0;
  bool lent = (entry->flags & TRAP_LENT) != 0;
  uint32_t deny = trap_denied(entry, &masks);
  bool filtered = trap_filtered(entry);
  uint64_t top;
  frame->callback_sp = 0;
  frame->stack_low = frame->stack_high = 0;
  if (trap_on_caller_stack(entry)) {
    top = current_sp;
  } else if (slot->level == 0) {
    top = slot->frames[0].tail1;
    frame->stack_low = slot->stack_low;
    frame->stack_high = slot->stack_high;
  } else {
    const struct trap_frame *outer = frame - 1;
    uint64_t low = outer->stack_low, sp = outer->callback_sp;
    if (slot->level != slot->signal_level && !(outer->flags & FRAME_ELSEWHERE) &&
        sp > low + NESTED_ROOM + entry->stack_bytes && sp <= outer->stack_high) {
      top = (sp - 256) & ~(uint64_t)15; /* below the callback thunk's save area and red zone */
      frame->stack_low = low;
      frame->stack_high = outer->stack_high;
    } else {
      uint64_t base, bytes;
      if (trap_stack_take(&base, &bytes, &frame->stack_low, &frame->stack_high) < 0)
        return refuse(slot, frame, -ENOMEM);
      frame->flags |= FRAME_OWN_STACK;
      top = frame->stack_high - FOREIGN_TOP_BYTES;
    }
  }
  if (filtered) {
    int rc = trap_filter_thread(slot);
    if (rc < 0) return refuse(slot, frame, rc);
  }
  frame->fsp = top - entry->stack_bytes;
  trap_set_state(slot, (uint64_t)(uintptr_t)entry);
  if (masks.hooked && !bare) {
    frame->flags |= lent ? FRAME_LENT : 0;
    int rc = trap_hooked_enter(slot, frame);
    if (rc < 0) return refuse(slot, frame, rc);
  }
  uint64_t result = frame->fsp;
  if (filtered) trap_filter_set(slot, 1);
  if (deny != 0) {
    frame->flags |= FRAME_KEYED;
    pkeys_wrpkru(trap_rights_foreign(slot, deny));
  } else if (trap_arena.shared.model && !bare) {
    trap_model_write();
  }
  return result;
}

static void mismatch(const struct trap_slot *slot) __attribute__((noreturn));
static void mismatch(const struct trap_slot *slot) {
  if (slot->level > 0)
    trap_die("a callout returned while callouts inside it had not: a longjmp or coroutine switch went over the gate; "
             "the process cannot go on",
             SIGABRT);
  trap_die("a callout returned with another stack pointer than it was called with (wrong calling convention, or a "
           "longjmp over the gate); the process cannot go on",
           SIGABRT);
}

struct trap_frame *trap_slow_return(uint64_t sp) {
  struct trap_slot *slot = trap_slot_find();
  if (slot == NULL) trap_die("a callout returned on a thread whose state is lost", SIGABRT);
  struct trap_frame *frame = &slot->frames[slot->level];
  if (trap_state(slot) != (uint64_t)(uintptr_t)frame->entry || sp != frame->fsp) mismatch(slot);
  if (frame->flags & FRAME_KEYED) rights_open(slot);
  else if (trap_arena.shared.model && !(frame->entry->flags & TRAP_BARE)) trap_model_write();
  trap_filter_set(slot, 0);
  trap_hooked_leave(slot, frame);
  /* We still run on the frame's foreign stack: the gate gives it back when it has left it. */
  if (!(frame->flags & FRAME_OWN_STACK)) frame->flags = 0;
  trap_set_state(slot, vm_state(slot));
  return frame;
}

/* On the VM's stack again. */
void trap_slow_give(struct trap_frame *frame) {
  give_own_stack(frame);
  frame->flags = 0;
}

/* `sp`: what the callee returned with. */
struct trap_slot *trap_fast_lost(const struct trap_slot *believed, uint64_t sp) {
  struct trap_slot *slot = trap_slot_find();
  if (slot == NULL)
    trap_die("a callee did not keep its caller's registers, and the thread's slot cannot be found", SIGABRT);
  /* The stack pointer is right. So the callee has overwritten the first word of the foreign stack, just above its own
   * frame, or it has not kept the register that holds the slot. */
  if (sp == slot->stack_high - FOREIGN_TOP_BYTES && sp == slot->frames[0].tail1) {
    uint64_t *first = (uint64_t *)(uintptr_t)sp;
    if (slot != believed || *first != (uint64_t)(uintptr_t)slot) {
      *first = (uint64_t)(uintptr_t)slot;
      return slot;
    }
  }
  if (slot == believed) mismatch(slot);
  return slot;
}

void trap_landed(struct trap_frame *frame) {
  struct trap_slot *slot = (struct trap_slot *)((char *)&trap_arena +
                                                (((uint64_t)(uintptr_t)frame - (uint64_t)(uintptr_t)&trap_arena) &
                                                 ~(uint64_t)(SLOT_SIZE - 1)));
  trap_slot_set(slot);
  trap_filter_set(slot, 0);
  trap_hooked_leave(slot, frame);
  if (slot->level == 0) {
    slot->frames[0].tail1 &= ~(uint64_t)1;
    *(uint64_t *)(uintptr_t)slot->frames[0].tail1 =
        (uint64_t)(uintptr_t)slot; /* the callee may have overrun its frame */
  }
  slot->recovering = 0;
  frame_done(slot, frame);
}

void trap_dead_thunk(void) { trap_die("a released thunk was called", SIGABRT); }
