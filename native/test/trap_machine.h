/*
 * trap_machine.h: what the trap's tests need to know of the machine. Each trap_machine_<machine>.h gives, under the
 * same names:
 *
 *   emulated_cpu()              whether instructions are interpreted here: loops are shorter then
 *   struct probe                what trap_probe_<machine>.S passes and records; PROBE_INTEGERS, PROBE_VECTORS,
 *                               PROBE_RESULT_VECTORS and PROBE_KEPT count it
 *   struct environment          the floating-point environment; ENVIRONMENT_NOTED and ENVIRONMENT_OTHER are two that
 *                               no program starts with; environment_set()
 *   probe_check_environment()   checks the environment that a probe saw, and that no flag of a callee's is left
 *   REGISTER_PC                 where a fault record's registers hold the pc
 *   PROBE_WIDE                  whether this CPU has wider vector registers than the probe's; only where there may be
 *   others                      RETURNS_WITH_SLOT() WRITES_32_THEN() CONTEXT_PC() SPOIL_FLOAT() OTHER_FAULT
 *                               spoiled_float_faults() fill_wide_state() writes_rights() restores_rights()
 *                               other_fault() blocked_signals_work(): each machine's file explains them
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
