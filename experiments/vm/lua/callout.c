/*
 * callout.c: the Lua module `ffi`: unmodified shared libraries called through the gate.
 *
 *   local z = ffi.load('libz.so.1')                            through the gate: constructors run in a callout
 *   local crc32 = z:func('unsigned long crc32(unsigned long, const void *, unsigned)')
 *   crc32(0, 'text', 4)
 *       A Lua string is readable where it lies, or is copied out where callouts may not read the heap.
 *   local b = ffi.buffer(100)
 *       Memory outside the image, to be written by foreign code; b:string(), b:set(text), #b, b:address().
 *   local l = ffi.loan(100)
 *       The same, lent: under a key of its own, open only in callouts that it is passed to; l:release().
 *   qsort(b, n, 4, function(p, q) … end)
 *       A callback for this one call; ffi.callback(prototype, f) for longer.
 *   ffi.string(pointer [, length])  ffi.errno()  ffi.func(prototype, address)
 *
 * libffi marshals above the gate: its target is a thunk. Lua's errors are longjmps and none may cross the gate, so a
 * callback runs in a protected call; what it raises is kept, foreign code gets zero, and once the callout is over the
 * error is raised again. Between vm_enter and vm_leave nothing here may raise an error.
 *
 * More than 400 lines: one Lua module; its functions, callbacks and buffers refer to each other.
 */
#define _GNU_SOURCE
#include "vm.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "prototype.h"

#define LIBRARY_TYPE "turnkey.library"
#define BUFFER_TYPE "turnkey.buffer"
#define CALLBACK_TYPE "turnkey.callback"
#define STRING_CHUNK 4096u
#define MOST_CALLBACKS 1024u

struct library {
  void *handle;
};

struct buffer {
  void *address;
  size_t bytes;
  uint32_t loan; /* 0: malloc's */
};

struct function {
  struct signature signature;
  ffi_cif cif;
  ffi_type *types[PROTOTYPE_ARGUMENTS];
  const void *target;
  void *code, *code_lent; /* thunks; the target itself where there is no trap */
};

/* What libffi reads before it comes to us, on whatever thread and with whatever rights: outside the image, under the
 * runtime key, readable by all. */
struct shape {
  ffi_cif cif;
  ffi_type *types[PROTOTYPE_ARGUMENTS];
};

struct callback {
  struct prototype prototype;
  ffi_closure *closure;
  void *executable;
  void *code;   /* what foreign code gets: a callback thunk, or the closure where there is no trap */
  int function; /* in Lua's registry */
  uint32_t number;
};

/* libffi wants integers narrower than a word widened to one. */
union value {
  ffi_arg word;
  ffi_sarg signed_word;
  float single;
  double number;
  void *pointer;
};

/* ---- values -------------------------------------------------------------------------------------------------- */

/* An integer of the C type, from a Lua integer, a float with an integral value, or a boolean. */
static bool to_integer(lua_State *L, int at, struct type type, union value *out) {
  int exact = 0;
  lua_Integer number = lua_tointegerx(L, at, &exact);
  if (!exact && lua_isboolean(L, at)) number = lua_toboolean(L, at), exact = 1;
  if (!exact || lua_type(L, at) == LUA_TSTRING) return false;
  if (type.bytes < 8) {
    lua_Integer limit = (lua_Integer)1 << (8 * type.bytes);
    if (number < -limit / 2 || number >= limit)
      return false; /* either sign's range, as C's conversions would keep the bits */
    unsigned shift = 64 - 8u * type.bytes;
    if (type.kind == TYPE_SIGNED) out->signed_word = (ffi_sarg)((uint64_t)number << shift) >> shift;
    else out->word = (ffi_arg)((uint64_t)number << shift) >> shift;
  } else {
    out->signed_word = number;
  }
  return true;
}

static int push_value(lua_State *L, struct type type, const union value *value) {
  switch ((enum type_kind)type.kind) {
    case TYPE_VOID: return 0;
    case TYPE_BOOL: lua_pushboolean(L, (value->word & 0xff) != 0); return 1;
    case TYPE_FLOAT: lua_pushnumber(L, (lua_Number)value->single); return 1;
    case TYPE_DOUBLE: lua_pushnumber(L, value->number); return 1;
    case TYPE_SIGNED:
    case TYPE_UNSIGNED: {
      unsigned shift = 64 - 8u * type.bytes;
      uint64_t bits = (uint64_t)value->word << shift;
      lua_pushinteger(L, type.kind == TYPE_SIGNED ? (lua_Integer)bits >> shift : (lua_Integer)(bits >> shift));
      return 1;
    }
    default:
      if (value->pointer == NULL) lua_pushnil(L);
      else lua_pushlightuserdata(L, value->pointer);
      return 1;
  }
}

