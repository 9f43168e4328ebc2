/*
 * warm.c: trials forked from a warm host. The host has loaded everything that a trial needs: Node, koffi, Turnkey, the
 * case. It calls turnkey_warm once for each trial, from its only thread that matters. Its child traces a child of its
 * own, which is the trial and goes on where the host was.
 *
 * fork(2) takes one thread along. The host's other threads, such as V8's workers, do not exist in the trial, which must
 * not wait for them and ends by turnkey_leave. Node keeps its heap from children (MADV_DONTFORK, which makes spawning
 * cheaper); that is taken back first. madvise(2); proc(5): smaps, VmFlags.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "watch.h"

#define API __attribute__((visibility("default")))
API int turnkey_warm(long timeout_ms, long set_up_ms);
API void turnkey_leave(int code);

/* Every mapping that is not for children. */
static void share_all(void) {
  FILE *maps = fopen("/proc/self/smaps", "re");
  if (maps == NULL) return;
  char line[512];
  uintptr_t low = 0, high = 0, from, to;
  while (fgets(line, sizeof line, maps) != NULL) {
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2) low = from, high = to;
    else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " dc ") != NULL)
      madvise((void *)low, high - low, MADV_DOFORK);
  }
  fclose(maps);
}

/* 0: this is the trial. 1: this is the host, and the trial is over and reported. Below 0: a negative errno. */
int turnkey_warm(long timeout_ms, long set_up_ms) {
  share_all();
  pid_t tracer = fork();
  if (tracer < 0) return -errno;
  if (tracer == 0) {
    if (watch_start() == 0) return 0;
    watch_follow(timeout_ms, set_up_ms);
    _exit(0); /* the report is flushed */
  }
  while (waitpid(tracer, NULL, 0) < 0) {
    if (errno != EINTR) return -errno;
  }
  return 1;
}

void turnkey_leave(int code) { _exit(code); }
