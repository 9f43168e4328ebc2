/*
 * mistakes.h: misuse of C's own functions and conventions, as programmers commit it. Same rules as foreign.h: each does
 * exactly the damage that its comment says.
 */
#ifndef TURNKEY_FOREIGN_MISTAKES_H
#define TURNKEY_FOREIGN_MISTAKES_H

#include "foreign.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- overruns.c: wrong lengths, sizes and types -------------------------------------------------------------- */

/*
 * A stack of C's own, as a coroutine or a thread with a hand-made stack has it. Its pages are [base, base+bytes); its
 * top end is at base+bytes. On it a function with a small local buffer copies `length` bytes of a text with memcpy,
 * strcpy or sprintf: over its own frame, its return address and whatever lies above the stack. Returns the address of
 * that buffer, if it returns.
 */
FOREIGN_API uint64_t foreign_stack_memcpy(uint64_t base, uint64_t bytes, uint64_t length);
FOREIGN_API uint64_t foreign_stack_strcpy(uint64_t base, uint64_t bytes, uint64_t length);
FOREIGN_API uint64_t foreign_stack_sprintf(uint64_t base, uint64_t bytes, uint64_t length);
/*
 * A heap of C's own in [base, base+bytes), as a library with an arena keeps it. Its last block, of `block` bytes, is
 * filled from a text of `length` bytes with memcpy, strcpy or sprintf. Returns the block's address.
 */
FOREIGN_API uint64_t foreign_heap_memcpy(uint64_t base, uint64_t bytes, uint64_t block, uint64_t length);
FOREIGN_API uint64_t foreign_heap_strcpy(uint64_t base, uint64_t bytes, uint64_t block, uint64_t length);
FOREIGN_API uint64_t foreign_heap_sprintf(uint64_t base, uint64_t bytes, uint64_t block, uint64_t length);
/* Pads a field of `room` bytes, of which `used` are used, with blanks: memset's length is the difference, as a size_t.
 */
FOREIGN_API void foreign_pad_field(uint64_t field, int room, int used);
/* localtime_r into the structure at `address`: glibc's struct tm has two fields more than the standard's. */
FOREIGN_API void foreign_local_time(uint64_t address, int64_t when);
/* Fills an array of `count` doubles, 1.0 each. */
FOREIGN_API void foreign_ones(uint64_t array, int count);
/* A caller that was compiled with a prototype of two parameters calls a function of three; the third register holds
 * what an earlier computation left there. */
FOREIGN_API int foreign_call_with_two(int a, int b, uint64_t left_over);

/* ---- moves.c: the instructions that store -------------------------------------------------------------------- */

FOREIGN_API void foreign_copy_rep(uint64_t destination, uint64_t source, uint64_t bytes); /* rep movsb */
FOREIGN_API void foreign_swap(uint64_t address, uint64_t value);                          /* xchg: locked by itself */
FOREIGN_API void foreign_increment(uint64_t address);   /* add $1, (mem): not atomic */
FOREIGN_API void foreign_save_state(uint64_t address);  /* fxsave: 512 bytes; 16-aligned */
FOREIGN_API int foreign_masked_store(uint64_t address); /* vmaskmovps with every lane masked off; -1 without AVX */
FOREIGN_API void foreign_push_on(uint64_t stack_pointer, uint64_t value); /* rsp there, one push, rsp back */
FOREIGN_API int64_t foreign_setjmp_into(uint64_t address);                /* setjmp with its buffer there */

/* ---- pool.c: a library's own allocator in memory that it was lent -------------------------------------------- */

/* A pool of blocks of 64 bytes in [memory, memory+bytes), the free ones linked through their first word. */
FOREIGN_API void foreign_pool_open(void *memory, uint64_t bytes);
FOREIGN_API uint64_t foreign_pool_take(void);       /* a block's address, or 0 */
FOREIGN_API void foreign_pool_give(uint64_t block); /* checks nothing, as most do */
/* The callouts are passed the pool, so that the loan under it is open in them.
 * Stores `value` in the first word of a block given back already, then takes two blocks: the second is wherever the
 * value pointed; fills it with 0x41. */
FOREIGN_API uint64_t foreign_pool_use_after_free(void *pool, uint64_t value, uint64_t fill_bytes);
/* Gives a block back twice, takes it twice, lets the first owner store `value` in its first word, and takes a third:
 * fills that with 0x41. */
FOREIGN_API uint64_t foreign_pool_double_free(void *pool, uint64_t value, uint64_t fill_bytes);

/* ---- host.c: memory that belongs to the host ----------------------------------------------------------------- */

FOREIGN_API uint64_t foreign_global_address(void); /* of a variable of the C library, shared by the whole process */
FOREIGN_API uint64_t
foreign_thread_local_address(void); /* of a variable of this thread; its value is 0x5a5a5a5a5a5a5a5a */
FOREIGN_API uint64_t foreign_thread_local_value(void);
/* Starts a thread with a local variable (0x5a5a5a5a5a5a5a5a) on its stack; returns that variable's address, or 0. end:
 * stops it, and returns what the variable held. */
FOREIGN_API uint64_t foreign_standing_thread(void);
FOREIGN_API uint64_t foreign_standing_thread_end(void);

/* ---- ends.c: ways out of a call ------------------------------------------------------------------------------ */

/* A function whose own frame is overwritten, with `value`, by one that it calls and that was given its local array. */
FOREIGN_API void foreign_smash_by_callee(uint64_t value);
FOREIGN_API void foreign_longjmp_stale(
    void); /* to a setjmp whose function has returned, and whose frame was used again */
FOREIGN_API int foreign_destructor_at(
    uint64_t address); /* libturnkey_foreign_dtor: where its destructor writes when unloaded; 0: nowhere */

#ifdef __cplusplus
}
#endif
#endif