/* Pushes a copy of the C string at `source`, made by bounded copies through the gate. Raises the fault of a wild
 * pointer. */
static void push_foreign_string(lua_State *L, const char *source, const char *function) {
  struct vm *vm = vm_of(L);
  if (vm->fault == NULL) { /* no trap: a wild pointer ends the process */
    lua_pushstring(L, source);
    return;
  }
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  for (;;) {
    struct trap_fault fault;
    bool terminated = false;
    /* The copy is a callout too: it may not write to the image. */
    long units = trap_copy_string(vm->scratch + VM_SCRATCH_BYTES - STRING_CHUNK, source, STRING_CHUNK, 1, &terminated,
                                  &fault);
    if (units == -EFAULT) {
      vm->faults++;
      fault_push(L, &fault, function, 0);
      lua_error(L);
    }
    if (units < 0) luaL_error(L, "a string could not be copied: %s", strerror((int)-units));
    luaL_addlstring(&text, vm->scratch + VM_SCRATCH_BYTES - STRING_CHUNK, (size_t)units);
    if (terminated) break;
    source += units;
  }
  luaL_pushresult(&text);
}

/* ---- buffers and loans --------------------------------------------------------------------------------------- */

static struct buffer *new_buffer(lua_State *L, size_t bytes) {
  struct buffer *buffer = lua_newuserdatauv(L, sizeof *buffer, 0);
  *buffer = (struct buffer){NULL, bytes, 0};
  luaL_setmetatable(L, BUFFER_TYPE);
  return buffer;
}

static struct buffer *malloc_buffer(lua_State *L, size_t bytes) {
  struct buffer *buffer = new_buffer(L, bytes);
  buffer->address = calloc(1, bytes == 0 ? 1 : bytes);
  if (buffer->address == NULL) luaL_error(L, "no memory for a buffer of %d bytes", (int)bytes);
  return buffer;
}

static size_t check_size(lua_State *L, int at) {
  lua_Integer bytes = luaL_checkinteger(L, at);
  luaL_argcheck(L, bytes >= 0 && bytes <= (lua_Integer)1 << 30, at, "no size");
  return (size_t)bytes;
}

/* ffi.buffer(bytes | text) */
static int make_buffer(lua_State *L) {
  size_t bytes;
  if (lua_type(L, 1) == LUA_TSTRING) {
    const char *text = lua_tolstring(L, 1, &bytes);
    memcpy(malloc_buffer(L, bytes)->address, text, bytes);
  } else {
    malloc_buffer(L, check_size(L, 1));
  }
  return 1;
}

/* ffi.loan(bytes [, 'end']): 'end' puts the guard page directly behind the last byte. */
static int make_loan(lua_State *L) {
  static const char *const sides[] = {"start", "end", NULL};
  size_t bytes = check_size(L, 1);
  int flush_end = luaL_checkoption(L, 2, "start", sides);
  struct buffer *buffer = new_buffer(L, bytes);
  struct pkeys_loan loan;
  int rc = pkeys_lend(bytes, NULL, 0, 0, PKEYS_LOAN_INOUT, flush_end, &loan);
  if (rc < 0) return luaL_error(L, "%d bytes cannot be lent: %s", (int)bytes, strerror(-rc));
  buffer->address = loan.address;
  buffer->loan = loan.id;
  return 1;
}

static void release(struct buffer *buffer) {
  if (buffer->address == NULL) return;
  if (buffer->loan != 0) pkeys_loan_release(buffer->loan);
  else free(buffer->address);
  buffer->address = NULL;
  buffer->bytes = 0;
}

static int buffer_release(lua_State *L) {
  release(luaL_checkudata(L, 1, BUFFER_TYPE));
  return 0;
}

static struct buffer *check_buffer(lua_State *L, int at) {
  struct buffer *buffer = luaL_checkudata(L, at, BUFFER_TYPE);
  luaL_argcheck(L, buffer->address != NULL, at, "this buffer was released");
  return buffer;
}

