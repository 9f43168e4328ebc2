/*
 * trap_windows.c: what the trap keeps on Windows beside the list that is the same everywhere (trap_list.c). That is
 * registers, the TEB's stack bounds, LastError, codes, the order of handlers, and the unwinder's view of the gate.
 *
 * More than 400 lines: no part is long enough for a file of its own, and they share one faulting callee.
 */
#include "check.h"

#include <intrin.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>

#include "../pkeys/pkeys.h"
#include "../trap/trap.h"

#define CODE(function) ((const void *)(uintptr_t)(function))
#define AS(function, code) ((__typeof__(&function))(uintptr_t)(code))

static void *guarded(const void *target) {
  void *code = NULL;
  int rc = trap_thunk(target, 0, 0, NULL, &code);
  if (rc != 0) check_failed(__FILE__, __LINE__, "trap_thunk: %d", rc);
  return code;
}
#define GUARD(function) AS(function, guarded(CODE(function)))

static volatile uintptr_t zero;

/* ---- registers ---- */

struct kept {
  uint64_t integer[8];
  uint64_t vector[10][2];
  uint32_t mxcsr;
  uint16_t fcw, x87_tag; /* 0xffff: the x87 stack is empty */
  int64_t moved;
  uint64_t flags, result;
};
_Static_assert(offsetof(struct kept, mxcsr) == 224 && offsetof(struct kept, result) == 248, "trap_kept_windows.S");
void kept_call(void *code, struct kept *out, uintptr_t argument);
uintptr_t breaks_all(uintptr_t argument);
uintptr_t breaks_all_and_faults(uintptr_t argument);

static void check_kept(const struct kept *kept) {
  for (unsigned i = 0; i < 8; i++) CHECK_EQ(kept->integer[i], 0x5a5a000000000001u + i);
  for (unsigned i = 0; i < 10; i++)
    for (unsigned half = 0; half < 2; half++)
      CHECK_EQ(kept->vector[i][half], 0x5a5a000000000001u + (i < 8 ? i : i - 8));
  CHECK_EQ(kept->moved, 0);
  CHECK_EQ(kept->flags & 0x44500u, 0); /* TF DF NT AC */
}

CHECK_TEST(registers, "the gate's caller finds its registers, xmm6 to xmm15 and the floating-point environment too, "
                      "after a callee that kept none of them, and after a fault") {
  REQUIRE(trap_init() == 0);
  for (int foreign = 0; foreign < 2; foreign++) {
    REQUIRE(trap_set_foreign_stack(foreign != 0, 0) == 0);
    struct kept kept;
    struct trap_fault fault;
    unsigned mxcsr = __builtin_ia32_stmxcsr();
    memset(&kept, 0, sizeof kept);
    kept_call(guarded(CODE(breaks_all)), &kept, 0);
    check_kept(&kept);
    CHECK_EQ(kept.result, (uint64_t)-3);
    CHECK(!trap_take_fault(&fault));
    memset(&kept, 0, sizeof kept);
    kept_call(guarded(CODE(breaks_all_and_faults)), &kept, 0);
    check_kept(&kept);
    CHECK_EQ(kept.result, 0);
    CHECK_EQ(kept.mxcsr, mxcsr);
    CHECK_EQ(kept.fcw, 0x37f);
    CHECK_EQ(kept.x87_tag, 0xffff);
    CHECK(trap_take_fault(&fault));
    CHECK_EQ(fault.address, 16);
  }
}

/* ---- the TEB ---- */

struct bounds {
  uint64_t base, limit, deallocation, list;
};
static struct bounds bounds(void) {
  return (struct bounds){__readgsqword(8), __readgsqword(0x10), __readgsqword(0x1478), __readgsqword(0)};
}
static bool same(struct bounds a, struct bounds b) { return memcmp(&a, &b, sizeof a) == 0; }
static bool on_stack(struct bounds b) {
  uint64_t sp = (uint64_t)(uintptr_t)__builtin_frame_address(0);
  return sp < b.base && sp >= b.limit && b.limit > b.deallocation;
}

