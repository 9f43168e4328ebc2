/*
 * trap_context_aarch64.c: what is read from an ARM64 signal frame, on frames built by hand as
 * arch/arm64/kernel/signal.c lays them out. qemu-user 7.2 writes neither the ESR record nor that of the overlay
 * register. (trap_faults and trap_list see the former where a kernel writes it; nobody here has seen the latter.) And
 * the arithmetic between PKRU and POR_EL0.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

#include "../trap/context.h"
#include "../pkeys/por_aarch64.h"
#include "check.h"

static ucontext_t frame;
static char *end;
static void frame_begin(void) {
  memset(&frame, 0, sizeof frame);
  end = (char *)frame.uc_mcontext.__reserved;
}
static void record(uint32_t magic, uint32_t bytes, const void *contents, size_t content_bytes) {
  memcpy(end, &magic, 4);
  memcpy(end + 4, &bytes, 4);
  memcpy(end + 8, contents, content_bytes);
  end += bytes;
}
static void record_word(uint32_t magic, uint64_t word) { record(magic, 16, &word, sizeof word); }
static const uint32_t FPSIMD = 0x46508001u, ESR = 0x45535201u, POE = 0x504f4530u, EXTRA = 0x45585401u;
static char registers[0x208];
/* As a kernel does: the vector registers first. */
static void frame_with_esr(uint64_t esr) {
  frame_begin();
  record(FPSIMD, 0x210, registers, sizeof registers);
  record_word(ESR, esr);
}

/* Exception class, and bits of the syndrome. */
#define SYNDROME(class, bits) ((uint64_t)(class) << 26 | 1u << 25 | (bits))
static enum trap_access access_of(int signal, int code) {
  static uint32_t instruction = 0xf9000000u; /* str x0, [x0]: not what the record says */
  frame.uc_mcontext.pc = (uintptr_t)&instruction;
  siginfo_t info = {.si_signo = signal, .si_code = code};
  info.si_addr = (void *)64;
  return trap_context_access(signal, &info, &frame);
}

CHECK_TEST(record_tells, "the ESR record tells the access, and is believed before the instruction") {
  frame_with_esr(SYNDROME(0x24, 0x04)); /* data abort, translation fault, a load */
  CHECK_EQ(access_of(SIGSEGV, SEGV_MAPERR), TRAP_ACCESS_READ);
  frame_with_esr(SYNDROME(0x24, 0x40 | 0x0f)); /* permission fault, a store */
  CHECK_EQ(access_of(SIGSEGV, SEGV_ACCERR), TRAP_ACCESS_WRITE);
  frame_with_esr(SYNDROME(0x25, 0x40 | 0x07));
  CHECK_EQ(access_of(SIGSEGV, SEGV_MAPERR), TRAP_ACCESS_WRITE);
  frame_with_esr(SYNDROME(0x24, 0x100 | 0x40 | 0x05)); /* a cache operation says that it writes */
  CHECK_EQ(access_of(SIGSEGV, SEGV_MAPERR), TRAP_ACCESS_READ);
  frame_with_esr(SYNDROME(0x20, 0x07));
  CHECK_EQ(access_of(SIGSEGV, SEGV_MAPERR), TRAP_ACCESS_EXECUTE);
  frame_with_esr(SYNDROME(0x22, 0)); /* pc alignment */
  CHECK_EQ(access_of(SIGBUS, BUS_ADRALN), TRAP_ACCESS_UNKNOWN);
  frame_with_esr(SYNDROME(0x24, 0x40 | 0x10));
  CHECK_EQ(access_of(SIGBUS, BUS_ADRERR), TRAP_ACCESS_WRITE);
  CHECK_EQ(access_of(SIGILL, ILL_ILLOPC), TRAP_ACCESS_UNKNOWN);
  struct trap_fault fault = {0};
  trap_context_describe(&fault, &frame);
  CHECK_EQ(fault.error_code, SYNDROME(0x24, 0x40 | 0x10));
  CHECK_EQ(fault.trap_number, 0x24);
  CHECK_EQ(fault.registers[22], frame.uc_mcontext.pc);
}

