/*
 * Stores that are not the callee's own instructions: system calls with out-parameters, userfaultfd, ptrace between
 * children, and second mappings. pkeys(7): copies made for a thread honour its PKRU; remote access does not.
 */
#define _GNU_SOURCE
#include "around.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u

static void *at(uint64_t address) { return (void *)(uintptr_t)address; }
static int64_t answer(int64_t result) { return result < 0 ? -errno : result; }

int64_t foreign_stat_into(uint64_t address) {
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0) return -errno;
  int64_t result = answer(fstat(null, at(address)));
  close(null);
  return result;
}
int64_t foreign_getrandom_into(uint64_t address, uint64_t bytes) { return answer(getrandom(at(address), bytes, 0)); }
int64_t foreign_pipe_into(uint64_t address) { return answer(pipe2(at(address), O_CLOEXEC)); }
int64_t foreign_clock_into(uint64_t address) { return answer(clock_gettime(CLOCK_MONOTONIC, at(address))); }

/* ---- userfaultfd(2) ------------------------------------------------------------------------------------------ */

int64_t foreign_userfault_fill(uint64_t page) {
  static char fill[PAGE] __attribute__((aligned(PAGE)));
  memset(fill, 0x41, sizeof fill);
  int file = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
  if (file < 0) return -errno;
  struct uffdio_api api = {.api = UFFD_API};
  struct uffdio_register range = {.range = {page, PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  struct uffdio_copy copy = {.dst = page, .src = (uintptr_t)fill, .len = PAGE};
  int64_t result = answer(ioctl(file, UFFDIO_API, &api));
  if (result >= 0) result = answer(ioctl(file, UFFDIO_REGISTER, &range));
  if (result >= 0) result = answer(madvise(at(page), PAGE, MADV_DONTNEED));
  if (result >= 0) result = answer(ioctl(file, UFFDIO_COPY, &copy));
  close(file);
  return result;
}

/* ---- ptrace(2) ----------------------------------------------------------------------------------------------- */

/* What shares the memory, stands still and can be traced; it must not touch thread-local storage, which is its maker's.
 */
static int waits(void *argument) {
  (void)argument;
  for (;;) syscall(SYS_pause);
  return 0;
}

int64_t foreign_ptrace_sibling_write(uint64_t address, uint64_t value) {
  size_t bytes = 64 * 1024;
  char *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) return -errno;
  pid_t other = clone(waits, stack + bytes, CLONE_VM | SIGCHLD, NULL);
  if (other < 0) return -errno;
  pid_t child = fork();
  if (child == 0) {
    int status;
    if (ptrace(PTRACE_ATTACH, other, NULL, NULL) != 0) _exit(errno);
    waitpid(other, &status, __WALL);
    int error = ptrace(PTRACE_POKEDATA, other, at(address), value) == 0 ? 0 : errno;
    ptrace(PTRACE_DETACH, other, NULL, NULL);
    _exit(error);
  }
  int status = 0;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  kill(other, SIGKILL);
  waitpid(other, NULL, __WALL);
  munmap(stack, bytes);
  if (child < 0 || !WIFEXITED(status)) return -ECHILD;
  return WEXITSTATUS(status) == 0 ? (int64_t)sizeof value : -WEXITSTATUS(status);
}

/* ---- second mappings ----------------------------------------------------------------------------------------- */

int64_t foreign_alias(uint64_t page) {
  int file = memfd_create("image", MFD_CLOEXEC);
  if (file < 0) return -errno;
  if (write(file, at(page), PAGE) != PAGE) return -errno;
  if (mmap(at(page), PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) return -errno;
  void *second = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return second == MAP_FAILED ? -errno : (int64_t)(uintptr_t)second;
}