static struct bounds seen, vm_bounds, seen_back;
static int looks(int value) {
  seen = bounds();
  CHECK(on_stack(seen));
  return value + 1;
}
static int looks_and_faults(int value) {
  looks(value);
  *(volatile int *)zero = 1;
  return value;
}
static int back(int value) {
  uint64_t flags = __readeflags();
  __asm__ volatile("cld" : : : "cc");
  CHECK_EQ(flags & 0x400, 0);
  seen_back = bounds();
  CHECK(on_stack(seen_back));
  CHECK(same(seen_back, vm_bounds));
  CHECK_EQ(GUARD(looks)(1), 2); /* and a callout inside it */
  return value;
}
static int calls_back(int (*function)(int), int value) {
  struct bounds before = bounds();
  __asm__ volatile("std" : : : "cc"); /* as no callee may: the callback must not see it */
  int result = function(value);
  __asm__ volatile("cld" : : : "cc");
  CHECK(same(before, bounds()));
  return result;
}
CHECK_TEST(teb, "the TEB's stack bounds are those of the stack in use: in a callout, in a callback, after return and "
                "after a fault") {
  REQUIRE(trap_init() == 0);
  void *code;
  struct trap_fault fault;
  vm_bounds = bounds();
  CHECK(on_stack(vm_bounds));
  CHECK_EQ(GUARD(looks)(1), 2);
  CHECK(!same(seen, vm_bounds));
  CHECK_EQ(seen.list, UINT64_MAX); /* no frame is registered on this stack: Wine's libraries ask */
  CHECK(same(vm_bounds, bounds()));
  CHECK_EQ(GUARD(looks_and_faults)(1), 0);
  CHECK(trap_take_fault(&fault));
  CHECK(same(vm_bounds, bounds()));
  REQUIRE(trap_callback(CODE(back), 0, &code) == 0);
  CHECK_EQ(GUARD(calls_back)(AS(back, code), 5), 5);
  CHECK(same(vm_bounds, bounds()));
}

static int spoils_teb(int value) {
  __writegsqword(8, 0x1000);
  __writegsqword(0x10, 0x2000);
  __writegsqword(0x1478, 0x3000);
  return value;
}
CHECK_TEST(teb_spoiled, "what a callee leaves in the TEB's stack bounds does not reach the VM") {
  REQUIRE(trap_init() == 0);
  vm_bounds = bounds();
  CHECK_EQ(GUARD(spoils_teb)(4), 4);
  CHECK(same(vm_bounds, bounds()));
  CHECK_EQ(GUARD(looks)(1), 2);
}

static int spoils_slot(int value) {
  for (unsigned i = 0; i < 64; i++) {
    uint64_t word = __readgsqword(0x1480 + 8 * i);
    if (word != 0 && word > (uint64_t)1 << 48)
      __writegsqword(0x1480 + 8 * i,
                     (uint64_t)value * 0x0101010101010101u); /* a slot's offset less an address is negative */
  }
  return value;
}
CHECK_TEST(word_spoiled, "a thread-local word that a callee overwrote is found out and mended") {
  REQUIRE(trap_init() == 0);
  struct trap_fault fault;
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(GUARD(spoils_slot)(i), i);
    CHECK_EQ(GUARD(looks_and_faults)(1), 0);
    CHECK(trap_take_fault(&fault));
  }
}

/* ---- LastError ---- */

