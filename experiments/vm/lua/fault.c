/*
 * fault.c: what a failed callout is in Lua: an error value, a table with the fields of Turnkey's CalloutError
 * (docs/architecture.md), whose text is one line. Addresses are integers, as everywhere in Lua; `address_text` and
 * `pc_text` are for people.
 */
#define _GNU_SOURCE
#include "vm.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define FAULT_TYPE "turnkey.fault"

static const char *signal_name(int number) {
  switch (number) {
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGILL: return "SIGILL";
    case SIGFPE: return "SIGFPE";
    case SIGTRAP: return "SIGTRAP";
    case SIGABRT: return "SIGABRT";
    default: return NULL;
  }
}

/* Those that say something of protection; the others as numbers. asm-generic/siginfo.h */
static const char *code_name(int number, int code) {
  if (number == SIGSEGV && code == SEGV_MAPERR) return "SEGV_MAPERR";
  if (number == SIGSEGV && code == SEGV_ACCERR) return "SEGV_ACCERR";
  if (number == SIGSEGV && code == SEGV_PKUERR) return "SEGV_PKUERR";
  if (number == SIGBUS && code == BUS_ADRALN) return "BUS_ADRALN";
  if (number == SIGBUS && code == BUS_ADRERR) return "BUS_ADRERR";
  if (number == SIGFPE && code == FPE_INTDIV) return "FPE_INTDIV";
  if (number == SIGILL && code == ILL_ILLOPN) return "ILL_ILLOPN";
  if (code == SI_KERNEL) return "SI_KERNEL";
  if (code == SI_TKILL) return "SI_TKILL";
  return NULL;
}

