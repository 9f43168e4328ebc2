/* Foreign code that calls back: at once, many times, before faulting, from other threads, later. */
#define _GNU_SOURCE
#include "foreign.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

int foreign_call_back(foreign_callback callback, int value) { return callback(value) + 1; }

int foreign_call_back_many(foreign_callback callback, int count) {
  int sum = 0;
  for (int i = 0; i < count; i++) sum += callback(i);
  return sum;
}

int foreign_call_back_then_fault(foreign_callback callback, int value) {
  int result = callback(value);
  foreign_null_write();
  return result;
}

struct job {
  foreign_callback callback;
  int value, result, delay_ms;
};

static void *run_job(void *argument) {
  struct job *job = argument;
  if (job->delay_ms > 0) usleep((useconds_t)job->delay_ms * 1000);
  job->result = job->callback(job->value);
  return NULL;
}

int foreign_call_back_on_thread(foreign_callback callback, int value) {
  struct job job = {callback, value, -1, 0};
  pthread_t thread;
  if (pthread_create(&thread, NULL, run_job, &job) != 0) return -1;
  pthread_join(thread, NULL);
  return job.result;
}

void foreign_call_back_later(foreign_callback callback, int value, int delay_ms) {
  static struct job job; /* outlives the call, one at a time */
  job = (struct job){callback, value, -1, delay_ms};
  pthread_t thread;
  if (pthread_create(&thread, NULL, run_job, &job) == 0) pthread_detach(thread);
}

double foreign_call_back_mixed(double (*callback)(int8_t, uint16_t, float, double, int64_t, const char *, double,
                                                  uint32_t, int64_t, int64_t),
                               int times) {
  double sum = 0;
  for (int i = 0; i < times; i++)
    sum += callback((int8_t)-i, (uint16_t)(i + 1), 0.5f, i * 2.0, INT64_C(1) << 40, "text", 0.25, 7u, -i, 9);
  return sum;
}

int foreign_call_back_wild_string(int (*callback)(const char *text), uint64_t address) {
  return callback((const char *)(uintptr_t)address);
}

int foreign_call_back_record(int (*callback)(const foreign_record *record), uint64_t name_address) {
  foreign_record record = {7, 2.5, name_address == 0 ? "seven" : (const char *)(uintptr_t)name_address};
  return callback(&record);
}

static foreign_callback registered;
void foreign_register(foreign_callback callback) { registered = callback; }
int foreign_fire(int value) { return registered == NULL ? -1 : registered(value); }
