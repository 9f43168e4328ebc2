/*
 * io_uring(7), by its system calls: reads of 0x41s into an address by whoever the kernel has make them. That is the
 * caller itself, a worker thread of the kernel's, or a thread that polls the ring. Or it is the kernel, by its own
 * mapping of pages that were registered. A thread of the kernel's has the PKRU that its maker had then.
 */
#define _GNU_SOURCE
#include "around.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define READ_MOST 256u

static struct {
  int file, source; /* source: a file of 0x41s */
  bool polled;
  unsigned *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
  struct io_uring_sqe *entries;
  struct io_uring_cqe *completions;
} ring = {.file = -1};

static int64_t answer(int64_t result) { return result < 0 ? -errno : result; }

int64_t foreign_uring_open(int polled) {
  struct io_uring_params params = {.flags = polled ? IORING_SETUP_SQPOLL : 0, .sq_thread_idle = 10000};
  int file = (int)syscall(SYS_io_uring_setup, 4, &params);
  if (file < 0) return -errno;
  char text[READ_MOST];
  memset(text, 0x41, sizeof text);
  ring.source = memfd_create("foreign", MFD_CLOEXEC);
  if (ring.source < 0 || write(ring.source, text, sizeof text) < 0) return -errno;
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

static void queue(uint8_t opcode, uint8_t flags, uint64_t address, uint64_t bytes) {
  unsigned tail = *ring.sq_tail, index = tail & *ring.sq_mask;
  ring.entries[index] = (struct io_uring_sqe){
      .opcode = opcode, .flags = flags, .fd = ring.source, .addr = address, .len = (unsigned)bytes};
  ring.sq_array[index] = index;
  __atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_SEQ_CST);
}

static bool completed(void) { return *ring.cq_head != __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE); }

static int64_t take_result(void) {
  if (!completed()) return -EIO;
  unsigned head = *ring.cq_head;
  int64_t result = ring.completions[head & *ring.cq_mask].res;
  __atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
  return result;
}

static int64_t enter_and_wait(void) {
  unsigned how = IORING_ENTER_GETEVENTS;
  if (ring.polled && (__atomic_load_n(ring.sq_flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP))
    how |= IORING_ENTER_SQ_WAKEUP;
  int64_t result;
  do result = answer(syscall(SYS_io_uring_enter, ring.file, ring.polled ? 0 : 1, 1, how, NULL, 0));
  while (result == -EINTR);
  return result < 0 ? result : take_result();
}

static int64_t read_by(uint8_t opcode, uint8_t flags, uint64_t address, uint64_t bytes) {
  if (ring.file < 0) return -EBADF;
  queue(opcode, flags, address, bytes);
  return enter_and_wait();
}

int64_t foreign_uring_read_into(uint64_t address, uint64_t bytes) {
  return read_by(IORING_OP_READ, ring.polled ? 0 : IOSQE_ASYNC, address, bytes);
}
int64_t foreign_uring_read_inline(uint64_t address, uint64_t bytes) {
  return read_by(IORING_OP_READ, 0, address, bytes);
}
int64_t foreign_uring_read_registered(uint64_t address, uint64_t bytes) {
  return read_by(IORING_OP_READ_FIXED, 0, address, bytes);
}
int64_t foreign_uring_register(uint64_t address, uint64_t bytes) {
  struct iovec vector = {(void *)(uintptr_t)address, bytes};
  return answer(syscall(SYS_io_uring_register, ring.file, IORING_REGISTER_BUFFERS, &vector, 1));
}
int64_t foreign_uring_start_worker(void) {
  static char own[8];
  return read_by(IORING_OP_READ, IOSQE_ASYNC, (uint64_t)(uintptr_t)own, sizeof own);
}

/* The clock is read through the vDSO: no system call is made. */
int64_t foreign_uring_read_silently(uint64_t address, uint64_t bytes, int wait_ms) {
  if (ring.file < 0) return -EBADF;
  struct timespec began, now;
  clock_gettime(CLOCK_MONOTONIC, &began);
  queue(IORING_OP_READ, 0, address, bytes);
  do clock_gettime(CLOCK_MONOTONIC, &now);
  while (!completed() && (now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000 < wait_ms);
  return take_result();
}
