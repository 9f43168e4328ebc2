/*
 * trap_probe_x86_64.S: a caller and a callee that see every register that the System V x86-64 ABI names, for the
 * gate's tests; and callees that leave flags, x87 stack or control words in a state that compiled code never has.
 * Offsets: struct probe in trap_common.h.
 */
	.section .note.GNU-stack, "", @progbits
	.bss
	.balign 64
	.globl	probe_seen
	.hidden	probe_seen
probe_seen:
	.zero	512
probe_rsp:
	.zero	8

	.text
	.macro	FUNCTION name
	.balign 16
	.globl	\name
	.hidden	\name
	.type	\name, @function
\name:
	.endm

/* void probe_call(void *code, struct probe *in) */
	FUNCTION probe_call
	.cfi_startproc
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	.cfi_adjust_cfa_offset 48
	subq	$24, %rsp
	.cfi_adjust_cfa_offset 24
	movq	%rsi, (%rsp)
	movq	%rdi, %r11
	movq	%rsi, %r10
	movl	$15, %ecx
1:	pushq	192(%r10,%rcx,8)
	.cfi_adjust_cfa_offset 8
	decl	%ecx
	jns	1b
	movq	%rsp, probe_rsp(%rip)
	movups	64(%r10), %xmm0
	movups	80(%r10), %xmm1
	movups	96(%r10), %xmm2
	movups	112(%r10), %xmm3
	movups	128(%r10), %xmm4
	movups	144(%r10), %xmm5
	movups	160(%r10), %xmm6
	movups	176(%r10), %xmm7
	movq	0(%r10), %rdi
	movq	8(%r10), %rsi
	movq	16(%r10), %rdx
	movq	24(%r10), %rcx
	movq	32(%r10), %r8
	movq	40(%r10), %r9
	movq	48(%r10), %rax
	movabsq	$0x5a5a000000001111, %rbx
	movabsq	$0x5a5a000000002222, %rbp
	movabsq	$0x5a5a000000003333, %r12
	movabsq	$0x5a5a000000004444, %r13
	movabsq	$0x5a5a000000005555, %r14
	movabsq	$0x5a5a000000006666, %r15
	call	*%r11
	movq	%rsp, %r11
	movq	probe_rsp(%rip), %rsp
	subq	%rsp, %r11
	movq	128(%rsp), %r10
	movq	%r11, 416(%r10)
	movq	%rax, 320(%r10)
	movq	%rdx, 328(%r10)
	movups	%xmm0, 336(%r10)
	movups	%xmm1, 352(%r10)
	movq	%rbx, 368(%r10)
	movq	%rbp, 376(%r10)
	movq	%r12, 384(%r10)
	movq	%r13, 392(%r10)
	movq	%r14, 400(%r10)
	movq	%r15, 408(%r10)
	stmxcsr	424(%r10)
	fnstcw	428(%r10)
	fnstenv	-28(%rsp)			/* tag word at 8; masks exceptions, so the control word is loaded again */
	movw	-20(%rsp), %ax
	movw	%ax, 430(%r10)
	fldcw	428(%r10)
	pushfq
	popq	%rax
	movq	%rax, 432(%r10)
	andq	$~0x44500, %rax			/* go on without AC, NT, DF, TF, whatever came back */
	pushq	%rax
	popfq
	addq	$152, %rsp
	.cfi_adjust_cfa_offset -152
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	.cfi_adjust_cfa_offset -48
	ret
	.cfi_endproc

	.macro	RECORD
	movq	%rdi, probe_seen+0(%rip)
	movq	%rsi, probe_seen+8(%rip)
	movq	%rdx, probe_seen+16(%rip)
	movq	%rcx, probe_seen+24(%rip)
	movq	%r8, probe_seen+32(%rip)
	movq	%r9, probe_seen+40(%rip)
	movq	%rax, probe_seen+48(%rip)
	movups	%xmm0, probe_seen+64(%rip)
	movups	%xmm1, probe_seen+80(%rip)
	movups	%xmm2, probe_seen+96(%rip)
	movups	%xmm3, probe_seen+112(%rip)
	movups	%xmm4, probe_seen+128(%rip)
	movups	%xmm5, probe_seen+144(%rip)
	movups	%xmm6, probe_seen+160(%rip)
	movups	%xmm7, probe_seen+176(%rip)
	movq	%rsp, %rax
	andl	$15, %eax
	movq	%rax, probe_seen+440(%rip)
	stmxcsr	probe_seen+424(%rip)
	fnstcw	probe_seen+428(%rip)
	leaq	probe_seen+192(%rip), %rdx
	movq	probe_seen+56(%rip), %rcx
	testq	%rcx, %rcx
	jz	2f
1:	movq	(%rsp,%rcx,8), %rax
	movq	%rax, -8(%rdx,%rcx,8)
	decq	%rcx
	jnz	1b
2:
	.endm
	.macro	ANSWER
	movq	$-7, %rdi
	movq	$-8, %rsi
	movq	$-9, %r8
	movq	$-10, %r9
	movq	$-11, %r10
	movq	$-12, %r11
	movups	probe_seen+336(%rip), %xmm0
	movups	probe_seen+352(%rip), %xmm1
	movq	probe_seen+320(%rip), %rax
	movq	probe_seen+328(%rip), %rdx
	ret
	.endm

	FUNCTION probe_callee
	.cfi_startproc
	RECORD
	movq	$-1, %rbx
	movq	$-2, %rbp
	movq	$-3, %r12
	movq	$-4, %r13
	movq	$-5, %r14
	movq	$-6, %r15
	ANSWER
	.cfi_endproc
