/*
 * follow.c: see follow.h. The parent of a trial reads the trial's image when it ends, however it ends, and compares it
 * with its own, from which the trial was forked. A live image is compared where the fault lies, when it happens.
 *
 * Hung, by two rules that know no machine's speed: the trial has used its limit of processor time; or all its threads
 * sleep, and none of them has been awake between several looks.
 *
 * ptrace(2): PTRACE_SEIZE, PTRACE_O_TRACEEXIT; process_vm_readv(2), which ignores keys; proc(5).
 */
#define _GNU_SOURCE
#include "follow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_EVERY_US 20000
#define LOOKS_ASLEEP 6
#define CLEARED_BYTES (24 << 10) /* a signal frame with AMX takes 12 KiB, all_asleep 5 KiB */

static const struct image *image;
static const struct order *order;
static int events_end, go[2];
static uint8_t *copy;
static timer_t timer;

static uint64_t now_ns(clockid_t clock) {
  struct timespec now = {0};
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void on_alarm(int number) { (void)number; }

void follow_set_up(const struct image *the_image, const struct order *the_order, int events) {
  image = the_image;
  order = the_order;
  events_end = events;
  size_t most = (size_t)2 * LARGEST_RUN; /* of a live image: what is there, and what was there before */
  for (size_t i = 0; i < image->count && !image->is_live; i++)
    if (image->blocks[i].bytes > most) most = image->blocks[i].bytes;
  copy = mmap(NULL, most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED || pipe(go) != 0) abort();
  madvise(copy, most, MADV_DONTFORK);
  struct sigaction action = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &action, NULL);
  /* To this thread, whose waitpid is to return: a host has others. timer_create(2). */
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
  event._sigev_un._tid = gettid();
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) abort();
}

static void look_every(long us) {
  struct timespec every = {0, us * 1000};
  struct itimerspec looks = {every, every};
  timer_settime(timer, 0, &looks, NULL);
}

static size_t read_trial(pid_t trial, uint64_t address, void *to, size_t bytes) {
  struct iovec here = {to, bytes}, there = {(void *)(uintptr_t)address, bytes};
  ssize_t got = process_vm_readv(trial, &here, 1, &there, 1, 0);
  return got < 0 ? 0 : (size_t)got;
}

/* Compares a block of the trial's with this process's own, from which the trial was forked. */
static void compare_block(pid_t trial, struct block block, struct outcome *out) {
  size_t read = read_trial(trial, block.address, copy, block.bytes);
  out->image_equal = read == block.bytes && memcmp(copy, (void *)block.address, read) == 0;
  if (out->image_equal) return;
  size_t at = 0;
  while (at < read && copy[at] == ((const uint8_t *)block.address)[at]) at++;
  out->changed_at = block.address + at;
}

/* At the end of a trial: the whole image. */
static void compare(pid_t trial, struct outcome *out) {
  if (image->is_live) return;
  out->image_equal = true;
  for (size_t i = 0; i < image->count && out->image_equal; i++) compare_block(trial, image->blocks[i], out);
}

/* At the fault: what of its memory is image, against what the callee saw there just before its store. The trial's
 * program has changed its image since the fork, and goes on to: neither the parent's memory nor a later look tells. */
static void compare_fault(pid_t trial, struct outcome *out) {
  uint8_t *before = copy + LARGEST_RUN;
  size_t held = out->fault.held < 0 ? 0 : (size_t)out->fault.held;
  if (held > LARGEST_RUN) held = LARGEST_RUN;
  held = read_trial(trial, out->fault.answer, before, held);
  uintptr_t from = out->fault.address, to = from + order->fault.bytes;
  out->is_compared = true;
  for (size_t i = 0; i < image->count && out->image_equal; i++) {
    uintptr_t start = image->blocks[i].address, end = start + image->blocks[i].bytes;
    if (start < from) start = from;
    if (end > to) end = to;
    if (start >= end) continue;
    size_t read = read_trial(trial, start, copy, end - start), at = 0;
    /* what is not known to be as it was counts as changed */
    while (at < read && start - from + at < held && copy[at] == before[start - from + at]) at++;
    out->image_equal = at == end - start;
    if (!out->image_equal) out->changed_at = start + at;
  }
}

/* The store has come to its end, and says itself whether it has changed anything. */
static void judge_stored(struct outcome *out) {
  if (!out->has_stored || !out->stored.changed || !out->image_equal) return;
  uintptr_t from = out->fault.address, to = from + order->fault.bytes;
  for (size_t i = 0; i < image->count && out->image_equal; i++) {
    uintptr_t start = image->blocks[i].address, end = start + image->blocks[i].bytes;
    if (start >= to || end <= from) continue;
    out->image_equal = false;
    out->changed_at = start > from ? start : from;
  }
}

static void take_events(struct outcome *out) {
  struct event event;
  while (read(events_end, &event, sizeof event) == (ssize_t)sizeof event) {
    switch (event.kind) {
      case EVENT_THREAD: out->thread = event; break;
      case EVENT_CALLEE: out->callee = event; break;
      case EVENT_FAULT: out->fault = event, out->has_fault = true; break;
      case EVENT_STORED: out->stored = event, out->has_stored = true; break;
      case EVENT_RETURN: out->returned = event, out->has_returned = true; break;
      case EVENT_CAUGHT:
        if (out->caught_count++ == 0) out->caught = event;
        break;
      case EVENT_UNIT:
        if (event.unit < 0) out->returned.answer = event.answer;
        out->unit = event;
        break;
      case EVENT_DONE: out->done = event, out->is_done = true; break;
    }
  }
}

