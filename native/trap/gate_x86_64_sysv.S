/*
 * gate_x86_64_sysv.S: thunks, gate, landing pads and callback thunks for the System V x86-64 ABI.
 *
 * Rules for changing this file (I1 to I13: docs/invariants.md):
 *  - every argument register (rdi rsi rdx rcx r8 r9, al, xmm0-7) and every result register (rax rdx xmm0 xmm1 st0
 *    st1) passes unharmed;
 *  - calls and returns stay paired: a return address that is overwritten costs a mispredicted return (16 ns measured);
 *  - T_STATE is the entry of the callout in progress; frames hold it only once suspended;
 *  - a frame is complete before T_STATE says "in a callout", T_STATE is set before rights drop, cleared after they
 *    return (I4);
 *  - WRPKRU needs ecx = edx = 0 and is not speculated; here and in pkeys_wrpkru are its only two places (I3);
 *  - CFI is right at every instruction, and the personality ends every unwind (no C++ frame is ever crossed, I8).
 *
 * r11 carries the thunk's entry, r10 this thread's slot: the two registers that the ABI gives to nobody here.
 *
 * More than 400 lines: every way through the gate is here, so that each can be checked against the rules above.
 */
#include "layout.h"

	.section .note.GNU-stack, "", @progbits

	.section .data.rel.ro, "aw"
	.balign 8
arena_pointer:
	.quad	trap_arena

	.hidden	trap_arena
	.hidden	trap_slot_word
	.hidden	trap_personality

/* ---- CFI: where the caller's registers are --------------------------------------------------------------------
 * In the frame that `reg` points to: CFA = *(reg + F_SP) + 8, and each register at its place. In DWARF:
 * DW_CFA_def_cfa_expression and DW_CFA_expression, DW_OP_breg0 + the register's number. */
#define DWARF_RBX 3
#define DWARF_RBP 6
#define DWARF_R10 10
	.macro	CFI_FRAME reg
	.cfi_escape 0x0f, 5, 0x70+\reg, F_SP, 0x06, 0x23, 8
	.cfi_escape 0x10, 3, 2, 0x70+\reg, F_RBX
	.cfi_escape 0x10, 6, 2, 0x70+\reg, F_RBP
	.cfi_escape 0x10, 12, 2, 0x70+\reg, F_R12
	.cfi_escape 0x10, 13, 2, 0x70+\reg, F_R13
	.cfi_escape 0x10, 14, 2, 0x70+\reg, F_R14
	.cfi_escape 0x10, 15, 2, 0x70+\reg, F_R15
	.endm

	.macro	ENTRY name
	.globl	\name
	.hidden	\name
	.type	\name, @function
\name:
	.endm

	.text

/* ---- keys of the model, for measurement only (trap_model, model.c) ------------------------------------------------
 * Where the CPU has no protection keys, these gates do what a gate with keys does. They take RDPKRU's result for 0, and
 * put a serialising delay in place of WRPKRU. Nothing is protected by it. The delay is a chain of multiplications, each
 * waiting for the one before (3 cycles), between two LFENCEs; how many of them is where trap_model_into jumps to. Like
 * RDPKRU and WRPKRU it harms eax, ecx, edx only. */
	.hidden	trap_model_into
	.balign 64
	ENTRY	trap_model_write
	.cfi_startproc
	lfence
	jmp	*trap_model_into(%rip)
	.globl	trap_model_chain, trap_model_chain_end
	.hidden	trap_model_chain, trap_model_chain_end
trap_model_chain:
	.rept	MODEL_STEPS
	imull	%eax, %eax
	.endr
trap_model_chain_end:
	lfence
	ret
	.cfi_endproc
	.size	trap_model_write, .-trap_model_write

	.macro	READ_RIGHTS keys			/* also edx = 0 */
	.if \keys == KEYS_MODEL
	xorl	%eax, %eax
	xorl	%edx, %edx
	.else
	rdpkru
	.endif
	.endm
	.macro	WRITE_RIGHTS keys
	.if \keys == KEYS_MODEL
	call	trap_model_write
	.else
	wrpkru
	.endif
	.endm

