/*
 * The gate's call frame information at each of its instructions, on ARM64. A breakpoint is written over every
 * instruction of the gates and of the thunks used. At each, the stack is walked from the signal frame; then the
 * instruction is put back and executed. The caller must be found, with its stack pointer and its callee-saved registers
 * as they were. A single step by the processor is for debuggers only on this machine (compare gate_unwind.c); so an
 * instruction in a loop is looked at once.
 *
 * Itanium C++ ABI: Exception Handling, 1.3 (_Unwind_Backtrace); DWARF for the Arm 64-bit Architecture, 4.1 (register
 * numbers).
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include "../trap/internal.h"
#include "check.h"

#define BRK 0xd4200ee0u /* brk #0x77 */

/* Registers of the caller while it calls: x19 to x28, x29, d8 to d15, sp. */
#define KEPT 19
static int number_of(int i) { return i < 11 ? 19 + i : 72 + i - 11; }
#define KEPT_VALUE(i) (0x1111u * (uint64_t)((i) + 1))
uint64_t expected_sp __attribute__((visibility("hidden")));
uint64_t expected_sp;
extern const char stepped_return[];

static volatile unsigned in_gate, in_callback_gate, in_thunks, in_callee, bad;
static volatile bool found;
static const char *volatile what;

static _Unwind_Reason_Code look(struct _Unwind_Context *context, void *data) {
  if (++*(unsigned *)data > 64) return _URC_END_OF_STACK; /* a wrong CFA may lead round in circles */
  if (_Unwind_GetIP(context) != (uintptr_t)stepped_return) return _URC_NO_REASON;
  found = true;
  if (_Unwind_GetCFA(context) != expected_sp) what = "another stack pointer";
  for (int i = 0; i < KEPT; i++)
    if (_Unwind_GetGR(context, number_of(i)) != KEPT_VALUE(i)) what = "another callee-saved register";
  return _URC_END_OF_STACK;
}

/* Breaks the ABI behind the compiler's back: what is found of these registers then is what the frame holds. */
#define CALLEE_STEPS 5
static __attribute__((noinline)) void callee(void) {
  __asm__ volatile("movi d8, #0\n\tmovi d15, #0\n\tmov x28, #0\n\tnop\n\tnop");
}

/* ---- breakpoints ---- */

struct stretch {
  const char *from, *to;
  uint32_t *words;
  volatile unsigned *count;
};
static struct stretch stretches[8];
static unsigned stretch_count;

