/*
 * agent_system.c: what the first process sets up in the guest, and the few calls that its parts share. mount(2),
 * reboot(2), netdevice(7).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void say(const char *format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  int n = vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (n > (int)sizeof text - 1) n = (int)sizeof text - 1;
  if (n > 0 && write(2, text, (size_t)n) < 0) return;
}

void give_up(const char *what) {
  say("turnkey agent: %s: %s\n", what, strerror(errno));
  sync();
  reboot(RB_AUTOBOOT);
  _exit(1);
}

int write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, text, strlen(text));
  close(fd);
  return n < 0 ? -1 : 0;
}

void close_end(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void mount_at(const char *type, const char *where, const char *data) {
  mkdir(where, 0755);
  if (mount(type, where, type, 0, data) != 0) say("turnkey agent: no %s at %s: %s\n", type, where, strerror(errno));
}

void prepare_guest(void) {
  mount_at("proc", "/proc", "");
  mount_at("sysfs", "/sys", "");
  mount_at("devtmpfs", "/dev", "");
  mount_at("devpts", "/dev/pts", "");
  mount_at("tmpfs", "/dev/shm", "mode=1777");
  if (symlink("/proc/self/fd", "/dev/fd") != 0 && errno != EEXIST) say("turnkey agent: /dev/fd: %s\n", strerror(errno));
  mkdir("/tmp", 01777);
  chmod("/tmp", 01777);
  have_cgroups = mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, "") == 0;
  if (!have_cgroups) say("turnkey agent: no control groups: %s\n", strerror(errno));
  if (sethostname("turnkey", 7) != 0) say("turnkey agent: sethostname: %s\n", strerror(errno));
  int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (s >= 0) {
    struct ifreq request = {.ifr_name = "lo"};
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    ioctl(s, SIOCSIFFLAGS, &request);
    close(s);
  }
  write_text("/proc/self/oom_score_adj", "-1000");
  setpriority(PRIO_PROCESS, 0, -5);
}
