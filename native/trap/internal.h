/*
 * internal.h: what the trap's own files share. A file is named for where its code runs:
 *
 *   inside_*.c context_*.c    inside a signal handler: only async-signal-safe calls, no locks, no allocation, nothing
 * on record.c signal.c         key-denied memory before rights are open. trap_slot_find is called there too gate_*.S on
 * every callout slow.c                    on callouts that the fast gate declines: nested, first on a thread,
 * mechanisms with calls callback.c suspend.c      on the way into and out of callbacks install_*.c thread.c thunk.c
 * trap.c load.c copy.c call.c    ordinary VM code model*.c                  measurement only platform_*.h platform_*.c
 * what the system gives, behind platform.h
 *
 * No two of the C files depend on each other, not by way of others either (native/test/circles.mjs).
 */
#ifndef TURNKEY_TRAP_INTERNAL_H
#define TURNKEY_TRAP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "../pkeys/pkeys.h"
#include "layout.h"
#include "machine.h"
#include "platform.h"
#include "filter.h"
#include "trap.h"

struct trap_entry { /* a thunk */
  const void
      *gate; /* which gate variant serves it: chosen from the flags, the open images and the foreign stack setting */
  const void *target;
  uint64_t stack_bytes; /* multiple of 16 */
  uint32_t deny;        /* rights that the gate takes away */
  uint32_t flags;       /* enum trap_thunk_flags | ENTRY_* */
  struct trap_policy *policy;
  struct trap_fault *record; /* private thunks only */
  uint32_t references;
  uint32_t next;         /* hash chain or free list, by index + 1 */
  uint64_t machine_deny; /* `deny` as this machine's gate wants it (trap_machine_deny) */
};
#define ENTRY_PRIVATE 0x10000u

struct trap_callback_entry {
  const void *target;
  uint64_t stack_bytes; /* multiple of 16 */
  uint32_t live;
  uint32_t next;
  uint64_t unused;
};

struct trap_policy {
  uint32_t response;
  uint32_t live;
};

struct trap_frame {
  uint64_t sp; /* the VM's stack pointer on entry */
  struct trap_saved saved;
  struct trap_float fp;
  struct trap_entry *entry; /* suspended and slow frames; of a running fast one, T_STATE tells */
  uint64_t fsp; /* stack pointer at the call, before it pushes: what a paired return comes back with. Not in fast frames
                   without stack arguments */
  uint64_t callback_sp;           /* foreign stack pointer of the callback that suspended this callout */
  uint32_t flags;                 /* FRAME_* */
  uint32_t foreign_pkru;          /* PKRU of the suspended callout */
  uint64_t stack_low, stack_high; /* the foreign stack this callout runs on; slow frames only (else the slot's own) */
  uint64_t tail0, tail1;          /* in frames[0]: T_STATE and T_FSP */
};
#define FRAME_HOOKED 1u /* the hooked images are closed for this frame, are about to be, or are being opened */
#define FRAME_KEYED 2u  /* PKRU was written */
/* FRAME_OWN_STACK is in layout.h */
#define FRAME_LENT 8u
#define FRAME_SLOW 64u           /* made by the slow gate, which always saves the floating-point environment */
#define FRAME_SUSPENDED_HOOK 32u /* a callback has opened the hooked images for its time */
#define FRAME_LEAVING 128u       /* the hooked images are being opened for good */
#define FRAME_HOOKING 512u       /* they are being closed or opened now, by code of ours */
#define FRAME_ELSEWHERE 256u     /* suspended by a callback from a stack that is not this frame's foreign stack */

struct trap_slot {
  union {
    struct {
      struct trap_frame frames[NESTING_COUNT];
      struct pkeys_seat seat; /* the pooled image that this thread has entered; its `keep` is the gate's */
      struct pkeys_seat_saved seats[NESTING_COUNT]; /* of the suspended callouts */
      struct trap_fault fault;
      _Atomic uint64_t thread_pointer; /* of the owner; 0 while free */
      uint32_t level;                  /* suspended callouts */
      uint32_t signal_level; /* the level that a VM's signal handler runs at, 0 for none: its callouts take a fresh
                                foreign stack */
      uint32_t generation;   /* of the masks, when this thread last opened its rights */
      uint32_t recovering;   /* from the handler's decision to the landing pad's end */
      uint32_t fault_count;
      int32_t thread_id;                          /* kernel tid */
      struct trap_float fp;                       /* floating-point environment when the thread attached or noted it */
      uint64_t stack_base, stack_low, stack_high; /* own foreign stack: mapping, lowest usable byte, top */
      uint64_t stack_map_bytes;
      uint64_t alternate_base, alternate_bytes; /* own alternate stack: [base, base+bytes) usable */
      struct trap_thread_state platform;
    };
    char size[SLOT_SIZE];
  };
};

