/*
 * check_windows.h: processes for check.h where there is no fork. Included by it.
 *
 * A test's process is this executable again, told by its environment which test to run (CHECK_CHILD) and where the
 * shared state is (CHECK_STATE, an inherited handle). CHECK_DIES and CHECK_EXITS run their statements in one more: it
 * runs the test from its beginning up to that place (CHECK_PLACE counts them), with failed checks of its own kept to
 * itself, and leaves there. So a test with such a place must come to it the same way each time.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <fcntl.h>
#include <io.h>
#include <process.h>

static int check_place, check_places; /* where this process leaves (0: nowhere), and the places passed so far */

static inline unsigned check_limit_s(void) {
  const char *text = getenv("CHECK_LIMIT_S");
  return text && atoi(text) > 0 ? (unsigned)atoi(text) : 300u;
}

static inline const char *check_self(void) {
  static char path[MAX_PATH];
  GetModuleFileNameA(NULL, path, sizeof path);
  return path;
}

/* Starts this executable again and waits: its exit code, 0xffffffff if it could not be started, 0xfffffffe if it hung.
 * err: standard error, or NULL for ours. */
static inline DWORD check_again(const char *test, int place, HANDLE err) {
  char number[16];
  fflush(NULL);
  snprintf(number, sizeof number, "%d", place);
  SetEnvironmentVariableA("CHECK_CHILD", test);
  SetEnvironmentVariableA("CHECK_PLACE", number);
  STARTUPINFOA startup = {.cb = sizeof startup,
                          .dwFlags = STARTF_USESTDHANDLES,
                          .hStdInput = GetStdHandle(STD_INPUT_HANDLE),
                          .hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE),
                          .hStdError = err != NULL ? err : GetStdHandle(STD_ERROR_HANDLE)};
  PROCESS_INFORMATION child;
  char command[MAX_PATH + 2];
  snprintf(command, sizeof command, "\"%s\"", check_self());
  bool started = false;
  for (int tries = 0; !started && tries < 20;
       tries++) { /* Wine's server, busy with its own start, refuses now and then */
    if (tries > 0) Sleep(100);
    started = CreateProcessA(check_self(), command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &child);
  }
  if (!started) return 0xffffffffu;
  DWORD code = 0xfffffffeu;
  if (WaitForSingleObject(child.hProcess, check_limit_s() * 1000) == WAIT_OBJECT_0)
    GetExitCodeProcess(child.hProcess, &code);
  else TerminateProcess(child.hProcess, 1);
  CloseHandle(child.hThread);
  CloseHandle(child.hProcess);
  return code;
}

static const char *check_running; /* the test of this process */

/* An unhandled exception ends the process with its code, at once: no dialogue, no debugger. */
static LONG CALLBACK check_unhandled(EXCEPTION_POINTERS *pointers) {
  TerminateProcess(GetCurrentProcess(), pointers->ExceptionRecord->ExceptionCode);
  return EXCEPTION_EXECUTE_HANDLER;
}

static inline const char *check_code(DWORD code, char *buffer, size_t bytes) {
  if (code == 0xffffffffu) snprintf(buffer, bytes, "could not be started");
  else if (code == 0xfffffffeu) snprintf(buffer, bytes, "hung: stopped after %u s", check_limit_s());
  else
    snprintf(buffer, bytes, code < 0x40000000u ? "exited with %lu" : "died by exception 0x%08lx", (unsigned long)code);
  return buffer;
}
/* Whether an exit code is how Windows says what `signo` says elsewhere. */
static inline bool check_code_is(DWORD code, int signo) {
  switch (signo) {
    case SIGSEGV:
      return code == EXCEPTION_ACCESS_VIOLATION || code == EXCEPTION_STACK_OVERFLOW ||
             code == EXCEPTION_PRIV_INSTRUCTION;
    case SIGILL: return code == EXCEPTION_ILLEGAL_INSTRUCTION;
    case SIGFPE: return code == EXCEPTION_INT_DIVIDE_BY_ZERO;
    case SIGABRT: return code == 3 || code == 0x40000015u; /* abort, and the trap's own end */
    default: return false;
  }
}

