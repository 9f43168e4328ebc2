/* The bytes of the library with the faulty constructor, for trap_faults.c to load from a memory file. */
	.section .note.GNU-stack, "", %progbits
	.section .rodata
	.balign 16
	.globl	faulty_library, faulty_library_end
	.hidden	faulty_library
	.hidden	faulty_library_end
faulty_library:
	.incbin FAULTY_LIBRARY
faulty_library_end:
	.byte	0
