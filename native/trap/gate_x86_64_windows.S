/*
 * gate_x86_64_windows.S: thunks, gate, landing pad and callback thunks for the Windows x64 ABI, in the GNU
 * assembler's PE dialect.
 *
 * Rules for changing this file (I1 to I13: docs/invariants.md):
 *  - every argument register (rcx rdx r8 r9, xmm0-3; xmm4-5 and rax as well, for other conventions) and every result
 *    register (rax, xmm0) passes unharmed, stack arguments are copied above fresh home space; a hidden result pointer
 *    is an argument like any other;
 *  - the gate keeps rbx rbp rdi rsi r12-r15 and xmm6-15 itself, on the VM's stack, by a prologue that the system's
 *    unwinder knows: a recovery goes through the same epilogue as a return;
 *  - the TEB's StackBase, StackLimit and DeallocationStack (and ExceptionList, which Wine's own libraries use) name
 *    the stack that rsp points into, but for the few instructions of a switch;
 *  - calls and returns stay paired;
 *  - an unwind ends at the gate (trap_barrier): no VM frame is ever crossed (I8). On a foreign stack the unwinder
 *    finds a machine frame at the top, so a debugger walks on into the VM's.
 *
 * There is one gate. It asks C on every call (slow.c), as the slow gate of Linux does. The fast gates save nanoseconds,
 * which no machine here can measure.
 *
 * More than 400 lines: every way through the gate is here, so that each can be checked against the rules above.
 *
 * x64 software conventions; "x64 exception handling": UNWIND_CODE, UWOP_PUSH_MACHFRAME.
 */
#include "layout.h"

#define TEB_EXCEPTION_LIST 0x00
#define TEB_STACK_BASE 0x08
#define TEB_STACK_LIMIT 0x10
#define TEB_DEALLOCATION_STACK 0x1478

	.macro	ENTRY name
	.globl	\name
	.def	\name; .scl 2; .type 32; .endef
\name:
	.endm

/* Arguments in the save area at 32(\base). */
	.macro	SAVE_ARGUMENTS base
	movups	%xmm0, 32(\base)
	movups	%xmm1, 48(\base)
	movups	%xmm2, 64(\base)
	movups	%xmm3, 80(\base)
	movups	%xmm4, 96(\base)
	movups	%xmm5, 112(\base)
	movq	%rcx, 128(\base)
	movq	%rdx, 136(\base)
	movq	%r8, 144(\base)
	movq	%r9, 152(\base)
	movq	%rax, 160(\base)
	movq	%r11, 168(\base)
	.endm
	.macro	LOAD_ARGUMENTS base
	movups	32(\base), %xmm0
	movups	48(\base), %xmm1
	movups	64(\base), %xmm2
	movups	80(\base), %xmm3
	movups	96(\base), %xmm4
	movups	112(\base), %xmm5
	movq	128(\base), %rcx
	movq	136(\base), %rdx
	movq	144(\base), %r8
	movq	152(\base), %r9
	movq	160(\base), %rax
	movq	168(\base), %r11
	.endm

/* What lies above the stack arguments of a call that switches stacks: a machine frame for the unwinder (rip, cs,
 * eflags, rsp, ss) and a word of nothing. */
#define TOP_BYTES 48
#define HOME_BYTES 32
	.macro	MACHINE_FRAME at, sp, return
	leaq	\return(%rip), %rcx
	movq	%rcx, (\at)
	movq	$0, 8(\at)
	movq	$0, 16(\at)
	movq	\sp, 24(\at)
	movq	$0, 32(\at)
	.endm

	.text
	.balign 16
	.globl	trap_gates_begin
trap_gates_begin:

/* ---- the gate ------------------------------------------------------------------------------------------------------
 * r11: the thunk's entry. Frame from rbp = rsp: 0 home space for the C it calls, 32 arguments, 176 results while a
 * stack is given back, 208 xmm6 to xmm15, 376 the pushed registers, 440 the return address, 448 the caller's home
 * space, 480 the first stack argument. */
