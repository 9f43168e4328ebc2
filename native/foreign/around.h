/*
 * around.h: ways past a protection: other threads and processes, signal handlers, the kernel, and calls that take the
 * protection away. More of foreign.h, and under the same rules: each function does what its comment says, and nothing
 * of Turnkey's is used. Results below 0 are negative errnos.
 */
#ifndef TURNKEY_FOREIGN_AROUND_H
#define TURNKEY_FOREIGN_AROUND_H

#include "foreign.h"

/* ---- processes.c: threads and processes that outlive a call, or share its memory ----------------------------- */

FOREIGN_API int foreign_thread_park(uint64_t address, uint64_t value); /* starts a thread that waits; one at a time */
FOREIGN_API int foreign_thread_unpark(int wait_ms); /* lets it write; 1 when it has, 0 when it has not after wait_ms */
FOREIGN_API int foreign_vfork_write(uint64_t address,
                                    uint64_t value); /* a child that shares the memory writes; its wait status */
FOREIGN_API int foreign_daemon(void);                /* daemon(3): the caller's process exits, a child goes on */
FOREIGN_API int foreign_fork_write_shared(
    uint64_t address, uint64_t value); /* an ordinary child writes through memory it shares; its wait status */
FOREIGN_API int foreign_thread_exit_clears(
    uint64_t address); /* a thread whose exit makes the kernel store 0 (4 bytes) at address */

/* ---- handlers.c: signal handlers of the callee's ------------------------------------------------------------- */

/* Its handler for SIGUSR1 stores `value`; the signal comes after delay_ms, and the call returns after wait_ms: before
 * or after it. */
FOREIGN_API int foreign_handler_writes(uint64_t address, uint64_t value, int delay_ms, int wait_ms);
FOREIGN_API int foreign_handler_ran(void); /* how often */
/* Asks whether an address may be written, by trying: own SIGSEGV handler, store of what is there, siglongjmp, old
 * handler back. 1 or 0. */
FOREIGN_API int foreign_may_write(uint64_t address);
FOREIGN_API int foreign_exit_on(int signal); /* own handler that calls _exit(3), as crash reporters do */
FOREIGN_API int foreign_skip_on(int signal); /* own handler that steps over the faulting store and goes on: 3 bytes */
FOREIGN_API void foreign_store3(uint64_t address, uint64_t value);     /* a store of 8 bytes by an instruction of 3 */
FOREIGN_API int foreign_altstack_at(uint64_t address, uint64_t bytes); /* sigaltstack(2) to there */
FOREIGN_API int foreign_altstack_gone(void);                           /* the same to memory that is unmapped at once */

/* A VM's heartbeat: a signal to the calling thread each interval_ms, whose handler adds 1 to the 64-bit word at
 * `address`. `enter` and `leave` are the addresses of trap_signal_enter and trap_signal_leave, or both 0. Stop returns
 * how many there were. */
FOREIGN_API int foreign_heartbeat_start(uint64_t enter, uint64_t leave, uint64_t address, int interval_ms);
FOREIGN_API int foreign_heartbeat_stop(void);

/* ---- remote.c: the kernel and second mappings ---------------------------------------------------------------- */

FOREIGN_API int64_t foreign_stat_into(uint64_t address); /* fstat(2) of /dev/null: 144 bytes */
FOREIGN_API int64_t foreign_getrandom_into(uint64_t address, uint64_t bytes);
FOREIGN_API int64_t foreign_pipe_into(uint64_t address);  /* pipe2(2): two descriptors */
FOREIGN_API int64_t foreign_clock_into(uint64_t address); /* clock_gettime(3), through the vDSO */
FOREIGN_API int64_t
foreign_userfault_fill(uint64_t page); /* drops the page and resolves its fault with 0x41s: UFFDIO_COPY */
/* ptrace(2) from one child to another, which shares this process's memory (CLONE_VM) and stands for it: POKEDATA. */
FOREIGN_API int64_t foreign_ptrace_sibling_write(uint64_t address, uint64_t value);
/* Puts a page's contents into shared memory, maps that over the page and once more somewhere else; that other address,
 * or a negative errno. */
FOREIGN_API int64_t foreign_alias(uint64_t page);

/* ---- uring.c: io_uring(7). Bytes of 0x41 read, or a negative errno --------------------------------------------- */

