#include "internal.h"
static bool recognises(const struct host_program *program) {
  (void)program;
  return false;
}
static enum host_role role(const char *path, bool is_program) {
  (void)path;
  return is_program ? HOST_VM : HOST_OTHER;
}
const struct host_adapter host_adapter_cpython = {.name = "cpython", .recognises = recognises, .role = role};
