/**
 * @file
 * What people pick instead of a guard, in C: libsigsegv's handler, left through sigsetjmp. The works and the faults are
 * those of experiments/support/choices-work.ts. This program is the caller that has to survive.
 *
 *   turnkey-choice-sigsegv work LIBRARY DIRECTORY divide|inflate|sqlite
 *     a line with a count on stdin: does the work so often, and answers with "<ns> <the last answer>"
 *   turnkey-choice-sigsegv harm "null write|abort|heap write|image write"
 *     prints what came of the caller: error, damaged or unharmed
 *
 * libsigsegv is under the GPL: what is linked here is for measuring, and no part of the package.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <sigsegv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { INSERTS = 100, SQLITE_ROW = 100, SQLITE_DONE = 101, PLAIN_BYTES = 1 << 20, IMAGE_BYTES = 1 << 16 };

static sigjmp_buf before_call;
static volatile sig_atomic_t inside;
static volatile sig_atomic_t faulted;
static sigset_t usual_mask;

static void leave(void *first, void *second, void *third) {
  (void)first;
  (void)second;
  (void)third;
  siglongjmp(before_call, 1);
}

static int on_fault(void *address, int serious) {
  (void)address;
  (void)serious;
  if (!inside) return 0;
  sigprocmask(SIG_SETMASK, &usual_mask, NULL);
  return sigsegv_leave_handler(leave, NULL, NULL, NULL);
}

typedef long callee(long, long, long, long, long);

/**
 * One call of the library, each prepared for its fault. The signal mask is not saved here: the handler sets it, as the
 * tests of libsigsegv do, which spares each call a system call.
 */
static __attribute__((noinline)) long guarded(callee *function, long a, long b, long c, long d, long e) {
  if (sigsetjmp(before_call, 0) != 0) {
    inside = 0;
    faulted = 1;
    return -1;
  }
  inside = 1;
  long answer = function(a, b, c, d, e);
  inside = 0;
  return answer;
}

static void fail(const char *what) {
  fprintf(stderr, "turnkey-choice-sigsegv: %s\n", what);
  exit(1);
}

static callee *function_of(const char *library, const char *name) {
  void *handle = dlopen(library, RTLD_NOW);
  if (handle == NULL) fail(dlerror());
  void *found = dlsym(handle, name);
  if (found == NULL) fail(dlerror());
  return (callee *)found;
}

static callee *divide;

static long division(void) { return (int)guarded(divide, 84, 2, 0, 0, 0); }

static callee *uncompress;
static unsigned char *packed;
static size_t packed_bytes;
static unsigned char *plain;

static long inflation(void) {
  unsigned long length = PLAIN_BYTES;
  if ((int)guarded(uncompress, (long)plain, (long)&length, (long)packed, (long)packed_bytes, 0) != 0)
    fail("uncompress failed");
  return (long)length;
}

static struct {
  callee *bind, *step, *reset, *column;
  void *clear, *insert, *select;
} sqlite;

static void step(void *statement, int wanted) {
  if ((int)guarded(sqlite.step, (long)statement, 0, 0, 0, 0) != wanted) fail("sqlite3_step failed");
}

static void reset(void *statement) { guarded(sqlite.reset, (long)statement, 0, 0, 0, 0); }

static long database(void) {
  step(sqlite.clear, SQLITE_DONE);
  reset(sqlite.clear);
  for (int value = 0; value < INSERTS; value++) {
    guarded(sqlite.bind, (long)sqlite.insert, 1, value, 0, 0);
    step(sqlite.insert, SQLITE_DONE);
    reset(sqlite.insert);
  }
  step(sqlite.select, SQLITE_ROW);
  long sum = (int)guarded(sqlite.column, (long)sqlite.select, 0, 0, 0, 0);
  reset(sqlite.select);
  return sum;
}

