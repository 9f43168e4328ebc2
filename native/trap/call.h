/*
 * call.h: guarded calls from C and C++, with the type of the function that is called.
 *
 * Guard once, call often:
 *
 *     int (*add)(int, int) = TRAP_GUARD(library_add, 0, 0, NULL);   // a thunk with the function's own type, or NULL
 *     int sum = add(1, 2);                                          // as often as you like; 0 if the call failed
 *     if (trap_take_fault(&fault)) ...                              // whether a call failed
 *
 * All in one:
 *
 *     if (TRAP_CALL(&fault, sum, library_add, 1, 2) < 0) ...
 *
 * The first form is the fast one. Only the gate lies between caller and callee, and one look at the fault record shows
 * whether any of several calls failed. TRAP_CALL looks at the record before and after each call, which costs two more
 * function calls.
 *
 * Both forms call a thunk. What trap.h says of thunks holds for both: threads, signal handlers, policies, stack
 * arguments.
 */
#ifndef TURNKEY_CALL_H
#define TURNKEY_CALL_H

#include "trap.h"

#ifdef __cplusplus
#include <type_traits>
#endif

TURNKEY_API_BEGIN

/* ---- guard once, call often ---------------------------------------------------------------------------------- */

/* The functions behind TRAP_GUARD and TRAP_CALLBACK. Each returns a code address; or 0 and sets errno to EINVAL,
 * ENOSPC, EBUSY, EAGAIN or ENOMEM, for the reasons of trap_thunk and trap_callback. */
uintptr_t trap_guard_code(uintptr_t target, size_t stack_bytes, unsigned flags, trap_policy *policy);
uintptr_t trap_callback_code_of(uintptr_t target, size_t stack_bytes);

/*
 * TRAP_GUARD(function, stack_bytes, flags, policy) answers a pointer of the function's own type that calls it guarded,
 * or NULL with errno set. `function` is a function or a pointer to one. The other arguments are those of trap_thunk.
 *
 * `stack_bytes` is 0 if all arguments travel in registers: up to six integers and pointers, and up to eight of float
 * and double. TRAP_STACK_BYTES computes it from sample arguments; in C++ turnkey::guard takes it from the type.
 *
 * Each TRAP_GUARD needs one TRAP_RELEASE.
 */
#define TRAP_GUARD(function, stack_bytes, flags, policy) \
  ((__typeof__(&*(function)))trap_guard_code((uintptr_t)(function), (stack_bytes), (flags), (policy)))
#define TRAP_RELEASE(guarded) trap_thunk_release((void *)(uintptr_t)(guarded))

/* TRAP_CALLBACK(function, stack_bytes) answers a pointer of the function's own type, to be handed to foreign code in
 * the function's place; or NULL with errno set. */
#define TRAP_CALLBACK(function, stack_bytes) \
  ((__typeof__(&*(function)))trap_callback_code_of((uintptr_t)(function), (stack_bytes)))
#define TRAP_CALLBACK_RELEASE(callback) trap_callback_release((void *)(uintptr_t)(callback))

/* ---- all in one ---------------------------------------------------------------------------------------------- */

/* Each TRAP_CALL in a program has one. It remembers the thunk of the function that this TRAP_CALL called first. */
struct trap_site {
  const void *target;
  void *code;
};
struct trap_call {
  void *code;
  uint32_t before;
  bool once;
};
int trap_call_begin(struct trap_site *site, uintptr_t target, size_t stack_bytes, struct trap_call *call);
int trap_call_end(const struct trap_call *call, struct trap_fault *fault);

TURNKEY_API_END

#ifndef __cplusplus

/*
 * TRAP_CALL(fault, result, function, arguments...) does `result = function(arguments...)`, guarded, with up to 12
 * arguments and the policy TRAP_ALWAYS. TRAP_CALL_VOID is the same without a result. `fault` is a struct trap_fault *
 * that a failed call fills, or NULL.
 *
 *   answer                                         what happened                                  result
 *   0                                              the function was called and returned           its value
 *   -EFAULT                                        the function was called and failed             0
 *   -EINVAL, -ENOSPC, -EBUSY, -EAGAIN, -ENOMEM     there is no thunk, so it was not called        unchanged
 *   another negative errno                         the mechanism could not close the image, so    unchanged
 *                                                  it was not called
 *
 * The fault of an earlier call, if it was not taken, stays in the thread's record unless this call fails too.
 *
 * One TRAP_CALL may call different functions through a pointer, but then it makes a new thunk whenever the function is
 * not the first one. Use TRAP_GUARD there.
 */
