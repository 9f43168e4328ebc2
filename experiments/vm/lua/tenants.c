/*
 * tenants.c: turnkey-lua-tenants: a thousand Lua states in one process, each with its heap in an image of its own, or
 * each in a process of its own. native/pkeys/pkeys_virtual.h; Lua 5.4 reference manual, lua_newstate.
 *
 *   turnkey-lua-tenants WAY TENANTS OPERATIONS MEASURE [POLICY]
 *   WAY      virtual   an image with a virtual key each
 *            shared    one ordinary image, with one key, holds all heaps
 *            mprotect  two mprotect calls for each visit, and two for each callout
 *            none      no image is closed, and there is no trap
 *            process   a process each, asked over a pair of pipes
 *   MEASURE  start     one tenant from nothing to loaded; visit: one request, the mean over OPERATIONS
 *
 * A request goes to a tenant drawn by Zipf's law: its Lua code updates a table and makes one callout. First, tenant 0
 * calls a function of its own, which may write its heap (TRAP_INSIDE), and which stores into every other tenant's heap:
 * `stray` stores, of which `landed` are found there. One line of JSON: samples in ns, and what was observed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "heap.h"
#include "pkeys.h"
#include "trap.h"

#define MOST 1024
#define HEAP_BYTES ((size_t)1 << 20)
#define MARK_OFFSET (HEAP_BYTES - 64) /* at the end of a heap: never handed out, as no heap gets that full */

enum way { VIRTUAL, SHARED, MPROTECT, NONE, PROCESS };
static const char *const ways[] = {"virtual", "shared", "mprotect", "none", "process"};

static enum way way;
static struct tenant {
  struct pkeys_image *image;
  char *memory;
  lua_State *lua;
  int ask, answer; /* of a process */
} tenants[MOST];
static size_t count;
static struct tenant *now;
static uint64_t (*add)(uint64_t, uint64_t);

static const char program[] = "local kept = {}\n"
                              "function request(n)\n"
                              "  kept[n % 16 + 1] = {n, tostring(n)}\n"
                              "  return add(n, #kept)\n"
                              "end\n";

static _Noreturn void die(const char *what, int error) {
  fprintf(stderr, "turnkey-lua-tenants: %s: %s\n", what, strerror(error < 0 ? -error : error));
  exit(1);
}

/* ---- the way in and out of a tenant ---- */

static void protect(const struct tenant *tenant, int access) {
  if (mprotect(tenant->memory, HEAP_BYTES, access)) die("mprotect", errno);
}
static void enter(struct tenant *tenant) {
  now = tenant;
  int error = way == VIRTUAL ? trap_enter_image(tenant->image) : 0;
  if (error) die("enter", error);
  if (way == MPROTECT) protect(tenant, PROT_READ | PROT_WRITE);
}
static void leave(void) {
  if (way == MPROTECT) protect(now, PROT_READ);
}

static __attribute__((noinline)) uint64_t callee_add(uint64_t a, uint64_t b) { return a + b; }
static __attribute__((noinline)) uint64_t callee_store(volatile uint64_t *at) {
  *at = 0x4141414141414141u;
  return 1;
}

static int lua_add(lua_State *lua) {
  uint64_t a = (uint64_t)luaL_checkinteger(lua, 1), b = (uint64_t)luaL_checkinteger(lua, 2);
  if (way == MPROTECT) protect(now, PROT_READ);
  uint64_t sum = add(a, b);
  if (way == MPROTECT) protect(now, PROT_READ | PROT_WRITE);
  lua_pushinteger(lua, (lua_Integer)sum);
  return 1;
}

/* ---- a tenant ---- */

static int never_grows(void *context, size_t bytes) {
  (void)context;
  (void)bytes;
  return -ENOMEM;
}
static void *allocate(void *context, void *block, size_t old, size_t bytes) {
  (void)old;
  struct heap *heap = context;
  if (bytes) return heap_reallocate(heap, block, bytes);
  if (block) heap_free(heap, block);
  return NULL;
}

