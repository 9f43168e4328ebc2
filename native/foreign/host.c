/* Memory of the host that lies on no key of its own: a global, thread-local storage, another thread's stack. */
#define _GNU_SOURCE
#include "mistakes.h"

#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define PATTERN UINT64_C(0x5a5a5a5a5a5a5a5a)

uint64_t foreign_global_address(void) { return (uint64_t)(uintptr_t)&opterr; }

static _Thread_local volatile uint64_t mine = PATTERN;
uint64_t foreign_thread_local_address(void) { return (uint64_t)(uintptr_t)&mine; }
uint64_t foreign_thread_local_value(void) { return mine; }

static pthread_t standing;
static atomic_uintptr_t local_address;
static atomic_int stop;
static uint64_t found;

static void *stand(void *argument) {
  volatile uint64_t local = PATTERN;
  atomic_store(&local_address, (uintptr_t)&local);
  while (!atomic_load(&stop)) usleep(1000);
  found = local;
  return argument;
}

uint64_t foreign_standing_thread(void) {
  if (pthread_create(&standing, NULL, stand, NULL) != 0) return 0;
  while (atomic_load(&local_address) == 0) usleep(100);
  return atomic_load(&local_address);
}

uint64_t foreign_standing_thread_end(void) {
  atomic_store(&stop, 1);
  pthread_join(standing, NULL);
  return found;
}
