/*
 * filter_linux.c: setting up what filter.h has: the filter of system calls, and breakpoints. Ordinary VM code.
 *
 * seccomp(2), prctl(2); linux/filter.h (classic BPF), linux/seccomp.h (struct seccomp_data).
 */
#define _GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "calls.h"
#include "dispatch.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

/* ---- the seccomp filter ---------------------------------------------------------------------------------------- */

/*
 * A program in classic BPF. It loads 32 bits at a time.
 */
#define MOST_INSTRUCTIONS 4096
struct program {
  struct sock_filter code[MOST_INSTRUCTIONS];
  size_t used;
};
static void add(struct program *p, uint16_t code, uint8_t yes, uint8_t no, uint32_t k) {
  if (p->used < MOST_INSTRUCTIONS) p->code[p->used] = (struct sock_filter){code, yes, no, k};
  p->used++;
}
#define LOAD(field) add(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)(field))
#define ARGUMENT_LOW(n) (offsetof(struct seccomp_data, args) + 8 * (size_t)(n))
#define ARGUMENT_HIGH(n) (ARGUMENT_LOW(n) + 4)
#define VERDICT(v) add(p, BPF_RET | BPF_K, 0, 0, (v))
#define RAISE (SECCOMP_RET_TRAP | SECCOMP_DATA_OURS)

/* If the 64-bit field at `low` is at least `value`, skips `yes` instructions, else `no`. Five instructions. */
static void at_least(struct program *p, size_t low, uint64_t value, uint8_t yes, uint8_t no) {
  LOAD(low + 4);
  add(p, BPF_JMP | BPF_JGT | BPF_K, (uint8_t)(3 + yes), 0, (uint32_t)(value >> 32));
  add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)(2 + no), (uint32_t)(value >> 32));
  LOAD(low);
  add(p, BPF_JMP | BPF_JGE | BPF_K, yes, no, (uint32_t)value);
}

/*
 * Ranges are compared exactly. The C library blocks SIGSYS while it starts or ends a thread: it must not be raised then
 * for a neighbouring page. BPF has 32-bit words: 0 and 1 of its memory hold where the range begins, upper half first, 2
 * and 3 where it ends.
 */
static void load(struct program *p, int word) { add(p, BPF_LD | BPF_MEM, 0, 0, (uint32_t)word); }
static void store(struct program *p, int word) { add(p, BPF_ST, 0, 0, (uint32_t)word); }

static void raise_in(struct program *p, uint64_t from, uint64_t to) {
  load(p, 0); /* begins below `to`? */
  add(p, BPF_JMP | BPF_JGT | BPF_K, 9, 0, (uint32_t)(to >> 32));
  add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 2, (uint32_t)(to >> 32));
  load(p, 1);
  add(p, BPF_JMP | BPF_JGE | BPF_K, 6, 0, (uint32_t)to);
  load(p, 2); /* ends above `from`? */
  add(p, BPF_JMP | BPF_JGT | BPF_K, 3, 0, (uint32_t)(from >> 32));
  add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, (uint32_t)(from >> 32));
  load(p, 3);
  add(p, BPF_JMP | BPF_JGT | BPF_K, 0, 1, (uint32_t)from);
  VERDICT(RAISE);
}

/* Raises if [address, address + length), both arguments of the call, meets memory of ours; goes on if not. */
static void about_range(struct program *p, int address, int length) {
  LOAD(ARGUMENT_HIGH(address));
  store(p, 0);
  LOAD(ARGUMENT_LOW(address));
  store(p, 1);
  add(p, BPF_MISC | BPF_TAX, 0, 0, 0);
  LOAD(ARGUMENT_LOW(length));
  add(p, BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0);
  store(p, 3);
  add(p, BPF_JMP | BPF_JGE | BPF_X, 2, 0, 0); /* else the sum has a carry */
  add(p, BPF_LDX | BPF_IMM, 0, 0, 1);
  add(p, BPF_JMP | BPF_JA, 0, 0, 1);
  add(p, BPF_LDX | BPF_IMM, 0, 0, 0);
  LOAD(ARGUMENT_HIGH(length));
  add(p, BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0);
  add(p, BPF_LDX | BPF_MEM, 0, 0, 0);
  add(p, BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0);
  store(p, 2);
  uintptr_t at = 0, from, to;
  for (; pkeys_extent_next(at, &from, &to); at = to) raise_in(p, from, to);
  const char *arena = (const char *)&trap_arena;
  raise_in(p, (uint64_t)(uintptr_t)arena, (uint64_t)(uintptr_t)(arena + sizeof trap_arena));
  raise_in(p, (uint64_t)(uintptr_t)trap_gates_begin & ~(uint64_t)(PKEYS_PAGE - 1),
           (uint64_t)(uintptr_t)(trap_callback_code + (size_t)CALLBACK_COUNT * THUNK_CODE_BYTES));
}

