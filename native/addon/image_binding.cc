/*
 * image_binding.cc: native/pkeys and native/image for JavaScript. Converts and checks arguments; nothing else.
 *
 * Failures that depend on the machine or the data come back as a negative errno; the sentence is made once, in
 * src/image/. What throws here is only a wrong argument that TypeScript's types should have kept away.
 *
 * An image belongs to the process, not to one environment: the main thread and workers may hold the same one (by its
 * id). Its operations take a lock of its own. Every entry attaches its thread first (I13, docs/invariants.md).
 */
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bindings.h"
#include "image.h"
#ifdef TURNKEY_HAS_TRAP
#include "trap.h"
#endif

namespace {

void attach() {
#ifdef TURNKEY_HAS_TRAP
  (void)trap_attach(); /* without a thread slot the rights are still opened below */
#endif
  pkeys_open_thread();
}

/* ---- arguments ---- */

[[noreturn]] void wrong(Napi::Env env, const char *what) {
  throw Napi::TypeError::New(env, std::string("turnkey addon: ") + what);
}

uint64_t whole(const Napi::CallbackInfo &info, size_t i, const char *what) {
  if (!info[i].IsNumber()) wrong(info.Env(), what);
  double v = info[i].As<Napi::Number>().DoubleValue();
  if (!(v >= 0 && v <= 9007199254740991.0) || v != std::floor(v)) wrong(info.Env(), what);
  return static_cast<uint64_t>(v);
}

std::string text(const Napi::Value &value, const char *what) {
  if (!value.IsString()) wrong(value.Env(), what);
  return value.As<Napi::String>().Utf8Value();
}

double whole_of(const Napi::Object &object, const char *name) {
  Napi::Value value = object.Get(name);
  if (!value.IsNumber()) wrong(object.Env(), name);
  double v = value.As<Napi::Number>().DoubleValue();
  if (!(v >= 0 && v <= 9007199254740991.0) || v != std::floor(v)) wrong(object.Env(), name);
  return v;
}

Napi::Value number(Napi::Env env, double value) { return Napi::Number::New(env, value); }
Napi::Value number(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }
Napi::Value number(Napi::Env env, int value) { return Napi::Number::New(env, value); }
Napi::Value big(Napi::Env env, uint64_t value) { return Napi::BigInt::New(env, value); }

/* ---- images of the process ---- */

struct Handle {
  std::mutex lock;
  image *content = nullptr; /* null once closed */
  uint32_t id = 0;
};

std::mutex handles_lock;
std::map<uint32_t, std::weak_ptr<Handle>> handles;
/* Images that nobody refers to any more, but that could not be closed when that was found out. */
std::vector<image *> abandoned;

bool safe_to_close() {
#ifdef TURNKEY_HAS_TRAP
  return trap_depth() == 0; /* not while foreign code is underneath: it may hold pointers into the image */
#else
  return true;
#endif
}

void close_abandoned() {
  if (!safe_to_close()) return;
  std::lock_guard<std::mutex> guard(handles_lock);
  for (size_t i = 0; i < abandoned.size();)
    if (image_close(abandoned[i]) == 0) abandoned.erase(abandoned.begin() + static_cast<std::ptrdiff_t>(i));
    else i++;
}

struct HandleEnd {
  void operator()(Handle *handle) const {
    if (handle->content) {
      attach();
      std::lock_guard<std::mutex> guard(handles_lock);
      handles.erase(handle->id);
      if (!safe_to_close() || image_close(handle->content) != 0) abandoned.push_back(handle->content);
    }
    delete handle;
  }
};

/* ---- conversions ---- */

Napi::Object probe_object(Napi::Env env) {
  struct pkeys_probe p;
  ::pkeys_probe(&p);
  Napi::Object o = Napi::Object::New(env);
  o["cpuPku"] = Napi::Boolean::New(env, p.cpu_pku);
  o["cpuOspke"] = Napi::Boolean::New(env, p.cpu_ospke);
  o["allocWorks"] = Napi::Boolean::New(env, p.alloc_works);
  o["tagWorks"] = Napi::Boolean::New(env, p.tag_works);
  o["denyWorks"] = Napi::Boolean::New(env, p.deny_works);
  o["allocErrno"] = number(env, p.alloc_errno);
  o["tagErrno"] = number(env, p.tag_errno);
  o["keysFree"] = number(env, p.keys_free);
  o["usable"] = Napi::Boolean::New(env, p.usable);
  o["reason"] = Napi::String::New(env, p.reason);
  o["failedCall"] = Napi::String::New(env, p.failed_call ? p.failed_call : "");
  o["failedErrno"] = number(env, p.failed_errno);
  o["failedSignal"] = number(env, p.failed_signal);
  o["filtered"] = Napi::Boolean::New(env, p.filtered);
  o["warning"] = Napi::String::New(env, p.warning);
  return o;
}

Napi::Object file_object(Napi::Env env, const spur_file &f) {
  Napi::Object o = Napi::Object::New(env);
  o["version"] = number(env, static_cast<uint64_t>(f.version));
  o["family"] = Napi::String::New(env, f.family == SPUR_FAMILY_V3 ? "v3" : "spur");
  o["wordBytes"] = number(env, static_cast<uint64_t>(f.word_bytes));
  o["swapped"] = Napi::Boolean::New(env, f.swapped);
  o["multipleBytecodes"] = Napi::Boolean::New(env, f.multiple_bytecodes);
  o["fileOffset"] = number(env, f.file_offset);
  o["headerBytes"] = number(env, f.header_bytes);
  o["heapBytes"] = number(env, f.heap_bytes);
  o["baseAddress"] = big(env, f.base_address);
  o["specialObjects"] = big(env, f.special_objects);
  o["firstSegmentBytes"] = number(env, f.first_segment_bytes);
  return o;
}

Napi::Object object_object(Napi::Env env, const spur_object &s) {
  Napi::Object o = Napi::Object::New(env);
  o["offset"] = number(env, s.offset);
  o["bytes"] = number(env, s.bytes);
  o["slots"] = number(env, s.slots);
  o["classIndex"] = number(env, static_cast<uint64_t>(s.class_index));
  o["format"] = number(env, static_cast<uint64_t>(s.format));
  o["slot"] = number(env, static_cast<double>(s.slot));
  o["isFree"] = Napi::Boolean::New(env, s.is_free);
  return o;
}

class NativeImage : public Napi::ObjectWrap<NativeImage> {
public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("NativeImage", DefineClass(env, "NativeImage",
                                           {
                                               InstanceMethod<&NativeImage::failure>("failure"),
                                               InstanceMethod<&NativeImage::id>("id"),
                                               InstanceMethod<&NativeImage::isOpen>("isOpen"),
                                               InstanceMethod<&NativeImage::spaces>("spaces"),
                                               InstanceMethod<&NativeImage::space>("space"),
                                               InstanceMethod<&NativeImage::mechanism>("mechanism"),
                                               InstanceMethod<&NativeImage::setMechanism>("setMechanism"),
                                               InstanceMethod<&NativeImage::close>("close"),
                                               InstanceMethod<&NativeImage::fill>("fill"),
                                               InstanceMethod<&NativeImage::load>("load"),
                                               InstanceMethod<&NativeImage::resize>("resize"),
                                               InstanceMethod<&NativeImage::verify>("verify"),
                                               InstanceMethod<&NativeImage::snapshot>("snapshot"),
                                               InstanceMethod<&NativeImage::hasSnapshot>("hasSnapshot"),
                                               InstanceMethod<&NativeImage::diff>("diff"),
                                               InstanceMethod<&NativeImage::restore>("restore"),
                                               InstanceMethod<&NativeImage::objectAt>("objectAt"),
                                               InstanceMethod<&NativeImage::hash>("hash"),
                                               InstanceMethod<&NativeImage::read>("read"),
                                               InstanceMethod<&NativeImage::write>("write"),
                                               InstanceMethod<&NativeImage::neighbour>("neighbour"),
                                               InstanceMethod<&NativeImage::reapply>("reapply"),
                                               InstanceMethod<&NativeImage::verifyTags>("verifyTags"),
                                               InstanceMethod<&NativeImage::lend>("lend"),
                                           }));
  }

