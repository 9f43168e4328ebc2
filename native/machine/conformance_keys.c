/*
 * conformance_keys.c: the system calls for keys, what smaps says of a page, and accesses that may fault. pkeys(7).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "conformance.h"

int key_alloc(void) { return (int)syscall(SYS_pkey_alloc, 0, 0); }
int key_free(int key) { return (int)syscall(SYS_pkey_free, key); }
int key_tag(void *p, size_t n, int prot, int key) { return (int)syscall(SYS_pkey_mprotect, p, n, prot, key); }

volatile uint8_t *map_pages(size_t pages) {
  void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    printf("Bail out! mmap: %s\n", strerror(errno));
    exit(1);
  }
  return p;
}

int key_in_smaps(const volatile void *p) {
  FILE *f = fopen("/proc/self/smaps", "re");
  if (f == NULL) return -1;
  char text[512];
  int key = -1;
  bool inside = false;
  while (fgets(text, sizeof text, f) != NULL) {
    unsigned long from, to;
    int value;
    if (sscanf(text, "%lx-%lx ", &from, &to) == 2) inside = (uintptr_t)p >= from && (uintptr_t)p < to;
    else if (inside && sscanf(text, "ProtectionKey: %d", &value) == 1) key = value;
  }
  fclose(f);
  return key;
}

__thread sigjmp_buf resume;
__thread volatile bool expecting;
__thread struct fault last;

static void on_segv(int signal_number, siginfo_t *info, void *context) {
  uint32_t pkru = rdpkru();
  (void)context;
  if (!expecting) {
    static const char text[] = "Bail out! a fault nobody expected\n";
    if (write(1, text, sizeof text - 1) < 0) _exit(2);
    _exit(1);
  }
  (void)signal_number;
  last = (struct fault){true, info->si_code, (int)info->si_pkey, info->si_addr, pkru};
  expecting = false;
  siglongjmp(resume, 1);
}

void catch_faults(void) {
  struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
}

struct fault try_access(volatile uint8_t *p, bool write_it) {
  uint32_t before = rdpkru();
  last = (struct fault){0};
  if (sigsetjmp(resume, 1) == 0) {
    expecting = true;
    if (write_it) *p = 0x5a;
    else (void)*p;
    expecting = false;
  }
  wrpkru(before); /* a handler left by siglongjmp leaves its own PKRU behind */
  return last;
}
