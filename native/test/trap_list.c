/*
 * trap_list.c: the list that the trap must pass on every system and ABI, in plain C. It has null and wild accesses, a
 * jump to garbage, stack overflow, division by zero and an illegal instruction. It has a fault in a callout under a
 * callback, a fault on another thread, and many in a row. Everything else that a system has of its own is tested in
 * files named for it.
 *
 * More than 400 lines: the list is one file, so that a port to a new system runs the whole of it.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "../pkeys/pkeys.h"
#include "../trap/trap.h"
#include "check.h"
#include "trap_list.h"
#include "trap_machine.h"

#define PAGE 4096u
#define CODE(function) ((const void *)(uintptr_t)(function))
#define AS(function, code) ((__typeof__(&function))(uintptr_t)(code))
#define GUARD(function) AS(function, guarded(CODE(function), 0, NULL))

static void *guarded(const void *target, unsigned flags, trap_policy *policy) {
  void *code = NULL;
  int rc = trap_thunk(target, 0, flags, policy, &code);
  if (rc != 0) check_failed(__FILE__, __LINE__, "trap_thunk: %d", rc);
  return code;
}

/* ---- ways through the gate ---- */

struct way {
  enum pkeys_mechanism mechanism;
  bool foreign_stack;
  struct pkeys_image *image;
  volatile unsigned char *space;
};

static bool way_open(struct way *way) {
  struct pkeys_space_request request = {.name = "old", .bytes = 16 * PAGE, .deny = PKEYS_NO_WRITE};
  struct pkeys_space space = {.address = 0};
  int rc = trap_init();
  if (rc == 0) rc = trap_set_foreign_stack(way->foreign_stack, 0);
  if (rc == 0) rc = pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &way->image, NULL);
  if (rc == 0) rc = pkeys_image_set_mechanism(way->image, way->mechanism);
  if (rc == 0) rc = pkeys_image_space(way->image, 0, &space);
  way->space = (volatile unsigned char *)space.address;
  CHECK_EQ(rc, 0);
  return rc == 0;
}

static void each_way(void (*body)(struct way *)) {
  static const enum pkeys_mechanism mechanisms[] = {PKEYS_MECHANISM_FLAG, PKEYS_MECHANISM_MPROTECT_RANGE,
                                                    PKEYS_MECHANISM_MPROTECT_PAGE, PKEYS_MECHANISM_PKEYS};
  for (size_t m = 0; m < sizeof mechanisms / sizeof *mechanisms; m++) {
    if (mechanisms[m] == PKEYS_MECHANISM_PKEYS && !pkeys_supported()) continue;
    for (int foreign = 1; foreign >= 0; foreign--) {
      struct way way = {.mechanism = mechanisms[m], .foreign_stack = foreign != 0};
      int before = check_now->failures;
      if (!way_open(&way)) return;
      body(&way);
      CHECK_EQ(pkeys_image_close(way.image), 0);
      if (check_now->failures != before)
        printf("#   ... under %s, %s stack\n", pkeys_mechanism_name(way.mechanism), foreign ? "foreign" : "caller's");
    }
  }
}

static __attribute__((noinline)) int honest_add(int a, int b) { return a + b; }
static void check_honest(void) {
  struct trap_fault fault;
  __typeof__(&honest_add) add = GUARD(honest_add);
  CHECK_EQ(add(40, 2), 42);
  CHECK(!trap_take_fault(&fault));
  CHECK(!trap_in_callout());
  CHECK_EQ(trap_depth(), 0);
  trap_thunk_release((void *)(uintptr_t)add);
}

/* ---- callees ---- */

static volatile uintptr_t zero;
static volatile uintptr_t wild; /* a page without access */

