/*
 * watch.c: runs one trial under ptrace and lets every signal through. It reports how the trial ended, and what the
 * trial's image looked like at that moment. It does so even if a fault in any thread killed the trial.
 *
 *   turnkey-watch [--timeout-ms N] [--set-up-ms N] -- COMMAND [ARGUMENT...]
 *
 * The time limit counts from the line `began`. If the trial writes none within --set-up-ms, the limit counts from the
 * trial's start, and the set-up's limit is added.
 *
 * The trial inherits a descriptor whose number is in TURNKEY_WATCH_FD. It writes lines there, at any time:
 *
 *   image BASE BYTES SNAPSHOT    compare [BASE, BASE+BYTES) with [SNAPSHOT, ...) if I die; the numbers are hexadecimal,
 *                                and a later line with the same BASE replaces the earlier
 *   began NS                     my set-up is over, at that time of CLOCK_MONOTONIC in ns
 *   done                         I have seen the end of my trial and reported it: no comparison is needed
 *
 * Nothing is read from it until the trial ends, so the trial is not disturbed.
 *
 * On standard output, after all the trial wrote there, one line: `@watch {JSON}`, whose fields `struct report` below
 * lists. The exit code is 0 whenever that line was written; 125 when the trial could not be started or traced; 2 on
 * wrong usage.
 *
 * Stops are few: one per thread made and ended, one per signal, the exit stop. Children by fork are not followed; the
 * trial runs in a process group of its own, which is killed when the trial has ended.
 *
 * ptrace(2): PTRACE_SEIZE, PTRACE_O_TRACEEXIT (at the exit stop the memory is still there), PTRACE_O_EXITKILL; proc(5):
 * /proc/PID/mem.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "watch.h"

#define MAX_SPACES 128
#define CHUNK (1u << 20)
#define PAGE 4096u

struct space {
  uint64_t base, bytes, snapshot;
};

enum comparison { NOT_COMPARED, EQUAL, DIFFERS, UNREADABLE };

struct report {
  int exit_code; /* -1: ended by a signal */
  int signal;    /* 0: exited */
  bool timed_out;
  bool done;  /* the trial had said `done` */
  int spaces; /* how many it had announced */
  enum comparison image;
  uint64_t changed_bytes, first_address, first_offset; /* first_offset: in its space, whose base is first_base */
  uint64_t first_base;
  bool have_last; /* the last signal seen before the end, by any thread */
  siginfo_t last;
  pid_t last_thread;
  uint64_t last_pc;
};

static struct space spaces[MAX_SPACES];
static struct report report = {.exit_code = -1};
static int channel[2]; /* trial writes, watch reads */
static pid_t trial;
static volatile sig_atomic_t late;
static uint64_t began_ns; /* 0: not yet */

static void on_alarm(int number) {
  (void)number;
  late = 1;
}

static void fail(const char *what) {
  fprintf(stderr, "turnkey-watch: %s: %s\n", what, strerror(errno));
  if (trial > 0) kill(trial, SIGKILL);
  fflush(stdout);
  _exit(125); /* in a forked host, nothing of the host's is to run */
}

/* Takes in the lines written so far. */
static void read_channel(void) {
  static char text[65536];
  static size_t used;
  for (;;) {
    ssize_t got = read(channel[0], text + used, sizeof text - 1 - used);
    if (got <= 0) break;
    used += (size_t)got;
  }
  text[used] = 0;
  char *line = text;
  for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
    struct space space;
    *end = 0;
    if (strcmp(line, "done") == 0) {
      report.done = true;
    } else if (sscanf(line, "began %" SCNu64, &began_ns) == 1) {
      continue;
    } else if (sscanf(line, "image %" SCNx64 " %" SCNx64 " %" SCNx64, &space.base, &space.bytes, &space.snapshot) ==
               3) {
      int at = 0;
      while (at < report.spaces && spaces[at].base != space.base) at++;
      if (at == MAX_SPACES) continue;
      spaces[at] = space;
      if (at == report.spaces) report.spaces++;
    }
  }
  used = strlen(line);
  memmove(text, line, used + 1);
}

