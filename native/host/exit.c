/*
 * exit.c: _exit, by which a forked child of a VM's often ends. A child that vfork made shares its parent's memory, and
 * is not the process that reports.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "internal.h"

static void leave(int status, const void *caller) __attribute__((noreturn));
static void leave(int status, const void *caller) {
  if (host_is_vm(caller) && getpid() == host_state.process && !trap_in_callout()) host_report();
  host_next()->_exit(status);
}
HOST_REPLACES void _exit(int status) { leave(status, HOST_CALLER()); }
HOST_REPLACES void _Exit(int status);
void _Exit(int status) { leave(status, HOST_CALLER()); }
