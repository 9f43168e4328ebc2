/*
 * tests.c: what has to hold in the tiny VM while foreign code runs, faults, calls back and is interrupted;
 * docs/porting.md tells which of these to copy. TAP on standard output. Each test runs in a process of its own, under
 * the trap alone, mprotect and keys.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tiny-vm.h"

static int failures;
#define EXPECT(condition)                                              \
  do {                                                                 \
    if (!(condition)) {                                                \
      failures++;                                                      \
      printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                  \
  } while (0)

/* ---- foreign code -------------------------------------------------------------------------------------------- */

static sem_t inside, go;
static void reach(sem_t *semaphore) {
  while (sem_wait(semaphore) != 0) {}
}
static void meet(void) { /* says that the callout is under way, and waits until it may go on */
  sem_post(&inside);
  reach(&go);
}

static long echo(long a, long b, long c, long d, long e, long f) {
  return a + 10 * (b + 10 * (c + 10 * (d + 10 * (e + 10 * f))));
}
static long fault(long address, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  *(volatile long *)(intptr_t)address = 0x5bad5bad5bad5bad;
  return 1;
}
static long unmap(long address, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  return munmap((void *)(intptr_t)address, 4096);
}
static long ask(long a, long b, long c, long d, long e, long f) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
  return getppid() > 0;
}
static long stay(long a, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  meet();
  return a;
}
static long stay_and_fault(long a, long b, long c, long d, long e, long f) {
  meet();
  return fault(a, b, c, d, e, f);
}
static long beaten(long times, long b, long c, long d, long e, long f) {
  (void)b, (void)c, (void)d, (void)e, (void)f;
  for (long i = 0; i < times; i++) pthread_kill(pthread_self(), SIGALRM);
  return times;
}
static long beaten_and_fault(long times, long b, long c, long d, long e, long f) {
  beaten(times, b, c, d, e, f);
  return fault(0, b, c, d, e, f);
}
static long each(long callback, long method, long from, long to, long e, long f) {
  (void)e, (void)f;
  long (*call)(long, long) = (long (*)(long, long))(intptr_t)callback;
  long sum = 0;
  for (long i = from; i < to; i++) sum += call(method, i);
  return sum;
}
static long each_and_fault(long callback, long method, long from, long to, long e, long f) {
  each(callback, method, from, to, e, f);
  return fault(0, method, from, to, e, f);
}
static long fill(long bytes, long count, long with, long d, long e, long f) {
  (void)d, (void)e, (void)f;
  meet();
  for (volatile char *at = (volatile char *)(intptr_t)bytes; at < (volatile char *)(intptr_t)bytes + count; at++)
    *at = (char)with; /* one by one */
  return count;
}

/* ---- programs ------------------------------------------------------------------------------------------------ */

/* (n): a list of n tuples, built and summed: n (n + 1) / 2. */
static const struct instruction list_program[] = {
    {LOCAL, 0}, {UNLESS, 17},                                                                          /* 0 */
    {NEW, 2},   {SET, 2},     {LOCAL, 2}, {LOCAL, 0}, {PUT, 0},      {LOCAL, 2}, {LOCAL, 1}, {PUT, 1}, /* 2 */
    {LOCAL, 2}, {SET, 1},     {LOCAL, 0}, {PUSH, 1},  {SUBTRACT, 0}, {SET, 0},   {JUMP, 0},            /* 10 */
    {PUSH, 0},  {SET, 3},                                                                              /* 17 */
    {LOCAL, 1}, {UNLESS, 30}, {LOCAL, 3}, {LOCAL, 1}, {AT, 0},       {ADD, 0},   {SET, 3},             /* 19 */
    {LOCAL, 1}, {AT, 1},      {SET, 1},   {JUMP, 19},                                                  /* 26 */
    {LOCAL, 3}, {RETURN, 0},                                                                           /* 30 */
};
/* (function, argument): 7000, from a tuple that lives across the callout, plus the result; or less the signal, if it
 * failed. */