/* Compares the announced spaces with their snapshots in the trial's memory. ptrace access ignores protections and keys.
 */
static void compare_image(void) {
  static uint8_t now[CHUNK], then[CHUNK];
  read_channel();
  if (report.done || report.spaces == 0 || report.image != NOT_COMPARED) return;
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", (int)trial);
  int memory = open(path, O_RDONLY | O_CLOEXEC);
  if (memory < 0) {
    report.image = UNREADABLE;
    return;
  }
  report.image = EQUAL;
  for (int i = 0; i < report.spaces; i++) {
    const struct space *space = &spaces[i];
    for (uint64_t offset = 0; offset < space->bytes; offset += CHUNK) {
      size_t count = space->bytes - offset < CHUNK ? (size_t)(space->bytes - offset) : CHUNK;
      if (pread(memory, then, count, (off_t)(space->snapshot + offset)) != (ssize_t)count) {
        report.image = UNREADABLE; /* the snapshot itself is gone: nothing can be said */
        close(memory);
        return;
      }
      bool whole = pread(memory, now, count, (off_t)(space->base + offset)) == (ssize_t)count;
      if (whole && memcmp(now, then, count) == 0) continue;
      for (size_t page = 0; page < count; page += PAGE) {
        size_t bytes = count - page < PAGE ? count - page : PAGE;
        bool there = whole || pread(memory, now + page, bytes, (off_t)(space->base + offset + page)) == (ssize_t)bytes;
        for (size_t at = page; at < page + bytes; at++) {
          if (there && now[at] == then[at]) continue;
          if (report.image != DIFFERS) {
            report.image = DIFFERS;
            report.first_base = space->base;
            report.first_offset = offset + at;
          }
          report.changed_bytes++; /* pages that are gone count as changed */
        }
      }
    }
  }
  close(memory);
}

static void print_report(void) {
  static const char *const words[] = {"unknown", "equal", "differs", "unreadable"};
  printf("\n@watch {\"exitCode\":");
  if (report.exit_code >= 0) printf("%d", report.exit_code);
  else printf("null");
  if (report.signal > 0)
    printf(",\"signal\":\"SIG%s\"", sigabbrev_np(report.signal) ? sigabbrev_np(report.signal) : "?");
  else printf(",\"signal\":null");
  printf(",\"timedOut\":%s,\"done\":%s,\"spaces\":%d,\"imageAtDeath\":\"%s\"", report.timed_out ? "true" : "false",
         report.done ? "true" : "false", report.spaces, words[report.image]);
  printf(",\"changedBytes\":%" PRIu64, report.changed_bytes);
  if (report.image == DIFFERS)
    printf(",\"firstSpaceAddress\":\"0x%" PRIx64 "\",\"firstOffset\":%" PRIu64, report.first_base, report.first_offset);
  if (report.have_last) {
    const siginfo_t *last = &report.last;
    int number = last->si_signo;
    bool fault = number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE || number == SIGTRAP;
    printf(",\"lastSignal\":{\"signal\":\"SIG%s\",\"siCode\":%d", sigabbrev_np(number) ? sigabbrev_np(number) : "?",
           last->si_code);
    if (fault && last->si_code > 0) printf(",\"address\":\"0x%" PRIx64 "\"", (uint64_t)(uintptr_t)last->si_addr);
    if (number == SIGSEGV && last->si_code == SEGV_PKUERR) printf(",\"pkey\":%u", (unsigned)last->si_pkey);
    printf(",\"pc\":\"0x%" PRIx64 "\"", report.last_pc);
    printf(",\"mainThread\":%s}", report.last_thread == trial ? "true" : "false");
  }
  printf("}\n");
  fflush(stdout);
}