/* The part of the program about one call: between these two, whose jump is filled in at the end. It may be of any
 * length: an unconditional jump reaches everywhere. */
static size_t begin_call(struct program *p, long number) {
  LOAD(offsetof(struct seccomp_data, nr));
  add(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, (uint32_t)number);
  add(p, BPF_JMP | BPF_JA, 0, 0, 0);
  return p->used;
}
static void end_call(struct program *p, size_t begun) {
  VERDICT(SECCOMP_RET_ALLOW);
  if (begun <= MOST_INSTRUCTIONS) p->code[begun - 1].k = (uint32_t)(p->used - begun);
}

static int seccomp_install(void) {
  static struct program program; /* 32 KiB: under the lock, and not on a small stack */
  struct program *p = &program;
  p->used = 0;
  LOAD(offsetof(struct seccomp_data, arch));
  add(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
  VERDICT(RAISE);
  size_t pc = offsetof(struct seccomp_data, instruction_pointer);
  at_least(p, pc, (uint64_t)(uintptr_t)trap_calls_begin, 0, 6);
  at_least(p, pc, (uint64_t)(uintptr_t)trap_calls_end, 1, 0);
  VERDICT(SECCOMP_RET_ALLOW);
  LOAD(offsetof(struct seccomp_data, nr));
  static const uint16_t always[] = {SYS_process_vm_writev,
                                    SYS_process_madvise,
                                    SYS_ptrace,
                                    SYS_userfaultfd,
                                    SYS_io_uring_setup,
                                    SYS_io_uring_enter,
                                    SYS_io_uring_register,
                                    SYS_pkey_free,
                                    SYS_pkey_mprotect,
                                    SYS_modify_ldt,
                                    SYS_shmat};
  for (size_t i = 0; i < sizeof always / sizeof *always; i++) {
    add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, always[i]);
    VERDICT(RAISE);
  }
  add(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x40000000); /* x32 */
  VERDICT(RAISE);
  add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, SYS_prctl);
  LOAD(ARGUMENT_LOW(0));
  add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, PR_SET_MM);
  VERDICT(RAISE);
  VERDICT(SECCOMP_RET_ALLOW);
  static const uint16_t ranges[] = {SYS_munmap, SYS_mprotect, SYS_madvise, SYS_remap_file_pages, SYS_mseal, SYS_mbind};
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    size_t begun = begin_call(p, ranges[i]);
    about_range(p, 0, 1);
    end_call(p, begun);
  }
  size_t begun = begin_call(p, SYS_mmap);
  LOAD(ARGUMENT_LOW(3));
  add(p, BPF_JMP | BPF_JSET | BPF_K, 1, 0, MAP_FIXED);
  VERDICT(SECCOMP_RET_ALLOW);
  about_range(p, 0, 1);
  end_call(p, begun);
  begun = begin_call(p, SYS_mremap);
  about_range(p, 0, 1);
  about_range(p, 0, 2);
  about_range(p, 4, 2);
  end_call(p, begun);
  VERDICT(SECCOMP_RET_ALLOW);
  if (p->used > MOST_INSTRUCTIONS) return -ENOSPC;
  struct sock_fprog whole = {.len = (unsigned short)p->used, .filter = p->code};
  long rc = TRAP_CALL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0);
  if (rc == 0) rc = TRAP_CALL(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &whole, 0);
  return rc == 0 ? 0 : rc < 0 ? (int)rc : -ESRCH; /* positive: a thread that could not be given the filter */
}

/* ---- exit(3) ----------------------------------------------------------------------------------------------------- */

/*
 * A callee's exit(3) runs the VM's exit handlers, and only then makes the call that is refused. This one is newer than
 * theirs, so it runs before them. It asks by a call that does not exist, which is judged as exit_group and ends
 * nothing. A process that may end, such as a child of the callee's, goes on to the handlers. A handler runs once: it
 * puts itself back first. Runs with the callee's rights. on_exit(3).
 */
