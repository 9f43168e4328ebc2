/*
 * unhandled_windows.c: in place of the system's AddVectoredExceptionHandler, one that registers nothing. A program
 * linked with it is the trap without its handler: what tests the trap must fail there.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

static PVOID WINAPI registers_nothing(ULONG first, PVECTORED_EXCEPTION_HANDLER handler) {
  (void)first;
  return (PVOID)(ULONG_PTR)handler;
}
extern PVOID(WINAPI *const __imp_AddVectoredExceptionHandler)(ULONG, PVECTORED_EXCEPTION_HANDLER);
PVOID(WINAPI *const __imp_AddVectoredExceptionHandler)(ULONG, PVECTORED_EXCEPTION_HANDLER) = registers_nothing;
