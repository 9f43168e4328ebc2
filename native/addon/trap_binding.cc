/*
 * trap_binding.cc: native/trap for JavaScript. Converts and checks arguments; nothing else. Addresses are BigInt.
 *
 * A function that may touch the image or run foreign code attaches its thread first (I13, docs/invariants.md). What an
 * environment made and did not release is released when the environment ends.
 */
#include <dlfcn.h>
#include <link.h>

#include <climits>
#include <cstring>
#include <string>
#include <unordered_set>
#include <vector>

#include "bindings.h"

/* In C a function and a struct may share a name; C++ warns. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#include "trap.h"
#pragma GCC diagnostic pop

namespace {

constexpr size_t kRecordBytes = sizeof(struct trap_fault);
static_assert(kRecordBytes == 1024, "src/callout/record.ts reads the fault record at fixed offsets");

/* Per environment; the addon keeps nothing in globals. */
struct State {
  std::unordered_multiset<void *> thunks; /* a shared thunk is counted: once for each time it was got */
  std::unordered_set<void *> callbacks;
  std::unordered_set<trap_policy *> policies;
};

[[noreturn]] void fail(const Napi::Env &env, const std::string &message) { throw Napi::Error::New(env, message); }
[[noreturn]] void fail_type(const Napi::Env &env, const std::string &message) {
  throw Napi::TypeError::New(env, message);
}

std::string describe(int error) { return std::string(strerror(error < 0 ? -error : error)); }

State *state_of(const Napi::CallbackInfo &info) { return static_cast<State *>(info.Data()); }

void attach(const Napi::Env &env) {
  int status = trap_attach();
  if (status < 0) fail(env, "cannot attach this thread to the trap: " + describe(status));
}

uint64_t address_argument(const Napi::CallbackInfo &info, size_t index, const char *name) {
  if (!info[index].IsBigInt()) fail_type(info.Env(), std::string(name) + " must be a BigInt address");
  bool lossless = false;
  uint64_t value = info[index].As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) fail_type(info.Env(), std::string(name) + " does not fit in 64 bits");
  return value;
}

size_t size_argument(const Napi::CallbackInfo &info, size_t index, const char *name) {
  double value = info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : -1;
  if (!(value >= 0 && value <= 9007199254740991.0) || value != static_cast<double>(static_cast<uint64_t>(value))) {
    fail_type(info.Env(), std::string(name) + " must be a non-negative integer");
  }
  return static_cast<size_t>(value);
}

trap_policy *policy_argument(const Napi::CallbackInfo &info, size_t index) {
  if (info[index].IsNull() || info[index].IsUndefined()) return nullptr;
  auto *policy = reinterpret_cast<trap_policy *>(address_argument(info, index, "policy"));
  if (state_of(info)->policies.count(policy) == 0)
    fail_type(info.Env(), "policy is not a live policy of this environment");
  return policy;
}

/* The place where a fault record is to be written: a Uint8Array of at least kRecordBytes. */
struct trap_fault *record_argument(const Napi::CallbackInfo &info, size_t index) {
  if (!info[index].IsTypedArray()) fail_type(info.Env(), "record must be a Uint8Array");
  auto array = info[index].As<Napi::Uint8Array>();
  if (array.ByteLength() < kRecordBytes) fail_type(info.Env(), "record is too small");
  return reinterpret_cast<struct trap_fault *>(array.Data());
}

/* ---- threads and records ------------------------------------------------------------------------------------- */

/* faultView(): this thread's fault record as an ArrayBuffer over the trap's own memory. */
Napi::Value fault_view(const Napi::CallbackInfo &info) {
  attach(info.Env());
  struct trap_fault *fault = trap_thread_fault();
  if (fault == nullptr) fail(info.Env(), "no fault record for this thread");
  return Napi::ArrayBuffer::New(info.Env(), fault, kRecordBytes);
}

