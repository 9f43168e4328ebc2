/* arguments.cc: see arguments.h. */
#include "arguments.h"

#include <cmath>
#include <cstring>

namespace addon {

void wrong(Napi::Env env, const char *name, const char *expected) {
  throw Napi::TypeError::New(env, std::string("turnkey addon: ") + name + " must be " + expected);
}

void cannot(Napi::Env env, const char *what, int error) {
  throw Napi::Error::New(env,
                         std::string("turnkey: cannot ") + what + ": " + std::strerror(error < 0 ? -error : error));
}

uint64_t whole(const Napi::Value &value, const char *name) {
  constexpr double kMost = 9007199254740991.0; /* 2^53 - 1 */
  double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= kMost) || number != std::floor(number))
    wrong(value.Env(), name, "a whole number from 0 to 2^53 - 1");
  return static_cast<uint64_t>(number);
}

uint64_t word(const Napi::Value &value, const char *name) {
  bool lossless = false;
  uint64_t number = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless) wrong(value.Env(), name, "a bigint of 64 bits");
  return number;
}

std::string text(const Napi::Value &value, const char *name) {
  if (!value.IsString()) wrong(value.Env(), name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

Bytes bytes(const Napi::Value &value, const char *name) {
  if (!value.IsTypedArray()) wrong(value.Env(), name, "a typed array");
  auto array = value.As<Napi::TypedArray>();
  return {static_cast<uint8_t *>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength()};
}

Napi::Object object(Napi::Env env, std::initializer_list<std::pair<const char *, Napi::Value>> members) {
  Napi::Object result = Napi::Object::New(env);
  for (const auto &[name, value] : members) result.Set(name, value);
  return result;
}

} // namespace addon
