/*
 * host.c: an unported VM behind native/host, and its tests. The VM is this program: it maps its heap itself, calls
 * foreign functions through libffi, makes closures, threads and signal handlers, and knows nothing of Turnkey. Linked
 * before the C library, libturnkey-host.so comes first in the search order, as by LD_PRELOAD.
 *
 * More than 400 lines: one VM serves all tests of it.
 *
 * The environment says the mechanism (host.cmake): TURNKEY_HOST_MECHANISM, and TURNKEY_HOST_HEAP=anonymous.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <ffi.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"
#include "host_foreign.h"
#include "host_own_ffi.h"

static bool closes(void) {
  const char *mechanism = getenv("TURNKEY_HOST_MECHANISM");
  return strcmp(mechanism, "flag") != 0;
}

/* ---- the VM ---- */

static ffi_type *const pointer_type = &ffi_type_pointer, *const long_type = &ffi_type_slong;

static long call(void *function, unsigned count, ffi_type **types, void **values) {
  ffi_cif cif;
  ffi_arg result = 0;
  if (ffi_prep_cif(&cif, FFI_DEFAULT_ABI, count, &ffi_type_slong, types) != FFI_OK) abort();
  ffi_call(&cif, FFI_FN(function), &result, values);
  return (long)result;
}
static long call2(void *function, const void *a, long b) {
  ffi_type *types[] = {pointer_type, long_type};
  void *values[] = {&a, &b};
  return call(function, 2, types, values);
}
static long poke(volatile void *where, long value) {
  return call2((void *)foreign_poke, (const void *)(uintptr_t)where, value);
}

static volatile long *heap_of(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

typedef void (*closure_function)(ffi_cif *, void *, void **, void *);
static void prepare_closure(ffi_closure *closure, void *code, closure_function function, void *user_data) {
  static ffi_cif cif;
  static ffi_type *types[] = {&ffi_type_slong};
  if (closure == NULL || ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 1, &ffi_type_slong, types) != FFI_OK ||
      ffi_prep_closure_loc(closure, &cif, function, user_data, code) != FFI_OK)
    abort();
}
static void *closure_of(closure_function function, void *user_data) {
  void *code;
  ffi_closure *closure = ffi_closure_alloc(sizeof *closure, &code);
  prepare_closure(closure, code, function, user_data);
  return code;
}

/* A callback that writes to the heap, as any VM code does. */
static void store_and_double(ffi_cif *cif, void *result, void **arguments, void *user_data) {
  (void)cif;
  long value = *(long *)arguments[0];
  *(volatile long *)user_data = value;
  *(ffi_arg *)result = (ffi_arg)(2 * value);
}

/* ---- callouts ---- */

CHECK_TEST(arguments_pass, "a callout passes arguments in registers and on the stack, and its result") {
  ffi_type *types[10];
  long values[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  double x = 100;
  void *pointers[10];
  for (int i = 0; i < 8; i++) types[i] = long_type, pointers[i] = &values[i];
  types[8] = &ffi_type_double, pointers[8] = &x;
  types[9] = long_type, pointers[9] = &values[8];
  long expected = 0;
  for (int i = 0; i < 9; i++) expected += (i + 1) * values[i];
  for (int i = 0; i < 3; i++) CHECK_EQ(call((void *)foreign_sum, 10, types, pointers), expected + 100);
}

CHECK_TEST(structs_return, "a structure comes back in memory, and is zeroed if the callout fails") {
  ffi_type *members[] = {long_type, long_type, long_type, NULL};
  ffi_type pair_type = {.type = FFI_TYPE_STRUCT, .elements = members};
  ffi_cif cif;
  ffi_type *types[] = {long_type};
  long argument = 40;
  void *values[] = {&argument};
  struct foreign_pair pair = {1, 1, 1};
  REQUIRE(ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 1, &pair_type, types) == FFI_OK);
  ffi_call(&cif, FFI_FN(foreign_pair), &pair, values);
  CHECK_EQ(pair.a + pair.b + pair.c, 123);
  ffi_call(&cif, FFI_FN((void *)(uintptr_t)16), &pair, values);
  CHECK_EQ(pair.a | pair.b | pair.c, 0);
}