#define GATE_BYTES 376
#define GATE_ARGUMENTS 480
	.balign 64
	ENTRY	trap_gate_slow
	.seh_proc trap_gate_slow
	pushq	%rbp
	.seh_pushreg %rbp
	pushq	%rbx
	.seh_pushreg %rbx
	pushq	%rdi
	.seh_pushreg %rdi
	pushq	%rsi
	.seh_pushreg %rsi
	pushq	%r12
	.seh_pushreg %r12
	pushq	%r13
	.seh_pushreg %r13
	pushq	%r14
	.seh_pushreg %r14
	pushq	%r15
	.seh_pushreg %r15
	subq	$GATE_BYTES, %rsp
	.seh_stackalloc GATE_BYTES
	movq	%rsp, %rbp
	.seh_setframe %rbp, 0
	movaps	%xmm6, 208(%rbp)
	.seh_savexmm %xmm6, 208
	movaps	%xmm7, 224(%rbp)
	.seh_savexmm %xmm7, 224
	movaps	%xmm8, 240(%rbp)
	.seh_savexmm %xmm8, 240
	movaps	%xmm9, 256(%rbp)
	.seh_savexmm %xmm9, 256
	movaps	%xmm10, 272(%rbp)
	.seh_savexmm %xmm10, 272
	movaps	%xmm11, 288(%rbp)
	.seh_savexmm %xmm11, 288
	movaps	%xmm12, 304(%rbp)
	.seh_savexmm %xmm12, 304
	movaps	%xmm13, 320(%rbp)
	.seh_savexmm %xmm13, 320
	movaps	%xmm14, 336(%rbp)
	.seh_savexmm %xmm14, 336
	movaps	%xmm15, 352(%rbp)
	.seh_savexmm %xmm15, 352
	.seh_endprologue
	SAVE_ARGUMENTS %rbp
	movq	%r11, %rcx
	movq	%rbp, %rdx
	call	trap_slow_frame
	cmpq	$SLOW_REFUSED, %rax
	jb	5f
	je	6f				/* the thread could not be attached: the private thunk's record says why */
	movq	%rax, %r12
	movq	%rbp, F_SP(%r12)
	stmxcsr	F_MXCSR(%r12)
	fnstcw	F_FCW(%r12)
	movq	%gs:TEB_STACK_BASE, %rcx
	movq	%rcx, F_STACK_BASE(%r12)
	movq	%gs:TEB_STACK_LIMIT, %rcx
	movq	%rcx, F_STACK_LIMIT(%r12)
	movq	%gs:TEB_DEALLOCATION_STACK, %rcx
	movq	%rcx, F_DEALLOCATION(%r12)
	movq	%gs:TEB_EXCEPTION_LIST, %rcx
	movq	%rcx, F_EXCEPTION_LIST(%r12)
	movq	%r12, %rcx
	movq	%rbp, %rdx
	call	trap_slow_close			/* sets the flag, closes, gives the stack pointer that the arguments end at */
	testq	%rax, %rax
	jz	6f				/* the mechanism refused: the record says why */
	movq	168(%rbp), %r11
	movq	E_STACK(%r11), %r8
	leaq	-TOP_BYTES(%rax,%r8), %rbx	/* the machine frame; the arguments end there */
	leaq	-TOP_BYTES-HOME_BYTES(%rax), %r9
	movq	%r8, %rcx
	testq	%rcx, %rcx
	jz	2f
1:	movq	GATE_ARGUMENTS-8(%rbp,%rcx), %rdx
	movq	%rdx, HOME_BYTES-8(%r9,%rcx)
	subq	$8, %rcx
	jnz	1b
