/* virtual_binding.cc: virtual keys for JavaScript (pkeys_virtual.h). It converts and checks arguments; nothing else. */
#include "arguments.h"
#include "bindings.h"

namespace addon {

namespace {

/* configureVirtual(policy, load, ways, nth, guardBytes, seed): how virtual keys are given out. */
Napi::Value configure_virtual(const Napi::CallbackInfo &info) {
  open_thread();
  pkeys_virtual_options options = {};
  if (pkeys_policy_parse(text(info[0], "policy").c_str(), &options.policy) < 0)
    wrong(info.Env(), "policy", "the name of a policy");
  options.load = whole(info, 1, "load") ? PKEYS_LOAD_ON_FAULT : PKEYS_LOAD_ON_ENTRY;
  options.ways = static_cast<uint32_t>(whole(info, 2, "ways"));
  options.nth = static_cast<uint32_t>(whole(info, 3, "nth"));
  options.guard_bytes = whole(info, 4, "guardBytes");
  options.seed = whole(info, 5, "seed");
  return number(info.Env(), pkeys_virtual_configure(&options));
}

Napi::Value virtual_state(const Napi::CallbackInfo &info) {
  open_thread();
  Napi::Env env = info.Env();
  struct pkeys_virtual_state s = pkeys_virtual_state();
  struct trap_visits v = trap_visits();
  return object(env, {{"ways", number(env, s.ways)},
                      {"images", number(env, s.images)},
                      {"resident", number(env, s.resident)},
                      {"pinned", number(env, s.pinned)},
                      {"loads", number(env, s.loads)},
                      {"evictions", number(env, s.evictions)},
                      {"hits", number(env, v.hits)},
                      {"misses", number(env, v.misses)}});
}

} // namespace

void virtual_init(Napi::Env env, Napi::Object exports) {
  exports.Set("configureVirtual", Napi::Function::New(env, configure_virtual, "configureVirtual"));
  exports.Set("virtualState", Napi::Function::New(env, virtual_state, "virtualState"));
}

} // namespace addon
