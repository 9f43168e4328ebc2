/*
 * calls.c: guarded calls from C, typed: TRAP_GUARD, TRAP_CALL, TRAP_CALLBACK, and what TRAP_STACK_BYTES says about
 * arguments on the stack.
 */
#define _POSIX_C_SOURCE 200809L
#include <complex.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <turnkey/call.h>
#include <turnkey/pkeys.h>
#include <turnkey/version.h>

#include "expect.h"

struct pair {
  long a, b;
};
struct large {
  double values[9];
};

static int add(int a, int b) { return a + b; }
static double half(double x) { return x / 2; }
static void nothing(void) {}
static int zero(void) { return 0; }
static long eight(long a, long b, long c, long d, long e, long f, long g, long h) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h;
}
static double ten(double a, double b, double c, double d, double e, double f, double g, double h, double i, double j) {
  return a - b + c - d + e - f + g - h + 9 * i - 10 * j;
}
static long double wide(int a, long double b, int c, long double d) { return a + b + c + d; }
static double complicated(float _Complex a, long double _Complex b) { return (double)crealf(a) + (double)cimagl(b); }
static double structures(int n, struct large l, struct pair p, struct large m, short s) {
  return n + l.values[8] + (double)p.b + m.values[0] + s;
}
static struct large returns_large(struct pair p) {
  struct large result = {{0}};
  result.values[8] = (double)(p.a + p.b);
  return result;
}
static long mixed(int a, double b, int c, double d, int e, double f, int g, int h, int i, int j, int k, double l) {
  return (long)(a + b + c + d + e + f + g + h + i * 100 + j * 1000 + k * 10000 + l * 100000);
}
static int sum_of(int count, ...) {
  va_list list;
  va_start(list, count);
  int sum = 0;
  for (int i = 0; i < count; i++) sum += va_arg(list, int);
  va_end(list);
  return sum;
}
static size_t length(const char *text) { return strlen(text); }
static int wild(int *pointer) { return ++*pointer; }
static int twice(int *pointer) { return *pointer *= 2; }
static int wild_args(long a, long b, long c, long d, long e, long f, long g, int *pointer) {
  return ++*pointer + (int)(a + b + c + d + e + f + g);
}

static int calls_back(int (*callback)(int), int x) { return callback(x) + 1; }
static int inner_fault;
static int called_back(int x) {
  struct trap_fault fault;
  inner_fault = TRAP_CALL_VOID(&fault, wild, (int *)NULL);
  EXPECT(!trap_in_callout());
  return 10 * x;
}

/* What the compiler can know: the ABI's own number where the types agree, an upper bound where they do not. */
static void stack_bytes_are_honest(void) {
  EXPECT(TRAP_STACK_BYTES(nothing) == 0);
  EXPECT(TRAP_STACK_BYTES(add, 1, 2) == 0);
  EXPECT(TRAP_STACK_BYTES(length, "a literal, not a const char *") == 0);
  EXPECT(TRAP_STACK_BYTES(eight, 1L, 2L, 3L, 4L, 5L, 6L, 7L, 8L) == 16);
  EXPECT(TRAP_STACK_BYTES(eight, 1, 2, 3, 4, 5, 6, 7, 8) >= 16);
  EXPECT(TRAP_STACK_BYTES(ten, 1., 2., 3., 4., 5., 6., 7., 8., 9., 10.) == 16);
  EXPECT(TRAP_STACK_BYTES(ten, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10) >= 16);
  EXPECT(TRAP_STACK_BYTES(eight, 1., 2., 3., 4., 5., 6., 7., 8.) >=
         16); /* eight doubles would travel in registers, the longs they become do not */
  EXPECT(TRAP_STACK_BYTES(wide, 1, 2.L, 3, 4.L) >= 32);
  EXPECT(TRAP_STACK_BYTES(wide, 1, 2, 3, 4) >= 32); /* an int that becomes a long double */
  EXPECT(TRAP_STACK_BYTES(complicated, 1.f, 2) >= 32);
  struct large l = {{0}};
  struct pair p = {0, 0};
  EXPECT(TRAP_STACK_BYTES(structures, 1, l, p, l, (short)1) >= 2 * sizeof l);
  EXPECT(TRAP_STACK_BYTES(sum_of, 1, 2) >= 16);
  int evaluated = 0;
  EXPECT(TRAP_STACK_BYTES(add, evaluated++, 1) == 0 && evaluated == 0);
  static char constant[TRAP_STACK_BYTES(eight, 1L, 2L, 3L, 4L, 5L, 6L, 7L, 8L)];
  EXPECT(sizeof constant == 16);
}

