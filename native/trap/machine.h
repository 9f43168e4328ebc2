/*
 * machine.h: what the trap's shared C files know of the machine. Each machine_<machine>.h gives, under the same names:
 *
 *   struct trap_saved         what a frame keeps of the gate's caller: the registers that the ABI makes a callee keep
 *   struct trap_float         the floating-point environment, 8 bytes; trap_float_read() reads this thread's,
 *                             trap_float_write() sets it
 *   struct trap_machine       what the gates and the handler need to know of this CPU; a part of the arena
 *   trap_thread_pointer()     the address that the thread's register for thread-local storage holds
 *   trap_machine_keep()       the masks of native/pkeys in the form that this machine's gate wants; so does
 *                             trap_machine_deny()
 *   TRAP_MACHINE_OFFSETS      _Static_asserts that layout_<machine>.h has the right offsets
 */
#ifndef TURNKEY_TRAP_MACHINE_H
#define TURNKEY_TRAP_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#include "machine_windows_x86_64.h"
#elif defined(__x86_64__)
#include "machine_x86_64.h"
#elif defined(__aarch64__)
#include "machine_aarch64.h"
#endif

/* Where the last word of the stack arguments lies: of a caller whose stack pointer at the gate's entry was `sp`. */
static inline uint64_t trap_last_argument(uint64_t sp, uint64_t stack_bytes) {
  return sp + TRAP_FIRST_ARGUMENT + stack_bytes - 8;
}

#endif
