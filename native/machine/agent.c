/*
 * agent.c: the first process of the emulated machine. It runs jobs that the host sends and streams back what they say.
 *
 * It is process 1, static, and depends on nothing in the guest: no shell, no library, no file. The host is at the
 * other end of the second serial port. A job gets a session and a control group of its own. So it cannot end this
 * process by what it does to its process group, and all that it leaves running can be killed.
 *
 * Frames, both ways, little-endian: magic "TKF1", type u32, job u32, length u32, payload, CRC-32 of all that precedes.
 * The host may have WINDOW bytes under way; this process says how much it has consumed (FRAME_ACK).
 *
 * One file of more than 400 lines: a loop over two lines, whose parts share the table of jobs and the window.
 *
 * Kernel pages: Documentation/admin-guide/cgroup-v2.rst (cgroup.kill), termios(3), reboot(2), pid_namespaces(7) (what
 * signals process 1 is spared).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x31464b54u /* "TKF1" */
#define HEADER_BYTES 16u
#define MAX_PAYLOAD (1u << 20)
#define MAX_JOBS 16
#define CHUNK 16384
#define ACK_EVERY 4096u

enum frame_type {
  /* host to guest */
  FRAME_RUN = 1,   /* u32 argc, u32 envc, cwd\0, argv\0..., env\0... */
  FRAME_STDIN = 2, /* bytes; an empty one ends the input */
  FRAME_KILL = 3,
  FRAME_FILE = 4, /* u32 mode, path\0: opens a file to be written; parents are made */
  FRAME_FILE_DATA = 5,
  FRAME_FILE_END = 6, /* answered by FRAME_FILE_DONE */
  FRAME_PING = 7,     /* answered by FRAME_PONG */
  /* guest to host */
  FRAME_HELLO = 64, /* JSON */
  FRAME_ACK = 65,   /* u32: bytes consumed since the beginning, modulo 2^32 */
  FRAME_STDOUT = 66,
  FRAME_STDERR = 67,
  FRAME_EXIT =
      68, /* u32 kind (0 exit code, 1 signal, 2 could not start), u32 value (code, signal, errno), u64 guest ns */
  FRAME_FILE_DONE = 69, /* u32 errno */
  FRAME_PONG = 70,
};

struct job {
  uint32_t id; /* 0: free */
  pid_t pid;
  int out, err, in; /* our ends of its pipes, -1 when closed */
  bool exited;
  bool in_ends;
  int status;
  uint8_t *pending; /* input that its pipe had no room for */
  size_t pending_bytes;
  uint64_t started_ns;
  uint64_t exited_ns;
};

static struct job jobs[MAX_JOBS];
static int line = -1; /* the serial port */
static int file = -1; /* the file that is being received */
static int file_errno;
static uint32_t consumed, acknowledged;
static bool have_cgroups;
static uint32_t crc_table[256];

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  int n = vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (n > (int)sizeof text - 1) n = (int)sizeof text - 1;
  if (n > 0 && write(2, text, (size_t)n) < 0) return;
}

/* Ends the machine: an init that exits panics the kernel, and the host sees the end. */
__attribute__((noreturn)) static void give_up(const char *what) {
  say("turnkey agent: %s: %s\n", what, strerror(errno));
  sync();
  reboot(RB_AUTOBOOT);
  _exit(1);
}

/* ---- frames -------------------------------------------------------------------------------------------------- */

static void make_crc_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    crc_table[i] = c;
  }
}

static uint32_t crc(uint32_t c, const void *data, size_t n) {
  const uint8_t *p = data;
  c = ~c;
  while (n--) c = crc_table[(c ^ *p++) & 0xff] ^ (c >> 8);
  return ~c;
}

static void write_line(const void *data, size_t n) {
  const uint8_t *p = data;
  while (n > 0) {
    ssize_t done = write(line, p, n);
    if (done < 0) {
      if (errno == EINTR) continue;
      give_up("cannot write to the serial port");
    }
    p += done;
    n -= (size_t)done;
  }
}

static void send_frame(enum frame_type type, uint32_t job, const void *payload, uint32_t length) {
  static uint8_t buffer[HEADER_BYTES + 65536 + 4];
  if (length > 65536) abort();
  uint32_t header[4] = {MAGIC, type, job, length};
  memcpy(buffer, header, HEADER_BYTES);
  if (length > 0) memcpy(buffer + HEADER_BYTES, payload, length);
  uint32_t sum = crc(0, buffer, HEADER_BYTES + length);
  memcpy(buffer + HEADER_BYTES + length, &sum, 4);
  write_line(buffer, HEADER_BYTES + length + 4);
}

