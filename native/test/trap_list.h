/*
 * trap_list.h: what trap_list.c must know of the system and the CPU.
 */
#ifndef TURNKEY_TEST_TRAP_LIST_H
#define TURNKEY_TEST_TRAP_LIST_H

#include <stdbool.h>
#include <stdint.h>
#include <signal.h>

#if defined(__x86_64__)
#define LIST_ILLEGAL() __asm__ volatile("ud2")
/* A general-protection fault: the CPU tells no address. */
#define LIST_NONCANONICAL_ACCESS TRAP_ACCESS_UNKNOWN
#define LIST_NONCANONICAL_ADDRESS 0
static volatile int list_zero, list_one = 1; /* not to be seen through */
static int list_divides(void) { return list_one / list_zero; }
static int list_divides_float(void) {
  unsigned mxcsr;
  volatile double nothing = list_zero;
  __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
  mxcsr &= ~0x200u; /* division by zero is no longer masked */
  __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
  return (int)(list_one / nothing);
}
#define LIST_DIVIDES list_divides
#define LIST_DIVIDES_FLOAT list_divides_float
#else
#define LIST_ILLEGAL() __asm__ volatile(".inst 0")
#define LIST_NONCANONICAL_ACCESS TRAP_ACCESS_WRITE
#define LIST_NONCANONICAL_ADDRESS 1
#define LIST_DIVIDES NULL
#define LIST_DIVIDES_FLOAT NULL
#endif

static const struct {
  const char *name;
  int (*callee)(void);
} list_divisions[] = {{"integer division", LIST_DIVIDES}, {"floating division", LIST_DIVIDES_FLOAT}};

#if defined(_WIN32)
/* `code` is the Windows exception code, `signal` the C signal that stands for it. */
static bool LIST_CODE_FITS(int signo, int32_t code) {
  switch ((uint32_t)code) {
    case 0xC0000005u: /* access violation */
    case 0xC00000FDu: /* stack overflow */ return signo == SIGSEGV;
    case 0xC000001Du: return signo == SIGILL;
    case 0xC0000094u: /* integer division by zero */
    case 0xC000008Eu: /* floating division by zero */
    case 0xC00002B4u: /* several floating faults: the SSE unit's */
    case 0xC00002B5u: return signo == SIGFPE;
    default: return false;
  }
}
#else
static bool LIST_CODE_FITS(int signo, int32_t code) { return signo != 0 && code > 0; }
#endif

#endif