/* ---- the fast gate ---------------------------------------------------------------------------------------------
 * One instance for each of: keys written or not, or the model's delay in their place; stack arguments or none;
 * foreign stack or the caller's; floating-point environment saved or not (STMXCSR alone costs as much as all the
 * rest: see TRAP_FLOAT in trap.h).
 *
 * rbp holds the slot across the call: a callee keeps it for the gate as for any caller. The gate notices a callee that
 * does not. docs/gate.md says what each instruction is for, and why in this order. */
	.macro	GATE name, keys=0, args=0, own=0, float=0, filter=0
	.balign 64
	ENTRY	\name
	.cfi_startproc
	.cfi_personality 0x1b, trap_personality
	movq	trap_slot_word@gottpoff(%rip), %r10
	movq	%fs:(%r10), %r10
	addq	%fs:0, %r10
	testq	$SLOT_OFFSET_INVALID, %r10	/* never attached, or overwritten by foreign code, with another thread's word too */
	jnz	trap_gate_slow
	addq	arena_pointer(%rip), %r10
	cmpq	$0, T_STATE(%r10)		/* nested, or called by foreign code itself */
	jne	trap_gate_slow
	.if \filter
	cmpq	$0, T_SELECTOR(%r10)		/* this thread's calls are not dispatched yet */
	je	trap_gate_slow
	.endif
	movq	%rbp, F_RBP(%r10)
	.cfi_remember_state
	movq	%r10, %rbp
	.cfi_escape 0x10, 6, 2, 0x76, F_RBP
	movq	%rsp, F_SP(%rbp)
	movq	%rbx, F_RBX(%rbp)
	movq	%r12, F_R12(%rbp)
	movq	%r13, F_R13(%rbp)
	movq	%r14, F_R14(%rbp)
	movq	%r15, F_R15(%rbp)
	.if \float
	stmxcsr	F_MXCSR(%rbp)
	fnstcw	F_FCW(%rbp)
	.endif
	CFI_FRAME DWARF_RBP
	.if \keys
	movq	%rcx, %r12
	movq	%rdx, %r13
	movq	%rax, %r14
	xorl	%ecx, %ecx
	READ_RIGHTS \keys
	andl	T_KEEP(%rbp), %eax		/* I2: absolute for owned keys, others kept */
	orl	E_DENY(%r11), %eax
	.endif
	.if \args
	movq	E_STACK(%r11), %rbx
	movq	%rsp, %r10
	.if \own
	leaq	-8(%rsp), %rsp
	.else
	movq	T_FSP(%rbp), %rsp
	.endif
	subq	%rbx, %rsp
	movq	%rsp, F_FSP(%rbp)
1:	movq	(%r10,%rbx), %r15		/* 8(%r10) is the first stack argument */
	movq	%r15, -8(%rsp,%rbx)
	subq	$8, %rbx
	jnz	1b
	.elseif \own
	subq	$8, %rsp
	.else
	movq	T_FSP(%rbp), %rsp
	.endif
	movq	%r11, T_STATE(%rbp)		/* I4: armed before rights drop */
	.if \filter				/* from here on, system calls are judged */
	movq	T_SELECTOR(%rbp), %r15
	movb	$1, (%r15)
	.endif
	.if \keys
	WRITE_RIGHTS \keys
	movq	%r14, %rax
	movq	%r13, %rdx
	movq	%r12, %rcx
	.endif
	call	*E_TARGET(%r11)
	/* A callee that breaks the ABI may have set it: the VM's string instructions would run backwards. */
	cld
