/*
 * gate_aarch64_aapcs.S: thunks, gate, landing pads and callback thunks for the 64-bit Arm procedure call standard
 * (AAPCS64) on Linux.
 *
 * Rules for changing this file (I1 to I13: docs/invariants.md):
 *  - every argument register (x0 to x7, x8 for an indirect result, v0 to v7) and every result register (x0, x1, v0 to
 *    v3) passes unharmed; x18 is the platform's and is never touched;
 *  - calls and returns stay paired: blr and ret, so that the return predictor is right;
 *  - T_STATE is the entry of the callout in progress; frames hold it only once suspended;
 *  - a frame is complete before T_STATE says "in a callout", T_STATE is set before rights drop, cleared after they
 *    return (I4);
 *  - POR_EL0 is written here and in pkeys_wrpkru only (I3), with an ISB behind it;
 *  - CFI is right at every instruction, and the personality ends every unwind (no C++ frame is ever crossed, I8);
 *  - what is reached by an indirect branch begins with BTI C (a hint: nothing on CPUs without); return addresses are
 *    neither signed nor looked at.
 *
 * x16 carries the thunk's entry: the register that the ABI leaves to code between caller and callee. x19 holds this
 * thread's slot across the call: a callee keeps it for the gate as for any caller. The gate notices a callee that does
 * not. Functions with a procedure call standard of their own (vector functions, SVE arguments) are not served: the
 * lower halves of v8 to v15 are kept, and nothing of v16 to v31 and the predicates.
 *
 * More than 400 lines: every way through the gate is here, so that each can be checked against the rules above.
 *
 * AAPCS64 (ARM-software/abi-aa), 6.1, 6.8; Arm ARM, D19.2 (POR_EL0), C6.2 (BTI).
 */
#include "layout.h"

#define POR_EL0 S3_3_C10_C2_4

	.section .note.GNU-stack, "", %progbits
	.section .note.gnu.property, "a"
	.balign 8
	.word	4, 16, 5
	.asciz	"GNU"
	.word	0xc0000000, 4, 1, 0		/* FEATURE_1_AND: BTI */

	.hidden	trap_arena
	.hidden	trap_slot_word
	.hidden	trap_personality

/* ---- CFI: where the caller's registers are: in the frame that x19 points to -------------------------------------- */
	.macro	CFI_SAVED register, offset
	.cfi_escape 0x10, \register, 3, 0x83, ((\offset) & 0x7f) | 0x80, (\offset) >> 7
	.endm
	.macro	CFI_FRAME_X19
	.cfi_escape 0x0f, 3, 0x83, F_SP, 0x06
	.set	index, 0
	.rept	12
	CFI_SAVED 19+index, F_X19+8*index
	.set	index, index+1
	.endr
	.set	index, 0
	.rept	8
	CFI_SAVED 72+index, F_D8+8*index
	.set	index, index+1
	.endr
	.endm

	.macro	ENTRY name
	.globl	\name
	.hidden	\name
	.type	\name, %function
