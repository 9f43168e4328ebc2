/*
 * loader_x86_64.S: dlsym(handle, name). Asks host_dlsym_asked (loader.c); if that has no answer, goes on with the C
 * library's dlsym as if it had been called at once: same arguments, same stack, same return address.
 */
	.section .note.GNU-stack, "", @progbits
	.text
	.hidden	host_dlsym_asked
	.globl	dlsym
	.type	dlsym, @function
dlsym:
	.cfi_startproc
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	subq	$8, %rsp			/* the C library's dlsym; aligns the stack too */
	.cfi_adjust_cfa_offset 8
	movq	24(%rsp), %rdx			/* who calls */
	movq	%rsp, %rcx
	call	host_dlsym_asked
	popq	%r11
	.cfi_adjust_cfa_offset -8
	popq	%rsi
	.cfi_adjust_cfa_offset -8
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	testq	%rax, %rax
	jnz	1f
	jmp	*%r11
1:	ret
	.cfi_endproc
	.size	dlsym, .-dlsym