static void put(const char *at, uint32_t word) {
  *(volatile uint32_t *)(uintptr_t)at = word;
  __builtin___clear_cache((char *)(uintptr_t)at, (char *)(uintptr_t)at + 4);
}
static bool stretch_add(const char *from, const char *to, volatile unsigned *count) {
  uintptr_t page = (uintptr_t)from & ~(uintptr_t)4095;
  if (mprotect((void *)page, (uintptr_t)to - page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) return false;
  struct stretch *s = &stretches[stretch_count++];
  *s = (struct stretch){from, to, malloc((size_t)(to - from)), count};
  memcpy(s->words, from, (size_t)(to - from));
  return true;
}
static void stretches_arm(void) {
  for (unsigned i = 0; i < stretch_count; i++)
    for (const char *at = stretches[i].from; at < stretches[i].to; at += 4) put(at, BRK);
}
static void stretches_forget(void) {
  for (unsigned i = 0; i < stretch_count; i++) {
    for (const char *at = stretches[i].from; at < stretches[i].to; at += 4)
      put(at, stretches[i].words[(at - stretches[i].from) / 4]);
    free(stretches[i].words);
  }
  stretch_count = 0;
}

static void step(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  const char *pc = (const char *)(uintptr_t)((ucontext_t *)context)->uc_mcontext.pc;
  struct stretch *in = NULL;
  for (unsigned i = 0; i < stretch_count; i++)
    if (pc >= stretches[i].from && pc < stretches[i].to) in = &stretches[i];
  if (in == NULL) abort();
  ++*in->count;
  found = false;
  what = NULL;
  unsigned frames = 0;
  _Unwind_Backtrace(look, &frames);
  if (!found) what = "the caller is not found";
  if (what != NULL && bad++ < 8) {
    char text[160];
    int length = snprintf(text, sizeof text, "#   at 0x%lx (gates + 0x%lx): %s\n", (unsigned long)(uintptr_t)pc,
                          (unsigned long)(pc - trap_gates_begin), what);
    ssize_t ignored = write(STDOUT_FILENO, text, (size_t)length);
    (void)ignored;
  }
  put(pc, in->words[(pc - in->from) / 4]);
}

/* Calls function(a, b) with known values in the callee-saved registers and 14 words on the stack. */
void stepped_call(void *function, void *a, void *b);
__asm__(".text\n"
        ".globl stepped_call, stepped_return\n.hidden stepped_return\n"
        ".type stepped_call, %function\n"
        "stepped_call:\n"
        ".cfi_startproc\n"
        "  stp x29, x30, [sp, #-176]!\n.cfi_def_cfa_offset 176\n.cfi_offset x29, -176\n.cfi_offset x30, -168\n"
        "  stp x19, x20, [sp, #16]\n  stp x21, x22, [sp, #32]\n  stp x23, x24, [sp, #48]\n  stp x25, x26, [sp, #64]\n  "
        "stp x27, x28, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
        "  sub sp, sp, #112\n.cfi_adjust_cfa_offset 112\n"
        "  mov x17, x0\n  mov x0, x1\n  mov x1, x2\n"
        "  adrp x9, expected_sp\n  mov x10, sp\n  str x10, [x9, #:lo12:expected_sp]\n"
        "  mov x19, #0x1111\n  mov x20, #0x2222\n  mov x21, #0x3333\n  mov x22, #0x4444\n  mov x23, #0x5555\n  mov "
        "x24, #0x6666\n  mov x25, #0x7777\n  mov x26, #0x8888\n"
        "  mov x27, #0x9999\n  mov x28, #0xaaaa\n  mov x29, #0xbbbb\n"
        "  mov x9, #0xcccc\n  fmov d8, x9\n  mov x9, #0xdddd\n  fmov d9, x9\n  mov x9, #0xeeee\n  fmov d10, x9\n  mov "
        "x9, #0xffff\n  fmov d11, x9\n"
        "  mov x10, #0x1111\n  add x9, x9, x10\n  fmov d12, x9\n  add x9, x9, x10\n  fmov d13, x9\n  add x9, x9, x10\n "
        " fmov d14, x9\n  add x9, x9, x10\n  fmov d15, x9\n"
        "  blr x17\n"
        "stepped_return:\n"
        "  add sp, sp, #112\n.cfi_adjust_cfa_offset -112\n"
        "  ldp x19, x20, [sp, #16]\n  ldp x21, x22, [sp, #32]\n  ldp x23, x24, [sp, #48]\n  ldp x25, x26, [sp, #64]\n  "
        "ldp x27, x28, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n"
        "  ldp x29, x30, [sp], #176\n.cfi_def_cfa_offset 0\n.cfi_restore x29\n.cfi_restore x30\n"
        "  ret\n"
        ".cfi_endproc\n"
        ".size stepped_call, .-stepped_call\n");

static __attribute__((noinline)) int calls_back(int (*callback)(void (*)(void)), void (*function)(void)) {
  return callback(function) + 1;
}
static __attribute__((noinline)) int called_back(void (*function)(void)) {
  function();
  return 7;
}
static const struct pkeys_space_request space = {.name = "old", .bytes = PKEYS_PAGE, .reserve_bytes = PKEYS_PAGE};

static bool arm(void *const *thunks, size_t count) {
  in_gate = in_callback_gate = in_thunks = in_callee = 0;
  bool good = stretch_add(trap_gates_begin, trap_gates_end, &in_gate) &&
              stretch_add(trap_callback_gate, trap_thunk_code, &in_callback_gate) &&
              stretch_add((const char *)(uintptr_t)callee, (const char *)(uintptr_t)callee + 4 * CALLEE_STEPS,
                          &in_callee);
  for (size_t i = 0; good && i < count; i++)
    good = stretch_add(thunks[i], (const char *)thunks[i] + THUNK_CODE_BYTES - 4, &in_thunks);
  if (good) stretches_arm();
  return good;
}

static void walk(enum pkeys_mechanism mechanism, bool foreign_stack) {
  bool keyed = mechanism == PKEYS_MECHANISM_PKEYS;
  if (keyed && !pkeys_supported())
    CHECK_SKIP_OR_FAIL("TURNKEY_REQUIRE_PKEYS", "the CPU or kernel has no protection keys");
  struct pkeys_image *image;
  REQUIRE(trap_init() == 0);
  REQUIRE(pkeys_image_map(&space, 1, PKEYS_KEY_PER_IMAGE, &image, NULL) == 0);
  REQUIRE(pkeys_image_set_mechanism(image, mechanism) == 0);
  REQUIRE(trap_set_foreign_stack(foreign_stack, 0) == 0);
  /* In the trap's place: a breakpoint in a callout would be the callee's fault to it. */
  struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  /* As a profiler's: it starts without rights to the gate's frames, which lie behind the trap's key, and the trap lets
   * its reads through. */
  REQUIRE(sigaction(SIGTRAP, &action, NULL) == 0);
  static const unsigned flags[] = {0, TRAP_FLOAT};
  static const size_t bytes[] = {0, 16, 112};
  void *code, *nested, *callback;
  for (size_t f = 0; f < 2; f++) {
    for (size_t n = 0; n < 3; n++) {
      REQUIRE(trap_thunk((void *)callee, bytes[n], flags[f], NULL, &code) == 0);
      REQUIRE(arm(&code, 1));
      stepped_call(code, NULL, NULL);
      stretches_forget();
      CHECK(in_gate > 20);
      /* Every breakpoint was an instruction: what a guarded call executes over a raw one (docs/gate.md), but for the
       * rounds of the loop that copies stack arguments. */
      unsigned instructions = in_gate + in_thunks, limit = 56 + (keyed ? 14 : 0) + (f == 1 ? 3 : 0);
      if (mechanism != PKEYS_MECHANISM_MPROTECT_RANGE && bytes[n] == 0) {
        printf("#   %s, %s stack%s: %u instructions over a raw call\n", pkeys_mechanism_name(mechanism),
               foreign_stack ? "foreign" : "caller's", f == 1 ? ", floating-point environment" : "", instructions);
        CHECK_EQ(instructions, limit);
      }
      CHECK_EQ(in_thunks, 5);
      CHECK_EQ(in_callee, CALLEE_STEPS);
      CHECK_EQ(bad, 0);
      REQUIRE(trap_thunk_release(code) == 0);
    }
    /* callout, callback, callout: the slow gate and the callback thunk */
    REQUIRE(trap_thunk((void *)calls_back, 0, flags[f], NULL, &code) == 0);
    REQUIRE(trap_thunk((void *)callee, 32, flags[f], NULL, &nested) == 0);
    REQUIRE(trap_callback((void *)called_back, 16, &callback) == 0);
    void *const all[] = {code, nested, callback};
    REQUIRE(arm(all, 3));
    stepped_call(code, callback, nested);
    stretches_forget();
    CHECK(in_gate > 80);
    CHECK(in_callback_gate > 40);
    CHECK(in_thunks >= 14);
    CHECK_EQ(in_callee, CALLEE_STEPS);
    CHECK_EQ(bad, 0);
    REQUIRE(trap_thunk_release(code) == 0);
    REQUIRE(trap_thunk_release(nested) == 0);
    REQUIRE(trap_callback_release(callback) == 0);
  }
}

CHECK_TEST(flag, "the caller is found at each instruction: flag") { walk(PKEYS_MECHANISM_FLAG, true); }
CHECK_TEST(flag_own, "the caller is found at each instruction: flag, caller's stack") {
  walk(PKEYS_MECHANISM_FLAG, false);
}
CHECK_TEST(keys, "the caller is found at each instruction: pkeys") { walk(PKEYS_MECHANISM_PKEYS, true); }
CHECK_TEST(keys_own, "the caller is found at each instruction: pkeys, caller's stack") {
  walk(PKEYS_MECHANISM_PKEYS, false);
}
CHECK_TEST(hooked, "the caller is found at each instruction: mprotect-range") {
  walk(PKEYS_MECHANISM_MPROTECT_RANGE, true);
}

CHECK_MAIN()
