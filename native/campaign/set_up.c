/* set_up.c: makes the program of program.h, once, in the warm process: image, libraries, thunks. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "spur.h"
#include "state.h"
#include "strata.h"

#define ROWS 32

struct tables *tables;
const struct order *orders;
struct program program;
stray_job_function *job_open;
stray_now_function *now_open;
bool guarded;

/* What the callee's libraries allocate, noted while the warm process is set up. */
static struct block *noted;
static size_t noted_count, noted_most;

static void *note(void *block) {
  if (block != NULL && noted != NULL && noted_count < noted_most)
    noted[noted_count++] = (struct block){(uintptr_t)block, malloc_usable_size(block)};
  return block;
}
static void unnote(void *block) {
  for (size_t i = 0; noted != NULL && i < noted_count; i++)
    if (noted[i].address == (uintptr_t)block) noted[i] = noted[--noted_count];
}
static voidpf zlib_allocate(voidpf ignored, uInt items, uInt size) {
  (void)ignored;
  return note(calloc(items, size));
}
static void zlib_free(voidpf ignored, voidpf block) {
  (void)ignored;
  unnote(block);
  free(block);
}
static void *sqlite_allocate(int bytes) { return note(malloc((size_t)bytes)); }
static void sqlite_free(void *block) {
  unnote(block);
  free(block);
}
static void *sqlite_resize(void *block, int bytes) {
  unnote(block);
  return note(realloc(block, (size_t)bytes));
}
static int sqlite_size(void *block) { return block == NULL ? 0 : (int)malloc_usable_size(block); }
static int sqlite_round(int bytes) { return (bytes + 7) & ~7; }
static int sqlite_begin(void *ignored) { return (void)ignored, SQLITE_OK; }
static void sqlite_end(void *ignored) { (void)ignored; }

/* The functions of a library by name. */
#define TAKE(library, function, name)                              \
  do {                                                             \
    void *symbol_ = dlsym(library, name);                          \
    if (symbol_ == NULL) return "a library has no function " name; \
    memcpy(&(function), &symbol_, sizeof symbol_);                 \
  } while (0)