static void map(size_t i) {
  struct tenant *tenant = &tenants[i];
  if (way == NONE || way == PROCESS || way == MPROTECT) {
    tenant->memory = mmap(NULL, HEAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (tenant->memory == MAP_FAILED) die("mmap", errno);
    return;
  }
  if (way == SHARED && i > 0) {
    tenant->memory = tenants[0].memory + i * HEAP_BYTES;
    return;
  }
  size_t bytes = way == SHARED ? count * HEAP_BYTES : HEAP_BYTES;
  const struct pkeys_space_request request = {.name = "heap", .bytes = bytes, .reserve_bytes = bytes};
  struct pkeys_space space;
  int error = pkeys_image_map(&request, 1, way == SHARED ? PKEYS_KEY_PER_IMAGE : PKEYS_KEY_VIRTUAL, &tenant->image,
                              NULL);
  if (error == 0) error = pkeys_image_set_mechanism(tenant->image, PKEYS_MECHANISM_PKEYS);
  if (error == 0) error = pkeys_image_space(tenant->image, 0, &space);
  if (error) die("an image", error);
  tenant->memory = (char *)space.address;
}

static void start(size_t i) {
  struct tenant *tenant = &tenants[i];
  map(i);
  enter(tenant);
  struct heap *heap = heap_create(tenant->memory, HEAP_BYTES - HEAP_PAGE, HEAP_BYTES - HEAP_PAGE, never_grows, NULL);
  if (!heap) die("a heap", ENOMEM);
  tenant->lua = lua_newstate(allocate, heap);
  if (!tenant->lua) die("a Lua state", ENOMEM);
  luaL_requiref(tenant->lua, "_G", luaopen_base, 1);
  lua_register(tenant->lua, "add", lua_add);
  if (luaL_dostring(tenant->lua, program)) die(lua_tostring(tenant->lua, -1), EINVAL);
  lua_settop(tenant->lua, 0);
  leave();
}

static uint64_t ask(struct tenant *tenant, uint64_t n) {
  enter(tenant);
  lua_getglobal(tenant->lua, "request");
  lua_pushinteger(tenant->lua, (lua_Integer)n);
  if (lua_pcall(tenant->lua, 1, 1, 0)) die(lua_tostring(tenant->lua, -1), EINVAL);
  uint64_t result = (uint64_t)lua_tointeger(tenant->lua, -1);
  lua_settop(tenant->lua, 0);
  leave();
  return result;
}

/* ---- a process each ---- */

static void serve(size_t i, int in, int out) {
  uint64_t n;
  start(i);
  n = 0;
  if (write(out, &n, sizeof n) != sizeof n) _exit(1);
  while (read(in, &n, sizeof n) == sizeof n) {
    n = ask(&tenants[i], n);
    if (write(out, &n, sizeof n) != sizeof n) _exit(1);
  }
  _exit(0);
}
static void start_process(size_t i) {
  int in[2], out[2];
  uint64_t ready;
  if (pipe(in) || pipe(out)) die("pipe", errno);
  pid_t child = fork();
  if (child < 0) die("fork", errno);
  if (child == 0) {
    for (size_t k = 0; k < i; k++) close(tenants[k].ask), close(tenants[k].answer);
    close(in[1]);
    close(out[0]);
    serve(i, in[0], out[1]);
  }
  close(in[0]);
  close(out[1]);
  tenants[i].ask = in[1];
  tenants[i].answer = out[0];
  if (read(out[0], &ready, sizeof ready) != sizeof ready) die("a process", EPIPE);
}
static uint64_t ask_process(struct tenant *tenant, uint64_t n) {
  if (write(tenant->ask, &n, sizeof n) != sizeof n || read(tenant->answer, &n, sizeof n) != sizeof n)
    die("a process", EPIPE);
  return n;
}

/* ---- what is measured ---- */

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Memory that nobody had free before, in bytes: of this process, or of the whole machine where tenants are processes.
 */
static uint64_t memory_used(void) {
  char line[256];
  unsigned long long kib = 0, total = 0, available = 0;
  if (way == PROCESS) {
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && fgets(line, sizeof line, file)) {
      sscanf(line, "MemTotal: %llu", &total);
      sscanf(line, "MemAvailable: %llu", &available);
    }
    if (file) fclose(file);
    return (total - available) * 1024;
  }
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  while (file && fgets(line, sizeof line, file)) sscanf(line, "Pss: %llu", &kib);
  if (file) fclose(file);
  return kib * 1024;
}