static void arguments_arrive(void) {
  struct trap_fault fault;
  int i;
  long n;
  double x;
  long double w;
  size_t bytes;
  EXPECT(TRAP_CALL(&fault, i, add, 40, 2) == 0 && i == 42);
  EXPECT(TRAP_CALL(&fault, i, zero) == 0 && i == 0);
  EXPECT(TRAP_CALL_VOID(&fault, nothing) == 0);
  EXPECT(TRAP_CALL(NULL, x, half, 5) == 0 && x == 2.5);
  EXPECT(TRAP_CALL(&fault, bytes, length, "four") == 0 && bytes == 4);
  EXPECT(TRAP_CALL(&fault, n, eight, 1L, 2L, 3L, 4L, 5L, 6L, 7L, 8L) == 0 && n == 204);
  EXPECT(TRAP_CALL(&fault, n, eight, 1, 2, 3, 4, 5, 6, 7, 8) == 0 && n == 204);
  EXPECT(TRAP_CALL(&fault, n, eight, 1., 2., 3., 4., 5., 6., 7., 8.) == 0 && n == 204);
  EXPECT(TRAP_CALL(&fault, x, ten, 1., 2., 3., 4., 5., 6., 7., 8., 9., 10.) == 0 && x == -23);
  EXPECT(TRAP_CALL(&fault, x, ten, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10) == 0 && x == -23);
  EXPECT(TRAP_CALL(&fault, w, wide, 1, 2.L, 3, 4.L) == 0 && w == 10);
  EXPECT(TRAP_CALL(&fault, w, wide, 1, 2, 3, 4) == 0 && w == 10);
  EXPECT(TRAP_CALL(&fault, x, complicated, 1.f, 2) == 0 && x == 1);
  struct large l = {{1, 2, 3, 4, 5, 6, 7, 8, 9}};
  struct pair p = {20, 30};
  EXPECT(TRAP_CALL(&fault, x, structures, 1, l, p, l, 100) == 0 && x == 1 + 9 + 30 + 1 + 100);
  EXPECT(TRAP_CALL(&fault, l, returns_large, p) == 0 && l.values[8] == 50);
  EXPECT(TRAP_CALL(&fault, n, mixed, 1, 1., 1, 1., 1, 1., 1, 1, 2, 3, 4, 5.) == 0 &&
         n == 8 + 200 + 3000 + 40000 + 500000);
  EXPECT(TRAP_CALL(&fault, i, sum_of, 8, 1, 2, 3, 4, 5, 6, 7, 8) == 0 && i == 36);
  int (*through_a_pointer)(int, int) = add;
  EXPECT(TRAP_CALL(&fault, i, through_a_pointer, 1, 2) == 0 && i == 3);
}

