/*
 * trap_armed_x86_64.c: a callout with keys, single-stepped by the trap flag: at no instruction are rights down on a
 * thread that is not marked.
 */
#define _GNU_SOURCE
#include <ucontext.h>

#include "../trap/internal.h"
#include "trap_common.h"

#define NEED_KEYS() \
  if (!pkeys_supported()) CHECK_SKIP_OR_FAIL("TURNKEY_REQUIRE_PKEYS", "this CPU has no protection keys")

/* I4, at every instruction of a callout: where rights are denied, the thread is marked as in a callout. */
static volatile unsigned long steps, denied_steps, unmarked_steps, marked_open_steps;
static uint32_t stepped_deny, stepped_offset;
static void step(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  ucontext_t *uc = context;
  pkeys_wrpkru(0);
  char *area = (char *)uc->uc_mcontext.fpregs;
  uint64_t present;
  memcpy(&present, area + 512, 8);
  uint32_t pkru = 0;
  if (present >> 9 & 1) memcpy(&pkru, area + stepped_offset, 4);
  bool denied = (pkru & stepped_deny) != 0;
  bool marked = trap_state_is_callout(trap_state(trap_slot_at(trap_slot_offset())));
  steps++;
  denied_steps += denied;
  unmarked_steps += denied && !marked;
  marked_open_steps += marked && !denied;
}
static void step_through(struct way *way) {
  if (way->mechanism != WAY_KEYS) return;
  __typeof__(&honest_add) add = GUARD(honest_add, 0, way->flags);
  add(1, 2);
  struct sigaction action, before;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = step;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  steps = denied_steps = unmarked_steps = marked_open_steps = 0;
  stepped_deny = pkeys_masks().deny;
  stepped_offset = trap_arena.shared.machine.pkru_offset;
  sigaction(SIGTRAP, &action, &before);
  __asm__ volatile("pushfq\n orl $0x100, (%%rsp)\n popfq" ::: "memory", "cc");
  int sum = add(40, 2);
  __asm__ volatile("pushfq\n andl $~0x100, (%%rsp)\n popfq" ::: "memory", "cc");
  sigaction(SIGTRAP, &before, NULL);
  CHECK_EQ(sum, 42);
  CHECK(steps > 30);
  CHECK(denied_steps > 3);
  CHECK_EQ(unmarked_steps, 0);
  CHECK(marked_open_steps > 0); /* marked first, denied then */
  trap_thunk_release((void *)(uintptr_t)add);
}
/* Broken once: T_STATE set behind WRPKRU; T_STATE cleared before the second WRPKRU. */
CHECK_TEST(armed_before_denied,
           "I4: at every instruction of a callout at which rights are down, the thread is marked as in a callout") {
  NEED_KEYS();
  each_way(step_through);
}

CHECK_MAIN()