#define WATCHED_COUNT 4 /* breakpoints that a processor has */
/* The filter, as the handler needs it. */
struct trap_filter {
  uint32_t way; /* enum trap_filter_way */
  uint32_t refusal, threads, code;
  trap_judge judge;
  void *context;
  uint64_t written, read; /* selector bytes: where the trap writes them, and where the kernel reads them */
  _Atomic uint64_t judged, refused;
  uint8_t rules[512]; /* enum trap_call_verdict, by number */
  _Atomic uint32_t watched_count;
  uintptr_t watched[WATCHED_COUNT]; /* trap_watch_code */
};

struct trap_shared {
  uint32_t keep; /* of a thread that has entered no pooled image */
  struct trap_machine machine;
  uint32_t foreign_stack;         /* callouts switch stacks */
  uint32_t keys;                  /* pkeys_supported() */
  uint32_t pool;                  /* fields of the pool's keys (pkeys_virtual.h) */
  uint32_t model;                 /* measurement only: a delay stands where rights would be written (trap_model) */
  const char *const *model_gates; /* then: the gates with it, in choose_gate's order */
  int32_t process; /* the process whose callouts these are: a child forked by a callee inherits the state, but is not
                      the VM */
  uint64_t foreign_bytes;
  _Atomic uint64_t faults, passed_on, threads_live, threads_ever, thunks_live, callbacks_live, stacks_cached;
  uint64_t watched_low[4],
      watched_high[4]; /* text of libc and the loader: return addresses into them are kept in fault records */
  struct trap_handlers_before before;
  struct trap_filter filter;
};

struct trap_arena {
  struct trap_slot slots[SLOT_COUNT];
  struct trap_entry thunks[THUNK_COUNT];
  struct trap_callback_entry callbacks[CALLBACK_COUNT];
  struct trap_policy policies[POLICY_COUNT];
  char policy_pad[ARENA_RECORDS - ARENA_POLICIES - POLICY_COUNT * sizeof(struct trap_policy)];
  struct trap_fault records[RECORD_COUNT];
  union {
    struct trap_shared shared;
    char shared_size[ARENA_SIZE - ARENA_SHARED];
  };
} __attribute__((aligned(4096)));

/* How a signal handler's last instructions go on with another handler: with which stack pointer and arguments. */
struct trap_pass {
  uint64_t sp, handler, signal, info, context, pad;
};

extern struct trap_arena trap_arena;
static inline struct trap_slot *trap_slot_at(uint64_t offset) {
  return (struct trap_slot *)((char *)&trap_arena + offset);
}
/* The thread-local word is the slot's offset in the arena, less the thread pointer: another thread's word is no slot
 * here. */
static inline uint64_t trap_slot_offset(void) { return trap_word() + trap_thread_pointer(); }
static inline void trap_slot_set(const struct trap_slot *slot) {
  trap_set_word((uint64_t)((const char *)slot - (const char *)&trap_arena) - trap_thread_pointer());
}
/* T_STATE and T_FSP. Compiler barriers on both sides: signal handlers of this thread look at the state. */
static inline uint64_t trap_state(const struct trap_slot *slot) {
  return *(const volatile uint64_t *)&slot->frames[0].tail0;
}
static inline void trap_set_state(struct trap_slot *slot, uint64_t state) {
  atomic_signal_fence(memory_order_seq_cst);
  *(volatile uint64_t *)&slot->frames[0].tail0 = state;
  atomic_signal_fence(memory_order_seq_cst);
}
static inline bool trap_state_is_callout(uint64_t state) {
  return state - (uint64_t)(uintptr_t)trap_arena.thunks < sizeof trap_arena.thunks;
}

/* trap.c */
/* Attaches this thread for a function that is the VM's alone. -EBUSY inside a callout: there foreign code calls. Its
 * rights stay down, and a fault while it held a lock would leave the lock taken. */
int trap_attach_vm(void);
/* Whom to tell when masks, the foreign stack setting or the model have changed; trap_refresh tells. */
void trap_on_masks(void (*tables)(const struct pkeys_masks *masks));
void trap_refresh(void);
/* What pkeys tells when keys, rights or mechanisms change: the gates and thunks follow. */
void trap_masks_changed(const struct pkeys_masks *masks);