2:	MACHINE_FRAME %rbx, %rbp, gate_called
	movq	F_STACK_HIGH(%r12), %rdx
	testq	%rdx, %rdx
	jz	3f				/* on the caller's stack */
	movq	F_STACK_LOW(%r12), %rcx
	movq	%rdx, %gs:TEB_STACK_BASE
	movq	%rcx, %gs:TEB_DEALLOCATION_STACK
	addq	$STACK_RESERVED, %rcx
	movq	%rcx, %gs:TEB_STACK_LIMIT
	movq	$-1, %gs:TEB_EXCEPTION_LIST	/* the end of a list */
3:	movq	%r9, %rsp
	jmp	foreign_call
gate_called:
	nop					/* where the unwinder believes that the foreign function was called from */

	/* Back: r12 = frame, rbp = rsp = its stack pointer. */
gate_leave:
	testl	$FRAME_OWN_STACK, F_FLAGS(%r12)
	jnz	7f
4:	movaps	208(%rbp), %xmm6
	movaps	224(%rbp), %xmm7
	movaps	240(%rbp), %xmm8
	movaps	256(%rbp), %xmm9
	movaps	272(%rbp), %xmm10
	movaps	288(%rbp), %xmm11
	movaps	304(%rbp), %xmm12
	movaps	320(%rbp), %xmm13
	movaps	336(%rbp), %xmm14
	movaps	352(%rbp), %xmm15
	leaq	GATE_BYTES(%rbp), %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rsi
	popq	%rdi
	popq	%rbx
	popq	%rbp
	ret
	/* the foreign stack was taken for this callout alone: given back now that nobody runs on it */
7:	movq	%rax, 176(%rbp)
	movups	%xmm0, 192(%rbp)
	movq	%r12, %rcx
	call	trap_slow_give
	movq	176(%rbp), %rax
	movups	192(%rbp), %xmm0
	jmp	4b
6:	xorl	%eax, %eax
	pxor	%xmm0, %xmm0
	jmp	4b

	/* Called by foreign code in a callout: it is foreign code already. Nothing above rbp+GATE_BYTES was touched,
	 * no callee-saved register changed but rbp. */
5:	LOAD_ARGUMENTS %rbp
	leaq	GATE_BYTES(%rbp), %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rsi
	popq	%rdi
	popq	%rbx
	popq	%rbp
	jmp	*E_TARGET(%r11)

/* ---- the landing pad ------------------------------------------------------------------------------------------------
 * The handler has put rcx = frame and rsp = rbp = the frame's stack pointer into the context. */
	.balign 16
	ENTRY	trap_landing
	movq	%rcx, %r12
	ldmxcsr	F_MXCSR(%r12)
	fninit
	fldcw	F_FCW(%r12)
	cmpl	$0, trap_arena+ARENA_SHARED+S_AVX(%rip)
	je	1f
	vzeroupper
1:	movq	F_STACK_BASE(%r12), %rdx
	movq	%rdx, %gs:TEB_STACK_BASE
	movq	F_STACK_LIMIT(%r12), %rdx
	movq	%rdx, %gs:TEB_STACK_LIMIT
	movq	F_DEALLOCATION(%r12), %rdx
	movq	%rdx, %gs:TEB_DEALLOCATION_STACK
	movq	F_EXCEPTION_LIST(%r12), %rdx
	movq	%rdx, %gs:TEB_EXCEPTION_LIST
	call	trap_landed_windows		/* the guard of the foreign stack is put back, too */
	xorl	%eax, %eax
	pxor	%xmm0, %xmm0
	jmp	4b
	.seh_endproc

/* ---- on the foreign stack -------------------------------------------------------------------------------------------
 * rbx: the machine frame; rbp: the gate's frame on the VM's stack. */
	.balign 16