2:
	.if \keys & !(\args | \own)		/* two instructions fewer; without keys those below are faster all the same */
	/* the first word of a foreign stack is its slot; else the callee did not keep rbp, or overwrote that word */
	cmpq	%rbp, (%rsp)
	jne	4f
	.else
	.if \keys
	movq	%rbp, %r10
	subq	arena_pointer(%rip), %r10
	.else					/* one instruction more, but 5 % faster */
	leaq	trap_arena(%rip), %r11
	movq	%rbp, %r10
	subq	%r11, %r10
	.endif
	testq	$SLOT_OFFSET_INVALID, %r10	/* no slot: the callee did not keep rbp */
	jnz	4f
	.endif
	/* Nothing was jumped over, nothing popped by mistake; T_FSP is odd while a callback is in progress. */
	.if \args
	cmpq	%rsp, F_FSP(%rbp)
	jne	4f
	testq	$1, T_FSP(%rbp)
	.elseif \own
	leaq	8(%rsp), %r10
	cmpq	%r10, F_SP(%rbp)
	jne	4f
	testq	$1, T_FSP(%rbp)
	.else
	cmpq	%rsp, T_FSP(%rbp)
	.endif
	jne	4f
	.if \keys
	movq	%rax, %r10
	movq	%rdx, %r11
	xorl	%ecx, %ecx
	READ_RIGHTS \keys
	andl	T_KEEP(%rbp), %eax		/* the VM's rights to owned keys are: all; of the pool's, the entered image's */
	WRITE_RIGHTS \keys
	movq	%r10, %rax
	movq	%r11, %rdx
	.endif
	.if \filter
	movq	T_SELECTOR(%rbp), %r10
	movb	$0, (%r10)
	.endif
	movq	$0, T_STATE(%rbp)		/* I4: disarmed after rights are back */
	movq	F_RBX(%rbp), %rbx		/* a callee that breaks the ABI does not break the VM */
	movq	F_R12(%rbp), %r12
	movq	F_R13(%rbp), %r13
	movq	F_R14(%rbp), %r14
	movq	F_R15(%rbp), %r15
	movq	F_SP(%rbp), %rsp
	movq	F_RBP(%rbp), %rbp
	.cfi_restore_state
	ret
	.cfi_remember_state
	CFI_FRAME DWARF_RBP
4:	call	gate_lost			/* finds the slot and comes back, or ends the process with a message */
	jmp	2b
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
	.irp	kind, flag, keys
	.set	with_keys, 0
	.ifc	\kind, keys
	.set	with_keys, 1
	.endif
	GATE	trap_gate_\kind\()_filter, keys=with_keys filter=1
	GATE	trap_gate_\kind\()_filter_float, keys=with_keys float=1 filter=1
	GATE	trap_gate_\kind\()_filter_args, keys=with_keys args=1 filter=1
	GATE	trap_gate_\kind\()_filter_args_float, keys=with_keys args=1 float=1 filter=1
	GATE	trap_gate_\kind\()_filter_own, keys=with_keys own=1 filter=1
	GATE	trap_gate_\kind\()_filter_own_float, keys=with_keys own=1 float=1 filter=1
	GATE	trap_gate_\kind\()_filter_own_args, keys=with_keys args=1 own=1 filter=1
	GATE	trap_gate_\kind\()_filter_own_args_float, keys=with_keys args=1 own=1 float=1 filter=1
	.endr
	GATE	trap_gate_model, keys=KEYS_MODEL
	GATE	trap_gate_model_float, keys=KEYS_MODEL float=1
	GATE	trap_gate_model_args, keys=KEYS_MODEL args=1
	GATE	trap_gate_model_args_float, keys=KEYS_MODEL args=1 float=1
	GATE	trap_gate_model_own, keys=KEYS_MODEL own=1
	GATE	trap_gate_model_own_float, keys=KEYS_MODEL own=1 float=1
	GATE	trap_gate_model_own_args, keys=KEYS_MODEL args=1 own=1
	GATE	trap_gate_model_own_args_float, keys=KEYS_MODEL args=1 own=1 float=1