FOREIGN_API int64_t foreign_uring_open(int polled);   /* a ring; polled: with a kernel thread of its own, made now */
FOREIGN_API int64_t foreign_uring_start_worker(void); /* a worker of the kernel's, made now, which waits for more */
FOREIGN_API int64_t foreign_uring_register(uint64_t address, uint64_t bytes);        /* as buffer 0 of the ring */
FOREIGN_API int64_t foreign_uring_read_into(uint64_t address, uint64_t bytes);       /* in a worker, or by the poller */
FOREIGN_API int64_t foreign_uring_read_inline(uint64_t address, uint64_t bytes);     /* in the call itself */
FOREIGN_API int64_t foreign_uring_read_registered(uint64_t address, uint64_t bytes); /* into buffer 0 */
/* By the poller, without any system call. */
FOREIGN_API int64_t foreign_uring_read_silently(uint64_t address, uint64_t bytes, int wait_ms);

/* ---- honest_linux.c: a correct library --------------------------------------------------------------------------- */

/* A hash of the bytes, by threads over memory of its own; 0 where the system does not do what it should. */
FOREIGN_API uint64_t foreign_hash_by_threads(const uint8_t *bytes, uint64_t count);

/* ---- hostile.c: what a callee does that means it -------------------------------------------------------------- */

/* Each opens the image, or has somebody write it, and stores at address. What it takes of the VM's code is found in
 * the modules that are loaded. -ENOENT where there is none such, -ENOSYS without keys. */
FOREIGN_API int64_t foreign_hostile_pkey_set(uint64_t address, uint64_t value); /* the C library's, for every key */
FOREIGN_API int64_t foreign_hostile_gate(uint64_t address, uint64_t value);     /* the VM's own WRPKRU, jumped to */
FOREIGN_API int64_t foreign_hostile_call(uint64_t address, uint64_t value);     /* the VM's own SYSCALL, jumped to */
FOREIGN_API int64_t foreign_hostile_return(uint64_t address, uint64_t value);   /* the VM's own return from a signal */
FOREIGN_API int64_t foreign_hostile_write(int file, uint64_t address, uint64_t value); /* pwrite(2) to a descriptor */
FOREIGN_API int64_t foreign_hostile_program(const char *path, const char *flag, const char *text); /* wait status */
/* Writes a jump over the first bytes of a function of the VM's, whose next call stores at address. */
FOREIGN_API int64_t foreign_hostile_patch(const char *function, uint64_t address);

/* ---- undo.c: taking the protection away ---------------------------------------------------------------------- */

FOREIGN_API int64_t foreign_move_away(uint64_t address,
                                      uint64_t bytes); /* mremap(2) to another address: a hole stays */
FOREIGN_API int64_t foreign_swap_in(uint64_t address,
                                    uint64_t bytes);  /* mremap(2) of fresh memory, full of 0x41, over it */
FOREIGN_API int64_t foreign_free_all_keys(void);      /* pkey_free(1..15); then takes all there are, open. How many */
FOREIGN_API int64_t foreign_key_of_its_own(void);     /* pkey_alloc, pkey_set for itself only; the key */
FOREIGN_API int64_t foreign_xrstor(uint32_t pkru);    /* XRSTOR of the PKRU component; -ENOSYS without keys */
FOREIGN_API int64_t foreign_sigreturn(uint32_t pkru); /* a handler that edits PKRU in its frame; -ENOSYS without keys */
/* One of these, and a store, in one call. */
FOREIGN_API int64_t foreign_mprotect_open_write(uint64_t page, uint64_t address, uint64_t value);
FOREIGN_API int64_t foreign_pkey_untag_write(uint64_t page, uint64_t address, uint64_t value);
FOREIGN_API int64_t foreign_free_all_keys_write(uint64_t address, uint64_t value);
FOREIGN_API int64_t foreign_key_of_its_own_write(uint64_t address, uint64_t value);
FOREIGN_API int64_t foreign_wrpkru_write(uint32_t pkru, uint64_t address, uint64_t value);
FOREIGN_API int64_t foreign_xrstor_write(uint32_t pkru, uint64_t address, uint64_t value);
FOREIGN_API int64_t foreign_sigreturn_write(uint32_t pkru, uint64_t address, uint64_t value);
/* Makes the entry of `symbol` in a loaded module's global offset table point to a new function. That stores 8 bytes at
 * address (once), and goes on to the old one. 1 or -ENOENT. */
FOREIGN_API int64_t foreign_redirect(const char *module, const char *symbol, uint64_t address);
FOREIGN_API int foreign_redirected_calls(void);

#endif
