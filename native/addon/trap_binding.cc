/* trap_binding.cc: native/trap for JavaScript. */
#include "bindings.h"

void trap_binding_init(Napi::Env env, Napi::Object exports) {
  (void)env;
  (void)exports;
}
