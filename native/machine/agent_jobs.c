/*
 * agent_jobs.c: jobs: programs that the host starts, feeds, kills, and hears of. A job gets a session and a control
 * group of its own, so all that it leaves running can be killed. Documentation/admin-guide/cgroup-v2.rst (cgroup.kill).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

#define PATH_BYTES 96
#define MAX_STRINGS 65536 /* arguments of a job, and variables of its environment */

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
bool have_cgroups;

void jobs_set_up(void) {
  for (int i = 0; i < MAX_JOBS; i++) jobs[i].out = jobs[i].err = jobs[i].in = -1;
}

/* NULL if no job has that id. */
static struct job *find_job(uint32_t id) {
  for (int i = 0; i < MAX_JOBS; i++)
    if (id != 0 && jobs[i].id == id) return &jobs[i];
  return NULL;
}
/* NULL if MAX_JOBS jobs are there. */
static struct job *free_slot(void) {
  for (int i = 0; i < MAX_JOBS; i++)
    if (jobs[i].id == 0) return &jobs[i];
  return NULL;
}

static void cgroup_path(char *path, uint32_t id, const char *name) {
  snprintf(path, PATH_BYTES, "/sys/fs/cgroup/job-%u%s%s", id, name[0] ? "/" : "", name);
}

/* Kills all that the job started. Without control groups, only what stayed in its process group. */
static void kill_job(const struct job *job) {
  char path[PATH_BYTES];
  cgroup_path(path, job->id, "cgroup.kill");
  if (!have_cgroups || write_text(path, "1") != 0) kill(-job->pid, SIGKILL);
  if (!job->exited) kill(job->pid, SIGKILL);
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
  if (WIFSIGNALED(job->status)) report_exit(job->id, EXIT_SIGNAL, (uint32_t)WTERMSIG(job->status), ns);
  else report_exit(job->id, EXIT_CODE, (uint32_t)WEXITSTATUS(job->status), ns);
  close_end(&job->in);
  free(job->pending);
  if (have_cgroups) {
    char path[PATH_BYTES];
    cgroup_path(path, job->id, "");
    for (int i = 0; i < 50 && rmdir(path) != 0 && errno == EBUSY; i++) usleep(1000);
  }
  memset(job, 0, sizeof *job);
  job->out = job->err = job->in = -1;
}

void jobs_reap(void) {
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

/* What FRAME_RUN asks for: the strings lie in the payload, the list of pointers to them in `list`. */
struct request {
  char *cwd, **argv, **envp;
  char **list;
};
/* 0 or a negative errno; 0 gives a list to be freed. */
static int read_request(uint8_t *payload, uint32_t length, struct request *out) {
  if (length < 9 || payload[length - 1] != 0) return -EINVAL;
  uint32_t argc, envc;
  memcpy(&argc, payload, 4);
  memcpy(&envc, payload + 4, 4);
  if (argc == 0 || argc > MAX_STRINGS || envc > MAX_STRINGS) return -EINVAL;
  char **list = calloc(argc + envc + 3, sizeof *list);
  if (list == NULL) return -ENOMEM;
  char *p = (char *)payload + 8, *end = (char *)payload + length;
  *out = (struct request){.cwd = p, .argv = list, .envp = list + argc + 1, .list = list};
  p += strlen(p) + 1;
  for (uint32_t i = 0; i < argc + envc; i++) {
    if (p >= end) {
      free(list);
      return -EINVAL;
    }
    if (i < argc) out->argv[i] = p;
    else out->envp[i - argc] = p;
    p += strlen(p) + 1;
  }
  return 0;
}

/* A job's pipes. The host's side of each is held by this process. */
struct pipes {
  int in[2], out[2], err[2];
  int fail[2]; /* closed by a successful exec; else it carries the errno */
};
static void close_pipes(struct pipes *pipes) {
  int *const all[] = {pipes->in, pipes->out, pipes->err, pipes->fail};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    close_end(&all[i][0]);
    close_end(&all[i][1]);
  }
}
static int open_pipes(struct pipes *pipes) {
  *pipes = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
  if (pipe2(pipes->in, O_CLOEXEC) || pipe2(pipes->out, O_CLOEXEC) || pipe2(pipes->err, O_CLOEXEC) ||
      pipe2(pipes->fail, O_CLOEXEC)) {
    int error = errno;
    close_pipes(pipes);
    return -error;
  }
  return 0;
}

