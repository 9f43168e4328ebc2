/*
 * node.c: the foreign code of a campaign on Node itself, and the warm process that its trials are forked from. Node
 * runs guarded (native/host) and calls node_job, which calls back into JavaScript; that calls `serve`, a function of
 * Node-API, and stays there for good. Each trial is a fork of Node there: it returns into the callee, which makes its
 * stray store, then into JavaScript, and works on (src/campaign/node-program.ts). The fork is the VM's own, since a
 * child that a callee forks is nobody's VM.
 *
 * A fork has the calling thread alone. V8 is told to use no other, and what only Node's helper threads use (their
 * stacks, their malloc arenas) is part of no stratum.
 *
 * "With nothing" (`none`) is Node under `flag` whose trial puts the default actions of the trap's signals back before
 * the store. So all of memory lies where it lies under the other mechanisms, and the faults are the same.
 */
#define _GNU_SOURCE
#include "node.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <node_api.h>

#include "pkeys.h"
#include "serve.h"

#define API __attribute__((visibility("default")))
#define VALUES 5
#define MOST_RANGES_OF_V8 1024
#define MALLOC_BLOCK 200

typedef int compare_function(const void *, const void *);
typedef void again_function(void);

/* What only the warm process knows. In memory that fork(2) leaves out. */
struct landmarks {
  struct block v8[MOST_RANGES_OF_V8];
  unsigned char space[MOST_RANGES_OF_V8]; /* as the adapter of Node numbers them: 0 objects, 1 code, 2 read-only */
  struct image image;
  struct block tls, code, lent;
  uintptr_t callee_local;
  struct strata own; /* for digests: the plan's strata stay as they are */
};
static struct landmarks *marks;

static const struct order *order;
static bool is_bare;

/* The sizes of what JavaScript reads and writes of an event (src/campaign/node-program.ts). */
_Static_assert(sizeof(struct event) == 64 && offsetof(struct event, unit) == 4 && offsetof(struct event, signal) == 8 &&
                   offsetof(struct event, code) == 12 && offsetof(struct event, pkey) == 16 &&
                   offsetof(struct event, error) == 20 && offsetof(struct event, address) == 32 &&
                   offsetof(struct event, pc) == 40 && offsetof(struct event, answer) == 48,
               "node-program.ts writes events by these offsets");

/* ---- strata ------------------------------------------------------------------------------------------------------ */

#define NAME(id, name) name,
static const struct fault_space space = {
    .strata = NODE_STRATUM_COUNT,
    .names = {NODE_STRATA(NAME)},
    .kinds = {[NODE_UNMAPPED] = KIND_UNMAPPED, [NODE_OVERRUN] = KIND_OVERRUN},
    .favours_first = true,
    .overruns = OVERRUN_LENT + 1, /* malloc's block, the callee's frame, the Buffer that is lent */
};
#undef NAME

/* Where V8's heap lies: what the preloaded library has adopted. */
static void find_heap(void) {
  typedef bool next_function(uintptr_t, struct pkeys_range *);
  void *symbol = dlsym(RTLD_DEFAULT, "pkeys_range_next");
  if (symbol == NULL) serve_refuse("Node runs unguarded: libturnkey-host.so is not preloaded");
  next_function *next;
  memcpy(&next, &symbol, sizeof next);
  struct pkeys_range range;
  size_t count = 0;
  for (uintptr_t at = 0; next(at, &range); at = range.address + range.bytes) {
    if (count == MOST_RANGES_OF_V8) serve_refuse("V8's heap has too many ranges");
    marks->space[count] = (unsigned char)range.space;
    marks->v8[count++] = (struct block){range.address, range.bytes};
  }
  if (count == 0) serve_refuse("V8's heap is not known: Node runs under none");
  marks->image = (struct image){.blocks = marks->v8, .count = count, .is_live = true};
}

static int v8_range(uintptr_t address) {
  for (size_t i = 0; i < marks->image.count; i++)
    if (address - marks->v8[i].address < marks->v8[i].bytes) return (int)i;
  return -1;
}

/* The stratum of a page that is not V8's; -1: memory of the helper threads, or the tool's own. */
static int stratum_of(const struct mapping *mapping, const struct mapping *owner) {
  if (marks->callee_local - mapping->from < mapping->to - mapping->from) return NODE_FOREIGN;
  if (strata_has(mapping, "[stack]")) return NODE_STACK;
  if (strata_has(mapping, "[heap]")) return NODE_MALLOC;
  if (owner->path_bytes == 0) return -1;
  if (strata_has(owner, "libturnkey_node_stray")) return NODE_CALLEE;
  if (strata_has(owner, "turnkey.node") || strata_has(owner, "libturnkey")) return NODE_TURNKEY;
  if (strata_has(owner, ".node")) return NODE_ADDON;
  return strata_has(owner, ".so") ? NODE_LIBC : NODE_NODE;
}

