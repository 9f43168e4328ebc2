/*
 * trap_handlers.c: signal handlers of others beside the trap's. A profiler's that unwinds in the middle of a callout; a
 * callee's own, left by siglongjmp; a foreign library's that must come before the trap's; one that was there before,
 * and the stack that it runs on (I5, I12).
 *
 * Not under valgrind, whose signal frames do not give the mask back (see trap_faults.c).
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unwind.h>

#include "trap_common.h"

static volatile uintptr_t zero;
__attribute__((no_sanitize("undefined"))) static int writes_null(void) {
  *(volatile int *)(zero + 16) = 1;
  return 1;
}
static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  sigaction(signal, &action, NULL);
}

/* ---- a profiler ---- */

static struct {
  volatile unsigned walks, missed;
} profile;
/* The function that every walk must come through, far above the gates: the VM's. */
static const void *outermost;

static _Unwind_Reason_Code look(struct _Unwind_Context *context, void *data) {
  bool *found = data;
  *found = *found || _Unwind_FindEnclosingFunction((void *)_Unwind_GetIP(context)) == outermost;
  return _URC_NO_REASON;
}
static void unwinds(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info, (void)context;
  bool found = false;
  _Unwind_Backtrace(look, &found);
  profile.walks++;
  profile.missed += !found;
}
static __attribute__((noinline)) int samples(int value) {
  raise(SIGPROF);
  return value + 1;
}
static __attribute__((noinline)) int samples_in_callback(int (*back)(int), int value) {
  int result = back(value);
  raise(SIGPROF);
  return result;
}
static int (*nested_thunk)(int);
static __attribute__((noinline)) int vm_callback(int value) {
  raise(SIGPROF); /* VM code, below a suspended callout */
  return nested_thunk(value);
}
static __attribute__((noinline)) void profiled(struct way *way) {
  struct trap_fault fault;
  __typeof__(&samples) once = GUARD(samples, 0, way->flags);
  __typeof__(&samples_in_callback) outer = GUARD(samples_in_callback, 0, way->flags);
  int (*back)(int) = AS(vm_callback, callback(CODE(vm_callback), 0));
  nested_thunk = once;
  for (int onstack = 0; onstack <= 1; onstack++) {
    install(SIGPROF, unwinds, onstack ? SA_ONSTACK : 0);
    profile.walks = profile.missed = 0;
    for (int i = 0; i < 3; i++) {
      CHECK_EQ(once(41), 42);
      CHECK(!trap_take_fault(&fault));
      CHECK_EQ(outer(back, 6), 7);
      CHECK(!trap_take_fault(&fault));
    }
    CHECK_EQ(profile.walks, 12); /* one, and three of each nested call */
    CHECK_EQ(profile.missed, 0);
  }
  *(volatile int *)way->space = 1; /* the VM still has its rights */
}
CHECK_TEST(profiler, "I12: a handler that unwinds, and says nothing to the trap, walks from callee, nested callout and "
                     "callback through the gate; no callout fails") {
  outermost = CODE(profiled);
  each_way(profiled);
}

/* ---- a callee that probes memory ---- */

