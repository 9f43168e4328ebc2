/* Processes that the callee starts, and process-wide state that it changes: fork(2), sigaction(2), sigaltstack(2). */
#define _GNU_SOURCE
#include "foreign.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int foreign_fork_write(uint64_t address, uint64_t value) {
  pid_t child = fork();
  if (child < 0) return -errno;
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    foreign_write64(address, value);
    _exit(0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return status;
}

static void ignore(int number) { (void)number; }

int foreign_install_handler(int number) {
  struct sigaction action = {.sa_handler = ignore};
  return sigaction(number, &action, NULL) == 0 ? 0 : -errno;
}

int foreign_reset_handler(int number) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  return sigaction(number, &action, NULL) == 0 ? 0 : -errno;
}

int foreign_drop_altstack(void) {
  stack_t none = {.ss_flags = SS_DISABLE};
  return sigaltstack(&none, NULL) == 0 ? 0 : -errno;
}