static int sets_last_error(int value) {
  SetLastError((DWORD)value);
  return value;
}
CHECK_TEST(
    last_error,
    "GetLastError is the callee's after a call, also where the gate closes pages, and the VM's own after a fault") {
  REQUIRE(trap_init() == 0);
  struct pkeys_space_request request = {.name = "old", .bytes = 65536};
  struct pkeys_image *image;
  struct trap_fault fault;
  for (int closes = 0; closes < 2; closes++) {
    REQUIRE(pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, NULL) == 0);
    REQUIRE(pkeys_image_set_mechanism(image, closes ? PKEYS_MECHANISM_MPROTECT_PAGE : PKEYS_MECHANISM_FLAG) == 0);
    CHECK_EQ(GUARD(sets_last_error)(4711), 4711);
    CHECK_EQ(GetLastError(), 4711);
    SetLastError(42);
    CHECK_EQ(GUARD(looks_and_faults)(1), 0);
    CHECK_EQ(GetLastError(), 42);
    CHECK(trap_take_fault(&fault));
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

/* ---- codes ---- */

static int privileged(int value) {
  __asm__ volatile("hlt");
  return value;
}
static int misaligned(int value) {
  uint64_t words[2] = {0, 0};
  __asm__ volatile("pushfq\n\torq $0x40000, (%%rsp)\n\tpopfq\n\tmovq 1(%0), %%rax"
                   :
                   : "r"(words)
                   : "rax", "memory", "cc");
  return value;
}
static int backwards(int value) {
  __asm__ volatile("std\n\tmovq $1, 0" : : : "memory", "cc");
  return value;
}
static int raises(int value) {
  RaiseException((DWORD)value, 0, 0, NULL);
  return 1;
}
static int raises_for_good(int value) {
  RaiseException((DWORD)value, EXCEPTION_NONCONTINUABLE, 0, NULL);
  return 1;
}
static char *guard_page;
static int touches_guard(int value) {
  *(volatile char *)guard_page = 1;
  return value;
}
static void fails_with(int (*callee)(int), int argument, uint32_t code, int signal, unsigned flags) {
  struct trap_fault fault;
  memset(&fault, 0, sizeof fault);
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(AS(*callee, guarded(CODE(callee)))(argument), 0);
    REQUIRE(trap_take_fault(&fault));
    CHECK_EQ((uint32_t)fault.code, code);
    CHECK_EQ(fault.signal, signal);
    CHECK_EQ(fault.flags, flags);
    CHECK_EQ(fault.pc != 0, true);
  }
}
CHECK_TEST(codes, "code is the Windows exception code, signal the C signal that stands for it; an exception raised by "
                  "number that nobody takes fails the callout") {
  REQUIRE(trap_init() == 0);
  fails_with(looks_and_faults, 0, EXCEPTION_ACCESS_VIOLATION, SIGSEGV, 0);
  fails_with(privileged, 0, EXCEPTION_PRIV_INSTRUCTION, SIGSEGV, 0);
  fails_with(backwards, 0, EXCEPTION_ACCESS_VIOLATION, SIGSEGV, 0);
  if (GetProcAddress(GetModuleHandleA("ntdll.dll"), "wine_get_version") != NULL)
    printf("#   Wine clears the alignment-check flag and goes on: misalignment is not tried\n");
  else fails_with(misaligned, 0, EXCEPTION_DATATYPE_MISALIGNMENT, SIGSEGV, 0);
  fails_with(raises, (int)0xE0001234u, 0xE0001234u, SIGABRT, TRAP_FAULT_UNWIND);
  fails_with(raises_for_good, (int)0xE06D7363u, 0xE06D7363u, SIGABRT, TRAP_FAULT_UNWIND);
  guard_page = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE | PAGE_GUARD);
  struct trap_fault fault;
  CHECK_EQ(GUARD(touches_guard)(7), 0);
  CHECK(trap_take_fault(&fault));
  CHECK_EQ((uint32_t)fault.code, EXCEPTION_GUARD_PAGE);
}

/* ---- who comes first ---- */

static int breaks(int value) {
  __asm__ volatile("int3");
  return value;
}
static volatile int handled;
static LONG WINAPI takes_breakpoints(EXCEPTION_POINTERS *pointers) {
  if (pointers->ExceptionRecord->ExceptionCode != EXCEPTION_BREAKPOINT) return EXCEPTION_CONTINUE_SEARCH;
  handled++;
  pointers->ContextRecord->Rip = (DWORD64)(uintptr_t)pointers->ExceptionRecord->ExceptionAddress + 1;
  return EXCEPTION_CONTINUE_EXECUTION;
}
CHECK_TEST(debuggers, "breakpoints are a debugger's: in a callout too they go on to the other handlers") {
  REQUIRE(trap_init() == 0);
  struct trap_fault fault;
  AddVectoredExceptionHandler(0, takes_breakpoints);
  CHECK_EQ(GUARD(breaks)(3), 3);
  CHECK_EQ(handled, 1);
  CHECK(!trap_take_fault(&fault));
}

