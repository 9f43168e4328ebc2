/*
 * trap_binding.cc: native/trap for JavaScript. It converts and checks arguments; nothing else. Addresses are BigInt.
 *
 * A function that may touch the image or run foreign code attaches its thread first (I13); the trap does that. What an
 * environment made and did not release is released when the environment ends.
 */
#include <chrono>
#include <climits>
#include <cstring>
#include <thread>
#include <vector>

#include "arguments.h"
#include "bindings.h"
#include "filter.h"

/* Node exports this function of libuv 1; its header does not come with Node-API's. */
extern "C" int uv_run(struct uv_loop_s *loop, int mode);
constexpr int kRunNoWait = 2; /* UV_RUN_NOWAIT */

namespace addon {

constexpr size_t kRecordBytes = sizeof(struct trap_fault);

trap_policy *policy_argument(const Napi::CallbackInfo &info, size_t i) {
  if (info[i].IsNull()) return nullptr;
  auto *policy = address<trap_policy>(info, i, "policy");
  if (state_of(info)->policies.count(policy) == 0) wrong(info.Env(), "policy", "a live policy of this environment");
  return policy;
}

struct trap_fault *record_argument(const Napi::CallbackInfo &info, size_t i) {
  Bytes record = bytes(info[i], "record");
  if (record.length < kRecordBytes) wrong(info.Env(), "record", "as large as a fault record");
  return reinterpret_cast<struct trap_fault *>(record.data);
}

namespace {

/* ---- threads and records ------------------------------------------------------------------------------------- */

/* faultView(): this thread's fault record as an ArrayBuffer over the trap's own memory, or -ENOMEM or -EAGAIN. */
Napi::Value fault_view(const Napi::CallbackInfo &info) {
  int error = trap_attach();
  if (error < 0) return number(info.Env(), error);
  return Napi::ArrayBuffer::New(info.Env(), trap_thread_fault(), kRecordBytes);
}

/* depth(): callouts that this thread is inside of. */
Napi::Value depth(const Napi::CallbackInfo &info) { return number(info.Env(), trap_depth()); }

Napi::Value rearm(const Napi::CallbackInfo &info) { return number(info.Env(), trap_rearm()); }

/* rearmNote(): before Node installs a handler of its own. */
Napi::Value rearm_note(const Napi::CallbackInfo &info) { return number(info.Env(), trap_rearm_note()); }

/* hooks(): for a VM's native parts in other modules: trap_signal_enter, trap_signal_leave, this thread's record. */
Napi::Value hooks(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  auto code = [env](auto *function) { return big(env, reinterpret_cast<uint64_t>(function)); };
  return object(env, {{"signalEnter", code(&trap_signal_enter)},
                      {"signalLeave", code(&trap_signal_leave)},
                      {"faultRecord", big(env, trap_thread_fault())}});
}

/* ---- policies ------------------------------------------------------------------------------------------------ */

enum trap_response response_argument(const Napi::CallbackInfo &info, size_t i) {
  uint64_t response = whole(info, i, "response");
  if (response > TRAP_ALWAYS) wrong(info.Env(), "response", "0, 1 or 2");
  return static_cast<enum trap_response>(response);
}

Napi::Value policy_create(const Napi::CallbackInfo &info) {
  trap_policy *policy = trap_policy_create(response_argument(info, 0));
  if (policy == nullptr) return number(info.Env(), -ENOSPC);
  state_of(info)->policies.insert(policy);
  return big(info.Env(), policy);
}

Napi::Value policy_set(const Napi::CallbackInfo &info) {
  trap_policy_set(policy_argument(info, 0), response_argument(info, 1));
  return info.Env().Undefined();
}

Napi::Value policy_release(const Napi::CallbackInfo &info) {
  trap_policy *policy = policy_argument(info, 0);
  state_of(info)->policies.erase(policy);
  trap_policy_release(policy);
  return info.Env().Undefined();
}

/* ---- thunks, tickets, callbacks ------------------------------------------------------------------------------ */

/* thunk(target, stackBytes, flags, policy | null): a code address to be released once, or a negative errno. */
Napi::Value thunk(const Napi::CallbackInfo &info) {
  auto *target = address<void>(info, 0, "target");
  uint64_t stack_bytes = whole(info, 1, "stackBytes");
  uint64_t flags = whole(info, 2, "flags");
  trap_policy *policy = policy_argument(info, 3);
  void *code = nullptr;
  int error = trap_thunk(target, stack_bytes, static_cast<unsigned>(flags), policy, &code);
  if (error < 0) return number(info.Env(), error);
  state_of(info)->thunks.insert(code);
  return big(info.Env(), code);
}

Napi::Value thunk_release(const Napi::CallbackInfo &info) {
  auto *code = address<void>(info, 0, "code");
  auto &thunks = state_of(info)->thunks;
  auto found = thunks.find(code);
  if (found == thunks.end()) wrong(info.Env(), "code", "a live thunk of this environment");
  thunks.erase(found);
  return number(info.Env(), trap_thunk_release(code));
}

/* ticketTake(): a ticket for one call in flight, or -ENOSPC. */
Napi::Value ticket_take(const Napi::CallbackInfo &info) {
  uint32_t ticket = 0;
  int error = trap_ticket_take(&ticket);
  if (error < 0) return number(info.Env(), error);
  state_of(info)->tickets.insert(ticket);
  return number(info.Env(), ticket);
}

/* ticketEnd(ticket, record): gives the ticket back. True with the fault in `record` if the call failed. */
Napi::Value ticket_end(const Napi::CallbackInfo &info) {
  auto ticket = static_cast<uint32_t>(whole(info, 0, "ticket"));
  struct trap_fault *record = record_argument(info, 1);
  if (state_of(info)->tickets.erase(ticket) == 0) wrong(info.Env(), "ticket", "a ticket of this environment");
  return truth(info.Env(), trap_ticket_end(ticket, record));
}

constexpr std::chrono::seconds kAnswerTime(5);

/* When an environment ends. koffi answers foreign threads from the event loop. A thread that is on the way to koffi
 * when koffi takes its queue apart would wait for ever, or find freed memory. So none starts any more, and the loop
 * runs until the last is answered: with zeros, as JavaScript cannot be called by now. A thread that ended in its call
 * is not waited for longer than kAnswerTime. */
void answer_callers(TrapState *state) {
  napi_ref_threadsafe_function(state->env, state->keeper);
  std::vector<void *> codes(state->callbacks_left.begin(), state->callbacks_left.end());
  for (void *code : state->callbacks) {
    trap_callback_release(code);
    codes.push_back(code);
  }
  state->callbacks.clear();
  auto calls = [&codes] {
    uint64_t sum = 0;
    for (void *code : codes) sum += trap_callback_calls(code);
    return sum;
  };
  for (auto end = std::chrono::steady_clock::now() + kAnswerTime;
       calls() > 0 && std::chrono::steady_clock::now() < end;) {
    uv_run(state->loop, kRunNoWait);
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  napi_release_threadsafe_function(state->keeper, napi_tsfn_abort);
}

/* Once for an environment, when koffi has made its queue: hooks run from the newest to the oldest. A loop without live
 * handles would not run, and koffi's queue is none; `keeper` is, while callers are answered. */
bool answer_callers_later(TrapState *state) {
  if (state->keeper != nullptr) return true;
  napi_value name;
  if (napi_create_string_utf8(state->env, "Turnkey callbacks", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(
          state->env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr,
          [](napi_env, napi_value, void *, void *) {}, &state->keeper) != napi_ok)
    return false;
  napi_unref_threadsafe_function(state->env, state->keeper);
  auto answer = [](void *data) { answer_callers(static_cast<TrapState *>(data)); };
  if (napi_add_env_cleanup_hook(state->env, answer, state) == napi_ok) return true;
  napi_release_threadsafe_function(state->keeper, napi_tsfn_abort);
  state->keeper = nullptr;
  return false;
}

/* callback(target, stackBytes): the address to hand to foreign code in place of `target`, to be released once; or a
 * negative errno. */
Napi::Value callback(const Napi::CallbackInfo &info) {
  auto *target = address<void>(info, 0, "target");
  TrapState *state = state_of(info);
  if (!answer_callers_later(state)) return number(info.Env(), -ENOMEM);
  void *code = nullptr;
  int error = trap_callback(target, whole(info, 1, "stackBytes"), &code);
  if (error == 0) error = trap_callback_count(code);
  if (error < 0) return number(info.Env(), error);
  state->callbacks.insert(code);
  return big(info.Env(), code);
}

Napi::Value callback_release(const Napi::CallbackInfo &info) {
  auto *code = address<void>(info, 0, "code");
  TrapState *state = state_of(info);
  if (state->callbacks.erase(code) == 0) wrong(info.Env(), "code", "a live callback thunk of this environment");
  int error = trap_callback_release(code);
  if (trap_callback_calls(code) > 0) state->callbacks_left.insert(code);
  return number(info.Env(), error);
}

/* callbackCalls(code): foreign threads on their way through a callback, live or released. */
Napi::Value callback_calls(const Napi::CallbackInfo &info) {
  return number(info.Env(), trap_callback_calls(address<void>(info, 0, "code")));
}

/* ---- settings and statistics --------------------------------------------------------------------------------- */

/* setForeignStack(enabled, bytes): for stacks made from now on. 0 or a negative errno. */
Napi::Value set_foreign_stack(const Napi::CallbackInfo &info) {
  return number(info.Env(), trap_set_foreign_stack(info[0].ToBoolean(), whole(info, 1, "bytes")));
}

/* model(cycles): for measurement only. Callouts that close nothing pay a delay in place of rights writes, and nothing
 * protects them. Returns the cycles reached, or a negative errno. */
Napi::Value model(const Napi::CallbackInfo &info) {
  double reached = 0;
  uint64_t cycles = whole(info, 0, "cycles");
  int error = trap_model(cycles > UINT32_MAX ? UINT32_MAX : static_cast<unsigned>(cycles), &reached);
  return error < 0 ? number(info.Env(), error) : number(info.Env(), reached);
}

Napi::Value statistics(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  struct trap_statistics now = trap_statistics();
  return object(env, {{"faults", number(env, now.faults)},
                      {"passedOn", number(env, now.passed_on)},
                      {"threadsLive", number(env, now.threads_live)},
                      {"threadsEver", number(env, now.threads_ever)},
                      {"thunksLive", number(env, now.thunks_live)},
                      {"callbacksLive", number(env, now.callbacks_live)},
                      {"stacksCached", number(env, now.stacks_cached)}});
}

/* filterInit(way, refusal, threads, code, rules): callees' system calls are judged from now on. 0 or a negative errno.
 */
Napi::Value filter_init(const Napi::CallbackInfo &info) {
  Bytes words = bytes(info[4], "rules");
  std::vector<struct trap_filter_rule> rules(words.length / 8);
  for (size_t i = 0; i < rules.size(); i++) {
    uint32_t pair[2];
    std::memcpy(pair, reinterpret_cast<const char *>(words.data) + 8 * i, sizeof pair);
    rules[i] = {pair[0], static_cast<enum trap_call_verdict>(pair[1])};
  }
  struct trap_filter_options options = {};
  options.way = static_cast<enum trap_filter_way>(whole(info, 0, "way"));
  options.refusal = static_cast<enum trap_refusal>(whole(info, 1, "refusal"));
  options.threads = info[2].ToBoolean();
  options.code = info[3].ToBoolean();
  options.rules = rules.data();
  options.rule_count = rules.size();
  return number(info.Env(), trap_filter_init(&options));
}

Napi::Value filter_statistics(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  struct trap_filter_statistics now = trap_filter_statistics();
  return object(env, {{"judged", number(env, now.judged)}, {"refused", number(env, now.refused)}});
}

/* watchCode(address): a hardware breakpoint at which callees fail. 0 or a negative errno. */
Napi::Value watch_code(const Napi::CallbackInfo &info) {
  return number(info.Env(), trap_watch_code(static_cast<uintptr_t>(word(info[0], "address"))));
}

/* seal(): the trap's own pages. 0 or a negative errno. */
Napi::Value seal(const Napi::CallbackInfo &info) { return number(info.Env(), trap_seal()); }

void end_of_environment(TrapState *state) {
  for (void *code : state->callbacks) trap_callback_release(code);
  for (void *code : state->thunks) trap_thunk_release(code);
  for (trap_policy *policy : state->policies) trap_policy_release(policy);
  for (uint32_t ticket : state->tickets) trap_ticket_end(ticket, nullptr);
  delete state;
}

} // namespace

/* Offsets in a fault record, by the names of src/callout/record.ts: trap.h has the one definition of its layout. */
static Napi::Object record_layout(Napi::Env env) {
  const struct {
    const char *name;
    size_t offset;
  } fields[] = {
      {"pending", offsetof(struct trap_fault, pending)},
      {"phase", offsetof(struct trap_fault, phase)},
      {"signal", offsetof(struct trap_fault, signal)},
      {"code", offsetof(struct trap_fault, code)},
      {"address", offsetof(struct trap_fault, address)},
      {"pc", offsetof(struct trap_fault, pc)},
      {"access", offsetof(struct trap_fault, access)},
      {"pkey", offsetof(struct trap_fault, pkey)},
      {"threadId", offsetof(struct trap_fault, thread_id)},
      {"depth", offsetof(struct trap_fault, depth)},
      {"function", offsetof(struct trap_fault, function)},
      {"thunk", offsetof(struct trap_fault, thunk)},
      {"spaceFound", offsetof(struct trap_fault, space_found)},
      {"spaceImageId", offsetof(struct trap_fault, space_image_id)},
      {"spaceOffset", offsetof(struct trap_fault, space_offset)},
      {"spaceName", offsetof(struct trap_fault, space_name)},
      {"errorCode", offsetof(struct trap_fault, error_code)},
      {"trapNumber", offsetof(struct trap_fault, trap_number)},
      {"registers", offsetof(struct trap_fault, registers)},
      {"pkru", offsetof(struct trap_fault, pkru)},
      {"flags", offsetof(struct trap_fault, flags)},
      {"stackWords", offsetof(struct trap_fault, stack_words)},
      {"mechanismHeld", offsetof(struct trap_fault, mechanism_held)},
      {"stack", offsetof(struct trap_fault, stack)},
      {"spaceKey", offsetof(struct trap_fault, space_key)},
      {"spaceMoves", offsetof(struct trap_fault, space_moves)},
  };
  Napi::Object layout = object(env, {{"bytes", number(env, static_cast<uint64_t>(kRecordBytes))}});
  for (const auto &[name, offset] : fields) layout.Set(name, number(env, static_cast<uint64_t>(offset)));
  return layout;
}

void trap_init_binding(Napi::Env env, Napi::Object exports) {
  int error = trap_init();
  if (error < 0) cannot(env, "install the trap on this thread", error);

  auto *state = new TrapState();
  state->env = env;
  if (napi_get_uv_event_loop(env, &state->loop) != napi_ok) throw Napi::Error::New(env, "no event loop");
  env.AddCleanupHook(end_of_environment, state);
  const struct {
    const char *name;
    Napi::Value (*function)(const Napi::CallbackInfo &);
  } functions[] = {
      {"faultView", fault_view},
      {"depth", depth},
      {"rearm", rearm},
      {"rearmNote", rearm_note},
      {"hooks", hooks},
      {"policyCreate", policy_create},
      {"policySet", policy_set},
      {"policyRelease", policy_release},
      {"thunk", thunk},
      {"thunkRelease", thunk_release},
      {"ticketTake", ticket_take},
      {"ticketEnd", ticket_end},
      {"callback", callback},
      {"callbackRelease", callback_release},
      {"callbackCalls", callback_calls},
      {"copy", copy},
      {"copyString", copy_string},
      {"dlopen", open_library},
      {"dlclose", close_library},
      {"dlsym", find_symbol},
      {"modules", modules},
      {"setForeignStack", set_foreign_stack},
      {"model", model},
      {"statistics", statistics},
      {"filterInit", filter_init},
      {"filterStatistics", filter_statistics},
      {"watchCode", watch_code},
      {"seal", seal},
  };
  exports.Set("recordLayout", record_layout(env));
  for (const auto &[name, function] : functions) exports.Set(name, Napi::Function::New(env, function, name, state));
}

} // namespace addon