/* buffer:string([offset [, bytes]]): offsets from 0. */
static int buffer_string(lua_State *L) {
  const struct buffer *buffer = check_buffer(L, 1);
  lua_Integer offset = luaL_optinteger(L, 2, 0), bytes = luaL_optinteger(L, 3, (lua_Integer)buffer->bytes - offset);
  luaL_argcheck(L, offset >= 0 && offset <= (lua_Integer)buffer->bytes, 2, "outside the buffer");
  luaL_argcheck(L, bytes >= 0 && bytes <= (lua_Integer)buffer->bytes - offset, 3, "outside the buffer");
  lua_pushlstring(L, (const char *)buffer->address + offset, (size_t)bytes);
  return 1;
}

/* buffer:set(text [, offset]) */
static int buffer_set(lua_State *L) {
  const struct buffer *buffer = check_buffer(L, 1);
  size_t bytes;
  const char *text = luaL_checklstring(L, 2, &bytes);
  lua_Integer offset = luaL_optinteger(L, 3, 0);
  luaL_argcheck(L, offset >= 0 && bytes <= buffer->bytes && (size_t)offset <= buffer->bytes - bytes, 3,
                "outside the buffer");
  memcpy((char *)buffer->address + offset, text, bytes);
  lua_settop(L, 1);
  return 1;
}

static int buffer_length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)((struct buffer *)luaL_checkudata(L, 1, BUFFER_TYPE))->bytes);
  return 1;
}

static int buffer_address(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)(uintptr_t)check_buffer(L, 1)->address);
  return 1;
}

/* ---- callbacks ----------------------------------------------------------------------------------------------- */

static struct callback **callback_table(struct vm *vm) { return vm->callbacks; }

struct pending_call {
  const struct callback *callback;
  void **arguments;
  union value *result;
};

/* Runs protected: whatever it raises stays above the gate. */
static int callback_body(lua_State *L) {
  const struct pending_call *call = lua_touserdata(L, 1);
  const struct callback *callback = call->callback;
  const struct prototype *prototype = &callback->prototype;
  luaL_checkstack(L, (int)prototype->count + 4, "too many arguments");
  lua_rawgeti(L, LUA_REGISTRYINDEX, callback->function);
  for (unsigned i = 0; i < prototype->count; i++) {
    struct type type = prototype->argument[i];
    union value value = {0};
    size_t bytes = type.kind == TYPE_FLOAT ? 4 : type.bytes;
    memcpy(&value, call->arguments[i], bytes);
    if (type.kind == TYPE_STRING && value.pointer != NULL)
      push_foreign_string(L, value.pointer, "a callback's argument");
    else push_value(L, type, &value);
  }
  lua_call(L, (int)prototype->count, 1);
  struct type type = prototype->result;
  switch ((enum type_kind)type.kind) {
    case TYPE_VOID: break;
    case TYPE_FLOAT: call->result->single = (float)luaL_checknumber(L, -1); break;
    case TYPE_DOUBLE: call->result->number = luaL_checknumber(L, -1); break;
    case TYPE_BOOL: call->result->word = (ffi_arg)lua_toboolean(L, -1); break;
    case TYPE_SIGNED:
    case TYPE_UNSIGNED:
      if (!to_integer(L, -1, type, call->result))
        return luaL_error(L, "a callback returned a %s where its prototype has an integer", luaL_typename(L, -1));
      break;
    default:
      if (lua_isnil(L, -1)) call->result->pointer = NULL;
      else if (lua_islightuserdata(L, -1)) call->result->pointer = lua_touserdata(L, -1);
      else if (luaL_testudata(L, -1, BUFFER_TYPE) != NULL)
        call->result->pointer = ((struct buffer *)lua_touserdata(L, -1))->address;
      else return luaL_error(L, "a callback returned a %s where its prototype has a pointer", luaL_typename(L, -1));
  }
  return 0;
}

/*
 * What libffi calls, on the VM's stack and with its rights (or, on a thread that has no VM or is in no callout, on
 * whatever stack that is). `user` is a number: libffi keeps it in memory that foreign code can write.
 */
static void callback_arrives(ffi_cif *cif, void *result, void **arguments, void *user) {
  struct vm *vm = vm_here();
  size_t number = (size_t)(uintptr_t)user;
  (void)cif;
  memset(result, 0, sizeof(ffi_arg));
  if (vm == NULL) return; /* another thread's: Lua's states are not for sharing */
  if (vm->callout == NULL || number >= vm->callback_count || callback_table(vm)[number] == NULL) {
    vm->callbacks_refused++;
    return;
  }
  struct vm_callout *callout = vm->callout;
  lua_State *L = callout->state;
  if (callout->failed) return; /* the callout's error is settled */
  vm->callbacks_run++;
  union value value = {0};
  struct pending_call call = {callback_table(vm)[number], arguments, &value};
  if (!lua_checkstack(L, 4)) { /* no room even for an error's text */
    callout->failed = true;
    return;
  }
  lua_pushcfunction(L, callback_body);
  lua_pushlightuserdata(L, &call);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    callout->failed = true;
    lua_replace(L, callout->error_at);
    return;
  }
  memcpy(result, &value, sizeof(ffi_arg));
}

