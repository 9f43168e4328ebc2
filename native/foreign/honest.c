/* Well-behaved functions: every argument and result class of the System V ABI that koffi can express. */
#include "foreign.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void foreign_nothing(void) {}
int foreign_add(int a, int b) { return (int)((unsigned)a + (unsigned)b); }

double foreign_sum_mixed(int8_t a, uint16_t b, int32_t c, int64_t d, float e, double f, uint64_t g, int32_t h, double i,
                         int64_t j, float k, uint8_t l) {
  return (double)a + b + c + (double)d + (double)e + f + (double)g + h + i + (double)j + (double)k + l;
}

double foreign_sum_eight(int8_t a, uint16_t b, int32_t c, int64_t d, float e, double f, uint32_t g, int32_t h) {
  return (double)a + b + c + (double)d + (double)e + f + g + h;
}

double foreign_sum_variadic(int count, ...) {
  va_list list;
  double sum = 0;
  va_start(list, count);
  for (int i = 0; i < count; i++) sum += va_arg(list, double);
  va_end(list);
  return sum;
}

double foreign_sum_ten_doubles(double a, double b, double c, double d, double e, double f, double g, double h, double i,
                               double j) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}

uint64_t foreign_checksum(const uint8_t *bytes, uint64_t count) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (uint64_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
  return hash;
}

uint64_t foreign_length(const char *text) { return strlen(text); }
void foreign_fill(uint8_t *bytes, uint64_t count, uint8_t value) { memset(bytes, value, count); }

const char *foreign_greeting(void) { return "hello from abroad"; }
const char *foreign_string_at(uint64_t address) { return (const char *)(uintptr_t)address; }
const uint16_t *foreign_string16_at(uint64_t address) { return (const uint16_t *)(uintptr_t)address; }
char *foreign_new_string(const char *text) { return strdup(text); }
int foreign_set_errno(int value) {
  errno = value;
  return -value;
}

foreign_pair foreign_make_pair(int32_t a, int32_t b) { return (foreign_pair){a, b}; }
foreign_mix foreign_make_mix(int64_t a, double b) { return (foreign_mix){a, b}; }
foreign_point foreign_make_point(float x, float y, float z) { return (foreign_point){x, y, z}; }
foreign_block foreign_make_block(int64_t a, double b) { return (foreign_block){{a, a + 1, a + 2, a + 3, a + 4}, b}; }
int64_t foreign_take_block(foreign_block block, int64_t add) {
  int64_t sum = add + (int64_t)block.b;
  for (int i = 0; i < 5; i++) sum += block.a[i];
  return sum;
}
foreign_block foreign_make_block_then_fault(int64_t a) {
  foreign_block block = {{a, a}, 0};
  __asm__ volatile("" : : "r"(&block) : "memory");
  foreign_null_write();
  return block;
}
foreign_named foreign_make_named(int32_t id, uint64_t name_address) {
  return (foreign_named){id, (const char *)(uintptr_t)name_address, {1, 2, 3}};
}
int foreign_out_named(foreign_named *out, int32_t id, uint64_t name_address) {
  *out = foreign_make_named(id, name_address);
  return 0;
}
int foreign_out_string(const char **out, uint64_t address) {
  *out = (const char *)(uintptr_t)address;
  return 0;
}
int foreign_out_int(int *out, int value) {
  *out = value;
  return value;
}
