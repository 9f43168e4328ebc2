/*
 * thunk.c: the tables of thunks and callback thunks, and which gate serves each. Ordinary VM code, but for the two
 * functions that count who calls from outside callouts: the gate calls these on any thread.
 *
 * The code of a thunk is static (gate_*.S); only its table entry is written, in pages under the runtime key (I11).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "internal.h"

#define BUCKETS 4096

static uint32_t buckets[BUCKETS];                         /* index + 1 */
static uint32_t thunk_free, callback_free, callback_last; /* index + 1 */
static uint32_t record_used[RECORD_COUNT / 32];
static bool ready;

static uint32_t bucket_of(const void *target, uint64_t stack_bytes, uint32_t flags, const trap_policy *policy) {
  uint64_t h = (uint64_t)(uintptr_t)target * 0x9e3779b97f4a7c15u ^ stack_bytes << 7 ^ flags ^
               (uint64_t)(uintptr_t)policy * 0xc2b2ae3d27d4eb4fu;
  return (uint32_t)(h >> 40) % BUCKETS;
}

static void choose_gate(struct trap_entry *entry, const struct pkeys_masks *masks) {
  bool bare = (entry->flags & TRAP_BARE) != 0;
  uint32_t deny = trap_denied(entry, masks);
  bool args = entry->stack_bytes != 0;
  bool own = trap_on_caller_stack(entry);
  static const char *const flag[GATE_VARIANTS] = GATE_LIST(trap_gate_flag), *const keys[GATE_VARIANTS] = GATE_LIST(
                                                                                trap_gate_keys);
  const char *const *model = trap_arena.shared.model_gates;
  unsigned variant = (own ? 4u : 0u) | (args ? 2u : 0u) | (entry->flags & TRAP_FLOAT ? 1u : 0u);
  const char *const *gates = deny != 0 ? keys : model != NULL && !bare ? model : flag;
  bool hooked = masks->hooked && !bare;
#ifdef T_SELECTOR
  static const char *const flag_filter[GATE_VARIANTS] = GATE_LIST(trap_gate_flag_filter),
                           *const keys_filter[GATE_VARIANTS] = GATE_LIST(trap_gate_keys_filter);
  if (entry->flags & TRAP_FILTER && trap_arena.shared.filter.way == TRAP_FILTER_DISPATCH && !bare) {
    if (gates == model) hooked = true; /* the slow gate does both */
    gates = deny != 0 ? keys_filter : flag_filter;
  }
#endif
  const char *gate = hooked ? trap_gate_slow : gates[variant];
  __atomic_store_n(&entry->deny, deny, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->machine_deny, trap_machine_deny(deny), __ATOMIC_RELAXED);
  __atomic_store_n(&entry->gate, (const void *)gate, __ATOMIC_RELEASE);
}

static bool is_thunk(const struct trap_entry *entry) { return entry->references != 0; }

static void refresh(const struct pkeys_masks *masks) {
  pthread_mutex_lock(&trap_lock_thunks);
  for (uint32_t i = 0; i < THUNK_COUNT; i++)
    if (is_thunk(&trap_arena.thunks[i])) choose_gate(&trap_arena.thunks[i], masks);
  pthread_mutex_unlock(&trap_lock_thunks);
}

/* With the lock: before the first entry is taken. */
static void tables_ready(void) {
  if (ready) return;
  ready = true;
  trap_on_masks(refresh);
  for (uint32_t i = 0; i < THUNK_COUNT; i++) {
    trap_arena.thunks[i].gate = trap_gate_dead;
    trap_arena.thunks[i].next = i + 2 <= THUNK_COUNT ? i + 2 : 0;
  }
  thunk_free = 1;
  for (uint32_t i = 0; i < CALLBACK_COUNT; i++) {
    trap_arena.callbacks[i].target = trap_callback_gone;
    trap_arena.callbacks[i].next = i + 2 <= CALLBACK_COUNT ? i + 2 : 0;
  }
  callback_free = 1;
  callback_last = CALLBACK_COUNT;
}

static void *thunk_code(uint32_t index) {
  return (void *)(uintptr_t)(trap_thunk_code + (size_t)index * THUNK_CODE_BYTES);
}