static int writes_null(void) {
  *(volatile int *)(zero + 16) = 1;
  return 1;
}
static int reads_null(void) { return *(volatile int *)(zero + 16) + 1; }
static int writes_wild(void) {
  *(volatile int *)(wild + 8) = 1;
  return 1;
}
static int reads_wild(void) { return *(volatile int *)(wild + 8) + 1; }
static int writes_noncanonical(void) {
  *(volatile int *)(zero + 0x8000000000000000u) = 1;
  return 1;
}
static int jumps_to_garbage(void) { return ((int (*)(void))(wild + 32))() + 1; }
static int jumps_to_null(void) { return ((int (*)(void))zero)() + 1; }
static int illegal(void) {
  LIST_ILLEGAL();
  return 1;
}
static __attribute__((noinline)) int overflows(volatile char *above) {
  volatile char room[600];
  room[0] = above == NULL ? 1 : above[0];
  return overflows(room) + room[0];
}
static int stack_overflow(void) { return overflows(NULL); }

static void map_wild(void) {
  struct pkeys_space_request request = {.name = "wild", .bytes = PAGE, .reserve_bytes = 16 * PAGE};
  struct pkeys_image *image;
  struct pkeys_space space;
  REQUIRE(pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, NULL) == 0);
  REQUIRE(pkeys_image_space(image, 0, &space) == 0);
  wild = space.address - 2 * PAGE; /* in its guard */
}

struct expected {
  const char *name;
  int (*callee)(void);
  int signal;
  enum trap_access access;
  uint64_t address; /* 1: any */
  unsigned flags;
};

static void run_case(const struct way *way, const struct expected *e) {
  int before = check_now->failures;
  void *code = guarded(CODE(e->callee), 0, NULL);
  struct trap_fault fault;
  memset(&fault, 0, sizeof fault);
  CHECK_EQ(AS(*e->callee, code)(), 0);
  REQUIRE(trap_take_fault(&fault));
  CHECK_EQ(fault.signal, e->signal);
  CHECK_EQ(fault.access, e->access);
  if (e->address != 1) CHECK_EQ(fault.address, e->address);
  CHECK_EQ(fault.flags & e->flags, e->flags);
  CHECK_EQ(fault.function, (uintptr_t)e->callee);
  CHECK_EQ(fault.thunk, (uintptr_t)code);
  CHECK_EQ(fault.depth, 1);
  CHECK_EQ(fault.phase, TRAP_IN_CALL);
  CHECK_EQ(fault.pkey, -1);
  CHECK_EQ(fault.space_found, 0);
  CHECK_EQ(fault.mechanism_held, way->mechanism != PKEYS_MECHANISM_FLAG);
  CHECK_EQ(fault.foreign_sp_top != 0, way->foreign_stack);
  CHECK(LIST_CODE_FITS(fault.signal, fault.code));
  CHECK(!trap_in_callout());
  way->space[0] = 1; /* open again */
  check_honest();
  if (check_now->failures != before) printf("#   ... in case '%s' (code 0x%x)\n", e->name, (unsigned)fault.code);
  trap_thunk_release(code);
}

static void all_faults(struct way *way) {
  const struct expected table[] = {
      {"null write", writes_null, SIGSEGV, TRAP_ACCESS_WRITE, 16, 0},
      {"null read", reads_null, SIGSEGV, TRAP_ACCESS_READ, 16, 0},
      {"wild write", writes_wild, SIGSEGV, TRAP_ACCESS_WRITE, wild + 8, 0},
      {"wild read", reads_wild, SIGSEGV, TRAP_ACCESS_READ, wild + 8, 0},
      {"non-canonical write", writes_noncanonical, SIGSEGV, LIST_NONCANONICAL_ACCESS, LIST_NONCANONICAL_ADDRESS, 0},
      {"garbage jump", jumps_to_garbage, SIGSEGV, TRAP_ACCESS_EXECUTE, wild + 32, 0},
      {"null jump", jumps_to_null, SIGSEGV, TRAP_ACCESS_EXECUTE, 0, 0},
      {"illegal instruction", illegal, SIGILL, TRAP_ACCESS_UNKNOWN, 1, 0},
      {"stack overflow", stack_overflow, SIGSEGV, TRAP_ACCESS_WRITE, 1,
       way->foreign_stack ? TRAP_FAULT_STACK_OVERFLOW : 0},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) run_case(way, &table[i]);
}
CHECK_TEST(every_fault, "null and wild accesses, jumps to garbage, an illegal instruction and a stack overflow fail "
                        "the callout, with a right record") {
  REQUIRE(pkeys_init() == 0);
  map_wild();
  each_way(all_faults);
}

