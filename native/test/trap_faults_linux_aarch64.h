/*
 * trap_faults_linux_aarch64.h: what each callee of trap_faults.c raises on Linux on ARM64, and the callees that only
 * this machine has (trap_probe_aarch64.S). REG_TRAPNO's place holds the exception class where the kernel writes an ESR
 * record; qemu-user writes none, and the access is decoded.
 */
#include <sys/auxv.h>

void bad_illegal(void), bad_privileged(void), bad_breakpoint(void), bad_return_to_garbage(void),
    bad_return_misaligned(void), bad_return_to_data(void), bad_control_words(void), bad_everything(void),
    bad_null_stack(void), bad_streaming(void);
void bad_ldr_pair(void), bad_str_pair(void), bad_ldr_vector(void), bad_str_vector(void), bad_ldr_signed(void),
    bad_str_post(void), bad_ld1(void), bad_st1(void), bad_ldxr(void), bad_ldar(void), bad_stlr(void), bad_ldapr(void),
    bad_ldadd(void), bad_swap(void), bad_cas(void), bad_casp(void), bad_zero_cache_line(void);
uint64_t streaming_state(void);

#define KERNEL_ADDRESS 0xffff800008000000u
ON_PURPOSE static void writes_kernel(void) { *(volatile char *)(KERNEL_ADDRESS + zero) = 1; }

static const struct expected table[] = {
    {"null read", reads_null, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_READ, 8, 0, 0},
    {"null write", writes_null, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 16, 0, 0},
    {"null call", calls_null, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_EXECUTE, 0, 0, 0},
    {"wild read", reads_wild, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_READ, WILD, 0, 0},
    {"wild write", writes_wild, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, WILD, 0, 0},
    {"wild call", calls_wild, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_EXECUTE, WILD, 0, 0},
    {"kernel write", writes_kernel, SIGSEGV, ANY, ANY, TRAP_ACCESS_WRITE, 1, 0, 0},
    {"call of data", calls_data, SIGSEGV, SEGV_ACCERR, ANY, TRAP_ACCESS_EXECUTE, 1, 0, 0},
    {"write of a constant", writes_constant, SIGSEGV, SEGV_ACCERR, ANY, TRAP_ACCESS_WRITE, 1, 0, 0},
    {"return to garbage", bad_return_to_garbage, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_EXECUTE, 0x0000414141414140u, 0,
     0},
    {"return to a misaligned address", bad_return_misaligned, SIGBUS, BUS_ADRALN, ANY, TRAP_ACCESS_UNKNOWN, 1, 0, 0},
    {"return to data", bad_return_to_data, SIGSEGV, SEGV_ACCERR, ANY, TRAP_ACCESS_EXECUTE, 1, 0, 0},
    {"every register garbage", bad_everything, SIGSEGV, ANY, ANY, TRAP_ACCESS_READ, 0x0000424242424240u, 0, 0},
    {"stack pointer zero", bad_null_stack, SIGSEGV, ANY, ANY, TRAP_ACCESS_WRITE, 1, 0, 0},
    {"illegal instruction", bad_illegal, SIGILL, ANY /* ILL_ILLOPC; qemu: ILL_ILLOPN */, ANY, TRAP_ACCESS_UNKNOWN, 1, 0,
     0},
    {"privileged instruction", bad_privileged, SIGILL, ANY, ANY, TRAP_ACCESS_UNKNOWN, 1, 0, 0},
    {"breakpoint", bad_breakpoint, SIGTRAP, TRAP_BRKPT, ANY, TRAP_ACCESS_UNKNOWN, 1, 0, 0},
    {"changed control words", bad_control_words, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 0, 0, 0},
    {"ldp", bad_ldr_pair, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_READ, 64, 0, 0},
    {"stp", bad_str_pair, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 64, 0, 0},
    {"ldr of a vector", bad_ldr_vector, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_READ, 64, 0, 0},
    {"str of a vector", bad_str_vector, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 64, 0, 0},
    {"ldrsh", bad_ldr_signed, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_READ, 64, 0, 0},
    {"strb", bad_str_post, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 64, 0, 0},
    {"ld1", bad_ld1, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_READ, 64, 0, 0},
    {"st1", bad_st1, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 64, 0, 0},
    {"ldxr", bad_ldxr, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_READ, 64, 0, 0},
    {"ldar", bad_ldar, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_READ, 64, 0, 0},
    {"stlr", bad_stlr, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 64, 0, 0},
    {"dc zva", bad_zero_cache_line, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 1, 0,
     NOT_EMULATED /* qemu-user 7.2 tells the pc of the block */},
    {"stack overflow", overflows_stack, SIGSEGV, ANY, ANY, TRAP_ACCESS_WRITE, 1, TRAP_FAULT_STACK_OVERFLOW, 0},
    {"stack overflow, wide frames", overflows_stack_widely, SIGSEGV, ANY, ANY, TRAP_ACCESS_WRITE, 1,
     TRAP_FAULT_STACK_OVERFLOW, NO_OWN_STACK},
    {"smashes all above", smashes_upwards, SIGSEGV, ANY, ANY, TRAP_ACCESS_WRITE, 1, 0, NO_OWN_STACK},
    {"smashes its caller", smashes_some, ANY, ANY, ANY, ANY, 1, 0, NO_OWN_STACK},
    {"truncated file", writes_truncated, SIGBUS, BUS_ADRERR, ANY, TRAP_ACCESS_WRITE, 1, 0, 0},
    {"abort", aborts, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT, 0},
    {"abort with SIGABRT blocked", aborts_blocked, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT, 0},
    {"assert", asserts, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT, 0},
    {"stack protector", stack_protector, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT, 0},
    {"fortify", fortify, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT, 0},
    {"C++ throw", throws, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT | TRAP_FAULT_UNWIND, 0},
    {"signals blocked", faults_with_signals_blocked, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 16, 0, 0},
    /* The thread is marked as exiting afterwards: each on a thread of its own. */
    {"pthread_exit", exits_thread, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0, TRAP_FAULT_ABORT | TRAP_FAULT_UNWIND,
     ON_THREAD},
    {"pthread_cancel", cancels_itself, SIGABRT, SI_TKILL, ANY, TRAP_ACCESS_UNKNOWN, 0,
     TRAP_FAULT_ABORT | TRAP_FAULT_UNWIND, ON_THREAD},
};
#define THREAD_FAULTS writes_null, bad_breakpoint, bad_illegal, bad_str_pair, bad_return_to_garbage

