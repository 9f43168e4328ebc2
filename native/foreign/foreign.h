/*
 * foreign.h: the faulty and the well-behaved foreign functions that experiments and tests call.
 *
 * Everything here does exactly the damage (or the work) that its comment says. Nothing of Turnkey's is used: to this
 * library the VM is a stranger, as it is to any C library. Addresses come in as uint64_t where a caller wants to pass a
 * wild number.
 */
#ifndef TURNKEY_FOREIGN_H
#define TURNKEY_FOREIGN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef _WIN32
#define FOREIGN_API /* a DLL exports everything where nothing is said */
#else
#define FOREIGN_API __attribute__((visibility("default")))
#endif

/* ---- writes.c: stray stores and loads. All take the address as a number. ------------------------------------- */

FOREIGN_API void foreign_write8(uint64_t address, uint8_t value);
FOREIGN_API void foreign_write32(uint64_t address, uint32_t value);
FOREIGN_API void foreign_write64(uint64_t address, uint64_t value);
FOREIGN_API uint64_t foreign_read64(uint64_t address);
FOREIGN_API void foreign_write128(uint64_t address, uint64_t value);          /* one movups, both halves = value */
FOREIGN_API void foreign_write_nontemporal(uint64_t address, uint64_t value); /* movnti, sfence */
FOREIGN_API void foreign_write_rep(uint64_t address, uint8_t value, uint64_t bytes); /* rep stosb */
FOREIGN_API uint64_t foreign_atomic_add(uint64_t address, uint64_t value);           /* lock xadd; the old value */
FOREIGN_API uint64_t foreign_atomic_cas(uint64_t address, uint64_t expected, uint64_t value);
/* Stores byte after byte upwards from `start`, as an unchecked copy loop does. Returns how many. */
FOREIGN_API uint64_t foreign_overflow(uint8_t *start, uint64_t bytes, uint8_t value);
FOREIGN_API void foreign_memcpy(uint8_t *destination, const uint8_t *source, uint64_t bytes);
FOREIGN_API void foreign_strcpy(char *destination, const char *source);
FOREIGN_API int foreign_sprintf(char *destination, const char *text, int number);
/* Keeps a pointer beyond the call, the classic mistake; later writes through it. scribble returns 0 when nothing was
 * kept. */
FOREIGN_API void foreign_keep(void *pointer);
FOREIGN_API void *foreign_kept(void);
FOREIGN_API int foreign_scribble(uint8_t value, uint64_t bytes);

/* ---- faults.c: one processor exception each ------------------------------------------------------------------ */

FOREIGN_API uint64_t foreign_null_read(void);
FOREIGN_API void foreign_null_write(void);
FOREIGN_API void foreign_noncanonical_read(void);
FOREIGN_API void foreign_noncanonical_write(void);
FOREIGN_API void foreign_jump(uint64_t address);           /* jmp, no return address pushed */
FOREIGN_API int foreign_call(uint64_t address);            /* call through a wild function pointer */
FOREIGN_API void foreign_return_to(uint64_t address);      /* ret to a wild address */
FOREIGN_API int foreign_divide(int dividend, int divisor); /* idiv: SIGFPE for 0 */
FOREIGN_API void foreign_illegal(void);                    /* ud2 */
FOREIGN_API void foreign_breakpoint(void);                 /* int3: SIGTRAP */
FOREIGN_API void foreign_privileged(void);                 /* hlt: general protection */
FOREIGN_API void foreign_misaligned_sse(void);             /* movaps to an odd address: general protection, si_addr 0 */
FOREIGN_API void foreign_bus(void);                        /* past the end of a mapped file: SIGBUS */
FOREIGN_API void foreign_fault_with_df(void);              /* null write with the direction flag set */
FOREIGN_API void foreign_fault_with_ac(void);              /* alignment check set, misaligned load: SIGBUS */
FOREIGN_API void foreign_fault_with_tf(void);              /* trap flag set: SIGTRAP after the next instruction */
FOREIGN_API void foreign_fault_with_full_x87(void);        /* eight values on the x87 stack, then a null write */
FOREIGN_API void foreign_fault_with_bad_control_words(
    void); /* mxcsr and x87 control word unmasked and odd, then a null write */
FOREIGN_API void foreign_abort(void);
FOREIGN_API void foreign_raise(int signal);   /* raise(3) */
FOREIGN_API void foreign_exit(int code);      /* exit(3): runs atexit handlers */
FOREIGN_API void foreign_exit_now(int code);  /* _exit(2) */
FOREIGN_API void foreign_spin(void);          /* never returns */
FOREIGN_API void foreign_sleep_forever(void); /* never returns, blocked in the kernel */

/* ---- stack.c ------------------------------------------------------------------------------------------------- */

FOREIGN_API uint64_t foreign_recurse(uint64_t depth, uint64_t frame_bytes); /* 0 depth: without end */
FOREIGN_API void foreign_smash_own(uint64_t value); /* overwrites its saved rbp and return address, returns */
FOREIGN_API void foreign_smash_caller(uint64_t bytes,
                                      uint8_t value);     /* overwrites `bytes` above its own return address, returns */