static struct trap_entry *thunk_entry(const void *code) {
  uintptr_t offset = (uintptr_t)code - (uintptr_t)trap_thunk_code;
  if (offset % THUNK_CODE_BYTES != 0 || offset / THUNK_CODE_BYTES >= THUNK_COUNT) return NULL;
  struct trap_entry *entry = &trap_arena.thunks[offset / THUNK_CODE_BYTES];
  return is_thunk(entry) ? entry : NULL;
}

static struct trap_fault *record_take(void) {
  for (uint32_t word = 0; word < RECORD_COUNT / 32; word++) {
    if (record_used[word] == UINT32_MAX) continue;
    uint32_t i = word * 32 + (uint32_t)__builtin_ctz(~record_used[word]);
    record_used[word] |= 1u << (i % 32);
    memset(&trap_arena.records[i], 0, offsetof(struct trap_fault, stack));
    return &trap_arena.records[i];
  }
  return NULL;
}

static void record_give(const struct trap_fault *record) {
  size_t i = (size_t)(record - trap_arena.records);
  record_used[i / 32] &= ~(1u << (i % 32));
}

int trap_ticket_take(uint32_t *ticket) {
  if (ticket == NULL) return -EINVAL;
  int rc = trap_attach_vm();
  if (rc < 0) return rc;
  pthread_mutex_lock(&trap_lock_thunks);
  const struct trap_fault *record = record_take();
  pthread_mutex_unlock(&trap_lock_thunks);
  if (record == NULL) return -ENOSPC;
  *ticket = (uint32_t)(record - trap_arena.records);
  return 0;
}

bool trap_ticket_end(uint32_t ticket, struct trap_fault *out) {
  if (ticket >= RECORD_COUNT || trap_attach_vm() < 0) return false;
  struct trap_fault *record = &trap_arena.records[ticket];
  bool failed = record->pending != 0;
  if (failed && out != NULL) *out = *record;
  pthread_mutex_lock(&trap_lock_thunks);
  record_give(record);
  pthread_mutex_unlock(&trap_lock_thunks);
  return failed;
}

#define ALL_FLAGS(X)                                                                                              \
  (TRAP_CAN_FAIL X TRAP_LENT X TRAP_PHASE_LOAD X TRAP_PHASE_DECODE X TRAP_BARE X TRAP_FLOAT X TRAP_CALLER_STACK X \
       TRAP_TICKETED X TRAP_FILTER X TRAP_INSIDE)
_Static_assert(ALL_FLAGS(|) == ALL_FLAGS(+), "no two flags share a bit");

static size_t most_stack_bytes(unsigned flags) {
  return (flags & TRAP_CALLER_STACK ? TRAP_MAX_CALLER_STACK_BYTES : TRAP_MAX_STACK_BYTES) +
         (flags & TRAP_TICKETED ? TRAP_TICKET_BYTES : 0);
}

static int thunk_make(const void *target, size_t stack_bytes, unsigned flags, trap_policy *policy, bool private,
                      void **code) {
  const unsigned known = ALL_FLAGS(|);
  if (target == NULL || code == NULL || stack_bytes > most_stack_bytes(flags) || (flags & ~known) != 0) return -EINVAL;
  if (flags & TRAP_FILTER && trap_arena.shared.filter.way == TRAP_FILTER_NONE) return -EINVAL;
  if (flags & TRAP_TICKETED && (private || stack_bytes == 0 || stack_bytes % 16 != 0)) return -EINVAL;
  int rc = trap_attach_vm();
  if (rc < 0) return rc;
  stack_bytes = (stack_bytes + 15) & ~(size_t)15;
  uint32_t bucket = bucket_of(target, stack_bytes, flags, policy);
  pthread_mutex_lock(&trap_lock_thunks);
  tables_ready();
  if (!private) {
    for (uint32_t i = buckets[bucket]; i != 0; i = trap_arena.thunks[i - 1].next) {
      struct trap_entry *entry = &trap_arena.thunks[i - 1];
      if (entry->target == target && entry->stack_bytes == stack_bytes && entry->flags == flags &&
          entry->policy == policy) {
        entry->references++;
        *code = thunk_code(i - 1);
        pthread_mutex_unlock(&trap_lock_thunks);
        return 0;
      }
    }
  }
  struct trap_fault *record = private ? record_take() : NULL;
  uint32_t i = thunk_free;
  if (i == 0 || (private && record == NULL)) {
    if (record != NULL) record_give(record);
    pthread_mutex_unlock(&trap_lock_thunks);
    return -ENOSPC;
  }
  struct trap_entry *entry = &trap_arena.thunks[i - 1];
  thunk_free = entry->next;
  entry->target = target;
  entry->stack_bytes = stack_bytes;
  entry->flags = flags | (private ? ENTRY_PRIVATE : 0);
  entry->policy = policy;
  entry->record = record;
  entry->references = 1;
  entry->next = 0;
  if (!private) {
    entry->next = buckets[bucket];
    buckets[bucket] = i;
  }
  struct pkeys_masks masks = pkeys_masks();
  choose_gate(entry, &masks);
  atomic_fetch_add(&trap_arena.shared.thunks_live, 1);
  *code = thunk_code(i - 1);
  pthread_mutex_unlock(&trap_lock_thunks);
  return 0;
}