  /* new NativeImage(requests, keyMode) maps; new NativeImage(id) takes part in an image that another thread has mapped.
   * failure() tells how it went. */
  explicit NativeImage(const Napi::CallbackInfo &info) : Napi::ObjectWrap<NativeImage>(info) {
    attach();
    close_abandoned();
    if (info[0].IsNumber()) {
      uint32_t wanted = static_cast<uint32_t>(whole(info, 0, "id must be a whole number"));
      std::lock_guard<std::mutex> guard(handles_lock);
      auto found = handles.find(wanted);
      if (found != handles.end()) handle_ = found->second.lock();
      if (!handle_) failure_ = -ENOENT;
      return;
    }
    if (!info[0].IsArray()) wrong(info.Env(), "spaces must be an array");
    Napi::Array list = info[0].As<Napi::Array>();
    pkeys_key_mode mode = whole(info, 1, "key mode must be 0 or 1") ? PKEYS_KEY_PER_SPACE : PKEYS_KEY_PER_IMAGE;
    std::vector<std::string> names;
    std::vector<pkeys_space_request> requests;
    names.reserve(list.Length());
    for (uint32_t i = 0; i < list.Length(); i++) {
      Napi::Value item = list.Get(i);
      if (!item.IsObject()) wrong(info.Env(), "a space must be an object");
      Napi::Object s = item.As<Napi::Object>();
      names.push_back(text(s.Get("name"), "a space's name must be a string"));
      if (names.back().find('\0') != std::string::npos)
        wrong(info.Env(), "a space's name must not contain a null character");
      pkeys_space_request r = {};
      r.name = names.back().c_str();
      r.bytes = static_cast<size_t>(whole_of(s, "bytes"));
      r.reserve_bytes = static_cast<size_t>(whole_of(s, "reserveBytes"));
      r.deny = text(s.Get("deny"), "deny must be a string") == "access" ? PKEYS_NO_ACCESS : PKEYS_NO_WRITE;
      requests.push_back(r);
    }
    pkeys_image *mapped = nullptr;
    size_t failed = requests.size();
    failure_ = pkeys_image_map(requests.data(), requests.size(), mode, &mapped, &failed);
    failed_index_ = static_cast<int>(failed);
    if (failure_ < 0) return;
    image *content = nullptr;
    failure_ = image_open(mapped, &content);
    if (failure_ < 0) {
      (void)pkeys_image_close(mapped);
      failed_index_ = static_cast<int>(requests.size());
      return;
    }
    Handle *handle = new Handle;
    handle->content = content;
    handle->id = pkeys_image_id(mapped);
    handle_ = std::shared_ptr<Handle>(handle, HandleEnd());
    std::lock_guard<std::mutex> guard(handles_lock);
    handles[handle->id] = handle_;
  }

private:
  std::shared_ptr<Handle> handle_;
  int failure_ = 0, failed_index_ = -1;

