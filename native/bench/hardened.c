/*
 * hardened: a guarded callout whose system calls are judged (trap/filter.h), in C. What the callee does is `work`:
 * nothing, or getppid(2), which passes.
 * Options: pages; way (none | dispatch | seccomp); work (nothing | call). `none` of the mechanisms is the raw call.
 */
#define _GNU_SOURCE
#include "guarded.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filter.h"

static __attribute__((noinline)) void nothing(void) { __asm__ volatile(""); }
static __attribute__((noinline)) void makes_a_call(void) {
  long result = SYS_getppid;
  __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
}
static void (*volatile callee)(void);

static void run_calls(uint64_t times) {
  void (*call)(void) = callee;
  for (uint64_t i = 0; i < times; i++) call();
}

const char *bench_hardened(struct bench_row *row) {
  const char *why = guarded_set_up(row, 0);
  if (why != NULL) return why;
  bool calls = bench_is(row, "work", "call"), none = bench_is(row, "way", "none");
  void (*function)(void) = calls ? makes_a_call : nothing;
  row->run = run_calls;
  callee = function;
  if (guarded.mechanism == PKEYS_MECHANISM_NONE) return NULL;
  struct trap_filter_options options = {.way = bench_is(row, "way", "seccomp") ? TRAP_FILTER_SECCOMP
                                                                               : TRAP_FILTER_DISPATCH,
                                        .threads = true,
                                        .code = true};
  int error = none ? 0 : trap_filter_init(&options);
  if (error != 0) return bench_why("no filter: %s", strerror(-error));
  uint64_t judged = trap_filter_statistics().judged;
  callee = (void (*)(void))(uintptr_t)guarded_thunk((const void *)(uintptr_t)function, 0, none ? 0 : TRAP_FILTER);
  callee();
  bool seen = trap_filter_statistics().judged != judged;
  return seen == (calls && options.way == TRAP_FILTER_DISPATCH && !none) ? NULL
                                                                         : "the call was not judged as it should be";
}
