/* image_binding.cc: native/pkeys and native/image for JavaScript. */
#include "bindings.h"

void image_binding_init(Napi::Env env, Napi::Object exports) {
  (void)env;
  (void)exports;
}
