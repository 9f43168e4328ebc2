/* turnkey-watch: runs a command as a trial; usage and report in watch.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "watch.h"

/* A number behind an option; -1 if it is none. */
static long milliseconds(const char *text) {
  char *end;
  long value = strtol(text, &end, 10);
  return *end != 0 || value < 0 ? -1 : value;
}

int main(int count, char **arguments) {
  long timeout_ms = 0, set_up_ms = 0;
  int at = 1;
  for (; at + 1 < count && strncmp(arguments[at], "--", 3) != 0; at += 2) {
    if (strcmp(arguments[at], "--timeout-ms") == 0) timeout_ms = milliseconds(arguments[at + 1]);
    else if (strcmp(arguments[at], "--set-up-ms") == 0) set_up_ms = milliseconds(arguments[at + 1]);
    else break;
  }
  if (at >= count - 1 || strcmp(arguments[at], "--") != 0 || timeout_ms < 0 || set_up_ms < 0) {
    fprintf(stderr, "usage: turnkey-watch [--timeout-ms N] [--set-up-ms N] -- COMMAND [ARGUMENT...]\n");
    return 2;
  }
  if (watch_start() == 0) {
    execvp(arguments[at + 1], arguments + at + 1);
    fprintf(stderr, "turnkey-watch: %s: %s\n", arguments[at + 1], strerror(errno));
    _exit(127);
  }
  watch_follow(timeout_ms, set_up_ms);
  return 0;
}