CHECK_TEST(no_record, "without a record the instruction is decoded; where the address is the pc it was a fetch; where "
                      "nothing was accessed, or pc leads nowhere, nothing is said") {
  frame_begin();
  record(FPSIMD, 0x210, registers, sizeof registers);
  CHECK_EQ(access_of(SIGSEGV, SEGV_MAPERR), TRAP_ACCESS_WRITE);
  CHECK_EQ(access_of(SIGSEGV, 0x80 /* SI_KERNEL */), TRAP_ACCESS_UNKNOWN);
  CHECK_EQ(access_of(SIGBUS, BUS_ADRALN), TRAP_ACCESS_UNKNOWN);
  siginfo_t info = {.si_signo = SIGSEGV, .si_code = SEGV_MAPERR};
  frame.uc_mcontext.pc = 0x1000;
  info.si_addr = (void *)0x1000;
  CHECK_EQ(trap_context_access(SIGSEGV, &info, &frame), TRAP_ACCESS_EXECUTE);
  info.si_addr = (void *)64;
  frame.uc_mcontext.pc = 0x1002;
  CHECK_EQ(trap_context_access(SIGSEGV, &info, &frame), TRAP_ACCESS_UNKNOWN);
  /* The rest needs a kernel that reads a set before it finds that it cannot know what to do with it; qemu-user does
   * not. */
  if (syscall(SYS_rt_sigprocmask, -1, (void *)0x1000, NULL, 8) != 0 && errno == EFAULT) {
    frame.uc_mcontext.pc = 0x1000;
    CHECK_EQ(trap_context_access(SIGSEGV, &info, &frame), TRAP_ACCESS_UNKNOWN);
  }
}

CHECK_TEST(elsewhere, "records in the extra space of a large frame are found; a frame that is not as it should be says "
                      "nothing, and is not read past its end") {
  static uint64_t extra[8] __attribute__((aligned(16)));
  struct {
    uint64_t data;
    uint32_t bytes, reserved[3];
  } link = {.data = (uintptr_t)extra, .bytes = sizeof extra};
  uint32_t head[2] = {ESR, 16};
  memcpy(extra, head, sizeof head);
  extra[1] = SYNDROME(0x20, 7);
  frame_begin();
  record(FPSIMD, 0x210, registers, sizeof registers);
  record(EXTRA, 32, &link, sizeof link);
  CHECK_EQ(access_of(SIGSEGV, SEGV_MAPERR), TRAP_ACCESS_EXECUTE);
  link.bytes = 0;
  frame_begin();
  record(EXTRA, 32, &link, sizeof link);
  CHECK_EQ(access_of(SIGSEGV, SEGV_MAPERR), TRAP_ACCESS_WRITE);
  static const uint32_t sizes[] = {0, 4, 8, 24, 0x7fffffff, 0xfffffff0};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    frame_with_esr(SYNDROME(0x20, 7));
    memcpy(frame.uc_mcontext.__reserved + 4, &sizes[i], 4);
    CHECK_EQ(access_of(SIGSEGV, SEGV_MAPERR), TRAP_ACCESS_WRITE);
  }
  frame_begin(); /* full to the last byte, without an end */
  for (size_t i = 0; i < sizeof frame.uc_mcontext.__reserved / 16; i++) record_word(0x41414141u, 0);
  CHECK_EQ(access_of(SIGSEGV, SEGV_MAPERR), TRAP_ACCESS_WRITE);
}

/* Each with the encoding that the assembler gives it. */
#define CASE(text, expected)                                                                                \
  do {                                                                                                      \
    const uint32_t *at;                                                                                     \
    __asm__(".arch armv8.5-a+lse+sve+memtag\n\t.pushsection .rodata\n8: " text                              \
            "\n\t.popsection\n\tadrp %0, 8b\n\tadd %0, %0, :lo12:8b"                                        \
            : "=r"(at));                                                                                    \
    check_counted();                                                                                        \
    if (trap_context_decode(*at) != (expected))                                                             \
      check_failed(__FILE__, __LINE__, "%s (0x%08x) is taken for %d", text, *at, trap_context_decode(*at)); \
  } while (0)
