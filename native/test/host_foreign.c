/*
 * host_foreign.c: the foreign code that host.c calls. A library of its own, so that no address in it is the VM's.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include "host_foreign.h"

long foreign_sum(long a, long b, long c, long d, long e, long f, long g, long h, double x, long i) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + (long)x + 9 * i;
}

struct foreign_pair foreign_pair(long a) { return (struct foreign_pair){a, a + 1, a + 2}; }

int foreign_errno(int value) {
  errno = value;
  return -1;
}

long foreign_poke(volatile long *where, long value) {
  *where = value;
  return 1;
}

long foreign_peek(const volatile long *where) { return *where; }

long foreign_call_back(long (*callback)(long), long value) { return callback(value) + 1; }

long foreign_poke_after(long (*callback)(long), volatile long *where) {
  long result = callback(1);
  *where = 666;
  return result;
}

struct job {
  long (*callback)(long);
  long value, result;
};
static void *run_job(void *data) {
  struct job *job = data;
  job->result = job->callback(job->value);
  return NULL;
}
long foreign_call_back_elsewhere(long (*callback)(long), long value) {
  struct job job = {callback, value, 0};
  pthread_t thread;
  if (pthread_create(&thread, NULL, run_job, &job) != 0) return -1;
  pthread_join(thread, NULL);
  return job.result;
}

long foreign_raise(int signal) { return raise(signal); }

long foreign_wait(volatile int *flag) {
  while (!*flag) usleep(100);
  return *flag;
}
