/*
 * watch.h: the tracing runner, for the program turnkey-watch (main.c) and for a warm host that forks its trials
 * (warm.c). What the trial writes and what is reported: watch.c.
 */
#ifndef TURNKEY_WATCH_H
#define TURNKEY_WATCH_H

#include <sys/types.h>

/* Forks. In the child, the trial: returns 0 when the parent traces it and TURNKEY_WATCH_FD is set. In the parent: its
 * process id. Ends the process (125) where that fails. */
pid_t watch_start(void);
/* Lets the trial run to its end, or to its time limit, and prints the report. The limit counts from the line `began`;
 * see watch.c. */
void watch_follow(long timeout_ms, long set_up_ms);

#endif
