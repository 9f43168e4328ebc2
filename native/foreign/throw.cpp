// A C++ exception that nobody in the library catches, and one that the library catches itself.
#include <stdexcept>

extern "C" __attribute__((visibility("default"))) int foreign_throw(int value) {
  if (value != 0) throw std::runtime_error("thrown abroad");
  return 0;
}

extern "C" __attribute__((visibility("default"))) int foreign_throw_and_catch(int value) {
  try {
    return foreign_throw(value);
  } catch (const std::exception &) {
    return -1;
  }
}
