/*
 * platform_windows.h: Windows x64. See platform.h.
 */
#ifndef TURNKEY_TRAP_PLATFORM_WINDOWS_H
#define TURNKEY_TRAP_PLATFORM_WINDOWS_H

#define TRAP_HIDDEN

struct trap_thread_state {
  uint32_t unused; /* there is no signal mask and no alternate stack: the system reports a fault on the stack that it
                      happened on */
};
struct trap_handlers_before {
  void *vectored;        /* our own registration */
  void (*on_abort)(int); /* the C runtime's SIGABRT handler before ours */
};
struct trap_masked {
  char nothing;
};

#define FRAME_OVERFLOWED \
  0x10000u /* beside the flags of internal.h: the guard of the stack that this callout ran on is used up */

/* A slot of TlsAlloc's, read through the TEB: offset from gs. A thread that was never attached has 0 there, and foreign
 * code may leave that too. */
extern uint32_t trap_tls_offset;
#define TRAP_WORD_TELLS 0
static inline uint64_t trap_word(void) {
  uint64_t word;
  __asm__ volatile("movq %%gs:(%1), %0" : "=r"(word) : "r"((uint64_t)trap_tls_offset));
  return word;
}
static inline void trap_set_word(uint64_t word) {
  __asm__ volatile("movq %0, %%gs:(%1)" : : "r"(word), "r"((uint64_t)trap_tls_offset) : "memory");
}

#endif