/* True in the process that leaves here. Elsewhere *code is how that one ended; in one that leaves further on, false
 * with *code unknown. */
static inline bool check_apart(DWORD *code, HANDLE err) {
  int here = ++check_places;
  *code = 0xfffffffdu;
  if (check_place == here) return true;
  if (check_place == 0) *code = check_again(check_running, here, err);
  return false;
}

#define CHECK_DIES(signo, ...)                                                                      \
  do {                                                                                              \
    DWORD check_c;                                                                                  \
    if (check_apart(&check_c, NULL)) {                                                              \
      __VA_ARGS__;                                                                                  \
      fflush(NULL);                                                                                 \
      _exit(0);                                                                                     \
    }                                                                                               \
    char check_text[128];                                                                           \
    check_counted();                                                                                \
    if (check_place == 0 && !check_code_is(check_c, signo))                                         \
      check_failed(__FILE__, __LINE__, "child %s, expected to die as by signal %d: %s",             \
                   check_code(check_c, check_text, sizeof check_text), (int)(signo), #__VA_ARGS__); \
  } while (0)
#define CHECK_EXITS(code, ...)                                                                     \
  do {                                                                                             \
    DWORD check_c;                                                                                 \
    if (check_apart(&check_c, NULL)) {                                                             \
      __VA_ARGS__;                                                                                 \
      fflush(NULL);                                                                                \
      _exit(0);                                                                                    \
    }                                                                                              \
    char check_text[128];                                                                          \
    check_counted();                                                                               \
    if (check_place == 0 && check_c != (DWORD)(code))                                              \
      check_failed(__FILE__, __LINE__, "child %s, expected exit %d: %s",                           \
                   check_code(check_c, check_text, sizeof check_text), (int)(code), #__VA_ARGS__); \
  } while (0)

static inline struct check_state *check_share(int *argc, char **argv) {
  (void)argc;
  (void)argv;
  SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
  SetUnhandledExceptionFilter(check_unhandled);
  _setmode(_fileno(stdout), _O_BINARY); /* lines end as everywhere */
  setvbuf(stdout, NULL, _IONBF, 0);     /* children write to the same file */
  const char *inherited = getenv("CHECK_STATE");
  const char *child = getenv("CHECK_CHILD");
  HANDLE mapping = inherited && child ? (HANDLE)(uintptr_t)strtoull(inherited, NULL, 0) : NULL;
  if (mapping == NULL) {
    SECURITY_ATTRIBUTES inherit = {.nLength = sizeof inherit, .bInheritHandle = TRUE};
    mapping = CreateFileMappingA(INVALID_HANDLE_VALUE, &inherit, PAGE_READWRITE, 0, sizeof *check_now, NULL);
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)(uintptr_t)mapping);
    SetEnvironmentVariableA("CHECK_STATE", text);
  }
  check_now = mapping == NULL ? NULL : MapViewOfFile(mapping, FILE_MAP_ALL_ACCESS, 0, 0, sizeof *check_now);
  if (check_now == NULL || !child) return check_now;
  /* A test's process: runs the one test, and ends. */
  const char *place = getenv("CHECK_PLACE");
  check_place = place ? atoi(place) : 0;
  static struct check_state own;
  if (check_place != 0) check_now = &own;
  for (struct check_test *test = check_first; test; test = test->next)
    if (strcmp(test->name, child) == 0) {
      check_running = test->name;
      test->run();
      fflush(NULL);
      _exit(check_place != 0 ? 99 : 0); /* a process that was to leave at a place and did not come there */
    }
  _exit(98);
}

static inline bool check_run_apart(const struct check_test *test, char *text, size_t bytes) {
  DWORD code = check_again(test->name, 0, NULL);
  if (code == 0) return false;
  check_code(code, text, bytes);
  return true;
}

#undef CALLBACK /* a word of the tests too */
