/*
 * trap_faults.c: what a callee can do to itself, and what the caller then finds. That is a failed callout with a right
 * record, and a trap that works again. Every callee-saved register, the stack, the floating-point environment, the
 * signal mask and errno's owner are intact. For every gate variant.
 *
 * Under valgrind the tests of every fault and of threads fail. It takes the general registers of an edited signal
 * frame, but not the mask, mxcsr and x87 state. Not under -fsanitize=address: it owns SIGSEGV and the stacks. Under
 * -fsanitize=undefined it runs: what faults on purpose is exempted.
 *
 * More than 400 lines: one table of faulty callees and the one check of all that must survive each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>

#include "trap_common.h"

#ifndef SEGV_PKUERR
#define SEGV_PKUERR 4
#endif

extern const char faulty_library[], faulty_library_end[];
int throws_over_the_gate(int value);
int catches_its_own(int value);
int catches_a_callback(int (*callback)(int), int value);

/* ---- callees ---- */

static volatile uintptr_t zero; /* the compiler knows nothing of it */

#define ON_PURPOSE __attribute__((no_sanitize("undefined")))
ON_PURPOSE static void reads_null(void) { (void)*(volatile int *)(zero + 8); }
ON_PURPOSE static void writes_null(void) { *(volatile int *)(zero + 16) = 1; }
ON_PURPOSE static void calls_null(void) { ((void (*)(void))zero)(); }
#define WILD 0x00007a0000001000u
ON_PURPOSE static void reads_wild(void) { (void)*(volatile char *)(WILD + zero); }
ON_PURPOSE static void writes_wild(void) { *(volatile char *)(WILD + zero) = 1; }
ON_PURPOSE static void calls_wild(void) { ((void (*)(void))(WILD + zero))(); }
ON_PURPOSE static void calls_data(void) { ((void (*)(void))(uintptr_t)&probe_seen)(); }
static const int constant = 7;
ON_PURPOSE static void writes_constant(void) { *(volatile int *)((uintptr_t)&constant + zero) = 8; }

static volatile int sink, divisor;
static volatile int dividend = 12345;
ON_PURPOSE static void divides(void) { sink = dividend / divisor; }
static volatile int most_negative = -2147483647 - 1, minus_one = -1;
ON_PURPOSE static void overflows_division(void) { sink = most_negative % minus_one; }

__attribute__((noinline, noclone, no_sanitize("undefined"))) static int recurses(int depth) {
  volatile char room[64];
  room[depth & 63] = (char)depth;
  return depth == most_negative ? 0 : recurses(depth + 1) + room[depth & 63];
}
static void overflows_stack(void) { sink = recurses(0); }
__attribute__((noinline, noclone, no_sanitize("undefined"))) static int recurses_widely(int depth) {
  volatile char room[64 << 10]; /* one word of it is touched: the frame steps over many pages */
  room[depth & 7] = (char)depth;
  return depth == most_negative ? 0 : recurses_widely(depth + 1) + room[depth & 7];
}
static void overflows_stack_widely(void) { sink = recurses_widely(0); }

/* Everything from its own frame upwards, until memory ends. */
__attribute__((noinline)) static void smashes_upwards(void) {
  volatile char *at = __builtin_frame_address(0);
  for (;;) *at++ = 0x43;
}
/* Its own return address and 256 bytes of its caller's frame; then returns. */
__attribute__((noinline)) static void smashes_some(void) {
  volatile char *at = __builtin_frame_address(0);
  for (int i = 0; i < 256; i++) at[i] = 0x43;
}

