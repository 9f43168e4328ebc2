/*
 * module.cc: the addon's entry. It runs once in each environment (the main thread and every worker): nothing in the
 * addon may keep an environment's state in globals. Each part adds its functions to `exports`.
 */
#include <napi.h>

#include "bindings.h"

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  addon::image_init(env, exports);
  addon::trap_init_binding(env, exports);
  return exports;
}

NODE_API_MODULE(turnkey, init)
