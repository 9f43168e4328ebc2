/*
 * dispatch.h: what the files of the filter share (filter.h, Linux on x86-64): dispatch_linux.c, judge_linux_x86_64.c,
 * filter_linux.c, calls_x86_64.S.
 */
#ifndef TURNKEY_TRAP_DISPATCH_H
#define TURNKEY_TRAP_DISPATCH_H

#include <ucontext.h>

#include "internal.h"

/* calls_x86_64.S */
extern const char trap_calls_begin[], trap_calls_end[], trap_restorer[], trap_pass[], trap_pass_open[], trap_pass_map[],
    trap_pass_thread[], trap_pass_fork[], trap_pass_sigreturn[], trap_peek_begin[], trap_peek_end[],
    trap_selector_blocked[];
TRAP_HIDDEN uint64_t trap_peek(void *to, const void *from, uint64_t bytes);

/* dispatch_linux.c */
int trap_dispatch_prepare(void);
/* watch_linux_x86_64.c: sets a breakpoint, 0 or a negative errno; sets all again in a child that VM code forked. */
int trap_watch(uintptr_t address);
void trap_watch_forked(void);
TRAP_HIDDEN void trap_child_forked(void) __attribute__((used));

/* judge_linux_x86_64.c: inside a signal. */
enum trap_judgement {
  TRAP_NOT_OURS,  /* somebody else's filter raised it */
  TRAP_GOES_ON,   /* the context says how the callee goes on: the call passes, or has been answered */
  TRAP_CALL_FAILS /* the callout fails */
};
/* `judged`: the call is a callee's. `may_fail`: the slot is in a callout that can fail; whether that callout is this
 * thread's own, and not its maker's or its parent's, is looked at where it matters. */
enum trap_judgement trap_judge_call(const siginfo_t *info, ucontext_t *uc, struct trap_slot *slot, bool judged,
                                    bool may_fail);
/* look_linux_x86_64.c: inside a signal. Whether memory holds an instruction that writes rights, at whatever offset;
 * whether a descriptor is a process's memory. */
bool trap_writes_rights(uint64_t address, uint64_t bytes);
bool trap_is_memory_file(long file);
/* What the seccomp filter returns with SECCOMP_RET_TRAP. */
#define SECCOMP_DATA_OURS 0x746b

#endif