static void divisions(struct way *way) {
  for (size_t i = 0; i < sizeof list_divisions / sizeof *list_divisions; i++) {
    struct expected e = {list_divisions[i].name, list_divisions[i].callee, SIGFPE, TRAP_ACCESS_UNKNOWN, 1, 0};
    if (e.callee == LIST_DIVIDES_FLOAT && emulated_cpu()) continue; /* QEMU's software CPU raises no SSE exceptions */
    if (e.callee != NULL) run_case(way, &e);
  }
}
CHECK_TEST(division, "division by zero, integer and floating, fails the callout") {
  if (list_divisions[0].callee == NULL) CHECK_SKIP("this CPU does not fault when it divides by zero");
  each_way(divisions);
}

/* ---- the image ---- */

static int writes_to(volatile unsigned char *at) {
  *at = 7;
  return 1;
}
static void write_prevented(struct way *way) {
  struct trap_fault fault;
  __typeof__(&writes_to) write = GUARD(writes_to);
  way->space[5 * PAGE] = 3;
  int result = write(way->space + 5 * PAGE);
  bool failed = trap_take_fault(&fault);
  CHECK_EQ(failed, way->mechanism != PKEYS_MECHANISM_FLAG);
  CHECK_EQ(result, !failed);
  CHECK_EQ(way->space[5 * PAGE], failed ? 3 : 7);
  if (failed) {
    CHECK_EQ(fault.address, (uintptr_t)way->space + 5 * PAGE);
    CHECK_EQ(fault.access, TRAP_ACCESS_WRITE);
    CHECK_EQ(fault.space_found, 1);
    CHECK_STR(fault.space_name, "old");
    CHECK_EQ(fault.space_offset, 5 * PAGE);
    CHECK_EQ(fault.mechanism_held, 1);
  }
  way->space[5 * PAGE] = 9; /* the VM's again */
  trap_thunk_release((void *)(uintptr_t)write);
}
CHECK_TEST(image_closed,
           "a callout's write into the image faults under every mechanism that protects, and lands under flag") {
  each_way(write_prevented);
}

/* ---- nesting ---- */

static __typeof__(&writes_null) inner_thunk;
static struct trap_fault inner_record;
static int fails_inside(int value) { /* the VM's callback: makes a callout that fails */
  unsigned depth = trap_depth();
  CHECK(!trap_in_callout());
  CHECK_EQ(inner_thunk(), 0);
  CHECK(trap_take_fault(&inner_record));
  CHECK_EQ(trap_depth(), depth);
  return value + 1;
}
static int outer_calls(int (*back)(int), int value) {
  volatile int kept = value * 3;
  int result = back(value);
  return result * 1000 + kept;
}
static int outer_faults(int (*back)(int), int value) {
  back(value);
  *(volatile int *)(zero + 24) = 1;
  return value;
}
static void nested_fault(struct way *way) {
  (void)way;
  void *back;
  struct trap_fault fault;
  inner_thunk = GUARD(writes_null);
  REQUIRE(trap_callback(CODE(fails_inside), 0, &back) == 0);
  __typeof__(&outer_calls) outer = GUARD(outer_calls);
  CHECK_EQ(outer(AS(fails_inside, back), 7), 8021);
  CHECK(!trap_take_fault(&fault)); /* the outer one did not fail */
  CHECK_EQ(inner_record.depth, 2);
  CHECK_EQ(inner_record.address, 16);
  __typeof__(&outer_faults) failing = GUARD(outer_faults);
  CHECK_EQ(failing(AS(fails_inside, back), 7), 0);
  CHECK(trap_take_fault(&fault));
  CHECK_EQ(fault.depth, 1);
  CHECK_EQ(fault.address, 24);
  check_honest();
  trap_thunk_release((void *)(uintptr_t)inner_thunk);
  trap_thunk_release((void *)(uintptr_t)outer);
  trap_thunk_release((void *)(uintptr_t)failing);
  trap_callback_release(back);
}
CHECK_TEST(nested_innermost, "a fault in a callout under a callback fails the innermost callout only") {
  each_way(nested_fault);
}