/* The callee came back without the gate's rbp, or with another stack pointer. Called on the stack that the callee ran
 * on, results in their registers. */
	.balign 16
gate_lost:
	.cfi_startproc
	subq	$56, %rsp
	.cfi_adjust_cfa_offset 56
	movq	%rax, (%rsp)
	movq	%rdx, 8(%rsp)
	movups	%xmm0, 16(%rsp)
	movups	%xmm1, 32(%rsp)
	movq	%rbp, %rdi
	leaq	64(%rsp), %rsi
	movq	%rsp, %rbx			/* callee-saved registers come back from the frame anyway */
	andq	$-16, %rsp
	call	trap_fast_lost
	movq	%rax, %rbp
	movq	%rbx, %rsp
	movq	(%rsp), %rax
	movq	8(%rsp), %rdx
	movups	16(%rsp), %xmm0
	movups	32(%rsp), %xmm1
	addq	$56, %rsp
	.cfi_adjust_cfa_offset -56
	ret
	.cfi_endproc

/* ---- saving and loading all argument registers ------------------------------------------------------------------ */
#define SAVE_BYTES 208
	.macro	SAVE_ARGUMENTS
	movups	%xmm0, 0(%rsp)
	movups	%xmm1, 16(%rsp)
	movups	%xmm2, 32(%rsp)
	movups	%xmm3, 48(%rsp)
	movups	%xmm4, 64(%rsp)
	movups	%xmm5, 80(%rsp)
	movups	%xmm6, 96(%rsp)
	movups	%xmm7, 112(%rsp)
	movq	%rdi, 128(%rsp)
	movq	%rsi, 136(%rsp)
	movq	%rdx, 144(%rsp)
	movq	%rcx, 152(%rsp)
	movq	%r8, 160(%rsp)
	movq	%r9, 168(%rsp)
	movq	%rax, 176(%rsp)
	movq	%r11, 184(%rsp)
	movq	%r10, 192(%rsp)
	.endm
	.macro	LOAD_ARGUMENTS from
	movups	0(\from), %xmm0
	movups	16(\from), %xmm1
	movups	32(\from), %xmm2
	movups	48(\from), %xmm3
	movups	64(\from), %xmm4
	movups	80(\from), %xmm5
	movups	96(\from), %xmm6
	movups	112(\from), %xmm7
	movq	128(\from), %rdi
	movq	136(\from), %rsi
	movq	144(\from), %rdx
	movq	152(\from), %rcx
	movq	160(\from), %r8
	movq	168(\from), %r9
	movq	176(\from), %rax
	movq	184(\from), %r11
	.endm

/* ---- the slow gate: nested callouts, a thread's first, mechanisms that make calls -------------------------------- */
	.balign 64
	ENTRY	trap_gate_slow
	.cfi_startproc
	.cfi_personality 0x1b, trap_personality
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	movq	%rsp, %rbp
	.cfi_def_cfa_register rbp
	subq	$SAVE_BYTES, %rsp
	cld					/* foreign code may be calling */
	SAVE_ARGUMENTS
	movq	%r11, %rdi
	leaq	8(%rbp), %rsi
	call	trap_slow_frame
	cmpq	$SLOW_REFUSED, %rax
	jb	5f
	je	8f				/* the thread could not be attached: the private thunk's record says why */
	movq	%rax, %r10
	leaq	8(%rbp), %rcx
	movq	(%rbp), %rdx
	movq	%rcx, F_SP(%r10)
	movq	%rbx, F_RBX(%r10)
	movq	%rdx, F_RBP(%r10)
	movq	%r12, F_R12(%r10)
	movq	%r13, F_R13(%r10)
	movq	%r14, F_R14(%r10)
	movq	%r15, F_R15(%r10)
	stmxcsr	F_MXCSR(%r10)
	fnstcw	F_FCW(%r10)
	.cfi_remember_state
	CFI_FRAME DWARF_R10
	movq	%r10, %rbx
	CFI_FRAME DWARF_RBX
	movq	%rsp, %r12
	.cfi_remember_state
	movq	%r10, %rdi
	movq	%rsp, %rsi
	call	trap_slow_close			/* sets the flag, takes rights away, gives the stack pointer to call with */
	testq	%rax, %rax
	jz	6f				/* the mechanism refused: the record says why */
	movq	184(%r12), %r11
	movq	E_STACK(%r11), %rcx
	testq	%rcx, %rcx
	jz	2f
