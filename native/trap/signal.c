/*
 * signal.c: the brackets for a VM's own signal handlers, which may interrupt a callout anywhere (I12). They run inside
 * a signal: only async-signal-safe calls, no locks, no allocation.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>

#include "internal.h"

/* words: 0 the state, 1 PKRU and above it what the seat had entered, 2 the slot's offset and SIGNAL_*, 3 the mask that
 * the slot had noted. */
#define SIGNAL_HOOKED 1u     /* this handler has opened the hooked images and closes them again */
#define SIGNAL_RECOVERING 2u /* it interrupted a landing pad: its own callouts may fail meanwhile */
#define SIGNAL_LEVEL_SHIFT 2 /* slot->signal_level before */
#define SIGNAL_LEVEL_MASK 63u
#define SIGNAL_FILTERED 256u /* the interrupted code's calls were judged */

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
  uint8_t filtered = trap_filter_get(slot);
  trap_filter_set(slot, 0);
  saved->words[0] = trap_state(slot);
  saved->words[2] = (uint64_t)((char *)slot - (char *)&trap_arena) | (uint64_t)slot->signal_level << SIGNAL_LEVEL_SHIFT;
  if (filtered) saved->words[2] |= SIGNAL_FILTERED;
  struct trap_frame *frame = &slot->frames[slot->level];
  if (trap_state_is_callout(saved->words[0])) {
    frame->entry = (struct trap_entry *)(uintptr_t)saved->words[0];
    if (slot->recovering) saved->words[2] |= SIGNAL_RECOVERING;
    slot->recovering = 0;
    if (trap_hooked_interrupt(slot, frame)) saved->words[2] |= SIGNAL_HOOKED;
  }
  /* A handler starts without rights to what was entered; that stays pinned below it. */
  saved->words[1] |= (uint64_t)pkeys_seat_push(&slot->seat).part << 32;
  if (pkeys_supported()) pkeys_wrpkru(pkeys_seat_rights(&slot->seat, (uint32_t)saved->words[1]));
  /* A callout of the handler's own that fails must not open the mask under which the handler runs. */
  saved->words[3] = trap_mask_word(slot);
  trap_mask_note(slot);
  trap_suspend(slot);
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
    struct trap_frame *frame = trap_resume(slot, saved->words[0]);
    pkeys_seat_pop(&slot->seat, (struct pkeys_seat_saved){(uint32_t)(saved->words[1] >> 32)});
    slot->signal_level = (uint32_t)(saved->words[2] >> SIGNAL_LEVEL_SHIFT) & SIGNAL_LEVEL_MASK;
    slot->recovering = (saved->words[2] & SIGNAL_RECOVERING) != 0;
    trap_mask_put(slot, saved->words[3]);
    if (saved->words[2] & SIGNAL_HOOKED && trap_hooked_enter(slot, frame) < 0)
      trap_die("the image could not be closed again after a signal handler (mprotect failed)", SIGABRT);
    if (saved->words[2] & SIGNAL_FILTERED) trap_filter_set(slot, 1);
  }
  if (pkeys_supported()) pkeys_wrpkru((uint32_t)saved->words[1]);
}