static int (*deep_thunk)(int);
static int (*deep_back)(int);
static int deep_vm(int left) { return deep_thunk(left - 1) + 1; }
static int deep_foreign(int left) {
  if (left == 0) *(volatile int *)(zero + 40) = 1;
  return deep_back(left) + 1;
}
static void deep_nesting(struct way *way) {
  (void)way;
  void *back;
  struct trap_fault fault;
  REQUIRE(trap_callback(CODE(deep_vm), 0, &back) == 0);
  deep_back = AS(deep_vm, back);
  deep_thunk = GUARD(deep_foreign);
  CHECK_EQ(deep_thunk(20), 40); /* the innermost gives 0, each level above adds two */
  CHECK(trap_take_fault(&fault));
  CHECK_EQ(fault.depth, 21);
  CHECK_EQ(fault.address, 40);
  check_honest();
  trap_thunk_release((void *)(uintptr_t)deep_thunk);
  trap_callback_release(back);
}
CHECK_TEST(nested_deeply, "twenty callouts inside each other, the innermost faults, all others return") {
  each_way(deep_nesting);
}

static int overflows_in_callback(int value) {
  struct trap_fault fault;
  __typeof__(&stack_overflow) overflow = GUARD(stack_overflow);
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(overflow(), 0);
    CHECK(trap_take_fault(&fault));
    CHECK_EQ(fault.depth, 2);
  }
  trap_thunk_release((void *)(uintptr_t)overflow);
  return value + 1;
}
static void nested_overflow(struct way *way) {
  (void)way;
  void *back;
  struct trap_fault fault;
  REQUIRE(trap_callback(CODE(overflows_in_callback), 0, &back) == 0);
  __typeof__(&outer_calls) outer = GUARD(outer_calls);
  CHECK_EQ(outer(AS(overflows_in_callback, back), 7), 8021);
  CHECK(!trap_take_fault(&fault));
  check_honest();
  trap_thunk_release((void *)(uintptr_t)outer);
  trap_callback_release(back);
}
CHECK_TEST(nested_overflow_test, "stack overflows in callouts under a callback leave the outer callout whole") {
  each_way(nested_overflow);
}

/* ---- other threads ---- */

static void *faults_outside(void *argument) {
  (void)argument;
  *(volatile int *)(zero + 48) = 1;
  return NULL;
}
static int another_faults(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, faults_outside, NULL) == 0) pthread_join(thread, NULL);
  return 1;
}
static void *faults_attached(void *argument) {
  trap_attach();
  return faults_outside(argument);
}
static int another_attached_faults(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, faults_attached, NULL) == 0) pthread_join(thread, NULL);
  return 1;
}
CHECK_TEST(other_thread, "I5: a fault on another thread, outside a callout, is passed on: the process dies of it "
                         "though this thread is in a callout") {
  REQUIRE(trap_init() == 0);
  CHECK_DIES(SIGSEGV, GUARD(another_faults)());
  CHECK_DIES(SIGSEGV, GUARD(another_attached_faults)());
  CHECK_DIES(SIGSEGV, faults_outside(NULL));
}

#define THREADS 4
static void *faulting_thread(void *argument) {
  uintptr_t wrong = 0;
  int (*callees[])(void) = {writes_null, illegal, stack_overflow, jumps_to_garbage};
  int (*thunks[4])(void);
  for (size_t k = 0; k < 4; k++) thunks[k] = AS(writes_null, guarded(CODE(callees[k]), 0, NULL));
  for (size_t i = 0; i < 200; i++) {
    size_t k = (i + (size_t)(uintptr_t)argument) % 4;
    struct trap_fault fault;
    if (thunks[k]() != 0 || !trap_take_fault(&fault) || fault.function != (uintptr_t)callees[k] || fault.thread_id == 0)
      wrong++;
  }
  for (size_t k = 0; k < 4; k++) trap_thunk_release((void *)(uintptr_t)thunks[k]);
  return (void *)wrong;
}
static void threads_at_once(struct way *way) {
  pthread_t threads[THREADS];
  for (uintptr_t i = 0; i < THREADS; i++) REQUIRE(pthread_create(&threads[i], NULL, faulting_thread, (void *)i) == 0);
  for (int i = 0; i < THREADS; i++) {
    void *wrong = (void *)1;
    pthread_join(threads[i], &wrong);
    CHECK_EQ((uintptr_t)wrong, 0);
  }
  way->space[0] = 1;
}
CHECK_TEST(threads_fault_at_once, "faults on four threads at once, each with its own record") {
  REQUIRE(pkeys_init() == 0);
  map_wild();
  each_way(threads_at_once);
}

