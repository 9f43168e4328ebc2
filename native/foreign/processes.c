/* Threads and processes that outlive a call or share its memory. clone(2), vfork(2), set_tid_address(2): the kernel
 * stores to *ctid at exit. */
#define _GNU_SOURCE
#include "around.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static sem_t go, gone;
static uint64_t parked_address, parked_value;

static void *run_parked(void *argument) {
  while (sem_wait(&go) != 0) {}
  foreign_write64(parked_address, parked_value);
  sem_post(&gone);
  return argument;
}

int foreign_thread_park(uint64_t address, uint64_t value) {
  parked_address = address;
  parked_value = value;
  sem_init(&go, 0, 0);
  sem_init(&gone, 0, 0);
  pthread_t thread;
  int error = pthread_create(&thread, NULL, run_parked, NULL);
  if (error != 0) return -error;
  pthread_detach(thread);
  return 1;
}

int foreign_thread_unpark(int wait_ms) {
  sem_post(&go);
  for (int waited = 0; waited < wait_ms; waited += 5) {
    if (sem_trywait(&gone) == 0) return 1;
    foreign_sleep_ms(5);
  }
  return 0;
}

static int status_of(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return status;
}

int foreign_vfork_write(uint64_t address, uint64_t value) {
  pid_t child = vfork();
  if (child < 0) return -errno;
  if (child == 0) {
    foreign_write64(address, value);
    _exit(0);
  }
  return status_of(child);
}

int foreign_daemon(void) { return daemon(1, 1) == 0 ? 0 : -errno; }

int foreign_fork_write_shared(uint64_t address, uint64_t value) {
  pid_t child = fork();
  if (child < 0) return -errno;
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    foreign_write64(address, value);
    _exit(0);
  }
  return status_of(child);
}

/* A bare thread: it has no thread-local storage of its own and must not call the C library. */
static int exits_at_once(void *argument) {
  (void)argument;
  syscall(SYS_exit, 0);
  return 0;
}

int foreign_thread_exit_clears(uint64_t address) {
  size_t bytes = 64 * 1024;
  char *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) return -errno;
  int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
  if (clone(exits_at_once, stack + bytes, flags, NULL, NULL, NULL, (void *)(uintptr_t)address) < 0) return -errno;
  foreign_sleep_ms(50);
  return 1; /* the stack is left behind: nobody can tell when it is free */
}