/* The same, but keeps the registers that a function must keep: a VM's function, called back. */
	FUNCTION probe_polite
	.cfi_startproc
	RECORD
	ANSWER
	.cfi_endproc

/* void probe_ymm_call(void *code, const uint8_t in[8][32], uint8_t out[2][32]): ymm0..7 in, ymm0 and ymm1 out. */
	FUNCTION probe_ymm_call
	.cfi_startproc
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	movq	%rdx, %rbx
	vmovdqu	0(%rsi), %ymm0
	vmovdqu	32(%rsi), %ymm1
	vmovdqu	64(%rsi), %ymm2
	vmovdqu	96(%rsi), %ymm3
	vmovdqu	128(%rsi), %ymm4
	vmovdqu	160(%rsi), %ymm5
	vmovdqu	192(%rsi), %ymm6
	vmovdqu	224(%rsi), %ymm7
	call	*%rdi
	vmovdqu	%ymm0, 0(%rbx)
	vmovdqu	%ymm1, 32(%rbx)
	vzeroupper
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
/* Stores ymm0..7 in probe_seen (256 bytes), returns ymm7 and ymm6. */
	FUNCTION probe_ymm_callee
	.cfi_startproc
	vmovdqu	%ymm0, probe_seen+0(%rip)
	vmovdqu	%ymm1, probe_seen+32(%rip)
	vmovdqu	%ymm2, probe_seen+64(%rip)
	vmovdqu	%ymm3, probe_seen+96(%rip)
	vmovdqu	%ymm4, probe_seen+128(%rip)
	vmovdqu	%ymm5, probe_seen+160(%rip)
	vmovdqu	%ymm6, probe_seen+192(%rip)
	vmovdqu	%ymm7, probe_seen+224(%rip)
	vmovdqa	%ymm7, %ymm0
	vmovdqa	%ymm6, %ymm1
	ret
	.cfi_endproc

/* ---- callees that fault in a bad state ---- */

	.macro	SET_FLAG bit
	pushfq
	orq	$\bit, (%rsp)
	popfq
	.endm
	FUNCTION bad_df
	std
	movl	$1, 0
	ret
	FUNCTION bad_ac
	SET_FLAG 0x40000
	movl	$1, 0
	ret
	/* With AC set, the misaligned access is itself the fault: SIGBUS, trap 17. */
	FUNCTION bad_ac_misaligned
	SET_FLAG 0x40000
	movl	-15(%rsp), %eax
	ret
	FUNCTION bad_nt
	SET_FLAG 0x4000
	movl	$1, 0
	ret
	/* With TF set, the next instruction is the fault: SIGTRAP, TRAP_TRACE. */
	FUNCTION bad_tf
	SET_FLAG 0x100
	nop
	movl	$1, 0
	ret
	/* All flags that a program can set. */
	FUNCTION bad_flags
	SET_FLAG 0x44400
	movl	$1, 0
	ret
	FUNCTION bad_x87_full
	fldz
	fldz
	fldz
	fldz
	fldz
	fldz
	fldz
	fldz
	movl	$1, 0
	ret
	/* An unmasked x87 exception is pending at the fault: the next waiting x87 instruction would raise it. */
	FUNCTION bad_x87_pending
	pushq	$0
	fnstcw	(%rsp)
	andw	$~0x3f, (%rsp)
	fldcw	(%rsp)
	fldz
	fldz
	fdivrp	%st, %st(1)
	popq	%rax
	movl	$1, 0
	ret
	/* Rounding up, flush to zero, x87 single precision. */
	FUNCTION bad_control_words
	pushq	$0xdf80
	ldmxcsr	(%rsp)
	movq	$0x0c7f, (%rsp)
	fldcw	(%rsp)
	popq	%rax
	movl	$1, 0
	ret
	/* A division by zero with mxcsr's exception unmasked: SIGFPE, trap 19. */
	FUNCTION bad_sse_exception
	pushq	$0x1d80
	ldmxcsr	(%rsp)
	popq	%rax
	movl	$1, %eax
	cvtsi2sdl %eax, %xmm0
	xorps	%xmm1, %xmm1
	divsd	%xmm1, %xmm0
	ret
	FUNCTION bad_misaligned_sse
	movaps	1(%rsp), %xmm0
	ret
	FUNCTION bad_illegal
	ud2
	ret
	FUNCTION bad_privileged
	hlt
	ret
	FUNCTION bad_int3
	int3
	ret
	FUNCTION bad_return_to_garbage
	movabsq	$0x4141414141414141, %rax
	movq	%rax, (%rsp)
	ret
	FUNCTION bad_return_to_data
	leaq	probe_seen(%rip), %rax
	movq	%rax, (%rsp)
	ret
	/* Every register is garbage at the fault, the stack pointer too. */
	FUNCTION bad_everything
	movabsq	$0x4242424242424242, %rax
	movq	%rax, %rbx
	movq	%rax, %rcx
	movq	%rax, %rdx
	movq	%rax, %rsi
	movq	%rax, %rdi
	movq	%rax, %rbp
	movq	%rax, %r8
	movq	%rax, %r9
	movq	%rax, %r10
	movq	%rax, %r11
	movq	%rax, %r12
	movq	%rax, %r13
	movq	%rax, %r14
	movq	%rax, %r15
	movq	%rax, %rsp
	ret
	/* The stack pointer is 0: nothing can be pushed. */
	FUNCTION bad_null_stack
	xorl	%esp, %esp
	pushq	%rax
	ret
	/* Returns with 8 bytes too few popped (a wrong calling convention). */
	FUNCTION bad_pop
	popq	%rax
	addq	$8, %rsp
	jmp	*%rax
	/* Returns normally, with the direction flag set. */
	FUNCTION leaves_df
	std
	ret
