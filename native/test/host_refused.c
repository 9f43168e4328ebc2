/*
 * host_refused.c: what native/host cannot have, and the one sentence that it says then. Each test starts this program
 * again, guarded otherwise, and reads what that one prints: the library's constructor runs once in a process.
 *
 * Should break it: end_without returning; start_image falling back without a word.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* Before the library's constructor, and before getenv: whatever keys there are, another library of the process has. */
static void take_all_keys(int argc, char **argv, char **environment) {
  (void)argc, (void)argv;
  while (*environment != NULL && strcmp(*environment, "HOST_REFUSED_KEYS=1") != 0) environment++;
  while (*environment != NULL && syscall(SYS_pkey_alloc, 0, 0) >= 0) {}
}
__attribute__((section(".preinit_array"), used)) static void (*const before)(int, char **, char **) = take_all_keys;

static void nothing(void) {}

/* Runs this program with NAME=value words, and keeps what it says. */
static int run_with(char text[4096], const char *const words[]) {
  int out[2], status = -1;
  size_t used = 0;
  if (pipe(out) != 0) return -1;
  pid_t child = fork();
  if (child == 0) {
    dup2(out[1], STDERR_FILENO);
    dup2(out[1], STDOUT_FILENO);
    for (; *words != NULL; words++) putenv((char *)(uintptr_t)*words);
    execl("/proc/self/exe", "host_refused", (char *)NULL);
    _exit(127);
  }
  close(out[1]);
  for (ssize_t got; used < 4095 && (got = read(out[0], text + used, 4095 - used)) > 0;) used += (size_t)got;
  text[used] = 0;
  close(out[0]);
  waitpid(child, &status, 0);
  return status;
}

static bool has_keys(void) {
  int key = (int)syscall(SYS_pkey_alloc, 0, 0);
  if (key >= 0) syscall(SYS_pkey_free, key);
  return key >= 0;
}

CHECK_TEST(no_libffi, "a program that calls ffi_call and has no libffi is told so, and ends by SIGABRT") {
  char text[4096];
  int status = run_with(text, (const char *const[]){"HOST_REFUSED=call", "TURNKEY_HOST_MECHANISM=flag", NULL});
  CHECK_EQ(WIFSIGNALED(status) ? WTERMSIG(status) : 0, SIGABRT);
  CHECK_STR(text, "turnkey: ffi_call was called, but no libffi that has it is loaded: neither in the caller nor as "
                  "libffi.so.8, .7 or .6. The program needs its libffi (Debian: libffi8)\n");
}

CHECK_TEST(no_key_left, "where another library has taken every key, the trap alone is in place, and that is said") {
  if (!has_keys()) CHECK_SKIP_OR_FAIL("TURNKEY_REQUIRE_PKEYS", "this machine has no protection keys");
  char text[4096];
  int status = run_with(
      text, (const char *const[]){"HOST_REFUSED=end", "HOST_REFUSED_KEYS=1", "TURNKEY_HOST_MECHANISM=pkeys", NULL});
  CHECK_EQ(status, 0);
  CHECK_STR(
      text,
      "turnkey: mechanism pkeys is not possible: no protection key is left in this process; the trap alone (flag) "
      "is in place, and the heap is open\n");
}

CHECK_TEST(no_keys_here, "where there are no keys, the trap alone is in place, and that is said") {
  if (has_keys()) CHECK_SKIP("this machine has protection keys");
  char text[4096];
  int status = run_with(text, (const char *const[]){"HOST_REFUSED=end", "TURNKEY_HOST_MECHANISM=pkeys", NULL});
  CHECK_EQ(status, 0);
  CHECK_STR(
      text,
      "turnkey: mechanism pkeys is not possible: this machine has no protection keys; the trap alone (flag) is in "
      "place, and the heap is open\n");
}

void ffi_call(void *cif, void (*function)(void), void *result, void **arguments); /* native/host's */

int main(int argc, char **argv) {
  const char *part = getenv("HOST_REFUSED");
  if (part == NULL) return check_main(argc, argv);
  static long cif[16]; /* of no arguments */
  if (strcmp(part, "call") == 0) ffi_call(cif, nothing, NULL, NULL);
  return 0;
}
