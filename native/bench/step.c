/*
 * step.c: see step.h. A mark is an INT3: its SIGTRAP is the tracer's and never delivered. At each step the bytes at the
 * program counter tell what is about to be executed: 0f 01 ef WRPKRU, 0f 01 ee RDPKRU, 0f 05 SYSCALL (SDM vol. 2). A
 * signal that the child gets on the way is a fault, and is delivered.
 */
#define _GNU_SOURCE
#include "step.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRAP_FLAG 0x100 /* EFLAGS.TF */

static inline void mark(void) { __asm__ volatile("int3" : : : "memory"); }

void step_be_seen(const struct bench_row *row) {
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(3);
  mark();
  row->run(1);
  mark();
}

static bool stopped_by(pid_t child, int *signal) {
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return false;
  if (!WIFSTOPPED(status)) return false;
  *signal = WSTOPSIG(status);
  return true;
}

static bool give_up(pid_t child) {
  kill(child, SIGKILL);
  while (waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
  return false;
}

bool step_see(pid_t child, unsigned most, struct step_counts *out) {
  int signal;
  *out = (struct step_counts){{0}, 0};
  if (!stopped_by(child, &signal)) return false; /* gone, and waited for */
  if (signal != SIGTRAP) return give_up(child);
  for (unsigned steps = 0, deliver = 0; steps < most; steps++) {
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, child, NULL, &registers) != 0) return give_up(child);
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, child, (void *)registers.rip, NULL);
    if (errno != 0 && deliver == 0) return give_up(child);
    if (deliver == 0) {
      if ((word & 0xff) == 0xcc) { /* the second mark: over it, and on */
        registers.rip++;
        registers.eflags &= ~(unsigned long long)TRAP_FLAG;
        if (ptrace(PTRACE_SETREGS, child, NULL, &registers) != 0) return give_up(child);
        return ptrace(PTRACE_DETACH, child, NULL, NULL) == 0 || give_up(child);
      }
      out->instructions++;
      if ((word & 0xff) == 0x9d) { /* POPF: what a PUSHF under stepping has saved is our trap flag, not the child's */
        long flags = ptrace(PTRACE_PEEKDATA, child, (void *)registers.rsp, NULL);
        ptrace(PTRACE_POKEDATA, child, (void *)registers.rsp, (void *)(flags & ~(long)TRAP_FLAG));
      }
      if ((word & 0xffffff) == 0xef010f) out->counts.wrpkru++;
      if ((word & 0xffffff) == 0xee010f) out->counts.rdpkru++;
      if ((word & 0xffff) == 0x050f) out->counts.syscalls++;
    }
    if (ptrace(PTRACE_SINGLESTEP, child, NULL, (void *)(uintptr_t)deliver) != 0) return give_up(child);
    if (!stopped_by(child, &signal)) return false;
    deliver = signal == SIGTRAP ? 0 : (unsigned)signal;
    if (deliver != 0) {
      out->counts.faults++;
      out->instructions--; /* it was not executed */
    }
  }
  return give_up(child);
}