static LONG WINAPI takes_violations(EXCEPTION_POINTERS *pointers) {
  if (pointers->ExceptionRecord->ExceptionCode != EXCEPTION_ACCESS_VIOLATION) return EXCEPTION_CONTINUE_SEARCH;
  handled++;
  DWORD before;
  VirtualProtect((void *)pointers->ExceptionRecord->ExceptionInformation[1], 1, PAGE_READWRITE, &before);
  return EXCEPTION_CONTINUE_EXECUTION;
}
CHECK_TEST(passed_on,
           "I5: a VM's own fault outside a callout goes on to the VM's handler, and is counted as passed on") {
  REQUIRE(trap_init() == 0);
  struct trap_fault fault;
  char *page = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_READONLY);
  AddVectoredExceptionHandler(0, takes_violations);
  uint64_t before = trap_statistics().passed_on;
  *(volatile char *)page = 1;
  CHECK_EQ(handled, 1);
  CHECK_EQ(trap_statistics().passed_on, before + 1);
  CHECK(!trap_take_fault(&fault));
  /* In a callout the trap is first: the VM's handler does not see it. */
  CHECK_EQ(GUARD(looks_and_faults)(1), 0);
  CHECK(trap_take_fault(&fault));
  CHECK_EQ(handled, 1);
}
CHECK_TEST(rearmed, "trap_rearm puts the handler before one that was added at the head since") {
  REQUIRE(trap_init() == 0);
  struct trap_fault fault;
  guard_page = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_READONLY);
  AddVectoredExceptionHandler(1, takes_violations);
  CHECK_EQ(GUARD(touches_guard)(7), 7); /* that one took it */
  CHECK_EQ(handled, 1);
  DWORD before;
  VirtualProtect(guard_page, 4096, PAGE_READONLY, &before);
  CHECK_EQ(trap_rearm(), 0);
  CHECK_EQ(GUARD(touches_guard)(7), 0);
  CHECK(trap_take_fault(&fault));
  CHECK_EQ(handled, 1);
}

/* ---- unwinding ---- */

static uintptr_t walked[64];
static unsigned walked_count;
static __attribute__((noinline)) int walks(int value) {
  CONTEXT context;
  RtlCaptureContext(&context);
  for (walked_count = 0; walked_count < 64 && context.Rip != 0; walked_count++) {
    walked[walked_count] = context.Rip;
    DWORD64 base;
    RUNTIME_FUNCTION *function = RtlLookupFunctionEntry(context.Rip, &base, NULL);
    if (function == NULL) { /* a leaf */
      context.Rip = *(DWORD64 *)context.Rsp;
      context.Rsp += 8;
    } else {
      void *data;
      DWORD64 frame;
      RtlVirtualUnwind(UNW_FLAG_NHANDLER, base, context.Rip, function, &context, &data, &frame, NULL);
    }
  }
  return value;
}
static bool passed_through(const void *function, uintptr_t bytes) {
  for (unsigned i = 0; i < walked_count; i++)
    if (walked[i] - (uintptr_t)function < bytes) return true;
  return false;
}
static __attribute__((noinline)) int walks_from(int (*code)(int)) {
  volatile int result = code(8);
  return result + 1;
}
static int walks_back(int value) { return walks(value); }
CHECK_TEST(walk, "the unwinder finds its way from a callee through the gate to the VM's frames, and from a callback "
                 "through the foreign frames as well") {
  REQUIRE(trap_init() == 0);
  void *code;
  CHECK_EQ(walks_from(GUARD(walks)), 9);
  CHECK(passed_through(CODE(walks_from), 128));
  CHECK(walked_count < 64);
  REQUIRE(trap_callback(CODE(walks_back), 0, &code) == 0);
  __typeof__(&calls_back) outer = GUARD(calls_back);
  CHECK_EQ(outer(AS(walks_back, code), 5), 5);
  CHECK(passed_through(CODE(calls_back), 256));
  CHECK(walked_count < 64);
}

