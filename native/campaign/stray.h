/*
 * stray.h: what the program of a campaign (program.c) and its foreign code (stray.c) know of each other. All of it is
 * set before a trial is forked. `struct order` lies in pages that the trial can only read, so no fault changes it.
 */
#ifndef TURNKEY_CAMPAIGN_STRAY_H
#define TURNKEY_CAMPAIGN_STRAY_H

#include <sqlite3.h>
#include <zlib.h>

#include "draw.h"

#define TEXT_BYTES 1024
#define PACKED_BYTES 2048
#define VALUES 5

/* What a trial tells its parent, at most PIPE_BUF bytes in one write(2). */
struct event {
  enum {
    EVENT_THREAD, /* address: a local of the other VM thread's */
    EVENT_CALLEE, /* address: a local of the callee's */
    EVENT_FAULT,  /* about to be made */
    EVENT_STORED, /* made: `changed`; `error`, the errno of a system call */
    EVENT_RETURN, /* the callout is over: `signal` and the like if it failed */
    EVENT_UNIT,   /* a unit of the aftermath is done */
    EVENT_DONE,   /* all work is done: `answer` */
    EVENT_CAUGHT, /* a later callout failed, or a library or the decoding answered an error */
  } kind;
  int32_t unit, signal, code, pkey, error, held, changed;
  uint64_t address, pc, answer, ns;
};

/* What the callee leaves behind. */
struct left {
  const char *text;
  uint64_t length;
  const struct left *next;
  uint64_t word;
};

/* Memory and libraries that the callee works with; every pointer is the program's. */
struct tools {
  int (*deflate)(z_streamp, int);
  int (*deflate_reset)(z_streamp);
  int (*inflate)(z_streamp, int);
  int (*inflate_reset)(z_streamp);
  int (*step)(sqlite3_stmt *);
  int (*bind)(sqlite3_stmt *, int, int);
  sqlite3_int64 (*column)(sqlite3_stmt *, int);
  int (*reset)(sqlite3_stmt *);
  void (*sort)(void *, size_t, size_t, int (*)(const void *, const void *));
  int (*compare)(const void *, const void *); /* a callback into the program */
  z_stream *packer, *unpacker;
  sqlite3_stmt *update, *sum;
};

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

/* One job: packs and unpacks `text`, updates and sums a table, sorts. Returns a hash of all results; *rc gets a
 * library's error code. With `stray`, the order's fault happens on the way. */
typedef uint64_t stray_job_function(const struct order *order, const char *text, int stray, int *rc, struct left *left);
typedef void stray_now_function(const struct order *order);

#endif