static sigjmp_buf away;
static void jumps(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info, (void)context;
  siglongjmp(away, 1);
}
static void probes(void) {
  struct sigaction before;
  sigaction(SIGSEGV, NULL, &before);
  install(SIGSEGV, jumps, 0);
  if (sigsetjmp(away, 1) == 0) writes_null();
  sigaction(SIGSEGV, &before, NULL);
}
static int probes_then_reads(const volatile int *image) {
  probes();
  return *image;
}
static int probes_then_writes(volatile int *place) {
  probes();
  *place = 77;
  return *place;
}
static int probes_then_copies(volatile int *place, const volatile int *image) {
  probes();
  *place = *image;
  return 1;
}
static int probes_then_faults(void) {
  probes();
  return writes_null();
}
static int probes_then_calls(int (*back)(int), int value) {
  probes();
  return back(value);
}
static volatile int *in_image;
static int reads_image(int value) {
  *in_image = value;
  return *in_image + 1;
}
static void jumped(struct way *way) {
  struct trap_fault fault;
  struct pkeys_loan loan;
  REQUIRE(pkeys_lend(64, NULL, 0, 0, PKEYS_LOAN_INOUT, false, &loan) == 0);
  volatile int *lent = (volatile int *)loan.address, *image = (volatile int *)way->space;
  in_image = image;
  *image = 4711;
  CHECK_EQ(GUARD(probes_then_reads, 0, way->flags)(image), 4711);
  CHECK(!trap_take_fault(&fault));
  CHECK_EQ(GUARD(probes_then_writes, 0, way->flags | TRAP_LENT)(lent), 77);
  CHECK(!trap_take_fault(&fault));
  CHECK_EQ(GUARD(probes_then_copies, 0, way->flags | TRAP_LENT)(lent, image), 1);
  CHECK(!trap_take_fault(&fault));
  CHECK_EQ(*lent, 4711);
  int (*back)(int) = AS(reads_image, callback(CODE(reads_image), 0));
  CHECK_EQ(GUARD(probes_then_calls, 0, way->flags)(back, 8), 9);
  CHECK(!trap_take_fault(&fault));
  trap_callback_release((void *)(uintptr_t)back);
  GUARD(probes_then_faults, 0, way->flags)();
  REQUIRE(trap_take_fault(&fault));
  CHECK_EQ(fault.address, 16);
  CHECK_EQ(fault.pkey, -1);
  pkeys_loan_release(loan.id);
}
CHECK_TEST(rights_after_jump, "a callee that leaves a handler of its own by siglongjmp has the callout's rights again: "
                              "it reads the image, writes its loan, calls back") {
  each_way(jumped);
}

static void denied(struct way *way) {
  struct trap_fault fault;
  if (way->mechanism == WAY_FLAG) return;
  volatile int *image = (volatile int *)way->space;
  *image = 5;
  GUARD(probes_then_writes, 0, way->flags)(image);
  REQUIRE(trap_take_fault(&fault));
  CHECK_EQ(fault.signal, SIGSEGV);
  CHECK_EQ(fault.address, way->space);
  CHECK_EQ(fault.access, TRAP_ACCESS_WRITE);
  CHECK_EQ(fault.mechanism_held, 1);
  CHECK_EQ(fault.space_found, 1);
  if (way->mechanism == WAY_KEYS) CHECK(fault.pkey > 0);
  CHECK_EQ(*image, 5);
}
/* Broken once: what pkeys-glibc denies left out of `callout_rights` (the store lands). */
CHECK_TEST(denied_after_jump,
           "what the callout's rights deny fails it after a siglongjmp too, once, with its evidence") {
  each_way(denied);
}

/* ---- a foreign library's own handler ---- */

static char *barrier;
static volatile int barrier_hits;
static struct sigaction barrier_before;
static void opens_barrier(int signal, siginfo_t *info, void *context) {
  if ((uintptr_t)info->si_addr - (uintptr_t)barrier < PAGE) {
    barrier_hits++;
    mprotect(barrier, PAGE, PROT_READ | PROT_WRITE);
    return;
  }
  if (barrier_before.sa_flags & SA_SIGINFO) barrier_before.sa_sigaction(signal, info, context);
  else _exit(9);
}
static int barrier_begin(void) {
  barrier = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct sigaction action = {.sa_sigaction = opens_barrier, .sa_flags = SA_SIGINFO};
  return sigaction(SIGSEGV, &action, &barrier_before);
}
static int barrier_use(void) {
  mprotect(barrier, PAGE, PROT_READ);
  *(volatile char *)barrier = 1;
  return barrier_hits;
}
static int barrier_end(void) { return sigaction(SIGSEGV, &barrier_before, NULL); }