#define TRAP_CALL(fault, result, ...) \
  TRAP_CALL_AS(fault, result =, TRAP_FIRST(__VA_ARGS__, ~), TRAP_STACK_BYTES(__VA_ARGS__), (TRAP_REST(__VA_ARGS__)))
#define TRAP_CALL_VOID(fault, ...) \
  TRAP_CALL_AS(fault, , TRAP_FIRST(__VA_ARGS__, ~), TRAP_STACK_BYTES(__VA_ARGS__), (TRAP_REST(__VA_ARGS__)))
#define TRAP_CALL_AS(fault, assign, function, bytes, arguments)                                   \
  __extension__({                                                                                 \
    static struct trap_site trap_site_;                                                           \
    struct trap_call trap_call_;                                                                  \
    int trap_result_ = trap_call_begin(&trap_site_, (uintptr_t)(function), (bytes), &trap_call_); \
    if (trap_result_ == 0) {                                                                      \
      assign((__typeof__(&*(function)))(uintptr_t)trap_call_.code) arguments;                     \
      trap_result_ = trap_call_end(&trap_call_, (fault));                                         \
    }                                                                                             \
    trap_result_;                                                                                 \
  })

/*
 * TRAP_STACK_BYTES(function, arguments...) is the size in bytes of the arguments that such a call passes on the stack,
 * as a constant. It evaluates nothing. The size is an upper bound; each 8 bytes too many cost one copied word.
 *
 * The types of the parameters decide what goes on the stack, and C has no way to list them. So there are two cases:
 *
 *   the arguments have exactly the parameters' types   the ABI's own sum (psABI 3.2.3); structures count both as taking
 *                                                      registers and as lying on the stack
 *   they have not, or the function is unprototyped     48 bytes for each arithmetic argument, which may become anything
 *   or variadic                                        up to a complex long double; pointers stay pointers
 *
 * The bound is tight if the types agree, or if all arguments are pointers.
 */
#define TRAP_STACK_BYTES(...) TRAP_PASTE(TRAP_BYTES_, TRAP_COUNT(__VA_ARGS__))(__VA_ARGS__)

/* __builtin_classify_type: 1 to 4 integers, 5 pointers (functions and arrays are pointers here), 8 real. The arguments
 * of a call as types: structures stay. */
#define TRAP_CLASS(a) __builtin_classify_type(a)
#define TRAP_POINTER(a) (TRAP_CLASS(a) == 5)
#define TRAP_INTEGER(a) (TRAP_POINTER(a) || (TRAP_CLASS(a) >= 1 && TRAP_CLASS(a) <= 4 && sizeof(a) <= 8))
#define TRAP_REAL(a) (TRAP_CLASS(a) == 8 && sizeof(a) <= 8)
#define TRAP_OTHER(a)  \
  (!TRAP_INTEGER(a) && \
   !TRAP_REAL(a)) /* long double, __int128, complex, vectors, structures: registers and memory at once */
#define TRAP_ARITHMETIC(a) (TRAP_CLASS(a) >= 1 && TRAP_CLASS(a) <= 9 && !TRAP_POINTER(a))
#define TRAP_GENERAL_TAKEN(a) (TRAP_INTEGER(a) ? 1 : TRAP_OTHER(a) ? 2 : 0)
#define TRAP_VECTOR_TAKEN(a) (TRAP_REAL(a) ? 1 : TRAP_OTHER(a) ? 2 : 0)
#define TRAP_MEMORY_TAKEN(a) (TRAP_OTHER(a) ? (sizeof(a) + 15) / 16 * 16 + TRAP_ALIGNMENT(a) : 0)
#define TRAP_ALIGNMENT(a) (__alignof__(a) > 16 ? __alignof__(a) : 16)
#define TRAP_ANY_TAKEN(a) (TRAP_ARITHMETIC(a) ? 48 : TRAP_MEMORY_TAKEN(a))
#define TRAP_ANY_GENERAL(a) (TRAP_INTEGER(a) ? TRAP_ARITHMETIC(a) + 1 : 2)
#define TRAP_BEYOND(count, registers) ((count) > (registers) ? 8 * (size_t)((count) - (registers)) : (size_t)0)
#ifdef _WIN32 /* four registers, whatever the kind */
#define TRAP_BEYOND_REGISTERS(general, vector) TRAP_BEYOND((general) + (vector), 4)
#else /* System V; AAPCS64 has two general ones more, and an upper bound will do */
#define TRAP_BEYOND_REGISTERS(general, vector) (TRAP_BEYOND(general, 6) + TRAP_BEYOND(vector, 8))
#endif
#define TRAP_BYTES(same, general, vector, memory, any, any_general)   \
  ((same) ? TRAP_BEYOND_REGISTERS(general, vector) + (size_t)(memory) \
          : TRAP_BEYOND_REGISTERS(any_general, 0) + (size_t)(any))
