/*
 * check_posix.h: processes for check.h: fork, wait, shared memory. Included by it.
 */
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static inline unsigned check_limit_s(void) {
  const char *text = getenv("CHECK_LIMIT_S");
  return text && atoi(text) > 0 ? (unsigned)atoi(text) : 300u;
}

/* fork(), with no core file and limits in the child; stdout flushed first. The limit counts the child's own CPU time,
 * so that a busy machine ends no test. A child that sleeps for ever uses none: an alarm at twelve times the limit ends
 * that. */
static inline pid_t check_fork(void) {
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    struct rlimit cpu = {check_limit_s(), check_limit_s() + 10};
    setrlimit(RLIMIT_CPU, &cpu);
    alarm(12 * check_limit_s());
  }
  return child;
}
/* Waits for `child`: its wait status, or -1. */
static inline int check_wait(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return status;
}
static inline const char *check_status(int status, char *buffer, size_t bytes) {
  if (status != -1 && WIFSIGNALED(status))
    snprintf(buffer, bytes, "died by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else if (status != -1 && WIFEXITED(status)) snprintf(buffer, bytes, "exited with %d", WEXITSTATUS(status));
  else snprintf(buffer, bytes, "has wait status %d", status);
  return buffer;
}

/* Runs the statements in a forked child; the wait status `check_s` must be `right`, else the failure says `format`. */
#define CHECK_CHILD(right, format, wanted, text, ...)                                          \
  do {                                                                                         \
    pid_t check_child = check_fork();                                                          \
    if (check_child == 0) {                                                                    \
      __VA_ARGS__;                                                                             \
      fflush(NULL);                                                                            \
      _exit(0);                                                                                \
    }                                                                                          \
    char check_text[128];                                                                      \
    int check_s = check_wait(check_child);                                                     \
    check_counted();                                                                           \
    if (check_s == -1 || !(right))                                                             \
      check_failed(__FILE__, __LINE__, "child %s, expected " format ": %s",                    \
                   check_status(check_s, check_text, sizeof check_text), (int)(wanted), text); \
  } while (0)
/* Runs the statements in a forked child, which must die by `signo`. Falling off the end exits with 0, so a missing
 * fault is seen. */
#define CHECK_DIES(signo, ...)                                                                                  \
  CHECK_CHILD(WIFSIGNALED(check_s) && WTERMSIG(check_s) == (signo), "to die by signal %d", signo, #__VA_ARGS__, \
              __VA_ARGS__)
/* Runs the statements in a forked child, which must exit with `code` (falling off the end: 0). */
#define CHECK_EXITS(code, ...) \
  CHECK_CHILD(WIFEXITED(check_s) && WEXITSTATUS(check_s) == (code), "exit %d", code, #__VA_ARGS__, __VA_ARGS__)

/* Where a test's process and its parent both see the state. NULL if there is no such memory. */
static inline struct check_state *check_share(int *argc, char **argv) {
  (void)argc;
  (void)argv;
  void *state = mmap(NULL, sizeof *check_now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return state == MAP_FAILED ? NULL : state;
}
/* Runs a test in a process of its own. Whether that died, and how in text. */
static inline bool check_run_apart(const struct check_test *test, char *text, size_t bytes) {
  pid_t child = check_fork();
  if (child == 0) {
    test->run();
    fflush(NULL);
    _exit(0);
  }
  int status = child < 0 ? -1 : check_wait(child);
  if (status == 0) return false;
  check_status(status, text, bytes);
  if (status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
    snprintf(text, bytes, "hung: stopped after %u s of CPU time", check_limit_s());
  if (status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    snprintf(text, bytes, "hung: stopped after %u s", 12 * check_limit_s());
  return true;
}
