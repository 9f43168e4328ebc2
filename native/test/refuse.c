/*
 * refuse.c: runs a command under a seccomp filter that refuses one of the calls that keys need.
 *   turnkey-refuse pkey_alloc|pkey_mprotect|pkey_free EPERM|ENOSYS|kill COMMAND…
 * Static: it runs in a guest as well. seccomp(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words) {
  if (count < 4) return 2;
  const struct {
    const char *name;
    unsigned number;
  } calls[] = {{"pkey_alloc", SYS_pkey_alloc}, {"pkey_mprotect", SYS_pkey_mprotect}, {"pkey_free", SYS_pkey_free}};
  unsigned number = 0;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    if (strcmp(words[1], calls[i].name) == 0) number = calls[i].number;
  unsigned action = strcmp(words[2], "EPERM") == 0    ? SECCOMP_RET_ERRNO | EPERM
                    : strcmp(words[2], "ENOSYS") == 0 ? SECCOMP_RET_ERRNO | ENOSYS
                                                      : SECCOMP_RET_KILL_PROCESS;
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  if (!number || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
    perror("turnkey-refuse");
    return 2;
  }
  execvp(words[3], words + 3);
  perror(words[3]);
  return 127;
}