/* lock.c: the locks of the files that they are named for, and the order. No other file has one. */
extern TRAP_HIDDEN pthread_mutex_t trap_lock_filter, trap_lock_handlers, trap_lock_thunks, trap_lock_threads;
/* Around fork(2): the first two before native/pkeys takes its own, with asynchronous signals blocked; the others inside
 * those. `then`, or NULL, runs before signals are taken again. */
void trap_locks_take_outer(void);
void trap_locks_give_outer(void (*then)(void));
void trap_locks_take_inner(void);
void trap_locks_give_inner(void);

/* thread.c */
/* This thread's slot, or NULL if it was never attached. Mends a thread-local word that foreign code overwrote (by
 * looking for the thread pointer in the slots). Async-signal-safe; needs read rights to the arena. */
struct trap_slot *trap_slot_find(void);
unsigned trap_slots_used(void);                /* one past the last slot that any thread has had */
int trap_slot_attach(struct trap_slot **slot); /* 0, -EAGAIN (no slot), -ENOMEM */
struct trap_slot *trap_slot_attached(void);    /* the same; NULL on failure */
/* Foreign stacks: usable [*low, *high), guards around them. */
#define STACK_GUARD_LOW (1u << 20) /* large frames skip a page: at least 1 MiB */
#define STACK_GUARD_HIGH (64u << 10)
int trap_threads_init(void);
int trap_stack_take(uint64_t *base, uint64_t *map_bytes, uint64_t *low, uint64_t *high);
void trap_stack_give(uint64_t base, uint64_t map_bytes);

/* thunk.c */
static inline bool trap_on_caller_stack(const struct trap_entry *entry) {
  return !trap_arena.shared.foreign_stack || (entry->flags & TRAP_CALLER_STACK) != 0;
}

/* install_*.c: trap_rearm, trap_rearm_note and trap_module_is_foreign, one thread at a time. */
int trap_handlers_install(void);
int trap_handlers_note(void);
int trap_handlers_module(const void *address, bool foreign);

/* inside_*.c */
void trap_die(const char *why, int signal) __attribute__((noreturn));
void trap_probe_platform(void);

/* record.c, called from inside_*.c */
/* "turnkey: fatal: WHY (WHAT NUMBER, pc …, address …)" and a newline; its length. */
size_t trap_last_words(char *text, size_t limit, const char *why, const char *what, uint64_t number, uint64_t pc,
                       uint64_t address);
bool trap_policy_takes(const struct trap_entry *entry);
/* Whether `pkru` denies all that `deny` does: a key without any access is without writes too. */
bool trap_rights_deny(uint32_t pkru, uint32_t deny);
/* Where a fault of this callout is recorded, called from a stack pointer `sp` (trap_frame.sp). */
struct trap_fault *trap_record_of(const struct trap_entry *entry, struct trap_slot *slot, uint64_t sp);
/* The record of this thread's callout, whose recovery begins; what every system fills in is filled in. The rest lies
 * between begin and end. */
struct trap_fault *trap_record_begin(struct trap_slot *slot);
/* sp: of the interrupted code. memory: fault->address is one. */
void trap_record_end(struct trap_slot *slot, struct trap_fault *fault, uint64_t sp, bool memory);

/* gate_*.S */
extern const char trap_thunk_code[], trap_callback_code[], trap_callback_gate[];
extern const char trap_gates_begin[], trap_gates_end[], trap_gate_slow[], trap_gate_dead[], trap_callback_gone[],
    trap_landing[], trap_landing_keys[], trap_handler_entry[];
#define GATE_FAMILY(name)                                                                                         \
  extern const char name[], name##_float[], name##_args[], name##_args_float[], name##_own[], name##_own_float[], \
      name##_own_args[], name##_own_args_float[]