#define TRAP_SAME(f, arguments, types) \
  __builtin_types_compatible_p(__typeof__(*(f)), __typeof__(__typeof__((f)arguments) types))

#define TRAP_PASTE(a, b) TRAP_PASTE_NOW(a, b)
#define TRAP_PASTE_NOW(a, b) a##b
#define TRAP_FIRST(a, ...) a
#define TRAP_COUNT(...) TRAP_COUNT_NOW(__VA_ARGS__, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, ~)
#define TRAP_COUNT_NOW(p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, count, ...) count
#define TRAP_REST(...) TRAP_PASTE(TRAP_REST_, TRAP_ONE_OR_MORE(__VA_ARGS__))(__VA_ARGS__)
#define TRAP_REST_ONE(f)
#define TRAP_REST_MORE(f, ...) __VA_ARGS__
#define TRAP_ONE_OR_MORE(...) \
  TRAP_COUNT_NOW(__VA_ARGS__, MORE, MORE, MORE, MORE, MORE, MORE, MORE, MORE, MORE, MORE, MORE, MORE, ONE, ~)
#define TRAP_SUM_1(m, f) 0
#define TRAP_SUM_2(m, f, a) m(a)
#define TRAP_SUM_3(m, f, a, ...) m(a) + TRAP_SUM_2(m, f, __VA_ARGS__)
#define TRAP_SUM_4(m, f, a, ...) m(a) + TRAP_SUM_3(m, f, __VA_ARGS__)
#define TRAP_SUM_5(m, f, a, ...) m(a) + TRAP_SUM_4(m, f, __VA_ARGS__)
#define TRAP_SUM_6(m, f, a, ...) m(a) + TRAP_SUM_5(m, f, __VA_ARGS__)
#define TRAP_SUM_7(m, f, a, ...) m(a) + TRAP_SUM_6(m, f, __VA_ARGS__)
#define TRAP_SUM_8(m, f, a, ...) m(a) + TRAP_SUM_7(m, f, __VA_ARGS__)
#define TRAP_SUM_9(m, f, a, ...) m(a) + TRAP_SUM_8(m, f, __VA_ARGS__)
#define TRAP_SUM_10(m, f, a, ...) m(a) + TRAP_SUM_9(m, f, __VA_ARGS__)
#define TRAP_SUM_11(m, f, a, ...) m(a) + TRAP_SUM_10(m, f, __VA_ARGS__)
#define TRAP_SUM_12(m, f, a, ...) m(a) + TRAP_SUM_11(m, f, __VA_ARGS__)
#define TRAP_SUM_13(m, f, a, ...) m(a) + TRAP_SUM_12(m, f, __VA_ARGS__)
#define TRAP_TYPES_1(f) void
#define TRAP_TYPES_2(f, a) __typeof__(a)
#define TRAP_TYPES_3(f, a, ...) __typeof__(a), TRAP_TYPES_2(f, __VA_ARGS__)
#define TRAP_TYPES_4(f, a, ...) __typeof__(a), TRAP_TYPES_3(f, __VA_ARGS__)
#define TRAP_TYPES_5(f, a, ...) __typeof__(a), TRAP_TYPES_4(f, __VA_ARGS__)
#define TRAP_TYPES_6(f, a, ...) __typeof__(a), TRAP_TYPES_5(f, __VA_ARGS__)
#define TRAP_TYPES_7(f, a, ...) __typeof__(a), TRAP_TYPES_6(f, __VA_ARGS__)
#define TRAP_TYPES_8(f, a, ...) __typeof__(a), TRAP_TYPES_7(f, __VA_ARGS__)
#define TRAP_TYPES_9(f, a, ...) __typeof__(a), TRAP_TYPES_8(f, __VA_ARGS__)
#define TRAP_TYPES_10(f, a, ...) __typeof__(a), TRAP_TYPES_9(f, __VA_ARGS__)
#define TRAP_TYPES_11(f, a, ...) __typeof__(a), TRAP_TYPES_10(f, __VA_ARGS__)
#define TRAP_TYPES_12(f, a, ...) __typeof__(a), TRAP_TYPES_11(f, __VA_ARGS__)
#define TRAP_TYPES_13(f, a, ...) __typeof__(a), TRAP_TYPES_12(f, __VA_ARGS__)
#define TRAP_BYTES_OF(sum, types, f, rest, ...)                                              \
  TRAP_BYTES(TRAP_SAME(f, rest, (types(__VA_ARGS__))), sum(TRAP_GENERAL_TAKEN, __VA_ARGS__), \
             sum(TRAP_VECTOR_TAKEN, __VA_ARGS__), sum(TRAP_MEMORY_TAKEN, __VA_ARGS__),       \
             sum(TRAP_ANY_TAKEN, __VA_ARGS__), sum(TRAP_ANY_GENERAL, __VA_ARGS__))
