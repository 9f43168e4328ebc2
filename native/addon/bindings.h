/* bindings.h: what each part of the addon gives to the module's entry. */
#ifndef TURNKEY_BINDINGS_H
#define TURNKEY_BINDINGS_H

#include <napi.h>

void image_binding_init(Napi::Env env, Napi::Object exports);
void trap_binding_init(Napi::Env env, Napi::Object exports);

#endif
