/*
 * image_handle.h: the images of the process. An image belongs to the process, not to one environment: every object that
 * refers to it holds a share of its handle.
 */
#ifndef TURNKEY_ADDON_IMAGE_HANDLE_H
#define TURNKEY_ADDON_IMAGE_HANDLE_H

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "bindings.h"

namespace addon {

struct Handle {
  std::mutex lock;
  image *content = nullptr; /* null once closed */
  uint32_t id = 0;
  bool virtual_key = false;
};

inline std::mutex handles_lock;
inline std::map<uint32_t, std::weak_ptr<Handle>> handles;
/* Images that no object refers to any more, but that could not be closed when that was seen. */
inline std::vector<image *> abandoned;

/* Not while foreign code is underneath: it may hold pointers into the image. */
inline bool safe_to_close() { return trap_depth() == 0; }

inline void close_abandoned() {
  if (!safe_to_close()) return;
  std::lock_guard<std::mutex> guard(handles_lock);
  for (size_t i = 0; i < abandoned.size();)
    if (image_close(abandoned[i]) == 0) abandoned.erase(abandoned.begin() + static_cast<std::ptrdiff_t>(i));
    else i++;
}

struct HandleEnd {
  void operator()(Handle *handle) const {
    if (handle->content) {
      open_thread();
      std::lock_guard<std::mutex> guard(handles_lock);
      handles.erase(handle->id);
      if (!safe_to_close() || image_close(handle->content) != 0) abandoned.push_back(handle->content);
    }
    delete handle;
  }
};

} // namespace addon
#endif
