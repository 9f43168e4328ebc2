/*
 * module.cc: the addon's entry. Runs once in each environment (the main thread and every worker): nothing here or in
 * the bindings may keep per-environment state in globals. Each binding adds its functions to `exports`.
 */
#include <napi.h>

#include "bindings.h"

static Napi::Object init(Napi::Env env, Napi::Object exports) {
#ifdef TURNKEY_HAS_IMAGE
  image_binding_init(env, exports);
#endif
#ifdef TURNKEY_HAS_TRAP
  trap_binding_init(env, exports);
#endif
  (void)env;
  return exports;
}

NODE_API_MODULE(turnkey, init)
