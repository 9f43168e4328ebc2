/*
 * asleep.h: waits for what a thread of this process does, so that a fault meets the same state each time. By system
 * calls of its own: the store of a trial may have damaged what a call of libc's goes through, and which of two threads
 * dies of that first would be chance. Header only, since the program and its foreign code link to nothing in common.
 */
#ifndef TURNKEY_CAMPAIGN_ASLEEP_H
#define TURNKEY_CAMPAIGN_ASLEEP_H

#include <asm/unistd.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/types.h>

static inline long asleep_call(long number, long first, long second, long third) {
  long result = number;
  __asm__ volatile("syscall" : "+a"(result) : "D"(first), "S"(second), "d"(third) : "rcx", "r11", "memory");
  return result;
}

/* /proc/self/task/THREAD/syscall, proc(5): the number of the system call that the thread waits in, off its processor;
 * -1 while it runs, -2 where there is no such thread. */
static inline long waits_in(pid_t thread) {
  char path[48] = "/proc/self/task/", text[16], digits[12];
  size_t count = 0, at = 16;
  for (unsigned rest = (unsigned)thread; rest != 0 || count == 0; rest /= 10) digits[count++] = (char)('0' + rest % 10);
  while (count > 0) path[at++] = digits[--count];
  for (const char *end = "/syscall"; *end != 0; end++) path[at++] = *end;
  path[at] = 0;
  long file = asleep_call(__NR_open, (long)path, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return -2;
  long got = asleep_call(__NR_read, file, (long)text, sizeof text), number = 0;
  asleep_call(__NR_close, file, 0, 0);
  if (got <= 0 || text[0] < '0' || text[0] > '9') return got <= 0 ? -2 : -1;
  for (long digit = 0; digit < got && text[digit] >= '0' && text[digit] <= '9'; digit++)
    number = number * 10 + text[digit] - '0';
  return number;
}

/* Returns once `thread` waits in a futex or for a pipe: what is on its stack stays, and it goes on from there. */
static inline void wait_for_sleep(pid_t thread) {
  for (long number; number = waits_in(thread), number != __NR_futex && number != __NR_read;)
    asleep_call(__NR_sched_yield, 0, 0, 0);
}

/* Returns once `thread` stays in pause(2), with nothing left to do. */
static inline void wait_for_pause(pid_t thread) {
  while (waits_in(thread) != __NR_pause) asleep_call(__NR_sched_yield, 0, 0, 0);
}

/* wait_for_sleep for the process's first thread, which a trial calls out on, since it is a fork. */
static inline void wait_for_program(void) { wait_for_sleep((pid_t)asleep_call(__NR_getpid, 0, 0, 0)); }

/* Returns once there is no such thread any more. */
static inline void wait_for_end(pid_t thread) {
  while (waits_in(thread) != -2) asleep_call(__NR_sched_yield, 0, 0, 0);
}

#endif
