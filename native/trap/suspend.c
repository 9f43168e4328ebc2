/*
 * suspend.c: a callout closed, opened, suspended while VM code runs above it, and resumed. What the slow gate,
 * callbacks and the VM's signal handlers share.
 */
#include <errno.h>

#include "internal.h"

/*
 * Closing and opening the hooked images takes microseconds, and a VM's signal handler may come in the middle
 * (trap_signal_enter). So the flags run ahead of the deed: HOOKED from before the closing until after the opening,
 * LEAVING while it is opened for good. The handler opens wherever it finds HOOKED, and closes again unless LEAVING;
 * what it interrupted goes on, and comes to the same end because entering and leaving under a number may be repeated.
 */
static unsigned caller_of(const struct trap_slot *slot) { return (unsigned)(slot - trap_arena.slots); }

/* Around the deed: what a callee must not execute, the hooks may (trap_watch_code). A handler in the middle leaves the
 * flag as it was. */
static uint32_t hooking(struct trap_frame *frame) {
  uint32_t before = frame->flags & FRAME_HOOKING;
  frame->flags |= FRAME_HOOKING;
  atomic_signal_fence(memory_order_seq_cst);
  return before;
}
static void hooked(struct trap_frame *frame, uint32_t before) {
  atomic_signal_fence(memory_order_seq_cst);
  frame->flags = (frame->flags & ~FRAME_HOOKING) | before;
}

static void leave(const struct trap_slot *slot, struct trap_frame *frame) {
  int saved = errno;
  uint32_t before = hooking(frame);
  pkeys_leave_foreign_as(caller_of(slot), (frame->flags & FRAME_LENT) != 0);
  hooked(frame, before);
  errno = saved;
}

int trap_hooked_enter(struct trap_slot *slot, struct trap_frame *frame) {
  int saved = errno;
  frame->flags |= FRAME_HOOKED;
  uint32_t before = hooking(frame);
  int rc = pkeys_enter_foreign_as(caller_of(slot), (frame->flags & FRAME_LENT) != 0);
  hooked(frame, before);
  if (rc < 0) frame->flags &= ~FRAME_HOOKED;
  errno = saved;
  return rc;
}

void trap_hooked_leave(struct trap_slot *slot, struct trap_frame *frame) {
  if (!(frame->flags & FRAME_HOOKED)) return;
  frame->flags |= FRAME_LEAVING;
  atomic_signal_fence(memory_order_seq_cst);
  leave(slot, frame);
  atomic_signal_fence(memory_order_seq_cst);
  frame->flags &= ~(FRAME_HOOKED | FRAME_LEAVING);
}

bool trap_hooked_interrupt(struct trap_slot *slot, struct trap_frame *frame) {
  if (frame->flags & FRAME_LEAVING) {
    leave(slot, frame); /* what was interrupted does it once more */
    return false;
  }
  bool closed = (frame->flags & FRAME_HOOKED) != 0;
  trap_hooked_leave(slot, frame);
  return closed;
}

/*
 * The level goes up before the state says VM, and down after it has ceased to. A signal handler in between finds a
 * level too many, whose frame is unused. It never finds a level too few, whose frame it would write over. Its own
 * suspension leaves frames alone altogether.
 */
void trap_suspend(struct trap_slot *slot) {
  slot->level++;
  slot->frames[0].tail1 |= 1; /* the fast gate's exit finds that something is left above it */
  trap_set_state(slot, STATE_VM);
}

struct trap_frame *trap_resume(struct trap_slot *slot, uint64_t state) {
  trap_set_state(slot, state);
  slot->level--;
  atomic_signal_fence(memory_order_seq_cst);
  if (slot->level == 0) slot->frames[0].tail1 &= ~(uint64_t)1;
  return &slot->frames[slot->level];
}
