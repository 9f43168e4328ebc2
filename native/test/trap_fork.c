/*
 * trap_fork.c: a VM that forks while its other threads hold the trap's locks. A child that waits for one hangs; it may
 * do so with all signals blocked, so that its parent ends it after ten seconds.
 */
#define _GNU_SOURCE
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../trap/filter.h"
#include "trap_common.h"

static int adds_one(int value) { return value + 1; }

/* A private one, which no other thread has made already. */
static bool makes_thunk(void) {
  void *code;
  if (trap_thunk_private((const void *)(uintptr_t)adds_one, 0, 0, NULL, &code) < 0) return false;
  bool right = ((int (*)(int))(uintptr_t)code)(1) == 2;
  return trap_thunk_release(code) == 0 && right;
}
static bool sets_handlers(void) { return trap_rearm_note() == 0 && trap_rearm() == 0; }
/* pkeys, with its own locks held, has the trap look through its thunks. */
static bool changes_masks(void) {
  struct pkeys_space_request request = {.name = "old", .bytes = PAGE, .deny = PKEYS_NO_WRITE};
  struct pkeys_image *image;
  if (pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, NULL) < 0) return false;
  int rc = pkeys_image_set_mechanism(image, PKEYS_MECHANISM_MPROTECT_RANGE);
  return pkeys_image_close(image) == 0 && rc == 0;
}
static bool sets_filter_up(void) {
  struct trap_filter_options options = {.way = TRAP_FILTER_DISPATCH, .threads = true};
  return trap_filter_init(&options) == 0;
}
static void *attaches(void *done) {
  *(bool *)done = makes_thunk();
  return NULL;
}
static bool starts_thread(void) {
  bool done = false;
  pthread_t thread;
  return pthread_create(&thread, NULL, attaches, &done) == 0 && pthread_join(thread, NULL) == 0 && done;
}

static _Atomic int stop;
static bool (*works)(void);
static void *goes_on(void *unused) {
  while (!stop) CHECK(works());
  return unused;
}

static int status_of(pid_t child) {
  int status;
  for (int i = 0; i < 2000; i++) {
    pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended != 0) return ended == child ? status : -1;
    usleep(5000);
  }
  kill(child, SIGKILL);
  return waitpid(child, &status, 0) == child ? status : -1;
}

/* A parent that hangs may do so with all signals blocked on all its threads but this one. */
static void *gets_alarm(void *unused) {
  for (;;) pause();
  return unused;
}
static void end_later(void) {
  pthread_t thread;
  REQUIRE(pthread_create(&thread, NULL, gets_alarm, NULL) == 0);
  alarm(240);
}

/* Forks while two threads do nothing but `work`; children do it too. */
static void fork_during(bool (*work)(void), unsigned long count) {
  pthread_t threads[2];
  end_later();
  stop = 0;
  works = work;
  REQUIRE(makes_thunk() && work()); /* the first thunk has the trap told of masks */
  for (int i = 0; i < 2; i++) REQUIRE(pthread_create(&threads[i], NULL, goes_on, NULL) == 0);
  for (unsigned long i = 0, failed = 0; i < count && failed == 0; i++) {
    pid_t child = fork();
    if (child == 0) _exit(work() && makes_thunk() && starts_thread() ? 0 : 1);
    int status = status_of(child);
    CHECK_EQ(status, 0);
    failed += status != 0;
  }
  stop = 1;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  alarm(0);
}

/* Each broken once: its lock not taken before the fork, and a child hung. */
CHECK_TEST(thunks, "a child makes thunks, though other threads were making some when it was forked") {
  CHECK_EQ(trap_init(), 0);
  fork_during(makes_thunk, scaled(200, 20));
}
CHECK_TEST(threads, "a child starts threads, though others were being attached and released when it was forked") {
  CHECK_EQ(trap_init(), 0);
  fork_during(starts_thread, scaled(400, 20));
}
CHECK_TEST(handlers, "a child sets handlers, though other threads were setting them when it was forked") {
  CHECK_EQ(trap_init(), 0);
  fork_during(sets_handlers, scaled(200, 20));
}
/* Broken once: the locks of the thunks taken before those of pkeys, and the parent hung. */
CHECK_TEST(masks, "a fork while other threads open and close images goes through, and so does what its child opens") {
  CHECK_EQ(pkeys_init(), 0); /* its handlers for fork are older than the trap's */
  CHECK_EQ(trap_init(), 0);
  fork_during(changes_masks, scaled(200, 20));
}
CHECK_TEST(filter, "a child changes the filter's rules, though other threads were changing them") {
  CHECK_EQ(trap_init(), 0);
  if (!sets_filter_up()) CHECK_SKIP("system calls are not filtered here");
  fork_during(sets_filter_up, scaled(200, 20));
}

static _Atomic int handled;
static void rearms(int number) {
  (void)number;
  trap_rearm();
  handled++;
}
/* Broken once: signals taken while the fork holds the locks, so that the parent waited for itself. */
CHECK_TEST(signals, "a handler that sets the trap's handlers may come while the VM forks") {
  CHECK_EQ(trap_init(), 0);
  struct sigaction action = {.sa_handler = rearms, .sa_flags = SA_RESTART};
  struct itimerval storm = {{0, 500}, {0, 500}}, none = {{0, 0}, {0, 0}};
  CHECK_EQ(sigaction(SIGPROF, &action, NULL), 0);
  alarm(240);
  setitimer(ITIMER_PROF, &storm, NULL); /* of CPU time: a parent that hangs gets none, and alarm(2) ends it */
  for (unsigned long i = 0; i < scaled(500, 20); i++) {
    int status = -1;
    pid_t child = fork();
    if (child == 0) _exit(0);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    CHECK_EQ(status, 0);
  }
  while (handled == 0) CHECK_EQ(trap_rearm(), 0);
  setitimer(ITIMER_PROF, &none, NULL);
}

CHECK_MAIN()