static jmp_buf vm_buffer;
static int jumps_over(int value) { longjmp(vm_buffer, value); }
static void *plain_buffer[5];
static int jumps_plainly(int value) {
  __builtin_longjmp(plain_buffer, 1);
  return value;
}
static int one(int value) { return value; }
CHECK_TEST(longjmp_over, "a longjmp over the gate: one that unwinds fails the callout, for the system finds no such "
                         "frame on the stack; one that does not is found by the next callout, which ends the process") {
  REQUIRE(trap_init() == 0);
  __typeof__(&one) honest = GUARD(one);
  __typeof__(&jumps_over) jump = GUARD(jumps_over);
  __typeof__(&jumps_plainly) plain = GUARD(jumps_plainly);
  struct trap_fault fault;
  volatile int arrived = 0;
  if (setjmp(vm_buffer) == 0) CHECK_EQ(jump(1), 0);
  else arrived = 1;
  CHECK_EQ(arrived, 0);
  REQUIRE(trap_take_fault(&fault));
  CHECK_EQ(fault.flags, TRAP_FAULT_UNWIND);
  CHECK((uint32_t)fault.code == 0xC0000028u ||
        (uint32_t)fault.code == 0xC0000029u); /* bad stack, invalid unwind target */
  CHECK_EQ(honest(7), 7);
  CHECK_DIES(SIGABRT, {
    if (__builtin_setjmp(plain_buffer) == 0) plain(1);
    honest(1);
  });
}
static int exits_thread(int value) {
  pthread_exit(NULL);
  return value;
}
static void *exiting_thread(void *argument) {
  struct trap_fault fault;
  memset(&fault, 0, sizeof fault);
  CHECK_EQ(GUARD(exits_thread)(1), 0);
  CHECK(trap_take_fault(&fault));
  CHECK_EQ(fault.flags, TRAP_FAULT_UNWIND);
  return argument;
}
CHECK_TEST(thread_exit, "pthread_exit in a callout, which is a longjmp in winpthreads, fails the callout") {
  REQUIRE(trap_init() == 0);
  pthread_t thread;
  void *result = NULL;
  REQUIRE(pthread_create(&thread, NULL, exiting_thread, (void *)7) == 0);
  CHECK_EQ(pthread_join(thread, &result), 0);
  CHECK_EQ((uintptr_t)result, 7);
}
static int vm_throws(int value) {
  RaiseException(0xE0005678u, 0, 0, NULL);
  return value;
}
CHECK_TEST(
    callback_raises,
    "an exception of the VM's that leaves a callback ends the process with a message: no foreign frame is unwound") {
  REQUIRE(trap_init() == 0);
  void *code;
  REQUIRE(trap_callback(CODE(vm_throws), 0, &code) == 0);
  CHECK_DIES(SIGABRT, GUARD(calls_back)(AS(vm_throws, code), 1));
}

/* ---- stacks ---- */

static int uses(int kib) {
  volatile char *room = _alloca((size_t)kib << 10);
  for (int i = 0; i < kib; i++) room[i << 10] = (char)i;
  return room[0] + kib;
}
CHECK_TEST(whole_stack,
           "a callee may use its stack nearly to the end; with 64 KiB of frame below the guard the overflow is told") {
  REQUIRE(trap_init() == 0);
  struct trap_fault fault;
  CHECK_EQ(GUARD(uses)(7 << 10), 7 << 10);
  CHECK(!trap_take_fault(&fault));
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(GUARD(uses)(9 << 10), 0);
    REQUIRE(trap_take_fault(&fault));
    CHECK_EQ((uint32_t)fault.code, EXCEPTION_STACK_OVERFLOW);
    CHECK((fault.flags & TRAP_FAULT_STACK_OVERFLOW) != 0);
  }
}

static DWORD WINAPI guarded_thread(void *argument) {
  struct trap_fault fault;
  *(int *)argument = GUARD(one)(5) + GUARD(looks_and_faults)(1) + (trap_take_fault(&fault) ? 10 : 0);
  return 0;
}
CHECK_TEST(threads, "threads come and go: each is attached by its first callout and gives its slot back at its end") {
  REQUIRE(trap_init() == 0);
  uint64_t live = trap_statistics().threads_live;
  for (int i = 0; i < 100; i++) {
    int result = 0;
    HANDLE thread = CreateThread(NULL, 0, guarded_thread, &result, 0, NULL);
    REQUIRE(thread != NULL);
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
    CHECK_EQ(result, 15);
  }
  CHECK_EQ(trap_statistics().threads_live, live);
  CHECK(trap_statistics().threads_ever >= 100);
}

/* ---- loading ---- */

CHECK_TEST(loading, "trap_dlopen is LoadLibrary as a callout: a missing library gives Windows's own words") {
  REQUIRE(trap_init() == 0);
  char message[256] = "";
  struct trap_fault fault;
  void *handle = trap_dlopen("turnkey-no-such.dll", 0, NULL, &fault, message, sizeof message);
  CHECK(handle == NULL);
  CHECK_EQ(fault.pending, 0);
  CHECK(strstr(message, "Windows error 126") != NULL);
  handle = trap_dlopen("version.dll", 0, NULL, &fault, message, sizeof message);
  CHECK(handle != NULL);
  CHECK_EQ(trap_dlclose(handle, NULL, &fault, message, sizeof message), 0);
}

CHECK_MAIN()
