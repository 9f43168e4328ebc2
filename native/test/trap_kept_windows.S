/*
 * trap_kept_windows.S: kept_call(code, out, argument) sets every register that a callee must keep to a pattern, calls
 * code(argument), and stores what it finds afterwards: rbx rbp rdi rsi r12-r15, then xmm6-xmm15, then mxcsr, the x87
 * control word and tag word, then rsp's difference, rflags, and rax. breaks_all is a callee that keeps none of them,
 * and returns.
 */
	.text
	.globl	kept_call
	.def	kept_call; .scl 2; .type 32; .endef
	.seh_proc kept_call
kept_call:
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
	subq	$216, %rsp
	.seh_stackalloc 216
	movaps	%xmm6, 48(%rsp)
	.seh_savexmm %xmm6, 48
	movaps	%xmm7, 64(%rsp)
	.seh_savexmm %xmm7, 64
	movaps	%xmm8, 80(%rsp)
	.seh_savexmm %xmm8, 80
	movaps	%xmm9, 96(%rsp)
	.seh_savexmm %xmm9, 96
	movaps	%xmm10, 112(%rsp)
	.seh_savexmm %xmm10, 112
	movaps	%xmm11, 128(%rsp)
	.seh_savexmm %xmm11, 128
	movaps	%xmm12, 144(%rsp)
	.seh_savexmm %xmm12, 144
	movaps	%xmm13, 160(%rsp)
	.seh_savexmm %xmm13, 160
	movaps	%xmm14, 176(%rsp)
	.seh_savexmm %xmm14, 176
	movaps	%xmm15, 192(%rsp)
	.seh_savexmm %xmm15, 192
	.seh_endprologue
	movq	%rdx, 32(%rsp)
	movq	%rsp, kept_rsp(%rip)
	movq	%rcx, %rax
	movq	%r8, %rcx
	movabsq	$0x5a5a000000000001, %rbx
	leaq	1(%rbx), %rbp
	leaq	2(%rbx), %rdi
	leaq	3(%rbx), %rsi
	leaq	4(%rbx), %r12
	leaq	5(%rbx), %r13
	leaq	6(%rbx), %r14
	leaq	7(%rbx), %r15
	movq	%rbx, %xmm6
	punpcklqdq %xmm6, %xmm6
	movq	%rbp, %xmm7
	punpcklqdq %xmm7, %xmm7
	movq	%rdi, %xmm8
	punpcklqdq %xmm8, %xmm8
	movq	%rsi, %xmm9
	punpcklqdq %xmm9, %xmm9
	movq	%r12, %xmm10
	punpcklqdq %xmm10, %xmm10
	movq	%r13, %xmm11
	punpcklqdq %xmm11, %xmm11
	movq	%r14, %xmm12
	punpcklqdq %xmm12, %xmm12
	movq	%r15, %xmm13
	punpcklqdq %xmm13, %xmm13
	movaps	%xmm6, %xmm14
	movaps	%xmm7, %xmm15
	call	*%rax
	movq	%rax, %r10
	movq	%rsp, %r11
	movq	kept_rsp(%rip), %rsp
	movq	32(%rsp), %rdx
	movq	%rbx, 0(%rdx)
	movq	%rbp, 8(%rdx)
	movq	%rdi, 16(%rdx)
	movq	%rsi, 24(%rdx)
	movq	%r12, 32(%rdx)
	movq	%r13, 40(%rdx)
	movq	%r14, 48(%rdx)
	movq	%r15, 56(%rdx)
	movups	%xmm6, 64(%rdx)
	movups	%xmm7, 80(%rdx)
	movups	%xmm8, 96(%rdx)
	movups	%xmm9, 112(%rdx)
	movups	%xmm10, 128(%rdx)
	movups	%xmm11, 144(%rdx)
	movups	%xmm12, 160(%rdx)
	movups	%xmm13, 176(%rdx)
	movups	%xmm14, 192(%rdx)
	movups	%xmm15, 208(%rdx)
	stmxcsr	224(%rdx)
	subq	%rsp, %r11
	fnstenv	(%rsp)				/* the home space is ours again */
	fldenv	(%rsp)
	movw	(%rsp), %ax
	movw	%ax, 228(%rdx)
	movw	8(%rsp), %ax
	movw	%ax, 230(%rdx)
	movq	%r10, %rax
	movq	%r11, 232(%rdx)
	pushfq
	popq	240(%rdx)
	cld
	movq	%rax, 248(%rdx)
	movaps	48(%rsp), %xmm6
	movaps	64(%rsp), %xmm7
	movaps	80(%rsp), %xmm8
	movaps	96(%rsp), %xmm9
	movaps	112(%rsp), %xmm10
	movaps	128(%rsp), %xmm11
	movaps	144(%rsp), %xmm12
	movaps	160(%rsp), %xmm13
	movaps	176(%rsp), %xmm14
	movaps	192(%rsp), %xmm15
	addq	$216, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rsi
	popq	%rdi
	popq	%rbx
	popq	%rbp
	ret
	.seh_endproc

	.globl	breaks_all
	.def	breaks_all; .scl 2; .type 32; .endef
breaks_all:
	movq	$-3, %rax
	movq	%rax, %rbx
	movq	%rax, %rbp
	movq	%rax, %rdi
	movq	%rax, %rsi
	movq	%rax, %r12
	movq	%rax, %r13
	movq	%rax, %r14
	movq	%rax, %r15
	pcmpeqd	%xmm6, %xmm6
	movaps	%xmm6, %xmm7
	movaps	%xmm6, %xmm8
	movaps	%xmm6, %xmm9
	movaps	%xmm6, %xmm10
	movaps	%xmm6, %xmm11
	movaps	%xmm6, %xmm12
	movaps	%xmm6, %xmm13
	movaps	%xmm6, %xmm14
	movaps	%xmm6, %xmm15
	std
	ret
	.globl	breaks_all_and_faults
	.def	breaks_all_and_faults; .scl 2; .type 32; .endef
breaks_all_and_faults:
	call	breaks_all
	fld1
	fld1
	movl	$0x1f00, -8(%rsp)
	ldmxcsr	-8(%rsp)
	movw	$0x0c7f, -8(%rsp)
	fldcw	-8(%rsp)
	movq	$1, 16
	ret

	.bss
	.balign 8
kept_rsp:
	.quad	0
