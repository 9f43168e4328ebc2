/*
 * The gate's call frame information at each of its instructions. A call through the gate is single-stepped (TF), and at
 * every step the stack is walked from the signal frame. The caller must be found, with its stack pointer and its
 * callee-saved registers as they were. So must it in the callee, in a callback, and on the way back.
 *
 * Itanium C++ ABI: Exception Handling, 1.3 (_Unwind_Backtrace); SDM vol. 3B, 17.3.1.4 (TF).
 */
#define _GNU_SOURCE
#include <ucontext.h>
#include <unwind.h>

#include "../trap/internal.h"
#include "check.h"

/* Registers of the caller while it calls, and the address it is called back at. */
enum { RBX = 3, RBP = 6, RSP = 7, R12 = 12, R15 = 15 };
static const int kept[] = {RBX, RBP, 12, 13, 14, 15};
uint64_t expected[17] __attribute__((visibility("hidden")));
uint64_t expected[17];
extern const char stepped_return[];
extern const char trap_gates_begin[], trap_gates_end[], trap_callback_gate[], trap_model_chain_end[];

static volatile unsigned steps, in_gate, in_callback_gate, in_thunks, in_callee, in_delay, bad;
static volatile uint64_t first_bad, bad_steps[8];
static volatile bool found;
static const char *volatile what;

static _Unwind_Reason_Code look(struct _Unwind_Context *context, void *data) {
  if (++*(unsigned *)data > 64) return _URC_END_OF_STACK; /* a wrong CFA may lead round in circles */
  if (_Unwind_GetIP(context) != (uintptr_t)stepped_return) return _URC_NO_REASON;
  found = true;
  if (_Unwind_GetCFA(context) != expected[RSP]) what = "another stack pointer";
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    if (_Unwind_GetGR(context, kept[i]) != expected[kept[i]]) what = "another callee-saved register";
  return _URC_END_OF_STACK;
}

static __attribute__((noinline)) void callee(void) { __asm__ volatile("nop"); }
static bool between(uint64_t pc, const void *low, const void *high) {
  return pc >= (uintptr_t)low && pc < (uintptr_t)high;
}

static void step(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  uint64_t pc = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  steps++;
  if (between(pc, trap_gates_begin, trap_gates_end)) in_gate++;
  else if (between(pc, (const char *)(uintptr_t)trap_model_write, trap_model_chain_end + 8)) in_delay++;
  else if (between(pc, trap_callback_gate, trap_thunk_code)) in_callback_gate++;
  else if (between(pc, trap_thunk_code, trap_callback_code + CALLBACK_COUNT * THUNK_CODE_BYTES)) in_thunks++;
  else if (between(pc, (const void *)callee, (const char *)(uintptr_t)callee + 8)) in_callee++;
  else return; /* C code: the compiler's CFI; it may hold the unwinder's own locks */
  found = false;
  what = NULL;
  unsigned frames = 0;
  _Unwind_Backtrace(look, &frames);
  if (!found) what = "the caller is not found";
  if (what != NULL && bad++ < 8) {
    char text[160];
    int length = snprintf(text, sizeof text, "#   at 0x%lx (gates + 0x%lx): %s\n", (unsigned long)pc,
                          (unsigned long)(pc - (uintptr_t)trap_gates_begin), what);
    ssize_t ignored = write(STDOUT_FILENO, text, (size_t)length);
    (void)ignored;
  }
}

/* Calls function(a, b) with known values in the callee-saved registers and 14 words on the stack, TF set around the
 * call. */