static volatile int stop, started;
static void *vm_writes(void *argument) { /* an innocent VM thread that works on the image meanwhile */
  volatile unsigned char *at = argument;
  uintptr_t rounds = 0;
  trap_attach();
  while (!stop) {
    *at = (unsigned char)(*at + 1);
    rounds++;
    started = 1;
  }
  return (void *)rounds;
}
static void bystander(struct way *way) {
  struct trap_fault fault;
  pthread_t thread;
  stop = started = 0;
  REQUIRE(pthread_create(&thread, NULL, vm_writes, (void *)(uintptr_t)(way->space + 3 * PAGE)) == 0);
  while (!started) sched_yield();
  __typeof__(&writes_to) write = GUARD(writes_to);
  __typeof__(&honest_add) add = GUARD(honest_add);
  unsigned failed = 0;
  for (int i = 0; i < 100; i++) {
    CHECK_EQ(add(i, 1), i + 1);
    write(way->space + 5 * PAGE);
    failed += trap_take_fault(&fault);
  }
  stop = 1;
  void *rounds = NULL;
  pthread_join(thread, &rounds);
  CHECK_EQ(failed, way->mechanism == PKEYS_MECHANISM_FLAG ? 0 : 100);
  CHECK((uintptr_t)rounds > 0);
  trap_thunk_release((void *)(uintptr_t)write);
  trap_thunk_release((void *)(uintptr_t)add);
}
CHECK_TEST(bystanders,
           "a VM thread that writes to the image while it is closed for another's callout waits, and goes on") {
  each_way(bystander);
}

/* ---- in numbers ---- */

static void in_a_row(struct way *way, int (*callee)(void), unsigned count) {
  int (*code)(void) = AS(writes_null, guarded(CODE(callee), 0, NULL));
  struct trap_fault *fault = trap_thread_fault();
  unsigned failed = 0;
  for (unsigned i = 0; i < count; i++) {
    failed += code() == 0 && fault->pending != 0 && fault->function == (uintptr_t)callee;
    fault->pending = 0;
  }
  CHECK_EQ(failed, count);
  way->space[0] = 1;
  check_honest();
  trap_thunk_release((void *)(uintptr_t)code);
}
static void many_faults(struct way *way) {
  in_a_row(way, writes_null, way->mechanism == PKEYS_MECHANISM_FLAG ? 10000 : 500);
}
static void many_overflows(struct way *way) {
  in_a_row(way, stack_overflow, way->mechanism == PKEYS_MECHANISM_FLAG ? 1000 : 20);
}
CHECK_TEST(faults_in_a_row, "10,000 faults in a row") { each_way(many_faults); }
CHECK_TEST(overflows_in_a_row, "1,000 stack overflows in a row") { each_way(many_overflows); }

/* ---- policy and records ---- */

CHECK_TEST(policies, "a policy decides whether a fault fails the callout; it may change at run time") {
  REQUIRE(trap_init() == 0);
  struct trap_fault fault;
  trap_policy *policy = trap_policy_create(TRAP_ALWAYS);
  REQUIRE(policy != NULL);
  __typeof__(&writes_null) plain = AS(writes_null, guarded(CODE(writes_null), 0, policy));
  __typeof__(&writes_null) declared = AS(writes_null, guarded(CODE(writes_null), TRAP_CAN_FAIL, policy));
  CHECK_EQ(plain(), 0);
  CHECK(trap_take_fault(&fault));
  trap_policy_set(policy, TRAP_DECLARED);
  CHECK_EQ(declared(), 0);
  CHECK(trap_take_fault(&fault));
  CHECK_DIES(SIGSEGV, plain());
  trap_policy_set(policy, TRAP_NEVER);
  CHECK_DIES(SIGSEGV, declared());
  trap_policy_set(policy, TRAP_ALWAYS);
  CHECK_EQ(plain(), 0);
  CHECK(trap_take_fault(&fault));
  trap_thunk_release((void *)(uintptr_t)plain);
  trap_thunk_release((void *)(uintptr_t)declared);
  trap_policy_release(policy);
}