static volatile int vm_calls;
static void vm_handler(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info, (void)context;
  vm_calls++;
  _exit(vm_calls == 1 ? 7 : 8);
}
static int foreign_policy(enum trap_response response) {
  struct trap_fault fault;
  trap_policy *policy = trap_policy_create(response);
  void *use, *null;
  int hits = barrier_hits;
  if (trap_thunk(CODE(barrier_use), 0, 0, policy, &use) != 0 || trap_thunk(CODE(writes_null), 0, 0, policy, &null) != 0)
    return 1;
  if (AS(barrier_use, use)() != hits + 1 || trap_take_fault(&fault)) return 2;
  if (response != TRAP_ALWAYS) return 0;
  AS(writes_null, null)();
  return trap_take_fault(&fault) && fault.address == 16 ? 0 : 3;
}
/* Broken once, each: is_foreign always false (the second use fails after trap_rearm); `put_back` not looked at (after
 * the VM's handler it fails). */
CHECK_TEST(foreign_first,
           "I5: a handler that foreign code installs is asked first, whatever is armed again when; what it "
           "hands on fails the callout") {
  static const enum trap_response responses[] = {TRAP_ALWAYS, TRAP_DECLARED, TRAP_NEVER};
  for (size_t i = 0; i < 3; i++) {
    enum trap_response response = responses[i];
    /* The program is the VM's by default; this one's handlers are foreign code's, but for the one of the VM's below. */
    CHECK_EXITS(0, {
      trap_init();
      trap_module_is_foreign(CODE(barrier_begin), true);
      if (GUARD(barrier_begin, 0, 0)() != 0) _exit(11);
      for (int round = 0; round < 3; round++) {
        int rc = foreign_policy(response);
        if (rc != 0) _exit(20 + rc);
        if (trap_rearm() != 0) _exit(12);
      }
      /* A handler of the VM's that lands on the library's: noted before, put back after. */
      if (trap_rearm_note() != 0) _exit(13);
      install(SIGSEGV, vm_handler, 0);
      trap_module_is_foreign(CODE(barrier_begin), false);
      if (trap_rearm() != 0) _exit(14);
      trap_module_is_foreign(CODE(barrier_begin), true);
      int rc = foreign_policy(response);
      if (rc != 0) _exit(30 + rc);
      /* Its owner takes it away: the trap alone is left. */
      if (GUARD(barrier_end, 0, 0)() != 0 || trap_rearm() != 0) _exit(15);
      struct trap_fault fault;
      GUARD(writes_null, 0, 0)();
      _exit(trap_take_fault(&fault) ? 0 : 16);
    });
  }
  /* What nobody takes goes through the library's handler and the trap's to the VM's. */
  CHECK_EXITS(7, {
    trap_init();
    trap_module_is_foreign(CODE(barrier_begin), true);
    GUARD(barrier_begin, 0, 0)();
    trap_rearm_note();
    install(SIGSEGV, vm_handler, 0);
    trap_module_is_foreign(CODE(barrier_begin), false);
    trap_rearm();
    writes_null();
  });
  /* The other way round: of a library whose handler hands nothing on, the trap can be given its place back. */
  CHECK_EXITS(0, {
    trap_init();
    install(SIGSEGV, vm_handler, 0);
    trap_rearm();
    struct trap_fault fault;
    GUARD(writes_null, 0, 0)();
    _exit(trap_take_fault(&fault) ? 0 : 16);
  });
  REQUIRE(trap_init() == 0);
  CHECK_EQ(trap_module_is_foreign(CODE(barrier_end), false), 0);
  CHECK_EQ(trap_module_is_foreign((const void *)8, false), -EINVAL);
  CHECK_EQ(GUARD(trap_rearm_note, 0, 0)(), -EBUSY);
}

/* ---- the stack of a handler that was there before ---- */

#define NEEDS (256u << 10)
static volatile uintptr_t ran_at, interrupted_at;
static volatile int ran;
static uint64_t vector_before = 0x0123456789abcdef, vector_after;
extern const char after_deep_fault[];