/* thunkFault(code, record): copies the record of a private thunk and clears it. False if its last call did not fail. */
Napi::Value thunk_fault(const Napi::CallbackInfo &info) {
  struct trap_fault *fault = trap_thunk_fault(reinterpret_cast<void *>(address_argument(info, 0, "code")));
  struct trap_fault *out = record_argument(info, 1);
  if (fault == nullptr) fail_type(info.Env(), "code is not a private thunk");
  if (fault->pending == 0) return Napi::Boolean::New(info.Env(), false);
  memcpy(out, fault, kRecordBytes);
  fault->pending = 0;
  return Napi::Boolean::New(info.Env(), true);
}

/* depth(): callouts this thread is inside of. */
Napi::Value depth(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), trap_depth()); }

/* ---- policies ------------------------------------------------------------------------------------------------ */

enum trap_response response_argument(const Napi::CallbackInfo &info, size_t index) {
  size_t response = size_argument(info, index, "response");
  if (response > TRAP_ALWAYS) fail_type(info.Env(), "response must be 0, 1 or 2");
  return static_cast<enum trap_response>(response);
}

Napi::Value policy_create(const Napi::CallbackInfo &info) {
  trap_policy *policy = trap_policy_create(response_argument(info, 0));
  if (policy == nullptr) fail(info.Env(), "too many guards: no policy cell left; close guards that are no longer used");
  state_of(info)->policies.insert(policy);
  return Napi::BigInt::New(info.Env(), reinterpret_cast<uint64_t>(policy));
}

Napi::Value rearm(const Napi::CallbackInfo &info) {
  int status = trap_rearm();
  if (status < 0) fail(info.Env(), "cannot put the trap's signal handlers back: " + describe(status));
  return info.Env().Undefined();
}

/* rearmNote(): before Node installs a handler of its own. */
Napi::Value rearm_note(const Napi::CallbackInfo &info) {
  int status = trap_rearm_note();
  if (status < 0) fail(info.Env(), "cannot look at the signal handlers: " + describe(status));
  return info.Env().Undefined();
}

Napi::Value policy_set(const Napi::CallbackInfo &info) {
  trap_policy *policy = policy_argument(info, 0);
  if (policy != nullptr) trap_policy_set(policy, response_argument(info, 1));
  return info.Env().Undefined();
}

Napi::Value policy_release(const Napi::CallbackInfo &info) {
  trap_policy *policy = policy_argument(info, 0);
  if (policy != nullptr) {
    state_of(info)->policies.erase(policy);
    trap_policy_release(policy);
  }
  return info.Env().Undefined();
}

/* ---- thunks and callbacks ------------------------------------------------------------------------------------ */

/* thunk(target, stackBytes, flags, policy | null, isPrivate): a code address to be released once. */
Napi::Value thunk(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  auto *target = reinterpret_cast<void *>(address_argument(info, 0, "target"));
  size_t stack_bytes = size_argument(info, 1, "stackBytes");
  size_t flags = size_argument(info, 2, "flags");
  trap_policy *policy = policy_argument(info, 3);
  bool is_private = info[4].ToBoolean();
  attach(env);
  void *code = nullptr;
  int status = (is_private ? trap_thunk_private : trap_thunk)(target, stack_bytes, static_cast<unsigned>(flags), policy,
                                                              &code);
  if (status < 0) {
    fail(env, "cannot make a thunk (stack bytes = " + std::to_string(stack_bytes) +
                  ", flags = " + std::to_string(flags) + "): " + describe(status));
  }
  state_of(info)->thunks.insert(code);
  return Napi::BigInt::New(env, reinterpret_cast<uint64_t>(code));
}

Napi::Value thunk_release(const Napi::CallbackInfo &info) {
  auto *code = reinterpret_cast<void *>(address_argument(info, 0, "code"));
  auto &thunks = state_of(info)->thunks;
  auto found = thunks.find(code);
  if (found == thunks.end()) fail_type(info.Env(), "code is not a live thunk of this environment");
  thunks.erase(found);
  return Napi::Number::New(info.Env(), trap_thunk_release(code));
}

