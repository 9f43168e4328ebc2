/* What a library leaves behind in the thread and in the process when its call is over: a signal mask, a timer, handlers
 * that others run. pthread_sigmask(3), setitimer(2), pthread_atfork(3), pthread_key_create(3). */
#define _GNU_SOURCE
#include "around.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

int foreign_block_signals(void) {
  sigset_t all;
  sigfillset(&all);
  return -pthread_sigmask(SIG_BLOCK, &all, NULL);
}

uint64_t foreign_blocked_signals(void) {
  sigset_t now;
  uint64_t word;
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  memcpy(&word, &now, sizeof word); /* the kernel's set is 8 bytes */
  return word;
}

int foreign_alarm(int ms) {
  struct itimerval timer = {.it_value = {ms / 1000, (ms % 1000) * 1000L}};
  return setitimer(ITIMER_REAL, &timer, NULL) == 0 ? 0 : -errno;
}

static uint64_t later_address, later_value;
static void writes_later(void) { foreign_write64(later_address, later_value); }

int foreign_write_at_fork(uint64_t address, uint64_t value) {
  later_address = address;
  later_value = value;
  return -pthread_atfork(writes_later, NULL, NULL);
}

int foreign_fork_and_wait(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  int status;
  return child < 0 ? -errno : waitpid(child, &status, 0) == child ? status : -errno;
}

static void writes_at_end(void *ignored) {
  (void)ignored;
  writes_later();
}

int foreign_write_at_thread_end(uint64_t address, uint64_t value) {
  pthread_key_t key;
  int rc = pthread_key_create(&key, writes_at_end);
  if (rc != 0) return -rc;
  later_address = address;
  later_value = value;
  return -pthread_setspecific(key, &later_address);
}