static void acknowledge(void) {
  if (consumed == acknowledged) return;
  acknowledged = consumed;
  send_frame(FRAME_ACK, 0, &consumed, 4);
}

/* ---- jobs ---------------------------------------------------------------------------------------------------- */

static struct job *find_job(uint32_t id) {
  for (int i = 0; i < MAX_JOBS; i++)
    if (jobs[i].id == id) return &jobs[i];
  return NULL;
}

static void cgroup_path(char *path, size_t n, uint32_t id, const char *name) {
  snprintf(path, n, "/sys/fs/cgroup/job-%u%s%s", id, name[0] ? "/" : "", name);
}

static int write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, text, strlen(text));
  close(fd);
  return n < 0 ? -1 : 0;
}

/* Kills all that the job started. Without control groups, only what stayed in its process group. */
static void kill_job(const struct job *job) {
  char path[96];
  cgroup_path(path, sizeof path, job->id, "cgroup.kill");
  if (!have_cgroups || write_text(path, "1") != 0) kill(-job->pid, SIGKILL);
  if (!job->exited) kill(job->pid, SIGKILL);
}

static void close_end(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void report_exit(uint32_t id, uint32_t kind, uint32_t value, uint64_t ns) {
  uint8_t payload[16];
  memcpy(payload, &kind, 4);
  memcpy(payload + 4, &value, 4);
  memcpy(payload + 8, &ns, 8);
  send_frame(FRAME_EXIT, id, payload, sizeof payload);
}

static void finish_job(struct job *job) {
  uint64_t ns = job->exited_ns - job->started_ns;
  if (WIFSIGNALED(job->status)) report_exit(job->id, 1, (uint32_t)WTERMSIG(job->status), ns);
  else report_exit(job->id, 0, (uint32_t)WEXITSTATUS(job->status), ns);
  close_end(&job->in);
  free(job->pending);
  if (have_cgroups) {
    char path[96];
    cgroup_path(path, sizeof path, job->id, "");
    for (int i = 0; i < 50 && rmdir(path) != 0 && errno == EBUSY; i++) usleep(1000);
  }
  memset(job, 0, sizeof *job);
  job->out = job->err = job->in = -1;
}

static void reap(void) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    for (int i = 0; i < MAX_JOBS; i++) {
      struct job *job = &jobs[i];
      if (job->id == 0 || job->pid != pid || job->exited) continue;
      job->exited = true;
      job->exited_ns = now_ns();
      job->status = status;
      kill_job(job); /* what it left running holds its pipes open */
    }
  }
}

static void start_job(uint32_t id, uint8_t *payload, uint32_t length) {
  struct job *job = find_job(0);
  if (job == NULL || length < 9 || payload[length - 1] != 0) {
    report_exit(id, 2, job == NULL ? EAGAIN : EINVAL, 0);
    return;
  }
  uint32_t argc, envc;
  memcpy(&argc, payload, 4);
  memcpy(&envc, payload + 4, 4);
  if (argc == 0 || argc > 65536 || envc > 65536) {
    report_exit(id, 2, EINVAL, 0);
    return;
  }
  char **strings = calloc(argc + envc + 3, sizeof *strings);
  if (strings == NULL) {
    report_exit(id, 2, ENOMEM, 0);
    return;
  }
  char *p = (char *)payload + 8, *end = (char *)payload + length;
  char *cwd = p;
  p += strlen(p) + 1;
  char **argv = strings, **envp = strings + argc + 1;
  bool whole = true;
  for (uint32_t i = 0; i < argc + envc; i++) {
    if (p >= end) {
      whole = false;
      break;
    }
    if (i < argc) argv[i] = p;
    else envp[i - argc] = p;
    p += strlen(p) + 1;
  }
  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, fail[2] = {-1, -1};
  if (!whole || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) || pipe2(fail, O_CLOEXEC)) {
    report_exit(id, 2, whole ? (uint32_t)errno : EINVAL, 0);
    for (int i = 0; i < 2; i++) {
      close_end(&in[i]);
      close_end(&out[i]);
      close_end(&err[i]);
    }
    free(strings);
    return;
  }
  char path[96];
  cgroup_path(path, sizeof path, id, "");
  if (have_cgroups) mkdir(path, 0755);
  uint64_t started = now_ns();
  pid_t pid = fork();
  if (pid == 0) {
    setsid();
    if (have_cgroups) {
      cgroup_path(path, sizeof path, id, "cgroup.procs");
      write_text(path, "0");
    }
    setpriority(PRIO_PROCESS, 0, 0);
    write_text("/proc/self/oom_score_adj", "0");
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const char *search = "PATH=/usr/local/bin:/usr/bin:/bin";
    for (char **e = envp; *e != NULL; e++)
      if (strncmp(*e, "PATH=", 5) == 0) search = *e;
    setenv("PATH", search + 5, 1);
    int error = chdir(cwd[0] != 0 ? cwd : "/") != 0 ? errno : 0;
    if (error == 0) {
      execvpe(argv[0], argv, envp);
      error = errno;
    }
    ssize_t n = write(fail[1], &error, sizeof error);
    _exit(n > 0 ? 127 : 126);
  }
  int error = pid < 0 ? errno : 0;
  close(in[0]);
  close(out[1]);
  close(err[1]);
  close(fail[1]);
  if (pid > 0 && read(fail[0], &error, sizeof error) != sizeof error) error = 0;
  close(fail[0]);
  free(strings);
  if (error != 0) {
    close(in[1]);
    close(out[0]);
    close(err[0]);
    if (pid > 0) waitpid(pid, NULL, 0);
    cgroup_path(path, sizeof path, id, "");
    if (have_cgroups) rmdir(path);
    report_exit(id, 2, (uint32_t)error, 0);
    return;
  }
  fcntl(in[1], F_SETFL, O_NONBLOCK);
  *job = (struct job){.id = id, .pid = pid, .out = out[0], .err = err[0], .in = in[1], .started_ns = started};
}