static void open_database(void) {
  const char *library = "libsqlite3.so.0";
  callee *open = function_of(library, "sqlite3_open");
  callee *prepare = function_of(library, "sqlite3_prepare_v2");
  sqlite.bind = function_of(library, "sqlite3_bind_int");
  sqlite.step = function_of(library, "sqlite3_step");
  sqlite.reset = function_of(library, "sqlite3_reset");
  sqlite.column = function_of(library, "sqlite3_column_int");
  void *db = NULL;
  if ((int)guarded(open, (long)":memory:", (long)&db, 0, 0, 0) != 0) fail("sqlite3_open failed");
  void *create = NULL;
  const struct {
    const char *sql;
    void **statement;
  } statements[] = {{"CREATE TABLE t (value INTEGER)", &create},
                    {"DELETE FROM t", &sqlite.clear},
                    {"INSERT INTO t VALUES (?)", &sqlite.insert},
                    {"SELECT SUM(value) FROM t", &sqlite.select}};
  for (size_t at = 0; at < sizeof statements / sizeof *statements; at++) {
    if ((int)guarded(prepare, (long)db, (long)statements[at].sql, -1, (long)statements[at].statement, 0) != 0)
      fail("sqlite3_prepare_v2 failed");
    if (at == 0) step(create, SQLITE_DONE);
  }
}

static unsigned char *contents(const char *directory, const char *name, size_t *bytes) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "rb");
  if (file == NULL) fail(path);
  unsigned char *data = malloc(PLAIN_BYTES + 1);
  if (data == NULL) fail("no memory");
  *bytes = fread(data, 1, PLAIN_BYTES + 1, file);
  fclose(file);
  return data;
}

static void open_archive(const char *directory) {
  uncompress = function_of("libz.so.1", "uncompress");
  packed = contents(directory, "packed", &packed_bytes);
  size_t bytes = 0;
  unsigned char *wanted = contents(directory, "plain", &bytes);
  plain = calloc(1, PLAIN_BYTES);
  if (plain == NULL) fail("no memory");
  if (inflation() != (long)bytes || memcmp(plain, wanted, bytes) != 0) fail("zlib gave back something else");
  free(wanted);
}

static long long now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int work(const char *library, const char *directory, const char *name) {
  long (*once)(void) = NULL;
  if (strcmp(name, "divide") == 0) {
    divide = function_of(library, "foreign_divide");
    once = division;
  } else if (strcmp(name, "inflate") == 0) {
    open_archive(directory);
    once = inflation;
  } else if (strcmp(name, "sqlite") == 0) {
    open_database();
    once = database;
  } else {
    fail("no such work");
  }
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    const long times = strtol(line, NULL, 10);
    long answer = 0;
    const long long start = now_ns();
    for (long at = 0; at < times; at++) answer = once();
    printf("%lld %ld\n", now_ns() - start, answer);
    fflush(stdout);
  }
  return faulted ? 1 : 0;
}

static int any_other(const unsigned char *bytes, size_t count, unsigned char wanted) {
  for (size_t at = 0; at < count; at++)
    if (bytes[at] != wanted) return 1;
  return 0;
}

static int harm(const char *name) {
  unsigned char *heap = calloc(1, 64);
  unsigned char *image = mmap(NULL, IMAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (heap == NULL || image == MAP_FAILED) fail("no memory");
  memset(image, 1, IMAGE_BYTES);
  if (strcmp(name, "abort") == 0) {
    guarded(function_of("libc.so.6", "abort"), 0, 0, 0, 0, 0);
  } else {
    long target = 0;
    if (strcmp(name, "heap write") == 0) target = (long)heap;
    else if (strcmp(name, "image write") == 0) target = (long)(image + 64);
    else if (strcmp(name, "null write") != 0) fail("no such harm");
    guarded(function_of("libc.so.6", "memset"), target, 0xff, 8, 0, 0);
  }
  const int damaged = any_other(heap, 64, 0) || any_other(image, IMAGE_BYTES, 1);
  fputs(damaged ? "damaged" : faulted ? "error" : "unharmed", stdout);
  return 0;
}

int main(int count, char **arguments) {
  sigprocmask(SIG_SETMASK, NULL, &usual_mask);
  if (sigsegv_install_handler(on_fault) != 0) fail("libsigsegv cannot catch SIGSEGV here");
  if (count == 5 && strcmp(arguments[1], "work") == 0) return work(arguments[2], arguments[3], arguments[4]);
  if (count == 3 && strcmp(arguments[1], "harm") == 0) return harm(arguments[2]);
  fail("work LIBRARY DIRECTORY NAME, or harm NAME");
}
