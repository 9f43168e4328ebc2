// A C++ exception that nobody in the library catches, and one that the library catches itself.
#include <stdexcept>

#include "foreign.h"

extern "C" FOREIGN_API int foreign_throw(int value) {
  if (value != 0) throw std::runtime_error("thrown abroad");
  return 0;
}

extern "C" FOREIGN_API int foreign_throw_and_catch(int value) {
  try {
    return foreign_throw(value);
  } catch (const std::exception &) {
    return -1;
  }
}