FOREIGN_API void foreign_smash_protected(uint64_t bytes); /* overflow of a local found by the stack protector: abort */
FOREIGN_API void foreign_longjmp(void *jump_buffer);      /* longjmp(buffer, 1) */
/* setjmp, then `callback`, which may call foreign_longjmp_back through the VM: over the gate. Returns 1 when it came
 * back by longjmp. */
FOREIGN_API int foreign_setjmp_call(void (*callback)(void));
FOREIGN_API void foreign_longjmp_back(void);

/* ---- allocator.c: recovered aborts leave glibc's arena locked ------------------------------------------------ */

FOREIGN_API void foreign_double_free(void);
FOREIGN_API void foreign_smash_chunk(void);           /* size field of the next chunk overwritten, then freed */
FOREIGN_API void foreign_use_after_free_unlink(void); /* fd/bk of a freed large chunk overwritten, then unlinked */
FOREIGN_API void foreign_free_wild(uint64_t address); /* free() of what was never allocated */

/* ---- callbacks.c --------------------------------------------------------------------------------------------- */

typedef int (*foreign_callback)(int value);
typedef void (*foreign_notify)(void);
FOREIGN_API int foreign_call_back(foreign_callback callback, int value);      /* callback(value) + 1 */
FOREIGN_API int foreign_call_back_many(foreign_callback callback, int count); /* sum of callback(0..count-1) */
FOREIGN_API int foreign_call_back_then_fault(foreign_callback callback, int value);
FOREIGN_API int foreign_call_back_on_thread(foreign_callback callback,
                                            int value); /* from a thread of its own, joined */
FOREIGN_API void foreign_call_back_later(foreign_callback callback, int value,
                                         int delay_ms); /* from a thread, after the call has returned */
FOREIGN_API double foreign_call_back_mixed(double (*callback)(int8_t, uint16_t, float, double, int64_t, const char *,
                                                              double, uint32_t, int64_t, int64_t),
                                           int times);
typedef struct foreign_record {
  int32_t id;
  double weight;
  const char *name;
} foreign_record;
FOREIGN_API int foreign_call_back_wild_string(int (*callback)(const char *text), uint64_t address);
FOREIGN_API int foreign_call_back_record(int (*callback)(const foreign_record *record), uint64_t name_address);
FOREIGN_API void foreign_register(foreign_callback callback); /* keeps a registered callback */
FOREIGN_API int foreign_fire(int value);                      /* calls the kept one; -1 if none */

/* ---- threads.c ----------------------------------------------------------------------------------------------- */

FOREIGN_API int foreign_thread_write_during(uint64_t address,
                                            uint64_t value); /* writes from its own thread, joined before return */
FOREIGN_API int foreign_thread_write_after(uint64_t address, uint64_t value,
                                           int delay_ms); /* returns at once; writes later */
FOREIGN_API int foreign_thread_fault(void);               /* a thread of the callee's own faults at null */
FOREIGN_API void foreign_sleep_ms(int ms);
FOREIGN_API void foreign_sleep_then_write64(int ms, uint64_t address, uint64_t value);
FOREIGN_API int foreign_fork_write(uint64_t address,
                                   uint64_t value);  /* forks; the child writes and exits; its wait status */
FOREIGN_API int foreign_install_handler(int signal); /* installs its own handler (does nothing, returns) */
FOREIGN_API int foreign_reset_handler(int signal);   /* SIG_DFL */
/* Walks its own stack from a signal's handler, `samples` times. Returns how often that led beyond the handler. */
FOREIGN_API int foreign_profiled(int on_alternate_stack, int samples);
/* A write barrier by mprotect and a SIGSEGV handler of the library's own, which hands on what is not its. use returns
 * how many stores it has caught. */
FOREIGN_API int foreign_barrier_begin(void);
FOREIGN_API int foreign_barrier_use(void);
/* First reads from a null pointer, under a SIGSEGV handler of its own that it leaves by siglongjmp. */
FOREIGN_API uint64_t foreign_try_then_read(uint64_t address);
FOREIGN_API void foreign_try_then_write(uint64_t address, uint64_t value);

/* ---- leftovers.c --------------------------------------------------------------------------------------------- */

FOREIGN_API int foreign_block_signals(void); /* all of them, on this thread */
FOREIGN_API uint64_t foreign_blocked_signals(void);
FOREIGN_API int foreign_alarm(int ms); /* SIGALRM, once */
FOREIGN_API int foreign_write_at_fork(uint64_t address, uint64_t value);
/* A destructor of thread-local data: it stores when the calling thread ends. */
FOREIGN_API int foreign_write_at_thread_end(uint64_t address, uint64_t value);
FOREIGN_API int foreign_fork_and_wait(void); /* the child exits at once; its wait status */
FOREIGN_API int foreign_drop_altstack(void); /* SS_DISABLE */

/* ---- kernel.c: the kernel writes on the callee's behalf. Bytes written, or a negative errno. ----------------- */

