/*
 * image_binding.cc: native/pkeys and native/image for JavaScript. It converts and checks arguments; nothing else.
 *
 * An image belongs to the process, not to one environment: the main thread and workers may hold the same image, by its
 * id. Its operations take a lock of its own. Every entry attaches its thread first (I13).
 */
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "bindings.h"
#include "image_handle.h"

namespace addon {

void open_thread() {
  (void)trap_attach();
  pkeys_open_thread();
}

namespace {

/* ---- the class ---- */

class NativeImage : public Napi::ObjectWrap<NativeImage> {
public:
  static void define(Napi::Env env, Napi::Object exports) {
#define METHOD(name) InstanceMethod<&NativeImage::name>(#name)
    exports.Set(
        "NativeImage",
        DefineClass(env, "NativeImage",
                    {METHOD(failure),   METHOD(id),           METHOD(isOpen),   METHOD(spaces),     METHOD(space),
                     METHOD(mechanism), METHOD(setMechanism), METHOD(close),    METHOD(leave),      METHOD(fill),
                     METHOD(load),      METHOD(resize),       METHOD(verify),   METHOD(snapshot),   METHOD(hasSnapshot),
                     METHOD(diff),      METHOD(restore),      METHOD(objectAt), METHOD(hash),       METHOD(read),
                     METHOD(write),     METHOD(neighbour),    METHOD(reapply),  METHOD(verifyTags), METHOD(lend),
                     METHOD(enter),     METHOD(seal)}));
#undef METHOD
  }

  /* new NativeImage(requests, keyMode) maps an image; new NativeImage(id) takes part in an image that another thread
   * has mapped. A constructor has no answer: failure() gives the errno. */
  explicit NativeImage(const Napi::CallbackInfo &info) : Napi::ObjectWrap<NativeImage>(info) {
    open_thread();
    close_abandoned();
    if (info[0].IsNumber()) find(static_cast<uint32_t>(whole(info, 0, "id")));
    else map(info);
  }

private:
  std::shared_ptr<Handle> handle_;
  int failure_ = 0, failed_index_ = -1;

  void find(uint32_t id) {
    std::lock_guard<std::mutex> guard(handles_lock);
    auto found = handles.find(id);
    if (found != handles.end()) handle_ = found->second.lock();
    if (!handle_) failure_ = -ENOENT;
  }

