/*
 * layout_x86_64.h: the part of layout.h that is System V x86-64's own. Only #defines: the .S files include it.
 */
#define SLOT_SIZE 0x2000

/* struct trap_frame, 128 bytes; all offsets below 128 so that they are one byte in the gate's CFI. */
#define FRAME_SIZE 128
#define F_SP 0
#define F_RBX 8
#define F_RBP 16
#define F_R12 24
#define F_R13 32
#define F_R14 40
#define F_R15 48
#define F_MXCSR 56
#define F_FCW 60
#define F_ENTRY 64
#define F_FSP 72
#define F_FLAGS 88
/* The two words of a slot that the fast gate needs lie in the tail of its first frame. */
#define T_STATE 112
#define T_FSP 120
/* Where the thread's selector byte can be written (filter.h), 0 while its calls are not dispatched; in the tail of the
 * second frame. */
#define T_SELECTOR 240

/* struct trap_slot: the seat's word follows the frames; its low half is this thread's `keep`. */
#define T_KEEP (NESTING_COUNT * FRAME_SIZE)

/* struct trap_shared. */
#define S_AVX 4

#define THUNK_CODE_BYTES 16

/* What a callback thunk has on the foreign stack when it calls C: from the stack pointer that it was entered with. */
#define CALLBACK_SAVE_BYTES 216

/* Measurement only (model.c): GATE's `keys` for the model, the steps of its longest delay, bytes and cycles of one. */
#define KEYS_MODEL 2
#define MODEL_STEPS 512
#define MODEL_STEP_BYTES 3
#define MODEL_STEP_CYCLES 3
