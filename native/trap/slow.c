/*
 * slow.c: what the gates call. Runs on every callout that the fast gate declines, on the way into and out of callbacks,
 * and after every recovery.
 *
 * Each function that drops rights does so as its very last action: the VM's own stack may be a keyed space.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "internal.h"

#define NESTED_ROOM (256u << 10) /* a nested callout with less foreign stack than this takes a fresh one */

static uint32_t rights_foreign(uint32_t deny) { return (pkeys_rdpkru() & trap_arena.shared.keep) | deny; }
static void rights_open(void) { pkeys_wrpkru(pkeys_rdpkru() & trap_arena.shared.keep); }

/*
 * Foreign code may call a thunk itself, and then is foreign code already. But a thread that is said to be in a callout
 * and calls from the VM's own stack, near where it left it, never came back through the gate. Near: what lies above
 * belongs to the VM's live frames; what lies below does too while the callee has a stack of its own.
 */
#define NEAR_ABOVE 4096u
#define NEAR_BELOW (64u << 10)
static bool on_vm_stack(const struct trap_frame *frame, const struct trap_entry *entry, uint64_t sp) {
  return sp < frame->sp + NEAR_ABOVE && sp >= frame->sp - (trap_on_caller_stack(entry) ? 0 : NEAR_BELOW);
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
    if (on_vm_stack(&slot->frames[slot->level], (struct trap_entry *)(uintptr_t)trap_state(slot), caller_sp))
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

/*
 * Closing and opening the hooked images takes microseconds, and a VM's signal handler may come in the middle
 * (trap_signal_enter). So the flags run ahead of the deed: HOOKED from before the closing until after the opening,
 * LEAVING while it is opened for good. The handler opens wherever it finds HOOKED, and closes again unless LEAVING;
 * what it interrupted goes on, and comes to the same end because entering and leaving under a number may be repeated.
 */
static unsigned caller_of(const struct trap_slot *slot) { return (unsigned)(slot - trap_arena.slots); }

static int hooked_enter(struct trap_slot *slot, struct trap_frame *frame) {
  int saved = errno;
  frame->flags |= FRAME_HOOKED;
  atomic_signal_fence(memory_order_seq_cst);
  int rc = pkeys_enter_foreign_as(caller_of(slot), (frame->flags & FRAME_LENT) != 0);
  atomic_signal_fence(memory_order_seq_cst);
  if (rc < 0) frame->flags &= ~FRAME_HOOKED;
  errno = saved;
  return rc;
}

static void hooked_leave(struct trap_slot *slot, struct trap_frame *frame) {
  if (!(frame->flags & FRAME_HOOKED)) return;
  int saved = errno;
  frame->flags |= FRAME_LEAVING;
  atomic_signal_fence(memory_order_seq_cst);
  pkeys_leave_foreign_as(caller_of(slot), (frame->flags & FRAME_LENT) != 0);
  atomic_signal_fence(memory_order_seq_cst);
  frame->flags &= ~(FRAME_HOOKED | FRAME_LEAVING);
  errno = saved;
}

uint64_t trap_slow_close(struct trap_frame *frame, uint64_t current_sp) {
  struct trap_slot *slot = trap_slot_find();
  struct trap_entry *entry = frame->entry;
  struct pkeys_masks masks = pkeys_masks();
  bool bare = (entry->flags & TRAP_BARE) != 0;
  bool lent = (entry->flags & TRAP_LENT) != 0;
  uint32_t deny = bare || !masks.keyed ? 0 : lent ? masks.deny_lent : masks.deny;
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
  frame->fsp = top - entry->stack_bytes;
  trap_set_state(slot, (uint64_t)(uintptr_t)entry);
  if (masks.hooked && !bare) {
    frame->flags |= lent ? FRAME_LENT : 0;
    int rc = hooked_enter(slot, frame);
    if (rc < 0) return refuse(slot, frame, rc);
  }
  uint64_t result = frame->fsp;
  if (deny != 0) {
    frame->flags |= FRAME_KEYED;
    pkeys_wrpkru(rights_foreign(deny));
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
  if (frame->flags & FRAME_KEYED) rights_open();
  else if (trap_arena.shared.model && !(frame->entry->flags & TRAP_BARE)) trap_model_write();
  hooked_leave(slot, frame);
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
  /* The stack pointer is right: the callee has overwritten the first word of the foreign stack, just above its own
   * frame, or not kept the register that holds the slot. */
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
  hooked_leave(slot, frame);
  if (slot->level == 0) {
    slot->frames[0].tail1 &= ~(uint64_t)1;
    *(uint64_t *)(uintptr_t)slot->frames[0].tail1 =
        (uint64_t)(uintptr_t)slot; /* the callee may have overrun its frame */
  }
  slot->recovering = 0;
  frame_done(slot, frame);
}

/*
 * The level goes up before the state says VM, and down after it has ceased to: a signal handler in between finds a
 * level too many, whose frame nobody uses, and never one too few, whose frame it would write over. Its own suspension
 * leaves frames alone altogether.
 */
static void deeper(struct trap_slot *slot) {
  slot->level++;
  slot->frames[0].tail1 |= 1; /* the fast gate's exit finds that something is left above it */
  trap_set_state(slot, STATE_VM);
}

/* Suspends the innermost callout: the thread is VM code now. */
static void suspend(struct trap_slot *slot, uint64_t foreign_sp, uint32_t pkru) {
  struct trap_frame *frame = &slot->frames[slot->level];
  if (slot->level == 0 && !(frame->flags & FRAME_OWN_STACK)) {
    frame->stack_low = slot->stack_low;
    frame->stack_high = slot->stack_high;
  }
  bool own = foreign_sp > frame->stack_low && foreign_sp <= frame->stack_high;
  frame->callback_sp = foreign_sp;
  frame->flags = own ? frame->flags & ~FRAME_ELSEWHERE : frame->flags | FRAME_ELSEWHERE;
  frame->foreign_pkru = pkru;
  deeper(slot);
}

static struct trap_frame *resume(struct trap_slot *slot, uint64_t state) {
  trap_set_state(slot, state);
  slot->level--;
  atomic_signal_fence(memory_order_seq_cst);
  if (slot->level == 0) slot->frames[0].tail1 &= ~(uint64_t)1;
  return &slot->frames[slot->level];
}

uint64_t trap_callback_enter(struct trap_callback_entry *entry, uint64_t foreign_sp) {
  (void)entry;
  struct trap_slot *slot = trap_slot_find();
  if (slot == NULL || !trap_state_is_callout(trap_state(slot))) return 0;
  uint32_t pkru = 0;
  if (trap_arena.shared.keys) {
    pkru = pkeys_rdpkru();
    pkeys_wrpkru(pkru & trap_arena.shared.keep);
  } else if (trap_arena.shared.model) {
    trap_model_write();
  }
  if (slot->level + 1 >= NESTING_COUNT) trap_die("callbacks nested too deeply (TRAP_MAX_NESTING)", SIGABRT);
  struct trap_frame *frame = &slot->frames[slot->level];
  frame->entry = (struct trap_entry *)(uintptr_t)trap_state(slot);
  uint32_t flags = frame->flags;
  hooked_leave(slot, frame);
  if (flags & FRAME_HOOKED) frame->flags |= FRAME_SUSPENDED_HOOK;
  suspend(slot, foreign_sp, pkru);
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
  struct trap_frame *frame = resume(slot, (uint64_t)(uintptr_t)slot->frames[slot->level - 1].entry);
  if (frame->flags & FRAME_SUSPENDED_HOOK) {
    frame->flags &= ~FRAME_SUSPENDED_HOOK;
    if (hooked_enter(slot, frame) < 0)
      trap_die("the image could not be closed again after a callback (mprotect failed)", SIGABRT);
  }
  /* A callout that had rights taken away loses them again, those to images opened meanwhile included; one that had all
   * keeps all: its way out would not give them back. */
  if (frame->foreign_pkru & ~trap_arena.shared.keep) {
    uint32_t deny = frame->entry->deny;
    pkeys_wrpkru(rights_foreign(deny != 0 ? deny : frame->foreign_pkru & ~trap_arena.shared.keep));
  } else if (trap_arena.shared.model) {
    trap_model_write();
  }
}

void trap_dead_thunk(void) { trap_die("a released thunk was called", SIGABRT); }

/* Foreign code may keep a callback's address past its end, on a thread that the VM knows nothing of: no reason to die.
 */
void trap_tell_gone(void) {
  static _Atomic int told;
  if (atomic_exchange(&told, 1) == 0)
    trap_say("turnkey: foreign code called a callback that was released (unregistered, or its guard, worker or "
             "program has ended); it gets zeros, from now on without a message\n");
}

/* words: 0 the state, 1 PKRU, 2 the slot's offset and SIGNAL_*, 3 the mask that the slot had noted. */
#define SIGNAL_HOOKED 1u     /* this handler has opened the hooked images and closes them again */
#define SIGNAL_RECOVERING 2u /* it interrupted a landing pad: its own callouts may fail meanwhile */
#define SIGNAL_LEVEL_SHIFT 2 /* slot->signal_level before */
#define SIGNAL_LEVEL_MASK 63u

/* I12 */
void trap_signal_enter(struct trap_signal *saved) {
  memset(saved, 0, sizeof *saved);
  if (pkeys_supported()) {
    saved->words[1] = pkeys_rdpkru();
    pkeys_wrpkru(0); /* the mask of owned keys is itself behind a key */
    pkeys_wrpkru((uint32_t)saved->words[1] & trap_arena.shared.keep);
  }
  struct trap_slot *slot = trap_slot_find();
  if (slot == NULL || slot->level + 1 >= NESTING_COUNT) return;
  saved->words[0] = trap_state(slot);
  saved->words[2] = (uint64_t)((char *)slot - (char *)&trap_arena) | (uint64_t)slot->signal_level << SIGNAL_LEVEL_SHIFT;
  struct trap_frame *frame = &slot->frames[slot->level];
  if (trap_state_is_callout(saved->words[0])) {
    frame->entry = (struct trap_entry *)(uintptr_t)saved->words[0];
    if (slot->recovering) saved->words[2] |= SIGNAL_RECOVERING;
    slot->recovering = 0;
    if (frame->flags & FRAME_LEAVING) {
      int error = errno;
      pkeys_leave_foreign_as(caller_of(slot), (frame->flags & FRAME_LENT) != 0);
      errno = error;
    } else if (frame->flags & FRAME_HOOKED) {
      saved->words[2] |= SIGNAL_HOOKED;
      hooked_leave(slot, frame);
    }
  }
  /* A callout of the handler's own that fails must not open the mask under which the handler runs. */
  saved->words[3] = trap_mask_word(slot);
  trap_mask_note(slot);
  deeper(slot);
  slot->signal_level = slot->level;
}

void trap_signal_leave(const struct trap_signal *saved) {
  uint64_t offset = saved->words[2] & ~(uint64_t)(SLOT_SIZE - 1);
  if (offset != 0) {
    struct trap_slot *slot = trap_slot_at(offset);
    if (trap_state(slot) != STATE_VM || slot->level == 0)
      trap_die("a signal handler left while callouts inside it had not: a longjmp went over the gate; the process "
               "cannot go on",
               SIGABRT);
    struct trap_frame *frame = resume(slot, saved->words[0]);
    slot->signal_level = (uint32_t)(saved->words[2] >> SIGNAL_LEVEL_SHIFT) & SIGNAL_LEVEL_MASK;
    slot->recovering = (saved->words[2] & SIGNAL_RECOVERING) != 0;
    trap_mask_put(slot, saved->words[3]);
    if (saved->words[2] & SIGNAL_HOOKED && hooked_enter(slot, frame) < 0)
      trap_die("the image could not be closed again after a signal handler (mprotect failed)", SIGABRT);
  }
  if (pkeys_supported()) pkeys_wrpkru((uint32_t)saved->words[1]);
}

bool trap_in_callout(void) {
  struct trap_slot *slot = trap_slot_find();
  return slot != NULL && trap_state_is_callout(trap_state(slot));
}

unsigned trap_depth(void) {
  struct trap_slot *slot = trap_slot_find();
  return slot == NULL ? 0 : slot->level + (trap_state_is_callout(trap_state(slot)) ? 1 : 0);
}
