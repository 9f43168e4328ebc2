/*
 * module.cc: the addon's entry. It runs once in each environment (the main thread and every worker): nothing in the
 * addon may keep an environment's state in globals. Each part adds its functions to `exports`.
 */
#include <cstring>

#include <napi.h>
#include <turnkey/version.h>

#include "bindings.h"

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  // where the libraries are preloaded, these are the process's, and not the addon's own
  if (std::strcmp(pkeys_version(), TURNKEY_VERSION) != 0)
    throw Napi::Error::New(env, std::string("Turnkey ") + pkeys_version() +
                                    " is preloaded into this process, and the "
                                    "addon is of version " TURNKEY_VERSION ": start the program by the same Turnkey");
  addon::image_init(env, exports);
  addon::trap_init_binding(env, exports);
  return exports;
}

NODE_API_MODULE(turnkey, init)
