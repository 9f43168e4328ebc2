/* Threads that the callee starts. */
#define _GNU_SOURCE
#include "foreign.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

struct write_job {
  uint64_t address, value;
  int delay_ms;
};

static void *run_write(void *argument) {
  struct write_job *job = argument;
  if (job->delay_ms > 0) foreign_sleep_ms(job->delay_ms);
  foreign_write64(job->address, job->value);
  return NULL;
}

int foreign_thread_write_during(uint64_t address, uint64_t value) {
  struct write_job job = {address, value, 0};
  pthread_t thread;
  int error = pthread_create(&thread, NULL, run_write, &job);
  if (error != 0) return -error;
  pthread_join(thread, NULL);
  return 1;
}

int foreign_thread_write_after(uint64_t address, uint64_t value, int delay_ms) {
  static struct write_job job; /* outlives the call, one at a time */
  job = (struct write_job){address, value, delay_ms};
  pthread_t thread;
  int error = pthread_create(&thread, NULL, run_write, &job);
  if (error != 0) return -error;
  pthread_detach(thread);
  return 1;
}

static void *run_fault(void *argument) {
  foreign_null_write();
  return argument;
}

int foreign_thread_fault(void) {
  pthread_t thread;
  int error = pthread_create(&thread, NULL, run_fault, NULL);
  if (error != 0) return -error;
  pthread_join(thread, NULL);
  return 1;
}

void foreign_sleep_ms(int ms) {
  struct timespec left = {ms / 1000, (ms % 1000) * 1000000L};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

void foreign_sleep_then_write64(int ms, uint64_t address, uint64_t value) {
  foreign_sleep_ms(ms);
  foreign_write64(address, value);
}