/* Needs more stack than the trap's alternate one has, and goes on behind the fault. */
static void deep(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  volatile char block[NEEDS];
  for (size_t i = 0; i < sizeof block; i += PAGE / 4) block[sizeof block - 1 - i] = 1;
  ran_at = (uintptr_t)block + sizeof block;
  ran++;
  CONTEXT_PC((ucontext_t *)context) = (__typeof__(CONTEXT_PC((ucontext_t *)context)))(uintptr_t)after_deep_fault;
}
static __attribute__((noinline)) void faults_deep(void) {
  interrupted_at = (uintptr_t)__builtin_frame_address(0);
  VECTOR_SET(vector_before);
  WRITES_32_THEN("after_deep_fault");
  VECTOR_GET(vector_after);
}
/* Runs a fault under a mask of its own, and looks whether all came back: a register of the vector unit, mask, trap. */
static int after_passing_on(void) {
  sigset_t mask, now;
  sigemptyset(&mask);
  sigaddset(&mask, SIGHUP);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  trap_note_thread();
  for (int round = 1; round <= 3; round++) {
    faults_deep();
    if (ran != round) return 1;
    if (vector_after != vector_before) return 2;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    for (int s = 1; s < 32; s++)
      if (sigismember(&now, s) != (s == SIGHUP)) return 3;
    struct trap_fault fault;
    GUARD(writes_null, 0, 0)();
    if (!trap_take_fault(&fault)) return 4;
  }
  return 0;
}
static char *own_stack;
#define OWN_BYTES (1u << 20)
static void *on_thread(void *own) {
  if (own != NULL) {
    stack_t stack = {.ss_sp = own, .ss_size = OWN_BYTES};
    sigaltstack(&stack, NULL);
  }
  struct trap_fault fault;
  if (GUARD(honest_add, 0, 0)(40, 2) != 42 || trap_take_fault(&fault)) return (void *)(intptr_t)9;
  int rc = after_passing_on();
  bool on_own = ran_at - (uintptr_t)own_stack <= OWN_BYTES;
  bool near = interrupted_at - ran_at < (64u << 10);
  if (rc == 0 && (own != NULL ? !on_own : !near)) rc = 5;
  return (void *)(intptr_t)rc;
}
/* Broken once, each: trap_context_move left out; alternate_suffices always false; SA_ONSTACK not looked at in
 * ran_on_interrupted_stack. */
CHECK_TEST(stack_as_before, "I5: a handler before us runs on the stack that it would have run on: the interrupted one, "
                            "or the thread's own alternate stack, of which nothing is missing") {
  own_stack = mmap(NULL, OWN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(own_stack != MAP_FAILED);
  for (int thread = 0; thread < 2; thread++)
    for (int own = 0; own < 2; own++)
      for (int onstack = own; onstack < 2; onstack++)
        CHECK_EXITS(0, {
          install(SIGSEGV, deep, onstack ? SA_ONSTACK : 0);
          trap_init();
          void *result = NULL, *stack = own ? own_stack : NULL;
          if (thread) {
            pthread_t id;
            pthread_create(&id, NULL, on_thread, stack);
            pthread_join(id, &result);
          } else if (!own) { /* this thread is attached, without an alternate stack of its own */
            result = on_thread(NULL);
          }
          _exit((int)(intptr_t)result);
        });
}

static void faults_again(int signal, siginfo_t *info, void *context) {
  if (ran++ < 3) faults_deep(); /* on the stack that the first fault interrupted, SA_NODEFER */
  deep(signal, info, context);
}
CHECK_TEST(stack_nested, "I5: faults in a handler before us that runs on the interrupted stack come to it again, and "
                         "each goes on where it was") {
  struct sigaction action = {.sa_sigaction = faults_again, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
  REQUIRE(trap_init() == 0);
  faults_deep();
  CHECK_EQ(ran, 8); /* four entries, four ends */
  CHECK_HONEST();
}

static int overflows(volatile char *before) {
  volatile char block[4096];
  block[0] = before[0];
  return block[0] == 0 ? overflows(block) + block[0] : 0;
}
CHECK_TEST(stack_without_room, "I5: where the interrupted stack has no room for the handler before us, the process "
                               "ends as it would without the trap, and says why") {
  CHECK_DIES_SAYING(SIGSEGV, "runs on the interrupted stack", {
    install(SIGSEGV, deep, 0);
    trap_init();
    static volatile char nothing;
    overflows(&nothing);
  });
}

CHECK_MAIN()