/* callback(target, stackBytes): the address to hand to foreign code in place of `target`; to be released once. */
Napi::Value callback(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  auto *target = reinterpret_cast<void *>(address_argument(info, 0, "target"));
  size_t stack_bytes = size_argument(info, 1, "stackBytes");
  void *code = nullptr;
  int status = trap_callback(target, stack_bytes, &code);
  if (status < 0)
    fail(env, "cannot make a callback thunk (stack bytes = " + std::to_string(stack_bytes) + "): " + describe(status));
  state_of(info)->callbacks.insert(code);
  return Napi::BigInt::New(env, reinterpret_cast<uint64_t>(code));
}

Napi::Value callback_release(const Napi::CallbackInfo &info) {
  auto *code = reinterpret_cast<void *>(address_argument(info, 0, "code"));
  if (state_of(info)->callbacks.erase(code) == 0)
    fail_type(info.Env(), "code is not a live callback thunk of this environment");
  return Napi::Number::New(info.Env(), trap_callback_release(code));
}

/* ---- bounded copies ------------------------------------------------------------------------------------------ */

/* copy(destination: Uint8Array, source, bytes, record): true, or false with the fault in `record`. */
Napi::Value copy(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  if (!info[0].IsTypedArray()) fail_type(env, "destination must be a Uint8Array");
  auto destination = info[0].As<Napi::Uint8Array>();
  auto *source = reinterpret_cast<const void *>(address_argument(info, 1, "source"));
  size_t bytes = size_argument(info, 2, "bytes");
  struct trap_fault *record = record_argument(info, 3);
  if (bytes > destination.ByteLength()) fail_type(env, "destination is smaller than bytes");
  int status = trap_copy(destination.Data(), source, bytes, record);
  return Napi::Boolean::New(env, status == 0);
}

Napi::Value string_of_utf32(Napi::Env env, const char32_t *units, size_t length) {
  std::u16string text;
  text.reserve(length);
  for (size_t i = 0; i < length; i++) {
    char32_t unit = units[i];
    if (unit > 0x10FFFF || (unit >= 0xD800 && unit <= 0xDFFF)) {
      text.push_back(0xFFFD);
    } else if (unit > 0xFFFF) {
      text.push_back(static_cast<char16_t>(0xD800 + ((unit - 0x10000) >> 10)));
      text.push_back(static_cast<char16_t>(0xDC00 + ((unit - 0x10000) & 0x3FF)));
    } else {
      text.push_back(static_cast<char16_t>(unit));
    }
  }
  return Napi::String::New(env, text);
}

/* copyString(source, unitBytes, maxUnits, record): the terminated string; null if no terminator was found in maxUnits;
 * undefined with the fault in `record`. Copied in growing pieces, so that a short string costs a short copy. */
Napi::Value copy_string(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  uint64_t source = address_argument(info, 0, "source");
  size_t unit_bytes = size_argument(info, 1, "unitBytes");
  size_t max_units = size_argument(info, 2, "maxUnits");
  struct trap_fault *record = record_argument(info, 3);
  if (unit_bytes != 1 && unit_bytes != 2 && unit_bytes != 4) fail_type(env, "unitBytes must be 1, 2 or 4");

  alignas(16) char small[512];
  std::vector<char> large;
  char *buffer = small;
  size_t capacity = sizeof small / unit_bytes, length = 0;
  for (;;) {
    size_t want = capacity < max_units ? capacity : max_units;
    bool terminated = false;
    long got = trap_copy_string(buffer + length * unit_bytes,
                                reinterpret_cast<const void *>(source + length * unit_bytes), want - length,
                                static_cast<unsigned>(unit_bytes), &terminated, record);
    if (got < 0) return env.Undefined();
    length += static_cast<size_t>(got);
    if (terminated) break;
    if (length >= max_units) return env.Null();
    capacity *= 8;
    std::vector<char> grown(capacity * unit_bytes);
    memcpy(grown.data(), buffer, length * unit_bytes);
    large.swap(grown);
    buffer = large.data();
  }
  switch (unit_bytes) {
    case 1: return Napi::String::New(env, buffer, length);
    case 2: return Napi::String::New(env, reinterpret_cast<const char16_t *>(buffer), length);
    default: return string_of_utf32(env, reinterpret_cast<const char32_t *>(buffer), length);
  }
}