static void callback_drop(lua_State *L, struct callback *callback) {
  struct vm *vm = vm_of(L);
  if (callback->number < vm->callback_count && callback_table(vm)[callback->number] == callback)
    callback_table(vm)[callback->number] = NULL;
  if (callback->code != NULL && callback->code != callback->executable) trap_callback_release(callback->code);
  if (callback->closure != NULL) ffi_closure_free(callback->closure);
  luaL_unref(L, LUA_REGISTRYINDEX, callback->function);
  callback->code = NULL;
  callback->closure = NULL;
  callback->function = LUA_NOREF;
}

static int callback_release(lua_State *L) {
  callback_drop(L, luaL_checkudata(L, 1, CALLBACK_TYPE));
  return 0;
}

/* Pushes a callback for the Lua function at `at`. */
static struct callback *push_callback(lua_State *L, const struct prototype *prototype, int at) {
  struct vm *vm = vm_of(L);
  at = lua_absindex(L, at);
  struct callback *callback = lua_newuserdatauv(L, sizeof *callback, 0);
  memset(callback, 0, sizeof *callback);
  callback->function = LUA_NOREF;
  callback->prototype = *prototype;
  callback->number = UINT32_MAX;
  luaL_setmetatable(L, CALLBACK_TYPE);
  size_t number = 0;
  while (number < vm->callback_count && callback_table(vm)[number] != NULL) number++;
  if (number == vm->callback_count) {
    size_t count = number == 0 ? 16 : number * 2;
    void *grown = count > MOST_CALLBACKS ? NULL
                                         : heap_reallocate(vm->heap, vm->callbacks, count * sizeof(struct callback *));
    if (grown == NULL) luaL_error(L, "too many callbacks");
    vm->callbacks = grown;
    memset(callback_table(vm) + number, 0, (count - number) * sizeof(struct callback *));
    vm->callback_count = count;
  }
  if (vm->shapes == NULL) {
    void *shapes = mmap(NULL, MOST_CALLBACKS * sizeof(struct shape), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (shapes == MAP_FAILED) luaL_error(L, "no memory for callbacks");
    if (pkeys_protect_runtime(shapes, MOST_CALLBACKS * sizeof(struct shape)) < 0)
      luaL_error(L, "the memory for callbacks could not be protected");
    vm->shapes = shapes;
  }
  struct shape *shape = (struct shape *)vm->shapes + number;
  if (prototype_prepare(prototype, &shape->cif, shape->types) != FFI_OK)
    luaL_error(L, "libffi does not take this callback's prototype");
  callback->closure = ffi_closure_alloc(sizeof *callback->closure, &callback->executable);
  if (callback->closure == NULL) luaL_error(L, "libffi has no memory for a callback");
  if (ffi_prep_closure_loc(callback->closure, &shape->cif, callback_arrives, (void *)(uintptr_t)number,
                           callback->executable) != FFI_OK)
    luaL_error(L, "libffi could not make a callback");
  if (vm->fault == NULL) {
    callback->code = callback->executable;
  } else {
    int rc = trap_callback(callback->executable, shape->cif.bytes, &callback->code);
    if (rc < 0) luaL_error(L, "no callback thunk: %s", strerror(-rc));
  }
  lua_pushvalue(L, at);
  callback->function = luaL_ref(L, LUA_REGISTRYINDEX);
  callback->number = (uint32_t)number;
  callback_table(vm)[number] = callback;
  return callback;
}

static void parse(lua_State *L, int at, struct signature *out) {
  const char *text = luaL_checkstring(L, at);
  size_t where;
  const char *wrong = prototype_parse(text, out, &where);
  if (wrong != NULL) luaL_error(L, "prototype '%s', at '%s': %s", text, text + where, wrong);
}

/* ffi.callback(prototype, function) */
static int make_callback(lua_State *L) {
  struct signature signature;
  parse(L, 1, &signature);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  push_callback(L, &signature.function[0], 2);
  return 1;
}

/* ---- calling ------------------------------------------------------------------------------------------------- */

/* Memory for foreign code to read; outside the image, valid until the callout is over. */
static void *scratch(lua_State *L, size_t bytes) {
  struct vm *vm = vm_of(L);
  size_t rounded = (bytes + 15) & ~(size_t)15;
  if (rounded > VM_SCRATCH_BYTES - STRING_CHUNK - vm->scratch_used)
    return malloc_buffer(L, bytes)->address; /* on Lua's stack until then */
  void *at = vm->scratch + vm->scratch_used;
  vm->scratch_used += rounded;
  return at;
}

static const char *readable_text(lua_State *L, int at) {
  size_t bytes;
  const char *text = lua_tolstring(L, at, &bytes);
  if (vm_of(L)->options.deny != PKEYS_NO_ACCESS) return text; /* where it lies: in the image, but open to reading */
  return memcpy(scratch(L, bytes + 1), text, bytes + 1);
}

static int wrong_argument(lua_State *L, const struct function *function, int at, const char *expected) {
  return luaL_error(L, "%s: argument %d is a %s, %s was expected", function->signature.function[0].name, at,
                    luaL_typename(L, at), expected);
}

/* May push what must live as long as the call. `lent` is set where a loan is passed. */
static void convert(lua_State *L, const struct function *function, struct type type, int at, union value *out,
                    bool *lent) {
  memset(out, 0, sizeof *out);
  switch ((enum type_kind)type.kind) {
    case TYPE_SIGNED:
    case TYPE_UNSIGNED:
      if (!to_integer(L, at, type, out)) wrong_argument(L, function, at, "an integer of its C type's range");
      return;
    case TYPE_BOOL: out->word = (ffi_arg)lua_toboolean(L, at); return;
    case TYPE_FLOAT:
    case TYPE_DOUBLE:
      if (!lua_isnumber(L, at)) wrong_argument(L, function, at, "a number");
      if (type.kind == TYPE_FLOAT) out->single = (float)lua_tonumber(L, at);
      else out->number = lua_tonumber(L, at);
      return;
    case TYPE_FUNCTION:
      if (lua_isfunction(L, at)) {
        out->pointer = push_callback(L, &function->signature.function[type.nested], at)->code;
        return;
      }
      break;
    case TYPE_VOID: return;
    case TYPE_STRING:
    case TYPE_POINTER:
      if (lua_type(L, at) == LUA_TSTRING) {
        if (type.kind == TYPE_POINTER && !type.readable)
          wrong_argument(L, function, at, "memory that may be written to (ffi.buffer, ffi.loan)");
        out->pointer = (void *)(uintptr_t)readable_text(L, at);
        return;
      }
      break;
  }
  switch (lua_type(L, at)) {
    case LUA_TNIL: return;
    case LUA_TLIGHTUSERDATA: out->pointer = lua_touserdata(L, at); return;
    case LUA_TNUMBER:
      if (!lua_isinteger(L, at)) break;
      out->pointer = (void *)(uintptr_t)lua_tointeger(L, at); /* an address, however wild */
      return;
    case LUA_TUSERDATA: {
      const struct buffer *buffer = luaL_testudata(L, at, BUFFER_TYPE);
      const struct callback *callback = luaL_testudata(L, at, CALLBACK_TYPE);
      if (buffer != NULL && buffer->address != NULL) {
        out->pointer = buffer->address;
        *lent |= buffer->loan != 0;
        return;
      }
      if (callback != NULL && callback->code != NULL) {
        out->pointer = callback->code;
        return;
      }
      break;
    }
    default: break;
  }
  wrong_argument(L, function, at, type.kind == TYPE_FUNCTION ? "a function" : "a pointer");
}

/* The types of the arguments after '...', after the default promotions. */
static struct type variadic_type(lua_State *L, int at) {
  if (lua_isinteger(L, at) || lua_isboolean(L, at)) return (struct type){TYPE_SIGNED, 8, false, 0};
  if (lua_type(L, at) == LUA_TNUMBER) return (struct type){TYPE_DOUBLE, 8, false, 0};
  return (struct type){TYPE_STRING, 8, true, 0};
}

static void push_arguments(lua_State *L, int count) {
  lua_createtable(L, count, 0);
  for (int i = 1; i <= count; i++) {
    lua_pushvalue(L, i);
    lua_rawseti(L, -2, i);
  }
}

static int get_thunk(const struct vm *vm, const void *target, size_t stack_bytes, bool lent, void **code) {
  if (vm->fault == NULL) {
    *code = (void *)(uintptr_t)target;
    return 0;
  }
  return trap_thunk(target, stack_bytes, lent ? TRAP_LENT : 0, NULL, code);
}

/* The heap as it is now, beside the image, and where it differs after the callout. For experiments: a callout that
 * changes nothing leaves no difference. */
static void *snapshot(struct vm *vm, size_t *bytes);
static void compare(struct vm *vm, void *copy, size_t bytes);

/* Upvalue 1 is the struct function. */
static int call(lua_State *L) {
  struct function *function = lua_touserdata(L, lua_upvalueindex(1));
  struct vm *vm = vm_of(L);
  const struct prototype *prototype = &function->signature.function[0];
  int given = lua_gettop(L);
  unsigned count = prototype->count;
  if (given < (int)count || (given > (int)count && !prototype->variadic) || given > PROTOTYPE_ARGUMENTS)
    return luaL_error(L, "%s: %d arguments, %d were expected", prototype->name, given, (int)count);
  union value values[PROTOTYPE_ARGUMENTS], result = {0};
  void *pointers[PROTOTYPE_ARGUMENTS];
  ffi_type *types[PROTOTYPE_ARGUMENTS];
  ffi_cif variadic, *cif = &function->cif;
  bool lent = false;
  size_t mark = vm->callout == NULL ? (vm->scratch_used = 0) : vm->scratch_used;
  luaL_checkstack(L, PROTOTYPE_ARGUMENTS + 8, "too many arguments");
  for (int i = 0; i < given; i++) {
    struct type type = (unsigned)i < count ? prototype->argument[i] : variadic_type(L, i + 1);
    convert(L, function, type, i + 1, &values[i], &lent);
    pointers[i] = &values[i];
    if (prototype->variadic) types[i] = prototype_ffi(type);
  }
  void *code;
  if (prototype->variadic) {
    if (ffi_prep_cif_var(&variadic, FFI_DEFAULT_ABI, count, (unsigned)given, prototype_ffi(prototype->result), types) !=
        FFI_OK)
      return luaL_error(L, "%s: libffi does not take these arguments", prototype->name);
    cif = &variadic;
  }
  void **cached = lent ? &function->code_lent : &function->code;
  if (*cached == NULL) {
    size_t stack_bytes =
        prototype->variadic
            ? PROTOTYPE_ARGUMENTS * 8
            : function->cif.bytes; /* more is copied than is passed: what lies above is the VM's own stack */
    int rc = get_thunk(vm, function->target, stack_bytes, lent, cached);
    if (rc < 0) return luaL_error(L, "%s: no thunk: %s", prototype->name, strerror(-rc));
  }
  code = *cached;
  lua_pushnil(L); /* a callback's error */

  struct vm_callout callout = {.outer = vm->callout, .state = L, .error_at = lua_gettop(L)};
  bool examine = vm->examine;
  size_t copied = 0;
  void *copy = NULL;
  vm->examine = false;
  vm->callouts++;
  vm->callout = &callout;
  if (examine) copy = snapshot(vm, &copied);
  errno = 0;
  ffi_call(cif, (void (*)(void))(uintptr_t)code, &result, pointers);
  vm->last_errno = errno;
  if (examine) compare(vm, copy, copied);
  vm->callout = callout.outer;
  vm->scratch_used = mark;

  for (int i = given + 1; i < callout.error_at;
       i++) { /* callbacks made for this call; a callee that kept one calls what is refused */
    struct callback *made = luaL_testudata(L, i, CALLBACK_TYPE);
    if (made != NULL) callback_drop(L, made);
  }
  struct trap_fault fault;
  if (vm->fault != NULL && vm->fault->pending != 0 && trap_take_fault(&fault)) {
    if (fault.signal == 0)
      return luaL_error(L, "%s was not called: the image could not be closed: %s", prototype->name,
                        strerror(-fault.code));
    vm->faults++;
    push_arguments(L, given);
    fault_push(L, &fault, prototype->name, -1);
    if (callout.failed) {
      lua_pushvalue(L, callout.error_at);
      lua_setfield(L, -2, "callbackError");
    }
    return lua_error(L);
  }
  if (callout.failed) {
    lua_pushvalue(L, callout.error_at);
    if (lua_isnil(L, -1)) return luaL_error(L, "%s: stack overflow in a callback", prototype->name);
    return lua_error(L);
  }
  if (prototype->result.kind == TYPE_STRING && result.pointer != NULL) {
    push_foreign_string(L, result.pointer, prototype->name);
    return 1;
  }
  return push_value(L, prototype->result, &result);
}

static int function_gc(lua_State *L) {
  struct function *function = lua_touserdata(L, 1);
  if (vm_of(L)->fault == NULL) return 0;
  if (function->code != NULL) trap_thunk_release(function->code);
  if (function->code_lent != NULL) trap_thunk_release(function->code_lent);
  function->code = function->code_lent = NULL;
  return 0;
}

/* Pushes a Lua function that calls `target`. */
static int push_function(lua_State *L, const struct signature *signature, const void *target) {
  struct function *function = lua_newuserdatauv(L, sizeof *function, 0);
  memset(function, 0, sizeof *function);
  function->signature = *signature;
  function->target = target;
  luaL_setmetatable(L, "turnkey.function");
  if (prototype_prepare(&function->signature.function[0], &function->cif, function->types) != FFI_OK)
    return luaL_error(L, "libffi does not take this prototype");
  lua_pushcclosure(L, call, 1);
  return 1;
}

/* ---- libraries ----------------------------------------------------------------------------------------------- */

/* ffi.load(name) */
static int load(lua_State *L) {
  struct vm *vm = vm_of(L);
  luaL_checkstring(L, 1);
  struct library *library = lua_newuserdatauv(L, sizeof *library, 0);
  library->handle = NULL;
  luaL_setmetatable(L, LIBRARY_TYPE);
  size_t mark = vm->scratch_used;
  const char *name = readable_text(L, 1);
  if (vm->fault == NULL) {
    library->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library->handle == NULL) return luaL_error(L, "%s", dlerror());
  } else {
    struct trap_fault fault;
    char message[300];
    fault.pending = 0;
    vm->callouts++;
    library->handle = trap_dlopen(name, RTLD_NOW | RTLD_LOCAL, NULL, &fault, message, sizeof message);
    if (library->handle == NULL && fault.pending != 0) {
      vm->faults++;
      push_arguments(L, 1);
      fault_push(L, &fault, "dlopen", -1);
      return lua_error(L);
    }
    if (library->handle == NULL) return luaL_error(L, "%s", message);
  }
  vm->scratch_used = mark;
  lua_settop(L, 2);
  return 1;
}