static void feed(struct job *job) {
  while (job->in >= 0 && job->pending_bytes > 0) {
    ssize_t n = write(job->in, job->pending, job->pending_bytes);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) { /* it reads no more */
      job->pending_bytes = 0;
      close_end(&job->in);
      return;
    }
    job->pending_bytes -= (size_t)n;
    memmove(job->pending, job->pending + n, job->pending_bytes);
  }
  if (job->in_ends) close_end(&job->in);
}

static void take_input(struct job *job, const uint8_t *data, uint32_t length) {
  if (length == 0) job->in_ends = true;
  else if (job->in >= 0) {
    uint8_t *grown = realloc(job->pending, job->pending_bytes + length);
    if (grown == NULL) give_up("out of memory");
    memcpy(grown + job->pending_bytes, data, length);
    job->pending = grown;
    job->pending_bytes += length;
  }
  feed(job);
}

static void drain(struct job *job, int *fd, enum frame_type type) {
  static uint8_t data[CHUNK];
  ssize_t n = read(*fd, data, sizeof data);
  if (n > 0) send_frame(type, job->id, data, (uint32_t)n);
  else if (n == 0 || (errno != EINTR && errno != EAGAIN)) close_end(fd);
}

/* ---- files --------------------------------------------------------------------------------------------------- */

static void make_parents(char *path) {
  for (char *p = path + 1; *p != 0; p++) {
    if (*p != '/') continue;
    *p = 0;
    mkdir(path, 0755);
    *p = '/';
  }
}

static void open_file(uint8_t *payload, uint32_t length) {
  close_end(&file);
  if (length < 6 || payload[length - 1] != 0) {
    file_errno = EINVAL;
    return;
  }
  uint32_t mode;
  memcpy(&mode, payload, 4);
  char *path = (char *)payload + 4;
  make_parents(path);
  unlink(path); /* a program that runs cannot be written over */
  file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode & 07777);
  file_errno = file < 0 ? errno : 0;
  if (file >= 0) fchmod(file, mode & 07777);
}

static void write_file(const uint8_t *data, uint32_t length) {
  while (file >= 0 && length > 0) {
    ssize_t n = write(file, data, length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      file_errno = errno;
      close_end(&file);
      return;
    }
    data += n;
    length -= (uint32_t)n;
  }
}

/* ---- the loop ------------------------------------------------------------------------------------------------ */

static void handle(uint32_t type, uint32_t id, uint8_t *payload, uint32_t length) {
  struct job *job = id != 0 ? find_job(id) : NULL;
  switch (type) {
    case FRAME_RUN: start_job(id, payload, length); break;
    case FRAME_STDIN:
      if (job != NULL) take_input(job, payload, length);
      break;
    case FRAME_KILL:
      if (job != NULL) kill_job(job);
      break;
    case FRAME_FILE: open_file(payload, length); break;
    case FRAME_FILE_DATA: write_file(payload, length); break;
    case FRAME_FILE_END:
      close_end(&file);
      send_frame(FRAME_FILE_DONE, id, &file_errno, 4);
      break;
    case FRAME_PING: send_frame(FRAME_PONG, id, NULL, 0); break;
    default: errno = EPROTO; give_up("a frame of an unknown type");
  }
}