CHECK_TEST(errno_comes_back, "errno is what the callee left, also where its thunk is new") {
  ffi_type *types[] = {&ffi_type_sint};
  for (int i = 0; i < 2; i++) {
    int wanted = 77 + i;
    void *values[] = {&wanted};
    errno = 0;
    call((void *)foreign_errno, 1, types, values);
    CHECK_EQ(errno, wanted);
  }
}

CHECK_TEST(null_fails, "a store through a null pointer fails the callout, a hundred times, and the program goes on") {
  for (int i = 0; i < 100; i++) CHECK_EQ(poke(NULL, 1), 0);
  long target = 0;
  CHECK_EQ(poke(&target, 5), 1);
  CHECK_EQ(target, 5);
}

CHECK_TEST(own_functions_pass, "a function of the VM's own is no callout: it may write to the heap") {
  volatile long *heap = heap_of(4096);
  long own(volatile long *where, long value);
  CHECK_EQ(call2((void *)own, (const void *)(uintptr_t)heap, 9), 10);
  CHECK_EQ(*heap, 9);
}
long own(volatile long *where, long value);
long own(volatile long *where, long value) {
  *where = value;
  return value + 1;
}

/* Broken once: with the cache never full, thunks ran out, and what came then was called unguarded. */
CHECK_TEST(many_functions, "more functions than there are thunks are guarded all the same") {
  enum { FUNCTIONS = 9000, CODE = 16 };
  unsigned char *code = mmap(NULL, FUNCTIONS * CODE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1,
                             0);
  REQUIRE(code != MAP_FAILED);
  for (unsigned i = 0; i < FUNCTIONS; i++) { /* movq $16, (0) for every hundredth; mov eax, i; ret for the others */
    unsigned char *at = code + i * CODE;
    memcpy(at, "\xb8", 1);
    memcpy(at + 1, &i, 4);
    at[5] = 0xc3;
    if (i % 100 == 99) memcpy(at, "\x0f\x0b", 2);
  }
  unsigned wrong = 0;
  for (unsigned i = 0; i < FUNCTIONS; i++)
    if (call2(code + i * CODE, NULL, 0) != (i % 100 == 99 ? 0 : (long)i)) wrong++;
  CHECK_EQ(wrong, 0);
}

/* Broken once: the search order's libffi for every module; cffi's name for ffi_call not looked up. Each time libffi was
 * called in the library's place, and the process died. */
CHECK_TEST(own_libffi_serves, "a library that carries a libffi of its own is served by it, and others are not") {
  void *code = NULL;
  CHECK_EQ(own_ffi_calls(), 0);
  CHECK_EQ(own_ffi_call(), 4711);
  CHECK_EQ(own_ffi_prepare(), 4712);
  CHECK_EQ(own_ffi_calls(), 2);
  CHECK_EQ(own_cffi_call(), 4711);
  CHECK_EQ(own_cffi_prepare(), 4712);
  CHECK_EQ(own_cffi_calls(), 2);
  CHECK_EQ(poke(NULL, 1), 0);
  code = closure_of(store_and_double, (void *)(uintptr_t)heap_of(4096));
  CHECK_EQ(call2((void *)foreign_call_back, code, 21), 43);
  CHECK_EQ(own_ffi_calls() + own_cffi_calls(), 4);
}

/* ---- the heap ---- */

/* Broken once: with mmap straight through, the store into the heap went through. */
CHECK_TEST(heap_is_closed,
           "a store into what the VM mapped fails under a mechanism that closes, and malloc's is open") {
  volatile long *heap = heap_of(1 << 20);
  volatile long *other = malloc(1 << 20);
  heap[100] = 7;
  CHECK_EQ(poke(&heap[100], 8), closes() ? 0 : 1);
  CHECK_EQ(heap[100], closes() ? 7 : 8);
  CHECK_EQ(call2((void *)foreign_peek, (const void *)(uintptr_t)&heap[100], 0), heap[100]);
  CHECK_EQ(poke(&other[100], 8), 1);
  free((void *)(uintptr_t)other);
}

