/*
 * conformance.c: does this machine do what protection keys are said to do? Run in a guest before the guest is believed.
 *
 * A static program of its own: it shares no code with native/pkeys or native/trap, so that it cannot share a mistake
 * with what it vouches for. One TAP line per behaviour; the exit code is 0 only if every line is ok. With the word
 * `counting`, the clock is checked too.
 *
 * Rests on: pkeys(7), signal(7); Documentation/core-api/protection-keys.rst; Intel SDM vol. 3A 4.6.2 (rights of a key),
 * vol. 2A CMPXCHG8B/CMPXCHG16B (ZF is set or cleared, CF, PF, AF, SF and OF are not touched).
 *
 * One file of more than 400 lines: it shares nothing with what it vouches for, and is read as one list of behaviours.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define RIGHT_NO_ACCESS 1u
#define RIGHT_NO_WRITE 2u
#define INIT_PKRU 0x55555554u /* F1, docs/invariants.md */
#define CODE_ACCERR 2
#define CODE_PKUERR 4

/* ---- the register and the calls ------------------------------------------------------------------------------ */

static uint32_t rdpkru(void) {
  uint32_t eax, edx;
  __asm__ volatile(".byte 0x0f,0x01,0xee" : "=a"(eax), "=d"(edx) : "c"(0) : "memory");
  return eax;
}

static void wrpkru(uint32_t value) {
  __asm__ volatile(".byte 0x0f,0x01,0xef" : : "a"(value), "c"(0), "d"(0) : "memory");
}

static void set_rights(int key, uint32_t rights) { wrpkru((rdpkru() & ~(3u << (2 * key))) | (rights << (2 * key))); }

static int key_alloc(void) { return (int)syscall(SYS_pkey_alloc, 0, 0); }
static int key_free(int key) { return (int)syscall(SYS_pkey_free, key); }
static int key_tag(void *p, size_t n, int prot, int key) { return (int)syscall(SYS_pkey_mprotect, p, n, prot, key); }

static volatile uint8_t *map_pages(size_t pages) {
  void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    printf("Bail out! mmap: %s\n", strerror(errno));
    exit(1);
  }
  return p;
}