GATE_FAMILY(trap_gate_flag);
GATE_FAMILY(trap_gate_keys);
#ifdef T_SELECTOR
GATE_FAMILY(trap_gate_flag_filter);
GATE_FAMILY(trap_gate_keys_filter);
#endif
/* One of each, in choose_gate's order. */
#define GATE_VARIANTS 8
#define GATE_LIST(name)                                              \
  {name,       name##_float,     name##_args,     name##_args_float, \
   name##_own, name##_own_float, name##_own_args, name##_own_args_float}

/* model.c, or model_none.c where the machine has none. The delay harms no register that C expects to keep. */
void trap_model_write(void);

/* filter_linux.c, filter_none.c */
/* This thread's calls can be dispatched from now on. 0 or a negative errno. */
int trap_filter_thread(struct trap_slot *slot);
void trap_filter_thread_end(struct trap_slot *slot);
void trap_filter_forked(void); /* in a child that VM code forked */
#define SELECTOR_BYTES 64      /* a cache line for each thread */

/* Whether the calls of a callee of this thunk are dispatched. */
static inline bool trap_filtered(const struct trap_entry *entry) {
  return trap_arena.shared.filter.way == TRAP_FILTER_DISPATCH && (entry->flags & TRAP_FILTER) != 0 &&
         (entry->flags & TRAP_BARE) == 0;
}
/* Whether callees' calls are judged now. Rights to the arena must be open. */
#ifdef T_SELECTOR
static inline uint64_t *trap_selector_of(struct trap_slot *slot) { return &slot->frames[1].tail0; }
static inline uint8_t trap_filter_get(struct trap_slot *slot) {
  uint64_t selector = *trap_selector_of(slot);
  return selector != 0 ? *(volatile uint8_t *)(uintptr_t)selector : 0;
}
static inline void trap_filter_set(struct trap_slot *slot, uint8_t blocked) {
  uint64_t selector = *trap_selector_of(slot);
  atomic_signal_fence(memory_order_seq_cst);
  if (selector != 0) *(volatile uint8_t *)(uintptr_t)selector = blocked;
  atomic_signal_fence(memory_order_seq_cst);
}
#else
static inline uint8_t trap_filter_get(struct trap_slot *slot) { return (void)slot, 0; }
static inline void trap_filter_set(struct trap_slot *slot, uint8_t blocked) { (void)slot, (void)blocked; }
#endif

/* suspend.c */
/* Closes and opens the images of mechanisms that need calls, for this frame (FRAME_HOOKED). */
int trap_hooked_enter(struct trap_slot *slot, struct trap_frame *frame);
void trap_hooked_leave(struct trap_slot *slot, struct trap_frame *frame);
/* Opens them for a signal handler that interrupted the callout. True: it closes them again. */
bool trap_hooked_interrupt(struct trap_slot *slot, struct trap_frame *frame);
void trap_suspend(struct trap_slot *slot);
struct trap_frame *trap_resume(struct trap_slot *slot, uint64_t state);
/* The and-mask that gives this thread its VM rights. */
static inline uint32_t trap_keep(const struct trap_slot *slot) {
  return (uint32_t)__atomic_load_n(&slot->seat.word, __ATOMIC_SEQ_CST);
}
static inline uint32_t trap_rights_foreign(const struct trap_slot *slot, uint32_t deny) {
  return (pkeys_rdpkru() & trap_keep(slot)) | deny;
}
/* What a callout by way of `entry` is denied of what the masks deny. */
static inline uint32_t trap_denied(const struct trap_entry *entry, const struct pkeys_masks *masks) {
  if (entry->flags & TRAP_BARE || !masks->keyed) return 0;
  uint32_t deny = entry->flags & TRAP_LENT ? masks->deny_lent : masks->deny;
  /* The pool's other keys are denied already: they were to the VM code that calls. */
  return entry->flags & TRAP_INSIDE ? deny & ~masks->pool : deny;
}

/* slow.c, called from gate_*.S */
struct trap_frame *trap_slow_frame(struct trap_entry *entry, uint64_t caller_sp);
uint64_t trap_slow_close(struct trap_frame *frame, uint64_t current_sp);
struct trap_frame *trap_slow_return(uint64_t sp);
struct trap_slot *trap_fast_lost(const struct trap_slot *believed, uint64_t sp);
void trap_slow_give(struct trap_frame *frame);
void trap_dead_thunk(void) __attribute__((noreturn));
void trap_landed(struct trap_frame *frame);

/* callback.c, called from gate_*.S */
/* NULL if there is no callback of ours at `code`. */
struct trap_callback_entry *trap_callback_entry_of(const void *code);
uint64_t trap_callback_enter(struct trap_callback_entry *entry, uint64_t foreign_sp);
void trap_callback_leave(uint64_t foreign_sp);
void trap_callback_passed(struct trap_callback_entry *entry);
/* The answer of trap_callback_enter on a thread in no callout. */
uint64_t trap_callback_outside(const struct trap_callback_entry *entry);
void trap_tell_gone(void);

#endif
