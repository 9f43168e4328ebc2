/*
 * look_linux_x86_64.c: what judge_linux_x86_64.c looks at besides registers: memory that shall become code, and what a
 * descriptor is. Runs inside a signal, under the same rules.
 *
 * Intel SDM vol. 2 (WRPKRU, XRSTOR); proc(5), /proc/PID/mem.
 */
#define _GNU_SOURCE
#include <sys/vfs.h>

#include "calls.h"
#include "dispatch.h"

#define PROC_MAGIC 0x9fa0

/* Whether memory holds the bytes of WRPKRU, XRSTOR or XRSTORS, at whatever offset. What cannot be read holds none. */
bool trap_writes_rights(uint64_t address, uint64_t bytes) {
  uint8_t window[512];
  for (uint64_t at = 0; at < bytes; at += sizeof window - 2) {
    uint64_t size = bytes - at < sizeof window ? bytes - at : sizeof window;
    uint64_t got = size - trap_peek(window, (const void *)(uintptr_t)(address + at), size);
    for (uint64_t i = 0; i + 2 < got; i++) {
      if (window[i] != 0x0f) continue;
      bool memory = window[i + 2] < 0xc0;
      unsigned which = window[i + 2] >> 3 & 7;
      if (window[i + 1] == 0x01 && window[i + 2] == 0xef) return true; /* WRPKRU */
      if (window[i + 1] == 0xae && memory && which == 5) return true;  /* XRSTOR */
      if (window[i + 1] == 0xc7 && memory && which == 3) return true;  /* XRSTORS */
    }
  }
  return false;
}

bool trap_is_memory_file(long file) {
  struct statfs where;
  if (TRAP_CALL(SYS_fstatfs, file, &where, 0, 0) != 0 || where.f_type != PROC_MAGIC) return false;
  char link[48] = "/proc/thread-self/fd/", target[256]; /* a thread may have a table of its own */
  size_t at = strlen(link), digits = 0;
  char number[24];
  do number[digits++] = (char)('0' + file % 10);
  while ((file /= 10) != 0);
  while (digits > 0) link[at++] = number[--digits];
  link[at] = '\0';
  long length = TRAP_CALL(SYS_readlink, link, target, sizeof target, 0);
  if (length < 0 || length >= (long)sizeof target) return true; /* nobody can say what it is */
  return length >= 4 && memcmp(target + length - 4, "/mem", 4) == 0;
}