static void take_page(const struct mapping *mapping, const struct mapping *owner, uintptr_t page, bool exists,
                      struct strata *out) {
  uintptr_t end = page + PAGE_BYTES;
  int range = v8_range(page), stratum = range < 0 ? stratum_of(mapping, owner) : marks->space[range];
  const struct block *tls = &marks->tls;
  if (range < 0 && tls->address < end && tls->address + tls->bytes > page) {
    strata_add_split(out, NODE_LIBC, NODE_TLS, tls, 1, page, end);
    return;
  }
  if (stratum < 0 || (range >= 0 && stratum > NODE_CODE)) return;
  if (!exists) strata_add(out, NODE_UNTOUCHED, page, end);
  else if (stratum == NODE_MALLOC) strata_add_split(out, NODE_MALLOC, NODE_LENT, &marks->lent, 1, page, end);
  else strata_add(out, stratum, page, end);
}

static void look(pid_t trial, const struct outcome *outcome, struct strata *out) {
  marks->callee_local = outcome->callee.address;
  strata_read(trial, take_page, out);
}

/* Whole mappings: which of their pages exist may differ by a mechanism's own work. */
static void take_extent(const struct mapping *mapping, const struct mapping *owner, uintptr_t page, bool exists,
                        struct strata *out) {
  (void)exists;
  int stratum = v8_range(page) < 0 ? stratum_of(mapping, owner) : -1;
  /* malloc's heap grows upwards, and the stack downwards */
  if (stratum == NODE_MALLOC && page != mapping->from) return;
  if (stratum == NODE_STACK && page + PAGE_BYTES != mapping->to) return;
  if (stratum >= 0 && stratum != NODE_TURNKEY) strata_add(out, stratum, page, page + PAGE_BYTES);
}

/* A digest of the memory that the campaign knows: helper threads' stacks lie now here, now there. V8's heap is taken by
 * the ranges that were adopted, since what a mechanism closes is no longer writable. */
static uint64_t digest(pid_t trial, const struct outcome *outcome, struct strata *out) {
  struct strata *own = &marks->own;
  marks->callee_local = outcome->callee.address;
  strata_read(trial, take_extent, own);
  for (size_t i = 0; i < marks->image.count; i++)
    strata_add(own, marks->space[i], marks->v8[i].address, marks->v8[i].address + marks->v8[i].bytes);
  strata_mapped(trial, out);
  return strata_digest(own);
}

/* ---- the subject ------------------------------------------------------------------------------------------------- */

static char *lent_now, *malloc_block;
static uint32_t lent_bytes;

static const struct image *set_up(const char *mechanism, struct order *mine, const struct order *seen) {
  order = seen;
  is_bare = strcmp(mechanism, "none") == 0;
  mine->overruns[OVERRUN_HEAP] = malloc_block + MALLOC_BLOCK;
  mine->overruns[OVERRUN_LENT] = lent_now + lent_bytes;
  marks->lent = (struct block){(uintptr_t)lent_now, lent_bytes};
  marks->tls = strata_tls();
  marks->code = strata_code((uintptr_t)set_up);
  find_heap();
  return &marks->image;
}

static bool closed(uint64_t address, int code) {
  return v8_range(address) >= 0 && (code == SEGV_PKUERR || code == SEGV_ACCERR);
}
static bool foreign(uint64_t pc) { return pc - marks->code.address < marks->code.bytes; }

static const struct subject node = {
    .space = &space, .set_up = set_up, .look = look, .digest = digest, .closed = closed, .foreign = foreign};

/* ---- what JavaScript calls --------------------------------------------------------------------------------------- */

/* The order's pipes: events, go, gone. -1 outside of a trial; the others do nothing there. */
API int node_pipe(int which);
/* Whether the store is yet to come, from a thread of this library's. */
API int node_is_late(void);
API void node_again(void);
API uint64_t node_job(char *lent, uint32_t bytes, compare_function *compare, again_function *again, int stray);

int node_pipe(int which) {
  if (order == NULL) return -1;
  return which == 0 ? order->events : which == 1 ? order->go[1] : order->gone[0];
}

int node_is_late(void) { return order != NULL && order->active && order->fault.moment == MOMENT_AFTER; }

/* A callout nested in a callback. */
void node_again(void) {
  if (order != NULL) stray_moment(order, MOMENT_CALLBACK);
}

static uint64_t hash(uint64_t so_far, const void *bytes, size_t count) {
  for (size_t at = 0; at < count; at++) so_far = (so_far ^ ((const uint8_t *)bytes)[at]) * 0x100000001b3u;
  return so_far;
}

/* With nothing: a fault ends the process. */
static void disarm(void) {
  for (const int *number = (const int[]){SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, 0}; *number != 0; number++)
    signal(*number, SIG_DFL);
}

