/*
 * callout_foreign.c: what guarded koffi calls are tested with: each shape of result and parameter, with what a good
 * callee and what a bad one leaves behind. Wild addresses come in as numbers. Links to nothing of Turnkey's.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uchar.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define DECLARE(...) \
  API __VA_ARGS__;   \
  API __VA_ARGS__

/* ---- results ------------------------------------------------------------------------------------------------- */

DECLARE(int test_add(int a, int b)) { return a + b; }
DECLARE(void test_nothing(void)) {}
DECLARE(const char *test_string(uint64_t address)) { return (const char *)address; }
DECLARE(const char16_t *test_string16(uint64_t address)) { return (const char16_t *)address; }
DECLARE(const char32_t *test_string32(uint64_t address)) { return (const char32_t *)address; }
DECLARE(void *test_pointer(uint64_t address)) { return (void *)address; }
DECLARE(const char *test_text(int which)) {
  static const char *const texts[] = {"", "plain", "gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x90\x9f", "bad \xff\xfe utf8"};
  return which < 0 ? NULL : texts[which & 3];
}
DECLARE(const char16_t *test_text16(void)) { return u"h\u00e9llo \U0001F41F"; }
DECLARE(const char32_t *test_text32(void)) { return U"h\u00e9llo \U0001F41F"; }
DECLARE(const char *test_unterminated(char *buffer, size_t bytes)) {
  memset(buffer, 'x', bytes);
  return buffer;
}

struct small {
  const char *name;
  int64_t id;
}; /* two integer registers */
struct mixed {
  double weight;
  const char *name;
}; /* a vector and an integer register */
struct large {
  int32_t id;
  const char *name;
  double weight;
  const char16_t *wide;
  uint8_t tail[5];
}; /* memory */
struct enormous { /* the most that a callout passes */
  uint8_t bytes[512 << 10];
};
struct plain_large {
  int64_t values[5];
};
struct nested {
  struct small inner;
  int16_t count;
  const char *names[2];
};
struct counted {
  uint32_t count;
  int32_t *values;
};
struct flexible {
  uint32_t count;
  int32_t values[8];
};
struct padded {
  int8_t a;
  char gap[10];
  int8_t b;
  const char *name;
};
union either {
  int64_t number;
  const char *text;
  double real;
};
union pair {
  int64_t number;
  double real;
  uint8_t raw[8];
};

DECLARE(struct small test_small(uint64_t name, int64_t id)) { return (struct small){(const char *)name, id}; }
DECLARE(struct mixed test_mixed(double weight, uint64_t name)) { return (struct mixed){weight, (const char *)name}; }
DECLARE(struct large test_large(int id, uint64_t name, uint64_t wide)) {
  return (struct large){id, (const char *)name, id / 2.0, (const char16_t *)wide, {1, 2, 3, 4, 5}};
}
DECLARE(struct plain_large test_plain_large(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)) {
  return (struct plain_large){{a, b, c, d, e}};
}
/* Fills half of the hidden result with wild pointers, then faults. */
DECLARE(struct large test_large_fault(uint64_t address)) {
  volatile struct large result;
  memset((void *)&result, 0x55, sizeof result);
  *(volatile int *)address = 1;
  return result;
}
DECLARE(struct nested test_nested(uint64_t inner, uint64_t first, uint64_t second)) {
  return (struct nested){{(const char *)inner, 7}, 2, {(const char *)first, (const char *)second}};
}
DECLARE(struct counted test_counted(uint64_t values, uint32_t count)) {
  return (struct counted){count, (int32_t *)values};
}
DECLARE(struct flexible test_flexible(uint32_t count)) { return (struct flexible){count, {1, 2, 3, 4, 5, 6, 7, 8}}; }
DECLARE(struct padded test_padded(uint64_t name)) { return (struct padded){1, {0}, 2, (const char *)name}; }
DECLARE(union either test_union(uint64_t text)) { return (union either){.text = (const char *)text}; }
DECLARE(uint64_t test_union_bits(union either value)) { return (uint64_t)value.number; }
DECLARE(union pair test_union_pair(double real)) { return (union pair){.real = real}; }
DECLARE(uint64_t test_sum_enormous(struct enormous value)) {
  uint64_t sum = 0;
  for (size_t i = 0; i < sizeof value.bytes; i++) sum += value.bytes[i];
  return sum;
}
DECLARE(int64_t test_sum_small(struct small value)) {
  return value.id + (value.name == NULL ? 0 : (int64_t)strlen(value.name));
}