1:	movq	8(%rbp,%rcx), %rdx		/* 16(%rbp) is the first stack argument */
	movq	%rdx, -8(%rax,%rcx)
	subq	$8, %rcx
	jnz	1b
2:	movq	%rax, %rsp
	movq	%rbx, %rbp
	CFI_FRAME DWARF_RBP
	LOAD_ARGUMENTS %r12
	call	*E_TARGET(%r11)
	cld
	subq	$48, %rsp
	movq	%rax, (%rsp)
	movq	%rdx, 8(%rsp)
	movups	%xmm0, 16(%rsp)
	movups	%xmm1, 32(%rsp)
	leaq	48(%rsp), %rdi
	movq	%rsp, %rbx			/* a callee that returned with a bent stack pointer is found below */
	andq	$-16, %rsp
	call	trap_slow_return
	movq	%rax, %r10
	movq	(%rbx), %rax
	movq	8(%rbx), %rdx
	movups	16(%rbx), %xmm0
	movups	32(%rbx), %xmm1
	CFI_FRAME DWARF_R10
3:	movq	F_RBX(%r10), %rbx
	movq	F_RBP(%r10), %rbp
	movq	F_R12(%r10), %r12
	movq	F_R13(%r10), %r13
	movq	F_R14(%r10), %r14
	movq	F_R15(%r10), %r15
	movq	F_SP(%r10), %rsp
	.cfi_restore rbx
	.cfi_restore rbp
	.cfi_restore r12
	.cfi_restore r13
	.cfi_restore r14
	.cfi_restore r15
	.cfi_def_cfa rsp, 8
	testl	$FRAME_OWN_STACK, F_FLAGS(%r10)
	jnz	7f
	ret
7:	subq	$56, %rsp			/* the foreign stack was taken for this callout alone: given back now that nobody runs on it */
	.cfi_adjust_cfa_offset 56
	movq	%rax, (%rsp)
	movq	%rdx, 8(%rsp)
	movups	%xmm0, 16(%rsp)
	movups	%xmm1, 32(%rsp)
	movq	%r10, %rdi
	call	trap_slow_give
	movq	(%rsp), %rax
	movq	8(%rsp), %rdx
	movups	16(%rsp), %xmm0
	movups	32(%rsp), %xmm1
	addq	$56, %rsp
	.cfi_adjust_cfa_offset -56
	ret
	.cfi_restore_state
6:	movq	%rbx, %r10
	xorl	%edx, %edx
	pxor	%xmm0, %xmm0
	pxor	%xmm1, %xmm1
	jmp	3b
	.cfi_restore_state
	.cfi_remember_state
8:	xorl	%eax, %eax
	xorl	%edx, %edx
	pxor	%xmm0, %xmm0
	pxor	%xmm1, %xmm1
	leave
	.cfi_def_cfa rsp, 8
	.cfi_restore rbp
	ret
	.cfi_restore_state
	/* Called by foreign code in a callout: it is foreign code already. */
5:	movq	%rsp, %r10
	LOAD_ARGUMENTS %r10
	leave
	.cfi_def_cfa rsp, 8
	.cfi_restore rbp
	jmp	*E_TARGET(%r11)
	.cfi_endproc
	.size	trap_gate_slow, .-trap_gate_slow
	.globl	trap_gates_end
	.hidden	trap_gates_end