static char *truncated_page; /* a file mapping whose file is gone */
static void writes_truncated(void) { truncated_page[0] = 1; }
static void aborts(void) { abort(); }
extern void __assert_fail(const char *, const char *, unsigned, const char *) __attribute__((noreturn));
static void asserts(void) { __assert_fail("this is wanted", "trap_faults.c", 1, "asserts"); }
extern void __stack_chk_fail(void) __attribute__((noreturn));
static void stack_protector(void) { __stack_chk_fail(); }
extern void __chk_fail(void) __attribute__((noreturn));
static void fortify(void) { __chk_fail(); }
static void throws(void) { throws_over_the_gate(1); }
static void exits_thread(void) { pthread_exit(NULL); }
static void cancels_itself(void) {
  pthread_cancel(pthread_self());
  pthread_testcancel();
}
static void aborts_blocked(void) { /* abort opens the mask itself */
  sigset_t all;
  sigemptyset(&all);
  sigaddset(&all, SIGABRT);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
  abort();
}
static void faults_with_signals_blocked(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGALRM);
  sigaddset(&set, SIGPROF);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  writes_null();
}
/* ---- the table ---- */

enum { ANY = -1000, NO_OWN_STACK = 1, ON_THREAD = 2, NOT_EMULATED = 4 /* the emulator does not raise it */ };
struct expected {
  const char *name;
  void (*callee)(void);
  int signal, code;      /* code ANY: not checked */
  long trap;             /* REG_TRAPNO, or ANY */
  int access;            /* enum trap_access, or ANY */
  uint64_t address;      /* or 1: not checked */
  unsigned flags, notes; /* TRAP_FAULT_* that must be set exactly */
};
#define COUNT(array) (sizeof(array) / sizeof *(array))
static void run_case(const struct way *way, const struct expected *e, size_t stack_bytes,
                     struct environment environment);
static void note_environment(void);
static void silence(void);
/* `table`, and the callees and tests that are the machine's own; THREAD_FAULTS: some of them, to raise at once on
 * several threads. */
#if defined(__x86_64__)
#include "trap_faults_linux_x86_64.h"
#elif defined(__aarch64__)
#include "trap_faults_linux_aarch64.h"
#endif

static void map_truncated(void) {
  char name[] = "/tmp/turnkey-trap-XXXXXX";
  int fd = mkstemp(name);
  if (fd < 0) fd = memfd_create("truncated", 0);
  else unlink(name);
  CHECK_EQ(ftruncate(fd, 2 * PAGE), 0);
  truncated_page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK_EQ(ftruncate(fd, 0), 0);
  close(fd);
}

static void run_case(const struct way *way, const struct expected *e, size_t stack_bytes,
                     struct environment environment) {
  void *code = guarded(CODE(e->callee), stack_bytes, way->flags);
  struct probe p;
  memset(&p, 0x77, sizeof p);
  probe_call(code, &p);
  struct trap_fault fault;
  memset(&fault, 0, sizeof fault);
  bool failed = trap_take_fault(&fault);
  int before = check_now->failures;
  CHECK(failed);
  if (e->signal != ANY) CHECK_EQ(fault.signal, e->signal);
  if (e->code != ANY) CHECK_EQ(fault.code, e->code);
  if (e->trap != ANY) CHECK_EQ(fault.trap_number, e->trap);
  if (e->access != ANY) CHECK_EQ(fault.access, e->access);
  if (e->address != 1) CHECK_EQ(fault.address, e->address);
  unsigned flags = fault.flags;
  if (!way->foreign_stack) flags |= e->flags & TRAP_FAULT_STACK_OVERFLOW; /* known only of foreign stacks */
  CHECK_EQ(flags, e->flags);
  CHECK_EQ(fault.function, (uintptr_t)e->callee);
  CHECK_EQ(fault.thunk, (uintptr_t)code);
  CHECK_EQ(fault.thread_id, syscall(SYS_gettid));
  CHECK_EQ(fault.depth, 1);
  CHECK_EQ(fault.phase, TRAP_IN_CALL);
  CHECK_EQ(fault.pkey, -1);
  CHECK_EQ(fault.pc, fault.registers[REGISTER_PC]);
  CHECK_EQ(fault.space_found, 0);
  /* All images were closed when it came; flag has nothing to close. */
  CHECK_EQ(fault.mechanism_held, way->mechanism != WAY_FLAG);
  CHECK_EQ(fault.foreign_sp_top != 0, way->foreign_stack);
  /* What the caller finds. */
  for (int i = 0; i < 2; i++) CHECK_EQ(p.result[i], 0);
  for (int i = 0; i < PROBE_RESULT_VECTORS; i++) CHECK(p.result_vector[i][0] == 0 && p.result_vector[i][1] == 0);
  for (int i = 0; i < PROBE_KEPT; i++) CHECK_EQ(p.saved[i], PROBE_SAVED(i));
  CHECK_EQ(p.stack_moved, 0);
  probe_check_environment(&p, environment);
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  for (int s = 1; s < 32; s++) CHECK_EQ(sigismember(&mask, s), s == SIGUSR2);
  CHECK(!trap_in_callout());
  if (way->mechanism != WAY_FLAG) *(volatile char *)way->space = 1; /* open again */
  CHECK_HONEST();
  if (check_now->failures != before) printf("#   ... in case '%s', %zu stack bytes\n", e->name, stack_bytes);
  trap_thunk_release(code);
}