CHECK_TEST(private_thunks, "a private thunk has a record of its own") {
  REQUIRE(trap_init() == 0);
  void *one, *two;
  struct trap_fault fault;
  REQUIRE(trap_thunk_private(CODE(writes_null), 0, 0, NULL, &one) == 0);
  REQUIRE(trap_thunk_private(CODE(illegal), 0, 0, NULL, &two) == 0);
  CHECK(one != two);
  CHECK_EQ(AS(writes_null, one)(), 0);
  CHECK_EQ(AS(illegal, two)(), 0);
  CHECK(!trap_take_fault(&fault));
  CHECK_EQ(trap_thunk_fault(one)->signal, SIGSEGV);
  CHECK_EQ(trap_thunk_fault(two)->signal, SIGILL);
  CHECK_EQ(trap_thunk_release(one), 0);
  CHECK_EQ(trap_thunk_release(two), 0);
  CHECK_DIES(SIGABRT, AS(writes_null, one)());
}

/* ---- copies ---- */

CHECK_TEST(copies, "bounded copies: a wild source is a fault of phase 'decode', and no more") {
  REQUIRE(trap_init() == 0);
  map_wild();
  char to[32];
  bool terminated = false;
  struct trap_fault fault;
  CHECK_EQ(trap_copy(to, "turnkey", 8, &fault), 0);
  CHECK_STR(to, "turnkey");
  CHECK_EQ(trap_copy(to, (const void *)wild, 8, &fault), -EFAULT);
  CHECK_EQ(fault.phase, TRAP_IN_DECODE);
  CHECK_EQ(fault.address, wild);
  CHECK_EQ(trap_copy_string(to, "gate", sizeof to, 1, &terminated, &fault), 4);
  CHECK(terminated);
  CHECK_EQ(trap_copy_string(to, (const void *)wild, sizeof to, 1, &terminated, &fault), -EFAULT);
  check_honest();
}

/* ---- errors that belong to the callee ---- */

static int sets_errno(void) {
  errno = EDOM;
  return 1;
}
static void keeps_errno(struct way *way) {
  (void)way;
  __typeof__(&sets_errno) set = GUARD(sets_errno);
  for (int i = 0; i < 3; i++) {
    errno = 0;
    CHECK_EQ(set(), 1);
    CHECK_EQ(errno, EDOM);
  }
  trap_thunk_release((void *)(uintptr_t)set);
}
CHECK_TEST(errno_is_the_callees, "errno comes through the gate") { each_way(keeps_errno); }

/* ---- unwinding and abort ---- */

int throws_over_the_gate(int value);
int catches_its_own(int value);
static int calls_abort(int value) {
  abort();
  return value;
}
static void ends(struct way *way) {
  struct trap_fault fault;
  __typeof__(&catches_its_own) own = GUARD(catches_its_own);
  for (int i = 0; i < 3; i++) CHECK_EQ(own(41), 42);
  CHECK(!trap_take_fault(&fault));
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(GUARD(throws_over_the_gate)(1), 0);
    REQUIRE(trap_take_fault(&fault));
    CHECK_EQ(fault.signal, SIGABRT);
    CHECK((fault.flags & TRAP_FAULT_UNWIND) != 0);
    CHECK_EQ(GUARD(calls_abort)(1), 0);
    REQUIRE(trap_take_fault(&fault));
    CHECK_EQ(fault.signal, SIGABRT);
    CHECK_EQ(fault.flags, TRAP_FAULT_ABORT);
  }
  way->space[0] = 1;
  check_honest();
}
CHECK_TEST(unwind_and_abort,
           "I8: a callee may throw and catch; an exception that reaches the gate, and abort, fail the callout") {
  each_way(ends);
}

CHECK_MAIN()
