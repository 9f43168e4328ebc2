/*
 * context.h: what inside_linux.c asks of a signal frame, whose registers are each machine's own:
 * context_linux_<machine>.c. All of it runs inside a signal, under the rules of inside_linux.c.
 */
#ifndef TURNKEY_TRAP_CONTEXT_H
#define TURNKEY_TRAP_CONTEXT_H

#include <ucontext.h>

#include "internal.h"

#ifndef SEGV_PKUERR
#define SEGV_PKUERR 4
#endif
#ifndef SEGV_ACCERR
#define SEGV_ACCERR 2
#endif

uint64_t trap_context_pc(const ucontext_t *uc);
uint64_t trap_context_sp(const ucontext_t *uc);
/* Returning from the handler goes on there. */
void trap_context_go_to(ucontext_t *uc, const void *where);
/* Whether the interrupted code is just behind a system call that answered `result`. */
bool trap_context_answered(const ucontext_t *uc, int result);
/* The rights (as PKRU) of the interrupted code; 0 where the frame does not tell. */
uint32_t trap_context_rights(ucontext_t *uc);
/* Whether the frame has room for rights; then trap_context_set_rights sets those that returning from the handler gives.
 */
bool trap_context_has_rights(ucontext_t *uc);
void trap_context_set_rights(ucontext_t *uc, uint32_t rights);
/* What the faulting instruction did at info->si_addr. */
enum trap_access trap_context_access(int signal, const siginfo_t *info, const ucontext_t *uc);
/* I5: whether the interrupted code is just behind a system call by which thread `tid` of process `pid` sent itself
 * SIGABRT. */
bool trap_context_aborts(const ucontext_t *uc, pid_t pid, pid_t tid);
/* The record's machine-dependent fields: registers, trap_number, error_code. */
void trap_context_describe(struct trap_fault *fault, const ucontext_t *uc);
/* Where returning from the handler continues: the landing pad, with the registers of the gate's caller, without flags
 * that a callee may have left (I7). */
void trap_context_land(ucontext_t *uc, struct trap_frame *frame, uint32_t rights);
/* Whether `info` and `uc` are those of a frame that the kernel made for a handler entered with `entry_sp`. Else a
 * handler that calls another has passed them. */
bool trap_context_direct(const siginfo_t *info, const ucontext_t *uc, uint64_t entry_sp);
/* Copies the signal frame to where the kernel would have put it without an alternate stack: below the interrupted stack
 * pointer. *pass is changed accordingly; it stays as it is where that cannot be done. */
void trap_context_move(struct trap_pass *pass);
/* What this CPU has that the trap must know (not inside a signal). */
void trap_context_probe(struct trap_machine *machine);

/* watch_linux_x86_64.c. Whether the signal is of a breakpoint of trap_watch_code; whether the instruction there would
 * write rights. */
#ifdef T_SELECTOR
bool trap_watched(int signal, const siginfo_t *info);
bool trap_watch_refuses(const siginfo_t *info, const ucontext_t *uc);
#else
static inline bool trap_watched(int signal, const siginfo_t *info) { return (void)signal, (void)info, false; }
static inline bool trap_watch_refuses(const siginfo_t *info, const ucontext_t *uc) {
  return (void)info, (void)uc, false;
}
#endif

/* ARM64: what a load or store of this encoding does, for frames that do not tell. */
enum trap_access trap_context_decode(uint32_t instruction);

#endif
