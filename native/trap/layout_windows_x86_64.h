/*
 * layout_windows_x86_64.h: the part of layout.h that is the Windows x64 gate's own. Only #defines: the .S files include
 * it.
 */
#define SLOT_SIZE 0x2000

/* struct trap_frame. The gate keeps its caller's registers on the VM's stack (F_SP); the frame holds the bounds of that
 * stack, as the TEB had them. */
#define FRAME_SIZE 112
#define F_SP 0
#define F_STACK_BASE 8
#define F_STACK_LIMIT 16
#define F_DEALLOCATION 24
#define F_EXCEPTION_LIST 32
#define F_MXCSR 40
#define F_FCW 44
#define F_ENTRY 48
#define F_FSP 56
#define F_FLAGS 72
#define F_STACK_LOW 80
#define F_STACK_HIGH 88
#define T_STATE 96
#define T_FSP 104

/* struct trap_shared. */
#define S_AVX 4

#define THUNK_CODE_BYTES 16

/* What a callback thunk has on the foreign stack when it calls C: from the stack pointer that it gives to
 * trap_callback_enter. */
#define CALLBACK_SAVE_BYTES 240

/*
 * The low end of a foreign stack: a page that is never given access, then the guard. The system needs room there to
 * report an overflow: what SetThreadStackGuarantee asked for, in PAGE_GUARD pages, one more than that. StackLimit is
 * just above.
 */
#define STACK_GUARANTEE 0x10000
#define STACK_GUARD_PAGES_BYTES 0x11000
#define STACK_RESERVED 0x12000
