/* trap_loader.cc: loading and unloading libraries as callouts, and what the loader has mapped. */
#include <dlfcn.h>
#include <link.h>

#include <string>
#include <vector>

#include "arguments.h"
#include "bindings.h"

namespace addon {

/* dlopen(path | null, flags, policy | null, record): the handle, or the loader's message, or undefined with the fault
 * in `record`. */
Napi::Value open_library(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  bool self = info[0].IsNull();
  std::string path = self ? "" : text(info[0], "path");
  uint64_t flags = whole(info, 1, "flags");
  trap_policy *policy = policy_argument(info, 2);
  struct trap_fault *record = record_argument(info, 3);
  char message[1024] = "";
  void *handle = trap_dlopen(self ? nullptr : path.c_str(), static_cast<int>(flags), policy, record, message,
                             sizeof message);
  if (handle != nullptr) return big(env, handle);
  return record->pending != 0 ? env.Undefined() : string(env, message);
}

/* dlclose(handle, policy | null, record): true, or the loader's message, or undefined with the fault in `record`. */
Napi::Value close_library(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  auto *handle = address<void>(info, 0, "handle");
  trap_policy *policy = policy_argument(info, 1);
  struct trap_fault *record = record_argument(info, 2);
  char message[1024] = "";
  if (trap_dlclose(handle, policy, record, message, sizeof message) == 0) return truth(env, true);
  return record->pending != 0 ? env.Undefined() : string(env, message);
}

/* dlsym(handle, name): the address, 0n where there is none. */
Napi::Value find_symbol(const Napi::CallbackInfo &info) {
  auto *handle = address<void>(info, 0, "handle");
  return big(info.Env(), dlsym(handle, text(info[1], "name").c_str()));
}

static int add_module(struct dl_phdr_info *phdr, size_t, void *data) {
  static_cast<std::vector<struct dl_phdr_info> *>(data)->push_back(*phdr);
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
    result.Set(result.Length(), object(env, {{"path", string(env, module.dlpi_name == nullptr ? "" : module.dlpi_name)},
                                             {"bias", big(env, static_cast<uint64_t>(module.dlpi_addr))},
                                             {"start", big(env, start)},
                                             {"end", big(env, end)}}));
  }
  return result;
}

} // namespace addon
