/*
 * layout.h: sizes and offsets that C and assembly share. Only #defines: the .S files include it. internal.h asserts every one.
 */
#ifndef TURNKEY_TRAP_LAYOUT_H
#define TURNKEY_TRAP_LAYOUT_H

/* The arena: one page-aligned object in .bss, tagged with the runtime key (I11). Slot 0 is never used. */
#define SLOT_SIZE 0x2000
#define SLOT_COUNT 1024
#define SLOT_OFFSET_INVALID -0x7fe001 /* bits that no valid slot offset has: ~(0x3ff << 13) */
#define SLOT_WORD_NONE 0x6e6f2d736c6f7421 /* thread-local word of a thread that was never attached: no value that a stray write leaves, and no slot */

#define THUNK_COUNT 8192
#define CALLBACK_COUNT 8192
#define POLICY_COUNT 1024
#define RECORD_COUNT 1024
#define NESTING_COUNT 48

#define ARENA_THUNKS 0x800000
#define ARENA_CALLBACKS 0x880000
#define ARENA_POLICIES 0x8c0000
#define ARENA_RECORDS 0x8d0000
#define ARENA_SHARED 0x9d0000
#define ARENA_SIZE 0x9d4000

/* struct trap_frame, 128 bytes; all offsets below 128 so that they are one byte in the gate's CFI. */
#define FRAME_SIZE 128
#define F_RSP 0
#define F_RBX 8
#define F_RBP 16
#define F_R12 24
#define F_R13 32
#define F_R14 40
#define F_R15 48
#define F_MXCSR 56
#define F_FCW 60
#define F_ENTRY 64
#define F_FSP 72
#define F_FLAGS 88
#define FRAME_OWN_STACK 4 /* a flag: a foreign stack taken for this frame alone */
/* The two words of a slot that the fast gate needs lie in the tail of its first frame. */
#define T_STATE 112
#define T_FSP 120

/* T_STATE: 0 idle; a thunk entry's address: in a callout through it; else one of these. */
#define STATE_VM 1     /* inside a callback, or a VM signal handler, of a suspended callout */
#define STATE_UNUSED 2 /* no thread has this slot */

/* struct trap_entry (a thunk), 64 bytes. */
#define ENTRY_SIZE 64
#define E_GATE 0
#define E_TARGET 8
#define E_STACK 16
#define E_DENY 24

/* struct trap_callback_entry, 32 bytes. */
#define CALLBACK_SIZE 32
#define C_TARGET 0
#define C_STACK 8

/* struct trap_shared. */
#define S_KEEP 0
#define S_AVX 4

#define THUNK_CODE_BYTES 16

/* Measurement only (model.c): GATE's `keys` for the model, the steps of its longest delay, bytes and cycles of one. */
#define KEYS_MODEL 2
#define MODEL_STEPS 512
#define MODEL_STEP_BYTES 3
#define MODEL_STEP_CYCLES 3

/* Room left above the point where a callee starts, so that an overrun of its frame meets spare bytes first, then the guard page. */
#define FOREIGN_TOP_BYTES 512

#endif