/* ---- disposables --------------------------------------------------------------------------------------------- */

static int disposed;
DECLARE(char *test_heap_string(const char *text)) { return strdup(text); }
DECLARE(void test_dispose(void *pointer)) {
  disposed++;
  free(pointer);
}
DECLARE(int test_disposed(void)) { return disposed; }
DECLARE(char *test_not_from_heap(void)) {
  static char text[64] = "not from the heap";
  return text + 8;
}
DECLARE(void test_dispose_fault(void *pointer)) {
  (void)pointer;
  *(volatile int *)8 = 1;
}

/* ---- out-parameters ------------------------------------------------------------------------------------------ */

DECLARE(int test_out_int(int *out, int value)) {
  *out = value;
  return 1;
}
DECLARE(void test_inout_int(int *value, int add)) { *value += add; }
DECLARE(void test_out_string(const char **out, uint64_t address)) { *out = (const char *)address; }
DECLARE(void test_out_text(char *out)) { strcpy(out, "written"); }
DECLARE(void test_out_text16(char16_t *out)) { memcpy(out, u"wide", 10); }
DECLARE(void test_inout_text(char *text)) {
  for (; *text != 0; text++)
    if (*text >= 'a' && *text <= 'z') *text -= 32;
}
DECLARE(void test_out_large(struct large *out, uint64_t name)) {
  *out = (struct large){9, (const char *)name, 1.5, NULL, {5, 4, 3, 2, 1}};
}
DECLARE(void test_inout_small(struct small *value)) {
  value->id += value->name == NULL ? -1 : (int64_t)strlen(value->name);
  value->name = "changed";
}
DECLARE(void test_out_smalls(struct small *out, size_t count, uint64_t last_name)) {
  for (size_t i = 0; i < count; i++)
    out[i] = (struct small){i + 1 == count ? (const char *)last_name : "one", (int64_t)i};
}
DECLARE(void test_out_union(union either *out, uint64_t text)) { out->text = (const char *)text; }
DECLARE(void test_out_pair(union pair *out, double real)) { out->real = real; }
DECLARE(void test_out_then_fault(int *out, uint64_t address)) {
  *out = 77;
  *(volatile int *)address = 1;
}
DECLARE(void test_swap16(uint16_t *values, size_t count)) {
  for (size_t i = 0; i < count; i++) values[i] = (uint16_t)((values[i] >> 8) | (values[i] << 8));
}
DECLARE(void test_inout_doubles(double *values, size_t count)) {
  for (size_t i = 0; i < count; i++) values[i] *= 2;
}
DECLARE(int64_t test_total_length(const char **strings)) {
  int64_t total = 0;
  for (; *strings != NULL; strings++) total += (int64_t)strlen(*strings);
  return total;
}

/* ---- callbacks ----------------------------------------------------------------------------------------------- */

DECLARE(int test_call_string(int (*callback)(const char *, int), uint64_t text, int number)) {
  return callback((const char *)text, number) + 1;
}
DECLARE(int test_call_string16(int (*callback)(const char16_t *), uint64_t text)) {
  return callback((const char16_t *)text);
}
DECLARE(int test_call_small(int (*callback)(struct small), uint64_t name)) {
  return callback((struct small){(const char *)name, 5});
}
DECLARE(int64_t test_call_many(int64_t (*callback)(int, int, int, int, int, int, int, double, struct plain_large,
                                                   int8_t),
                               int number)) {
  return callback(1, 2, 3, 4, 5, 6, 7, 8.5, (struct plain_large){{9, 10, 11, 12, number}}, -13);
}
DECLARE(struct large test_call_for_large(struct large (*callback)(int))) {
  struct large result = callback(3);
  result.id++;
  return result;
}
DECLARE(size_t test_call_for_string(const char *(*callback)(void))) {
  const char *text = callback();
  return text == NULL ? 0 : strlen(text);
}
typedef int (*unary)(int);
DECLARE(int test_call_for_function(unary (*callback)(void), int value)) { return callback()(value); }
struct operations {
  unary first;
  int bias;
  unary second;
};
DECLARE(int test_operations(const struct operations *operations, int value)) {
  return operations->first(value) + operations->bias + (operations->second == NULL ? 0 : operations->second(value));
}
DECLARE(int test_operations_by_value(struct operations operations, int value)) {
  return operations.first(value) + operations.bias;
}
DECLARE(int test_call_twice(unary callback, int value)) {
  int first = callback(value);
  return first + callback(value + 1);
}
DECLARE(int test_call_then_write(unary callback, int value, uint64_t address)) {
  int result = callback(value);
  *(volatile int *)address = 1;
  return result;
}
DECLARE(unary test_pick(int which)) {
  extern int test_double(int), test_negate(int);
  return which == 0 ? test_double : which == 1 ? test_negate : NULL;
}
DECLARE(int test_double(int value)) { return 2 * value; }
DECLARE(int test_negate(int value)) { return -value; }
static unary kept;
DECLARE(void test_keep(unary callback)) { kept = callback; }
DECLARE(int test_fire(int value)) { return kept(value); }