\name:
	.endm

	/* The caller's registers into the frame that `to` points to; x29 and x30 apart. */
	.macro	SAVE_CALLER to
	stp	x19, x20, [\to, #F_X19]
	stp	x21, x22, [\to, #F_X19+16]
	stp	x23, x24, [\to, #F_X19+32]
	stp	x25, x26, [\to, #F_X19+48]
	stp	x27, x28, [\to, #F_X19+64]
	stp	d8, d9, [\to, #F_D8]
	stp	d10, d11, [\to, #F_D8+16]
	stp	d12, d13, [\to, #F_D8+32]
	stp	d14, d15, [\to, #F_D8+48]
	.endm
	/* All back from the frame that x19 points to, x19 itself last, when the stack pointer is back already: the
	 * CFA is found in the frame until then. */
	.macro	LOAD_CALLER
	ldp	d8, d9, [x19, #F_D8]
	ldp	d10, d11, [x19, #F_D8+16]
	ldp	d12, d13, [x19, #F_D8+32]
	ldp	d14, d15, [x19, #F_D8+48]
	ldr	x9, [x19, #F_SP]
	ldp	x21, x22, [x19, #F_X19+16]
	ldp	x23, x24, [x19, #F_X19+32]
	ldp	x25, x26, [x19, #F_X19+48]
	ldp	x27, x28, [x19, #F_X19+64]
	ldp	x29, x30, [x19, #F_X29]
	mov	sp, x9
	ldp	x19, x20, [x19, #F_X19]
	.endm
	/* All result registers, at `to`: 80 bytes. */
	.macro	SAVE_RESULTS to, at
	stp	x0, x1, [\to, #\at]
	stp	q0, q1, [\to, #\at+16]
	stp	q2, q3, [\to, #\at+48]
	.endm
	.macro	LOAD_RESULTS from, at
	ldp	x0, x1, [\from, #\at]
	ldp	q0, q1, [\from, #\at+16]
	ldp	q2, q3, [\from, #\at+48]
	.endm
	.macro	ZERO_RESULTS
	mov	x0, #0
	mov	x1, #0
	movi	v0.2d, #0
	movi	v1.2d, #0
	movi	v2.2d, #0
	movi	v3.2d, #0
	.endm

	.text

/* ---- the fast gate ---------------------------------------------------------------------------------------------
 * One instance for each of: keys written or not; stack arguments or none; foreign stack or the caller's;
 * floating-point environment saved or not. */
	.macro	GATE name, keys=0, args=0, own=0, float=0
	.balign 64
	ENTRY	\name
	.cfi_startproc
	.cfi_personality 0x1b, trap_personality
	bti	c
	adrp	x9, :gottprel:trap_slot_word
	ldr	x9, [x9, #:gottprel_lo12:trap_slot_word]
	mrs	x10, tpidr_el0
	ldr	x9, [x10, x9]
	add	x9, x9, x10
	tst	x9, #SLOT_OFFSET_INVALID	/* never attached, or overwritten by foreign code, with another thread's word too */
	b.ne	trap_gate_slow
	adrp	x10, trap_arena			/* whole pages: no lower bits */
	add	x9, x9, x10
	ldr	x10, [x9, #T_STATE]		/* nested, or called by foreign code itself */
	cbnz	x10, trap_gate_slow
	mov	x10, sp
	str	x10, [x9, #F_SP]
	SAVE_CALLER x9
	stp	x29, x30, [x9, #F_X29]
	.if \float
	mrs	x10, fpcr
	mrs	x11, fpsr
	stp	w10, w11, [x9, #F_FPCR]
	.endif
	.cfi_remember_state
	mov	x19, x9
	CFI_FRAME_X19
	.if \keys
	mrs	x14, POR_EL0
	adrp	x12, trap_arena+ARENA_SHARED+S_OPEN
	ldr	x12, [x12, #:lo12:trap_arena+ARENA_SHARED+S_OPEN]
	ldr	x13, [x16, #E_MACHINE_DENY]
	orr	x14, x14, x12			/* I2: absolute for owned keys, others kept */
	bic	x14, x14, x13
	.endif
	ldr	x17, [x16, #E_TARGET]
	.if \args
	ldr	x11, [x16, #E_STACK]		/* a multiple of 16, not 0 */
	mov	x10, sp				/* the first stack argument */
	.if \own
	sub	x9, x10, x11
	.else
	ldr	x9, [x19, #T_FSP]
	sub	x9, x9, x11
	.endif
	mov	sp, x9
	str	x9, [x19, #F_FSP]
1:	subs	x11, x11, #16
	ldr	q16, [x10, x11]
	str	q16, [x9, x11]
	b.ne	1b
	.elseif \own == 0
	ldr	x9, [x19, #T_FSP]
	mov	sp, x9
	.endif
	str	x16, [x19, #T_STATE]		/* I4: armed before rights drop */
	.if \keys
	msr	POR_EL0, x14
	isb
	.endif
	blr	x17

2:	adrp	x9, trap_arena
	sub	x10, x19, x9
	tst	x10, #SLOT_OFFSET_INVALID	/* no slot: the callee did not keep x19 */
	b.ne	4f
	/* Nothing was jumped over, nothing popped by mistake; T_FSP is odd while a callback is in progress. */
	ldr	x10, [x19, #T_FSP]
	.if \args | \own
	tbnz	x10, #0, 4f
	.if \args
	ldr	x10, [x19, #F_FSP]
	.else
	ldr	x10, [x19, #F_SP]
	.endif
	.endif
	cmp	sp, x10
	b.ne	4f
	.if \keys
	mrs	x9, POR_EL0
	adrp	x10, trap_arena+ARENA_SHARED+S_OPEN
	ldr	x10, [x10, #:lo12:trap_arena+ARENA_SHARED+S_OPEN]
	orr	x9, x9, x10			/* the VM's rights to owned keys are: all */
	msr	POR_EL0, x9
	isb
	.endif
	str	xzr, [x19, #T_STATE]		/* I4: disarmed after rights are back */
	LOAD_CALLER				/* a callee that breaks the ABI does not break the VM */
	.cfi_restore_state
	ret
	.cfi_remember_state
	CFI_FRAME_X19
4:	bl	gate_lost			/* finds the slot and comes back, or ends the process with a message */
	b	2b
	.cfi_restore_state
	.cfi_endproc
	.size	\name, .-\name
	.endm

	.globl	trap_gates_begin
	.hidden	trap_gates_begin
trap_gates_begin:
	GATE	trap_gate_keys, keys=1
	GATE	trap_gate_keys_float, keys=1 float=1
	GATE	trap_gate_flag
	GATE	trap_gate_flag_float, float=1
	GATE	trap_gate_keys_args, keys=1 args=1
	GATE	trap_gate_keys_args_float, keys=1 args=1 float=1
	GATE	trap_gate_flag_args, args=1
	GATE	trap_gate_flag_args_float, args=1 float=1
	GATE	trap_gate_keys_own, keys=1 own=1
	GATE	trap_gate_keys_own_float, keys=1 own=1 float=1
	GATE	trap_gate_flag_own, own=1
	GATE	trap_gate_flag_own_float, own=1 float=1
	GATE	trap_gate_keys_own_args, keys=1 args=1 own=1
	GATE	trap_gate_keys_own_args_float, keys=1 args=1 own=1 float=1
	GATE	trap_gate_flag_own_args, args=1 own=1
	GATE	trap_gate_flag_own_args_float, args=1 own=1 float=1

/* The callee came back without the gate's x19, or with another stack pointer, of any alignment. Called on the stack
 * that the callee ran on, results in their registers. */
	.balign 16
gate_lost:
	.cfi_startproc
	mov	x20, sp				/* callee-saved registers come back from the frame anyway */
	.cfi_def_cfa x20, 0
	mov	x21, x30
	.cfi_register x30, x21
	sub	x9, x20, #80
	and	sp, x9, #~15
	SAVE_RESULTS sp, 0
	mov	x0, x19
	mov	x1, x20
	bl	trap_fast_lost
	mov	x19, x0
	LOAD_RESULTS sp, 0
	mov	sp, x20
	mov	x30, x21
	ret
	.cfi_endproc

/* ---- saving and loading all argument registers ------------------------------------------------------------------ */
#define SAVE_BYTES 208
	.macro	SAVE_ARGUMENTS
	stp	q0, q1, [sp, #0]
	stp	q2, q3, [sp, #32]
	stp	q4, q5, [sp, #64]
	stp	q6, q7, [sp, #96]
	stp	x0, x1, [sp, #128]
	stp	x2, x3, [sp, #144]
	stp	x4, x5, [sp, #160]
	stp	x6, x7, [sp, #176]
	stp	x8, x16, [sp, #192]
	.endm
	.macro	LOAD_ARGUMENTS from
	ldp	q0, q1, [\from, #0]
	ldp	q2, q3, [\from, #32]
	ldp	q4, q5, [\from, #64]
	ldp	q6, q7, [\from, #96]
	ldp	x0, x1, [\from, #128]
	ldp	x2, x3, [\from, #144]
	ldp	x4, x5, [\from, #160]
	ldp	x6, x7, [\from, #176]
	ldp	x8, x16, [\from, #192]
	.endm
	/* `bytes` of stack arguments (a multiple of 16), which lie above a frame record at x29, to `to`. */
	.macro	COPY_ARGUMENTS to, bytes
	cbz	\bytes, 2f
	add	x10, x29, #16
1:	subs	\bytes, \bytes, #16
	ldr	q16, [x10, \bytes]
	str	q16, [\to, \bytes]
	b.ne	1b
2:
	.endm

/* ---- the slow gate: nested callouts, a thread's first, mechanisms that make calls -------------------------------- */
	.balign 64
	ENTRY	trap_gate_slow
	.cfi_startproc
	.cfi_personality 0x1b, trap_personality
	bti	c
	stp	x29, x30, [sp, #-16]!
	.cfi_def_cfa_offset 16
	.cfi_offset x29, -16
	.cfi_offset x30, -8
	mov	x29, sp
	.cfi_def_cfa x29, 16
	sub	sp, sp, #SAVE_BYTES
	SAVE_ARGUMENTS
	mov	x0, x16
	add	x1, x29, #16
	bl	trap_slow_frame
	cmp	x0, #SLOW_REFUSED
	b.lo	5f
	b.eq	8f				/* the thread could not be attached: the private thunk's record says why */
	add	x9, x29, #16
	str	x9, [x0, #F_SP]
	SAVE_CALLER x0
	ldp	x9, x10, [x29]
	stp	x9, x10, [x0, #F_X29]
	mrs	x9, fpcr
	mrs	x10, fpsr
	stp	w9, w10, [x0, #F_FPCR]
	.cfi_remember_state
	mov	x19, x0
	CFI_FRAME_X19
	mov	x20, sp
	mov	x1, sp
	bl	trap_slow_close			/* sets the flag, takes rights away, gives the stack pointer to call with */
	cbz	x0, 6f				/* the mechanism refused: the record says why */
	mov	sp, x0
	ldr	x16, [x20, #200]
	ldr	x11, [x16, #E_STACK]
	COPY_ARGUMENTS x0, x11
	LOAD_ARGUMENTS x20
	ldr	x17, [x16, #E_TARGET]
	blr	x17
	mov	x20, sp				/* a callee that returned with a bent stack pointer is found below */
	sub	x9, x20, #80
	and	sp, x9, #~15
	SAVE_RESULTS sp, 0
	mov	x0, x20
	bl	trap_slow_return
	mov	x19, x0
	LOAD_RESULTS sp, 0
3:	ldr	w11, [x19, #F_FLAGS]
	mov	x10, x19
	.cfi_remember_state
	LOAD_CALLER
	.cfi_def_cfa sp, 0
	.cfi_restore x19
	.cfi_restore x20
	.cfi_restore x21
	.cfi_restore x22
	.cfi_restore x23
	.cfi_restore x24
	.cfi_restore x25
	.cfi_restore x26
	.cfi_restore x27
	.cfi_restore x28
	.cfi_restore x29
	.cfi_restore x30
	.cfi_restore b8
	.cfi_restore b9
	.cfi_restore b10
	.cfi_restore b11
	.cfi_restore b12
	.cfi_restore b13
	.cfi_restore b14
	.cfi_restore b15
	tst	w11, #FRAME_OWN_STACK
	b.ne	7f
	ret
7:	sub	sp, sp, #96			/* the foreign stack was taken for this callout alone: given back now that nobody runs on it */
	.cfi_def_cfa_offset 96
	stp	x29, x30, [sp]
	.cfi_offset x29, -96
	.cfi_offset x30, -88
	SAVE_RESULTS sp, 16
	mov	x0, x10
	bl	trap_slow_give
	LOAD_RESULTS sp, 16
	ldp	x29, x30, [sp]
	add	sp, sp, #96
	.cfi_def_cfa_offset 0
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_restore_state
6:	ZERO_RESULTS
	b	3b
	.cfi_restore_state
	.cfi_remember_state
8:	ZERO_RESULTS
	mov	sp, x29
	.cfi_def_cfa sp, 16
	ldp	x29, x30, [sp], #16
	.cfi_def_cfa_offset 0
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_restore_state
	/* Called by foreign code in a callout: it is foreign code already. */
5:	LOAD_ARGUMENTS sp
	mov	sp, x29
	.cfi_def_cfa sp, 16
	ldp	x29, x30, [sp], #16
	.cfi_def_cfa_offset 0
	.cfi_restore x29
	.cfi_restore x30
	ldr	x17, [x16, #E_TARGET]
	br	x17
	.cfi_endproc
	.size	trap_gate_slow, .-trap_gate_slow
	.globl	trap_gates_end
	.hidden	trap_gates_end
trap_gates_end:

	.balign 16
	ENTRY	trap_gate_dead
	.cfi_startproc
	bti	c
	bl	trap_dead_thunk
	udf	#0
	.cfi_endproc

/* The target of a released callback: foreign code may keep the address, and gets zeros. */
	.balign 16
	ENTRY	trap_callback_gone
	.cfi_startproc
	bti	c
	stp	x29, x30, [sp, #-16]!
	.cfi_def_cfa_offset 16
	.cfi_offset x29, -16
	.cfi_offset x30, -8
	bl	trap_tell_gone
	ZERO_RESULTS
	ldp	x29, x30, [sp], #16
	.cfi_def_cfa_offset 0
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc

/* ---- landing pads -------------------------------------------------------------------------------------------------
 * The handler has put the caller's callee-saved registers, return address and stack pointer into the context, x0 =
 * frame; for the keyed pad x1 = the POR_EL0 to write. I7: rights, streaming mode, fpcr and fpsr come first. */
	.balign 16
	ENTRY	trap_landing_keys
	.cfi_startproc
	msr	POR_EL0, x1
	isb
	b	trap_landing
	.cfi_endproc

	.balign 16
	ENTRY	trap_landing
	.cfi_startproc
	adrp	x9, trap_arena+ARENA_SHARED+S_SME
	ldr	w9, [x9, #:lo12:trap_arena+ARENA_SHARED+S_SME]
	cbz	w9, 1f
	.inst	0xd503467f			/* smstop: out of streaming mode, ZA off; clears the vector registers */
1:	ldp	w9, w10, [x0, #F_FPCR]
	msr	fpcr, x9
	msr	fpsr, x10
	ldp	d8, d9, [x0, #F_D8]
	ldp	d10, d11, [x0, #F_D8+16]
	ldp	d12, d13, [x0, #F_D8+32]
	ldp	d14, d15, [x0, #F_D8+48]
	stp	x29, x30, [sp, #-16]!
	.cfi_def_cfa_offset 16
	.cfi_offset x29, -16
	.cfi_offset x30, -8
	bl	trap_landed
	ldp	x29, x30, [sp], #16
	.cfi_def_cfa_offset 0
	.cfi_restore x29
	.cfi_restore x30
	ZERO_RESULTS
	ret
	.cfi_endproc

/* ---- the signal handler's first instruction: the kernel leaves nothing to clear (compare gate_x86_64_sysv.S) ----- */
	.balign 16
	ENTRY	trap_handler_entry
	.cfi_startproc
	bti	c
	mov	x4, sp				/* what we were entered with: the signal frame */
	stp	x29, x30, [sp, #-(PASS_SIZE+16)]!
	.cfi_adjust_cfa_offset PASS_SIZE+16
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	mov	x29, sp
	add	x3, sp, #16
	bl	trap_handler
	cbnz	w0, 1f
	ldp	x29, x30, [sp], #PASS_SIZE+16
	.cfi_remember_state
	.cfi_adjust_cfa_offset -PASS_SIZE-16
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_restore_state
1:	ldp	x29, x30, [sp]			/* the handler before is called in place of this one, and returns to the kernel itself */
	.cfi_restore x29
	.cfi_restore x30
	ldr	x9, [sp, #16+P_SP]
	ldr	x16, [sp, #16+P_HANDLER]
	ldr	x0, [sp, #16+P_SIGNAL]
	ldr	x1, [sp, #16+P_INFO]
	ldr	x2, [sp, #16+P_CONTEXT]
	mov	sp, x9
	.cfi_def_cfa_offset 0
	br	x16
	.cfi_endproc

/* ---- callback thunks --------------------------------------------------------------------------------------------- */
	.balign 64
	ENTRY	trap_callback_gate
	.cfi_startproc
	.cfi_personality 0x1b, trap_personality
	stp	x29, x30, [sp, #-16]!
	.cfi_def_cfa_offset 16
	.cfi_offset x29, -16
	.cfi_offset x30, -8
	mov	x29, sp
	.cfi_def_cfa x29, 16
	sub	sp, sp, #SAVE_BYTES
	SAVE_ARGUMENTS
	mov	x0, x16
	add	x1, x29, #16
	bl	trap_callback_enter		/* gives the VM's stack pointer, or 0: no callout on this thread */
	mov	x9, sp
	ldr	x16, [sp, #200]
	cbz	x0, 3f
	ldr	x11, [x16, #C_STACK]
	sub	x0, x0, x11
	mov	sp, x0
	COPY_ARGUMENTS x0, x11
	LOAD_ARGUMENTS x9
	ldr	x17, [x16, #C_TARGET]
	blr	x17
	sub	sp, sp, #80
	SAVE_RESULTS sp, 0
	add	x0, x29, #16
	bl	trap_callback_leave
	LOAD_RESULTS sp, 0
	.cfi_remember_state
	mov	sp, x29
	.cfi_def_cfa sp, 16
	ldp	x29, x30, [sp], #16
	.cfi_def_cfa_offset 0
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_restore_state
3:	LOAD_ARGUMENTS x9
	mov	sp, x29
	.cfi_def_cfa sp, 16
	ldp	x29, x30, [sp], #16
	.cfi_def_cfa_offset 0
	.cfi_restore x29
	.cfi_restore x30
	ldr	x17, [x16, #C_TARGET]
	br	x17
	.cfi_endproc

/* ---- the static thunks: code over the tables --------------------------------------------------------------------- */
	.balign 64
	ENTRY	trap_thunk_code
	.cfi_startproc
	.set	index, 0
	.rept	THUNK_COUNT
	.balign THUNK_CODE_BYTES
	bti	c
	adrp	x16, trap_arena+ARENA_THUNKS+index*ENTRY_SIZE
	add	x16, x16, #:lo12:trap_arena+ARENA_THUNKS+index*ENTRY_SIZE
	ldr	x17, [x16]
	br	x17
	udf	#0
	.set	index, index+1
	.endr
	.cfi_endproc
	.size	trap_thunk_code, .-trap_thunk_code

	.balign 64
	ENTRY	trap_callback_code
	.cfi_startproc
	.set	index, 0
	.rept	CALLBACK_COUNT
	.balign THUNK_CODE_BYTES
	bti	c
	adrp	x16, trap_arena+ARENA_CALLBACKS+index*CALLBACK_SIZE
	add	x16, x16, #:lo12:trap_arena+ARENA_CALLBACKS+index*CALLBACK_SIZE
	b	trap_callback_gate
	udf	#0
	.set	index, index+1
	.endr
	.cfi_endproc
	.size	trap_callback_code, .-trap_callback_code