/* ---- libraries ----------------------------------------------------------------------------------------------- */

/* dlopen(path | null, flags, policy | null, record): the handle, or the loader's message, or undefined with the fault
 * in `record`. */
Napi::Value open_library(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  bool self = info[0].IsNull();
  if (!self && !info[0].IsString()) fail_type(env, "path must be a string or null");
  std::string path = self ? "" : info[0].As<Napi::String>().Utf8Value();
  size_t flags = size_argument(info, 1, "flags");
  trap_policy *policy = policy_argument(info, 2);
  struct trap_fault *record = record_argument(info, 3);
  attach(env);
  char message[1024] = "";
  record->pending = 0;
  void *handle = trap_dlopen(self ? nullptr : path.c_str(), static_cast<int>(flags), policy, record, message,
                             sizeof message);
  if (handle != nullptr) return Napi::BigInt::New(env, reinterpret_cast<uint64_t>(handle));
  if (record->pending != 0) return env.Undefined();
  return Napi::String::New(env, message);
}

/* dlclose(handle, policy | null, record): true, or the loader's message, or undefined with the fault in `record`. */
Napi::Value close_library(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  auto *handle = reinterpret_cast<void *>(address_argument(info, 0, "handle"));
  trap_policy *policy = policy_argument(info, 1);
  struct trap_fault *record = record_argument(info, 2);
  attach(env);
  char message[1024] = "";
  record->pending = 0;
  if (trap_dlclose(handle, policy, record, message, sizeof message) == 0) return Napi::Boolean::New(env, true);
  if (record->pending != 0) return env.Undefined();
  return Napi::String::New(env, message);
}

/* dlsym(handle, name): the address, 0n where there is none. */
Napi::Value find_symbol(const Napi::CallbackInfo &info) {
  auto *handle = reinterpret_cast<void *>(address_argument(info, 0, "handle"));
  if (!info[1].IsString()) fail_type(info.Env(), "name must be a string");
  std::string name = info[1].As<Napi::String>().Utf8Value();
  return Napi::BigInt::New(info.Env(), reinterpret_cast<uint64_t>(dlsym(handle, name.c_str())));
}

int add_module(struct dl_phdr_info *phdr, size_t, void *data) {
  auto *list = static_cast<std::vector<struct dl_phdr_info> *>(data);
  list->push_back(*phdr);
  return 0;
}

/* modules(): [{ path, bias, start, end }] of what the loader has mapped now; '' is the program itself. */
Napi::Value modules(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::vector<struct dl_phdr_info> list;
  dl_iterate_phdr(add_module, &list);
  Napi::Array result = Napi::Array::New(env);
  for (const auto &module : list) {
    uint64_t start = UINT64_MAX, end = 0;
    for (int i = 0; i < module.dlpi_phnum; i++) {
      const auto &header = module.dlpi_phdr[i];
      if (header.p_type != PT_LOAD) continue;
      uint64_t low = module.dlpi_addr + header.p_vaddr, high = low + header.p_memsz;
      if (low < start) start = low;
      if (high > end) end = high;
    }
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("path", Napi::String::New(env, module.dlpi_name == nullptr ? "" : module.dlpi_name));
    entry.Set("bias", Napi::BigInt::New(env, static_cast<uint64_t>(module.dlpi_addr)));
    entry.Set("start", Napi::BigInt::New(env, start));
    entry.Set("end", Napi::BigInt::New(env, end));
    result.Set(result.Length(), entry);
  }
  return result;
}