foreign_call:
	.seh_proc foreign_call
	.seh_handler trap_barrier, @except, @unwind
	.seh_pushframe
	.seh_setframe %rbx, 0
	.seh_endprologue
	LOAD_ARGUMENTS %rbp
	call	*E_TARGET(%r11)
	cld					/* the ABI has it clear, a callee may not have left it so */
	subq	$32, %rsp
	movq	%rax, (%rsp)
	movups	%xmm0, 16(%rsp)
	leaq	32+TOP_BYTES+HOME_BYTES(%rsp), %rcx
	movq	%rsp, %rdi			/* a callee that returned with a bent stack pointer is found below */
	andq	$-16, %rsp
	subq	$32, %rsp
	call	trap_slow_return
	movq	%rax, %r12
	movq	(%rdi), %rax
	movups	16(%rdi), %xmm0
	movq	F_STACK_BASE(%r12), %rdx
	movq	F_STACK_LIMIT(%r12), %r8
	movq	F_DEALLOCATION(%r12), %r9
	movq	F_EXCEPTION_LIST(%r12), %r10
	movq	F_SP(%r12), %rbp
	movq	%rbp, %rsp
	movq	%r10, %gs:TEB_EXCEPTION_LIST
	movq	%rdx, %gs:TEB_STACK_BASE
	movq	%r8, %gs:TEB_STACK_LIMIT
	movq	%r9, %gs:TEB_DEALLOCATION_STACK
	jmp	gate_leave
	.seh_endproc
	.globl	trap_gates_end
trap_gates_end:

	.balign 16
	ENTRY	trap_gate_dead
	.seh_proc trap_gate_dead
	subq	$40, %rsp
	.seh_stackalloc 40
	.seh_endprologue
	call	trap_dead_thunk
	ud2
	.seh_endproc

/* The target of a released callback: foreign code may keep the address, and gets zeros. */
	.balign 16
	ENTRY	trap_callback_gone
	.seh_proc trap_callback_gone
	subq	$40, %rsp
	.seh_stackalloc 40
	.seh_endprologue
	call	trap_tell_gone
	addq	$40, %rsp
	xorl	%eax, %eax
	pxor	%xmm0, %xmm0
	ret
	.seh_endproc

/* One gate serves every kind of thunk. */
	.irp	name, trap_gate_flag, trap_gate_keys
	.irp	kind, , _float, _args, _args_float, _own, _own_float, _own_args, _own_args_float
	.globl	\name\kind
	.set	\name\kind, trap_gate_slow
	.endr
	.endr

/* ---- callback thunks ---------------------------------------------------------------------------------------------
 * r11: the callback's entry. Frame from rbp = rsp, on the foreign stack: 0 home space, 32 arguments, 176 results, 208
 * the foreign stack's bounds and list, 240 three pushed registers, 264 the return address, 272 the caller's home
 * space, 304 the first stack argument. CALLBACK_SAVE_BYTES is 240. */
#define CALLBACK_ARGUMENTS (CALLBACK_SAVE_BYTES+64)
	.balign 64
	ENTRY	trap_callback_gate
	.seh_proc trap_callback_gate
	pushq	%rbp
	.seh_pushreg %rbp
	pushq	%rbx
	.seh_pushreg %rbx
	pushq	%rdi
	.seh_pushreg %rdi
	subq	$CALLBACK_SAVE_BYTES, %rsp
	.seh_stackalloc CALLBACK_SAVE_BYTES
	movq	%rsp, %rbp
	.seh_setframe %rbp, 0
	.seh_endprologue
	SAVE_ARGUMENTS %rbp
	cld					/* a callee may call with it set; the VM relies on the ABI */
	movq	%r11, %rcx
	leaq	CALLBACK_SAVE_BYTES(%rbp), %rdx
	call	trap_callback_enter		/* gives the VM's stack pointer, or 0: no callout on this thread */
	testq	%rax, %rax
	jz	3f
	movq	%rax, %rdi
	call	trap_callback_frame		/* the suspended frame: the VM's stack bounds are in it */
	movq	%gs:TEB_STACK_BASE, %rdx
	movq	%rdx, 208(%rbp)
	movq	%gs:TEB_STACK_LIMIT, %rdx
	movq	%rdx, 216(%rbp)
	movq	%gs:TEB_DEALLOCATION_STACK, %rdx
	movq	%rdx, 224(%rbp)
	movq	%gs:TEB_EXCEPTION_LIST, %rdx
	movq	%rdx, 232(%rbp)
	movq	168(%rbp), %r11
	leaq	-TOP_BYTES(%rdi), %rbx		/* the machine frame */
	movq	C_STACK(%r11), %rcx
	movq	%rbx, %r9
	subq	%rcx, %r9
	subq	$HOME_BYTES, %r9
	testq	%rcx, %rcx
	jz	2f