static const struct instruction across_program[] = {
    {NEW, 2},     {SET, 2},     {LOCAL, 2}, {PUSH, 7000}, {PUT, 0},     {LOCAL, 0}, {LOCAL, 1},    {CALLOUT, 1},
    {SET, 3},                                                                                                   /* 5 */
    {FAILURE, 0}, {UNLESS, 17}, {LOCAL, 2}, {AT, 0},      {FAILURE, 0}, {AT, 0},    {SUBTRACT, 0}, {RETURN, 0}, /* 9 */
    {LOCAL, 2},   {AT, 0},      {LOCAL, 3}, {ADD, 0},     {RETURN, 0},                                          /* 17 */
};
/* (function, callback, method, from, to): the same with a callout that calls back. */
static const struct instruction back_program[] = {
    {NEW, 2},      {SET, 5},     {LOCAL, 5}, {PUSH, 7000}, {PUT, 0},     {LOCAL, 0},
    {LOCAL, 1},    {LOCAL, 2},   {LOCAL, 3}, {LOCAL, 4},   {CALLOUT, 4}, {SET, 6}, /* 5 */
    {FAILURE, 0},  {UNLESS, 20}, {LOCAL, 5}, {AT, 0},      {FAILURE, 0}, {AT, 0},
    {SUBTRACT, 0}, {RETURN, 0},                                         /* 12 */
    {LOCAL, 5},    {AT, 0},      {LOCAL, 6}, {ADD, 0},     {RETURN, 0}, /* 20 */
};
/* (function, argument): the first letter of the space that the callout's fault lay in. */
static const struct instruction where_program[] = {
    {LOCAL, 0}, {LOCAL, 1}, {CALLOUT, 1}, {POP, 0}, {FAILURE, 0}, {AT, 3}, {AT, 0}, {RETURN, 0},
};
/* (function, count, with): 100 bytes, of which the callee fills `count`; 1000 * failed + the last byte. */
static const struct instruction bytes_program[] = {
    {NEW_BYTES, 100}, {SET, 3},   {LOCAL, 3},   {PUSH, 7},    {PUT, 99},    {LOCAL, 0},
    {LOCAL, 3},       {LOCAL, 1}, {LOCAL, 2},   {CALLOUT, 3}, {POP, 0},               /* 5 */
    {LOCAL, 3},       {AT, 99},   {FAILURE, 0}, {UNLESS, 17}, {PUSH, 1000}, {ADD, 0}, /* 11 */
    {RETURN, 0},
};
/* (argument), as a callback: a callout that faults, then a method that allocates; the signal. */
static struct instruction nested_program[] = {
    {PUSH, 0},    {PUSH, 0},    {CALLOUT, 1}, {POP, 0}, /* the function's number is put in by the test */
    {PUSH, 0},    {PUSH, 300},  {CALL, 1},    {POP, 0}, /* the method's too */
    {FAILURE, 0}, {UNLESS, 13}, {FAILURE, 0}, {AT, 0},  {RETURN, 0}, {PUSH, 0}, {RETURN, 0},
};

static struct vm_thread *thread;
static int list, across, back, bytes;

static long run(int method, int count, const long *arguments) {
  long result = 0;
  EXPECT(vm_run(thread, method, arguments, count, &result) == 0);
  return result;
}
#define RUN(method, ...) \
  run(method, (int)(sizeof((const long[]){__VA_ARGS__}) / sizeof(long)), (const long[]){__VA_ARGS__})

static enum pkeys_mechanism mechanism;
static void start_vm(bool filtered) {
  EXPECT(vm_open(mechanism, 64 << 10, filtered) == 0);
  EXPECT(vm_thread_begin(&thread) == 0);
  list = vm_method(list_program, 3);
  across = vm_method(across_program, 2);
  back = vm_method(back_program, 2);
  bytes = vm_method(bytes_program, 1);
  sem_init(&inside, 0, 0);
  sem_init(&go, 0, 0);
}
static void start(void) { start_vm(false); }
static void stop(void) {
  EXPECT(vm_heap_is_sound(thread));
  EXPECT(RUN(list, 1000) == 500500);
  vm_thread_end(thread);
  EXPECT(vm_close() == 0);
}

/* ---- tests --------------------------------------------------------------------------------------------------- */

static void programs_run_and_memory_grows(void) {
  EXPECT(RUN(list, 100) == 5050);
  EXPECT(RUN(list, 20000) == 200010000); /* ten times what the heap began with */
  EXPECT(vm_statistics().collections > 0);
  EXPECT(RUN(across, vm_foreign(echo), 41) == 7041);
}

static void a_store_into_the_heap_fails_the_callout(void) {
  int number = vm_foreign(fault);
  EXPECT(RUN(across, number, 0) == 7000 - SIGSEGV);
  EXPECT(vm_statistics().suspect && vm_statistics().failures == 1);
  struct pkeys_space space;
  EXPECT(pkeys_find_space((uintptr_t)thread, &space) && strcmp(space.name, "state") == 0);
  long spare = (long)(space.address + space.bytes - sizeof(long)); /* nobody's, but in the image */
  if (mechanism == PKEYS_MECHANISM_FLAG) {
    EXPECT(RUN(across, number, spare) == 7001); /* the trap alone does not see it */
    return;
  }
  EXPECT(RUN(across, number, spare) == 7000 - SIGSEGV);
  EXPECT(*(long *)spare == 0);
  EXPECT(RUN(vm_method(where_program, 0), number, (long)space.address) == 's');
  EXPECT(vm_statistics().failures == 3);
}