static void before_exit(int status, void *unused) {
  static bool ending; /* the answer came: the callout has not failed */
  const struct trap_slot *slot = trap_slot_find();
  if (ending || slot == NULL || !trap_state_is_callout(trap_state(slot))) return;
  const struct trap_entry *entry = (const struct trap_entry *)(uintptr_t)trap_state(slot);
  if (!trap_filtered(entry) || trap_arena.shared.filter.refusal != TRAP_REFUSE_FAIL) return;
  if (on_exit(before_exit, unused) == 0) (void)syscall(CALL_ASK_EXIT, status);
  ending = true;
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int check(const struct trap_filter_options *options) {
  if (options == NULL || options->rule_count > 1024 || (options->rule_count > 0 && options->rules == NULL))
    return -EINVAL;
  if (options->way != TRAP_FILTER_DISPATCH && options->way != TRAP_FILTER_SECCOMP) return -EINVAL;
  if (options->refusal != TRAP_REFUSE_FAIL && options->refusal != TRAP_REFUSE_ERRNO) return -EINVAL;
  for (size_t i = 0; i < options->rule_count; i++)
    if (options->rules[i].number >= sizeof trap_arena.shared.filter.rules ||
        (unsigned)options->rules[i].verdict > TRAP_CALL_REFUSE)
      return -EINVAL;
  return 0;
}

static int init_locked(const struct trap_filter_options *options) {
  struct trap_filter *filter = &trap_arena.shared.filter;
  bool first = filter->way == TRAP_FILTER_NONE;
  if (!first && filter->way != (uint32_t)options->way) return -EBUSY;
  filter->refusal = options->refusal;
  filter->threads = options->threads;
  filter->code = options->code;
  filter->context = options->context;
  filter->judge = options->judge;
  uint8_t rules[sizeof filter->rules] = {0};
  for (size_t i = 0; i < options->rule_count; i++) rules[options->rules[i].number] = (uint8_t)options->rules[i].verdict;
  memcpy(filter->rules, rules, sizeof rules);
  if (!first) return 0;
  bool dispatches = options->way == TRAP_FILTER_DISPATCH;
  int rc = dispatches ? trap_dispatch_prepare() : 0;
  if (rc < 0) return rc;
  if (dispatches && on_exit(before_exit, NULL) != 0) return -ENOMEM;
  filter->way = options->way;
  rc = trap_rearm(); /* SIGSYS out of all masks */
  if (rc == 0 && options->way == TRAP_FILTER_SECCOMP) rc = seccomp_install();
  if (rc < 0) filter->way = TRAP_FILTER_NONE;
  else trap_refresh();
  return rc;
}

int trap_filter_init(const struct trap_filter_options *options) {
  int rc = check(options);
  if (rc == 0) rc = trap_attach_vm();
  if (rc < 0) return rc;
  pthread_mutex_lock(&trap_lock_filter);
  rc = init_locked(options);
  pthread_mutex_unlock(&trap_lock_filter);
  return rc;
}

enum trap_filter_way trap_filter_way(void) {
  return trap_attach() < 0 ? TRAP_FILTER_NONE : (enum trap_filter_way)trap_arena.shared.filter.way;
}

int trap_filter_cover(void) {
  int rc = trap_attach_vm();
  if (rc < 0 || trap_arena.shared.filter.way != TRAP_FILTER_SECCOMP) return rc;
  pthread_mutex_lock(&trap_lock_filter);
  rc = seccomp_install();
  pthread_mutex_unlock(&trap_lock_filter);
  return rc;
}

struct trap_filter_statistics trap_filter_statistics(void) {
  if (trap_attach() < 0) return (struct trap_filter_statistics){0};
  const struct trap_filter *filter = &trap_arena.shared.filter;
  return (struct trap_filter_statistics){.judged = filter->judged, .refused = filter->refused};
}

int trap_watch_code(uintptr_t address) {
  struct trap_filter *filter = &trap_arena.shared.filter;
  int rc = trap_attach_vm();
  if (rc < 0) return rc;
  pthread_mutex_lock(&trap_lock_filter);
  rc = filter->watched_count < WATCHED_COUNT ? trap_watch(address) : -ENOSPC;
  if (rc == 0) filter->watched[filter->watched_count++] = address;
  pthread_mutex_unlock(&trap_lock_filter);
  return rc;
}
