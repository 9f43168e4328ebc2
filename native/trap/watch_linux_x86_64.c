/*
 * watch_linux_x86_64.c: hardware breakpoints on instructions that write rights and have to stay (filter.h,
 * trap_watch_code). What a hit means is asked inside a signal, under the rules of inside_linux.c.
 *
 * perf_event_open(2), PERF_TYPE_BREAKPOINT, `sigtrap` (Linux 5.13); Intel SDM vol. 3B, 17.2 (debug registers): the
 * exception comes before the instruction.
 */
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <string.h>

#include "calls.h"
#include "context.h"
#include "dispatch.h"

#define WATCH_MAGIC 0x747261707761746eu
#define BREAKPOINT_EXECUTE 4 /* HW_BREAKPOINT_X */
#define XSTATE_PKRU ((uint64_t)1 << 9)
/* In siginfo_t, which older headers do not have: si_perf_data. */
#define PERF_DATA_AT 24
/* Places in struct perf_event_attr, by number: headers may be older than the kernel. linux/perf_event.h. */
#define ATTRIBUTE_BYTES 128
#define FLAGS_AT 40
#define ADDRESS_AT 56
#define LENGTH_AT 64
#define SIGNAL_DATA_AT 120
#define FLAG_INHERIT ((uint64_t)1 << 1)
#define FLAG_EXCLUDE_KERNEL ((uint64_t)1 << 5)
#define FLAG_EXCLUDE_HYPERVISOR ((uint64_t)1 << 6)
#define FLAG_INHERIT_THREAD ((uint64_t)1 << 35)
#define FLAG_REMOVE_ON_EXEC ((uint64_t)1 << 36)
#define FLAG_SIGTRAP ((uint64_t)1 << 37)

static void put(char *attribute, size_t at, uint64_t value) { memcpy(attribute + at, &value, sizeof value); }

int trap_watch(uintptr_t address) {
  _Alignas(8) char attribute[ATTRIBUTE_BYTES] = {0};
  const uint32_t kind[2] = {PERF_TYPE_BREAKPOINT, ATTRIBUTE_BYTES};
  memcpy(attribute, kind, sizeof kind);
  put(attribute, 16, 1); /* each time */
  put(attribute, FLAGS_AT,
      FLAG_INHERIT | FLAG_INHERIT_THREAD | FLAG_EXCLUDE_KERNEL | FLAG_EXCLUDE_HYPERVISOR | FLAG_REMOVE_ON_EXEC |
          FLAG_SIGTRAP);
  const uint32_t type = BREAKPOINT_EXECUTE;
  memcpy(attribute + 52, &type, sizeof type);
  put(attribute, ADDRESS_AT, address);
  put(attribute, LENGTH_AT, sizeof(long));
  put(attribute, SIGNAL_DATA_AT, WATCH_MAGIC);
  long file = trap_call_now(SYS_perf_event_open, (long)(uintptr_t)attribute, 0, -1, -1, PERF_FLAG_FD_CLOEXEC, 0);
  return file < 0 ? (int)file : 0; /* the descriptor stays open: it is the breakpoint */
}

/* Breakpoints are inherited by threads, not by a child process. */
void trap_watch_forked(void) {
  const struct trap_filter *filter = &trap_arena.shared.filter;
  for (uint32_t i = 0; i < filter->watched_count; i++) (void)trap_watch(filter->watched[i]);
}

bool trap_watched(int signal, const siginfo_t *info) {
  uint64_t data;
  memcpy(&data, (const char *)info + PERF_DATA_AT, sizeof data);
  return signal == SIGTRAP && info->si_code == TRAP_PERF && data == WATCH_MAGIC;
}

/* Any instruction but an XRSTOR that leaves PKRU as it is: its mask is in edx:eax. The loader has one for each function
 * that it binds late. */
bool trap_watch_refuses(const siginfo_t *info, const ucontext_t *uc) {
  uint8_t bytes[4] = {0}, *code = bytes;
  if (trap_context_pc(uc) != (uint64_t)(uintptr_t)info->si_addr) return false; /* it was blocked, and comes late */
  (void)trap_peek(bytes, (const void *)(uintptr_t)trap_context_pc(uc), sizeof bytes);
  if ((*code & 0xf0) == 0x40) code++; /* REX: a wider form, or other registers in the address */
  unsigned which = code[2] >> 3 & 7;
  bool restores = code[0] == 0x0f && code[2] < 0xc0 &&
                  ((code[1] == 0xae && which == 5) || (code[1] == 0xc7 && which == 3));
  return !restores || ((uint64_t)uc->uc_mcontext.gregs[REG_RAX] & XSTATE_PKRU) != 0;
}
