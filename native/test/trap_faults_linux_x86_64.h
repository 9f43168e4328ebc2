/* trap_faults_linux_x86_64.h: what each callee of trap_faults.c raises on Linux on x86-64, and the callees that only
 * this machine has (trap_probe_x86_64.S). */
void bad_df(void), bad_ac(void), bad_ac_misaligned(void), bad_nt(void), bad_tf(void), bad_flags(void),
    bad_x87_full(void), bad_x87_pending(void), bad_control_words(void), bad_sse_exception(void),
    bad_misaligned_sse(void), bad_illegal(void), bad_privileged(void), bad_int3(void), bad_return_to_garbage(void),
    bad_return_to_data(void), bad_everything(void), bad_null_stack(void);

#define NON_CANONICAL 0x8000414141414141u
ON_PURPOSE static void reads_non_canonical(void) { (void)*(volatile char *)(NON_CANONICAL + zero); }
ON_PURPOSE static void calls_non_canonical(void) { ((void (*)(void))(NON_CANONICAL + zero))(); }
#define KERNEL_ADDRESS 0xffffffff81000000u
ON_PURPOSE static void writes_kernel(void) { *(volatile char *)(KERNEL_ADDRESS + zero) = 1; }
ON_PURPOSE static void raises_fpe(void) {
  feenableexcept(FE_DIVBYZERO);
  volatile double nought = 0;
  volatile double result = 1 / nought;
  (void)result;
}

