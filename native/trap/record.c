/*
 * record.c: what the handlers of every system share: whose fault it is to take, the fault record, a process's last
 * words. Runs inside a signal or an exception, under the rules of inside_*.c: no locks, no allocation, no printf,
 * rights open.
 */
#include <string.h>

#include "internal.h"

static size_t put_text(char *to, size_t at, size_t limit, const char *text) {
  while (*text != '\0' && at < limit) to[at++] = *text++;
  return at;
}

static size_t put_hex(char *to, size_t at, size_t limit, uint64_t value) {
  at = put_text(to, at, limit, "0x");
  int digits = 1;
  while (digits < 16 && value >> (4 * digits) != 0) digits++;
  while (digits-- > 0 && at < limit) to[at++] = "0123456789abcdef"[value >> (4 * digits) & 15];
  return at;
}

size_t trap_last_words(char *text, size_t limit, const char *why, const char *what, uint64_t number, uint64_t pc,
                       uint64_t address) {
  size_t at = put_text(text, 0, limit, "turnkey: fatal: ");
  at = put_text(text, at, limit - 80, why);
  at = put_text(text, at, limit, " (");
  at = put_text(text, at, limit, what);
  at = put_text(text, at, limit, " ");
  at = put_hex(text, at, limit, number);
  if (pc != 0) {
    at = put_text(text, at, limit, ", pc ");
    at = put_hex(text, at, limit, pc);
    at = put_text(text, at, limit, ", address ");
    at = put_hex(text, at, limit, address);
  }
  return put_text(text, at, limit, ")\n");
}

bool trap_policy_takes(const struct trap_entry *entry) {
  if (entry->policy == NULL) return true;
  uint32_t response = __atomic_load_n(&entry->policy->response, __ATOMIC_ACQUIRE);
  return response == TRAP_ALWAYS || (response == TRAP_DECLARED && (entry->flags & TRAP_CAN_FAIL));
}

/* The ticket is read from where the caller put it: the callee had a copy. */
struct trap_fault *trap_record_of(const struct trap_entry *entry, struct trap_slot *slot, uint64_t sp) {
  if (entry->record != NULL) return entry->record;
  if (entry->flags & TRAP_TICKETED) {
    uint64_t ticket = *(const uint64_t *)(uintptr_t)trap_last_argument(sp, entry->stack_bytes);
    if (ticket < RECORD_COUNT) return &trap_arena.records[ticket];
  }
  return slot == NULL ? NULL : &slot->fault;
}

struct trap_fault *trap_record_begin(struct trap_slot *slot) {
  struct trap_frame *frame = &slot->frames[slot->level];
  struct trap_entry *entry = frame->entry = (struct trap_entry *)(uintptr_t)trap_state(slot);
  slot->recovering = 1;
  if (!(frame->flags & FRAME_SLOW) && !(entry->flags & TRAP_FLOAT)) frame->fp = slot->fp;
  struct trap_fault *fault = trap_record_of(entry, slot, frame->sp);
  uint32_t pending = fault->pending;
  memset(fault, 0, offsetof(struct trap_fault, stack));
  fault->pending = pending; /* set last */
  fault->phase = entry->flags & TRAP_PHASE_LOAD     ? TRAP_IN_LOAD
                 : entry->flags & TRAP_PHASE_DECODE ? TRAP_IN_DECODE
                                                    : TRAP_IN_CALL;
  fault->pkey = -1;
  fault->thread_id = slot->thread_id;
  fault->depth = slot->level + 1;
  fault->function = (uint64_t)(uintptr_t)entry->target;
  fault->thunk = (uint64_t)(uintptr_t)(trap_thunk_code + (entry - trap_arena.thunks) * THUNK_CODE_BYTES);
  return fault;
}

static bool watched(uint64_t value) {
  const struct trap_shared *shared = &trap_arena.shared;
  for (int i = 0; i < 4; i++)
    if (value - shared->watched_low[i] < shared->watched_high[i] - shared->watched_low[i]) return true;
  return false;
}

bool trap_rights_deny(uint32_t pkru, uint32_t deny) {
  uint32_t no_access = pkru & 0x55555555u;
  return ((pkru | no_access << 1) & deny) == deny;
}

void trap_record_end(struct trap_slot *slot, struct trap_fault *fault, uint64_t sp, bool memory) {
  const struct trap_frame *frame = &slot->frames[slot->level];
  const struct trap_entry *entry = frame->entry;
  struct pkeys_space space;
  fault->space_key = -1;
  if (memory && fault->address != 0)
    fault->space_key = pkeys_space_key_at_fault(fault->address, fault->pkey, &space, &fault->space_moves);
  if (fault->space_key >= 0) {
    fault->space_found = 1;
    fault->space_image_id = space.image_id;
    fault->space_offset = fault->address - space.address;
    memcpy(fault->space_name, space.name, sizeof fault->space_name);
  }
  /* Held (I10): what the gate took away was still away when the fault came. */
  if (frame->flags & FRAME_HOOKED) fault->mechanism_held = 1;
  if (entry->deny != 0) fault->mechanism_held = trap_rights_deny(fault->pkru, entry->deny);
  uint64_t low = frame->stack_low, high = frame->stack_high;
  if (slot->level == 0 && !trap_on_caller_stack(entry)) {
    low = slot->stack_low;
    high = slot->stack_high;
  }
  fault->foreign_sp_top = high;
  if (high != 0 && fault->address < low && fault->address >= low - STACK_GUARD_LOW)
    fault->flags |= TRAP_FAULT_STACK_OVERFLOW;
  if (sp >= low && sp < high) {
    const uint64_t *word = (const uint64_t *)(uintptr_t)(sp & ~(uint64_t)7), *end = (const uint64_t *)(uintptr_t)high;
    if (end - word > 1024) end = word + 1024;
    uint32_t n = 0;
    for (; word < end && n < sizeof fault->stack / sizeof *fault->stack; word++)
      if (watched(*word)) fault->stack[n++] = *word;
    fault->stack_words = n;
  }
  atomic_signal_fence(memory_order_seq_cst);
  if (++slot->fault_count == 0) slot->fault_count = 1;
  fault->pending = slot->fault_count;
  atomic_fetch_add_explicit(&trap_arena.shared.faults, 1, memory_order_relaxed);
}