static void faults_are_answers(void) {
  struct trap_fault fault, older;
  int i = 5;
  memset(&fault, 0, sizeof fault);
  EXPECT(TRAP_CALL(&fault, i, wild, (int *)NULL) == -EFAULT);
  EXPECT(i == 0 && fault.signal == SIGSEGV && fault.address == 0 && fault.access == TRAP_ACCESS_READ &&
         fault.function == (uint64_t)(uintptr_t)wild);
  EXPECT(TRAP_CALL(NULL, i, wild_args, 1, 2, 3, 4, 5, 6, 7, NULL) == -EFAULT);
  int good = 6;
  EXPECT(TRAP_CALL(&fault, i, wild, &good) == 0 && i == 7);

  /* A fault that nobody took is not mistaken for one of a later call. */
  int (*guarded)(int *) = TRAP_GUARD(wild, 0, 0, NULL);
  EXPECT(guarded != NULL);
  if (guarded == NULL) return;
  EXPECT(guarded(NULL) == 0);
  EXPECT(TRAP_CALL(NULL, i, add, 1, 1) == 0 && i == 2);
  EXPECT(trap_take_fault(&older) && older.function == (uint64_t)(uintptr_t)wild);
  EXPECT(!trap_take_fault(&older));
  EXPECT(guarded(&good) == 8 && !trap_take_fault(&older));
  EXPECT(TRAP_RELEASE(guarded) == 0);
}

static void callbacks_are_vm_code(void) {
  struct trap_fault fault;
  int (*callback)(int) = TRAP_CALLBACK(called_back, 0);
  EXPECT(callback != NULL);
  int i;
  EXPECT(TRAP_CALL(&fault, i, calls_back, callback, 4) == 0 && i == 41);
  EXPECT(inner_fault == -EFAULT);
  EXPECT(TRAP_CALLBACK_RELEASE(callback) == 0);
}

static void refusals_have_a_reason(void) {
  errno = 0;
  int (*guarded)(int, int) = TRAP_GUARD(add, TRAP_MAX_STACK_BYTES + 16, 0, NULL);
  EXPECT(guarded == NULL && errno == EINVAL);
  int i = 7;
  EXPECT(TRAP_CALL(NULL, i, (int (*)(int, int))0, 1, 2) == -EINVAL && i == 7);
}

static void one_place_several_functions(void) {
  static int (*const functions[])(int *) = {wild, twice, NULL, wild};
  struct trap_statistics before = trap_statistics();
  int value = 0;
  for (unsigned at = 0; at < 4; at++) {
    int rc = TRAP_CALL_VOID(NULL, functions[at], &value);
    EXPECT(rc == (functions[at] == NULL ? -EINVAL : 0));
  }
  EXPECT(value == 3); /* ((0 + 1) * 2) + 1 */
  EXPECT(trap_statistics().thunks_live <= before.thunks_live + 1);
}

/* One place, many threads, the first calls at once: each gets its own answers and its own faults. */
static void *calls_at_once(void *meeting) {
  pthread_barrier_wait(meeting);
  long wrong = 0;
  for (int n = 0; n < 2000; n++) {
    struct trap_fault fault;
    int value = n, i = 0;
    int rc = TRAP_CALL(&fault, i, wild, n % 100 == 0 ? NULL : &value);
    wrong += n % 100 == 0 ? rc != -EFAULT || fault.address != 0 : rc != 0 || i != n + 1;
  }
  return (void *)(intptr_t)wrong;
}
static void a_place_serves_all_threads(void) {
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  pthread_barrier_t meeting;
  EXPECT(pthread_barrier_init(&meeting, NULL, THREADS) == 0);
  for (int i = 0; i < THREADS; i++) EXPECT(pthread_create(&threads[i], NULL, calls_at_once, &meeting) == 0);
  for (int i = 0; i < THREADS; i++) {
    void *wrong = NULL;
    EXPECT(pthread_join(threads[i], &wrong) == 0 && wrong == NULL);
  }
}

int main(void) {
  EXPECT(strcmp(pkeys_version(), TURNKEY_VERSION) == 0);
  EXPECT(trap_init() == 0);
  stack_bytes_are_honest();
  arguments_arrive();
  faults_are_answers();
  callbacks_are_vm_code();
  refusals_have_a_reason();
  one_place_several_functions();
  a_place_serves_all_threads();
  return expect_result("guarded calls from C");
}
