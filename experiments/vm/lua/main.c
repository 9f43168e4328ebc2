/*
 * turnkey-lua: runs a Lua script whose every object lies behind the chosen mechanism.
 *
 *   turnkey-lua [--mechanism M] [--deny write|access] [--heap MiB] [--say] SCRIPT [ARGUMENT...]
 *
 * M is none, flag, mprotect-range, mprotect-page, pkeys, or auto (the default): keys where they are usable, else
 * mprotect-range; which, and why, is said on standard error, as it is with --say. Asked for by name, a mechanism is
 * never replaced by another. Exit codes: 0; 1: the script failed, or what it asked os.exit for; 2: wrong usage; 3: the
 * mechanism cannot be had here, and why.
 */
#define _GNU_SOURCE
#include "vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_SCRIPT = 1, EXIT_USAGE = 2, EXIT_MECHANISM = 3 };

struct job {
  char **words; /* script and arguments */
  int count;
};

static int traceback(lua_State *L) {
  if (lua_type(L, 1) == LUA_TSTRING) luaL_traceback(L, L, lua_tostring(L, 1), 1);
  else luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

static int body(lua_State *L) {
  const struct job *job = lua_touserdata(L, 1);
  vm_libraries(L);
  lua_createtable(L, job->count, 0);
  for (int i = 0; i < job->count; i++) {
    lua_pushstring(L, job->words[i]);
    lua_rawseti(L, -2, i);
  }
  lua_setglobal(L, "arg");
  const char *script = job->words[0], *slash = strrchr(script, '/');
  lua_getglobal(L, "package"); /* modules beside the script */
  lua_pushlstring(L, script, slash == NULL ? 0 : (size_t)(slash + 1 - script));
  lua_pushfstring(L, "%s?.lua;", lua_tostring(L, -1));
  lua_getfield(L, -3, "path");
  lua_concat(L, 2);
  lua_setfield(L, -3, "path");
  lua_settop(L, 1);
  if (luaL_loadfile(L, script) != LUA_OK) return lua_error(L);
  for (int i = 1; i < job->count; i++) lua_pushstring(L, job->words[i]);
  lua_call(L, job->count - 1, 0);
  return 0;
}

static int run(struct vm *vm, void *argument) {
  lua_State *L = vm->state;
  lua_pushcfunction(L, traceback);
  lua_pushcfunction(L, body);
  lua_pushlightuserdata(L, argument);
  if (lua_pcall(L, 1, 0, 1) == LUA_OK) return 0;
  const char *text = lua_tostring(L, -1);
  fprintf(stderr, "turnkey-lua: %s\n", text != NULL ? text : "an error without a message");
  return EXIT_SCRIPT;
}

static int usage(const char *what) {
  fprintf(stderr,
          "turnkey-lua: %s\nusage: turnkey-lua [--mechanism none|flag|mprotect-range|mprotect-page|pkeys|auto] [--deny "
          "write|access] [--heap MiB] [--say] SCRIPT [ARGUMENT...]\n",
          what);
  return EXIT_USAGE;
}

int main(int count, char **words) {
  struct vm_options options = {
      .mechanism = PKEYS_MECHANISM_UNSET, .deny = PKEYS_NO_WRITE, .heap_bytes = (size_t)256 << 20};
  bool say = false;
  int at = 1;
  for (; at < count && strncmp(words[at], "--", 2) == 0; at++) {
    const char *value = at + 1 < count ? words[at + 1] : "";
    if (strcmp(words[at], "--say") == 0) {
      say = true;
      continue;
    }
    if (strcmp(words[at], "--mechanism") == 0) {
      if (strcmp(value, "auto") != 0 && pkeys_mechanism_parse(value, &options.mechanism) < 0)
        return usage("there is no such mechanism");
    } else if (strcmp(words[at], "--deny") == 0) {
      if (strcmp(value, "write") != 0 && strcmp(value, "access") != 0) return usage("--deny is write or access");
      options.deny = strcmp(value, "access") == 0 ? PKEYS_NO_ACCESS : PKEYS_NO_WRITE;
    } else if (strcmp(words[at], "--heap") == 0) {
      char *end;
      long mebibytes = strtol(value, &end, 10);
      if (*end != '\0' || mebibytes < 4 || mebibytes > 1 << 17) return usage("--heap is a number of MiB, 4 or more");
      options.heap_bytes = (size_t)mebibytes << 20;
    } else {
      return usage("there is no such option");
    }
    at++;
  }
  if (at >= count) return usage("no script");

  const char *reason = "asked for";
  struct pkeys_probe probe;
  if (options.mechanism == PKEYS_MECHANISM_UNSET) {
    pkeys_probe(&probe);
    options.mechanism = probe.usable ? PKEYS_MECHANISM_PKEYS : PKEYS_MECHANISM_MPROTECT_RANGE;
    reason = probe.usable ? "auto: protection keys are usable" : probe.reason;
    say = true;
  }
  struct vm *vm;
  const char *why;
  int rc = vm_open(&options, &vm, &why);
  if (rc < 0) {
    bool keys = options.mechanism == PKEYS_MECHANISM_PKEYS || options.mechanism == PKEYS_MECHANISM_PKEYS_GLIBC;
    pkeys_probe(&probe);
    fprintf(stderr, "turnkey-lua: %s cannot be had: %s: %s%s%s\n", pkeys_mechanism_name(options.mechanism), why,
            strerror(-rc), keys && !probe.usable ? ": " : "", keys ? probe.reason : "");
    return EXIT_MECHANISM;
  }
  if (say) {
    const char *lane = getenv("TURNKEY_LANE");
    fprintf(stderr, "turnkey-lua: mechanism %s (%s), %s denied, lane %s\n", pkeys_mechanism_name(options.mechanism),
            reason, options.deny == PKEYS_NO_ACCESS ? "access" : "writing", lane != NULL ? lane : "native");
  }
  struct job job = {words + at, count - at};
  int code = vm_on_stack(vm, run, &job);
  vm_close(vm);
  return code;
}