/* Whether every thread sleeps; adds up how often they have gone to sleep. */
static bool all_asleep(pid_t trial, uint64_t *switches) {
  char path[320], text[2048];
  snprintf(path, sizeof path, "/proc/%d/task", (int)trial);
  int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return false;
  bool asleep = true;
  char entries[2048]; /* getdents64: opendir would allocate */
  *switches = 0;
  for (ssize_t got; (got = syscall(SYS_getdents64, folder, entries, sizeof entries)) > 0;) {
    for (ssize_t at = 0; at < got;) {
      const struct dirent64 *entry = (const struct dirent64 *)(entries + at);
      at += entry->d_reclen;
      if (entry->d_name[0] == '.') continue;
      snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)trial, entry->d_name);
      int file = open(path, O_RDONLY | O_CLOEXEC);
      ssize_t bytes = file < 0 ? -1 : read(file, text, sizeof text - 1);
      if (file >= 0) close(file);
      if (bytes < 0) continue;
      text[bytes] = 0;
      const char *state = strstr(text, "\nState:\t"), *count = strstr(text, "\nvoluntary_ctxt_switches:");
      if (state == NULL || state[8] != 'S') asleep = false;
      if (count != NULL) *switches += strtoul(count + 25, NULL, 10);
    }
  }
  close(folder);
  return asleep;
}

static void stopped(pid_t thread, pid_t trial, int status, follow_look_function *look, struct outcome *out) {
  int number = WSTOPSIG(status), event = status >> 16;
  siginfo_t info;
  struct user_regs_struct registers;
  switch (event) {
    case 0:
      take_events(out);
      if (ptrace(PTRACE_GETSIGINFO, thread, NULL, &info) == 0) {
        bool stops_store = (number == SIGSEGV || number == SIGBUS) && info.si_code > 0 && out->has_fault &&
                           !out->has_stored && !out->is_compared &&
                           (uintptr_t)info.si_addr - out->fault.address < order->fault.bytes;
        if (image->is_live && stops_store) compare_fault(trial, out);
        out->code = info.si_code;
        out->address = info.si_code > 0 ? (uintptr_t)info.si_addr : 0;
        out->pkey = number == SIGSEGV && info.si_code == SEGV_PKUERR ? (int)info.si_pkey : -1;
        out->pc = ptrace(PTRACE_GETREGS, thread, NULL, &registers) == 0 ? registers.rip : 0;
      }
      ptrace(PTRACE_CONT, thread, NULL, (void *)(uintptr_t)number);
      return;
    case PTRACE_EVENT_EXIT: {
      unsigned long message = 0;
      ptrace(PTRACE_GETEVENTMSG, thread, NULL, &message);
      if ((thread == trial || (message & 0x7f) != 0) && out->end_ns == 0) {
        out->end_ns = now_ns(CLOCK_MONOTONIC);
        compare(trial, out);
      }
      break;
    }
    case PTRACE_EVENT_STOP:
      if (number == SIGSTOP && look != NULL && thread == trial) {
        take_events(out);
        look(trial, out);
        kill(trial, SIGKILL);
        return;
      }
      break;
    default: break;
  }
  ptrace(PTRACE_CONT, thread, NULL, NULL);
}

/* Clears the stack below the caller. What lies there is of the warm process: texts of proc(5), signal frames of the
 * alarm that came now and then. Whether a store of zeros there changes anything would be chance. */
__attribute__((noinline)) static void clear_below(void) {
  uint8_t below[CLEARED_BYTES];
  explicit_bzero(below, sizeof below);
}

bool follow_trial(uint64_t cpu_limit_ns, follow_look_function *look, struct outcome *out) {
  memset(out, 0, sizeof *out);
  out->image_equal = image->is_live;
  out->pkey = -1;
  out->unit.unit = -2;
  pid_t trial = fork();
  if (trial < 0) abort();
  if (trial == 0) {
    char byte;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    while (read(go[0], &byte, 1) < 0 && errno == EINTR) {}
    clear_below();
    return true;
  }
  if (ptrace(PTRACE_SEIZE, trial, NULL, PTRACE_O_TRACEEXIT | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) != 0) abort();
  if (write(go[1], "", 1) != 1) abort();
  look_every(LOOK_EVERY_US);
  clockid_t clock;
  if (clock_getcpuclockid(trial, &clock) != 0) clock = CLOCK_MONOTONIC;
  int asleep = 0;
  uint64_t switches = 0, before = 0;
  for (;;) {
    int status;
    pid_t thread = waitpid(-1, &status, __WALL);
    if (thread < 0 && errno == EINTR) {
      asleep = all_asleep(trial, &switches) && switches == before ? asleep + 1 : 0;
      before = switches;
      out->cpu_ns = now_ns(clock);
      if (out->hung || (asleep < LOOKS_ASLEEP && out->cpu_ns < cpu_limit_ns)) continue;
      out->hung = true;
      out->end_ns = now_ns(CLOCK_MONOTONIC);
      compare(trial, out);
      kill(trial, SIGKILL);
      continue;
    }
    if (thread < 0) break;
    if (WIFSTOPPED(status)) {
      stopped(thread, trial, status, look, out);
    } else if (thread == trial) {
      if (WIFEXITED(status)) out->exit_code = WEXITSTATUS(status);
      else out->signal = WTERMSIG(status);
      break;
    }
  }
  look_every(0);
  take_events(out);
  if (image->is_live) judge_stored(out);
  out->crashed = !out->hung && !out->is_done;
  return false;
}