1:	movq	CALLBACK_ARGUMENTS-8(%rbp,%rcx), %rdx
	movq	%rdx, HOME_BYTES-8(%r9,%rcx)
	subq	$8, %rcx
	jnz	1b
2:	MACHINE_FRAME %rbx, %rbp, callback_called
	movq	F_STACK_BASE(%rax), %rdx
	movq	F_STACK_LIMIT(%rax), %rcx
	movq	F_DEALLOCATION(%rax), %r8
	movq	F_EXCEPTION_LIST(%rax), %r10
	movq	%r10, %gs:TEB_EXCEPTION_LIST
	movq	%rdx, %gs:TEB_STACK_BASE
	movq	%rcx, %gs:TEB_STACK_LIMIT
	movq	%r8, %gs:TEB_DEALLOCATION_STACK
	movq	%r9, %rsp
	jmp	vm_call
callback_called:
	nop
callback_leave:
	leaq	CALLBACK_SAVE_BYTES(%rbp), %rsp
	popq	%rdi
	popq	%rbx
	popq	%rbp
	ret
3:	LOAD_ARGUMENTS %rbp
	leaq	CALLBACK_SAVE_BYTES(%rbp), %rsp
	popq	%rdi
	popq	%rbx
	popq	%rbp
	jmp	*C_TARGET(%r11)
	.seh_endproc

/* On the VM's stack. rbx: the machine frame there; rbp: the callback gate's frame on the foreign stack. */
	.balign 16
vm_call:
	.seh_proc vm_call
	.seh_handler trap_callback_barrier, @except, @unwind
	.seh_pushframe
	.seh_setframe %rbx, 0
	.seh_endprologue
	LOAD_ARGUMENTS %rbp
	call	*C_TARGET(%r11)
	movq	%rax, 176(%rbp)
	movups	%xmm0, 192(%rbp)
	leaq	CALLBACK_SAVE_BYTES(%rbp), %rcx
	call	trap_callback_leave
	movq	176(%rbp), %rax
	movups	192(%rbp), %xmm0
	movq	208(%rbp), %rdx
	movq	216(%rbp), %rcx
	movq	224(%rbp), %r8
	movq	232(%rbp), %r9
	movq	%rbp, %rsp
	movq	%r9, %gs:TEB_EXCEPTION_LIST
	movq	%rdx, %gs:TEB_STACK_BASE
	movq	%rcx, %gs:TEB_STACK_LIMIT
	movq	%r8, %gs:TEB_DEALLOCATION_STACK
	jmp	callback_leave
	.seh_endproc

/* ---- the static thunks: code over the tables --------------------------------------------------------------------- */
	.balign 64
	ENTRY	trap_thunk_code
	.set	index, 0
	.rept	THUNK_COUNT
	.balign THUNK_CODE_BYTES, 0xcc
	leaq	trap_arena+ARENA_THUNKS+index*ENTRY_SIZE(%rip), %r11
	jmp	*(%r11)
	.set	index, index+1
	.endr

	.balign 64
	ENTRY	trap_callback_code
	.set	index, 0
	.rept	CALLBACK_COUNT
	.balign THUNK_CODE_BYTES, 0xcc
	leaq	trap_arena+ARENA_CALLBACKS+index*CALLBACK_SIZE(%rip), %r11
	jmp	trap_callback_gate
	.set	index, index+1
	.endr