trap_gates_end:

	.balign 16
	ENTRY	trap_gate_dead
	.cfi_startproc
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	trap_dead_thunk
	ud2
	.cfi_endproc

/* The target of a released callback: foreign code may keep the address, and gets zeros. */
	.balign 16
	ENTRY	trap_callback_gone
	.cfi_startproc
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	trap_tell_gone
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	xorl	%eax, %eax
	xorl	%edx, %edx
	pxor	%xmm0, %xmm0
	pxor	%xmm1, %xmm1
	ret
	.cfi_endproc

/* ---- landing pads -------------------------------------------------------------------------------------------------
 * The handler has put the caller's callee-saved registers and stack pointer into the context, rdi = frame; for the
 * keyed pad eax = the PKRU to write, ecx = edx = 0. I7: PKRU, mxcsr, x87, upper vector state and shadow stack come
 * first. */
	.balign 16
	ENTRY	trap_landing_keys
	.cfi_startproc
	wrpkru
	jmp	trap_landing
	.cfi_endproc

	.balign 16
	ENTRY	trap_landing
	.cfi_startproc
	ldmxcsr	F_MXCSR(%rdi)
	fninit
	fldcw	F_FCW(%rdi)
	cmpl	$0, trap_arena+ARENA_SHARED+S_AVX(%rip)
	je	1f
	vzeroupper
1:	xorl	%eax, %eax
	rdsspq	%rax				/* a no-op without shadow stacks */
	testq	%rax, %rax
	jz	3f
	leaq	trap_gates_begin(%rip), %rcx
	leaq	trap_gates_end(%rip), %rdx
	movl	$1, %esi
2:	rdsspq	%rax				/* pop up to and including the gate's own call */
	movq	(%rax), %rax
	incsspq	%rsi
	cmpq	%rcx, %rax
	jb	2b
	cmpq	%rdx, %rax
	jae	2b
3:	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	trap_landed
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	xorl	%eax, %eax
	xorl	%edx, %edx
	pxor	%xmm0, %xmm0
	pxor	%xmm1, %xmm1
	ret
	.cfi_endproc

/* ---- the signal handler's first instructions ------------------------------------------------------------------------
 * The kernel clears DF and TF for a handler but not AC and NT: with AC set, compiled code would fault on its first
 * unaligned access. And its last instructions. Where a signal is passed on, the handler before is called in place of
 * this one. The signal frame may have been moved to the stack that it would have run on. It returns to the kernel
 * itself. */
	.balign 16
	ENTRY	trap_handler_entry
	.cfi_startproc
	.cfi_signal_frame
	pushfq
	.cfi_adjust_cfa_offset 8
	andq	$~0x44000, (%rsp)
	popfq
	.cfi_adjust_cfa_offset -8
	cld
	leaq	(%rsp), %r8			/* what we were entered with */
	subq	$PASS_SIZE+8, %rsp
	.cfi_adjust_cfa_offset PASS_SIZE+8
	movq	%rsp, %rcx
	call	trap_handler
	testl	%eax, %eax
	jnz	1f
	addq	$PASS_SIZE+8, %rsp
	.cfi_adjust_cfa_offset -PASS_SIZE-8
	ret
	.cfi_adjust_cfa_offset PASS_SIZE+8
1:	movq	P_HANDLER(%rsp), %rax
	movq	P_SIGNAL(%rsp), %rdi
	movq	P_INFO(%rsp), %rsi
	movq	P_CONTEXT(%rsp), %rdx
	movq	P_SP(%rsp), %rsp
	.cfi_def_cfa rsp, 8
	jmp	*%rax
	.cfi_endproc

