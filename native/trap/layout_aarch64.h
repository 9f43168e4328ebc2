/*
 * layout_aarch64.h: the part of layout.h that is AAPCS64's own. Only #defines: the .S files include it.
 */
#define SLOT_SIZE 0x4000

/* struct trap_frame, 240 bytes. */
#define FRAME_SIZE 240
#define F_SP 0
#define F_X19 8 /* to x28, then x29 and x30 */
#define F_X29 88
#define F_X30 96
#define F_D8 104 /* to d15 */
#define F_FPCR 168
#define F_FPSR 172
#define F_ENTRY 176
#define F_FSP 184
#define F_FLAGS 200
/* The two words of a slot that the fast gate needs lie in the tail of its first frame. */
#define T_STATE 224
#define T_FSP 232

/* struct trap_shared. */
#define S_OPEN 8
#define S_SME 16

#define THUNK_CODE_BYTES 32

/* What a callback thunk has on the foreign stack when it calls C: from the stack pointer that it was entered with. */
#define CALLBACK_SAVE_BYTES 224
