/*
 * subjects_linux_x86_64.h: the policy of the filter as data: what each system call of x86-64 is judged by. What is not
 * listed passes. judge_linux_x86_64.c, its only reader, has the judgements.
 *
 * syscalls(2).
 */
#ifndef TURNKEY_TRAP_SUBJECTS_LINUX_X86_64_H
#define TURNKEY_TRAP_SUBJECTS_LINUX_X86_64_H

#include <stdint.h>
#include <sys/syscall.h>

#include "internal.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

/* What a call is judged by. */
enum subject {
  NOTHING = 0, /* it passes */
  NEVER,       /* no callee's business */
  RANGE,       /* [argument 0, argument 0 + argument 1) */
  PROTECTION,  /* the same; may also make memory executable */
  MAPPING,     /* mmap(2) */
  REMAPPING,   /* mremap(2) */
  KEY,         /* argument 0 is a key */
  OPENING_1,   /* open(2) and its like, with the flags as argument 1 */
  OPENING_2,
  OPENING,         /* with flags elsewhere */
  WRITING,         /* to the descriptor that is argument 0 */
  CREATING_THREAD, /* clone(2) */
  CLONE3,
  FORKING,
  VFORKING,
  MASK,   /* rt_sigprocmask(2) */
  ACTION, /* rt_sigaction(2) */
  SIGRETURN,
  ALTERNATE, /* sigaltstack(2) */
  TRACE,     /* ptrace(2) */
  CONTROL,   /* prctl(2) */
  ARCHITECTURE,
  ENDING, /* exit(2): of a thread of the VM's */
};

static const uint8_t subjects[sizeof((struct trap_filter *)0)->rules] = {
    [SYS_munmap] = RANGE,
    [SYS_madvise] = RANGE,
    [SYS_remap_file_pages] = RANGE,
    [SYS_mseal] = RANGE,
    [SYS_mbind] = RANGE,
    [SYS_mprotect] = PROTECTION,
    [SYS_pkey_mprotect] = PROTECTION,
    [SYS_mmap] = MAPPING,
    [SYS_mremap] = REMAPPING,
    [SYS_shmat] = NEVER, /* SHM_REMAP maps over what is there */
    [SYS_pkey_free] = KEY,
    [SYS_open] = OPENING_1,
    [SYS_openat] = OPENING_2,
    [SYS_open_by_handle_at] = OPENING_2,
    [SYS_creat] = OPENING,
    [SYS_openat2] = OPENING,
    [SYS_write] = WRITING,
    [SYS_pwrite64] = WRITING,
    [SYS_writev] = WRITING,
    [SYS_pwritev] = WRITING,
    [SYS_pwritev2] = WRITING,
    [SYS_clone] = CREATING_THREAD,
    [SYS_clone3] = CLONE3,
    [SYS_fork] = FORKING,
    [SYS_vfork] = VFORKING,
    [SYS_rt_sigprocmask] = MASK,
    [SYS_rt_sigaction] = ACTION,
    [SYS_rt_sigreturn] = SIGRETURN,
    [SYS_sigaltstack] = ALTERNATE,
    [SYS_ptrace] = TRACE,
    [SYS_prctl] = CONTROL,
    [SYS_arch_prctl] = ARCHITECTURE,
    [SYS_exit] = ENDING,
    [SYS_exit_group] = ENDING,
    [SYS_process_vm_writev] = NEVER,
    [SYS_process_madvise] = NEVER,
    [SYS_userfaultfd] = NEVER,
    [SYS_io_uring_setup] = NEVER,
    [SYS_io_uring_enter] = NEVER,
    [SYS_io_uring_register] = NEVER,
    [SYS_modify_ldt] = NEVER,
};

#endif