int trap_thunk(const void *target, size_t stack_bytes, unsigned flags, trap_policy *policy, void **code) {
  return thunk_make(target, stack_bytes, flags, policy, false, code);
}

int trap_thunk_private(const void *target, size_t stack_bytes, unsigned flags, trap_policy *policy, void **code) {
  return thunk_make(target, stack_bytes, flags, policy, true, code);
}

int trap_thunk_release(void *code) {
  int rc = trap_attach_vm();
  if (rc < 0) return rc;
  pthread_mutex_lock(&trap_lock_thunks);
  struct trap_entry *entry = thunk_entry(code);
  if (entry == NULL) {
    pthread_mutex_unlock(&trap_lock_thunks);
    return -EINVAL;
  }
  if (--entry->references == 0) {
    uint32_t i = (uint32_t)(entry - trap_arena.thunks) + 1;
    if (!(entry->flags & ENTRY_PRIVATE)) {
      uint32_t *link = &buckets[bucket_of(entry->target, entry->stack_bytes, entry->flags, entry->policy)];
      while (*link != i) link = &trap_arena.thunks[*link - 1].next;
      *link = entry->next;
    } else {
      record_give(entry->record);
    }
    entry->gate = trap_gate_dead;
    entry->target = NULL;
    entry->record = NULL;
    entry->next = thunk_free;
    thunk_free = i;
    atomic_fetch_sub(&trap_arena.shared.thunks_live, 1);
  }
  pthread_mutex_unlock(&trap_lock_thunks);
  return 0;
}

const void *trap_thunk_target(const void *code) {
  if (trap_attach() < 0) return NULL;
  struct trap_entry *entry = thunk_entry(code);
  return entry == NULL ? NULL : entry->target;
}

struct trap_fault *trap_thunk_fault(const void *code) {
  if (trap_attach() < 0) return NULL;
  struct trap_entry *entry = thunk_entry(code);
  return entry == NULL ? NULL : entry->record;
}

/* By the entry's index, and outside the arena, which threads older than the runtime key cannot read until the gate
 * itself has met it (vm_rights_lost). */
static _Atomic uint32_t outside_calls[CALLBACK_COUNT];
static _Atomic uint8_t counted[CALLBACK_COUNT];

static _Atomic uint32_t *outside_calls_of(const struct trap_callback_entry *entry) {
  return &outside_calls[entry - trap_arena.callbacks];
}

int trap_callback(const void *target, size_t stack_bytes, void **code) {
  if (target == NULL || code == NULL || stack_bytes > TRAP_MAX_CALLBACK_STACK_BYTES) return -EINVAL;
  int rc = trap_attach_vm();
  if (rc < 0) return rc;
  pthread_mutex_lock(&trap_lock_thunks);
  tables_ready();
  uint32_t i = callback_free;
  if (i == 0) {
    pthread_mutex_unlock(&trap_lock_thunks);
    return -ENOSPC;
  }
  struct trap_callback_entry *entry = &trap_arena.callbacks[i - 1];
  callback_free = entry->next;
  if (callback_free == 0) callback_last = 0;
  entry->next = 0;
  entry->stack_bytes = (stack_bytes + 15) & ~(uint64_t)15;
  entry->live = 1;
  counted[i - 1] = 0;
  __atomic_store_n(&entry->target, target, __ATOMIC_RELEASE);
  atomic_fetch_add(&trap_arena.shared.callbacks_live, 1);
  pthread_mutex_unlock(&trap_lock_thunks);
  *code = (void *)(uintptr_t)(trap_callback_code + (size_t)(i - 1) * THUNK_CODE_BYTES);
  return 0;
}