FOREIGN_API int64_t foreign_read_into(uint64_t address, uint64_t bytes);        /* read(2) of /dev/zero */
FOREIGN_API int64_t foreign_recv_into(uint64_t address, uint64_t bytes);        /* recv(2) on a socket pair */
FOREIGN_API int64_t foreign_getcwd_into(uint64_t address, uint64_t bytes);      /* getcwd(2), the system call */
FOREIGN_API int64_t foreign_fread_into(uint64_t address, uint64_t bytes);       /* fread(3), unbuffered */
FOREIGN_API int64_t foreign_process_vm_write(uint64_t address, uint64_t value); /* process_vm_writev(2) to itself */
FOREIGN_API int64_t foreign_proc_mem_write(uint64_t address, uint64_t value);   /* pwrite(2) to /proc/self/mem */
FOREIGN_API int64_t foreign_ptrace_write(uint64_t address, uint64_t value);     /* a forked child attaches and pokes */
FOREIGN_API int64_t foreign_mprotect_open(uint64_t address, uint64_t bytes);    /* mprotect(RW) */
FOREIGN_API int64_t foreign_pkey_untag(uint64_t address, uint64_t bytes);       /* pkey_mprotect(RW, key 0) */
FOREIGN_API int64_t foreign_seal(uint64_t address, uint64_t bytes); /* mseal(2); -ENOSYS before Linux 6.10 */
FOREIGN_API int64_t foreign_unmap(uint64_t address, uint64_t bytes);
FOREIGN_API int64_t foreign_map_over(uint64_t address, uint64_t bytes); /* MAP_FIXED, anonymous */
FOREIGN_API int64_t foreign_discard(uint64_t address, uint64_t bytes);  /* MADV_DONTNEED */
FOREIGN_API int64_t foreign_pkey_free(int key);
FOREIGN_API int64_t foreign_wrpkru(uint32_t pkru); /* -ENOSYS where the CPU has no keys */

/* ---- honest.c ------------------------------------------------------------------------------------------------ */

FOREIGN_API void foreign_nothing(void);
FOREIGN_API int foreign_add(int a, int b);
FOREIGN_API double foreign_sum_mixed(int8_t a, uint16_t b, int32_t c, int64_t d, float e, double f, uint64_t g,
                                     int32_t h, double i, int64_t j, float k, uint8_t l);
FOREIGN_API double foreign_sum_eight(int8_t a, uint16_t b, int32_t c, int64_t d, float e, double f, uint32_t g,
                                     int32_t h);
FOREIGN_API double foreign_sum_variadic(int count, ...); /* count doubles */
FOREIGN_API double foreign_sum_ten_doubles(double a, double b, double c, double d, double e, double f, double g,
                                           double h, double i, double j);
FOREIGN_API uint64_t foreign_checksum(const uint8_t *bytes, uint64_t count); /* FNV-1a, 64 bits */
FOREIGN_API uint64_t foreign_length(const char *text);                       /* strlen(3) */
FOREIGN_API void foreign_fill(uint8_t *bytes, uint64_t count, uint8_t value);
FOREIGN_API const char *foreign_greeting(void);              /* "hello from abroad" */
FOREIGN_API const char *foreign_string_at(uint64_t address); /* the number as a pointer: wild string results */
FOREIGN_API const uint16_t *foreign_string16_at(uint64_t address);
FOREIGN_API char *foreign_new_string(const char *text); /* malloc'd copy, for disposables */
FOREIGN_API int foreign_set_errno(int value);           /* sets errno, returns it negated */

typedef struct foreign_pair {
  int32_t a;
  int32_t b;
} foreign_pair; /* one integer register */
typedef struct foreign_mix {
  int64_t a;
  double b;
} foreign_mix; /* an integer and a vector register */
typedef struct foreign_point {
  float x;
  float y;
  float z;
} foreign_point; /* two vector registers */
typedef struct foreign_block {
  int64_t a[5];
  double b;
} foreign_block; /* in memory */
typedef struct foreign_named {
  int32_t id;
  const char *name;
  int64_t more[3];
} foreign_named; /* in memory, with a pointer */
FOREIGN_API foreign_pair foreign_make_pair(int32_t a, int32_t b);
FOREIGN_API foreign_mix foreign_make_mix(int64_t a, double b);
FOREIGN_API foreign_point foreign_make_point(float x, float y, float z);
FOREIGN_API foreign_block foreign_make_block(int64_t a, double b);
FOREIGN_API int64_t foreign_take_block(foreign_block block, int64_t add);        /* struct by value on the stack */
FOREIGN_API foreign_block foreign_make_block_then_fault(int64_t a);              /* half filled, then a null write */
FOREIGN_API foreign_named foreign_make_named(int32_t id, uint64_t name_address); /* a wild string in a struct result */
FOREIGN_API int foreign_out_named(foreign_named *out, int32_t id,
                                  uint64_t name_address); /* the same as an out-parameter */
FOREIGN_API int foreign_out_string(const char **out, uint64_t address);
FOREIGN_API int foreign_out_int(int *out, int value);

#ifdef __cplusplus
}
#endif
#endif
