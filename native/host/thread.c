/*
 * thread.c: pthread_create. A thread that the VM starts is a VM thread. It has the VM's rights from its first
 * instruction, and is a bystander of other threads' callouts under mprotect. A thread that anyone else starts is not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "internal.h"

struct start {
  void *(*routine)(void *);
  void *argument;
};

static void *begin(void *data) {
  struct start start = *(struct start *)data;
  free(data);
  if (trap_attach() < 0)
    host_say_once("more than %d threads: callouts on the others end the process", TRAP_MAX_THREADS);
  host_count(HOST_THREADS);
  return start.routine(start.argument);
}

HOST_REPLACES int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *),
                                 void *argument) {
  const struct host_next *next = host_next();
  if (!host_is_vm_or_ffi(HOST_CALLER()) || trap_in_callout())
    return next->pthread_create(thread, attributes, routine, argument);
  struct start *start = malloc(sizeof *start);
  if (start == NULL) return EAGAIN;
  *start = (struct start){routine, argument};
  int error = next->pthread_create(thread, attributes, begin, start);
  if (error != 0) free(start);
  return error;
}
