/*
 * pkeys_test_posix.h: what the tests of native/pkeys ask of Linux. Included by pkeys_test.h.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

/* What happens to a thread that reads or writes `address` as things are now. The kernel is asked: its copies honour
 * page protection and PKRU, and answer EFAULT instead of raising a signal. */
static inline bool can_read(const void *address) {
  int ends[2];
  if (pipe(ends)) abort();
  long got = syscall(SYS_write, ends[1], address, 1);
  close(ends[0]);
  close(ends[1]);
  return got == 1;
}
static inline bool can_write(void *address) {
  int ends[2];
  char byte = 0;
  if (pipe(ends)) abort();
  if (write(ends[1], &byte, 1) != 1) abort();
  long got = syscall(SYS_read, ends[0], address, 1);
  close(ends[0]);
  close(ends[1]);
  return got == 1;
}

/* ProtectionKey of the mapping that holds `address`, by a parser of its own; -1 if there is no such mapping, 0 where
 * the kernel shows no keys. access, if not NULL, gets "rw-p" and so on. */
static inline int smaps_key(const void *address, char access[5]) {
  FILE *file = fopen("/proc/self/smaps", "r");
  if (!file) abort();
  char line[512];
  int key = -1;
  bool inside = false;
  while (fgets(line, sizeof line, file)) {
    unsigned long first, last;
    char perms[5];
    if (sscanf(line, "%lx-%lx %4s", &first, &last, perms) == 3) {
      inside = (uintptr_t)address >= first && (uintptr_t)address < last;
      if (inside) {
        key = 0;
        if (access) memcpy(access, perms, 5);
      }
    } else if (inside) {
      sscanf(line, "ProtectionKey: %d", &key);
    }
  }
  fclose(file);
  return key;
}

/* Changes behind the layer's back. */
#define TEST_READ PROT_READ
#define TEST_READ_WRITE (PROT_READ | PROT_WRITE)
#define TEST_EXECUTE PROT_EXEC
static inline int test_protect(void *address, size_t bytes, int access) { return mprotect(address, bytes, access); }
static inline bool test_map_over(void *address, size_t bytes) {
  return mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == address;
}
static inline char *test_reserve(size_t bytes) {
  void *map = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return map == MAP_FAILED ? NULL : map;
}
static inline int test_unmap(void *address, size_t bytes) { return munmap(address, bytes); }
/* Every key that is left, for this process. */
static inline void test_all_keys(void) {
  while (syscall(SYS_pkey_alloc, 0, 0) > 0) {}
}

/* Has the kernel interrupt this process and call, `every_us` after the handler has last returned; 0: no longer. The
 * handler sets the timer anew when it ends. So the code that it interrupts gets on however slow the machine is: a timer
 * that repeats by itself would always be due again where a call of the handler takes longer than the interval. */
static void (*test_interrupt)(int);
static struct itimerval test_interval;
static inline void test_on_interrupt(int signal) {
  test_interrupt(signal);
  setitimer(ITIMER_REAL, &test_interval, NULL); /* a system call and nothing more */
}
static inline void test_interrupts(void (*handler)(int), int every_us) {
  if (every_us > 0) {
    struct sigaction action = {.sa_handler = test_on_interrupt, .sa_flags = SA_RESTART};
    test_interrupt = handler;
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
  }
  test_interval = (struct itimerval){{0, 0}, {0, every_us}};
  setitimer(ITIMER_REAL, &test_interval, NULL);
}
#define NEEDS_INTERRUPTS() ((void)0)
#define NEEDS_MAPPINGS() ((void)0)

/* Access faults of this process go to `decide`: true retries the instruction, false ends the process with 77. */
static bool (*test_decide)(uintptr_t address);
static inline void test_on_fault(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)context;
  if (!test_decide(info->si_code == SEGV_ACCERR ? (uintptr_t)info->si_addr : 0)) _exit(77);
}
static inline void test_faults(bool (*decide)(uintptr_t address)) {
  test_decide = decide;
  struct sigaction action = {.sa_sigaction = test_on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
}
