/*
 * gate_bench_rows.c: the rows of one process of turnkey-gate-bench: raw calls, and the same calls under one mechanism.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "gate_bench.h"
#include "trap.h"

struct row rows[MAX_ROWS];
int row_count;
static int raw0, raw6, raw12;

static int add(struct row row) {
  if (row_count == MAX_ROWS) abort();
  rows[row_count] = row;
  return row_count++;
}
static void *thunk_of(void *target, size_t bytes, unsigned flags) {
  void *code = NULL;
  int rc = trap_thunk(target, bytes, flags, NULL, &code);
  if (rc < 0) {
    fprintf(stderr, "turnkey-gate-bench: trap_thunk: %s\n", strerror(-rc));
    exit(1);
  }
  return code;
}
static void add_gate(const char *name, const char *mechanism, bool foreign, unsigned flags, bool costly) {
  bool floats = (flags & TRAP_FLOAT) != 0;
  add((struct row){.name = name,
                   .mechanism = mechanism,
                   .foreign = foreign,
                   .floats = floats,
                   .arguments = 0,
                   .run = fresh_loop(0),
                   .function = thunk_of((void *)callee0, 0, flags),
                   .raw = raw0,
                   .costly = costly});
  add((struct row){.name = name,
                   .mechanism = mechanism,
                   .foreign = foreign,
                   .floats = floats,
                   .arguments = 6,
                   .run = fresh_loop(6),
                   .function = thunk_of((void *)callee6, 0, flags),
                   .raw = raw6,
                   .costly = costly});
  add((struct row){.name = name,
                   .mechanism = mechanism,
                   .foreign = foreign,
                   .floats = floats,
                   .arguments = 12,
                   .run = fresh_loop(12),
                   .function = thunk_of((void *)callee12, 48, flags),
                   .raw = raw12,
                   .costly = costly});
}

/* A gate is compared with the raw call in the same loop. */
static void add_raw(void) {
  raw0 = add((struct row){
      .name = "raw", .mechanism = "none", .arguments = 0, .run = fresh_loop(0), .function = (void *)callee0});
  raw6 = add((struct row){
      .name = "raw", .mechanism = "none", .arguments = 6, .run = fresh_loop(6), .function = (void *)callee6});
  raw12 = add((struct row){
      .name = "raw", .mechanism = "none", .arguments = 12, .run = fresh_loop(12), .function = (void *)callee12});
  rows[raw0].raw = raw0, rows[raw6].raw = raw6, rows[raw12].raw = raw12;
}

/* What is done without a guard: sigsetjmp around the call, once and with eight functions in turn; the gate likewise. */
static void add_sigsetjmp(const char *mechanism) {
  int raw_volatile = add((struct row){.name = "raw in sigsetjmp's loop",
                                      .mechanism = "none",
                                      .arguments = 6,
                                      .run = volatile_raw,
                                      .function = (void *)callee6});
  rows[raw_volatile].raw = raw6;
  add((struct row){.name = "sigsetjmp(buf, 0)",
                   .mechanism = "none",
                   .arguments = 6,
                   .run = sigsetjmp0,
                   .function = (void *)callee6,
                   .raw = raw_volatile});
  add((struct row){.name = "sigsetjmp(buf, 1)",
                   .mechanism = "none",
                   .arguments = 6,
                   .run = sigsetjmp1,
                   .function = (void *)callee6,
                   .raw = raw_volatile});
  int raw_turn = add(
      (struct row){.name = "raw, 8 functions in turn", .mechanism = "none", .arguments = 6, .run = turn_raw});
  rows[raw_turn].raw = raw_turn;
  add((struct row){.name = "sigsetjmp(buf, 0), 8 functions in turn",
                   .mechanism = "none",
                   .arguments = 6,
                   .run = turn_sigsetjmp,
                   .raw = raw_turn});
  for (int i = 0; i < IN_TURN; i++) guarded_others[i] = (function6 *)(uintptr_t)thunk_of((void *)others[i], 0, 0);
  add((struct row){.name = "gate, 8 functions in turn",
                   .mechanism = mechanism,
                   .foreign = true,
                   .arguments = 6,
                   .run = turn_gate,
                   .raw = raw_turn});
  add((struct row){.name = "gate in sigsetjmp's loop",
                   .mechanism = mechanism,
                   .foreign = true,
                   .arguments = 6,
                   .run = volatile_gate,
                   .function = thunk_of((void *)callee6, 0, 0),
                   .raw = raw_volatile});
}