/* Takes what has come in; whole frames are handled. A frame that does not check out ends the machine. */
static void receive(void) {
  static uint8_t *buffer;
  static size_t have, room;
  if (have + CHUNK > room) {
    room = have + 4 * CHUNK;
    buffer = realloc(buffer, room);
    if (buffer == NULL) give_up("out of memory");
  }
  ssize_t n = read(line, buffer + have, CHUNK);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) give_up("cannot read the serial port");
  have += (size_t)n;
  consumed += (uint32_t)n;
  size_t at = 0;
  while (have - at >= HEADER_BYTES) {
    uint32_t header[4];
    memcpy(header, buffer + at, HEADER_BYTES);
    errno = EPROTO;
    if (header[0] != MAGIC || header[3] > MAX_PAYLOAD) give_up("a damaged frame");
    size_t whole = HEADER_BYTES + header[3] + 4;
    if (have - at < whole) break;
    uint32_t sum;
    memcpy(&sum, buffer + at + whole - 4, 4);
    if (sum != crc(0, buffer + at, whole - 4)) give_up("a frame with a wrong checksum");
    handle(header[1], header[2], buffer + at + HEADER_BYTES, header[3]);
    at += whole;
  }
  memmove(buffer, buffer + at, have - at);
  have -= at;
  if (consumed - acknowledged >= ACK_EVERY || have == 0) acknowledge();
}

static void mount_at(const char *type, const char *where, const char *data) {
  mkdir(where, 0755);
  if (mount(type, where, type, 0, data) != 0) say("turnkey agent: no %s at %s: %s\n", type, where, strerror(errno));
}

static void prepare(void) {
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

static void open_line(const char *path) {
  line = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (line < 0) give_up(path);
  struct termios t;
  if (tcgetattr(line, &t) != 0) give_up("tcgetattr");
  cfmakeraw(&t);
  t.c_cflag |= CLOCAL | CREAD;
  t.c_cflag &= ~(tcflag_t)CRTSCTS;
  cfsetspeed(&t, B115200);
  if (tcsetattr(line, TCSANOW, &t) != 0) give_up("tcsetattr");
  tcflush(line, TCIOFLUSH);
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
  make_crc_table();
  for (int i = 0; i < MAX_JOBS; i++) jobs[i].out = jobs[i].err = jobs[i].in = -1;
  prepare();
  /* With counted time the clock misleads until a second source has been compared with it; see SETTLE in machine.ts. */
  const char *settle = getenv("TURNKEY_SETTLE_MS"); /* the kernel hands NAME=VALUE words of its command line to us */
  const char *port = getenv("TURNKEY_PORT");
  open_line(port != NULL ? port : "/dev/ttyS1");
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
  for (;;) {
    struct pollfd fds[2 + 3 * MAX_JOBS];
    struct {
      struct job *job;
      int which;
    } owner[2 + 3 * MAX_JOBS];
    nfds_t n = 0;
    fds[n++] = (struct pollfd){line, POLLIN, 0};
    fds[n++] = (struct pollfd){signals, POLLIN, 0};
    for (int i = 0; i < MAX_JOBS; i++) {
      struct job *job = &jobs[i];
      if (job->id == 0) continue;
      int ends[3] = {job->out, job->err, job->in};
      for (int k = 0; k < 3; k++) {
        if (ends[k] < 0 || (k == 2 && job->pending_bytes == 0)) continue;
        owner[n].job = job;
        owner[n].which = k;
        fds[n++] = (struct pollfd){ends[k], k == 2 ? POLLOUT : POLLIN, 0};
      }
    }
    if (poll(fds, n, -1) < 0 && errno != EINTR) give_up("poll");
    for (nfds_t i = 2; i < n; i++) {
      if (fds[i].revents == 0) continue;
      struct job *job = owner[i].job;
      if (owner[i].which == 0) drain(job, &job->out, FRAME_STDOUT);
      else if (owner[i].which == 1) drain(job, &job->err, FRAME_STDERR);
      else feed(job);
    }
    if (fds[1].revents != 0) {
      struct signalfd_siginfo info;
      while (read(signals, &info, sizeof info) == sizeof info) continue;
      reap();
    }
    for (int i = 0; i < MAX_JOBS; i++)
      if (jobs[i].id != 0 && jobs[i].exited && jobs[i].out < 0 && jobs[i].err < 0) finish_job(&jobs[i]);
    if (fds[0].revents != 0) receive();
  }
}
