/* syscall_x86_64.h: one system call on Linux on x86-64. syscall(2) (register conventions);
 * arch/x86/entry/syscalls/syscall_64.tbl. Included by sys_linux.h. */
static inline long sys_call(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