static void text_field(lua_State *L, const char *name, const char *text) {
  if (text == NULL) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static void number_field(lua_State *L, const char *name, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static void address_field(lua_State *L, const char *name, uint64_t value) {
  number_field(L, name, (lua_Integer)value);
  lua_pushfstring(L, "%s_text", name);
  char text[24];
  snprintf(text, sizeof text, "0x%llx", (unsigned long long)value);
  lua_pushstring(L, text);
  lua_rawset(L, -3);
}

static bool closes(enum pkeys_mechanism mechanism) {
  return mechanism != PKEYS_MECHANISM_NONE && mechanism != PKEYS_MECHANISM_FLAG;
}

void fault_push(lua_State *L, const struct trap_fault *fault, const char *function, int arguments) {
  static const char *const accesses[] = {"unknown", "read", "write", "execute"}, *const phases[] = {"call", "load",
                                                                                                    "decode"};
  const struct vm *vm = vm_of(L);
  if (arguments != 0) arguments = lua_absindex(L, arguments);
  luaL_checkstack(L, 8, "a fault cannot be told");
  lua_newtable(L);
  text_field(L, "errorName", "exception in FFI call");
  number_field(L, "errorCode", fault->signal);
  text_field(L, "code", "ERR_CALLOUT_FAULT");
  address_field(L, "pc", fault->pc);
  text_field(L, "phase", phases[fault->phase % 3]);
  const char *name = signal_name(fault->signal), *code = code_name(fault->signal, fault->code);
  if (name != NULL) text_field(L, "signal", name);
  else lua_pushfstring(L, "signal %d", fault->signal), lua_setfield(L, -2, "signal");
  number_field(L, "siCode", fault->code);
  if (code != NULL) text_field(L, "siCodeName", code);
  else lua_pushfstring(L, "si_code %d", fault->code), lua_setfield(L, -2, "siCodeName");
  address_field(L, "address", fault->address);
  text_field(L, "access", accesses[fault->access % 4]);
  if (fault->pkey >= 0) number_field(L, "pkey", fault->pkey);
  if (fault->space_found) {
    text_field(L, "space", fault->space_name);
    number_field(L, "spaceOffset", (lua_Integer)fault->space_offset);
    struct pkeys_space space;
    if (pkeys_find_space(fault->address, &space)) number_field(L, "spaceKey", space.key);
  }
  Dl_info where;
  if (fault->pc != 0 && dladdr((void *)fault->pc, &where) != 0) {
    text_field(L, "module", where.dli_fname);
    number_field(L, "moduleOffset", (lua_Integer)(fault->pc - (uintptr_t)where.dli_fbase));
    if (where.dli_sname != NULL) {
      text_field(L, "symbol", where.dli_sname);
      number_field(L, "symbolOffset", (lua_Integer)(fault->pc - (uintptr_t)where.dli_saddr));
    }
  }
  text_field(L, "function", function);
  if (arguments != 0) {
    lua_pushvalue(L, arguments);
    lua_setfield(L, -2, "arguments");
  }
  number_field(L, "threadId", fault->thread_id);
  number_field(L, "depth", fault->depth);
  text_field(L, "mechanism", pkeys_mechanism_name(vm->options.mechanism));
  text_field(L, "image", closes(vm->options.mechanism) && fault->mechanism_held ? "protected" : "unknown");
  if (fault->flags & TRAP_FAULT_STACK_OVERFLOW) lua_pushboolean(L, 1), lua_setfield(L, -2, "stackOverflow");
  if (fault->flags & TRAP_FAULT_ABORT) lua_pushboolean(L, 1), lua_setfield(L, -2, "aborted");
  if (fault->flags & TRAP_FAULT_UNWIND) lua_pushboolean(L, 1), lua_setfield(L, -2, "unwound");
  luaL_setmetatable(L, FAULT_TYPE);
}

/* "exception in FFI call: foreign_write64: SIGSEGV (SEGV_PKUERR), write to 0x… in space 'heap', pc 0x… …" */
static int to_text(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_Buffer text;
  luaL_checkstack(L, 20, NULL);
  static const char *const names[] = {"errorName",    "function", "phase",   "signal", "siCodeName", "access",
                                      "address_text", "space",    "pc_text", "symbol", "module"};
  enum { ERROR_NAME, FUNCTION, PHASE, SIGNAL, SI_CODE, ACCESS, ADDRESS, SPACE, PC, SYMBOL, MODULE, COUNT };
  const char *field[COUNT];
  for (int i = 0; i < COUNT; i++) {
    lua_getfield(L, 1, names[i]);
    field[i] = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  }
  luaL_buffinit(L, &text);
#define PUT(...) (lua_pushfstring(L, __VA_ARGS__), luaL_addvalue(&text))
  PUT("%s: %s", field[ERROR_NAME] ? field[ERROR_NAME] : "exception", field[FUNCTION] ? field[FUNCTION] : "a function");
  if (field[PHASE] && strcmp(field[PHASE], "decode") == 0) luaL_addstring(&text, ", decoding what it left behind");
  if (field[PHASE] && strcmp(field[PHASE], "load") == 0) luaL_addstring(&text, ", while loading or unloading");
  PUT(": %s (%s)", field[SIGNAL] ? field[SIGNAL] : "?", field[SI_CODE] ? field[SI_CODE] : "?");
  if (field[ACCESS] && strcmp(field[ACCESS], "unknown") != 0)
    PUT(", %s at %s", field[ACCESS], field[ADDRESS] ? field[ADDRESS] : "?");
  if (field[SPACE]) PUT(" in space '%s'", field[SPACE]);
  PUT(", pc %s", field[PC] ? field[PC] : "?");
  if (field[SYMBOL]) PUT(" %s", field[SYMBOL]);
  if (field[MODULE]) PUT(" (%s)", field[MODULE]);
#undef PUT
  luaL_pushresult(&text);
  return 1;
}

void fault_open(lua_State *L) {
  luaL_newmetatable(L, FAULT_TYPE);
  lua_pushcfunction(L, to_text);
  lua_setfield(L, -2, "__tostring");
  lua_pushstring(L, FAULT_TYPE);
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
}
