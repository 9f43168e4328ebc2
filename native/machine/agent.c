/*
 * agent.c: the first process of the emulated machine. It runs jobs that the host sends and streams back what they say.
 *
 * It is process 1, static, and depends on nothing in the guest: no shell, no library, no file. The host is at the
 * other end of the second serial port (agent.h). This file is the loop over that port and the jobs.
 *
 * Kernel pages: signalfd(2), poll(2), pid_namespaces(7) (what signals process 1 is spared).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent.h"

static void handle(uint32_t type, uint32_t id, uint8_t *payload, uint32_t length) {
  switch (type) {
    case FRAME_RUN: job_start(id, payload, length); break;
    case FRAME_STDIN: job_input(id, payload, length); break;
    case FRAME_KILL: job_kill(id); break;
    case FRAME_FILE: file_open(payload, length); break;
    case FRAME_FILE_DATA: file_write(payload, length); break;
    case FRAME_FILE_END: file_end(id); break;
    case FRAME_PING: send_frame(FRAME_PONG, id, NULL, 0); break;
    default: errno = EPROTO; give_up("a frame of an unknown type");
  }
}

/* The first line of /proc/cpuinfo that starts with `name`, without what JSON would trip over. */
static void cpu_line(const char *name, char *text, size_t n) {
  text[0] = 0;
  FILE *f = fopen("/proc/cpuinfo", "re");
  if (f == NULL) return;
  char *buffer = NULL;
  size_t room = 0;
  while (getline(&buffer, &room, f) > 0) {
    if (strncmp(buffer, name, strlen(name)) != 0) continue;
    char *colon = strchr(buffer, ':');
    if (colon == NULL) continue;
    colon += colon[1] == ' ' ? 2 : 1;
    size_t k = 0;
    for (char *p = colon; *p != 0 && *p != '\n' && k + 1 < n; p++)
      if (*p != '"' && *p != '\\' && (unsigned char)*p >= ' ') text[k++] = *p;
    text[k] = 0;
    break;
  }
  free(buffer);
  fclose(f);
}

static void hello(void) {
  static char flags[16384], model[256], json[20480];
  struct utsname u;
  uname(&u);
  cpu_line("flags", flags, sizeof flags);
  cpu_line("model name", model, sizeof model);
  int n = snprintf(json, sizeof json,
                   "{\"protocol\":1,\"kernel\":\"%s\",\"kernelVersion\":\"%s\",\"processors\":%ld,\"cpu\":\"%s\","
                   "\"cpuFlags\":\"%s\",\"uptimeMs\":%llu,\"cgroups\":%s}",
                   u.release, u.version, sysconf(_SC_NPROCESSORS_ONLN), model, flags,
                   (unsigned long long)(now_ns() / 1000000u), have_cgroups ? "true" : "false");
  send_frame(FRAME_HELLO, 0, json, (uint32_t)n);
}

int main(void) {
  jobs_set_up();
  prepare_guest();
  /* With counted time the clock misleads until a second source has been compared with it; see SETTLE_MS in
   * src/machine/guest.ts. */
  const char *settle = getenv("TURNKEY_SETTLE_MS"); /* the kernel hands NAME=VALUE words of its command line to us */
  const char *port = getenv("TURNKEY_PORT");
  int line = line_open(port != NULL ? port : "/dev/ttyS1");
  if (settle != NULL) {
    uint64_t until = (uint64_t)strtoull(settle, NULL, 10) * 1000000u;
    while (now_ns() < until) usleep(50000);
  }
  sigset_t set;
  sigfillset(&set);
  sigprocmask(SIG_BLOCK, &set, NULL);
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) give_up("signalfd");
  hello();
  enum { LINE, SIGNALS, JOBS };
  for (;;) {
    struct pollfd fds[JOBS + 3 * MAX_JOBS] = {[LINE] = {line, POLLIN, 0}, [SIGNALS] = {signals, POLLIN, 0}};
    nfds_t count = jobs_watch(fds + JOBS);
    if (poll(fds, JOBS + count, -1) < 0 && errno != EINTR) give_up("poll");
    jobs_serve(fds + JOBS, count);
    if (fds[SIGNALS].revents != 0) {
      struct signalfd_siginfo info;
      while (read(signals, &info, sizeof info) == sizeof info) continue;
      jobs_reap();
    }
    jobs_finish();
    if (fds[LINE].revents != 0) line_receive(handle);
  }
}