struct on_thread {
  const struct way *way;
  const struct expected *e;
};
static void note_environment(void) {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2); /* the VM's own mask is not empty */
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  environment_set(ENVIRONMENT_NOTED);
  trap_note_thread();
}
static void *thread_case(void *argument) {
  const struct on_thread *t = argument;
  trap_attach();
  note_environment();
  run_case(t->way, t->e, 0, ENVIRONMENT_NOTED);
  return NULL;
}

static void silence(void) { /* abort, assert and terminate write on standard error */
  int null = open("/dev/null", O_WRONLY);
  if (null >= 0) dup2(null, STDERR_FILENO);
}

static void all_faults(struct way *way) {
  note_environment();
  for (size_t i = 0; i < COUNT(table); i++) {
    const struct expected *e = &table[i];
    if ((e->notes & NO_OWN_STACK) && !way->foreign_stack)
      continue; /* on the caller's stack it destroys the VM's frames: that is what the foreign stack is for */
    if ((e->notes & NOT_EMULATED) && emulated_cpu()) continue;
    if (e->notes & ON_THREAD) {
      struct on_thread t = {way, e};
      pthread_t thread;
      CHECK_EQ(pthread_create(&thread, NULL, thread_case, &t), 0);
      CHECK_EQ(pthread_join(thread, NULL), 0);
    } else {
      run_case(way, e, 0, ENVIRONMENT_NOTED);
      run_case(way, e, 64, ENVIRONMENT_NOTED);
    }
  }
}
/* Broken once, each: FLAG_DF, FLAG_AC, FLAG_TF left out of recover (NT may be: sigreturn does not take it from the
 * context); `fninit` and `ldmxcsr` out of the landing pad; the memcpy of uc_sigmask; r15 out of recover; the check of
 * SI_TKILL in self_abort (no SIGABRT is taken); I8: a personality that lets the throw cross the gate. */
CHECK_TEST(every_fault,
           "every fault fails the callout, with a right record, and the caller finds everything as it was") {
  silence();
  map_truncated();
  each_way(all_faults);
}

/* With TRAP_FLOAT a failed callout comes back with what the caller had at that call; without, with what the thread last
 * noted. */
static void float_environment(struct way *way) {
  note_environment();
  environment_set(ENVIRONMENT_OTHER); /* not noted */
  bool per_call = (way->flags & TRAP_FLOAT) || way->mechanism == WAY_HOOKED ||
                  way->mechanism == WAY_GLIBC; /* the slow gate always saves them */
  for (size_t i = 0; i < COUNT(table); i++)
    if (table[i].callee == bad_control_words)
      run_case(way, &table[i], 0, per_call ? ENVIRONMENT_OTHER : ENVIRONMENT_NOTED);
}
CHECK_TEST(float_noted_or_per_call,
           "I7: the floating-point environment after a fault: the call's own with TRAP_FLOAT, else the noted ones") {
  each_way(float_environment);
}

/* ---- C++ ---- */

