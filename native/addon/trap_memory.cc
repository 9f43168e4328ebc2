/* trap_memory.cc: bounded copies of what foreign code left behind, through the gate. */
#include <cstring>
#include <string>
#include <vector>

#include "arguments.h"
#include "bindings.h"

namespace addon {

/* copy(destination: Uint8Array, source, bytes, record): true, or false with the fault in `record`. */
Napi::Value copy(const Napi::CallbackInfo &info) {
  Bytes destination = bytes(info[0], "destination");
  auto *source = address<const void>(info, 1, "source");
  uint64_t count = whole(info, 2, "bytes");
  struct trap_fault *record = record_argument(info, 3);
  if (count > destination.length) wrong(info.Env(), "bytes", "at most the destination's");
  return truth(info.Env(), trap_copy(destination.data, source, count, record) == 0);
}

static Napi::Value string_of_utf32(Napi::Env env, const char32_t *units, size_t length) {
  std::u16string result;
  result.reserve(length);
  for (size_t i = 0; i < length; i++) {
    char32_t unit = units[i];
    if (unit > 0x10FFFF || (unit >= 0xD800 && unit <= 0xDFFF)) {
      result.push_back(0xFFFD);
    } else if (unit > 0xFFFF) {
      result.push_back(static_cast<char16_t>(0xD800 + ((unit - 0x10000) >> 10)));
      result.push_back(static_cast<char16_t>(0xDC00 + ((unit - 0x10000) & 0x3FF)));
    } else {
      result.push_back(static_cast<char16_t>(unit));
    }
  }
  return Napi::String::New(env, result);
}

/* copyString(source, unitBytes, maxUnits, record): the string before the terminator; null if there is no terminator in
 * maxUnits; undefined with the fault in `record`. The copy grows in pieces, so that a short string costs little. */
Napi::Value copy_string(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  uint64_t source = word(info[0], "source");
  size_t unit_bytes = whole(info, 1, "unitBytes");
  size_t max_units = whole(info, 2, "maxUnits");
  struct trap_fault *record = record_argument(info, 3);
  if (unit_bytes != 1 && unit_bytes != 2 && unit_bytes != 4) wrong(env, "unitBytes", "1, 2 or 4");

  alignas(16) char small[512];
  std::vector<char> large;
  char *buffer = small;
  size_t capacity = sizeof small / unit_bytes, length = 0;
  for (;;) {
    size_t want = capacity < max_units ? capacity : max_units;
    bool terminated = false;
    intptr_t got = trap_copy_string(buffer + length * unit_bytes,
                                    reinterpret_cast<const void *>(source + length * unit_bytes), want - length,
                                    static_cast<unsigned>(unit_bytes), &terminated, record);
    if (got < 0) return env.Undefined();
    length += static_cast<size_t>(got);
    if (terminated) break;
    if (length >= max_units) return env.Null();
    capacity *= 8;
    std::vector<char> grown(capacity * unit_bytes);
    memcpy(grown.data(), buffer, length * unit_bytes);
    large.swap(grown);
    buffer = large.data();
  }
  switch (unit_bytes) {
    case 1: return Napi::String::New(env, buffer, length);
    case 2: return Napi::String::New(env, reinterpret_cast<const char16_t *>(buffer), length);
    default: return string_of_utf32(env, reinterpret_cast<const char32_t *>(buffer), length);
  }
}

} // namespace addon
