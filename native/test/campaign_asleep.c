/*
 * Waiting for other threads in trials of campaigns (native/campaign/asleep.h). What depends on it is chance where it
 * fails, and no campaign is long enough to be sure of seeing that.
 * Broken once: wait_for_sleep, wait_for_pause and wait_for_end that return at once; a thread's number without a digit.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "../campaign/asleep.h"
#include "check.h"

enum { READ, FUTEX, PAUSE, END };
static atomic_int thread_number, works;
static int ends[2];
static sem_t posted;

/* For 50 ms of the thread's processor time, in and out of the kernel. */
static void work(void) {
  struct timespec start, now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
  do {
    sched_yield();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  } while ((now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec < 50000000);
  atomic_store(&works, 0);
}

/* Works, then waits, or ends, as it is told. */
static void *thread(void *how) {
  atomic_store(&works, 1);
  atomic_store(&thread_number, gettid());
  work();
  char byte;
  switch ((int)(intptr_t)how) {
    case READ: return read(ends[0], &byte, 1) == 1 ? how : NULL;
    case FUTEX: sem_wait(&posted); break;
    case PAUSE:
      for (;;) pause();
    default: break;
  }
  return how;
}

static pthread_t started(int how) {
  pthread_t id;
  atomic_store(&thread_number, 0);
  if (pthread_create(&id, NULL, thread, (void *)(intptr_t)how) != 0) abort();
  while (atomic_load(&thread_number) == 0) sched_yield();
  return id;
}

CHECK_TEST(sleeps, "wait_for_sleep returns once the thread waits for a pipe or in a futex, and not before") {
  REQUIRE(pipe(ends) == 0 && sem_init(&posted, 0, 0) == 0);
  for (int how = READ; how <= FUTEX; how++) {
    pthread_t id = started(how);
    wait_for_sleep(atomic_load(&thread_number));
    CHECK_EQ(atomic_load(&works), 0);
    CHECK_EQ(waits_in(atomic_load(&thread_number)), how == READ ? __NR_read : __NR_futex);
    CHECK(how == READ ? write(ends[1], "", 1) == 1 : sem_post(&posted) == 0);
    pthread_join(id, NULL);
  }
}

CHECK_TEST(pauses, "wait_for_pause returns once the thread stays in pause(2)") {
  started(PAUSE);
  wait_for_pause(atomic_load(&thread_number));
  CHECK_EQ(atomic_load(&works), 0);
}

CHECK_TEST(ended, "wait_for_end returns once there is no such thread") {
  pthread_t id = started(END);
  pid_t number = atomic_load(&thread_number);
  wait_for_end(number);
  CHECK_EQ(atomic_load(&works), 0);
  CHECK_EQ(waits_in(number), -2);
  pthread_join(id, NULL);
  wait_for_end(number);
}

static void *waits(void *ignored) {
  (void)ignored;
  wait_for_program();
  CHECK_EQ(atomic_load(&works), 0);
  CHECK_EQ(write(ends[1], "", 1), 1);
  return NULL;
}

CHECK_TEST(program, "wait_for_program waits for the first thread") {
  REQUIRE(pipe(ends) == 0);
  atomic_store(&works, 1);
  pthread_t id;
  REQUIRE(pthread_create(&id, NULL, waits, NULL) == 0);
  work();
  char byte;
  CHECK_EQ(read(ends[0], &byte, 1), 1);
  pthread_join(id, NULL);
}

CHECK_MAIN()