  /* The image, locked, or null if closed: the caller then answers -EBADF. */
  struct Use {
    std::unique_lock<std::mutex> lock;
    image *content = nullptr;
    explicit operator bool() const { return content != nullptr; }
    struct pkeys_image *mapped() const { return image_mapped(content); }
  };
  Use use() {
    attach();
    Use u;
    if (!handle_) return u;
    u.lock = std::unique_lock<std::mutex>(handle_->lock);
    u.content = handle_->content;
    return u;
  }
  size_t index(const Napi::CallbackInfo &info, const Use &u, size_t argument = 0) {
    uint64_t i = whole(info, argument, "space index must be a whole number");
    if (i >= pkeys_image_space_count(u.mapped())) wrong(info.Env(), "no such space");
    return static_cast<size_t>(i);
  }
  static Napi::Value closed(const Napi::CallbackInfo &info) { return number(info.Env(), -EBADF); }

  Napi::Value failure(const Napi::CallbackInfo &info) {
    Napi::Object o = Napi::Object::New(info.Env());
    o["errno"] = number(info.Env(), failure_);
    o["index"] = number(info.Env(), failed_index_);
    return o;
  }
  Napi::Value id(const Napi::CallbackInfo &info) {
    return number(info.Env(), static_cast<uint64_t>(handle_ ? handle_->id : 0));
  }
  Napi::Value isOpen(const Napi::CallbackInfo &info) {
    return Napi::Boolean::New(info.Env(), static_cast<bool>(use()));
  }

