/* state.h: what the program's set-up (set_up.c) and its trials (program.c) share. */
#ifndef TURNKEY_CAMPAIGN_STATE_H
#define TURNKEY_CAMPAIGN_STATE_H

#include <semaphore.h>
#include <stdio.h>

#include "program.h"

/* The program's tables, in malloc's heap. */
struct tables {
  struct tools tools;
  sem_t work, done;
  FILE *log;
  struct left left;
  char *left_text;
  uint64_t answer;
  int unit;
  pid_t other;
  stray_job_function *job;
  stray_now_function *now;
};

extern struct tables *tables;
extern const struct order *orders; /* pages that a trial can only read */
extern struct program program;
extern stray_job_function *job_open; /* through a gate that takes no rights away */
extern stray_now_function *now_open;
extern bool guarded;

/* The comparison that the callee's sort calls back. */
int program_compare(const void *a, const void *b);

#endif
