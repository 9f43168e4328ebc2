/*
 * layout.h: sizes and offsets that C and assembly share. Only #defines: the .S files include it. internal.h asserts
 * every one.
 */
#ifndef TURNKEY_TRAP_LAYOUT_H
#define TURNKEY_TRAP_LAYOUT_H

/* The machine's own: SLOT_SIZE, struct trap_frame (F_*, T_*), what the landing pad reads (S_*), THUNK_CODE_BYTES,
 * CALLBACK_SAVE_BYTES. */
#if defined(_WIN32)
#include "layout_windows_x86_64.h"
#elif defined(__x86_64__)
#include "layout_x86_64.h"
#elif defined(__aarch64__)
#include "layout_aarch64.h"
#else
#error "no gate for this machine yet: docs/platforms.md, 'Adding an ABI'"
#endif

/* The arena: one page-aligned object in .bss, tagged with the runtime key (I11). Slot 0 is never used. */
#define SLOT_COUNT 1024
#define SLOT_OFFSET_INVALID (~((SLOT_COUNT - 1) * SLOT_SIZE)) /* bits that no valid slot offset has */
#define SLOT_WORD_NONE                                                                                                 \
  0x6e6f2d736c6f7421 /* thread-local word of a thread that was never attached: no value that a stray write leaves, and \
                        no slot */

#define THUNK_COUNT 8192
#define CALLBACK_COUNT 8192
#define POLICY_COUNT 1024
#define RECORD_COUNT 4096
#define NESTING_COUNT 48

#define ARENA_THUNKS (SLOT_COUNT * SLOT_SIZE)
#define ARENA_CALLBACKS (ARENA_THUNKS + THUNK_COUNT * ENTRY_SIZE)
#define ARENA_POLICIES (ARENA_CALLBACKS + CALLBACK_COUNT * CALLBACK_SIZE)
#define ARENA_RECORDS (ARENA_POLICIES + 0x10000)
#define ARENA_SHARED (ARENA_RECORDS + RECORD_COUNT * 1024)
#define ARENA_SIZE (ARENA_SHARED + 0x4000)

#define SLOW_STRAIGHT 0 /* trap_slow_frame: foreign code calls, straight on to the target */
#define SLOW_REFUSED 1  /* trap_slow_frame: no call is made, the thunk returns zeros; else a frame's address */

#define FRAME_OWN_STACK 4 /* a flag of struct trap_frame: a foreign stack taken for this frame alone */

/* Calls that do not exist, by which the handler is asked: calls_*.S to look at a result, filter_linux.c whether a
 * callee may end. */
#define CALL_ASK_OPENED 0x746b01
#define CALL_ASK_MAPPED 0x746b02
#define CALL_ASK_EXIT 0x746b03

/* T_STATE: 0 idle; a thunk entry's address: in a callout through it; else one of these. */
#define STATE_VM 1     /* inside a callback, or a VM signal handler, of a suspended callout */
#define STATE_UNUSED 2 /* no thread has this slot */

/* struct trap_entry (a thunk), 64 bytes. */
#define ENTRY_SIZE 64
#define E_GATE 0
#define E_TARGET 8
#define E_STACK 16
#define E_DENY 24
#define E_MACHINE_DENY 56

/* struct trap_callback_entry, 32 bytes. */
#define CALLBACK_SIZE 32
#define C_TARGET 0
#define C_STACK 8
/* What trap_callback_enter answers in place of a stack pointer on a thread that is in no callout. */
#define CALLBACK_STRAIGHT 0
#define CALLBACK_COUNTED 1

/* struct trap_shared. */
#define S_KEEP 0

/* struct trap_pass. */
#define PASS_SIZE 48
#define P_SP 0
#define P_HANDLER 8
#define P_SIGNAL 16
#define P_INFO 24
#define P_CONTEXT 32

/* Room left above the point where a callee starts, so that an overrun of its frame meets spare bytes first, then the
 * guard page. */
#define FOREIGN_TOP_BYTES 512

#endif
