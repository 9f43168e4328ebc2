/* Signal handlers that a library installs for itself, and what it does to the alternate stack. sigaction(2),
 * sigaltstack(2), timer_create(2). */
#define _GNU_SOURCE
#include "around.h"

#include <errno.h>
#include <execinfo.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int handle(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  return sigaction(number, &action, NULL) == 0 ? 0 : -errno;
}

/* One timer whose signals go to the calling thread. */
static int start_timer(timer_t *timer, int number, int first_ms, int interval_ms) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = number};
  event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
  if (timer_create(CLOCK_MONOTONIC, &event, timer) != 0) return -errno;
  struct itimerspec times = {{interval_ms / 1000, (interval_ms % 1000) * 1000000L},
                             {first_ms / 1000, (first_ms % 1000) * 1000000L}};
  return timer_settime(*timer, 0, &times, NULL) == 0 ? 0 : -errno;
}

static volatile uint64_t write_address, write_value;
static volatile sig_atomic_t ran;

static void writes(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  ran = ran + 1;
  foreign_write64(write_address, write_value);
}

int foreign_handler_writes(uint64_t address, uint64_t value, int delay_ms, int wait_ms) {
  static timer_t timer;
  write_address = address;
  write_value = value;
  int error = handle(SIGUSR1, writes, 0);
  if (error == 0) error = start_timer(&timer, SIGUSR1, delay_ms, 0);
  if (error == 0 && wait_ms > 0) foreign_sleep_ms(wait_ms);
  return error;
}
int foreign_handler_ran(void) { return ran; }

static sigjmp_buf after_try;
static void jumps_back(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  siglongjmp(after_try, 1);
}

int foreign_may_write(uint64_t address) {
  struct sigaction old, action = {.sa_sigaction = jumps_back, .sa_flags = SA_SIGINFO};
  if (sigaction(SIGSEGV, &action, &old) != 0) return -errno;
  volatile int may = 0;
  if (sigsetjmp(after_try, 1) == 0) {
    volatile uint64_t *word = (volatile uint64_t *)(uintptr_t)address;
    *word = *word;
    may = 1;
  }
  sigaction(SIGSEGV, &old, NULL);
  return may;
}

/* A profiler that walks the stack from its signal's handler, and says nothing to anybody. */
static volatile sig_atomic_t walks;
static void walks_stack(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  void *frames[64];
  if (backtrace(frames, 64) > 1) walks = walks + 1;
}
int foreign_profiled(int on_alternate_stack, int samples) {
  void *first[1];
  backtrace(first, 1); /* it loads the unwinder when it is called first */
  walks = 0;
  int error = handle(SIGPROF, walks_stack, on_alternate_stack ? SA_ONSTACK : 0);
  for (int i = 0; error == 0 && i < samples; i++) raise(SIGPROF);
  signal(SIGPROF, SIG_IGN);
  return error == 0 ? walks : error;
}

/* A write barrier: its page is read-only, and a handler of the library's own opens it at the first store. */
#define BARRIER_BYTES 4096
static char *barrier;
static volatile sig_atomic_t barrier_hits;
static struct sigaction before_barrier;
static void opens_barrier(int number, siginfo_t *info, void *context) {
  if ((uintptr_t)info->si_addr - (uintptr_t)barrier < BARRIER_BYTES) {
    barrier_hits = barrier_hits + 1;
    mprotect(barrier, BARRIER_BYTES, PROT_READ | PROT_WRITE);
  } else if (before_barrier.sa_flags & SA_SIGINFO) {
    before_barrier.sa_sigaction(number, info, context);
  } else {
    sigaction(number, &before_barrier, NULL);
  }
}
int foreign_barrier_begin(void) {
  barrier = mmap(NULL, BARRIER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (barrier == MAP_FAILED) return -errno;
  struct sigaction action = {.sa_sigaction = opens_barrier, .sa_flags = SA_SIGINFO};
  return sigaction(SIGSEGV, &action, &before_barrier) == 0 ? 0 : -errno;
}
int foreign_barrier_use(void) {
  if (mprotect(barrier, BARRIER_BYTES, PROT_READ) != 0) return -errno;
  *(volatile char *)barrier = 1;
  return barrier_hits;
}

/* Whether memory may be read is tried out, and the handler left by a jump; then it is read or written for good. */
static void tries_null(void) {
  struct sigaction old, action = {.sa_sigaction = jumps_back, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, &old);
  if (sigsetjmp(after_try, 1) == 0) foreign_read64(8);
  sigaction(SIGSEGV, &old, NULL);
}
uint64_t foreign_try_then_read(uint64_t address) {
  tries_null();
  return foreign_read64(address);
}
void foreign_try_then_write(uint64_t address, uint64_t value) {
  tries_null();
  foreign_write64(address, value);
}

static void exits(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  _exit(3);
}
int foreign_exit_on(int number) { return handle(number, exits, SA_ONSTACK); }

static void skips(int number, siginfo_t *info, void *context) {
  (void)number, (void)info;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3;
}
int foreign_skip_on(int number) { return handle(number, skips, SA_ONSTACK); }

void foreign_store3(uint64_t address, uint64_t value) {
  __asm__ volatile("movq %1, (%0)" : : "a"(address), "c"(value) : "memory"); /* 48 89 08 */
}

int foreign_altstack_at(uint64_t address, uint64_t bytes) {
  stack_t stack = {.ss_sp = (void *)(uintptr_t)address, .ss_size = bytes};
  return sigaltstack(&stack, NULL) == 0 ? 0 : -errno;
}

int foreign_altstack_gone(void) {
  size_t bytes = 256 * 1024;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  int error = foreign_altstack_at((uint64_t)(uintptr_t)memory, bytes);
  munmap(memory, bytes);
  return error;
}

struct saved {
  uint64_t words[4];
}; /* as struct trap_signal */
static void (*heartbeat_enter)(struct saved *);
static void (*heartbeat_leave)(const struct saved *);
static timer_t heartbeat_timer;
static volatile uint64_t heartbeat_address;
static volatile sig_atomic_t beats;

static void beat(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  struct saved saved;
  if (heartbeat_enter != NULL) heartbeat_enter(&saved);
  *(volatile uint64_t *)(uintptr_t)heartbeat_address += 1;
  beats = beats + 1;
  if (heartbeat_leave != NULL) heartbeat_leave(&saved);
}

int foreign_heartbeat_start(uint64_t enter, uint64_t leave, uint64_t address, int interval_ms) {
  heartbeat_enter = (void (*)(struct saved *))(uintptr_t)enter;
  heartbeat_leave = (void (*)(const struct saved *))(uintptr_t)leave;
  heartbeat_address = address;
  int error = handle(SIGUSR2, beat, SA_ONSTACK | SA_RESTART);
  return error == 0 ? start_timer(&heartbeat_timer, SIGUSR2, interval_ms, interval_ms) : error;
}

int foreign_heartbeat_stop(void) {
  timer_delete(heartbeat_timer);
  signal(SIGUSR2, SIG_IGN);
  return beats;
}