/* Extensions that not every CPU has. */
static const struct expected lse[] = {
    {"ldadd", bad_ldadd, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 64, 0, 0},
    {"swp", bad_swap, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 64, 0, 0},
    {"cas", bad_cas, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 64, 0, 0},
    {"casp", bad_casp, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 64, 0, 0},
};
static const struct expected ldapr = {"ldapr", bad_ldapr, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_READ, 64, 0, 0};
static const struct expected streaming = {
    "streaming mode", bad_streaming, SIGSEGV, SEGV_MAPERR, ANY, TRAP_ACCESS_WRITE, 64, 0, 0};

static void extension_faults(struct way *way) {
  note_environment();
  if (getauxval(AT_HWCAP) & 1ul << 8 /* HWCAP_ATOMICS */)
    for (size_t i = 0; i < COUNT(lse); i++) run_case(way, &lse[i], 0, ENVIRONMENT_NOTED);
  if (getauxval(AT_HWCAP) & 1ul << 15 /* HWCAP_LRCPC */) run_case(way, &ldapr, 0, ENVIRONMENT_NOTED);
}
CHECK_TEST(extensions, "faults of atomic instructions, where the CPU has them") {
  if (!(getauxval(AT_HWCAP) & 1ul << 8)) CHECK_SKIP("this CPU has no LSE atomics");
  silence();
  each_way(extension_faults);
}

static void streaming_faults(struct way *way) {
  note_environment();
  run_case(way, &streaming, 0, ENVIRONMENT_NOTED);
  CHECK_EQ(streaming_state(), 0);
}
/* Broken once: smstop left out of the landing pad. */
CHECK_TEST(streaming_mode, "I7: a callee that faults in SME's streaming mode leaves neither that mode nor ZA behind") {
  if (!(getauxval(AT_HWCAP2) & 1ul << 23 /* HWCAP2_SME */)) CHECK_SKIP("this CPU has no SME");
  each_way(streaming_faults);
}

CHECK_TEST(division, "division by zero is no fault on this machine: the result is 0") {
  REQUIRE(trap_init() == 0);
  struct trap_fault fault;
  GUARD(divides, 0, 0)();
  CHECK_EQ(sink, 0);
  GUARD(overflows_division, 0, 0)();
  CHECK(!trap_take_fault(&fault));
}