#define TRAP_BYTES_1(f) 0
#define TRAP_BYTES_2(f, ...) TRAP_BYTES_OF(TRAP_SUM_2, TRAP_TYPES_2, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_3(f, ...) TRAP_BYTES_OF(TRAP_SUM_3, TRAP_TYPES_3, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_4(f, ...) TRAP_BYTES_OF(TRAP_SUM_4, TRAP_TYPES_4, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_5(f, ...) TRAP_BYTES_OF(TRAP_SUM_5, TRAP_TYPES_5, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_6(f, ...) TRAP_BYTES_OF(TRAP_SUM_6, TRAP_TYPES_6, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_7(f, ...) TRAP_BYTES_OF(TRAP_SUM_7, TRAP_TYPES_7, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_8(f, ...) TRAP_BYTES_OF(TRAP_SUM_8, TRAP_TYPES_8, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_9(f, ...) TRAP_BYTES_OF(TRAP_SUM_9, TRAP_TYPES_9, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_10(f, ...) TRAP_BYTES_OF(TRAP_SUM_10, TRAP_TYPES_10, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_11(f, ...) TRAP_BYTES_OF(TRAP_SUM_11, TRAP_TYPES_11, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_12(f, ...) TRAP_BYTES_OF(TRAP_SUM_12, TRAP_TYPES_12, f, (__VA_ARGS__), f, __VA_ARGS__)
#define TRAP_BYTES_13(f, ...) TRAP_BYTES_OF(TRAP_SUM_13, TRAP_TYPES_13, f, (__VA_ARGS__), f, __VA_ARGS__)

#else

/* ---- C++: the function's type lists its parameters ------------------------------------------------------------ */

namespace turnkey {

/* What one parameter takes. A class that is not trivially copyable is passed by address; any other counts both as
 * taking registers and as lying on the stack. */
template <class T> struct taken {
  using type = std::remove_cv_t<T>;
  static constexpr bool address = std::is_reference<T>::value || std::is_pointer<type>::value ||
                                  (std::is_class<type>::value && !std::is_trivially_copyable<type>::value);
  static constexpr bool integer = address || (!std::is_class<type>::value && !std::is_union<type>::value &&
                                              !std::is_floating_point<type>::value && sizeof(T) <= 8);
  static constexpr bool real = std::is_floating_point<type>::value && sizeof(T) <= 8;
  static constexpr std::size_t general = integer ? 1 : real ? 0 : 2;
  static constexpr std::size_t vector = real ? 1 : integer ? 0 : 2;
  static constexpr std::size_t memory = integer || real
                                            ? 0
                                            : (sizeof(T) + 15) / 16 * 16 + (alignof(T) > 16 ? alignof(T) : 16);
};

constexpr std::size_t beyond(std::size_t count, std::size_t registers) {
  return count > registers ? 8 * (count - registers) : 0;
}

/* Size in bytes of the arguments that a call of such a function passes on the stack, or a little more. */
template <class R, class... A> constexpr std::size_t stack_bytes(R (*)(A...)) {
  constexpr std::size_t general = (std::size_t{0} + ... + taken<A>::general),
                        vector = (std::size_t{0} + ... + taken<A>::vector);
#ifdef _WIN32
  return beyond(general + vector, 4) + (std::size_t{0} + ... + taken<A>::memory);
#else
  return beyond(general, 6) + beyond(vector, 8) + (std::size_t{0} + ... + taken<A>::memory);
#endif
}

/* TRAP_GUARD, with the stack bytes taken from the function's type. Answers a pointer that calls `function` guarded, or
 * nullptr with errno set. Needs C++17. */
template <class R, class... A>
R (*guard(R (*function)(A...), unsigned flags = 0, trap_policy *policy = nullptr))(A...) {
  return TRAP_GUARD(function, stack_bytes(function), flags, policy);
}

/* TRAP_CALLBACK, with the stack bytes taken from the function's type. A callback needs the exact size, so this accepts
 * only functions whose parameters leave no doubt about it. */
template <class R, class... A> R (*callback(R (*function)(A...)))(A...) {
  static_assert((std::size_t{0} + ... + taken<A>::memory) == 0,
                "structures and long double: use TRAP_CALLBACK with the exact number of bytes");
  return TRAP_CALLBACK(function, stack_bytes(function));
}

} // namespace turnkey

#endif

#endif
