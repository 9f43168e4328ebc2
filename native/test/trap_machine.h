/*
 * trap_machine.h: what the trap's tests need to know of the machine. Each trap_machine_<machine>.h gives, under the
 * same names:
 *
 *   emulated_cpu()              whether instructions are interpreted here: loops are shorter then
 *   struct probe                what trap_probe_<machine>.S passes and records; PROBE_INTEGERS, PROBE_VECTORS,
 * PROBE_RESULT_VECTORS, PROBE_KEPT count it struct environment          the floating-point environment;
 * ENVIRONMENT_NOTED and ENVIRONMENT_OTHER are two that no program starts with; environment_set()
 *   probe_check_environment()   that a probe found it, and no flag or other state that a callee may have left
 *   REGISTER_PC                 where a fault record's registers hold the pc
 *   PROBE_WIDE                  (where there are wider vector registers than the probe's) whether this CPU has them
 *   RETURNS_WITH_SLOT() WRITES_32_THEN() CONTEXT_PC() SPOIL_FLOAT() spoiled_float_faults() fill_wide_state()
 *   writes_rights() restores_rights() OTHER_FAULT other_fault() blocked_signals_work()   said there
 */
#ifndef TURNKEY_TEST_TRAP_MACHINE_H
#define TURNKEY_TEST_TRAP_MACHINE_H

#include "check.h"

#define PROBE_STACK_WORDS 16
#if defined(__x86_64__)
#include "trap_machine_x86_64.h"
#elif defined(__aarch64__)
#include "trap_machine_aarch64.h"
#endif

#endif