/* ---- settings and statistics --------------------------------------------------------------------------------- */

/* setForeignStack(enabled, bytes): for stacks made from now on. */
Napi::Value set_foreign_stack(const Napi::CallbackInfo &info) {
  int status = trap_set_foreign_stack(info[0].ToBoolean(), size_argument(info, 1, "bytes"));
  if (status < 0) fail(info.Env(), "cannot set the foreign stack: " + describe(status));
  return info.Env().Undefined();
}

/* model(cycles): measurement only. Callouts that close nothing pay a delay in place of rights writes, and are protected
 * by nothing. The cycles reached. */
Napi::Value model(const Napi::CallbackInfo &info) {
  double reached = 0;
  size_t cycles = size_argument(info, 0, "cycles");
  int status = trap_model(cycles > UINT32_MAX ? UINT32_MAX : static_cast<unsigned>(cycles), &reached);
  if (status < 0) fail(info.Env(), "no model of keys with " + std::to_string(cycles) + " cycles: " + describe(status));
  return Napi::Number::New(info.Env(), reached);
}

Napi::Value statistics(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  struct trap_statistics now = trap_statistics();
  Napi::Object result = Napi::Object::New(env);
  result.Set("faults", static_cast<double>(now.faults));
  result.Set("passedOn", static_cast<double>(now.passed_on));
  result.Set("threadsLive", static_cast<double>(now.threads_live));
  result.Set("threadsEver", static_cast<double>(now.threads_ever));
  result.Set("thunksLive", static_cast<double>(now.thunks_live));
  result.Set("callbacksLive", static_cast<double>(now.callbacks_live));
  result.Set("stacksCached", static_cast<double>(now.stacks_cached));
  return result;
}

void end_of_environment(State *state) {
  for (void *code : state->thunks) trap_thunk_release(code);
  for (void *code : state->callbacks) trap_callback_release(code);
  for (trap_policy *policy : state->policies) trap_policy_release(policy);
  delete state;
}

} // namespace

/* hooks(): code addresses for a VM's native parts in other modules: [trap_signal_enter, trap_signal_leave], and where
 * this thread's fault record is. */
Napi::Value hooks(const Napi::CallbackInfo &info) {
  attach(info.Env());
  Napi::Env env = info.Env();
  auto address = [env](auto *of) { return Napi::BigInt::New(env, reinterpret_cast<uint64_t>(of)); };
  auto result = Napi::Object::New(env);
  result.Set("signalEnter", address(&trap_signal_enter));
  result.Set("signalLeave", address(&trap_signal_leave));
  result.Set("faultRecord", address(trap_thread_fault()));
  return result;
}

void trap_binding_init(Napi::Env env, Napi::Object exports) {
  int status = trap_init();
  if (status < 0) fail(env, "cannot install the trap: " + describe(status));
  attach(env);

  auto *state = new State();
  env.AddCleanupHook(end_of_environment, state);
  auto add = [&](const char *name, Napi::Value (*function)(const Napi::CallbackInfo &)) {
    exports.Set(name, Napi::Function::New(env, function, name, state));
  };
  add("faultView", fault_view);
  add("thunkFault", thunk_fault);
  add("depth", depth);
  add("rearm", rearm);
  add("rearmNote", rearm_note);
  add("policyCreate", policy_create);
  add("policySet", policy_set);
  add("policyRelease", policy_release);
  add("thunk", thunk);
  add("thunkRelease", thunk_release);
  add("callback", callback);
  add("callbackRelease", callback_release);
  add("copy", copy);
  add("copyString", copy_string);
  add("dlopen", open_library);
  add("dlclose", close_library);
  add("dlsym", find_symbol);
  add("modules", modules);
  add("setForeignStack", set_foreign_stack);
  add("model", model);
  add("statistics", statistics);
  add("hooks", hooks);
}