void stepped_call(void *function, void *a, void *b);
__asm__(".text\n"
        ".globl stepped_call, stepped_return\n.hidden stepped_return\n"
        ".type stepped_call, @function\n"
        "stepped_call:\n"
        ".cfi_startproc\n"
        "  pushq %rbp\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset rbp, 0\n"
        "  pushq %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset rbx, 0\n"
        "  pushq %r12\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r12, 0\n"
        "  pushq %r13\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r13, 0\n"
        "  pushq %r14\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r14, 0\n"
        "  pushq %r15\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r15, 0\n"
        "  subq $120, %rsp\n.cfi_adjust_cfa_offset 120\n"
        "  movq %rdi, %rax\n"
        "  movq %rsi, %rdi\n"
        "  movq %rdx, %rsi\n"
        "  leaq expected(%rip), %rcx\n"
        "  movq $0x1111, %rbx\n  movq %rbx, 24(%rcx)\n"
        "  movq $0x2222, %rbp\n  movq %rbp, 48(%rcx)\n"
        "  movq $0x3333, %r12\n  movq %r12, 96(%rcx)\n"
        "  movq $0x4444, %r13\n  movq %r13, 104(%rcx)\n"
        "  movq $0x5555, %r14\n  movq %r14, 112(%rcx)\n"
        "  movq $0x6666, %r15\n  movq %r15, 120(%rcx)\n"
        "  movq %rsp, 56(%rcx)\n"
        "  pushfq\n.cfi_adjust_cfa_offset 8\n  orq $0x100, (%rsp)\n  popfq\n.cfi_adjust_cfa_offset -8\n"
        "  call *%rax\n"
        "stepped_return:\n"
        "  pushfq\n.cfi_adjust_cfa_offset 8\n  andq $~0x100, (%rsp)\n  popfq\n.cfi_adjust_cfa_offset -8\n"
        "  addq $120, %rsp\n.cfi_adjust_cfa_offset -120\n"
        "  popq %r15\n.cfi_adjust_cfa_offset -8\n.cfi_restore r15\n"
        "  popq %r14\n.cfi_adjust_cfa_offset -8\n.cfi_restore r14\n"
        "  popq %r13\n.cfi_adjust_cfa_offset -8\n.cfi_restore r13\n"
        "  popq %r12\n.cfi_adjust_cfa_offset -8\n.cfi_restore r12\n"
        "  popq %rbx\n.cfi_adjust_cfa_offset -8\n.cfi_restore rbx\n"
        "  popq %rbp\n.cfi_adjust_cfa_offset -8\n.cfi_restore rbp\n"
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

enum variant {
  PLAIN,
  MODEL,    /* a delay in place of rights writes, as long as the gate's own code: the delay's steps are walked too */
  VIRTUAL,  /* an image with a virtual key, entered and resident: not an instruction more */
  FILTERED, /* the callee's system calls are judged: six instructions more */
};
static void walk(enum pkeys_mechanism mechanism, bool foreign_stack, enum variant variant) {
  bool model = variant == MODEL;
  bool keyed = mechanism == PKEYS_MECHANISM_PKEYS;
  if (keyed && !pkeys_supported())
    CHECK_SKIP_OR_FAIL("TURNKEY_REQUIRE_PKEYS", "the CPU or kernel has no protection keys");
  struct pkeys_image *image;
  REQUIRE(trap_init() == 0);
  REQUIRE(pkeys_image_map(&space, 1, variant == VIRTUAL ? PKEYS_KEY_VIRTUAL : PKEYS_KEY_PER_IMAGE, &image, NULL) == 0);
  REQUIRE(pkeys_image_set_mechanism(image, mechanism) == 0);
  if (variant == VIRTUAL) REQUIRE(trap_enter_image(image) == 0 && trap_entered_image() == image);
  REQUIRE(trap_set_foreign_stack(foreign_stack, 0) == 0);
  if (model) {
    if (pkeys_supported()) CHECK_SKIP("the CPU has protection keys, the model is refused");
    REQUIRE(trap_model(30, NULL) == 0);
  }
  if (variant == FILTERED) {
    struct trap_filter_options options = {.way = TRAP_FILTER_DISPATCH, .threads = true, .code = true};
    REQUIRE(trap_filter_init(&options) == 0);
  }
  /* In the trap's place: a step in a callout would be the callee's fault to it. */
  struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  /* As a profiler's: it starts without rights to the gate's frames, which lie behind the trap's key, and the trap lets
   * its reads through. */
  REQUIRE(sigaction(SIGTRAP, &action, NULL) == 0);
  const unsigned filter = variant == FILTERED ? TRAP_FILTER : 0;
  const unsigned flags[] = {filter, TRAP_FLOAT | filter};
  static const size_t bytes[] = {0, 16, 112};
  void *code, *nested, *callback;
  for (size_t f = 0; f < 2; f++) {
    for (size_t n = 0; n < 3; n++) {
      REQUIRE(trap_thunk((void *)callee, bytes[n], flags[f], NULL, &code) == 0);
      ((void (*)(void))(uintptr_t)code)(); /* by the slow gate: this thread's calls are dispatched from here on */
      in_gate = in_thunks = in_callee = in_delay = 0;
      stepped_call(code, NULL, NULL);
      CHECK(in_gate > 20);
      /* Every step was an instruction: what a guarded call executes over a raw one (docs/gate.md). */
      unsigned instructions = in_gate + in_thunks, limit = (foreign_stack ? keyed ? 54 : 38
                                                            : keyed       ? 59
                                                                          : 41) +
                                                           (f == 1 ? 2 : 0) + (variant == FILTERED ? 6 : 0);
      if (mechanism != PKEYS_MECHANISM_MPROTECT_RANGE && !model) {
        printf("#   %s%s, %s stack, %zu bytes of stack arguments%s: %u instructions over a raw call\n",
               pkeys_mechanism_name(mechanism), variant == FILTERED ? "+filter" : "",
               foreign_stack ? "foreign" : "caller's", bytes[n], f == 1 ? ", floating-point environment" : "",
               instructions);
        if (bytes[n] == 0) CHECK_EQ(instructions, limit);
      }
      CHECK(model ? in_delay >= 8 : in_delay == 0);
      CHECK(in_thunks >= 2);
      CHECK(in_callee >= 2);
      CHECK_EQ(bad, 0);
      REQUIRE(trap_thunk_release(code) == 0);
    }
    /* callout, callback, callout: the slow gate and the callback thunk */
    REQUIRE(trap_thunk((void *)calls_back, 0, flags[f], NULL, &code) == 0);
    REQUIRE(trap_thunk((void *)callee, 32, flags[f], NULL, &nested) == 0);
    REQUIRE(trap_callback((void *)called_back, 16, &callback) == 0);
    in_gate = in_callback_gate = in_thunks = in_callee = 0;
    stepped_call(code, callback, nested);
    CHECK(in_gate > 60);
    CHECK(in_callback_gate > 40);
    CHECK(in_thunks >= 6);
    CHECK(in_callee >= 2);
    CHECK_EQ(bad, 0);
    REQUIRE(trap_thunk_release(code) == 0);
    REQUIRE(trap_thunk_release(nested) == 0);
    REQUIRE(trap_callback_release(callback) == 0);
  }
}

CHECK_TEST(flag, "the caller is found at each instruction: flag") { walk(PKEYS_MECHANISM_FLAG, true, PLAIN); }
CHECK_TEST(flag_own, "the caller is found at each instruction: flag, caller's stack") {
  walk(PKEYS_MECHANISM_FLAG, false, PLAIN);
}
CHECK_TEST(keys, "the caller is found at each instruction: pkeys") { walk(PKEYS_MECHANISM_PKEYS, true, PLAIN); }
CHECK_TEST(keys_own, "the caller is found at each instruction: pkeys, caller's stack") {
  walk(PKEYS_MECHANISM_PKEYS, false, PLAIN);
}
/* Broken once: the gate reads the slot's `keep` and ors the seat's rights in after it. */
CHECK_TEST(virtual_keys, "a resident image with a virtual key costs the same instructions: pkeys") {
  walk(PKEYS_MECHANISM_PKEYS, true, VIRTUAL);
}
CHECK_TEST(virtual_keys_own, "a resident image with a virtual key costs the same: pkeys, caller's stack") {
  walk(PKEYS_MECHANISM_PKEYS, false, VIRTUAL);
}
CHECK_TEST(filtered, "the caller is found at each instruction: flag, system calls judged") {
  walk(PKEYS_MECHANISM_FLAG, true, FILTERED);
}
CHECK_TEST(filtered_own, "the caller is found at each instruction: flag, caller's stack, system calls judged") {
  walk(PKEYS_MECHANISM_FLAG, false, FILTERED);
}
CHECK_TEST(filtered_keys, "the caller is found at each instruction: pkeys, system calls judged") {
  walk(PKEYS_MECHANISM_PKEYS, true, FILTERED);
}
CHECK_TEST(filtered_keys_own, "the caller is found at each instruction: pkeys, caller's stack, system calls judged") {
  walk(PKEYS_MECHANISM_PKEYS, false, FILTERED);
}
CHECK_TEST(hooked, "the caller is found at each instruction: mprotect-range") {
  walk(PKEYS_MECHANISM_MPROTECT_RANGE, true, PLAIN);
}
CHECK_TEST(model, "the caller is found at each instruction: flag with the model's delay") {
  walk(PKEYS_MECHANISM_FLAG, true, MODEL);
}
CHECK_TEST(model_own, "the caller is found at each instruction: flag with the model's delay, caller's stack") {
  walk(PKEYS_MECHANISM_FLAG, false, MODEL);
}

CHECK_MAIN()
