// from-cpp.cc: the headers in C++, and guards whose stack bytes come from the function's type. A C++ exception does not
// cross the gate.
#include <turnkey/call.h>
#include <turnkey/pkeys.h>
#include <turnkey/version.h>

#include <csignal>
#include <cstring>
#include <stdexcept>
#include <string>

#include "expect.h"

namespace {

struct pair {
  long a, b;
};

int wild(int *pointer) { return ++*pointer; }
long eight(long a, long b, long c, long d, long e, long f, long g, long h) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h;
}
long double wide(int a, long double b, pair c, const std::string &text) {
  return a + b + static_cast<long double>(c.b) + static_cast<long double>(text.size());
}
int throws(int x) { throw std::runtime_error("unexpected " + std::to_string(x)); }
int calls_back(int (*callback)(int), int x) noexcept { return callback(x) + 1; }
int tenfold(int x) { return 10 * x; }

static_assert(turnkey::stack_bytes(wild) == 0, "");
static_assert(turnkey::stack_bytes(eight) == 16, "");
static_assert(turnkey::stack_bytes(wide) >= 16, "");

template <class F> void release(F guarded) { EXPECT(TRAP_RELEASE(guarded) == 0); }

} // namespace

int main() {
  EXPECT(trap_init() == 0);
  EXPECT(std::strcmp(pkeys_version(), TURNKEY_VERSION) == 0);
  trap_fault fault;

  auto guarded = turnkey::guard(wild);
  EXPECT(guarded != nullptr && guarded(nullptr) == 0);
  EXPECT(trap_take_fault(&fault) && fault.signal == SIGSEGV && fault.address == 0);
  int value = 1;
  EXPECT(guarded(&value) == 2 && !trap_take_fault(&fault));
  release(guarded);

  auto many = turnkey::guard(eight);
  EXPECT(many(1, 2, 3, 4, 5, 6, 7, 8) == 204);
  release(many);
  auto objects = turnkey::guard(wide);
  EXPECT(objects(1, 2.0L, pair{0, 3}, "four") == 10.0L);
  release(objects);

  auto back = turnkey::callback(tenfold);
  auto forth = turnkey::guard(calls_back);
  EXPECT(forth(back, 4) == 41);
  EXPECT(TRAP_CALLBACK_RELEASE(back) == 0);
  release(forth);

  auto thrower = turnkey::guard(throws);
  bool caught = false;
  try {
    EXPECT(thrower(3) == 0);
  } catch (...) {
    caught = true;
  }
  EXPECT(!caught);
  EXPECT(trap_take_fault(&fault) && fault.signal == SIGABRT && (fault.flags & TRAP_FAULT_UNWIND) != 0);
  release(thrower);

  pkeys_space_request request{};
  request.name = "heap";
  request.bytes = 4096;
  pkeys_image *image = nullptr;
  EXPECT(pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, nullptr) == 0);
  EXPECT(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_FLAG) == 0);
  EXPECT(pkeys_image_close(image) == 0);
  return expect_result("guarded calls from C++");
}
