// trap_throw.cpp: a C++ callee for the trap's tests: throws over the gate, or catches what it threw itself.
#include <stdexcept>

extern "C" {
int throws_over_the_gate(int value) { throw std::runtime_error(value ? "thrown" : "nothing"); }
int catches_its_own(int value) {
  try {
    throw value;
  } catch (int caught) {
    return caught + 1;
  }
}
// Throws when called back: the exception meets the callback thunk.
int catches_a_callback(int (*callback)(int), int value) {
  try {
    return callback(value);
  } catch (...) {
    return -1;
  }
}
}