/* ---- variadic, other ----------------------------------------------------------------------------------------- */

DECLARE(double test_variadic(const char *kinds, ...)) {
  double total = 0;
  va_list list;
  va_start(list, kinds);
  for (; *kinds != 0; kinds++) {
    switch (*kinds) {
      case 'i': total += va_arg(list, int); break;
      case 'l': total += (double)va_arg(list, int64_t); break;
      case 'd': total += va_arg(list, double); break;
      case 's': total += (double)strlen(va_arg(list, const char *)); break;
      case 'o': *va_arg(list, int *) = 99; break;
      case 'f': total += va_arg(list, unary)(10); break;
      case 'c': {
        struct plain_large value = va_arg(list, struct plain_large);
        total += (double)value.values[4];
        break;
      }
      default: *(volatile int *)4 = 1;
    }
  }
  va_end(list);
  return total;
}
DECLARE(int test_write(uint64_t address, int value)) {
  *(volatile int *)address = value;
  return value;
}
DECLARE(int test_write_pointer(int *address, int value)) {
  *(volatile int *)address = value;
  return value;
}
DECLARE(int test_read(uint64_t address)) { return *(volatile int *)address; }
DECLARE(double test_maybe_fault(int fault, double value)) {
  if (fault) *(volatile int *)(uint64_t)(uint32_t)fault = 1;
  return value * 2;
}
DECLARE(struct large test_maybe_fault_large(int fault)) {
  if (fault) *(volatile int *)(uint64_t)(uint32_t)fault = 1;
  return (struct large){4, "large", 2.5, u"wide", {9, 8, 7, 6, 5}};
}
API int test_variable;
int test_variable = 42;
API const char *test_text_variable;
const char *test_text_variable = "a variable";

/* ---- what outlives a call ------------------------------------------------------------------------------------ */

DECLARE(int test_sleep(int us)) {
  usleep((useconds_t)us);
  return us;
}
DECLARE(int test_sleep_then_write(int us, uint64_t address)) {
  usleep((useconds_t)us);
  *(volatile int *)address = 1;
  return us;
}
DECLARE(int test_sleep_then_fill(uint8_t *buffer, int bytes, int us)) {
  usleep((useconds_t)us);
  memset(buffer, 0xAB, (size_t)bytes);
  return bytes;
}
DECLARE(int test_is_null(const void *pointer)) { return pointer == NULL; }
DECLARE(uint64_t test_stack_address(void)) { return (uint64_t)(uintptr_t)__builtin_frame_address(0); }

/* A thread that calls a callback every 100 us until told to stop, whatever the program does. */
static int (*volatile repeated)(int);
static volatile int repeat, last_result = -1;
static volatile long repeats;
static _Atomic int repeat_threads;
static void *repeat_thread(void *argument) {
  (void)argument;
  while (repeat) {
    last_result = repeated(7);
    repeats++;
    usleep(100);
  }
  repeat_threads--;
  return NULL;
}
DECLARE(int test_repeat(int (*callback)(int))) {
  pthread_t thread;
  repeated = callback;
  repeat = 1;
  repeat_threads++;
  return pthread_create(&thread, NULL, repeat_thread, NULL);
}
DECLARE(int test_repeat_result(void)) { return last_result; }
DECLARE(long test_repeats(void)) { return repeats; }
DECLARE(void test_repeat_end(void)) { repeat = 0; }
DECLARE(int test_repeat_threads(void)) { return repeat_threads; }
