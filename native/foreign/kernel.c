/* Writes that the kernel makes for the callee, and calls that undo a protection. pkeys(7): remote access does not
 * honour PKRU. */
#define _GNU_SOURCE
#include "foreign.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_mseal
#define SYS_mseal 462 /* Linux 6.10; headers may be older than the kernel */
#endif

static void *at(uint64_t address) { return (void *)(uintptr_t)address; }
static int64_t answer(int64_t result) { return result < 0 ? -errno : result; }

int64_t foreign_read_into(uint64_t address, uint64_t bytes) {
  int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  if (zero < 0) return -errno;
  int64_t result = answer(read(zero, at(address), bytes));
  close(zero);
  return result;
}

int64_t foreign_recv_into(uint64_t address, uint64_t bytes) {
  int ends[2];
  char text[256];
  memset(text, 0x41, sizeof text);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -errno;
  int64_t result = answer(write(ends[0], text, sizeof text));
  if (result >= 0) result = answer(recv(ends[1], at(address), bytes, 0));
  close(ends[0]);
  close(ends[1]);
  return result;
}

int64_t foreign_getcwd_into(uint64_t address, uint64_t bytes) {
  return answer(syscall(SYS_getcwd, at(address), bytes));
}

int64_t foreign_fread_into(uint64_t address, uint64_t bytes) {
  FILE *zero = fopen("/dev/zero", "r");
  if (zero == NULL) return -errno;
  setvbuf(zero, NULL, _IONBF, 0);
  errno = 0;
  size_t count = fread(at(address), 1, bytes, zero);
  int64_t result = count == 0 && errno != 0 ? -errno : (int64_t)count;
  fclose(zero);
  return result;
}

int64_t foreign_process_vm_write(uint64_t address, uint64_t value) {
  struct iovec from = {&value, sizeof value}, to = {at(address), sizeof value};
  return answer(process_vm_writev(getpid(), &from, 1, &to, 1, 0));
}

int64_t foreign_proc_mem_write(uint64_t address, uint64_t value) {
  int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  if (memory < 0) return -errno;
  int64_t result = answer(pwrite(memory, &value, sizeof value, (off_t)address));
  close(memory);
  return result;
}

int64_t foreign_ptrace_write(uint64_t address, uint64_t value) {
  pid_t parent = (pid_t)syscall(SYS_gettid);
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  pid_t child = fork();
  if (child < 0) return -errno;
  if (child == 0) {
    int status;
    if (ptrace(PTRACE_ATTACH, parent, NULL, NULL) != 0) _exit(errno);
    waitpid(parent, &status, __WALL);
    int error = ptrace(PTRACE_POKEDATA, parent, at(address), value) == 0 ? 0 : errno;
    ptrace(PTRACE_DETACH, parent, NULL, NULL);
    _exit(error);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (!WIFEXITED(status)) return -ECHILD;
  return WEXITSTATUS(status) == 0 ? (int64_t)sizeof value : -WEXITSTATUS(status);
}

int64_t foreign_mprotect_open(uint64_t address, uint64_t bytes) {
  return answer(mprotect(at(address), bytes, PROT_READ | PROT_WRITE));
}
int64_t foreign_pkey_untag(uint64_t address, uint64_t bytes) {
  return answer(syscall(SYS_pkey_mprotect, at(address), bytes, PROT_READ | PROT_WRITE, 0));
}
int64_t foreign_seal(uint64_t address, uint64_t bytes) { return answer(syscall(SYS_mseal, at(address), bytes, 0)); }
int64_t foreign_unmap(uint64_t address, uint64_t bytes) { return answer(munmap(at(address), bytes)); }
int64_t foreign_map_over(uint64_t address, uint64_t bytes) {
  void *got = mmap(at(address), bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return got == MAP_FAILED ? -errno : 0;
}
int64_t foreign_discard(uint64_t address, uint64_t bytes) { return answer(madvise(at(address), bytes, MADV_DONTNEED)); }
int64_t foreign_pkey_free(int key) { return answer(syscall(SYS_pkey_free, key)); }

int64_t foreign_wrpkru(uint32_t pkru) {
  unsigned a, b, c = 0, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (c & (1u << 4)) == 0) return -ENOSYS;
  __asm__ volatile("wrpkru" : : "a"(pkru), "c"(0), "d"(0) : "memory");
  return 0;
}