static int throws_back(int value) { return throws_over_the_gate(value); }
CHECK_TEST(exceptions_inside,
           "I8: a callee may throw and catch; an exception from a callback ends at the callback thunk") {
  REQUIRE(trap_init() == 0);
  CHECK_EQ(GUARD(catches_its_own, 0, 0)(41), 42);
  /* The VM's code throws into foreign frames: no callout has failed, the VM has. */
  CHECK_DIES_SAYING(SIGABRT, "", GUARD(catches_a_callback, 0, 0)(AS(throws_back, callback(CODE(throws_back), 0)), 1));
}

/* ---- depth ---- */

static int inner_faults(int value) {
  writes_null();
  return value;
}
static __typeof__(&inner_faults) inner_thunk;
static struct trap_fault inner_record;
static int fails_inside(int value) { /* the VM's callback: makes a callout that fails */
  unsigned depth = trap_depth();
  CHECK_EQ(inner_thunk(value), 0);
  CHECK(trap_take_fault(&inner_record));
  CHECK_EQ(trap_depth(), depth);
  return value + 1;
}
static int outer_calls(int (*back)(int), int value) {
  volatile int kept = value * 3;
  int result = back(value);
  return result * 1000 + kept;
}
ON_PURPOSE static int outer_faults(int (*back)(int), int value) {
  back(value);
  *(volatile int *)(zero + 24) = 1;
  return value;
}
static void nested_fault(struct way *way) {
  inner_thunk = GUARD(inner_faults, 0, way->flags);
  int (*back)(int) = AS(fails_inside, callback(CODE(fails_inside), 0));
  __typeof__(&outer_calls) outer = GUARD(outer_calls, 0, way->flags);
  struct trap_fault fault;
  CHECK_EQ(outer(back, 7), 8021);
  CHECK(!trap_take_fault(&fault)); /* the outer one did not fail */
  CHECK_EQ(inner_record.depth, 2);
  CHECK_EQ(inner_record.address, 16);
  __typeof__(&outer_faults) failing = GUARD(outer_faults, 0, way->flags);
  CHECK_EQ(failing(back, 7), 0);
  CHECK(trap_take_fault(&fault));
  CHECK_EQ(fault.depth, 1);
  CHECK_EQ(fault.address, 24);
  CHECK_HONEST();
  trap_thunk_release((void *)(uintptr_t)inner_thunk);
  trap_thunk_release((void *)(uintptr_t)outer);
  trap_thunk_release((void *)(uintptr_t)failing);
  trap_callback_release((void *)(uintptr_t)back);
}
/* Broken once: recover with &slot->frames[0] (the inner fault comes back to the outer callout's caller). */
CHECK_TEST(nested_innermost, "a fault in a callout under a callback fails the innermost callout only") {
  each_way(nested_fault);
}

/* ---- in numbers ---- */

static void one_after_another(struct way *way) {
  if (way->flags) return;
  unsigned long count = way->mechanism == WAY_FLAG && way->foreign_stack ? scaled(1000000, 20000) : scaled(20000, 1000);
  __typeof__(&writes_null) write = GUARD(writes_null, 0, 0);
  struct trap_fault *fault = trap_thread_fault();
  unsigned long failed = 0;
  for (unsigned long i = 0; i < count; i++) {
    write();
    failed += fault->pending != 0 && fault->address == 16;
    fault->pending = 0;
  }
  CHECK_EQ(failed, count);
  CHECK_HONEST();
  trap_thunk_release((void *)(uintptr_t)write);
}
CHECK_TEST(many_faults, "a million faults in a row") { each_way(one_after_another); }