struct trap_callback_entry *trap_callback_entry_of(const void *code) {
  uintptr_t offset = (uintptr_t)code - (uintptr_t)trap_callback_code;
  if (offset % THUNK_CODE_BYTES != 0 || offset / THUNK_CODE_BYTES >= CALLBACK_COUNT) return NULL;
  return &trap_arena.callbacks[offset / THUNK_CODE_BYTES];
}

/* CALLBACK_STRAIGHT: jump. CALLBACK_COUNTED: call, then trap_callback_passed. */
uint64_t trap_callback_outside(const struct trap_callback_entry *entry) {
  if (!counted[entry - trap_arena.callbacks]) return CALLBACK_STRAIGHT;
  atomic_fetch_add(outside_calls_of(entry), 1); /* before the gate reads the target, which may just be going */
  return CALLBACK_COUNTED;
}

void trap_callback_passed(struct trap_callback_entry *entry) { atomic_fetch_sub(outside_calls_of(entry), 1); }

uint32_t trap_callback_calls(const void *code) {
  const struct trap_callback_entry *entry = trap_callback_entry_of(code);
  if (entry == NULL) return 0;
  atomic_thread_fence(memory_order_seq_cst); /* the target that trap_callback_release wrote is seen by later callers */
  return atomic_load(outside_calls_of(entry));
}

int trap_callback_count(void *code) {
#if defined(__x86_64__) && !defined(_WIN32)
  int rc = trap_attach_vm();
  if (rc < 0) return rc;
  struct trap_callback_entry *entry = trap_callback_entry_of(code);
  if (entry == NULL) return -EINVAL;
  pthread_mutex_lock(&trap_lock_thunks);
  if (entry->live) counted[entry - trap_arena.callbacks] = 1;
  else rc = -EINVAL;
  pthread_mutex_unlock(&trap_lock_thunks);
  return rc;
#else
  (void)code;
  return -EOPNOTSUPP;
#endif
}

int trap_callback_release(void *code) {
  int rc = trap_attach_vm();
  if (rc < 0) return rc;
  struct trap_callback_entry *entry = trap_callback_entry_of(code);
  if (entry == NULL) return -EINVAL;
  uint32_t i = (uint32_t)(entry - trap_arena.callbacks) + 1;
  pthread_mutex_lock(&trap_lock_thunks);
  if (!entry->live) {
    pthread_mutex_unlock(&trap_lock_thunks);
    return -EINVAL;
  }
  entry->live = 0;
  __atomic_store_n(&entry->target, (const void *)trap_callback_gone, __ATOMIC_RELEASE);
  entry->stack_bytes = 0;
  /* Behind all others: who kept the address meets nobody else's callback for as long as can be. */
  entry->next = 0;
  if (callback_last != 0) trap_arena.callbacks[callback_last - 1].next = i;
  else callback_free = i;
  callback_last = i;
  atomic_fetch_sub(&trap_arena.shared.callbacks_live, 1);
  pthread_mutex_unlock(&trap_lock_thunks);
  return 0;
}

/* ---- policies ---- */

static uint32_t policies_used[POLICY_COUNT / 32];

trap_policy *trap_policy_create(enum trap_response response) {
  if (trap_attach_vm() < 0) return NULL;
  trap_policy *policy = NULL;
  pthread_mutex_lock(&trap_lock_thunks);
  for (uint32_t i = 0; i < POLICY_COUNT && policy == NULL; i++) {
    if (policies_used[i / 32] & 1u << (i % 32)) continue;
    policies_used[i / 32] |= 1u << (i % 32);
    policy = &trap_arena.policies[i];
    policy->response = response;
    policy->live = 1;
  }
  pthread_mutex_unlock(&trap_lock_thunks);
  return policy;
}

void trap_policy_set(trap_policy *policy, enum trap_response response) {
  if (policy != NULL && trap_attach_vm() == 0) __atomic_store_n(&policy->response, response, __ATOMIC_RELEASE);
}

void trap_policy_release(trap_policy *policy) {
  if (policy == NULL || trap_attach_vm() < 0) return;
  size_t i = (size_t)(policy - trap_arena.policies);
  pthread_mutex_lock(&trap_lock_thunks);
  policies_used[i / 32] &= ~(1u << (i % 32));
  policy->live = 0;
  pthread_mutex_unlock(&trap_lock_thunks);
}