pid_t watch_start(void) {
  int go[2]; /* the child waits until it has been seized */
  if (pipe2(channel, O_NONBLOCK) != 0 || pipe2(go, O_CLOEXEC) != 0) fail("pipe");
  fcntl(channel[0], F_SETFD, FD_CLOEXEC);
  fcntl(channel[1], F_SETPIPE_SZ, 65536);
  trial = fork();
  if (trial < 0) fail("fork");
  if (trial == 0) {
    char number[16], byte;
    struct rlimit none = {0, 0};
    setpgid(0, 0);
    setrlimit(RLIMIT_CORE, &none); /* a core dump would only cost time */
    snprintf(number, sizeof number, "%d", channel[1]);
    setenv("TURNKEY_WATCH_FD", number, 1);
    close(go[1]);
    while (read(go[0], &byte, 1) < 0 && errno == EINTR) {}
    close(channel[0]);
    return 0;
  }
  setpgid(trial, trial);
  close(channel[1]);
  close(go[0]);
  if (ptrace(PTRACE_SEIZE, trial, NULL, PTRACE_O_TRACEEXIT | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) != 0)
    fail("ptrace");
  close(go[1]);
  return trial;
}

static void stopped(pid_t thread, int status) {
  int number = WSTOPSIG(status), event = status >> 16;
  unsigned long message = 0;
  siginfo_t info;
  switch (event) {
    case 0: /* a signal on its way to the trial: it goes on */
      if (ptrace(PTRACE_GETSIGINFO, thread, NULL, &info) == 0) {
        /* A handler that sends a fault's signal again, to die of it, must not hide the fault. */
        if (report.have_last && report.last.si_code > 0 && info.si_code <= 0 && info.si_signo == report.last.si_signo) {
          ptrace(PTRACE_CONT, thread, NULL, (void *)(uintptr_t)number);
          return;
        }
        report.have_last = true;
        report.last = info;
        report.last_thread = thread;
        struct user_regs_struct registers;
        report.last_pc = ptrace(PTRACE_GETREGS, thread, NULL, &registers) == 0 ? registers.rip : 0;
      }
      ptrace(PTRACE_CONT, thread, NULL, (void *)(uintptr_t)number);
      return;
    case PTRACE_EVENT_EXIT:
      /* One thread among others ending by itself says 0; the process ending says so at the main thread, or by a signal
       * at any. */
      ptrace(PTRACE_GETEVENTMSG, thread, NULL, &message);
      if (thread == trial || (message & 0x7f) != 0) compare_image();
      break;
    case PTRACE_EVENT_STOP:
      /* A group stop stays one; a new thread reports its first stop by SIGTRAP. */
      if (number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU) {
        ptrace(PTRACE_LISTEN, thread, NULL, NULL);
        return;
      }
      break;
    default: break;
  }
  ptrace(PTRACE_CONT, thread, NULL, NULL);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void watch_follow(long timeout_ms, long set_up_ms) {
  const uint64_t started = now_ns(), limit = (uint64_t)timeout_ms * 1000000u, set_up = (uint64_t)set_up_ms * 1000000u;
  if (timeout_ms > 0) {
    /* Repeated, so that one that comes just before waitpid is not the only one. */
    struct itimerval timer = {{0, 50000}, {timeout_ms / 1000, (timeout_ms % 1000) * 1000}};
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
  }
  for (;;) {
    int status;
    pid_t thread = waitpid(-1, &status, __WALL);
    if (thread < 0 && errno == EINTR) {
      if (late && !report.timed_out) {
        if (began_ns == 0) read_channel();
        if (now_ns() < (began_ns != 0 ? began_ns : started + set_up) + limit) continue; /* the timer comes again */
        report.timed_out = true;
        compare_image(); /* before the kill: what the hung trial's image looks like */
        kill(-trial, SIGKILL);
        kill(trial, SIGKILL);
      }
      continue;
    }
    if (thread < 0) break;
    if (WIFSTOPPED(status)) {
      stopped(thread, status);
    } else if (thread == trial) {
      if (WIFEXITED(status)) report.exit_code = WEXITSTATUS(status);
      else report.signal = WTERMSIG(status);
      break;
    }
  }
  kill(-trial, SIGKILL); /* what the trial forked */
  read_channel();
  print_report();
}