CHECK_TEST(protections_follow, "the VM's own mprotect, mremap and munmap of its heap keep their meaning and the key") {
  volatile long *heap = heap_of(8 * 4096);
  heap[0] = 1;
  heap[4 * 512] = 5;
  CHECK_EQ(mprotect((void *)(uintptr_t)heap, 4096, PROT_READ), 0);
  CHECK_EQ(poke(&heap[0], 2), 0); /* read-only under every mechanism */
  CHECK_EQ(mprotect((void *)(uintptr_t)heap, 4096, PROT_READ | PROT_WRITE), 0);
  heap[0] = 3;
  CHECK_EQ(poke(&heap[0], 2), closes() ? 0 : 1);
  volatile long *moved = mremap((void *)(uintptr_t)heap, 8 * 4096, 512 * 4096, MREMAP_MAYMOVE);
  REQUIRE(moved != MAP_FAILED);
  CHECK_EQ(moved[4 * 512], 5);
  moved[400 * 512] = 6;
  CHECK_EQ(poke(&moved[400 * 512], 2), closes() ? 0 : 1);
  CHECK_EQ(munmap((void *)(uintptr_t)moved, 512 * 4096), 0);
  CHECK_EQ(mprotect((void *)(uintptr_t)moved, 4096, PROT_READ), -1);
  CHECK_EQ(errno, ENOMEM);
  volatile long *again = mmap((void *)(uintptr_t)moved, 4096, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK_EQ(poke(again, 2), 1); /* what lies there now was never the heap's */
}

/* ---- callbacks ---- */

CHECK_TEST(callbacks_have_rights, "a callback writes to the heap, and what follows it in the callout still may not") {
  volatile long *heap = heap_of(4096);
  void *code = closure_of(store_and_double, (void *)(uintptr_t)heap);
  CHECK_EQ(call2((void *)foreign_call_back, code, 21), 43);
  CHECK_EQ(*heap, 21);
  long after = call2((void *)foreign_poke_after, code, (long)(uintptr_t)heap);
  CHECK_EQ(after, closes() ? 0 : 2);
  CHECK_EQ(*heap, closes() ? 1 : 666);
}

/* Broken once: the thread's end wrote to the trap's pages without the right to, and the process died. */
CHECK_TEST(callbacks_elsewhere, "a callback on a thread that the callee started has the VM's rights") {
  volatile long *heap = heap_of(4096);
  void *code = closure_of(store_and_double, (void *)(uintptr_t)heap);
  CHECK_EQ(call2((void *)foreign_call_back_elsewhere, code, 30), 60);
  CHECK_EQ(*heap, 30);
}

static volatile long *nested_heap;
static void fail_inside(ffi_cif *cif, void *result, void **arguments, void *user_data) {
  (void)cif, (void)user_data;
  *(ffi_arg *)result = (ffi_arg)(poke(NULL, 1) == 0 ? *(long *)arguments[0] : -1);
  *nested_heap = 4;
}
CHECK_TEST(nested_fails_alone, "a callout inside a callback fails alone, and the outer one goes on") {
  nested_heap = heap_of(4096);
  CHECK_EQ(call2((void *)foreign_call_back, closure_of(fail_inside, NULL), 5), 6);
  CHECK_EQ(*nested_heap, 4);
}

/* ---- threads ---- */

static volatile int go_on;
static void *write_heap(void *data) {
  volatile long *heap = data;
  for (int i = 0; i < 1000; i++) heap[i % 512] = i;
  go_on = 1;
  return (void *)(uintptr_t)heap[999 % 512];
}
CHECK_TEST(threads_are_the_vms, "a thread that the VM starts writes to the heap while another is in a callout") {
  volatile long *heap = heap_of(4096);
  pthread_t thread;
  void *result;
  REQUIRE(pthread_create(&thread, NULL, write_heap, (void *)(uintptr_t)heap) == 0);
  CHECK_EQ(call2((void *)foreign_wait, (const void *)(uintptr_t)&go_on, 0), 1);
  pthread_join(thread, &result);
  CHECK_EQ((intptr_t)result, 999);
}

/* ---- signals ---- */

static volatile long *signal_heap;
static volatile int signals_seen;
static void count_signal(int number) {
  signal_heap[0] = number;
  signals_seen++;
}
static void count_signal_info(int number, siginfo_t *info, void *context) {
  (void)context;
  signal_heap[1] = info->si_signo;
  count_signal(number);
}

/* Broken once: with sigaction straight through, the handler's store into the heap failed the callout. */
CHECK_TEST(handlers_are_the_vms, "the VM's handlers may interrupt a callout and write to the heap") {
  ffi_type *types[] = {&ffi_type_sint};
  signal_heap = heap_of(4096);
  struct sigaction action = {.sa_sigaction = count_signal_info, .sa_flags = SA_SIGINFO}, old;
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  CHECK(signal(SIGUSR2, count_signal) == SIG_DFL);
  for (int number = SIGUSR1; number <= SIGUSR2; number += SIGUSR2 - SIGUSR1) {
    void *values[] = {&number};
    CHECK_EQ(call((void *)foreign_raise, 1, types, values), 0);
    CHECK_EQ(signal_heap[0], number);
  }
  CHECK_EQ(signal_heap[1], SIGUSR1);
  CHECK_EQ(signals_seen, 2);
  CHECK_EQ(sigaction(SIGUSR1, NULL, &old), 0);
  CHECK(old.sa_sigaction == count_signal_info && old.sa_flags & SA_SIGINFO);
  CHECK(signal(SIGUSR2, SIG_DFL) == count_signal);
  CHECK(signal(SIGUSR2, SIG_IGN) == SIG_DFL);
}

static void repair(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  signals_seen++;
  mprotect((void *)((uintptr_t)info->si_addr & ~(uintptr_t)4095), 4096, PROT_READ | PROT_WRITE);
}
/* Broken once: without trap_rearm the VM's handler got the callee's faults. */
CHECK_TEST(fault_handlers_wait, "the VM's SIGSEGV handler gets the VM's faults, and no callee's") {
  struct sigaction action = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO}, old;
  CHECK_EQ(sigaction(SIGSEGV, &action, &old), 0);
  CHECK(old.sa_handler == SIG_DFL);
  volatile long *page = mmap(NULL, 4096, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(poke(NULL, 1), 0);
  CHECK_EQ(signals_seen, 0);
  *page = 3;
  CHECK_EQ(signals_seen, 1);
  CHECK_EQ(poke(NULL, 1), 0);
  CHECK_EQ(signals_seen, 1);
  CHECK_EQ(sigaction(SIGSEGV, NULL, &old), 0);
  CHECK(old.sa_sigaction == repair);
}

static sigjmp_buf after_fault;
static void write_and_jump(int number) {
  signal_heap[0] += number;
  if (++signals_seen > 1) siglongjmp(after_fault, 1);
}
static void closure_raises(ffi_cif *cif, void *result, void **arguments, void *data) {
  (void)cif, (void)arguments, (void)data;
  *(ffi_arg *)result = 0;
  syscall(SYS_tgkill, getpid(), gettid(), SIGSEGV);
}
/* Broken once: with the kernel's rights, the handler faulted at the heap, and the process ended. */
CHECK_TEST(fault_handlers_have_rights,
           "what the trap hands on reaches a handler that has the VM's rights, and that may leave by a jump") {
  struct sigaction action = {.sa_handler = write_and_jump, .sa_flags = SA_NODEFER};
  signal_heap = heap_of(4096);
  CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
  call2((void *)foreign_call_back, closure_of(closure_raises, NULL), 1); /* sent, within a callback */
  CHECK_EQ(signals_seen, 1);
  volatile int *volatile nowhere = (volatile int *)64;
  if (sigsetjmp(after_fault, 1) == 0) *nowhere = 1;
  CHECK_EQ(signals_seen, 2);
  CHECK_EQ(signal_heap[0], 2 * SIGSEGV);
  signal_heap[0] = 1;
  CHECK_EQ(poke(signal_heap, 5), closes() ? 0 : 1);
  CHECK_EQ(poke(NULL, 1), 0);
}

/* The timer does not repeat by itself: where the handler takes longer than the interval, the test still gets on. */
static const struct itimerval soon = {.it_value.tv_usec = 50};
static volatile int refused;
static void set_fault_handler(int number) {
  struct sigaction action = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO};
  (void)number;
  if (sigaction(SIGFPE, &action, NULL) == 0) signals_seen++;
  else refused = 1;
  if (signals_seen < 2000) setitimer(ITIMER_REAL, &soon, NULL);
}
/* Broken once: with signals let through while the lock is held, the handler waited for its own thread. */
CHECK_TEST(handlers_set_handlers, "a handler that interrupts sigaction may call it") {
  struct sigaction action = {.sa_handler = set_fault_handler};
  CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
  CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
  action.sa_handler = count_signal;
  while (signals_seen < 2000 && !refused)
    if (sigaction(SIGFPE, &action, NULL) != 0) break;
  CHECK(signals_seen >= 2000);
  CHECK_EQ(poke(NULL, 1), 0);
}