static void *find(lua_State *L, const char *name) {
  const struct library *library = luaL_checkudata(L, 1, LIBRARY_TYPE);
  void *address = library->handle == NULL ? NULL : dlsym(library->handle, name);
  if (address == NULL) luaL_error(L, "there is no '%s' in this library", name);
  return address;
}

/* library:func(prototype) */
static int library_func(lua_State *L) {
  struct signature signature;
  parse(L, 2, &signature);
  return push_function(L, &signature, find(L, signature.function[0].name));
}

/* library:symbol(name): its address */
static int library_symbol(lua_State *L) {
  lua_pushlightuserdata(L, find(L, luaL_checkstring(L, 2)));
  return 1;
}

/* library:close(): destructors run in a callout. Functions of it must not be called any more. */
static int library_close(lua_State *L) {
  struct vm *vm = vm_of(L);
  struct library *library = luaL_checkudata(L, 1, LIBRARY_TYPE);
  void *handle = library->handle;
  library->handle = NULL;
  if (handle == NULL) return 0;
  if (vm->fault == NULL) {
    dlclose(handle);
    return 0;
  }
  struct trap_fault fault;
  char message[300];
  fault.pending = 0;
  vm->callouts++;
  if (trap_dlclose(handle, NULL, &fault, message, sizeof message) == -EFAULT) {
    vm->faults++;
    fault_push(L, &fault, "dlclose", 0);
    return lua_error(L);
  }
  return 0;
}

