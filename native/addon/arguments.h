/*
 * arguments.h: the addon's way to check arguments, to answer and to fail. Every part uses these and nothing else.
 *
 * A wrong argument throws a TypeError: TypeScript's types should have kept it away. A failure that depends on the
 * machine or the data is answered as a negative errno, and src/ makes the sentence, once. Only the start of the addon
 * throws an Error for such a failure, because an import has no answer.
 */
#ifndef TURNKEY_ADDON_ARGUMENTS_H
#define TURNKEY_ADDON_ARGUMENTS_H

#include <napi.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

namespace addon {

/* Throws the TypeError "turnkey addon: NAME must be EXPECTED". */
[[noreturn]] void wrong(Napi::Env env, const char *name, const char *expected);
/* Throws the Error "turnkey: cannot WHAT: the errno's text". For the start of the addon. */
[[noreturn]] void cannot(Napi::Env env, const char *what, int error);

/* ---- arguments ---- */

/* A whole number from 0 to 2^53 - 1. */
uint64_t whole(const Napi::Value &value, const char *name);
inline uint64_t whole(const Napi::CallbackInfo &info, size_t i, const char *name) { return whole(info[i], name); }
inline uint64_t whole(const Napi::Object &object, const char *name) { return whole(object.Get(name), name); }
/* A BigInt of 64 bits. */
uint64_t word(const Napi::Value &value, const char *name);
/* The same as an address. */
template <typename T> T *address(const Napi::CallbackInfo &info, size_t i, const char *name) {
  return reinterpret_cast<T *>(static_cast<uintptr_t>(word(info[i], name)));
}
std::string text(const Napi::Value &value, const char *name);
/* The bytes of a typed array. */
struct Bytes {
  uint8_t *data;
  size_t length;
};
Bytes bytes(const Napi::Value &value, const char *name);

/* ---- answers ---- */

inline Napi::Value number(Napi::Env env, double value) { return Napi::Number::New(env, value); }
inline Napi::Value number(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }
inline Napi::Value number(Napi::Env env, uint32_t value) { return Napi::Number::New(env, value); }
inline Napi::Value number(Napi::Env env, int value) { return Napi::Number::New(env, value); }
inline Napi::Value big(Napi::Env env, uint64_t value) { return Napi::BigInt::New(env, value); }
inline Napi::Value big(Napi::Env env, const void *address) {
  return Napi::BigInt::New(env, static_cast<uint64_t>(reinterpret_cast<uintptr_t>(address)));
}
inline Napi::Value truth(Napi::Env env, bool value) { return Napi::Boolean::New(env, value); }
inline Napi::Value string(Napi::Env env, const char *value) { return Napi::String::New(env, value); }

Napi::Object object(Napi::Env env, std::initializer_list<std::pair<const char *, Napi::Value>> members);

} // namespace addon

#endif