CHECK_TEST(alternate_stack_stays,
           "the VM is answered the alternate stack that it set, and callouts recover as before") {
  static char stack[1 << 16];
  stack_t wanted = {.ss_sp = stack, .ss_size = sizeof stack}, old;
  CHECK_EQ(sigaltstack(NULL, &old), 0);
  CHECK_EQ(old.ss_flags, SS_DISABLE);
  CHECK_EQ(sigaltstack(&wanted, NULL), 0);
  CHECK_EQ(sigaltstack(NULL, &old), 0);
  CHECK(old.ss_sp == stack && old.ss_size == sizeof stack && old.ss_flags == 0);
  CHECK_EQ(poke(NULL, 1), 0);
}

/* ---- the loader, and children ---- */

CHECK_TEST(dlsym_answers, "dlsym answers as it does without, whatever handle it is asked with") {
  CHECK(dlsym(RTLD_DEFAULT, "foreign_poke") == (void *)foreign_poke);
  CHECK(dlsym(RTLD_NEXT, "foreign_poke") == (void *)foreign_poke);
  CHECK(dlsym(RTLD_DEFAULT, "no_such_function") == NULL);
  CHECK(dlerror() != NULL);
}

static volatile int stop_closing;
static void *close_libraries(void *data) {
  for (; !stop_closing; go_on = 1) {
    void *library = dlopen(NULL, RTLD_LAZY);
    if (library != NULL) dlclose(library);
  }
  return data;
}
/* Broken once: with bounds and role in words of their own, an entry that was being emptied held every address. So the
 * callee passed for the VM's own, and the process died (in two of four runs). */
