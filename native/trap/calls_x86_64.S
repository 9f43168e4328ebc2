/*
 * calls_x86_64.S: the one place from which system calls are never dispatched (prctl(2), PR_SET_SYSCALL_USER_DISPATCH).
 * The seccomp filter lets them pass by its address. They are the trap's own calls, and those that the policy lets a
 * callee make.
 *
 * Rules for changing this file (I1 to I13: docs/invariants.md):
 *  - all SYSCALL instructions but those that ask the handler lie between trap_calls_begin and trap_calls_end;
 *  - a callee's call passes with the callee's rights, signal mask, registers and flags; of these SYSCALL itself
 *    destroys rcx and r11, so rcx carries where to go on, and both are free afterwards;
 *  - what must outlast the call lies on the callee's own stack, below its red zone: a signal handler that interrupts
 *    the call may make calls itself;
 *  - a store that fails here is the callee's fault: the stack is its own.
 *
 * syscall(2) (registers); clone(2); arch/x86/entry/entry_64.S; kernel/entry/syscall_user_dispatch.c.
 */
#include "layout.h"

	.section .note.GNU-stack, "", @progbits

	.macro	ENTRY name
	.globl	\name
	.hidden	\name
	.type	\name, @function
\name:
	.endm

	.hidden	trap_arena
	.hidden	trap_child_forked

#define RED_ZONE 128

	/* rcx: where to go on. */
	.macro	SAVE_WAY
	leaq	-RED_ZONE(%rsp), %rsp
	.cfi_def_cfa_offset RED_ZONE
	pushq	%rcx
	.cfi_def_cfa_offset RED_ZONE+8
	.cfi_offset rip, -(RED_ZONE+8)
	.endm
	.macro	GO_ON
	.cfi_remember_state
	popq	%rcx
	.cfi_def_cfa_offset RED_ZONE
	.cfi_register rip, rcx
	leaq	RED_ZONE(%rsp), %rsp		/* flags stay as they are */
	.cfi_def_cfa_offset 0
	jmp	*%rcx
	.cfi_restore_state
	.endm
	.macro	START
	.cfi_startproc simple
	.cfi_def_cfa rsp, 0
	.cfi_register rip, rcx
	.endm

	.text
	.balign 64
	.globl	trap_calls_begin, trap_calls_end
	.hidden	trap_calls_begin, trap_calls_end
trap_calls_begin:

/* long trap_call(long number, a, b, c, d, e, f): a call of the trap's own. */
	ENTRY	trap_call_now
	.cfi_startproc
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	ret
	.cfi_endproc
	.size	trap_call_now, .-trap_call_now

/* Where the trap's handlers return to. Debuggers and unwinders know a signal frame by exactly these bytes. */
	.balign 16
	nop
	ENTRY	trap_restorer
	movq	$15, %rax
	syscall
	.size	trap_restorer, .-trap_restorer
	ud2

/* A callee's rt_sigreturn(2), once its frame was looked at: it needs the stack pointer as it is. */
	.balign 16
	ENTRY	trap_pass_sigreturn
	START
	syscall
	ud2
	.cfi_endproc
	.size	trap_pass_sigreturn, .-trap_pass_sigreturn

	.balign 16
	ENTRY	trap_pass
	START
	SAVE_WAY
	syscall
	GO_ON
	.cfi_endproc
	.size	trap_pass, .-trap_pass

/* The same, and the handler looks at the result: whether what was opened is memory, what was mapped code. */
	.balign 16
	ENTRY	trap_pass_open
	START
	SAVE_WAY
	syscall
	jmp	ask_opened
	.cfi_endproc
	.size	trap_pass_open, .-trap_pass_open
	.balign 16
	ENTRY	trap_pass_map
	START
	SAVE_WAY
	syscall
	jmp	ask_mapped
	.cfi_endproc
	.size	trap_pass_map, .-trap_pass_map