  static Napi::Object space_object(Napi::Env env, const pkeys_space &s) {
    Napi::Object o = Napi::Object::New(env);
    o["name"] = Napi::String::New(env, s.name);
    o["address"] = big(env, s.address);
    o["bytes"] = number(env, static_cast<uint64_t>(s.bytes));
    o["reservedBytes"] = number(env, static_cast<uint64_t>(s.reserved_bytes));
    o["key"] = number(env, s.key);
    o["deny"] = Napi::String::New(env, s.deny == PKEYS_NO_ACCESS ? "access" : "write");
    return o;
  }
  Napi::Value spaces(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    size_t count = pkeys_image_space_count(u.mapped());
    Napi::Array list = Napi::Array::New(info.Env(), count);
    for (size_t i = 0; i < count; i++) {
      pkeys_space s;
      int e = pkeys_image_space(u.mapped(), i, &s);
      if (e < 0) return number(info.Env(), e);
      list.Set(static_cast<uint32_t>(i), space_object(info.Env(), s));
    }
    return list;
  }
  Napi::Value space(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    pkeys_space s;
    int e = pkeys_image_space(u.mapped(), index(info, u), &s);
    return e < 0 ? number(info.Env(), e) : space_object(info.Env(), s);
  }
  Napi::Value mechanism(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    pkeys_mechanism m = pkeys_image_mechanism(u.mapped());
    return Napi::String::New(info.Env(), m == PKEYS_MECHANISM_UNSET ? "" : pkeys_mechanism_name(m));
  }
  Napi::Value setMechanism(const Napi::CallbackInfo &info) {
    std::string name = text(info[0], "mechanism must be a string");
    pkeys_mechanism m;
    if (pkeys_mechanism_parse(name.c_str(), &m) < 0) wrong(info.Env(), "unknown mechanism");
    Use u = use();
    if (!u) return closed(info);
    int e = pkeys_image_set_mechanism(u.mapped(), m);
    attach(); /* this thread is older than the new keys */
    return number(info.Env(), e);
  }
  Napi::Value close(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return number(info.Env(), 0);
    if (!safe_to_close()) return number(info.Env(), -EBUSY);
    int e = image_close(u.content);
    if (e == 0) {
      handle_->content = nullptr;
      std::lock_guard<std::mutex> guard(handles_lock);
      handles.erase(handle_->id);
    }
    return number(info.Env(), e);
  }

  Napi::Value fill(const Napi::CallbackInfo &info) {
    if (!info[0].IsBigInt()) wrong(info.Env(), "seed must be a bigint");
    bool lossless;
    uint64_t seed = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
    Use u = use();
    if (!u) return closed(info);
    spur_filled filled;
    int e = image_fill(u.content, seed, &filled);
    if (e < 0) return number(info.Env(), e);
    Napi::Object o = Napi::Object::New(info.Env());
    o["objects"] = number(info.Env(), filled.objects);
    o["freeChunks"] = number(info.Env(), filled.free_chunks);
    o["pointers"] = number(info.Env(), filled.pointers);
    return o;
  }
  Napi::Value load(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    size_t i = index(info, u);
    std::string path = text(info[1], "path must be a string");
    uint64_t bytes = 0;
    int e = image_load(u.content, i, path.c_str(), &bytes);
    Napi::Object o = Napi::Object::New(info.Env());
    o["errno"] = number(info.Env(), e);
    o["bytes"] = number(info.Env(), bytes);
    spur_file f;
    if (e == 0 && image_file(u.content, i, &f)) o["heap"] = file_object(info.Env(), f);
    return o;
  }
  Napi::Value resize(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    return number(info.Env(), image_resize(u.content, index(info, u),
                                           static_cast<size_t>(whole(info, 1, "bytes must be a whole number"))));
  }