CHECK_TEST(decoding, "loads and stores of every class are told apart") {
  static const enum trap_access R = TRAP_ACCESS_READ, W = TRAP_ACCESS_WRITE, U = TRAP_ACCESS_UNKNOWN;
  CASE("ldr x0, [x1]", R);
  CASE("ldr x0, [x1, x2, lsl #3]", R);
  CASE("ldr w0, [x1], #4", R);
  CASE("ldrb w0, [x1, #1]!", R);
  CASE("ldrsw x0, [x1]", R);
  CASE("ldrsb w0, [x1]", R);
  CASE("ldur x0, [x1, #-3]", R);
  CASE("ldtr x0, [x1]", R);
  CASE("ldr q0, [x1]", R);
  CASE("ldr b0, [x1]", R);
  CASE("ldr d0, [x1, x2]", R);
  CASE("ldp x0, x2, [x1]", R);
  CASE("ldpsw x0, x2, [x1]", R);
  CASE("ldnp q0, q1, [x1]", R);
  CASE("ldr x0, 8b", R);
  CASE("ldr q0, 8b", R);
  CASE("ldxr x0, [x1]", R);
  CASE("ldaxrb w0, [x1]", R);
  CASE("ldxp x0, x2, [x1]", R);
  CASE("ldaxp w0, w2, [x1]", R);
  CASE("ldar x0, [x1]", R);
  CASE("ldapr x0, [x1]", R);
  CASE("ldapur x0, [x1, #4]", R);
  CASE("ldraa x0, [x1]", R);
  CASE("ld1 {v0.16b}, [x1]", R);
  CASE("ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x1], #64", R);
  CASE("ld1 {v0.b}[3], [x1]", R);
  CASE("ld1r {v0.2d}, [x1]", R);
  CASE("ld1b {z0.b}, p0/z, [x1]", R);
  CASE("ldr z0, [x1]", R);
  CASE("ldff1d {z0.d}, p0/z, [x1, x2, lsl #3]", R);
  CASE("str x0, [x1]", W);
  CASE("strh w0, [x1, x2]", W);
  CASE("strb w0, [x1], #1", W);
  CASE("stur x0, [x1, #-3]", W);
  CASE("sttr w0, [x1]", W);
  CASE("str q0, [x1, #16]", W);
  CASE("str h0, [x1, x2]", W);
  CASE("stp x0, x2, [x1, #-16]!", W);
  CASE("stp d0, d1, [x1]", W);
  CASE("stnp w0, w2, [x1]", W);
  CASE("stxr w3, x0, [x1]", W);
  CASE("stlxp w3, x0, x2, [x1]", W);
  CASE("stlr x0, [x1]", W);
  CASE("stlur x0, [x1, #4]", W);
  CASE("cas x0, x2, [x1]", W);
  CASE("casalb w0, w2, [x1]", W);
  CASE("casp x0, x1, x2, x3, [x4]", W);
  CASE("ldadd x0, x2, [x1]", W);
  CASE("ldsmaxalh w0, w2, [x1]", W);
  CASE("stclr x0, [x1]", W);
  CASE("swp x0, x2, [x1]", W);
  CASE("st1 {v0.16b}, [x1]", W);
  CASE("st3 {v0.h, v1.h, v2.h}[1], [x1]", W);
  CASE("st1w {z0.s}, p0, [x1]", W);
  CASE("str z0, [x1]", W);
  CASE("dc zva, x1", W);
  CASE("add x0, x0, x1", U);
  CASE("ret", U);
  CASE("b .", U);
  CASE("dmb ish", U);
  CASE("svc #0", U);
  CASE("fadd v0.2d, v0.2d, v1.2d", U);
  CASE("movz x0, #1", U);
  CASE("mrs x0, fpcr", U);
}