static void a_call_that_would_unmap_the_heap_fails_the_callout(void) {
#ifndef __x86_64__
  return; /* no filter there */
#endif
  start_vm(true);
  struct pkeys_space space;
  EXPECT(pkeys_find_space((uintptr_t)thread, &space));
  int unmaps = vm_foreign(unmap), asks = vm_foreign(ask);
  EXPECT(vm_heartbeat(1000) == 0); /* its handler makes calls, in callouts too */
  /* Broken once: the flag left out of the thunks: the VM's state is gone, and the test dies. */
  for (int round = 0; round < 20; round++) {
    EXPECT(RUN(across, unmaps, (long)space.address) == 7000 - SIGSYS);
    EXPECT(RUN(across, asks, 0) == 7001);
  }
  EXPECT(vm_statistics().failures == 20);
  stop();
}

/* A second thread of the VM's that collects while the first is in a callout; what the first does then is up to the
 * test. */
static void *collects(void *unused) {
  (void)unused;
  struct vm_thread *other;
  EXPECT(vm_thread_begin(&other) == 0);
  reach(&inside);
  long n = 3000, sum = 0;
  uint64_t before = vm_statistics().collections;
  EXPECT(vm_run(other, list, &n, 1, &sum) == 0 && sum == 4501500);
  vm_collect(other);
  vm_collect(other);
  EXPECT(vm_statistics().collections >= before + 2);
  sem_post(&go);
  vm_thread_end(other);
  return NULL;
}
static long beside_a_collector(int method, int count, const long *arguments) {
  pthread_t other;
  EXPECT(pthread_create(&other, NULL, collects, NULL) == 0);
  long result = run(method, count, arguments);
  pthread_join(other, NULL);
  return result;
}
static void the_collector_moves_objects_while_another_thread_is_in_a_callout(void) {
  uint64_t faults = pkeys_bystanders().faults;
  EXPECT(beside_a_collector(across, 2, (const long[]){vm_foreign(stay), 41}) == 7041);
  /* Under keys the collector never notices. Under mprotect it met closed pages, and waited. */
  EXPECT((pkeys_bystanders().faults > faults) == (mechanism == PKEYS_MECHANISM_MPROTECT_RANGE));
}
static void a_callout_faults_after_the_collector_moved_everything(void) {
  EXPECT(beside_a_collector(across, 2, (const long[]){vm_foreign(stay_and_fault), 0}) == 7000 - SIGSEGV);
}
static void a_loan_comes_back_to_an_object_that_moved(void) {
  int number = vm_foreign(fill);
  EXPECT(beside_a_collector(bytes, 3, (const long[]){number, 100, 5}) == 5);
  EXPECT(beside_a_collector(bytes, 3, (const long[]){number, 101, 5}) ==
         1007); /* one byte too many: failed, nothing copied back */
}

static void the_heartbeat_comes_in_a_callout(void) {
  EXPECT(vm_heartbeat(900000) == 0); /* the handler; the signals are sent by the callee itself */
  int number = vm_foreign(beaten);
  uint64_t before = vm_statistics().beats;
  EXPECT(RUN(across, number, 100) == 7100);
  EXPECT(vm_statistics().beats >= before + 100);
  vm_heartbeat(0);
}
static void a_callout_faults_after_the_heartbeat(void) {
  EXPECT(vm_heartbeat(900000) == 0);
  int number = vm_foreign(beaten_and_fault);
  for (int i = 0; i < 10; i++) EXPECT(RUN(across, number, 3) == 7000 - SIGSEGV);
  uint64_t before = vm_statistics().beats;
  EXPECT(RUN(across, vm_foreign(beaten), 5) == 7005); /* the signal is not left blocked */
  EXPECT(vm_statistics().beats >= before + 5);
  vm_heartbeat(0);
}
static void the_heartbeat_goes_on_under_everything(void) {
  EXPECT(vm_heartbeat(500) == 0);
  int honest = vm_foreign(echo), faulty = vm_foreign(fault);
  while (vm_statistics().beats < 20) {
    EXPECT(RUN(across, honest, 1) == 7001);
    EXPECT(RUN(across, faulty, 0) == 7000 - SIGSEGV);
    EXPECT(RUN(list, 200) == 20100);
  }
  vm_heartbeat(0);
}