  Napi::Value verify(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    std::vector<spur_problem> problems(static_cast<size_t>(whole(info, 0, "limit must be a whole number")));
    Use u = use();
    if (!u) return closed(info);
    auto report = std::make_unique<image_report>();
    int e = image_verify(u.content, problems.data(), problems.size(), report.get());
    if (e < 0) return number(env, e);
    Napi::Object o = Napi::Object::New(env);
    o["objects"] = number(env, report->objects);
    o["pointers"] = number(env, report->pointers);
    o["classes"] = number(env, report->classes);
    o["problemCount"] = number(env, report->problems);
    Napi::Object kinds = Napi::Object::New(env);
    for (unsigned k = 1; k < SPUR_PROBLEM_KINDS; k++)
      if (report->by_kind[k])
        kinds.Set(spur_problem_name(static_cast<spur_problem_kind>(k)), number(env, report->by_kind[k]));
    o["byKind"] = kinds;
    Napi::Array spaces = Napi::Array::New(env, report->spaces);
    for (size_t i = 0; i < report->spaces; i++) {
      const image_space_report &r = report->space[i];
      Napi::Object s = Napi::Object::New(env);
      s["content"] = Napi::String::New(env, image_content_name(static_cast<image_content>(r.content)));
      s["walked"] = Napi::Boolean::New(env, r.walked);
      s["objects"] = number(env, r.objects);
      s["freeChunks"] = number(env, r.free_chunks);
      s["freeBytes"] = number(env, r.free_bytes);
      s["walkedBytes"] = number(env, r.walked_bytes);
      s["problemCount"] = number(env, r.problems);
      spaces.Set(static_cast<uint32_t>(i), s);
    }
    o["spaces"] = spaces;
    Napi::Array list = Napi::Array::New(env, report->kept);
    for (uint32_t i = 0; i < report->kept; i++) {
      const spur_problem &p = problems[i];
      Napi::Object q = Napi::Object::New(env);
      q["kind"] = Napi::String::New(env, spur_problem_name(static_cast<spur_problem_kind>(p.kind)));
      q["space"] = number(env, static_cast<uint64_t>(p.segment));
      q["offset"] = number(env, p.offset);
      q["object"] = number(env, p.object);
      q["classIndex"] = number(env, p.class_index);
      q["slot"] = number(env, static_cast<double>(p.slot));
      q["value"] = big(env, p.value);
      list.Set(i, q);
    }
    o["problems"] = list;
    return o;
  }

  Napi::Value snapshot(const Napi::CallbackInfo &info) {
    Use u = use();
    return u ? number(info.Env(), image_snapshot(u.content)) : closed(info);
  }
  Napi::Value hasSnapshot(const Napi::CallbackInfo &info) {
    Use u = use();
    return u ? Napi::Boolean::New(info.Env(), image_has_snapshot(u.content)) : closed(info);
  }
  Napi::Value diff(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    std::vector<image_range> ranges(static_cast<size_t>(whole(info, 0, "limit must be a whole number")));
    size_t objects = static_cast<size_t>(whole(info, 1, "objects must be a whole number"));
    Use u = use();
    if (!u) return closed(info);
    image_difference d;
    int e = image_diff(u.content, ranges.data(), ranges.size(), objects, &d);
    if (e < 0) return number(env, e);
    Napi::Object o = Napi::Object::New(env);
    o["changedBytes"] = number(env, d.changed_bytes);
    o["rangeCount"] = number(env, d.ranges);
    o["resized"] = number(env, d.resized);
    Napi::Array list = Napi::Array::New(env, d.kept);
    for (uint64_t i = 0; i < d.kept; i++) {
      Napi::Object r = Napi::Object::New(env);
      r["space"] = number(env, static_cast<uint64_t>(ranges[i].space));
      r["offset"] = number(env, ranges[i].offset);
      r["bytes"] = number(env, ranges[i].bytes);
      if (ranges[i].object_known) r["object"] = object_object(env, ranges[i].object);
      list.Set(static_cast<uint32_t>(i), r);
    }
    o["ranges"] = list;
    return o;
  }
  Napi::Value restore(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    uint64_t bytes;
    int e = image_restore(u.content, &bytes);
    return e < 0 ? number(info.Env(), e) : number(info.Env(), bytes);
  }
  Napi::Value objectAt(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    spur_object found;
    int e = image_object_at(u.content, index(info, u), whole(info, 1, "offset must be a whole number"), &found);
    return e < 0 ? number(info.Env(), e) : object_object(info.Env(), found);
  }
  Napi::Value hash(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    uint64_t h;
    int e = image_hash(u.content, index(info, u), &h);
    return e < 0 ? number(info.Env(), e) : big(info.Env(), h);
  }

