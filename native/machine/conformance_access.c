/*
 * conformance_access.c: what a key denies, and what becomes of the key of a page. pkeys(7), mprotect(2), mremap(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conformance.h"

/* Crossing into a denied page must be noticed on the second page too. */
static void across_the_edge(int key) {
  volatile uint8_t *q = map_pages(2);
  q[0] = q[PAGE] = 7;
  key_tag((void *)(q + PAGE), PAGE, PROT_READ | PROT_WRITE, key);
  set_rights(key, RIGHT_NO_WRITE);
  last = (struct fault){0};
  if (sigsetjmp(resume, 1) == 0) {
    expecting = true;
    *(volatile uint64_t *)(q + PAGE - 4) = 0x1122334455667788u;
    expecting = false;
  }
  struct fault f = last;
  wrpkru(INIT_PKRU);
  set_rights(key, 0);
  check(f.raised && f.code == CODE_PKUERR && q[PAGE] == 7 && q[PAGE - 4] == 0,
        "a write across the edge of a denied page faults and writes neither part", "raised %d, si_code %d, bytes %d %d",
        f.raised, f.code, q[PAGE - 4], q[PAGE]);
  check(f.handler_pkru == INIT_PKRU, "a signal handler starts with PKRU 0x55555554", "0x%08x", f.handler_pkru);
}

static void on_usr1(int signal_number) { (void)signal_number; }

static void rights_after_a_handler(int key) {
  signal(SIGUSR1, on_usr1);
  set_rights(key, RIGHT_NO_WRITE);
  uint32_t before = rdpkru();
  raise(SIGUSR1);
  check(rdpkru() == before, "a handler that returns gives the interrupted PKRU back", "0x%08x, expected 0x%08x",
        rdpkru(), before);
  set_rights(key, 0);
}

void denied_accesses(int key) {
  volatile uint8_t *p = map_pages(3);
  p[0] = 1;
  p[PAGE] = 1;
  key_tag((void *)p, 2 * PAGE, PROT_READ | PROT_WRITE, key);
  key_tag((void *)(p + 2 * PAGE), PAGE, PROT_READ, key);
  check(key_in_smaps(p) == key, "smaps shows the key of a tagged page", "ProtectionKey %d, expected %d",
        key_in_smaps(p), key);

  set_rights(key, RIGHT_NO_WRITE);
  check_fault("a denied write is SIGSEGV with SEGV_PKUERR and the key", try_access(p + 8, true), CODE_PKUERR, key,
              p + 8);
  check(p[8] == 0, "a denied write leaves memory as it was", "byte is %d", p[8]);
  check(!try_access(p, false).raised, "with only writes denied, reads work", "the read faulted");

  int pipe_ends[2];
  if (pipe(pipe_ends) != 0 || write(pipe_ends[1], "xyz", 3) != 3) _exit(1);
  errno = 0;
  ssize_t n = read(pipe_ends[0], (void *)p, 3);
  check(n == -1 && errno == EFAULT && p[0] == 1, "read(2) into a denied page answers EFAULT",
        "returned %zd, %s, byte %d", n, strerror(errno), p[0]);
  errno = 0;
  n = write(pipe_ends[1], (const void *)p, 1);
  check(n == 1, "write(2) from a page that may be read works", "returned %zd, %s", n, strerror(errno));

  set_rights(key, RIGHT_NO_ACCESS);
  check_fault("a denied read is SIGSEGV with SEGV_PKUERR and the key", try_access(p + 16, false), CODE_PKUERR, key,
              p + 16);
  errno = 0;
  n = write(pipe_ends[1], (const void *)p, 1);
  check(n == -1 && errno == EFAULT, "write(2) from a page that may not be read answers EFAULT", "returned %zd, %s", n,
        strerror(errno));
  check_fault("a denied write to a page never touched names the key", try_access(p + PAGE + 2048, true), CODE_PKUERR,
              key, p + PAGE + 2048);
  check_fault("a write to a read-only page whose key denies names the key", try_access(p + 2 * PAGE, true), CODE_PKUERR,
              key, p + 2 * PAGE);
  set_rights(key, 0);
  check_fault("a write to a read-only page whose key allows is SEGV_ACCERR", try_access(p + 2 * PAGE, true),
              CODE_ACCERR, 0, p + 2 * PAGE);
  check(!try_access(p, true).raised, "once opened, writes work again", "the write faulted");
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  across_the_edge(key);
  rights_after_a_handler(key);
}

void remapping(int key) {
  volatile uint8_t *p = map_pages(8);
  memset((void *)p, 1, 8 * PAGE);
  key_tag((void *)p, 8 * PAGE, PROT_READ | PROT_WRITE, key);
  set_rights(key, RIGHT_NO_WRITE);

  mprotect((void *)p, PAGE, PROT_NONE);
  mprotect((void *)p, PAGE, PROT_READ | PROT_WRITE);
  check(key_in_smaps(p) == key && try_access(p, true).raised, "mprotect keeps the key", "key %d", key_in_smaps(p));

  madvise((void *)(p + PAGE), PAGE, MADV_DONTNEED);
  check(key_in_smaps(p + PAGE) == key && try_access(p + PAGE, true).raised, "MADV_DONTNEED keeps the key", "key %d",
        key_in_smaps(p + PAGE));

  volatile uint8_t *to = map_pages(1);
  void *moved = mremap((void *)(p + 2 * PAGE), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)to);
  check(moved == (const void *)to && key_in_smaps(to) == key && try_access(to, true).raised, "mremap keeps the key",
        "key %d", key_in_smaps(to));

  void *fresh = mmap((void *)(p + 3 * PAGE), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                     0);
  check(fresh == (const void *)(p + 3 * PAGE) && key_in_smaps(p + 3 * PAGE) == 0 &&
            !try_access(p + 3 * PAGE, true).raised,
        "mmap with MAP_FIXED loses the key", "key %d", key_in_smaps(p + 3 * PAGE));
  set_rights(key, 0);
}

void remote_access(int key) {
  volatile uint8_t *p = map_pages(1);
  p[0] = 1;
  key_tag((void *)p, PAGE, PROT_READ | PROT_WRITE, key);
  set_rights(key, RIGHT_NO_ACCESS);
  int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  ssize_t n = pwrite(fd, "\x2a", 1, (off_t)(uintptr_t)p);
  close(fd);
  set_rights(key, 0);
  check(n == 1 && p[0] == 0x2a, "/proc/self/mem writes past the key", "returned %zd, byte %d", n, p[0]);
}

void reuse(int key) {
  volatile uint8_t *p = map_pages(1);
  key_tag((void *)p, PAGE, PROT_READ | PROT_WRITE, key);
  key_free(key);
  check(key_in_smaps(p) == key, "pkey_free untags nothing", "key %d, expected %d", key_in_smaps(p), key);
  int again = key_alloc();
  check(again == key, "pkey_free, then pkey_alloc, gives the same key", "%d, expected %d", again, key);
}