static const char *set_up_libraries(struct tools *tools) {
  void *zlib = dlopen("libz.so.1", RTLD_NOW), *sqlite = dlopen("libsqlite3.so.0", RTLD_NOW);
  if (zlib == NULL || sqlite == NULL) return "libz.so.1 or libsqlite3.so.0 is missing";
  int (*deflate_init)(z_streamp, int, int, int, int, int, const char *, int);
  int (*inflate_init)(z_streamp, int, const char *, int);
  int (*config)(int, ...);
  int (*open)(const char *, sqlite3 **);
  int (*execute)(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);
  int (*prepare)(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
  TAKE(zlib, tools->deflate, "deflate");
  TAKE(zlib, tools->deflate_reset, "deflateReset");
  TAKE(zlib, tools->inflate, "inflate");
  TAKE(zlib, tools->inflate_reset, "inflateReset");
  TAKE(zlib, deflate_init, "deflateInit2_");
  TAKE(zlib, inflate_init, "inflateInit2_");
  TAKE(sqlite, tools->step, "sqlite3_step");
  TAKE(sqlite, tools->bind, "sqlite3_bind_int");
  TAKE(sqlite, tools->column, "sqlite3_column_int64");
  TAKE(sqlite, tools->reset, "sqlite3_reset");
  TAKE(sqlite, config, "sqlite3_config");
  TAKE(sqlite, open, "sqlite3_open");
  TAKE(sqlite, execute, "sqlite3_exec");
  TAKE(sqlite, prepare, "sqlite3_prepare_v2");
  tools->sort = qsort;

  static const sqlite3_mem_methods methods = {sqlite_allocate, sqlite_free,  sqlite_resize, sqlite_size,
                                              sqlite_round,    sqlite_begin, sqlite_end,    NULL};
  config(SQLITE_CONFIG_MALLOC, &methods);
  tools->packer = calloc(1, sizeof *tools->packer);
  tools->unpacker = calloc(1, sizeof *tools->unpacker);
  if (tools->packer == NULL || tools->unpacker == NULL) return "no memory";
  tools->packer->zalloc = tools->unpacker->zalloc = zlib_allocate;
  tools->packer->zfree = tools->unpacker->zfree = zlib_free;
  /* A small window and little memory: a trial's cost is the fault's, not that of clearing tables. */
  if (deflate_init(tools->packer, 6, Z_DEFLATED, 10, 2, Z_DEFAULT_STRATEGY, ZLIB_VERSION, sizeof(z_stream)) != Z_OK ||
      inflate_init(tools->unpacker, 10, ZLIB_VERSION, sizeof(z_stream)) != Z_OK)
    return "zlib refuses its set-up";
  sqlite3 *database;
  if (open(":memory:", &database) != SQLITE_OK) return "SQLite refuses its set-up";
  char statement[96];
  if (execute(database, "CREATE TABLE t(k INTEGER PRIMARY KEY, v INTEGER, name TEXT)", NULL, NULL, NULL) != SQLITE_OK)
    return "SQLite refuses its table";
  for (int k = 0; k < ROWS; k++) {
    snprintf(statement, sizeof statement, "INSERT INTO t VALUES(%d, %d, 'row %d of the table')", k, k * k + 7, k);
    if (execute(database, statement, NULL, NULL, NULL) != SQLITE_OK) return "SQLite refuses a row";
  }
  if (prepare(database, "UPDATE t SET v = v + 1 WHERE k = ?", -1, &tools->update, NULL) != SQLITE_OK ||
      prepare(database, "SELECT sum(v * length(name)) FROM t WHERE k >= ?", -1, &tools->sum, NULL) != SQLITE_OK)
    return "SQLite refuses a statement";
  return NULL;
}

static const char *set_up_image(enum pkeys_mechanism mechanism, struct order *order) {
  static const struct pkeys_space_request requests[IMAGE_STRATA] = {{.name = "eden", .bytes = 256 << 10},
                                                                    {.name = "survivor", .bytes = 128 << 10},
                                                                    {.name = "old", .bytes = 512 << 10},
                                                                    {.name = "code", .bytes = 64 << 10},
                                                                    {.name = "stack", .bytes = 64 << 10}};
  struct pkeys_image *image;
  if (pkeys_image_map(requests, IMAGE_STRATA, PKEYS_KEY_PER_IMAGE, &image, NULL) < 0) return "no image";
  struct spur_area areas[IMAGE_STRATA];
  for (size_t i = 0; i < IMAGE_STRATA; i++) {
    pkeys_image_space(image, i, &program.spaces[i]);
    areas[i] = (struct spur_area){(void *)program.spaces[i].address, program.spaces[i].bytes};
  }
  struct spur_filled filled;
  if (spur_fill(areas, IMAGE_STRATA, STRATUM_OLD, 42, &filled) < 0) return "the image could not be filled";
  void *neighbour;
  if (pkeys_space_neighbour(image, STRATUM_OLD, NEIGHBOUR_BYTES, &neighbour) < 0) return "no page beside the image";
  program.neighbour = (struct block){(uintptr_t)neighbour, NEIGHBOUR_BYTES};
  /* Pages exist once something was written: what a C program keeps there. */
  memset(neighbour, 0x5a, NEIGHBOUR_BYTES);
  if (pkeys_image_set_mechanism(image, mechanism) < 0) return "the mechanism is not to be had here";
  for (size_t i = 0; i < IMAGE_STRATA; i++) pkeys_image_space(image, i, &program.spaces[i]);

  struct pkeys_loan old;
  if (pkeys_lend(4096, NULL, 0, 0, PKEYS_LOAN_OUT, false, &old) < 0 ||
      pkeys_lend(TEXT_BYTES, NULL, 0, 0, PKEYS_LOAN_OUT, true, &program.loan) < 0)
    return "no loan";
  pkeys_loan_release(old.id);
  memset(program.loan.address, 1, TEXT_BYTES);
  order->lent = program.loan.address;
  order->overruns[OVERRUN_LENT] = order->lent + TEXT_BYTES;
  order->overruns[OVERRUN_NEIGHBOUR] = (char *)neighbour + NEIGHBOUR_BYTES;
  order->stales[STALE_LOAN] = old.address;
  order->stales[STALE_OBJECT] = (void *)(program.spaces[STRATUM_OLD].address + 65536 + 8);
  return NULL;
}

static const char *set_up_calls(struct tools *tools) {
  void *stray = dlopen("libturnkey_stray.so", RTLD_NOW);
  if (stray == NULL) return "libturnkey_stray.so is missing";
  stray_job_function *job;
  stray_now_function *now;
  TAKE(stray, job, "stray_job");
  TAKE(stray, now, "stray_now");
  program.code = strata_code((uintptr_t)job);
  tables->job = TRAP_GUARD(job, 0, TRAP_LENT, NULL);
  tables->now = TRAP_GUARD(now, 0, TRAP_LENT, NULL);
  job_open = TRAP_GUARD(job, 0, TRAP_LENT | TRAP_BARE, NULL);
  now_open = TRAP_GUARD(now, 0, TRAP_LENT | TRAP_BARE, NULL);
  tools->compare = TRAP_CALLBACK(program_compare, 0);
  if (tables->job == NULL || tables->now == NULL || job_open == NULL || now_open == NULL || tools->compare == NULL)
    return "no thunk";
  /* Once through the gate under every mechanism, so that the same pages exist. */
  int error;
  tables->left.text = tables->left_text;
  tables->job(orders, (const char *)program.spaces[STRATUM_OLD].address, 0, &error, &tables->left);
  if (guarded) return NULL;
  /* With nothing: plain calls, and no handler of the trap's. */
  tables->job = job, tables->now = now, tools->compare = program_compare;
  for (const int *number = (const int[]){SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, 0}; *number != 0; number++)
    signal(*number, SIG_DFL);
  return NULL;
}

const char *program_set_up(enum pkeys_mechanism mechanism, struct order *order, const struct order *order_seen,
                           struct block *blocks, size_t *block_count, struct program *out) {
  noted = blocks, noted_most = *block_count;
  orders = order_seen;
  guarded = program.has_trap = mechanism != PKEYS_MECHANISM_NONE;
  tables = calloc(1, sizeof *tables);
  if (tables == NULL || (tables->left_text = malloc(64)) == NULL) return "no memory";
  sem_init(&tables->work, 0, 0);
  sem_init(&tables->done, 0, 0);
  tables->log = fopen("/dev/null", "we");
  if (tables->log == NULL) return "no /dev/null";
  program.tools = order->tools = &tables->tools;
  const char *problem = set_up_libraries(&tables->tools);
  if (problem == NULL) problem = set_up_image(mechanism, order);
  /* A callee's block with neighbours, and one that it has freed. */
  char *buffer = note(malloc(200)), *freed = malloc(200), *behind = malloc(200);
  order->overruns[OVERRUN_HEAP] = buffer + 200;
  order->stales[STALE_FREED] = freed;
  free(freed);
  if (behind == NULL) return "no memory";
  if (problem == NULL) problem = set_up_calls(&tables->tools);
  *block_count = noted_count;
  noted = NULL; /* the trials' copies have no such table */
  *out = program;
  return problem;
}
