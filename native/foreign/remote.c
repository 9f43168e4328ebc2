/*
 * Stores that are not the callee's own instructions: system calls with out-parameters, io_uring's workers, userfaultfd,
 * ptrace between children, and second mappings. pkeys(7): copies made for a thread honour its PKRU; remote access does
 * not.
 */
#define _GNU_SOURCE
#include "around.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
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

/* A file of 0x41s. */
static int file_of_a(size_t bytes) {
  char text[256];
  memset(text, 0x41, sizeof text);
  int file = memfd_create("foreign", MFD_CLOEXEC);
  for (size_t done = 0; file >= 0 && done < bytes; done += sizeof text)
    if (write(file, text, sizeof text) < 0) return -1;
  return file;
}

/* ---- io_uring(7), by its system calls ------------------------------------------------------------------------ */

static struct {
  int file;
  bool polled;
  unsigned *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
  struct io_uring_sqe *entries;
  struct io_uring_cqe *completions;
} ring = {.file = -1};

int64_t foreign_uring_open(int polled) {
  struct io_uring_params params = {.flags = polled ? IORING_SETUP_SQPOLL : 0, .sq_thread_idle = 10000};
  int file = (int)syscall(SYS_io_uring_setup, 4, &params);
  if (file < 0) return -errno;
  size_t bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
  size_t sq_bytes = params.sq_off.array + params.sq_entries * sizeof(unsigned);
  if (sq_bytes > bytes) bytes = sq_bytes;
  char *rings = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file,
                     IORING_OFF_SQ_RING); /* both: IORING_FEAT_SINGLE_MMAP, 5.4 */
  void *entries = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_POPULATE, file, IORING_OFF_SQES);
  if (rings == MAP_FAILED || entries == MAP_FAILED) return -errno;
  ring.file = file;
  ring.polled = polled != 0;
  ring.sq_tail = (unsigned *)(rings + params.sq_off.tail);
  ring.sq_mask = (unsigned *)(rings + params.sq_off.ring_mask);
  ring.sq_array = (unsigned *)(rings + params.sq_off.array);
  ring.sq_flags = (unsigned *)(rings + params.sq_off.flags);
  ring.cq_head = (unsigned *)(rings + params.cq_off.head);
  ring.cq_tail = (unsigned *)(rings + params.cq_off.tail);
  ring.cq_mask = (unsigned *)(rings + params.cq_off.ring_mask);
  ring.completions = (struct io_uring_cqe *)(rings + params.cq_off.cqes);
  ring.entries = entries;
  return file;
}

int64_t foreign_uring_read_into(uint64_t address, uint64_t bytes) {
  if (ring.file < 0) return -EBADF;
  int file = file_of_a(bytes);
  if (file < 0) return -errno;
  unsigned tail = *ring.sq_tail, index = tail & *ring.sq_mask;
  ring.entries[index] = (struct io_uring_sqe){.opcode = IORING_OP_READ,
                                              .flags = ring.polled ? 0 : IOSQE_ASYNC,
                                              .fd = file,
                                              .addr = address,
                                              .len = (unsigned)bytes};
  ring.sq_array[index] = index;
  __atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_SEQ_CST);
  unsigned how = IORING_ENTER_GETEVENTS;
  if (ring.polled && (__atomic_load_n(ring.sq_flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP))
    how |= IORING_ENTER_SQ_WAKEUP;
  int64_t result;
  do result = answer(syscall(SYS_io_uring_enter, ring.file, ring.polled ? 0 : 1, 1, how, NULL, 0));
  while (result == -EINTR);
  if (result >= 0) {
    unsigned head = *ring.cq_head;
    result = head == __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE) ? -EIO
                                                                     : ring.completions[head & *ring.cq_mask].res;
    __atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
  }
  close(file);
  return result;
}

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
