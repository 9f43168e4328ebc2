/*
 * Random signatures through the gate. The same function is called guarded and raw, with the same values. Both must
 * agree bit for bit, in what the callee saw and in what the caller got. The functions are generated
 * (signature_generate.mjs); here they are called in every way that leads through a gate or a callback thunk, for every
 * gate there is.
 *
 * TURNKEY_SEED changes the values, TURNKEY_SIGNATURE_ROUNDS how many sets of them are tried (1).
 */
#include <float.h>

#include "signature.h"

#include "../pkeys/pkeys.h"
#include "../trap/trap.h"
#include "check.h"

/* ---- what generated code calls ------------------------------------------------------------------------------- */

static uint64_t hash, values;
static struct {
  uint64_t arguments;
  unsigned calls;
  bool armed, returned;
} seen;
static uint32_t denied; /* rights that a guarded callee must not have */
static unsigned wrong_rights;

static void mix(uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
  hash ^= hash >> 29;
}
static void mix_bytes(const void *from, size_t bytes) {
  uint64_t words[4] = {0};
  memcpy(words, from, bytes);
  for (size_t i = 0; i < (bytes + 7) / 8; i++) mix(words[i]);
}
static uint64_t next_value(void) {
  uint64_t z = (values += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
static void fill_bytes(void *to, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 8) {
    uint64_t word = next_value();
    memcpy((char *)to + at, &word, bytes - at < 8 ? bytes - at : 8);
  }
}

#define PLAIN(id, type)                                    \
  void fill_##id(type *to) { fill_bytes(to, sizeof *to); } \
  void mix_##id(const type *from) { mix_bytes(from, sizeof *from); }
/* clang-format off */
PLAIN(c, char)
PLAIN(sc, signed char)
PLAIN(uc, unsigned char)
PLAIN(s, short)
PLAIN(us, unsigned short)
PLAIN(i, int)
PLAIN(ui, unsigned)
PLAIN(l, long)
PLAIN(ul, unsigned long)
PLAIN(ll, long long)
PLAIN(p, pointer)
PLAIN(q, __int128)
PLAIN(uq, unsigned __int128)
PLAIN(f, float)
PLAIN(d, double)
PLAIN(cf, float _Complex)
PLAIN(cd, double _Complex)
PLAIN(f128, float128)
PLAIN(vf, vector_float)
PLAIN(vi, vector_int)
/* clang-format on */
void fill_b(_Bool *to) { *to = next_value() & 1; }
void mix_b(const _Bool *from) { mix_bytes(from, 1); }
#if LDBL_MANT_DIG == 64
/* Ten bytes count; every number, infinity and NaN, but none of the encodings that no instruction makes. */
void fill_ld(long double *to) {
  unsigned char raw[16] = {0};
  fill_bytes(raw, 10);
  raw[7] |= 0x80;
  if (raw[8] == 0 && (raw[9] & 0x7f) == 0) raw[8] = 1;
  memcpy(to, raw, sizeof raw);
}
void mix_ld(const long double *from) { mix_bytes(from, 10); }
#else
PLAIN(ld, long double)
#endif
void fill_cld(long double _Complex *to) {
  long double half[2];
  fill_ld(&half[0]);
  fill_ld(&half[1]);
  memcpy(to, half, sizeof half);
}
void mix_cld(const long double _Complex *from) {
  long double half[2];
  memcpy(half, from, sizeof half);
  mix_ld(&half[0]);
  mix_ld(&half[1]);
}

void signature_called(unsigned number, void *frame) {
  seen.calls++;
  hash = number;
  mix((uintptr_t)frame & 15);
}
void signature_leaves(void) {
  seen.arguments = hash;
  values = hash;
}
void signature_made(void) {
  seen.armed = trap_in_callout();
  if (denied != 0 && (pkeys_rdpkru() & denied) != (seen.armed ? denied : 0)) wrong_rights++;
}
void signature_got(void) {
  seen.returned = true;
  hash = 0;
}

/* ---- ways to call -------------------------------------------------------------------------------------------- */

struct seen_values {
  uint64_t arguments, result;
};
enum way { RAW, EXACT, UPPER_BOUND, CALLBACK, CALLBACK_BY_VM, CALLOUT_IN_CALLBACK, THUNK_BY_FOREIGN, WAYS };
static const char *const way_names[WAYS] = {"raw",
                                            "guarded, exact stack bytes",
                                            "guarded, upper bound of stack bytes",
                                            "callback from a callout",
                                            "callback thunk called by the VM itself",
                                            "callout in a callback",
                                            "thunk called by foreign code"};

/* Overwrites what earlier calls left where a callee's stack arguments will lie: a word that is not copied must not look
 * right. */
static __attribute__((noinline)) void poison(int byte) {
  volatile unsigned char room[1024];
  for (size_t i = 0; i < sizeof room; i += 8) *(volatile uint64_t *)(room + i) = 0x0101010101010101u * (unsigned)byte;
}

static void *thunk_of(const void *target, size_t stack_bytes, unsigned flags) {
  void *code = NULL;
  int rc = trap_thunk(target, stack_bytes, flags, NULL, &code);
  if (rc < 0) {
    check_failed(__FILE__, __LINE__, "trap_thunk answers %d", rc);
    _exit(1);
  }
  return code;
}
static void *callback_of(const void *target, size_t stack_bytes) {
  void *code = NULL;
  int rc = trap_callback(target, stack_bytes, &code);
  if (rc < 0) {
    check_failed(__FILE__, __LINE__, "trap_callback answers %d", rc);
    _exit(1);
  }
  return code;
}

/* Calls one signature in one way. False if a fault was recorded, the callee did not run exactly once, or ran with the
 * wrong state. */
static bool call(const struct signature *s, enum way way, unsigned flags, struct seen_values *out) {
  static const bool armed[WAYS] = {false, true, true, false, false, true, true};
  void *thunk = NULL, *outer = NULL, *callback = NULL;
  size_t bytes = s->stack_bytes;
  memset(&seen, 0, sizeof seen);
  if (way == UPPER_BOUND) bytes += check_random() % 256;
  if (way == EXACT || way == UPPER_BOUND || way == CALLOUT_IN_CALLBACK || way == THUNK_BY_FOREIGN)
    thunk = thunk_of(s->callee, bytes, flags);
  if (way == CALLBACK || way == CALLBACK_BY_VM) callback = callback_of(s->callee, bytes);
  if (way == CALLOUT_IN_CALLBACK) callback = callback_of(thunk, bytes);
  if (way == CALLBACK || way == CALLOUT_IN_CALLBACK || way == THUNK_BY_FOREIGN)
    outer = thunk_of((void *)s->call, 0, flags);
  switch (way) {
    case RAW: s->call(s->callee); break;
    case EXACT:
    case UPPER_BOUND: s->call(thunk); break;
    case CALLBACK:
    case CALLOUT_IN_CALLBACK: ((void (*)(void *))(uintptr_t)outer)(callback); break;
    case CALLBACK_BY_VM: s->call(callback); break;
    case THUNK_BY_FOREIGN: ((void (*)(void *))(uintptr_t)outer)(thunk); break;
    case WAYS: break;
  }
  *out = (struct seen_values){seen.arguments, hash};
  if (thunk != NULL) trap_thunk_release(thunk);
  if (outer != NULL) trap_thunk_release(outer);
  if (callback != NULL) trap_callback_release(callback);
  return seen.calls == 1 && seen.returned && seen.armed == armed[way];
}

/* ---- gates --------------------------------------------------------------------------------------------------- */

struct gate {
  enum pkeys_mechanism mechanism;
  unsigned flags;
  bool foreign_stack;
};

static const struct pkeys_space_request space = {
    .name = "old", .bytes = 4 * PKEYS_PAGE, .reserve_bytes = 4 * PKEYS_PAGE};

static void agree(struct gate gate) {
  bool keyed = gate.mechanism == PKEYS_MECHANISM_PKEYS || gate.mechanism == PKEYS_MECHANISM_PKEYS_GLIBC;
  if (keyed && !pkeys_supported())
    CHECK_SKIP_OR_FAIL("TURNKEY_REQUIRE_PKEYS", "the CPU or kernel has no protection keys");
  struct pkeys_image *image = NULL;
  REQUIRE(pkeys_init() == 0);
  REQUIRE(trap_init() == 0);
  REQUIRE(pkeys_image_map(&space, 1, PKEYS_KEY_PER_IMAGE, &image, NULL) == 0);
  REQUIRE(pkeys_image_set_mechanism(image, gate.mechanism) == 0);
  REQUIRE(trap_set_foreign_stack(gate.foreign_stack, 0) == 0);
  struct pkeys_space mapped;
  REQUIRE(pkeys_image_space(image, 0, &mapped) == 0);
  if (keyed) denied = pkru_bits(mapped.key, PKEYS_NO_WRITE);
  void (*poisoned)(int) = (void (*)(int))(uintptr_t)thunk_of((void *)poison, 0, gate.flags);

  const char *text = getenv("TURNKEY_SIGNATURE_ROUNDS");
  unsigned rounds = text != NULL && atoi(text) > 0 ? (unsigned)atoi(text) : 1;
  unsigned long calls = 0, bad = 0;
  for (unsigned round = 0; round < rounds; round++) {
    values = check_random();
    signature_refill();
    for (unsigned part = 0; part < signature_part_count; part++) {
      for (unsigned i = 0; i < *signature_parts[part].count; i++) {
        const struct signature *s = &signature_parts[part].signatures[i];
        struct seen_values raw, guarded;
        if (!call(s, RAW, gate.flags, &raw)) bad++;
        for (enum way way = EXACT; way < WAYS; way++) {
          int byte = (int)(1 + way);
          poisoned(byte);
          poison(byte);
          bool right = call(s, way, gate.flags, &guarded);
          calls++;
          if (right && guarded.arguments == raw.arguments && guarded.result == raw.result) continue;
          if (bad++ < 10)
            check_failed(__FILE__, __LINE__, "signature %u, %s, %u stack bytes: %s:%s%s%s", s->number, s->text,
                         s->stack_bytes, way_names[way],
                         guarded.arguments != raw.arguments ? " the callee saw other arguments" : "",
                         guarded.result != raw.result ? " the caller got another result" : "",
                         right ? "" : " not run once in the right state");
        }
      }
    }
  }
  struct trap_fault fault;
  bool faulted = trap_take_fault(&fault);
  if (faulted)
    check_failed(__FILE__, __LINE__, "signal %d at pc 0x%" PRIx64 ", address 0x%" PRIx64, fault.signal, fault.pc,
                 fault.address);
  printf("#   %lu guarded calls of %u signatures\n", calls,
         signature_parts[0].signatures == NULL ? 0 : *signature_parts[0].count * signature_part_count);
  CHECK_EQ(bad, 0);
  CHECK_EQ(wrong_rights, 0);
  CHECK(calls > 0 && !faulted);
}

#define GATE(id, text, ...) \
  CHECK_TEST(id, "raw and guarded agree: " text) { agree((struct gate){__VA_ARGS__}); }

GATE(flag, "flag", PKEYS_MECHANISM_FLAG, 0, true)
GATE(flag_float, "flag, floating-point environment saved", PKEYS_MECHANISM_FLAG, TRAP_FLOAT, true)
GATE(flag_own, "flag, caller's stack", PKEYS_MECHANISM_FLAG, 0, false)
GATE(flag_own_float, "flag, caller's stack, floating-point environment saved", PKEYS_MECHANISM_FLAG, TRAP_FLOAT, false)
GATE(keys, "pkeys", PKEYS_MECHANISM_PKEYS, 0, true)
GATE(keys_float, "pkeys, floating-point environment saved", PKEYS_MECHANISM_PKEYS, TRAP_FLOAT, true)
GATE(keys_own, "pkeys, caller's stack", PKEYS_MECHANISM_PKEYS, 0, false)
GATE(keys_own_float, "pkeys, caller's stack, floating-point environment saved", PKEYS_MECHANISM_PKEYS, TRAP_FLOAT,
     false)
GATE(hooked, "mprotect-range", PKEYS_MECHANISM_MPROTECT_RANGE, 0, true)
GATE(hooked_own, "mprotect-range, caller's stack", PKEYS_MECHANISM_MPROTECT_RANGE, 0, false)
GATE(hooked_keys, "pkeys-glibc", PKEYS_MECHANISM_PKEYS_GLIBC, 0, true)

CHECK_MAIN()