/* ---- callback thunks --------------------------------------------------------------------------------------------- */
	.balign 64
	ENTRY	trap_callback_gate
	.cfi_startproc
	.cfi_personality 0x1b, trap_personality
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	movq	%rsp, %rbp
	.cfi_def_cfa_register rbp
	subq	$SAVE_BYTES, %rsp
	cld					/* the VM's code must not run with a callee's direction */
	SAVE_ARGUMENTS
	movq	%r11, %rdi
	leaq	8(%rbp), %rsi
	call	trap_callback_enter		/* gives the VM's stack pointer; or, in no callout, how to call */
	movq	184(%rsp), %r11
	movq	%rsp, %r10
	cmpq	$CALLBACK_COUNTED, %rax
	jb	3f
	je	4f
	movq	C_STACK(%r11), %rcx
	subq	%rcx, %rax
	testq	%rcx, %rcx
	jz	2f
1:	movq	8(%rbp,%rcx), %rdx
	movq	%rdx, -8(%rax,%rcx)
	subq	$8, %rcx
	jnz	1b
2:	movq	%rax, %rsp
	LOAD_ARGUMENTS %r10
	call	*C_TARGET(%r11)
	subq	$48, %rsp
	movq	%rax, (%rsp)
	movq	%rdx, 8(%rsp)
	movups	%xmm0, 16(%rsp)
	movups	%xmm1, 32(%rsp)
	leaq	8(%rbp), %rdi
	call	trap_callback_leave
	movq	(%rsp), %rax
	movq	8(%rsp), %rdx
	movups	16(%rsp), %xmm0
	movups	32(%rsp), %xmm1
	.cfi_remember_state
	leave
	.cfi_def_cfa rsp, 8
	.cfi_restore rbp
	ret
	.cfi_restore_state
	/* On a thread of the callee's or of nobody's: its stack and its rights stay. */
4:	movq	C_STACK(%r11), %rcx
	subq	%rcx, %rsp
	testq	%rcx, %rcx
	jz	6f
5:	movq	8(%rbp,%rcx), %rdx
	movq	%rdx, -8(%rsp,%rcx)
	subq	$8, %rcx
	jnz	5b
6:	LOAD_ARGUMENTS %r10
	call	*C_TARGET(%r11)
	leaq	-SAVE_BYTES(%rbp), %rsp
	movq	184(%rsp), %rdi
	movq	%rax, (%rsp)
	movq	%rdx, 8(%rsp)
	movups	%xmm0, 16(%rsp)
	movups	%xmm1, 32(%rsp)
	call	trap_callback_passed
	movq	(%rsp), %rax
	movq	8(%rsp), %rdx
	movups	16(%rsp), %xmm0
	movups	32(%rsp), %xmm1
	.cfi_remember_state
	leave
	.cfi_def_cfa rsp, 8
	.cfi_restore rbp
	ret
	.cfi_restore_state
3:	LOAD_ARGUMENTS %r10
	leave
	.cfi_def_cfa rsp, 8
	.cfi_restore rbp
	jmp	*C_TARGET(%r11)
	.cfi_endproc

/* ---- the static thunks: code over the tables --------------------------------------------------------------------- */
	.balign 64
	ENTRY	trap_thunk_code
	.cfi_startproc
	.set	index, 0
	.rept	THUNK_COUNT
	.balign THUNK_CODE_BYTES, 0xcc
	leaq	trap_arena+ARENA_THUNKS+index*ENTRY_SIZE(%rip), %r11
	jmp	*(%r11)
	.set	index, index+1
	.endr
	.cfi_endproc
	.size	trap_thunk_code, .-trap_thunk_code

	.balign 64
	ENTRY	trap_callback_code
	.cfi_startproc
	.set	index, 0
	.rept	CALLBACK_COUNT
	.balign THUNK_CODE_BYTES, 0xcc
	leaq	trap_arena+ARENA_CALLBACKS+index*CALLBACK_SIZE(%rip), %r11
	jmp	trap_callback_gate
	.set	index, index+1
	.endr
	.cfi_endproc
	.size	trap_callback_code, .-trap_callback_code