/* clone(2) with a stack for the child, whose pointer is in r11. What a callee starts is a callee: its calls are
 * dispatched by a selector that says so for good. */
	.balign 16
	ENTRY	trap_pass_thread
	START
	SAVE_WAY
	movq	%rcx, -(RED_ZONE+8)(%r11)
	syscall
	testq	%rax, %rax
	jz	1f
	GO_ON
1:	leaq	-(RED_ZONE+8)(%rsp), %rsp
	call	dispatch_for_good
	xorl	%eax, %eax
	GO_ON
	.cfi_endproc
	.size	trap_pass_thread, .-trap_pass_thread

/* fork(2) and its like: the child has a copy of the stack. r11: clone's first argument, or 0. Registers as they are. */
	.balign 16
	ENTRY	trap_pass_fork
	START
	SAVE_WAY
	testq	%r11, %r11
	jz	1f
	pushq	%rdi
	pushq	%rsi
	movq	%r11, %rdi
	xorl	%esi, %esi			/* no stack */
	syscall
	popq	%rsi
	popq	%rdi
	jmp	2f
1:	syscall
2:	testq	%rax, %rax
	jz	3f
	GO_ON
3:	call	forked
	call	dispatch_for_good
	xorl	%eax, %eax
	GO_ON
	.cfi_endproc
	.size	trap_pass_fork, .-trap_pass_fork

/* prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, begin, length, selector); all registers but rax, rcx and r11
 * are kept. */
	.balign 16
dispatch_for_good:
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%r10
	pushq	%r8
	movl	$59, %edi
	movl	$1, %esi
	leaq	trap_calls_begin(%rip), %rdx
	movl	$(trap_calls_end-trap_calls_begin), %r10d
	leaq	trap_selector_blocked(%rip), %r8
	movl	$157, %eax
	syscall
	popq	%r8
	popq	%r10
	popq	%rdx
	popq	%rsi
	popq	%rdi
	ret

	.balign 16
trap_calls_end:

/* In a child that a callee forked, on the callee's stack, with all registers to keep. */
	.balign 16
forked:
	pushq	%rbp
	movq	%rsp, %rbp
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%r8
	pushq	%r9
	pushq	%r10
	andq	$-16, %rsp
	call	trap_child_forked
	leaq	-48(%rbp), %rsp
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdx
	popq	%rsi
	popq	%rdi
	popq	%rbp
	ret

/* Asks the handler about the result, by a call that does not exist and is dispatched. Where nothing is dispatched, the
 * kernel says so, and the result stands. */
	.macro	ASK name, number
	.balign 16
\name:
	.cfi_startproc simple
	.cfi_def_cfa rsp, RED_ZONE+8
	.cfi_offset rip, -(RED_ZONE+8)
	pushq	%rax
	.cfi_def_cfa_offset RED_ZONE+16
	movl	$\number, %eax
	syscall
	popq	%rax				/* the handler may have put another there */
	.cfi_def_cfa_offset RED_ZONE+8
	GO_ON
	.cfi_endproc
	.size	\name, .-\name
	.endm
	ASK	ask_opened, CALL_ASK_OPENED
	ASK	ask_mapped, CALL_ASK_MAPPED

/* uint64_t trap_peek(void *to, const void *from, uint64_t bytes): copies what may not be readable or writable; the
 * number of bytes that it did not copy. A fault between the two labels makes the handler go on at the third. */
	.balign 16
	ENTRY	trap_peek
	.cfi_startproc
	movq	%rdx, %rcx
	.globl	trap_peek_begin, trap_peek_end
	.hidden	trap_peek_begin, trap_peek_end
trap_peek_begin:
	rep movsb
trap_peek_end:
	movq	%rcx, %rax
	ret
	.cfi_endproc
	.size	trap_peek, .-trap_peek

	.section .rodata
	ENTRY	trap_selector_blocked
	.byte	1