static void add_callbacks(const char *name, bool costly) {
  void *callback = NULL;
  if (trap_callback((void *)callee0, 0, &callback) == 0)
    add((struct row){.name = "callout with a callback",
                     .mechanism = name,
                     .foreign = true,
                     .arguments = 1,
                     .run = fresh_parameter_loop(),
                     .function = thunk_of((void *)calling_back, 0, 0),
                     .parameter = callback,
                     .raw = raw0,
                     .costly = costly});
  if (trap_callback(thunk_of((void *)callee0, 0, 0), 0, &callback) == 0)
    add((struct row){.name = "callout, callback, callout",
                     .mechanism = name,
                     .foreign = true,
                     .arguments = 1,
                     .run = fresh_parameter_loop(),
                     .function = thunk_of((void *)calling_back, 0, 0),
                     .parameter = callback,
                     .raw = raw0,
                     .costly = costly});
}

static struct pkeys_image *image;
static int map_image(size_t pages, enum pkeys_mechanism mechanism) {
  struct pkeys_space_request request = {
      .name = "old", .bytes = pages * PKEYS_PAGE, .reserve_bytes = pages * PKEYS_PAGE};
  struct pkeys_space space;
  int rc = pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, NULL);
  if (rc == 0) rc = pkeys_image_space(image, 0, &space);
  if (rc == 0) {
    madvise((void *)space.address, space.bytes, MADV_NOHUGEPAGE);
    memset((void *)space.address, 1, space.bytes);
    rc = pkeys_image_set_mechanism(image, mechanism);
  }
  return rc;
}

int rows_set_up(enum pkeys_mechanism mechanism, size_t pages) {
  const char *name = pkeys_mechanism_name(mechanism);
  bool keyed = mechanism == PKEYS_MECHANISM_PKEYS || mechanism == PKEYS_MECHANISM_PKEYS_GLIBC;
  int rc = keyed && !pkeys_supported() ? -EOPNOTSUPP : trap_init();
  if (rc == 0) rc = map_image(pages, mechanism);
  if (rc != 0) return rc;
  if (mechanism == PKEYS_MECHANISM_PKEYS) own_key = pkey_alloc(0, 0);
  add_raw();
  bool fast = mechanism == PKEYS_MECHANISM_FLAG || mechanism == PKEYS_MECHANISM_PKEYS;
  if (fast) {
    add_gate("gate", name, true, 0, false);
    add_gate("gate", name, true, TRAP_FLOAT, false);
    add_gate("gate", name, false, 0, false);
    add_gate("gate", name, false, TRAP_FLOAT, false);
  } else {
    add_gate("gate", name, true, 0, true);
  }
  if (mechanism == PKEYS_MECHANISM_FLAG) add_sigsetjmp(name);
  if (own_key > 0)
    add((struct row){.name = "glibc pkey_set pair",
                     .mechanism = "none",
                     .arguments = 6,
                     .run = pkey_set_pair,
                     .function = (void *)callee6,
                     .raw = raw6});
  add_callbacks(name, !fast);
  add((struct row){.name = "fault, recovered",
                   .mechanism = name,
                   .foreign = true,
                   .arguments = 0,
                   .run = fresh_loop(0),
                   .function = thunk_of((void *)faulting, 0, 0),
                   .raw = raw0,
                   .costly = true});
  return 0;
}