/* ffi.func(prototype, address) */
static int make_function(lua_State *L) {
  struct signature signature;
  parse(L, 1, &signature);
  void *address = lua_islightuserdata(L, 2) ? lua_touserdata(L, 2) : (void *)(uintptr_t)luaL_checkinteger(L, 2);
  return push_function(L, &signature, address);
}

/* ffi.string(pointer [, bytes]) */
static int foreign_string(lua_State *L) {
  const struct buffer *buffer = luaL_testudata(L, 1, BUFFER_TYPE);
  struct vm *vm = vm_of(L);
  void *at = buffer != NULL              ? buffer->address
             : lua_islightuserdata(L, 1) ? lua_touserdata(L, 1)
                                         : (void *)(uintptr_t)luaL_checkinteger(L, 1);
  if (lua_isnoneornil(L, 2)) {
    push_foreign_string(L, at, "ffi.string");
    return 1;
  }
  size_t bytes = check_size(L, 2);
  if (vm->fault == NULL) {
    lua_pushlstring(L, at, bytes);
    return 1;
  }
  struct buffer *copy = malloc_buffer(L, bytes);
  struct trap_fault fault;
  int rc = trap_copy(copy->address, at, bytes, &fault);
  if (rc == -EFAULT) {
    vm->faults++;
    fault_push(L, &fault, "ffi.string", 0);
    return lua_error(L);
  }
  if (rc < 0) return luaL_error(L, "memory could not be copied: %s", strerror(-rc));
  lua_pushlstring(L, copy->address, bytes);
  release(copy);
  return 1;
}

