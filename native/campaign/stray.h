/*
 * stray.h: what the stand-in (program.c) and its foreign code (stray.c) know of each other. All of it is set before a
 * trial is forked.
 */
#ifndef TURNKEY_CAMPAIGN_STRAY_H
#define TURNKEY_CAMPAIGN_STRAY_H

#include <sqlite3.h>
#include <zlib.h>

#include "order.h"

#define TEXT_BYTES 1024
#define PACKED_BYTES 2048
#define VALUES 5

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

/* One job: packs and unpacks `text`, updates and sums a table, sorts. Returns a hash of all results; *rc gets a
 * library's error code. With `stray`, the order's fault happens on the way. */
typedef uint64_t stray_job_function(const struct order *order, const char *text, int stray, int *rc, struct left *left);

#endif