static uint64_t random_state = 88172645463325252u;
static size_t zipf(void) {
  static double upto[MOST];
  static double sum;
  for (size_t k = 0; sum == 0 || (k > 0 && k < count); k++) upto[k] = sum += 1.0 / (double)(k + 1);
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  double at = (double)(random_state >> 11) / 9007199254740992.0 * sum;
  size_t low = 0, high = count - 1;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (upto[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

static uint64_t *mark_of(size_t i) { return (uint64_t *)(void *)(tenants[i].memory + MARK_OFFSET); }

/* Tenant 0's own code stores into every other heap. How many stores landed. */
static size_t stray(void) {
  void *code;
  size_t landed = 0;
  int error = trap_thunk((const void *)(uintptr_t)callee_store, 0, way == VIRTUAL ? TRAP_INSIDE : TRAP_BARE, NULL,
                         &code);
  if (error) die("a thunk", error);
  uint64_t (*store)(volatile uint64_t *) = (uint64_t (*)(volatile uint64_t *))(uintptr_t)code;
  for (size_t i = 1; i < count; i++) {
    struct trap_fault fault;
    if (i % 2) { /* every second stranger is resident */
      enter(&tenants[i]);
      leave();
    }
    enter(&tenants[0]);
    if (store(mark_of(0)) != 1) die("a tenant's own store", EFAULT);
    store(mark_of(i));
    trap_take_fault(&fault);
    leave();
    landed += *mark_of(i) != 0;
  }
  return landed;
}

int main(int argc, char **argv) {
  while (argc > 2 && (size_t)way < sizeof ways / sizeof *ways && strcmp(argv[1], ways[way])) way++;
  if (argc < 5 || way > PROCESS || (count = strtoul(argv[2], NULL, 10)) < 2 || count > MOST) {
    fprintf(stderr, "usage: turnkey-lua-tenants virtual|shared|mprotect|none|process TENANTS OPERATIONS start|visit "
                    "[POLICY]\n");
    return 2;
  }
  uint64_t operations = strtoull(argv[3], NULL, 10);
  struct pkeys_virtual_options options = {.policy = PKEYS_POLICY_LRU};
  if (argc > 5 && pkeys_policy_parse(argv[5], &options.policy)) die("policy", EINVAL);
  add = callee_add;
  bool trap = way == VIRTUAL || way == SHARED || way == MPROTECT;
  if (trap) {
    int error = trap_init();
    void *code = NULL;
    if (error == 0) error = pkeys_virtual_configure(&options);
    if (error == 0) error = trap_thunk((const void *)(uintptr_t)callee_add, 0, 0, NULL, &code);
    if (error) die("the trap", error);
    add = (uint64_t (*)(uint64_t, uint64_t))(uintptr_t)code;
  }
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  if (way == SHARED) map(0);
  uint64_t memory = memory_used(), began = now_ns();
  for (size_t i = 0; i < count; i++) way == PROCESS ? start_process(i) : start(i);
  uint64_t started = now_ns() - began;
  memory = (memory_used() - memory) / count;
  size_t landed = trap ? stray() : 0;
  struct trap_visits before = trap ? trap_visits() : (struct trap_visits){0, 0};
  static uint16_t sequence[65536];
  for (size_t i = 0; i < sizeof sequence / sizeof *sequence; i++) sequence[i] = (uint16_t)zipf();
  began = now_ns();
  for (uint64_t n = 0; n < operations; n++) {
    struct tenant *tenant = &tenants[sequence[n % (sizeof sequence / sizeof *sequence)]];
    uint64_t answer = way == PROCESS ? ask_process(tenant, n) : ask(tenant, n);
    if (answer < n || answer > n + 16) die("a wrong answer", EINVAL);
  }
  double each = (double)(now_ns() - began) / (double)(operations ? operations : 1);
  struct trap_visits after = trap ? trap_visits() : (struct trap_visits){0, 0};
  bool visits = strcmp(argv[4], "start") != 0;
  printf(
      "{\"samples\":[%.1f],\"repeats\":1,\"observed\":{\"startedNs\":%llu,\"memoryPerTenant\":%llu,\"operations\":%llu,"
      "\"misses\":%llu,\"stray\":%zu,\"landed\":%zu}}\n",
      visits ? each : (double)started / (double)count, (unsigned long long)started, (unsigned long long)memory,
      (unsigned long long)operations, (unsigned long long)(after.misses - before.misses), trap ? count - 1 : 0, landed);
  return 0;
}