CHECK_TEST(libraries_may_go,
           "callouts are guarded, and own functions are none, while another thread closes libraries") {
  volatile long *heap = heap_of(4096);
  unsigned wrong = 0;
  pthread_t thread;
  REQUIRE(pthread_create(&thread, NULL, close_libraries, NULL) == 0);
  while (!go_on) sched_yield();
  for (long i = 0; i < 20000; i++) {
    if (poke(NULL, 1) != 0) wrong++;
    if (call2((void *)own, (const void *)(uintptr_t)heap, i) != i + 1 || *heap != i) wrong++;
  }
  stop_closing = 1;
  pthread_join(thread, NULL);
  CHECK_EQ(wrong, 0);
}

CHECK_TEST(children_are_guarded, "a child that the VM forks is guarded as its parent is") {
  volatile long *heap = heap_of(4096);
  int status;
  pid_t child = fork();
  if (child == 0) {
    *heap = 1;
    bool fine = poke(NULL, 1) == 0 && poke(heap, 2) == (closes() ? 0 : 1) && *heap == (closes() ? 1 : 2);
    _exit(fine ? 0 : 1);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

/* A child that works as a VM does, or hangs for ten seconds. libffi's own lock for closures is not held over a fork, so
 * that both threads have theirs before. */
static int child_works(void) {
  int status;
  static void *code;
  static ffi_closure *closure;
  if (closure == NULL) closure = ffi_closure_alloc(sizeof *closure, &code);
  pid_t child = fork();
  if (child == 0) {
    alarm(10);
    volatile long *heap = heap_of(4096);
    prepare_closure(closure, code, store_and_double, (void *)(uintptr_t)heap);
    long (*twice)(long) = (long (*)(long))(uintptr_t)code;
    _exit(poke(NULL, 1) == 0 && twice(4) == 8 && *heap == 4 ? 0 : 1);
  }
  return waitpid(child, &status, 0) == child ? status : -1;
}

static _Atomic int stop_failing;
static void *fails_and_prepares_closures(void *heap) {
  void *code;
  ffi_closure *closure = ffi_closure_alloc(sizeof *closure, &code);
  while (!stop_failing) {
    poke(NULL, 1);
    for (int i = 0; i < 100; i++) prepare_closure(closure, code, store_and_double, heap);
  }
  return NULL;
}
/* Broken once: closure.c's lock not held over the fork, so that a child hung in its first closure. */
CHECK_TEST(locks_over_fork, "a child works, though another thread held the library's locks when it was forked") {
  pthread_t thread;
  volatile long *heap = heap_of(4096);
  REQUIRE(pthread_create(&thread, NULL, fails_and_prepares_closures, (void *)(uintptr_t)heap) == 0);
  for (int i = 0; i < 100; i++) CHECK_EQ(child_works(), 0);
  stop_failing = 1;
  pthread_join(thread, NULL);
}

static void other_handler(int number) { (void)number; }
static bool sets_handler(void) { return signal(SIGFPE, other_handler) != SIG_ERR; }

static _Atomic int stop_setting;
static void *sets_handlers(void *unused) {
  while (!stop_setting && sets_handler()) continue;
  return unused;
}
static void *forgets_modules(void *unused) {
  while (!stop_setting) dlclose(dlopen(NULL, RTLD_LAZY));
  return unused;
}
/* A parent that hangs may do so with all signals blocked on all its threads but this one. */
static void *gets_alarm(void *unused) {
  for (;;) pause();
  return unused;
}
/* Broken once: the lock of modules.c waited for, so that the fork waited for the handler's thread, and this for it. */
CHECK_TEST(handlers_over_fork,
           "the VM forks while its threads set handlers, unload modules and ask whose code that is") {
  pthread_t threads[2], alarmed;
  REQUIRE(pthread_create(&alarmed, NULL, gets_alarm, NULL) == 0);
  alarm(120);
  REQUIRE(pthread_create(&threads[0], NULL, sets_handlers, NULL) == 0);
  REQUIRE(pthread_create(&threads[1], NULL, forgets_modules, NULL) == 0);
  int ended_by_alarm = 0;
  for (int i = 0; i < 200; i++) {
    int status;
    pid_t child = fork();
    if (child == 0) {
      alarm(10);
      _exit(sets_handler() ? 0 : 1);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    if (status == SIGALRM) ended_by_alarm++;
    else CHECK_EQ(status, 0);
  }
  /* Seen in one child of 200, in a guest, and not traced yet. Likely another thread was inside dl_iterate_phdr(3),
   * whose lock glibc does not give a child back. It is the parent that must not hang here; locks_over_fork is about
   * children.
   */
  CHECK(ended_by_alarm < 10);
  stop_setting = 1;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  alarm(0);
}

static _Atomic int handled;
static void calls_out(int number) {
  (void)number;
  poke(NULL, 1);
  handled++;
}
/* Broken once: signals taken while the fork holds the locks, so that the parent waited for itself. */
CHECK_TEST(signals_over_fork, "a signal's handler that calls out may come while the VM forks") {
  struct sigaction action = {.sa_handler = calls_out, .sa_flags = SA_RESTART}, before;
  /* of CPU time: a parent that hangs gets none, and alarm(2) ends it */
  struct itimerval storm = {{0, 500}, {0, 500}}, none = {{0, 0}, {0, 0}};
  REQUIRE(sigaction(SIGPROF, &action, &before) == 0);
  alarm(120);
  setitimer(ITIMER_PROF, &storm, NULL);
  for (int i = 0; i < 300; i++) {
    int status;
    pid_t child = fork();
    if (child == 0) _exit(0);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    CHECK_EQ(status, 0);
  }
  while (handled == 0) poke(NULL, 1);
  setitimer(ITIMER_PROF, &none, NULL);
  alarm(0);
  sigaction(SIGPROF, &before, NULL);
}

static bool has_keys(void) {
  char line[8192];
  bool found = false;
  FILE *file = fopen("/proc/cpuinfo", "r");
  while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) found = strstr(line, " ospke") != NULL;
  if (file != NULL) fclose(file);
  return found;
}

int main(int argc, char **argv) {
  if (strcmp(getenv("TURNKEY_HOST_MECHANISM"), "pkeys") != 0 || has_keys()) return check_main(argc, argv);
  printf("1..0 # SKIP this machine has no protection keys\n");
  return 0;
}