  void map(const Napi::CallbackInfo &info) {
    if (!info[0].IsArray()) wrong(info.Env(), "spaces", "an array");
    Napi::Array list = info[0].As<Napi::Array>();
    uint64_t wanted = whole(info, 1, "keyMode");
    if (wanted > PKEYS_KEY_VIRTUAL) wrong(info.Env(), "keyMode", "0, 1 or 2");
    auto mode = static_cast<pkeys_key_mode>(wanted);
    std::vector<std::string> names;
    std::vector<pkeys_space_request> requests;
    names.reserve(list.Length());
    for (uint32_t i = 0; i < list.Length(); i++) {
      Napi::Value item = list.Get(i);
      if (!item.IsObject()) wrong(info.Env(), "space", "an object");
      Napi::Object space = item.As<Napi::Object>();
      names.push_back(text(space.Get("name"), "name"));
      if (names.back().find('\0') != std::string::npos) wrong(info.Env(), "name", "without null characters");
      pkeys_space_request request = {};
      request.name = names.back().c_str();
      request.bytes = whole(space, "bytes");
      request.reserve_bytes = whole(space, "reserveBytes");
      request.deny = text(space.Get("deny"), "deny") == "access" ? PKEYS_NO_ACCESS : PKEYS_NO_WRITE;
      requests.push_back(request);
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
    handle->virtual_key = mode == PKEYS_KEY_VIRTUAL;
    handle_ = std::shared_ptr<Handle>(handle, HandleEnd());
    std::lock_guard<std::mutex> guard(handles_lock);
    handles[handle->id] = handle_;
  }

  /* The image while its lock is held. */
  struct Use {
    Napi::Env env;
    image *content;
    pkeys_image *mapped() const { return image_mapped(content); }
    /* `e` if that is an error, else what `make` makes. */
    template <typename Make> Napi::Value answer(int e, Make make) const { return e < 0 ? number(env, e) : make(); }
    Napi::Value answer(int e) const { return number(env, e); }
    size_t index(const Napi::Value &value) const {
      uint64_t i = whole(value, "space");
      if (i >= pkeys_image_space_count(mapped())) wrong(env, "space", "the index of a space");
      return i;
    }
  };
  /* What `body` answers with the image locked; -EBADF where it is closed. */
  template <typename Body> Napi::Value with_image(const Napi::CallbackInfo &info, Body body) {
    open_thread();
    if (!handle_) return number(info.Env(), -EBADF);
    std::unique_lock<std::mutex> lock(handle_->lock);
    if (!handle_->content) return number(info.Env(), -EBADF);
    return body(Use{info.Env(), handle_->content});
  }

  /* The same for what touches the image's memory: a virtual key is loaded for that long. */
  template <typename Body> Napi::Value in_image(const Napi::CallbackInfo &info, Body body) {
    return with_image(info, [&](const Use &u) -> Napi::Value {
      if (!handle_->virtual_key) return body(u);
      pkeys_image *before = trap_entered_image();
      int error = trap_enter_image(u.mapped());
      if (error < 0) return number(u.env, error);
      Napi::Value answer = body(u);
      if (before != u.mapped()) (void)trap_enter_image(before);
      return answer;
    });
  }

  /* enter(true): this thread enters the image; enter(false): it leaves the image if it is in that. */
  Napi::Value enter(const Napi::CallbackInfo &info) {
    bool in = info[0].ToBoolean();
    return with_image(info, [&](const Use &u) {
      if (!in && trap_entered_image() != u.mapped()) return u.answer(0);
      return u.answer(trap_enter_image(in ? u.mapped() : nullptr));
    });
  }

  Napi::Value failure(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    return object(env, {{"errno", number(env, failure_)}, {"index", number(env, failed_index_)}});
  }
  Napi::Value id(const Napi::CallbackInfo &info) { return number(info.Env(), handle_ ? handle_->id : 0); }
  Napi::Value isOpen(const Napi::CallbackInfo &info) {
    return truth(info.Env(), !with_image(info, [](const Use &u) { return truth(u.env, true); }).IsNumber());
  }

  Napi::Value spaces(const Napi::CallbackInfo &info) {
    return with_image(info, [](const Use &u) -> Napi::Value {
      size_t count = pkeys_image_space_count(u.mapped());
      Napi::Array list = Napi::Array::New(u.env, count);
      for (size_t i = 0; i < count; i++) {
        pkeys_space s;
        int e = pkeys_image_space(u.mapped(), i, &s);
        if (e < 0) return number(u.env, e);
        list.Set(static_cast<uint32_t>(i), space_object(u.env, s));
      }
      return list;
    });
  }
  Napi::Value space(const Napi::CallbackInfo &info) {
    return with_image(info, [&](const Use &u) {
      pkeys_space s;
      int e = pkeys_image_space(u.mapped(), u.index(info[0]), &s);
      return u.answer(e, [&] { return space_object(u.env, s); });
    });
  }
  Napi::Value mechanism(const Napi::CallbackInfo &info) {
    return with_image(info, [](const Use &u) {
      pkeys_mechanism m = pkeys_image_mechanism(u.mapped());
      return string(u.env, m == PKEYS_MECHANISM_UNSET ? "" : pkeys_mechanism_name(m));
    });
  }
  Napi::Value setMechanism(const Napi::CallbackInfo &info) {
    pkeys_mechanism m;
    if (pkeys_mechanism_parse(text(info[0], "mechanism").c_str(), &m) < 0)
      wrong(info.Env(), "mechanism", "a mechanism's name");
    return with_image(info, [&](const Use &u) {
      int e = pkeys_image_set_mechanism(u.mapped(), m);
      open_thread(); /* this thread is older than the new keys */
      return u.answer(e);
    });
  }
  Napi::Value close(const Napi::CallbackInfo &info) {
    Napi::Value closed = with_image(info, [this](const Use &u) {
      if (!safe_to_close()) return u.answer(-EBUSY);
      if (trap_entered_image() == u.mapped()) (void)trap_enter_image(nullptr);
      int e = image_close(u.content);
      if (e == 0) {
        handle_->content = nullptr;
        std::lock_guard<std::mutex> guard(handles_lock);
        handles.erase(handle_->id);
      }
      return u.answer(e);
    });
    return closed.As<Napi::Number>().Int32Value() == -EBADF ? number(info.Env(), 0) : closed;
  }

  /* leave(): this object is closed; the image stays open for others that hold it. */
  Napi::Value leave(const Napi::CallbackInfo &info) {
    handle_.reset();
    return info.Env().Undefined();
  }

  Napi::Value fill(const Napi::CallbackInfo &info) {
    uint64_t seed = word(info[0], "seed");
    return in_image(info, [&](const Use &u) {
      spur_filled filled;
      int e = image_fill(u.content, seed, &filled);
      return u.answer(e, [&] {
        return object(u.env, {{"objects", number(u.env, filled.objects)},
                              {"freeChunks", number(u.env, filled.free_chunks)},
                              {"pointers", number(u.env, filled.pointers)}});
      });
    });
  }
  /* load(space, path): { errno, bytes, heap? }: a file that is too large gives its bytes with the errno. */
  Napi::Value load(const Napi::CallbackInfo &info) {
    std::string path = text(info[1], "path");
    return in_image(info, [&](const Use &u) {
      size_t i = u.index(info[0]);
      uint64_t file_bytes = 0;
      int e = image_load(u.content, i, path.c_str(), &file_bytes);
      Napi::Object o = object(u.env, {{"errno", number(u.env, e)}, {"bytes", number(u.env, file_bytes)}});
      spur_file f;
      if (e == 0 && image_file(u.content, i, &f)) o.Set("heap", file_object(u.env, f));
      return o;
    });
  }
  Napi::Value resize(const Napi::CallbackInfo &info) {
    uint64_t count = whole(info, 1, "bytes");
    return in_image(info, [&](const Use &u) { return u.answer(image_resize(u.content, u.index(info[0]), count)); });
  }

  Napi::Value verify(const Napi::CallbackInfo &info) {
    std::vector<spur_problem> problems(whole(info, 0, "limit"));
    return in_image(info, [&](const Use &u) {
      auto report = std::make_unique<image_report>();
      int e = image_verify(u.content, problems.data(), problems.size(), report.get());
      return u.answer(e, [&] { return report_object(u.env, *report, problems.data()); });
    });
  }
  Napi::Value snapshot(const Napi::CallbackInfo &info) {
    return in_image(info, [](const Use &u) { return u.answer(image_snapshot(u.content)); });
  }
  Napi::Value hasSnapshot(const Napi::CallbackInfo &info) {
    return with_image(info, [](const Use &u) { return truth(u.env, image_has_snapshot(u.content)); });
  }
  Napi::Value diff(const Napi::CallbackInfo &info) {
    std::vector<image_range> ranges(whole(info, 0, "limit"));
    uint64_t objects = whole(info, 1, "objects");
    return in_image(info, [&](const Use &u) {
      image_difference d;
      int e = image_diff(u.content, ranges.data(), ranges.size(), objects, &d);
      return u.answer(e, [&] { return difference_object(u.env, d, ranges.data()); });
    });
  }
  Napi::Value restore(const Napi::CallbackInfo &info) {
    return in_image(info, [](const Use &u) {
      uint64_t written;
      int e = image_restore(u.content, &written);
      return u.answer(e, [&] { return number(u.env, written); });
    });
  }
  Napi::Value objectAt(const Napi::CallbackInfo &info) {
    uint64_t offset = whole(info, 1, "offset");
    return in_image(info, [&](const Use &u) {
      spur_object found;
      int e = image_object_at(u.content, u.index(info[0]), offset, &found);
      return u.answer(e, [&] { return heap_object(u.env, found); });
    });
  }
  Napi::Value hash(const Napi::CallbackInfo &info) {
    return in_image(info, [&](const Use &u) {
      uint64_t h;
      int e = image_hash(u.content, u.index(info[0]), &h);
      return u.answer(e, [&] { return big(u.env, h); });
    });
  }

  Napi::Value read(const Napi::CallbackInfo &info) {
    uint64_t offset = whole(info, 1, "offset"), count = whole(info, 2, "bytes");
    return in_image(info, [&](const Use &u) -> Napi::Value {
      size_t i = u.index(info[0]);
      pkeys_space s;
      int e = pkeys_image_space(u.mapped(), i, &s);
      if (e == 0 && (offset > s.bytes || count > s.bytes - offset)) e = -ERANGE; /* before so much is allocated */
      if (e < 0) return number(u.env, e);
      Napi::Buffer<uint8_t> out = Napi::Buffer<uint8_t>::New(u.env, count);
      e = image_read(u.content, i, offset, out.Data(), count);
      return e < 0 ? number(u.env, e) : out;
    });
  }
  Napi::Value write(const Napi::CallbackInfo &info) {
    uint64_t offset = whole(info, 1, "offset");
    Bytes from = bytes(info[2], "bytes");
    return in_image(info, [&](const Use &u) {
      return u.answer(image_write(u.content, u.index(info[0]), offset, from.data, from.length));
    });
  }
  Napi::Value neighbour(const Napi::CallbackInfo &info) {
    uint64_t count = whole(info, 1, "bytes");
    return with_image(info, [&](const Use &u) {
      void *out = nullptr;
      int e = pkeys_space_neighbour(u.mapped(), u.index(info[0]), count, &out);
      return u.answer(e, [&] { return big(u.env, out); });
    });
  }
  Napi::Value seal(const Napi::CallbackInfo &info) {
    return with_image(info, [](const Use &u) { return u.answer(pkeys_image_seal(u.mapped())); });
  }
  Napi::Value reapply(const Napi::CallbackInfo &info) {
    return with_image(info, [](const Use &u) { return u.answer(pkeys_image_reapply(u.mapped())); });
  }
  /* verifyTags(): { errno, address }: the address of the first page that lacks its tag. */
  Napi::Value verifyTags(const Napi::CallbackInfo &info) {
    return with_image(info, [](const Use &u) {
      uintptr_t where = 0;
      int e = pkeys_image_verify_tags(u.mapped(), &where);
      return object(u.env, {{"errno", number(u.env, e)}, {"address", big(u.env, static_cast<uint64_t>(where))}});
    });
  }

  /* lend(bytes, index or -1, offset, mode, flushEnd): { id, address, memory } */
  Napi::Value lend(const Napi::CallbackInfo &info) {
    uint64_t count = whole(info, 0, "bytes");
    bool from_space = info[1].IsNumber() && info[1].As<Napi::Number>().Int64Value() >= 0;
    uint64_t offset = whole(info, 2, "offset"), mode = whole(info, 3, "mode");
    if (mode > 2) wrong(info.Env(), "mode", "0, 1 or 2");
    bool flush_end = info[4].ToBoolean();
    return with_image(info, [&](const Use &u) {
      pkeys_loan loan;
      int e = pkeys_lend(count, from_space ? u.mapped() : nullptr, from_space ? u.index(info[1]) : 0, offset,
                         static_cast<pkeys_loan_mode>(mode), flush_end, &loan);
      open_thread(); /* the first loan makes a key */
      return u.answer(e, [&] {
        /* The pages belong to the loan: nothing to free here, and releaseLoan detaches the view before they go. */
        return object(u.env,
                      {{"id", number(u.env, loan.id)},
                       {"address", big(u.env, loan.address)},
                       {"memory", Napi::ArrayBuffer::New(u.env, loan.address, loan.bytes, [](Napi::Env, void *) {})}});
      });
    });
  }
};

/* releaseLoan(id, memory): detaches the view first, so that no JavaScript can reach pages that are given back. */
Napi::Value release_loan(const Napi::CallbackInfo &info) {
  open_thread();
  auto id = static_cast<uint32_t>(whole(info, 0, "id"));
  if (info[1].IsArrayBuffer()) {
    Napi::ArrayBuffer memory = info[1].As<Napi::ArrayBuffer>();
    if (!memory.IsDetached()) memory.Detach();
  }
  return number(info.Env(), pkeys_loan_release(id));
}

Napi::Value probe(const Napi::CallbackInfo &info) {
  open_thread();
  return probe_object(info.Env());
}

} // namespace

void image_init(Napi::Env env, Napi::Object exports) {
  int error = pkeys_init();
  if (error < 0) cannot(env, "set up protection keys", error);
  open_thread();
  NativeImage::define(env, exports);
  Napi::Array mechanisms = Napi::Array::New(env); /* their names, in the order of the enumeration */
  for (int m = PKEYS_MECHANISM_NONE; m <= PKEYS_MECHANISM_PKEYS_GLIBC; m++)
    mechanisms.Set(mechanisms.Length(), string(env, pkeys_mechanism_name(static_cast<pkeys_mechanism>(m))));
  exports.Set("mechanisms", mechanisms);
  virtual_init(env, exports);
  exports.Set("probe", Napi::Function::New(env, probe, "probe"));
  exports.Set("releaseLoan", Napi::Function::New(env, release_loan, "releaseLoan"));
}

} // namespace addon