/* The ProtectionKey line of /proc/self/smaps for the mapping that holds `p`; -1 where there is none. */
static int key_in_smaps(const volatile void *p) {
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

/* ---- faults -------------------------------------------------------------------------------------------------- */

struct fault {
  bool raised;
  int code;
  int key;
  const void *address;
  uint32_t handler_pkru;
};

static __thread sigjmp_buf resume;
static __thread volatile bool expecting;
static __thread struct fault last;

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

static struct fault try_access(volatile uint8_t *p, bool write_it) {
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

/* ---- TAP ----------------------------------------------------------------------------------------------------- */

static int lines, failed;

__attribute__((format(printf, 3, 4))) static bool check(bool good, const char *name, const char *format, ...) {
  lines++;
  if (good) {
    printf("ok %d - %s\n", lines, name);
  } else {
    failed++;
    printf("not ok %d - %s # ", lines, name);
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
  }
  fflush(stdout);
  return good;
}

static void skip(const char *name, const char *why) {
  lines++;
  printf("ok %d - %s # SKIP %s\n", lines, name, why);
}

static void check_fault(const char *name, struct fault f, int code, int key, const volatile void *address) {
  check(f.raised && f.code == code && f.key == key && f.address == (const void *)address, name,
        "raised %d, si_code %d (expected %d), si_pkey %d (expected %d), si_addr %p (expected %p)", f.raised, f.code,
        code, f.key, key, f.address, (const void *)address);
}

/* ---- the behaviours ------------------------------------------------------------------------------------------ */

static void denied_accesses(int key) {
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

  /* Crossing into a denied page must be noticed on the second page too. */
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

  set_rights(key, RIGHT_NO_WRITE);
  uint32_t before = rdpkru();
  raise(SIGUSR1);
  check(rdpkru() == before, "a handler that returns gives the interrupted PKRU back", "0x%08x, expected 0x%08x",
        rdpkru(), before);
  set_rights(key, 0);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

static void on_usr1(int signal_number) { (void)signal_number; }

static void *report_pkru(void *at) {
  *(uint32_t *)at = rdpkru();
  return NULL;
}

static void inheritance(int key) {
  set_rights(key, RIGHT_NO_WRITE);
  uint32_t mine = rdpkru(), theirs = 0;
  pthread_t thread;
  pthread_create(&thread, NULL, report_pkru, &theirs);
  pthread_join(thread, NULL);
  check(theirs == mine, "a new thread starts with its maker's PKRU", "0x%08x, expected 0x%08x", theirs, mine);
  pid_t pid = fork();
  if (pid == 0) _exit(rdpkru() == mine ? 0 : 1);
  int status = 0;
  waitpid(pid, &status, 0);
  check(status == 0, "a forked process starts with its maker's PKRU", "it differs");
  set_rights(key, 0);
}

struct older {
  pthread_barrier_t barrier;
  volatile uint8_t *page;
  struct fault fault;
  uint32_t pkru;
};

static void *older_thread(void *argument) {
  struct older *o = argument;
  pthread_barrier_wait(&o->barrier); /* the thread exists, the key does not */
  pthread_barrier_wait(&o->barrier); /* the page is tagged */
  o->pkru = rdpkru();
  o->fault = try_access(o->page, false);
  return NULL;
}

static int thread_older_than_key(void) {
  static struct older o;
  pthread_t thread;
  pthread_barrier_init(&o.barrier, NULL, 2);
  pthread_create(&thread, NULL, older_thread, &o);
  pthread_barrier_wait(&o.barrier);
  int key = key_alloc();
  o.page = map_pages(1);
  key_tag((void *)o.page, PAGE, PROT_READ | PROT_WRITE, key);
  pthread_barrier_wait(&o.barrier);
  pthread_join(thread, NULL);
  check_fault("a thread older than the key may not read what it tags", o.fault, CODE_PKUERR, key, o.page);
  check(!try_access(o.page, true).raised, "the thread that allocated the key may", "the write faulted");
  return key;
}

static void remapping(int key) {
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

static void remote_access(int key) {
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

static void reuse(int key) {
  volatile uint8_t *p = map_pages(1);
  key_tag((void *)p, PAGE, PROT_READ | PROT_WRITE, key);
  key_free(key);
  check(key_in_smaps(p) == key, "pkey_free untags nothing", "key %d, expected %d", key_in_smaps(p), key);
  int again = key_alloc();
  check(again == key, "pkey_free, then pkey_alloc, gives the same key", "%d, expected %d", again, key);
}

/* All threads at once: random pages, random rights, every outcome predicted. */
enum { STRESS_THREADS = 2, STRESS_ROUNDS = 3000 };
struct stress {
  int keys[2];
  volatile uint8_t *pages[2];
  uint32_t seed;
  int wrong;
  int faults;
};

static void *stress_thread(void *argument) {
  struct stress *s = argument;
  uint32_t x = s->seed;
  for (int i = 0; i < STRESS_ROUNDS; i++) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    uint32_t rights = x % 3, which = (x >> 8) & 1, at = (x >> 9) & 4095;
    bool write_it = (x >> 22) & 1;
    set_rights(s->keys[which], rights);
    struct fault f = try_access(s->pages[which] + at, write_it);
    bool expected = rights == RIGHT_NO_ACCESS || (rights == RIGHT_NO_WRITE && write_it);
    if (f.raised != expected || (expected && (f.code != CODE_PKUERR || f.key != s->keys[which]))) s->wrong++;
    s->faults += f.raised;
    set_rights(s->keys[which], 0);
  }
  return NULL;
}

static void stress(int key_a, int key_b) {
  volatile uint8_t *pages[2] = {map_pages(1), map_pages(1)};
  key_tag((void *)pages[0], PAGE, PROT_READ | PROT_WRITE, key_a);
  key_tag((void *)pages[1], PAGE, PROT_READ | PROT_WRITE, key_b);
  static struct stress s[STRESS_THREADS];
  pthread_t threads[STRESS_THREADS];
  int wrong = 0, faults = 0;
  for (int i = 0; i < STRESS_THREADS; i++) {
    s[i] = (struct stress){{key_a, key_b}, {pages[0], pages[1]}, 12345u + 777u * (uint32_t)i, 0, 0};
    pthread_create(&threads[i], NULL, stress_thread, &s[i]);
  }
  for (int i = 0; i < STRESS_THREADS; i++) {
    pthread_join(threads[i], NULL);
    wrong += s[i].wrong;
    faults += s[i].faults;
  }
  check(wrong == 0 && faults > STRESS_ROUNDS / 2, "threads at once, random pages and rights: every access as predicted",
        "%d of %d wrong, %d faults", wrong, STRESS_THREADS * STRESS_ROUNDS, faults);
}

/* CF 1, PF 4, AF 10, ZF 40, SF 80, OF 800. */
#define FLAGS_ALL 0x8d5u
#define FLAG_ZERO 0x40u

/*
 * The flags that an arithmetic instruction leaves, read at once (`between` is empty) or after a CMPXCHG16B. An emulator
 * that computes flags lazily may get this wrong (F8), but only where the exchange directly follows the arithmetic. So
 * the asm is one block. popfq before it makes the emulator's last computed flags different ones.
 */
#define FLAGS_OF(operation, between)                                                           \
  __asm__ volatile("sub $128, %%rsp\n\t"                                                       \
                   "pushq $0x202\n\t"                                                          \
                   "popfq\n\t" operation "\n\t" between "\n\t"                                 \
                   "pushfq\n\t"                                                                \
                   "popq %[out]\n\t"                                                           \
                   "lea 128(%%rsp), %%rsp"                                                     \
                   : [out] "=&r"(out), "+a"(low), "+d"(high), [x] "+&r"(x), [cell] "+m"(*cell) \
                   : [y] "r"(y), "b"((uint64_t)5), "c"((uint64_t)6)                            \
                   : "memory", "cc")

static _Alignas(16) volatile unsigned __int128 cell_storage;

static uint64_t flags_of(int which, bool exchange, uint64_t x, uint64_t y, bool equal) {
  volatile unsigned __int128 *cell = &cell_storage;
  *cell = 77;
  uint64_t low = equal ? 77 : 78, high = 0, out = 0;
  if (exchange) {
    switch (which) {
      case 0: FLAGS_OF("addq %[y], %[x]", "lock cmpxchg16b %[cell]"); break;
      case 1: FLAGS_OF("subq %[y], %[x]", "lock cmpxchg16b %[cell]"); break;
      case 2: FLAGS_OF("addb %b[y], %b[x]", "lock cmpxchg16b %[cell]"); break;
      case 3: FLAGS_OF("subl %k[y], %k[x]", "lock cmpxchg16b %[cell]"); break;
      case 4: FLAGS_OF("negw %w[x]", "lock cmpxchg16b %[cell]"); break;
      case 5: FLAGS_OF("incq %[x]", "lock cmpxchg16b %[cell]"); break;
      default: FLAGS_OF("cmpq %[y], %[x]", "cmpxchg16b %[cell]"); break;
    }
  } else {
    switch (which) {
      case 0: FLAGS_OF("addq %[y], %[x]", ""); break;
      case 1: FLAGS_OF("subq %[y], %[x]", ""); break;
      case 2: FLAGS_OF("addb %b[y], %b[x]", ""); break;
      case 3: FLAGS_OF("subl %k[y], %k[x]", ""); break;
      case 4: FLAGS_OF("negw %w[x]", ""); break;
      case 5: FLAGS_OF("incq %[x]", ""); break;
      default: FLAGS_OF("cmpq %[y], %[x]", ""); break;
    }
  }
  return out & FLAGS_ALL;
}

static void cmpxchg16b_flags(void) {
  static const char name[] = "CMPXCHG16B changes no flag but ZF";
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 13))) {
    skip(name, "this CPU hides cx16");
    return;
  }
  static const uint64_t values[] = {
      0, 1, 0x7f, 0x80, 0xff, 0x8000, 0x7fffffff, 0x80000000, 0x7fffffffffffffff, 0x8000000000000000, ~0ull};
  enum { VALUES = sizeof values / sizeof values[0] };
  int wrong = 0, tried = 0, first = -1;
  uint64_t seen = 0, wanted = 0;
  for (int which = 0; which < 7; which++)
    for (int i = 0; i < VALUES * VALUES * 2; i++) {
      uint64_t x = values[i / 2 % VALUES], y = values[i / 2 / VALUES];
      bool equal = i & 1;
      uint64_t want = (flags_of(which, false, x, y, equal) & ~(uint64_t)FLAG_ZERO) | (equal ? FLAG_ZERO : 0);
      uint64_t got = flags_of(which, true, x, y, equal);
      bool stored = cell_storage == (equal ? ((unsigned __int128)6 << 64 | 5) : 77);
      tried++;
      if ((got != want || !stored) && wrong++ == 0) {
        first = which;
        seen = got;
        wanted = want;
      }
    }
  check(wrong == 0, name, "%d of %d wrong, first after operation %d: flags 0x%llx, expected 0x%llx", wrong, tried,
        first, (unsigned long long)seen, (unsigned long long)wanted);
}

/* In the counting machine CLOCK_MONOTONIC advances one nanosecond for each instruction. */
static uint64_t loop_ns(uint64_t rounds) {
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(rounds) : : "cc");
  clock_gettime(CLOCK_MONOTONIC, &to);
  return (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000u + (uint64_t)(to.tv_nsec - from.tv_nsec);
}

static void counted_clock(void) {
  enum { ROUNDS = 200000 };
  uint64_t least = UINT64_MAX, base = UINT64_MAX;
  for (int i = 0; i < 20; i++) {
    uint64_t empty = loop_ns(1), full = loop_ns(ROUNDS + 1);
    if (empty < base) base = empty;
    if (full < least) least = full;
  }
  uint64_t counted = least - base;
  check(counted >= 2 * ROUNDS && counted < 2 * ROUNDS + ROUNDS / 50, "the clock counts instructions",
        "%llu ns for %d instructions", (unsigned long long)counted, 2 * ROUNDS);
}

static bool cpu_has_keys(void) {
  unsigned a, b, c = 0, d;
  bool good = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 3)) && (c & (1u << 4));
  return check(good, "CPUID shows PKU and OSPKE", "leaf 7 ECX 0x%08x", c);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("TAP version 14\n");
  struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
  signal(SIGUSR1, on_usr1);
  if (cpu_has_keys()) {
    check(rdpkru() == INIT_PKRU, "a program starts with PKRU 0x55555554", "0x%08x", rdpkru());
    int older = thread_older_than_key();
    int key = key_alloc();
    if (check(older > 0 && key > 0 && key != older, "pkey_alloc gives two keys", "%d and %d", older, key)) {
      denied_accesses(key);
      inheritance(key);
      remapping(key);
      remote_access(key);
      stress(older, key);
      reuse(key);
    }
  }
  cmpxchg16b_flags();
  if (argc > 1 && strcmp(argv[1], "counting") == 0) counted_clock();
  printf("1..%d\n", lines);
  return failed == 0 ? 0 : 1;
}