#define SI_KERNEL_ 0x80
static const struct expected table[] = {
    {"null read", reads_null, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_READ, 8, 0, 0},
    {"null write", writes_null, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_WRITE, 16, 0, 0},
    {"null call", calls_null, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_EXECUTE, 0, 0, 0},
    {"wild read", reads_wild, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_READ, WILD, 0, 0},
    {"wild write", writes_wild, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_WRITE, WILD, 0, 0},
    {"wild call", calls_wild, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_EXECUTE, WILD, 0, 0},
    {"non-canonical read", reads_non_canonical, SIGSEGV, SI_KERNEL_, 13, TRAP_ACCESS_UNKNOWN, 0, 0, 0},
    {"non-canonical call", calls_non_canonical, SIGSEGV, SI_KERNEL_, 13, TRAP_ACCESS_UNKNOWN, 0, 0, 0},
    {"kernel write", writes_kernel, SIGSEGV, ANY, 14, TRAP_ACCESS_WRITE, KERNEL_ADDRESS, 0, 0},
    {"call of data", calls_data, SIGSEGV, SEGV_ACCERR, 14, TRAP_ACCESS_EXECUTE, 1, 0, 0},
    {"write of a constant", writes_constant, SIGSEGV, SEGV_ACCERR, 14, TRAP_ACCESS_WRITE, 1, 0, 0},
    {"return to garbage", bad_return_to_garbage, SIGSEGV, SI_KERNEL_, 13, TRAP_ACCESS_UNKNOWN, 0, 0, 0},
    {"return to data", bad_return_to_data, SIGSEGV, SEGV_ACCERR, 14, TRAP_ACCESS_EXECUTE, 1, 0, 0},
    {"every register garbage", bad_everything, ANY, SI_KERNEL_, ANY /* 12 and SIGBUS; under QEMU 13 and SIGSEGV */,
     TRAP_ACCESS_UNKNOWN, 0, 0, 0},
    {"stack pointer zero", bad_null_stack, SIGSEGV, ANY, 14, TRAP_ACCESS_WRITE, 0xfffffffffffffff8u, 0, 0},
    {"division by zero", divides, SIGFPE, FPE_INTDIV, 0, TRAP_ACCESS_UNKNOWN, 1, 0, 0},
    {"division overflow", overflows_division, SIGFPE, FPE_INTDIV, 0, TRAP_ACCESS_UNKNOWN, 1, 0, 0},
    {"SSE exception", bad_sse_exception, SIGFPE, FPE_FLTDIV, 19, TRAP_ACCESS_UNKNOWN, 1, 0, NOT_EMULATED},
    {"feenableexcept", raises_fpe, SIGFPE, FPE_FLTDIV, 19, TRAP_ACCESS_UNKNOWN, 1, 0, NOT_EMULATED},
    {"illegal instruction", bad_illegal, SIGILL, ILL_ILLOPN, 6, TRAP_ACCESS_UNKNOWN, 1, 0, 0},
    {"privileged instruction", bad_privileged, SIGSEGV, SI_KERNEL_, 13, TRAP_ACCESS_UNKNOWN, 0, 0, 0},
    {"breakpoint", bad_int3, SIGTRAP, SI_KERNEL_, 3, TRAP_ACCESS_UNKNOWN, 0, 0, 0},
    {"misaligned SSE", bad_misaligned_sse, SIGSEGV, SI_KERNEL_, 13, TRAP_ACCESS_UNKNOWN, 0, 0, 0},
    {"direction flag", bad_df, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_WRITE, 0, 0, 0},
    {"alignment check flag", bad_ac, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_WRITE, 0, 0, 0},
    {"misaligned with AC", bad_ac_misaligned, SIGBUS, BUS_ADRALN, 17, TRAP_ACCESS_UNKNOWN, 1, 0, NOT_EMULATED},
    {"nested task flag", bad_nt, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_WRITE, 0, 0, 0},
    {"trap flag", bad_tf, SIGTRAP, TRAP_TRACE, 1, TRAP_ACCESS_UNKNOWN, 1, 0, 0},
    {"all flags", bad_flags, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_WRITE, 0, 0, 0},
    {"full x87 stack", bad_x87_full, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_WRITE, 0, 0, 0},
    {"pending x87 exception", bad_x87_pending, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_WRITE, 0, 0, 0},
    {"changed control words", bad_control_words, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_WRITE, 0, 0, 0},
    {"stack overflow", overflows_stack, SIGSEGV, ANY, 14, TRAP_ACCESS_WRITE, 1, TRAP_FAULT_STACK_OVERFLOW, 0},
    {"stack overflow, wide frames", overflows_stack_widely, SIGSEGV, ANY, 14, TRAP_ACCESS_WRITE, 1,
     TRAP_FAULT_STACK_OVERFLOW, NO_OWN_STACK},
    {"smashes all above", smashes_upwards, SIGSEGV, ANY, 14, TRAP_ACCESS_WRITE, 1, 0, NO_OWN_STACK},
    {"smashes its caller", smashes_some, SIGSEGV, SI_KERNEL_, 13, TRAP_ACCESS_UNKNOWN, 0, 0, NO_OWN_STACK},
    {"truncated file", writes_truncated, SIGBUS, BUS_ADRERR, 14, TRAP_ACCESS_WRITE, 1, 0, 0},
    {"abort", aborts, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT, 0},
    {"abort with SIGABRT blocked", aborts_blocked, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT, 0},
    {"assert", asserts, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT, 0},
    {"stack protector", stack_protector, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT, 0},
    {"fortify", fortify, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT, 0},
    {"C++ throw", throws, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT | TRAP_FAULT_UNWIND, 0},
    {"signals blocked", faults_with_signals_blocked, SIGSEGV, SEGV_MAPERR, 14, TRAP_ACCESS_WRITE, 16, 0, 0},
    /* The thread is marked as exiting afterwards: each on a thread of its own. */
    {"pthread_exit", exits_thread, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT | TRAP_FAULT_UNWIND,
     ON_THREAD},
    {"pthread_cancel", cancels_itself, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0,
     TRAP_FAULT_ABORT | TRAP_FAULT_UNWIND, ON_THREAD},
};

#define THREAD_FAULTS writes_null, divides, bad_illegal, bad_flags, bad_return_to_garbage
