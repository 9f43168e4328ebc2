/*
 * turnkey.c: the Lua module `turnkey`: what the VM knows of itself. For scripts that want to see how they are
 * protected, and for experiments.
 *
 *   turnkey.mechanism  .deny  .lane
 *   turnkey.check()         the allocator's own walk: true, or nil and what is wrong
 *   turnkey.walk()          from the registry to every object there is, reading each: a table of counts by type
 *   turnkey.statistics()    callouts, callbacks, faults, the heap, bystanders of mprotect
 *   turnkey.spaces()        name, address, bytes, key of each
 *   turnkey.examined(f, …)  calls f; what its first callout changed in the heap: turnkey.difference()
 *   turnkey.address(value, part)   where a live object lies: what a wild pointer might be
 *   turnkey.spawn(source, …)       another Lua state on another thread, with an image of its own: :join()
 *   turnkey.clock()         seconds, monotonic
 *   turnkey.tell(line)      to the tracing runner of an experiment, where there is one
 */
#define _GNU_SOURCE
#include "vm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREAD_TYPE "turnkey.thread"
#define THREAD_ARGUMENTS 8

static void number(lua_State *L, const char *name, uint64_t value) {
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, name);
}

static int check(lua_State *L) {
  const char *wrong = heap_check(vm_of(L)->heap);
  if (wrong != NULL) {
    lua_pushnil(L);
    lua_pushstring(L, wrong);
    return 2;
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int statistics(lua_State *L) {
  const struct vm *vm = vm_of(L);
  struct heap_statistics heap;
  heap_statistics(vm->heap, &heap);
  struct pkeys_bystanders bystanders = pkeys_bystanders();
  lua_newtable(L);
  number(L, "callouts", vm->callouts);
  number(L, "callbacks", vm->callbacks_run);
  number(L, "callbacksRefused", vm->callbacks_refused);
  number(L, "faults", vm->faults);
  number(L, "heapBlocks", heap.blocks);
  number(L, "heapBytes", heap.bytes);
  number(L, "heapPeakBytes", heap.peak_bytes);
  number(L, "heapCommittedBytes", heap.committed_bytes);
  number(L, "heapAllocations", heap.allocations);
  number(L, "heapGrows", heap.grows);
  number(L, "bystanderFaults", bystanders.faults);
  number(L, "bystanderWaitedNs", bystanders.waited_ns);
  number(L, "bystanderWindows", bystanders.windows);
  return 1;
}

static int spaces(lua_State *L) {
  const struct vm *vm = vm_of(L);
  lua_newtable(L);
  for (size_t i = 0; i < pkeys_image_space_count(vm->image); i++) {
    struct pkeys_space space;
    if (pkeys_image_space(vm->image, i, &space) < 0) continue;
    lua_newtable(L);
    lua_pushstring(L, space.name);
    lua_setfield(L, -2, "name");
    number(L, "address", space.address);
    number(L, "bytes", space.bytes);
    number(L, "key", (uint64_t)space.key);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int examined(lua_State *L) {
  struct vm *vm = vm_of(L);
  vm->examine = true;
  memset(&vm->difference, 0, sizeof vm->difference);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  vm->examine = false;
  return lua_gettop(L);
}

static int difference(lua_State *L) {
  const struct vm_difference *found = &vm_of(L)->difference;
  lua_newtable(L);
  number(L, "comparedBytes", found->compared_bytes);
  number(L, "changedBytes", found->changed_bytes);
  lua_newtable(L);
  for (unsigned i = 0; i < found->ranges; i++) {
    lua_newtable(L);
    number(L, "offset", found->range[i].offset);
    number(L, "bytes", found->range[i].bytes);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "ranges");
  return 1;
}

/*
 * Where things lie inside Lua's objects: lobject.h of Lua 5.4, whose layout is the same in 5.4.0 to 5.4.7. Only
 * experiments need it: nothing is protected by it.
 */
#define TABLE_ARRAY 16   /* Table: header 10, flags, lsizenode, alimit, array */
#define CLOSURE_PROTO 24 /* LClosure: header 10, nupvalues, gclist, p */

static int address(lua_State *L) {
  static const char *const parts[] = {"object", "bytes", "array", "upvalue", "proto", "state", NULL};
  enum { OBJECT, BYTES, ARRAY, UPVALUE, PROTO, STATE };
  const char *at = NULL;
  luaL_checkany(L, 1);
  switch (luaL_checkoption(L, 2, "object", parts)) {
    case BYTES: at = luaL_checkstring(L, 1); break;
    case ARRAY:
      luaL_checktype(L, 1, LUA_TTABLE);
      memcpy(&at, (const char *)lua_topointer(L, 1) + TABLE_ARRAY, sizeof at);
      break;
    case UPVALUE:
      luaL_argcheck(L, lua_isfunction(L, 1) && !lua_iscfunction(L, 1), 1, "no Lua function");
      at = lua_upvalueid(L, 1, (int)luaL_optinteger(L, 3, 1));
      break;
    case PROTO:
      luaL_argcheck(L, lua_isfunction(L, 1) && !lua_iscfunction(L, 1), 1, "no Lua function");
      memcpy(&at, (const char *)lua_topointer(L, 1) + CLOSURE_PROTO, sizeof at);
      break;
    case STATE: at = (const char *)L; break;
    default: at = lua_topointer(L, 1); break;
  }
  lua_pushinteger(L, (lua_Integer)(uintptr_t)at);
  return 1;
}

static int seconds(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
  return 1;
}

static int tell(lua_State *L) {
  const char *line = luaL_checkstring(L, 1), *watch = getenv("TURNKEY_WATCH_FD");
  if (watch != NULL) dprintf(atoi(watch), "%s\n", line);
  return 0;
}

/* ---- another state on another thread ------------------------------------------------------------------------- */

struct thread {
  pthread_t id;
  bool running;
  struct task *task; /* malloc's: two VMs see it, and it holds nothing of either */
};

struct task {
  struct vm_options options;
  char *source;
  char *argument[THREAD_ARGUMENTS];
  int count;
  char *answer;
  bool failed;
};

static char *copy_text(const char *text) {
  char *copy = strdup(text != NULL ? text : "");
  if (copy == NULL) abort();
  return copy;
}

static int task_body(lua_State *L) {
  struct task *task = lua_touserdata(L, 1);
  vm_libraries(L);
  if (luaL_loadstring(L, task->source) != LUA_OK) return lua_error(L);
  for (int i = 0; i < task->count; i++) lua_pushstring(L, task->argument[i]);
  lua_call(L, task->count, 1);
  luaL_tolstring(L, -1, NULL);
  return 1;
}

static int task_run(struct vm *vm, void *argument) {
  struct task *task = argument;
  lua_pushcfunction(vm->state, task_body);
  lua_pushlightuserdata(vm->state, task);
  task->failed = lua_pcall(vm->state, 1, 1, 0) != LUA_OK;
  task->answer = copy_text(luaL_tolstring(vm->state, -1, NULL));
  return 0;
}

static void *thread_main(void *argument) {
  struct task *task = argument;
  struct vm *vm;
  const char *why;
  int rc = vm_open(&task->options, &vm, &why);
  if (rc < 0) {
    char text[200];
    snprintf(text, sizeof text, "%s: %s", why, strerror(-rc));
    task->failed = true;
    task->answer = copy_text(text);
    return NULL;
  }
  vm_on_stack(vm, task_run, task);
  vm_close(vm);
  return NULL;
}

static int spawn(lua_State *L) {
  const char *source = luaL_checkstring(L, 1);
  int count = lua_gettop(L) - 1;
  luaL_argcheck(L, count <= THREAD_ARGUMENTS, THREAD_ARGUMENTS + 1, "too many arguments");
  for (int i = 0; i < count; i++) luaL_checkstring(L, i + 2);
  struct thread *thread = lua_newuserdatauv(L, sizeof *thread, 0);
  memset(thread, 0, sizeof *thread);
  luaL_setmetatable(L, THREAD_TYPE);
  struct task *task = calloc(1, sizeof *task);
  if (task == NULL) return luaL_error(L, "no memory for a thread");
  task->options = vm_of(L)->options;
  task->source = copy_text(source);
  task->count = count;
  for (int i = 0; i < count; i++) task->argument[i] = copy_text(lua_tostring(L, i + 2));
  thread->task = task;
  int rc = pthread_create(&thread->id, NULL, thread_main, task);
  if (rc != 0) return luaL_error(L, "no thread: %s", strerror(rc));
  thread->running = true;
  return 1;
}

static void wait_for(struct thread *thread) {
  if (thread->running) pthread_join(thread->id, NULL);
  thread->running = false;
}

/* thread:join(): what its source returned, as a string; its error is raised here. */
static int join(lua_State *L) {
  struct thread *thread = luaL_checkudata(L, 1, THREAD_TYPE);
  wait_for(thread);
  luaL_argcheck(L, thread->task != NULL && thread->task->answer != NULL, 1, "this thread has no answer");
  lua_pushstring(L, thread->task->answer);
  return thread->task->failed ? lua_error(L) : 1;
}

static int thread_gc(lua_State *L) {
  struct thread *thread = luaL_checkudata(L, 1, THREAD_TYPE);
  wait_for(thread);
  if (thread->task != NULL) {
    free(thread->task->source);
    free(thread->task->answer);
    for (int i = 0; i < thread->task->count; i++) free(thread->task->argument[i]);
    free(thread->task);
  }
  thread->task = NULL;
  return 0;
}

/* ---- the walk: in Lua, so that it goes the ways that Lua goes ------------------------------------------------ */

static const char walk_source[] =
    "local getmetatable, getregistry, getupvalue, getlocal, getuservalue = debug.getmetatable, debug.getregistry, "
    "debug.getupvalue, debug.getlocal, debug.getuservalue\n"
    "local getinfo, next, type, byte, rawlen = debug.getinfo, next, type, string.byte, rawlen\n"
    "return function()\n"
    "  local seen, todo, counts, sum = {}, {}, {}, 0\n"
    "  local function see(value)\n"
    "    local kind = type(value)\n"
    "    if kind == 'string' then\n"
    "      if seen[value] then return end\n"
    "      seen[value] = true\n"
    "      counts[kind] = (counts[kind] or 0) + 1\n"
    "      for i = 1, #value do sum = (sum * 31 + byte(value, i)) & 0xffffffff end\n"
    "    elseif kind == 'table' or kind == 'function' or kind == 'userdata' or kind == 'thread' then\n"
    "      if seen[value] then return end\n"
    "      seen[value] = true\n"
    "      counts[kind] = (counts[kind] or 0) + 1\n"
    "      todo[#todo + 1] = value\n"
    "    end\n"
    "  end\n"
    "  see(getregistry())\n"
    "  for _, basic in next, {'', 0, true, print} do see(getmetatable(basic)) end\n"
    "  while #todo > 0 do\n"
    "    local value = todo[#todo]\n"
    "    todo[#todo] = nil\n"
    "    local kind = type(value)\n"
    "    if value ~= seen and value ~= todo and value ~= counts then\n"
    "      see(getmetatable(value))\n"
    "      if kind == 'table' then\n"
    "        for key, item in next, value do see(key); see(item) end\n"
    "      elseif kind == 'function' then\n"
    "        for i = 1, 255 do\n"
    "          local name, item = getupvalue(value, i)\n"
    "          if name == nil then break end\n"
    "          see(item)\n"
    "        end\n"
    "      elseif kind == 'userdata' then\n"
    "        for i = 1, 255 do\n"
    "          local item, there = getuservalue(value, i)\n"
    "          if not there then break end\n"
    "          see(item)\n"
    "        end\n"
    "      else\n"
    "        for level = 0, 200 do\n"
    "          local info = getinfo(value, level, 'f')\n"
    "          if info == nil then break end\n"
    "          see(info.func)\n"
    "          for i = 1, 255 do\n"
    "            local name, item = getlocal(value, level, i)\n"
    "            if name == nil then break end\n"
    "            see(item)\n"
    "          end\n"
    "        end\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "  counts.digest = sum\n"
    "  return counts\n"
    "end\n";

int turnkey_open(lua_State *L) {
  static const luaL_Reg module[] = {{"check", check},           {"statistics", statistics},
                                    {"spaces", spaces},         {"examined", examined},
                                    {"difference", difference}, {"address", address},
                                    {"clock", seconds},         {"tell", tell},
                                    {"spawn", spawn},           {NULL, NULL}};
  const struct vm *vm = vm_of(L);
  luaL_newmetatable(L, THREAD_TYPE);
  lua_newtable(L);
  lua_pushcfunction(L, join);
  lua_setfield(L, -2, "join");
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, thread_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_newlib(L, module);
  if (luaL_loadstring(L, walk_source) != LUA_OK) lua_error(L);
  lua_call(L, 0, 1);
  lua_setfield(L, -2, "walk");
  lua_pushstring(L, pkeys_mechanism_name(vm->options.mechanism));
  lua_setfield(L, -2, "mechanism");
  lua_pushstring(L, vm->options.deny == PKEYS_NO_ACCESS ? "access" : "write");
  lua_setfield(L, -2, "deny");
  const char *lane = getenv("TURNKEY_LANE"); /* the emulated machine's agent sets it */
  lua_pushstring(L, lane != NULL ? lane : "native");
  lua_setfield(L, -2, "lane");
  return 1;
}