#define FAULTING_THREADS 8
static unsigned long faults_each;
static bool faulting_own_stack;
static pthread_barrier_t barrier;
static void *faulting_thread(void *argument) {
  /* On the caller's stack wide frames would step over the guard page into another thread's stack. */
  void (*callees[])(void) = {THREAD_FAULTS, faulting_own_stack ? overflows_stack : overflows_stack_widely};
  size_t index = (size_t)(uintptr_t)argument;
  uintptr_t wrong = 0;
  void (*thunks[COUNT(callees)])(void);
  for (size_t k = 0; k < COUNT(callees); k++) thunks[k] = AS(writes_null, guarded(CODE(callees[k]), 0, 0));
  pthread_barrier_wait(&barrier);
  for (unsigned long i = 0; i < faults_each; i++) {
    size_t k = (i + index) % COUNT(callees);
    struct trap_fault fault;
    thunks[k]();
    if (!trap_take_fault(&fault) || fault.function != (uintptr_t)callees[k] || fault.thread_id != syscall(SYS_gettid))
      wrong++;
  }
  for (size_t k = 0; k < COUNT(callees); k++) trap_thunk_release((void *)(uintptr_t)thunks[k]);
  return (void *)wrong;
}
static void threads_at_once(struct way *way) {
  if (way->flags) return;
  faults_each = scaled(1500, 120);
  faulting_own_stack = !way->foreign_stack;
  pthread_t threads[FAULTING_THREADS];
  pthread_barrier_init(&barrier, NULL, FAULTING_THREADS);
  for (uintptr_t i = 0; i < FAULTING_THREADS; i++)
    REQUIRE(pthread_create(&threads[i], NULL, faulting_thread, (void *)i) == 0);
  for (int i = 0; i < FAULTING_THREADS; i++) {
    void *wrong = (void *)1;
    pthread_join(threads[i], &wrong);
    CHECK_EQ((uintptr_t)wrong, 0);
  }
  pthread_barrier_destroy(&barrier);
  if (way->mechanism != WAY_FLAG) *(volatile char *)way->space = 1;
}
/* Broken once: the record taken from slot 1 for everybody. */
CHECK_TEST(threads_fault_at_once, "faults on eight threads at once, each with its own record") {
  each_way(threads_at_once);
}

/* ---- loading ---- */

CHECK_TEST(
    loading,
    "a fault in a library's constructor fails trap_dlopen, phase 'load'; a missing library gives dlerror's text") {
  REQUIRE(trap_init() == 0);
  char message[256];
  struct trap_fault fault;
  void *handle = trap_dlopen("libturnkey-no-such.so", 2 /* RTLD_NOW */, NULL, &fault, message, sizeof message);
  CHECK(handle == NULL);
  CHECK_EQ(fault.pending, 0);
  CHECK(strstr(message, "libturnkey-no-such.so") != NULL);
  handle = trap_dlopen("libm.so.6", 2, NULL, &fault, message, sizeof message);
  CHECK(handle != NULL);
  CHECK_EQ(trap_dlclose(handle, NULL, &fault, message, sizeof message), 0);
  /* A fault nobody took stays the earlier callout's: it is not the loader's. */
  GUARD(writes_null, 0, 0)();
  handle = trap_dlopen("libturnkey-no-such.so", 2, NULL, &fault, message, sizeof message);
  CHECK(handle == NULL);
  CHECK_EQ(fault.pending, 0);
  CHECK(strstr(message, "libturnkey-no-such.so") != NULL);
  handle = trap_dlopen("libm.so.6", 2, NULL, &fault, message, sizeof message);
  REQUIRE(handle != NULL);
  CHECK_EQ(trap_dlclose(handle, NULL, &fault, message, sizeof message), 0);
  CHECK(trap_take_fault(&fault));
  CHECK_EQ(fault.address, 16);
  int fd = memfd_create("faulty", 0);
  REQUIRE(write(fd, faulty_library, (size_t)(faulty_library_end - faulty_library)) ==
          faulty_library_end - faulty_library);
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  handle = trap_dlopen(name, 2, NULL, &fault, message, sizeof message);
  CHECK(handle == NULL);
  CHECK(fault.pending != 0);
  CHECK_EQ(fault.phase, TRAP_IN_LOAD);
  CHECK_EQ(fault.signal, SIGSEGV);
  CHECK_EQ(fault.address, 16);
  CHECK_HONEST();
}

CHECK_MAIN()