static void a_callback_allocates(void) {
  long callback = (long)(intptr_t)vm_callback();
  uint64_t before = vm_statistics().collections;
  long expected = 0;
  for (long i = 500; i < 520; i++) expected += i * (i + 1) / 2;
  EXPECT(RUN(back, vm_foreign(each), callback, list, 500, 520) == 7000 + expected);
  EXPECT(vm_statistics().collections > before);
}
static void a_callout_faults_after_its_callback_allocated(void) {
  long callback = (long)(intptr_t)vm_callback();
  EXPECT(RUN(back, vm_foreign(each_and_fault), callback, list, 500, 520) == 7000 - SIGSEGV);
}
static void a_callout_inside_a_callback_faults(void) {
  long callback = (long)(intptr_t)vm_callback();
  nested_program[0].operand = vm_foreign(fault);
  nested_program[4].operand = list;
  int nested = vm_method(nested_program, 0);
  EXPECT(RUN(back, vm_foreign(each), callback, nested, 0, 5) == 7000 + 5 * SIGSEGV); /* the inner ones only */
  EXPECT(vm_statistics().failures == 5);
  EXPECT(RUN(back, vm_foreign(each_and_fault), callback, nested, 0, 5) == 7000 - SIGSEGV); /* those and the outer one */
  EXPECT(vm_statistics().failures == 11);
}

static sem_t opened;
static void *older(void *result) {
  reach(&opened);
  struct vm_thread *mine;
  EXPECT(vm_thread_begin(&mine) == 0);
  long arguments[] = {vm_foreign(fault), 0};
  EXPECT(vm_run(mine, across, arguments, 2, result) == 0);
  vm_thread_end(mine);
  return NULL;
}
static void a_thread_older_than_the_image(void) {
  sem_init(&opened, 0, 0);
  pthread_t old;
  long result = 0;
  EXPECT(pthread_create(&old, NULL, older, &result) == 0);
  start();
  sem_post(&opened);
  pthread_join(old, NULL);
  EXPECT(result == 7000 - SIGSEGV);
  stop();
}

static const struct {
  const char *name;
  void (*run)(void);
  bool starts_itself;
} tests[] = {
#define TEST(name) {#name, name, false}
    TEST(programs_run_and_memory_grows),
    TEST(a_store_into_the_heap_fails_the_callout),
    TEST(the_collector_moves_objects_while_another_thread_is_in_a_callout),
    TEST(a_callout_faults_after_the_collector_moved_everything),
    TEST(a_loan_comes_back_to_an_object_that_moved),
    TEST(the_heartbeat_comes_in_a_callout),
    TEST(a_callout_faults_after_the_heartbeat),
    TEST(the_heartbeat_goes_on_under_everything),
    TEST(a_callback_allocates),
    TEST(a_callout_faults_after_its_callback_allocated),
    TEST(a_callout_inside_a_callback_faults),
    {"a_call_that_would_unmap_the_heap_fails_the_callout", a_call_that_would_unmap_the_heap_fails_the_callout, true},
    {"a_thread_older_than_the_image", a_thread_older_than_the_image, true},
};

int main(int argc, char **argv) {
  static const enum pkeys_mechanism mechanisms[] = {PKEYS_MECHANISM_FLAG, PKEYS_MECHANISM_MPROTECT_RANGE,
                                                    PKEYS_MECHANISM_PKEYS};
  const char *word = argc > 1 ? argv[1] : "";
  bool keys = pkeys_supported();
  int number = 0, failed = 0;
  for (unsigned m = 0; m < 3; m++)
    for (unsigned t = 0; t < sizeof tests / sizeof *tests; t++) {
      if (strstr(tests[t].name, word) == NULL) continue;
      mechanism = mechanisms[m];
      const char *with = pkeys_mechanism_name(mechanism);
      number++;
      if (mechanism == PKEYS_MECHANISM_PKEYS && !keys) {
        printf("ok %d - %s: %s # SKIP no protection keys here\n", number, with, tests[t].name);
        continue;
      }
      fflush(stdout);
      pid_t child = fork();
      if (child == 0) {
        if (!tests[t].starts_itself) start();
        tests[t].run();
        if (!tests[t].starts_itself) stop();
        fflush(stdout);
        _exit(failures != 0);
      }
      int status = -1;
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
      if (WIFSIGNALED(status)) printf("# died of %s\n", strsignal(WTERMSIG(status)));
      failed += status != 0;
      printf("%s %d - %s: %s\n", status == 0 ? "ok" : "not ok", number, with, tests[t].name);
    }
  printf("1..%d\n", number);
  return failed != 0 || number == 0;
}
