/*
 * alternatives: the same call made where it cannot reach the image by its own stores, as a user would do it without
 * keys or a trap.
 *
 * Options: way (process: a process forked beforehand, request and answer in shared memory, each side woken by a futex;
 * pipe: a child that reads requests from one pipe and writes answers to another; thread: a worker thread of this
 * process, woken by a futex, which protects nothing: what handing over costs alone; guarded: through the gate, under
 * the row's mechanism, beside an image of `pages`; call: the call itself); bytes (of a buffer that the callee is given
 * and changes: copied there and back for process and pipe; a thread is given the pointer); processors (1: both sides on
 * the same one; 2: each on its own). The callee adds two numbers, and one to each 64th byte. Nobody spins: an idle side
 * sleeps, as it would between rare callouts. futex(2), pipe(7).
 */
#define _GNU_SOURCE
#include "guarded.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_BYTES 65536u

struct message {
  long a, b, result;
  size_t bytes;
  unsigned char buffer[MOST_BYTES];
};
struct shared {
  _Atomic uint32_t turn; /* 0: the caller's, 1: the callee's, 2: over */
  struct message message;
};
static struct shared *shared;
static unsigned char user_buffer[MOST_BYTES];
static size_t bytes;
static int to_child[2], from_child[2], wake_flag, other_processor;
static pid_t child;
static pthread_t thread;
static long expected;

static __attribute__((noinline, noipa)) long callee(long a, long b, unsigned char *buffer, size_t length) {
  for (size_t i = 0; i < length; i += 64) buffer[i]++;
  return a + b;
}

static void wait_while(_Atomic uint32_t *word, uint32_t value) {
  while (atomic_load(word) == value) syscall(SYS_futex, word, FUTEX_WAIT | wake_flag, value, NULL, NULL, 0);
}
static void hand_over(_Atomic uint32_t *word, uint32_t value) {
  atomic_store(word, value);
  syscall(SYS_futex, word, FUTEX_WAKE | wake_flag, 1, NULL, NULL, 0);
}

static void serve_shared(unsigned char *buffer) {
  for (;;) {
    wait_while(&shared->turn, 0);
    if (atomic_load(&shared->turn) == 2) return;
    struct message *message = &shared->message;
    message->result = callee(message->a, message->b, buffer, message->bytes);
    hand_over(&shared->turn, 0);
  }
}

static bool whole(ssize_t (*transfer)(int, void *, size_t), int file, void *data, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t now = transfer(file, (char *)data + done, length - done);
    if (now <= 0) return false;
    done += (size_t)now;
  }
  return true;
}
static ssize_t writing(int file, void *data, size_t length) { return write(file, data, length); }
#define HEAD_BYTES offsetof(struct message, buffer)

static void serve_pipe(void) {
  static struct message message;
  while (whole(read, to_child[0], &message, HEAD_BYTES) && whole(read, to_child[0], message.buffer, message.bytes)) {
    message.result = callee(message.a, message.b, message.buffer, message.bytes);
    if (!whole(writing, from_child[1], &message, HEAD_BYTES + message.bytes)) return;
  }
}

static void *serve_thread(void *unused) {
  (void)unused;
  bench_pin((unsigned)other_processor);
  serve_shared(user_buffer);
  return NULL;
}

typedef long called(long, long, unsigned char *, size_t);
static called *volatile here = callee; /* the function itself, or its thunk */
static void run_call(uint64_t times) {
  called *call = here;
  for (uint64_t i = 0; i < times; i++) expected = call((long)i, 1, user_buffer, bytes);
}
static long by_shared(long a, long b, bool copy) {
  struct message *message = &shared->message;
  message->a = a, message->b = b, message->bytes = bytes;
  if (copy) memcpy(message->buffer, user_buffer, bytes);
  hand_over(&shared->turn, 1);
  wait_while(&shared->turn, 1);
  if (copy) memcpy(user_buffer, message->buffer, bytes);
  return message->result;
}
static void run_process(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) expected = by_shared((long)i, 1, true);
}
static void run_thread(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) expected = by_shared((long)i, 1, false);
}
static void run_pipe(uint64_t times) {
  static struct message message;
  for (uint64_t i = 0; i < times; i++) {
    message.a = (long)i, message.b = 1, message.bytes = bytes;
    memcpy(message.buffer, user_buffer, bytes);
    if (!whole(writing, to_child[1], &message, HEAD_BYTES + bytes) ||
        !whole(read, from_child[0], &message, HEAD_BYTES + bytes))
      abort();
    memcpy(user_buffer, message.buffer, bytes);
    expected = message.result;
  }
}

static void take_down(void) {
  if (shared != NULL) hand_over(&shared->turn, 2);
  if (thread != 0) pthread_join(thread, NULL);
  if (to_child[1] > 0) close(to_child[1]);
  if (child > 0) waitpid(child, NULL, 0);
}

/* The other side as a process. The image is private memory of the parent: what the child has of it is a copy. */
static const char *start_child(void (*serve)(void)) {
  child = fork();
  if (child < 0) return strerror(errno);
  if (child > 0) return NULL;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  bench_pin((unsigned)other_processor);
  if (to_child[1] > 0) close(to_child[1]);
  serve();
  _exit(0);
}
static void serve_process(void) { serve_shared(shared->message.buffer); }

const char *bench_alternatives(struct bench_row *row) {
  unsigned list[64], count = bench_processors(list, 64), wanted = (unsigned)bench_number(row, "processors", 1);
  bytes = bench_number(row, "bytes", 0);
  if (bytes > MOST_BYTES) return "too many bytes";
  if (wanted > count) return "there are not as many processors";
  other_processor = (int)list[wanted == 2 ? count - 2 : count - 1]; /* this side is on the last one */
  row->take_down = take_down;
  const char *why = NULL;
  if (bench_is(row, "way", "call")) row->run = run_call;
  else if (bench_is(row, "way", "guarded")) {
    why = guarded_set_up(row, 0);
    if (why == NULL) here = (called *)(uintptr_t)guarded_thunk((const void *)(uintptr_t)callee, 0, 0);
    row->run = run_call;
  } else if (bench_is(row, "way", "pipe")) {
    if (pipe(to_child) != 0 || pipe(from_child) != 0) return strerror(errno);
    why = start_child(serve_pipe);
    row->run = run_pipe;
    row->counts.syscalls = bytes == 0 ? 4 : 5; /* both sides */
  } else {
    bool other_process = bench_is(row, "way", "process");
    if (!other_process && !bench_is(row, "way", "thread")) return "no such way";
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return strerror(errno);
    wake_flag = other_process ? 0 : FUTEX_PRIVATE_FLAG;
    row->run = other_process ? run_process : run_thread;
    if (other_process) why = start_child(serve_process);
    else if (pthread_create(&thread, NULL, serve_thread, NULL) != 0) why = "a thread could not be made";
    row->counts.syscalls = 4; /* two wakes and two waits */
  }
  if (why != NULL) return why;
  row->many_processors = row->run != run_call; /* one side alone is not the whole of it: not to be stepped through */
  user_buffer[0] = 41;
  row->run(1);
  return expected == 1 && user_buffer[0] == (bytes > 0 ? 42 : 41) ? NULL : "the call was tried and gave a wrong result";
}
