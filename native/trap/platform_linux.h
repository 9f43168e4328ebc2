/*
 * platform_linux.h: Linux. See platform.h.
 */
#ifndef TURNKEY_TRAP_PLATFORM_LINUX_H
#define TURNKEY_TRAP_PLATFORM_LINUX_H

#include <signal.h>
#include <stdatomic.h>

#define TRAP_HIDDEN __attribute__((visibility("hidden")))

struct trap_thread_state {
  sigset_t mask; /* the thread's signal mask when it attached */
  stack_t previous_alternate;
};
/* A handler that was there before ours: at set-up, or put over ours since and found by trap_rearm. */
struct trap_previous {
  struct sigaction action;
  uint32_t signal;
  uint32_t earlier; /* the one before it, by index; 0 none */
};
#define PREVIOUS_COUNT 65
/* A program or shared library, by its load address, and whose signal handlers those in it are. */
struct trap_module {
  uint64_t base;
  uint64_t foreign;
};
#define MODULE_COUNT 64
struct trap_handlers_before {
  struct trap_previous
      previous[PREVIOUS_COUNT]; /* from 1; appended to, never taken out: a handler on another thread may be reading */
  _Atomic uint32_t latest[65];  /* by signal: whom to pass on to, by index; 0 none: the default action */
  uint32_t module_count;
  struct trap_module modules[MODULE_COUNT];
};
struct trap_masked {
  sigset_t mask;
};

/* Any word but SLOT_WORD_NONE was written: by us, or by foreign code over ours. */
#define TRAP_WORD_TELLS 1
/* The slot's offset in the arena, less the thread pointer: another thread's word is no slot here. */
extern __thread uint64_t trap_slot_word __attribute__((tls_model("initial-exec"), visibility("hidden")));
static inline uint64_t trap_word(void) { return *(volatile uint64_t *)&trap_slot_word; }
static inline void trap_set_word(uint64_t word) { trap_slot_word = word; }

#endif