/* In the child: becomes the program. */
__attribute__((noreturn)) static void become(uint32_t id, const struct request *request, const struct pipes *pipes) {
  setsid();
  if (have_cgroups) {
    char path[PATH_BYTES];
    cgroup_path(path, id, "cgroup.procs");
    write_text(path, "0");
  }
  setpriority(PRIO_PROCESS, 0, 0);
  write_text("/proc/self/oom_score_adj", "0");
  dup2(pipes->in[0], 0);
  dup2(pipes->out[1], 1);
  dup2(pipes->err[1], 2);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  const char *search = "PATH=/usr/local/bin:/usr/bin:/bin";
  for (char **e = request->envp; *e != NULL; e++)
    if (strncmp(*e, "PATH=", 5) == 0) search = *e;
  setenv("PATH", search + 5, 1);
  int error = chdir(request->cwd[0] != 0 ? request->cwd : "/") != 0 ? errno : 0;
  if (error == 0) {
    execvpe(request->argv[0], request->argv, request->envp);
    error = errno;
  }
  ssize_t n = write(pipes->fail[1], &error, sizeof error);
  _exit(n > 0 ? 127 : 126);
}

/* Starts the program and fills *job. 0 or a negative errno. */
static int start(struct job *job, uint32_t id, const struct request *request) {
  struct pipes pipes;
  int rc = open_pipes(&pipes);
  if (rc != 0) return rc;
  char path[PATH_BYTES];
  cgroup_path(path, id, "");
  if (have_cgroups) mkdir(path, 0755);
  uint64_t started = now_ns();
  pid_t pid = fork();
  if (pid == 0) become(id, request, &pipes);
  int error = pid < 0 ? errno : 0;
  close_end(&pipes.in[0]);
  close_end(&pipes.out[1]);
  close_end(&pipes.err[1]);
  close_end(&pipes.fail[1]);
  if (pid > 0 && read(pipes.fail[0], &error, sizeof error) != sizeof error) error = 0;
  close_end(&pipes.fail[0]);
  if (error != 0) {
    close_pipes(&pipes);
    if (pid > 0) waitpid(pid, NULL, 0);
    if (have_cgroups) rmdir(path);
    return -error;
  }
  fcntl(pipes.in[1], F_SETFL, O_NONBLOCK);
  *job = (struct job){
      .id = id, .pid = pid, .out = pipes.out[0], .err = pipes.err[0], .in = pipes.in[1], .started_ns = started};
  return 0;
}

void job_start(uint32_t id, uint8_t *payload, uint32_t length) {
  struct job *job = free_slot();
  struct request request = {.list = NULL};
  int rc = job == NULL ? -EAGAIN : read_request(payload, length, &request);
  if (rc == 0) rc = start(job, id, &request);
  if (rc != 0) report_exit(id, EXIT_NOT_STARTED, (uint32_t)-rc, 0);
  free(request.list);
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

void job_input(uint32_t id, const uint8_t *data, uint32_t length) {
  struct job *job = find_job(id);
  if (job == NULL) return;
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

void job_kill(uint32_t id) {
  const struct job *job = find_job(id);
  if (job != NULL) kill_job(job);
}

static void drain(struct job *job, int *fd, enum frame_type type) {
  static uint8_t data[CHUNK];
  ssize_t n = read(*fd, data, sizeof data);
  if (n > 0) send_frame(type, job->id, data, (uint32_t)n);
  else if (n == 0 || (errno != EINTR && errno != EAGAIN)) close_end(fd);
}

/* Whose descriptor stands at each place that jobs_watch has filled. */
static struct {
  struct job *job;
  enum { END_OUT, END_ERR, END_IN } end;
} watched[3 * MAX_JOBS];

nfds_t jobs_watch(struct pollfd *fds) {
  nfds_t n = 0;
  for (int i = 0; i < MAX_JOBS; i++) {
    struct job *job = &jobs[i];
    if (job->id == 0) continue;
    const int ends[] = {[END_OUT] = job->out, [END_ERR] = job->err, [END_IN] = job->in};
    for (int end = END_OUT; end <= END_IN; end++) {
      if (ends[end] < 0 || (end == END_IN && job->pending_bytes == 0)) continue;
      watched[n].job = job;
      watched[n].end = end;
      fds[n++] = (struct pollfd){ends[end], end == END_IN ? POLLOUT : POLLIN, 0};
    }
  }
  return n;
}

void jobs_serve(const struct pollfd *fds, nfds_t count) {
  for (nfds_t i = 0; i < count; i++) {
    if (fds[i].revents == 0) continue;
    struct job *job = watched[i].job;
    switch (watched[i].end) {
      case END_OUT: drain(job, &job->out, FRAME_STDOUT); break;
      case END_ERR: drain(job, &job->err, FRAME_STDERR); break;
      case END_IN: feed(job); break;
    }
  }
}

void jobs_finish(void) {
  for (int i = 0; i < MAX_JOBS; i++)
    if (jobs[i].id != 0 && jobs[i].exited && jobs[i].out < 0 && jobs[i].err < 0) finish_job(&jobs[i]);
}