/* ffi.errno(): of the last callout */
static int foreign_errno(lua_State *L) {
  lua_pushinteger(L, vm_of(L)->last_errno);
  return 1;
}

/* ---- comparing ----------------------------------------------------------------------------------------------- */

static void *snapshot(struct vm *vm, size_t *bytes) {
  struct pkeys_space space;
  *bytes = 0;
  if (pkeys_image_space(vm->image, VM_SPACE_HEAP, &space) < 0) return NULL;
  void *copy = mmap(NULL, space.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED) return NULL;
  memcpy(copy, (const void *)space.address, space.bytes);
  mprotect(copy, space.bytes, PROT_READ);
  *bytes = space.bytes;
  const char *watch = getenv("TURNKEY_WATCH_FD"); /* the tracing runner compares if the callout kills us */
  if (watch != NULL)
    dprintf(atoi(watch), "image %lx %zx %lx\n", (unsigned long)space.address, space.bytes,
            (unsigned long)(uintptr_t)copy);
  return copy;
}

static void compare(struct vm *vm, void *copy, size_t bytes) {
  struct pkeys_space space;
  struct vm_difference *found = &vm->difference;
  struct vm_difference sum = {.compared_bytes = bytes};
  if (copy == NULL || pkeys_image_space(vm->image, VM_SPACE_HEAP, &space) < 0) return;
  const unsigned char *now = (const unsigned char *)space.address, *then = copy;
  int current = -1; /* the range that the byte before this one belongs to; VM_RANGES: one that is not told */
  for (size_t page = 0; page < bytes; page += PKEYS_PAGE) {
    if (memcmp(now + page, then + page, PKEYS_PAGE) == 0) {
      current = -1;
      continue;
    }
    for (size_t i = page; i < page + PKEYS_PAGE; i++) {
      if (now[i] == then[i]) {
        current = -1;
        continue;
      }
      sum.changed_bytes++;
      if (current < 0) {
        current = (int)sum.ranges;
        if (current < VM_RANGES) sum.range[sum.ranges++].offset = i;
      }
      if (current < VM_RANGES) sum.range[current].bytes++;
    }
  }
  /* The copy stays mapped: should the VM die of the damage later, the tracing runner has something to compare with. */
  *found = sum;
}