CHECK_TEST(self_abort, "I5: SIGABRT is the thread's own only just behind the `svc #0` of its own tgkill") {
  static const uint32_t code[] = {0xd503201fu /* nop */, 0xd4000001u /* svc #0 */, 0xd503201fu};
  frame_begin();
  mcontext_t *m = &frame.uc_mcontext;
  m->pc = (uintptr_t)&code[2];
  m->regs[8] = SYS_tgkill;
  m->regs[0] = 0;
  m->regs[1] = 1234;
  m->regs[2] = SIGABRT;
  CHECK(trap_context_aborts(&frame, 1200, 1234));
  CHECK(!trap_context_aborts(&frame, 1200, 1235));
  m->pc = (uintptr_t)&code[1];
  CHECK(!trap_context_aborts(&frame, 1200, 1234));
  m->pc = (uintptr_t)&code[2];
  m->regs[2] = SIGSEGV;
  CHECK(!trap_context_aborts(&frame, 1200, 1234));
  m->regs[2] = SIGABRT;
  m->regs[8] = SYS_getpid;
  CHECK(!trap_context_aborts(&frame, 1200, 1234));
  m->regs[8] = SYS_tgkill;
  m->regs[0] = (uint64_t)-EAGAIN;
  CHECK(!trap_context_aborts(&frame, 1200, 1234));
}

CHECK_TEST(overlay_frame, "rights are read from and written to the record of POR_EL0; other keys' bits stay") {
  frame_begin();
  CHECK_EQ(trap_context_rights(&frame), 0);
  CHECK(!trap_context_has_rights(&frame));
  record(FPSIMD, 0x210, registers, sizeof registers);
  record_word(
      POE, 0x0000000000000107u); /* key 0 all, key 1 nothing, key 2 reading; the rest nothing, as in a fresh handler */
  CHECK_EQ(trap_context_rights(&frame), 0x55555564u);
  CHECK(trap_context_has_rights(&frame));
  trap_context_set_rights(&frame, 0x55555560u); /* key 1 open */
  CHECK_EQ(trap_context_rights(&frame), 0x55555560u);
  uint64_t por;
  memcpy(&por, end - 8, 8);
  CHECK_EQ(por, 0x177u);
}

CHECK_TEST(overlay_masks, "the gate's two masks give what the same masks give in PKRU, for every key and right; I1: "
                          "key 0 stays open; I2: others stay bit for bit") {
  for (int round = 0; round < 10000; round++) {
    uint64_t por = 0;
    for (int key = 0; key < 16; key++) por |= (check_random() & 7) << 4 * key;
    por |= 7;
    uint32_t owned = 0, deny = 0;
    for (int key = 1; key < 8; key++)
      if (check_random() & 1) owned |= 3u << 2 * key, deny |= (uint32_t)(check_random() % 3) << 2 * key;
    uint32_t before = por_denies(por);
    uint64_t foreign = (por | por_of_owned(owned)) & ~por_of_denied(deny); /* what the gate does */
    CHECK_EQ(por_denies(foreign), (before & ~owned) | deny);
    for (int key = 0; key < 16; key++) {
      uint64_t field = (uint64_t)15 << 4 * key;
      if (!(owned >> 2 * key & 3)) CHECK((foreign & field) == (por & field));
      else CHECK((foreign >> 4 * key & POR_EXECUTE) != 0);
    }
    CHECK_EQ(por_denies(foreign | por_of_owned(owned)), before & ~owned);
    /* And pkeys_wrpkru's way. */
    uint64_t with = por_with(por, (before & ~owned) | deny);
    CHECK_EQ(por_denies(with), (before & ~owned) | deny);
    CHECK((with & 15) == 7);
    CHECK((por_with(por, before | 3) == por));
    for (int key = 0; key < 16; key++)
      if (!(owned >> 2 * key & 3)) CHECK(((with ^ por) >> 4 * key & 15) == 0);
  }
}

CHECK_MAIN()
