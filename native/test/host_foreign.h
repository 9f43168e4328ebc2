/* host_foreign.h: what host_foreign.c offers. */
#ifndef TURNKEY_TEST_HOST_FOREIGN_H
#define TURNKEY_TEST_HOST_FOREIGN_H

struct foreign_pair {
  long a, b, c; /* too large for registers: returned in memory */
};
long foreign_sum(long a, long b, long c, long d, long e, long f, long g, long h, double x, long i);
struct foreign_pair foreign_pair(long a);
int foreign_errno(int value);
long foreign_poke(volatile long *where, long value);
long foreign_peek(const volatile long *where);
long foreign_call_back(long (*callback)(long), long value);
long foreign_poke_after(long (*callback)(long), volatile long *where);
long foreign_call_back_elsewhere(long (*callback)(long), long value);
long foreign_raise(int signal);
long foreign_wait(volatile int *flag);

#endif