/* Hashes what the program has lent, sorts with a comparison of the program's, and fills what was lent. With `stray`,
 * the warm process stays in the first callback, and each trial comes back from there. */
uint64_t node_job(char *lent, uint32_t bytes, compare_function *compare, again_function *again, int stray) {
  if (stray) {
    lent_now = lent, lent_bytes = bytes;
    again(); /* serves; a trial comes back */
    if (is_bare) disarm();
    stray_pause(order);
    stray_moment(order, MOMENT_BEFORE);
    stray_moment(order, MOMENT_AFTER);
  }
  uint64_t result = hash(0xcbf29ce484222325u, lent, bytes), values[VALUES];
  for (int at = 0; at < VALUES; at++) values[at] = hash(result, &at, sizeof at) >> 12;
  if (stray) {
    stray_moment(order, MOMENT_MIDDLE);
    stray_moment(order, MOMENT_THREAD);
    again();
  }
  qsort(values, VALUES, sizeof *values, compare);
  result = hash(result, values, sizeof values);
  for (uint32_t at = 0; at < bytes; at++) lent[at] = (char)(result >> at % 56);
  if (stray) stray_moment(order, MOMENT_END);
  return result >> 12; /* a JavaScript number */
}

/* ---- what serves ------------------------------------------------------------------------------------------------- */

/* V8 leaves its heap out of forks, for the sake of programs that it starts (madvise(2), MADV_DONTFORK). */
static void keep_in_forks(void) {
  static struct block all[MOST_MAPPINGS];
  size_t count = strata_mappings(getpid(), all, MOST_MAPPINGS, false);
  for (size_t i = 0; i < count; i++) madvise((void *)all[i].address, all[i].bytes, MADV_DOFORK);
}

/* glibc's pthread_cond_t, by its sysdeps/nptl/bits/thread-shared-types.h: waiters sleep on the words of `signals`. */
struct condition {
  uint64_t sequence, group_start;
  uint32_t references[2], sizes[2], original_size, waiters, signals[2];
};
_Static_assert(sizeof(struct condition) == sizeof(pthread_cond_t), "as in glibc 2.25 and later");
#define MOST_WAITED 64
static struct condition *waited[MOST_WAITED];
static int waited_count;

/* The condition variables on which Node's helper threads sleep: a thread that signals one waits for threads that a fork
 * does not have. proc(5): /proc/PID/task/TID/syscall. */
static void find_waited(void) {
  DIR *threads = opendir("/proc/self/task");
  for (struct dirent *entry; threads != NULL && (entry = readdir(threads)) != NULL;) {
    char path[320], text[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%s/syscall", entry->d_name);
    FILE *file = fopen(path, "re");
    if (file == NULL) continue;
    unsigned long number, word;
    bool sleeps = fgets(text, sizeof text, file) != NULL && sscanf(text, "%lu 0x%lx", &number, &word) == 2;
    fclose(file);
    if (!sleeps || number != SYS_futex || waited_count == MOST_WAITED) continue;
    struct condition *condition = (struct condition *)(word - offsetof(struct condition, signals) - word % 8);
    /* Semaphores have futexes too, but no count of waiters there. */
    if (condition->waiters >> 3 >= 1 && condition->waiters >> 3 <= MOST_WAITED) waited[waited_count++] = condition;
  }
  if (threads != NULL) closedir(threads);
}

/* In a trial: conditions with no one waiting. Which clock they use is kept. */
static void forget_waiters(void) {
  for (int i = 0; i < waited_count; i++) *waited[i] = (struct condition){.waiters = waited[i]->waiters & 3};
}

/* Returns in each trial. */
static napi_value serve_node(napi_env environment, napi_callback_info info) {
  (void)environment, (void)info;
  keep_in_forks();
  find_waited();
  marks = serve_memory(sizeof *marks);
  malloc_block = malloc(MALLOC_BLOCK);
  if (malloc_block == NULL || !serve(&node, NULL)) _exit(0);
  forget_waiters();
  return NULL;
}

/* Node's own way out waits for its threads; and to Node, process.pid is still the warm process. */
static napi_value end_trial(napi_env environment, napi_callback_info info) {
  (void)environment, (void)info;
  kill(getpid(), SIGKILL);
  return NULL;
}

API napi_value napi_register_module_v1(napi_env environment, napi_value exports);
napi_value napi_register_module_v1(napi_env environment, napi_value exports) {
  const struct {
    const char *name;
    napi_callback function;
  } all[] = {{"serve", serve_node}, {"end", end_trial}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    napi_value function;
    if (napi_create_function(environment, all[i].name, NAPI_AUTO_LENGTH, all[i].function, NULL, &function) != napi_ok ||
        napi_set_named_property(environment, exports, all[i].name, function) != napi_ok)
      return NULL;
  }
  return exports;
}
