/*
 * trap_probe_aarch64.S: a caller and a callee that see every register that AAPCS64 names, for the gate's tests; and
 * callees that fault in a state, or by an instruction, that compiled code seldom has. Offsets: struct probe in
 * trap_machine_aarch64.h.
 */
	.arch	armv8.3-a+lse
	.section .note.GNU-stack, "", %progbits
	.bss
	.balign 64
	.globl	probe_seen
	.hidden	probe_seen
probe_seen:
	.zero	640
probe_sp:
	.zero	16

	.text
	.macro	FUNCTION name
	.balign 16
	.globl	\name
	.hidden	\name
	.type	\name, %function
\name:
	.endm

	/* PROBE_SAVED(number - 1) */
	.macro	PATTERN register, number
	movz	\register, #(0x1111*\number) & 0xffff
	movk	\register, #(0x1111*\number) >> 16, lsl #16
	movk	\register, #0x5a5a, lsl #48
	.endm
	.macro	EACH_PAIR operation, base, offset
	\operation	x19, x20, [\base, #\offset]
	\operation	x21, x22, [\base, #\offset+16]
	\operation	x23, x24, [\base, #\offset+32]
	\operation	x25, x26, [\base, #\offset+48]
	\operation	x27, x28, [\base, #\offset+64]
	.endm
	.macro	EACH_VECTOR operation, base, offset
	\operation	d8, d9, [\base, #\offset]
	\operation	d10, d11, [\base, #\offset+16]
	\operation	d12, d13, [\base, #\offset+32]
	\operation	d14, d15, [\base, #\offset+48]
	.endm

/* void probe_call(void *code, struct probe *in) */
	FUNCTION probe_call
	.cfi_startproc
	stp	x29, x30, [sp, #-176]!
	.cfi_def_cfa_offset 176
	.cfi_offset x29, -176
	.cfi_offset x30, -168
	EACH_PAIR stp, sp, 16
	EACH_VECTOR stp, sp, 96
	str	x1, [sp, #160]
	mov	x17, x0
	mov	x16, x1
	sub	sp, sp, #128
	.cfi_adjust_cfa_offset 128
	mov	x9, #128
1:	sub	x9, x9, #8
	add	x10, x16, x9
	ldr	x10, [x10, #208]
	str	x10, [sp, x9]
	cbnz	x9, 1b
	adrp	x9, probe_sp
	mov	x10, sp
	str	x10, [x9, #:lo12:probe_sp]
	ldp	q0, q1, [x16, #80]
	ldp	q2, q3, [x16, #112]
	ldp	q4, q5, [x16, #144]
	ldp	q6, q7, [x16, #176]
	ldp	x0, x1, [x16, #0]
	ldp	x2, x3, [x16, #16]
	ldp	x4, x5, [x16, #32]
	ldp	x6, x7, [x16, #48]
	ldr	x8, [x16, #64]
	PATTERN x19, 1
	PATTERN x20, 2
	PATTERN x21, 3
	PATTERN x22, 4
	PATTERN x23, 5
	PATTERN x24, 6
	PATTERN x25, 7
	PATTERN x26, 8
	PATTERN x27, 9
	PATTERN x28, 10
	PATTERN x29, 11
	PATTERN x9, 12
	fmov	d8, x9
	PATTERN x9, 13
	fmov	d9, x9
	PATTERN x9, 14
	fmov	d10, x9
	PATTERN x9, 15
	fmov	d11, x9
	PATTERN x9, 16
	fmov	d12, x9
	PATTERN x9, 17
	fmov	d13, x9
	PATTERN x9, 18
	fmov	d14, x9
	PATTERN x9, 19
	fmov	d15, x9
	blr	x17
	adrp	x9, probe_sp
	ldr	x9, [x9, #:lo12:probe_sp]
	mov	x10, sp
	sub	x10, x10, x9
	mov	sp, x9
	ldr	x16, [sp, #128+160]
	str	x10, [x16, #576]
	stp	x0, x1, [x16, #336]
	stp	q0, q1, [x16, #352]
	stp	q2, q3, [x16, #384]
	EACH_PAIR stp, x16, 416
	str	x29, [x16, #496]
	add	x10, x16, #504
	EACH_VECTOR stp, x10, 0
	mrs	x9, fpcr
	str	w9, [x16, #584]
	mrs	x9, fpsr
	str	w9, [x16, #588]
	str	x18, [x16, #592]
	add	sp, sp, #128
	.cfi_adjust_cfa_offset -128
	EACH_PAIR ldp, sp, 16
	EACH_VECTOR ldp, sp, 96
	ldp	x29, x30, [sp], #176
	.cfi_adjust_cfa_offset -176
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc

	.macro	RECORD
	adrp	x16, probe_seen
	add	x16, x16, #:lo12:probe_seen
	stp	x0, x1, [x16, #0]
	stp	x2, x3, [x16, #16]
	stp	x4, x5, [x16, #32]
	stp	x6, x7, [x16, #48]
	str	x8, [x16, #64]
	stp	q0, q1, [x16, #80]
	stp	q2, q3, [x16, #112]
	stp	q4, q5, [x16, #144]
	stp	q6, q7, [x16, #176]
	mov	x9, sp
	and	x9, x9, #15
	str	x9, [x16, #600]
	mrs	x9, fpcr
	str	w9, [x16, #584]
	mrs	x9, fpsr
	str	w9, [x16, #588]
	str	x18, [x16, #592]
	ldr	x9, [x16, #568]
	cbz	x9, 2f
1:	sub	x9, x9, #1
	ldr	x10, [sp, x9, lsl #3]
	add	x11, x16, x9, lsl #3
	str	x10, [x11, #208]
	cbnz	x9, 1b
2:
	.endm
	.macro	ANSWER
	mov	x2, #-3
	mov	x3, #-4
	mov	x4, #-5
	mov	x5, #-6
	mov	x6, #-7
	mov	x7, #-8
	mov	x8, #-9
	mov	x9, #-10
	mov	x10, #-11
	mov	x11, #-12
	mov	x12, #-13
	mov	x13, #-14
	mov	x14, #-15
	mov	x15, #-16
	mov	x17, #-17
	movi	v4.16b, #255
	movi	v5.16b, #255
	movi	v6.16b, #255
	movi	v7.16b, #255
	movi	v16.16b, #255
	movi	v31.16b, #255
	ldp	q0, q1, [x16, #352]
	ldp	q2, q3, [x16, #384]
	ldp	x0, x1, [x16, #336]
	mov	x16, #-18
	ret
	.endm

	FUNCTION probe_callee
	.cfi_startproc
	RECORD
	mov	x19, #-1
	mov	x20, #-20
	mov	x21, #-21
	mov	x22, #-22
	mov	x23, #-23
	mov	x24, #-24
	mov	x25, #-25
	mov	x26, #-26
	mov	x27, #-27
	mov	x28, #-28
	mov	x29, #-29
	movi	v8.16b, #8
	movi	v9.16b, #9
	movi	v10.16b, #10
	movi	v11.16b, #11
	movi	v12.16b, #12
	movi	v13.16b, #13
	movi	v14.16b, #14
	movi	v15.16b, #15
	ANSWER
	.cfi_endproc
/* The same, but keeps the registers that a function must keep: a VM's function, called back. */
	FUNCTION probe_polite
	.cfi_startproc
	RECORD
	ANSWER
	.cfi_endproc

/* ---- callees that fault in a bad state ---- */

	FUNCTION bad_illegal
	udf	#0
	ret
	FUNCTION bad_privileged
	mrs	x0, ttbr0_el1
	ret
	FUNCTION bad_breakpoint
	brk	#0
	ret
	FUNCTION bad_return_to_garbage
	movz	x30, #0x4140
	movk	x30, #0x4141, lsl #16
	movk	x30, #0x4141, lsl #32
	ret
	FUNCTION bad_return_misaligned
	add	x30, x30, #2
	ret
	FUNCTION bad_return_to_data
	adrp	x30, probe_seen
	add	x30, x30, #:lo12:probe_seen
	ret
	/* Rounding to nothing, flush to zero, default NaN; every exception and saturation seen. */
	FUNCTION bad_control_words
	mov	x9, #0x3c00000
	msr	fpcr, x9
	mov	x9, #0x9f
	movk	x9, #0x800, lsl #16
	msr	fpsr, x9
	mov	x9, #0
	str	wzr, [x9]
	ret
	/* Every register is garbage at the fault, the stack pointer too. */
	FUNCTION bad_everything
	movz	x0, #0x4240
	movk	x0, #0x4242, lsl #16
	movk	x0, #0x4242, lsl #32
	mov	x1, x0
	mov	x2, x0
	mov	x3, x0
	mov	x4, x0
	mov	x5, x0
	mov	x6, x0
	mov	x7, x0
	mov	x8, x0
	mov	x9, x0
	mov	x10, x0
	mov	x11, x0
	mov	x12, x0
	mov	x13, x0
	mov	x14, x0
	mov	x15, x0
	mov	x16, x0
	mov	x17, x0
	mov	x19, x0
	mov	x20, x0
	mov	x21, x0
	mov	x22, x0
	mov	x23, x0
	mov	x24, x0
	mov	x25, x0
	mov	x26, x0
	mov	x27, x0
	mov	x28, x0
	mov	x29, x0
	mov	x30, x0
	dup	v0.2d, x0
	dup	v1.2d, x0
	dup	v2.2d, x0
	dup	v3.2d, x0
	dup	v4.2d, x0
	dup	v5.2d, x0
	dup	v6.2d, x0
	dup	v7.2d, x0
	dup	v8.2d, x0
	dup	v9.2d, x0
	dup	v10.2d, x0
	dup	v11.2d, x0
	dup	v12.2d, x0
	dup	v13.2d, x0
	dup	v14.2d, x0
	dup	v15.2d, x0
	dup	v16.2d, x0
	dup	v17.2d, x0
	dup	v18.2d, x0
	dup	v19.2d, x0
	dup	v20.2d, x0
	dup	v21.2d, x0
	dup	v22.2d, x0
	dup	v23.2d, x0
	dup	v24.2d, x0
	dup	v25.2d, x0
	dup	v26.2d, x0
	dup	v27.2d, x0
	dup	v28.2d, x0
	dup	v29.2d, x0
	dup	v30.2d, x0
	dup	v31.2d, x0
	mov	sp, x0
	ldr	x0, [sp]
	ret
	/* The stack pointer is 0: nothing can be pushed. */
	FUNCTION bad_null_stack
	mov	x0, #0
	mov	sp, x0
	str	x0, [sp, #-16]!
	ret

/* ---- loads and stores of every kind, at address 64: what they do is decoded where the kernel does not tell ---- */

	.macro	AT_64 name, first, rest:vararg
	FUNCTION \name
	mov	x9, #64
	mov	x10, #0
	mov	x11, #0
	\first	\rest
	ret
	.endm
	AT_64	bad_ldr_pair, ldp, x0, x1, [x9]
	AT_64	bad_str_pair, stp, x0, x1, [x9]
	AT_64	bad_ldr_vector, ldr, q0, [x9]
	AT_64	bad_str_vector, str, q0, [x9, x10]
	AT_64	bad_ldr_signed, ldrsh, x0, [x9], #2
	AT_64	bad_str_post, strb, w0, [x9], #1
	AT_64	bad_ld1, ld1, {v0.16b, v1.16b}, [x9]
	AT_64	bad_st1, st1, {v0.s}[1], [x9]
	AT_64	bad_ldxr, ldxr, x0, [x9]
	AT_64	bad_ldar, ldar, w0, [x9]
	AT_64	bad_stlr, stlr, w0, [x9]
	AT_64	bad_ldapr, ldapr, x0, [x9]
	AT_64	bad_ldadd, ldadd, x10, x0, [x9]
	AT_64	bad_swap, swpal, w10, w0, [x9]
	AT_64	bad_cas, cas, x10, x11, [x9]
	AT_64	bad_casp, casp, x10, x11, x12, x13, [x9]
	AT_64	bad_zero_cache_line, dc, zva, x9

/* In streaming mode, with ZA on: smstart (SMSTART of SME). */
	FUNCTION bad_streaming
	.inst	0xd503477f
	mov	x9, #64
	str	xzr, [x9]
	ret
/* SVCR: bit 0 streaming mode, bit 1 ZA. */
	FUNCTION streaming_state
	mrs	x0, S3_3_C4_C2_2
	ret
	/* Returns with more popped than pushed: aligned, and not. */
	FUNCTION bad_pop
	add	sp, sp, #16
	ret
	FUNCTION bad_pop_misaligned
	add	sp, sp, #8
	ret
