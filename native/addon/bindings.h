/* bindings.h: what each part of the addon gives to the others. */
#ifndef TURNKEY_ADDON_BINDINGS_H
#define TURNKEY_ADDON_BINDINGS_H

#include <napi.h>

/* In C a function and a structure may share a name; C++ takes that for a shadowed constructor. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#include "image.h"
#include "trap.h"
#pragma GCC diagnostic pop

#include <unordered_set>

namespace addon {

/* ---- images ---- */

void image_init(Napi::Env env, Napi::Object exports);

/* Attaches this thread (I13). Without a thread slot the rights are opened all the same. */
void open_thread();
void virtual_init(Napi::Env env, Napi::Object exports);

Napi::Object probe_object(Napi::Env env);
Napi::Object space_object(Napi::Env env, const pkeys_space &space);
Napi::Object file_object(Napi::Env env, const spur_file &file);
Napi::Object heap_object(Napi::Env env, const spur_object &found);
Napi::Object report_object(Napi::Env env, const image_report &report, const spur_problem *problems);
Napi::Object difference_object(Napi::Env env, const image_difference &difference, const image_range *ranges);

/* ---- the trap ---- */

/* What an environment has made in the trap and not yet released. It is released when the environment ends; the addon
 * keeps nothing of an environment in globals. */
struct TrapState {
  std::unordered_multiset<void *> thunks; /* a shared thunk is counted: once for each time it was made */
  std::unordered_set<void *> callbacks;
  std::unordered_set<void *> callbacks_left; /* released, while a foreign thread was on its way through */
  std::unordered_set<trap_policy *> policies;
  std::unordered_set<uint32_t> tickets;
  napi_env env = nullptr;
  uv_loop_s *loop = nullptr;
  napi_threadsafe_function keeper = nullptr; /* of the loop: while foreign threads are answered at the end */
};

void trap_init_binding(Napi::Env env, Napi::Object exports);

inline TrapState *state_of(const Napi::CallbackInfo &info) { return static_cast<TrapState *>(info.Data()); }
/* null or a live policy of this environment. */
trap_policy *policy_argument(const Napi::CallbackInfo &info, size_t i);
/* Where a fault record is to be written: a typed array of at least sizeof(struct trap_fault). */
struct trap_fault *record_argument(const Napi::CallbackInfo &info, size_t i);

/* trap_memory.cc, trap_loader.cc */
Napi::Value copy(const Napi::CallbackInfo &info);
Napi::Value copy_string(const Napi::CallbackInfo &info);
Napi::Value open_library(const Napi::CallbackInfo &info);
Napi::Value close_library(const Napi::CallbackInfo &info);
Napi::Value find_symbol(const Napi::CallbackInfo &info);
Napi::Value modules(const Napi::CallbackInfo &info);

} // namespace addon

#endif
