/*
 * fault: a bad store, and what it takes until the callout has failed, in parts.
 *
 * Option part: `delivery`: the same store under the same protection, with a bare handler that edits the context to go
 * on behind it. That is what the kernel takes to deliver a fault and to return from its handler. `gate`: a guarded
 * callout that does not fault. `whole`: the guarded callout whose callee stores into the closed image (through a null
 * pointer where nothing is closed), recovered, the record taken. The trap's own handler and recovery are the rest. With
 * `cold` the first one in a process; else at least a thousand were before. sigaction(2), trap.h.
 */
#define _GNU_SOURCE
#include "guarded.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define BEFORE 1000

static volatile uint64_t *target;
static void (*volatile callee)(void);

static __attribute__((noinline)) void nothing(void) { __asm__ volatile(""); }
/* Three bytes long, which the bare handler knows. */
#define STORE "movb %%al, (%%rdi)\n\tnop"
#define STORE_BYTES 3
static __attribute__((noinline)) void store(void) { __asm__ volatile(STORE : : "D"(target), "a"(1) : "memory"); }

static void run_whole(uint64_t times) {
  void (*call)(void) = callee;
  struct trap_fault fault;
  for (uint64_t i = 0; i < times; i++) {
    call();
    trap_take_fault(&fault);
  }
}
static void run_calls(uint64_t times) {
  void (*call)(void) = callee;
  for (uint64_t i = 0; i < times; i++) call();
}
static void run_store(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) store();
}

static volatile unsigned bare_faults;
static void bare(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  bare_faults++;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += STORE_BYTES;
}

static void bare_take_down(void) {}

/* Pages under the same protection as the mechanism's, closed for good: nothing of ours is around the store. */
static const char *delivery(struct bench_row *row) {
  bool keyed = strncmp(row->mechanism, "pkeys", 5) == 0;
  static char alternate[65536];
  char *page = NULL;
  if (strcmp(row->mechanism, "flag") != 0) {
    page = mmap(NULL, BENCH_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return strerror(errno);
    *(volatile char *)page = 0;
    if (keyed) {
      if (!bench_have_keys()) return "the CPU or kernel has no protection keys (CPUID OSPKE is 0)";
      int key = pkey_alloc(0, 0);
      if (key < 0 || pkey_mprotect(page, BENCH_PAGE, PROT_READ | PROT_WRITE, key) != 0 ||
          pkey_set(key, PKEY_DISABLE_WRITE) != 0)
        return strerror(errno);
    } else if (mprotect(page, BENCH_PAGE, PROT_READ) != 0) return strerror(errno);
  }
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  struct sigaction action = {.sa_sigaction = bare, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  sigfillset(&action.sa_mask);
  sigdelset(&action.sa_mask, SIGSEGV);
  sigaltstack(&stack, NULL);
  sigaction(SIGSEGV, &action, NULL);
  target = (volatile uint64_t *)page;
  row->run = run_store;
  row->take_down = bare_take_down;
  row->counts = (struct bench_counts){0, 0, 1, 1}; /* rt_sigreturn */
  if (row->cold) return NULL;
  run_store(BEFORE);
  return bare_faults == BEFORE ? NULL : "the store was tried and does not fault";
}

const char *bench_fault(struct bench_row *row) {
  if (strcmp(row->mechanism, "none") == 0) return "without a trap there is nothing to recover";
  if (bench_is(row, "part", "delivery")) return delivery(row);
  const char *why = guarded_set_up(row, 0);
  if (why != NULL) return why;
  bool whole = !bench_is(row, "part", "gate");
  target = guarded.closes ? (volatile uint64_t *)(guarded.memory + guarded.bytes / 2) : NULL;
  callee = (void (*)(void))(uintptr_t)guarded_thunk(
      whole ? (const void *)(uintptr_t)store : (const void *)(uintptr_t)nothing, 0, 0);
  row->run = whole ? run_whole : run_calls;
  if (whole) {
    row->counts.faults = 1;
    row->counts.syscalls += 2; /* as seen by stepping, where it is short enough */
    /* The handler's on its way in and out, and the landing pad's in place of the gate's own way out. */
    if (bench_have_keys()) {
      row->counts.wrpkru += guarded.mechanism == PKEYS_MECHANISM_PKEYS ? 2 : 3;
      row->counts.rdpkru += guarded.mechanism == PKEYS_MECHANISM_PKEYS || guarded.mechanism == PKEYS_MECHANISM_FLAG ? 2
                            : guarded.mechanism == PKEYS_MECHANISM_PKEYS_GLIBC                                      ? 4
                                                                                                                    : 3;
    }
  }
  if (row->cold) return NULL;
  bool slow = guarded.mechanism == PKEYS_MECHANISM_MPROTECT_PAGE || guarded.bytes > 1024 * BENCH_PAGE;
  for (int i = 0; i < (slow ? 1 : BEFORE); i++) {
    struct trap_fault fault;
    callee();
    bool faulted = trap_take_fault(&fault);
    if (faulted != whole || (whole && (fault.signal != SIGSEGV || fault.address != (uintptr_t)target)))
      return "the callout was tried and did not fail as it should";
  }
  return NULL;
}
