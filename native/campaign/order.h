/*
 * order.h: what a trial is told to do, and what it tells its parent. An order is set before the trial is forked, and
 * lies in pages that the trial can only read, so no fault changes it.
 */
#ifndef TURNKEY_CAMPAIGN_ORDER_H
#define TURNKEY_CAMPAIGN_ORDER_H

#include "draw.h"

/* What a trial tells its parent, at most PIPE_BUF bytes in one write(2). */
struct event {
  enum {
    EVENT_THREAD, /* address: a local of the other VM thread's */
    EVENT_CALLEE, /* address: a local of the callee's */
    EVENT_FAULT,  /* about to be made; `held` bytes of what was there lie at `answer`; -1: nothing is there */
    EVENT_STORED, /* made: `changed`; `error`, the errno of a system call */
    EVENT_RETURN, /* the callout is over: `signal` and the like if it failed */
    EVENT_UNIT,   /* a unit of the aftermath is done */
    EVENT_DONE,   /* all work is done: `answer` */
    EVENT_CAUGHT, /* a later callout failed, or a library or the decoding answered an error */
  } kind;
  int32_t unit, signal, code, pkey, error, held, changed;
  uint64_t address, pc, answer, ns;
};

struct tools; /* stray.h: what the stand-in's callee works with */
struct order {
  struct fault fault;
  uint64_t address; /* of the store; 0 where the callee knows it itself */
  const struct tools *tools;
  int events;               /* a pipe to the parent */
  int go[2], gone[2];       /* pipes of the trial's own: the callout is over; the late store is made */
  int noise_file;           /* for the system call: LARGEST_RUN bytes of noise */
  int active;               /* a fault is to be made at all */
  int pause;                /* stop the process in the middle of the callout, for the parent to look at its memory */
  void *overruns[OVERRUNS]; /* ends of real buffers; that of the stack is the callee's own */
  void *stales[STALES];
  char *lent; /* TEXT_BYTES for the unpacked text, lent by the program */
};

typedef void stray_now_function(const struct order *order);

/* store.c: the stray store, by the foreign code that it is linked into. */

void stray_tell(const struct order *order, struct event event);
/* Makes the order's store at `to`, and tells. */
void stray_store(const struct order *order, void *to);
/* Makes the order's store now: at the address drawn, past the end of a buffer, or through a pointer kept from an
 * earlier callout. */
stray_now_function stray_now;
/* Makes the order's store if its moment is `now`: here, or from a thread of the foreign code's own. */
void stray_moment(const struct order *order, enum moment now);
/* Lets the parent look at the memory, where the order says so. */
void stray_pause(const struct order *order);

#endif