/* ---- the module ---------------------------------------------------------------------------------------------- */

static void type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction collect, lua_CFunction length) {
  luaL_newmetatable(L, name);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, collect);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, collect);
  lua_setfield(L, -2, "__close");
  if (length != NULL) {
    lua_pushcfunction(L, length);
    lua_setfield(L, -2, "__len");
  }
  lua_pop(L, 1);
}

static int nothing(lua_State *L) {
  (void)L;
  return 0; /* a library stays loaded: functions of it may be in use */
}

int callout_open(lua_State *L) {
  static const luaL_Reg library[] = {
      {"func", library_func}, {"symbol", library_symbol}, {"close", library_close}, {NULL, NULL}};
  static const luaL_Reg buffer[] = {{"string", buffer_string},
                                    {"set", buffer_set},
                                    {"address", buffer_address},
                                    {"release", buffer_release},
                                    {NULL, NULL}};
  static const luaL_Reg callback[] = {{"release", callback_release}, {NULL, NULL}};
  static const luaL_Reg none[] = {{NULL, NULL}};
  static const luaL_Reg module[] = {
      {"load", load},      {"func", make_function},    {"callback", make_callback}, {"buffer", make_buffer},
      {"loan", make_loan}, {"string", foreign_string}, {"errno", foreign_errno},    {NULL, NULL}};
  fault_open(L);
  type(L, LIBRARY_TYPE, library, nothing, NULL);
  type(L, BUFFER_TYPE, buffer, buffer_release, buffer_length);
  type(L, CALLBACK_TYPE, callback, callback_release, NULL);
  type(L, "turnkey.function", none, function_gc, NULL);
  luaL_newlib(L, module);
  return 1;
}