  Napi::Value read(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    size_t i = index(info, u);
    uint64_t offset = whole(info, 1, "offset must be a whole number"),
             bytes = whole(info, 2, "bytes must be a whole number");
    pkeys_space s;
    int e = pkeys_image_space(u.mapped(), i, &s);
    if (e == 0 && (offset > s.bytes || bytes > s.bytes - offset))
      e = -ERANGE; /* before anything that large is allocated */
    if (e < 0) return number(info.Env(), e);
    Napi::Buffer<uint8_t> out = Napi::Buffer<uint8_t>::New(info.Env(), static_cast<size_t>(bytes));
    e = image_read(u.content, i, offset, out.Data(), static_cast<size_t>(bytes));
    return e < 0 ? number(info.Env(), e) : out;
  }
  Napi::Value write(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    size_t i = index(info, u);
    uint64_t offset = whole(info, 1, "offset must be a whole number");
    if (!info[2].IsTypedArray()) wrong(info.Env(), "bytes must be a typed array");
    Napi::TypedArray from = info[2].As<Napi::TypedArray>();
    const uint8_t *data = static_cast<const uint8_t *>(from.ArrayBuffer().Data()) + from.ByteOffset();
    return number(info.Env(), image_write(u.content, i, offset, data, from.ByteLength()));
  }
  Napi::Value neighbour(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    void *out = nullptr;
    int e = pkeys_space_neighbour(u.mapped(), index(info, u),
                                  static_cast<size_t>(whole(info, 1, "bytes must be a whole number")), &out);
    return e < 0 ? number(info.Env(), e) : big(info.Env(), reinterpret_cast<uintptr_t>(out));
  }
  Napi::Value reapply(const Napi::CallbackInfo &info) {
    Use u = use();
    return u ? number(info.Env(), pkeys_image_reapply(u.mapped())) : closed(info);
  }
  Napi::Value verifyTags(const Napi::CallbackInfo &info) {
    Use u = use();
    if (!u) return closed(info);
    uintptr_t where = 0;
    int e = pkeys_image_verify_tags(u.mapped(), &where);
    Napi::Object o = Napi::Object::New(info.Env());
    o["errno"] = number(info.Env(), e);
    o["address"] = big(info.Env(), where);
    return o;
  }

  /* lend(bytes, index or -1, offset, mode, flushEnd) -> { id, address, memory } */
  Napi::Value lend(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    uint64_t bytes = whole(info, 0, "bytes must be a whole number");
    bool from_space = info[1].IsNumber() && info[1].As<Napi::Number>().Int64Value() >= 0;
    uint64_t offset = whole(info, 2, "offset must be a whole number"), mode = whole(info, 3, "mode must be 0, 1 or 2");
    if (mode > 2) wrong(env, "mode must be 0, 1 or 2");
    bool flush_end = info[4].ToBoolean();
    Use u = use();
    if (!u) return closed(info);
    pkeys_loan loan;
    int e = pkeys_lend(static_cast<size_t>(bytes), from_space ? u.mapped() : nullptr,
                       from_space ? index(info, u, 1) : 0, static_cast<size_t>(offset),
                       static_cast<pkeys_loan_mode>(mode), flush_end, &loan);
    attach(); /* the first loan makes a key */
    if (e < 0) return number(env, e);
    Napi::Object o = Napi::Object::New(env);
    o["id"] = number(env, static_cast<uint64_t>(loan.id));
    o["address"] = big(env, reinterpret_cast<uintptr_t>(loan.address));
    /* The pages belong to the loan: nothing to free here, and releaseLoan detaches the view before they go. */
    o["memory"] = Napi::ArrayBuffer::New(env, loan.address, loan.bytes, [](Napi::Env, void *) {});
    return o;
  }
};

/* releaseLoan(id, memory): detaches the view first, so that no JavaScript can reach pages that are given back. */
Napi::Value release_loan(const Napi::CallbackInfo &info) {
  attach();
  uint32_t id = static_cast<uint32_t>(whole(info, 0, "id must be a whole number"));
  if (info[1].IsArrayBuffer()) {
    Napi::ArrayBuffer memory = info[1].As<Napi::ArrayBuffer>();
    if (!memory.IsDetached()) memory.Detach();
  }
  return number(info.Env(), pkeys_loan_release(id));
}

} // namespace

void image_binding_init(Napi::Env env, Napi::Object exports) {
  int e = pkeys_init();
  if (e < 0) throw Napi::Error::New(env, std::string("turnkey: cannot set up protection keys: ") + std::strerror(-e));
  attach();
  NativeImage::define(env, exports);
  Napi::Array mechanisms = Napi::Array::New(env); /* their names, in the order of the enumeration */
  for (int m = PKEYS_MECHANISM_NONE; m <= PKEYS_MECHANISM_PKEYS_GLIBC; m++)
    mechanisms.Set(mechanisms.Length(), pkeys_mechanism_name(static_cast<pkeys_mechanism>(m)));
  exports.Set("mechanisms", mechanisms);
  exports.Set("probe", Napi::Function::New(
                           env,
                           [](const Napi::CallbackInfo &info) -> Napi::Value {
                             attach();
                             return probe_object(info.Env());
                           },
                           "probe"));
  exports.Set("releaseLoan", Napi::Function::New(env, release_loan, "releaseLoan"));
}
