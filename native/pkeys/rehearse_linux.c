/*
 * rehearse_linux.c: makes the calls that keys need once in a child process, and says how each of them went.
 *
 * What the CPU and the kernel's version say is not the whole truth. A seccomp filter may refuse a call, or kill the
 * process that makes it; a CPU (an emulator, a binary translator) may announce keys and then not know the instruction.
 * A child that dies of such a call tells the parent without taking it along. seccomp(2), clone(2), pkeys(7).
 *
 * Between clone and exit the child calls nothing that takes a lock or allocates. Other threads of the parent may hold
 * any lock in the instant of the copy.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "internal.h"
#include "sys.h"

/* clone(2) by the C library's reserved name: an executable that exports a function `clone` of its own (Squeak's VM
 * does) would have that called. */
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...);

#define STACK_BYTES (16 * PKEYS_PAGE)
#define SIGNAL_SET_BYTES 8 /* the kernel's sigset_t: 64 signals */

/* One shared mapping: what the child reports, a page to tag, the child's stack (a whole smaps line buffer fits). */
struct stage {
  struct rehearsal rehearsal;
  bool thorough;
  _Alignas(PKEYS_PAGE) char page[PKEYS_PAGE];
  _Alignas(PKEYS_PAGE) char stack[STACK_BYTES];
};

/* read(2) into `page` through a pipe: 0 or a negative errno. The kernel honours PKRU in its copies, and answers instead
 * of signalling. */
static int kernel_writes(const void *page) {
  int ends[2];
  long error = sys_call(SYS_pipe2, (long)ends, O_CLOEXEC, 0, 0, 0, 0);
  if (error < 0) return (int)error;
  long got = sys_call(SYS_write, ends[1], (long)"k", 1, 0, 0, 0);
  if (got == 1) got = sys_call(SYS_read, ends[0], (long)page, 1, 0, 0, 0);
  sys_call(SYS_close, ends[0], 0, 0, 0, 0, 0);
  sys_call(SYS_close, ends[1], 0, 0, 0, 0, 0);
  return got < 0 ? (int)got : 0;
}

static void begin(struct rehearsal *r, enum key_step step) { r->reached = step; }
/* Notes how `step` went, and whether it went well. `error`: 0 or a negative errno. */
static bool end(struct rehearsal *r, enum key_step step, int error) {
  r->error[step] = -error;
  if (error && r->failed == KEY_STEPS) r->failed = step;
  return error == 0;
}

/* What a denied key must do: the kernel's copy into the page works while it is open, and answers EFAULT while not. */
static int check_denial(const void *page, int key) {
  uint32_t pkru = pkeys_rdpkru();
  pkeys_wrpkru(pkru_combine(pkru, pkru_field(key), pkru_bits(key, PKEYS_OPEN)));
  int open = kernel_writes(page);
  pkeys_wrpkru(pkru_combine(pkru, pkru_field(key), pkru_bits(key, PKEYS_NO_WRITE)));
  int denied = kernel_writes(page);
  pkeys_wrpkru(pkru);
  return open ? open : denied == -EFAULT ? 0 : -ENOTSUP;
}

static int check_tag(uintptr_t page, int key) {
  *(volatile char *)page = 1;
  struct smaps_expectation tagged = {
      .address = page, .bytes = PKEYS_PAGE, .access = PROT_READ | PROT_WRITE, .key = key};
  return pkeys_i_smaps_check(&tagged, 1, NULL);
}

static void read_register(struct rehearsal *r) {
  begin(r, KEY_STEP_REGISTER);
  (void)pkeys_rdpkru();
  end(r, KEY_STEP_REGISTER, 0);
}

/* Tags the page with `key`, tries what `thorough` asks, untags it. */
static void use_key(struct stage *stage, int key) {
  struct rehearsal *r = &stage->rehearsal;
  uintptr_t page = (uintptr_t)stage->page;
  begin(r, KEY_STEP_TAG);
  if (!end(r, KEY_STEP_TAG, sys_pkey_mprotect(page, PKEYS_PAGE, PROT_READ | PROT_WRITE, key))) return;
  if (stage->thorough) {
    uint32_t pkru = pkeys_rdpkru();
    begin(r, KEY_STEP_SMAPS);
    pkeys_wrpkru(pkru_combine(pkru, pkru_field(key), pkru_bits(key, PKEYS_OPEN)));
    end(r, KEY_STEP_SMAPS, check_tag(page, key));
    begin(r, KEY_STEP_DENY);
    end(r, KEY_STEP_DENY, check_denial(stage->page, key));
    pkeys_wrpkru(pkru);
  }
  sys_pkey_mprotect(page, PKEYS_PAGE, PROT_READ | PROT_WRITE, 0); /* pkey_free untags nothing */
}

/* Every step, in the child; or, where none can be made, here. */
static void perform(struct stage *stage, bool apart) {
  struct rehearsal *r = &stage->rehearsal;
  /* Here the register is not touched before the kernel has given a key, and has written the register for that. */
  if (apart) read_register(r);
  begin(r, KEY_STEP_ALLOC);
  int key = sys_pkey_alloc();
  if (!end(r, KEY_STEP_ALLOC, key < 0 ? key : 0)) return;
  if (!apart) read_register(r);
  r->key = key;
  r->keys = 1;
  use_key(stage, key);
  begin(r, KEY_STEP_FREE);
  bool freed = end(r, KEY_STEP_FREE, sys_pkey_free(key));
  if (freed) r->key = 0;
  if (!stage->thorough || (!freed && !apart)) return;
  /* How many there are: in the child, where nobody misses them. */
  int keys[PKEYS_KEYS], count = 0;
  while (count < PKEYS_KEYS && (keys[count] = sys_pkey_alloc()) > 0) count++;
  r->keys = freed ? count : count + 1;
  while (count > 0) sys_pkey_free(keys[--count]);
}

/* ---- the child --------------------------------------------------------------------------------------------------- */

static _Noreturn void leave(int code) {
  for (;;) sys_call(SYS_exit_group, code, 0, 0, 0, 0, 0);
}
/* Instead of dying by the signal: before Linux 5.16 a core dump ends every process that shares the memory. */
static void on_signal(int signal) { leave(signal); }

static int child(void *argument) {
  struct stage *stage = argument;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  sigaction(SIGILL, &action, NULL); /* the child's own table: CLONE_SIGHAND is not set */
  sigaction(SIGSYS, &action, NULL);
  uint64_t caught = 1ull << (SIGILL - 1) | 1ull << (SIGSYS - 1);
  sys_call(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&caught, 0, SIGNAL_SET_BYTES, 0, 0);
  perform(stage, true);
  stage->rehearsal.done = true;
  leave(0);
}

/* True where the death of a process by seccomp or a core dump leaves others alone that share its memory. That is so
 * since Linux 5.16, and where nothing can kill. */
static bool may_share(bool filtered) {
  struct utsname name;
  int version[3];
  return !filtered || (uname(&name) == 0 && pkeys_i_kernel_version(name.release, version) &&
                       (version[0] > 5 || (version[0] == 5 && version[1] >= 16)));
}

/* False where no child could be made. */
static bool perform_apart(struct stage *stage, bool share) {
  uint64_t all = ~0ull, mask = 0;
  int saved_errno = errno, status = 0;
  /* No handler of the program's may run in the child, nor interrupt the wait. */
  sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, SIGNAL_SET_BYTES, 0, 0);
  /* No exit signal: nobody in the program is told of a child that it has not made. */
  int pid = __clone(child, stage->stack + STACK_BYTES, CLONE_VFORK | (share ? CLONE_VM : 0), stage);
  long waited = -ECHILD;
  if (pid > 0) do
      waited = sys_call(SYS_wait4, pid, (long)&status, __WALL, 0, 0, 0);
    while (waited == -EINTR);
  sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, SIGNAL_SET_BYTES, 0, 0);
  errno = saved_errno;
  if (pid <= 0) return false;
  struct rehearsal *r = &stage->rehearsal;
  if (!r->done) {
    /* Somebody else in the process may have waited for every child there is: then how it died is not known. */
    r->signal = waited != pid ? SIGKILL : WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    r->failed = r->reached;
  }
  return true;
}

bool pkeys_i_filtered(void) { return sys_call(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0, 0) == SECCOMP_MODE_FILTER; }

void pkeys_i_rehearse(struct rehearsal *out, bool thorough) {
  *out = (struct rehearsal){.failed = KEY_STEPS};
  out->filtered = pkeys_i_filtered();
  struct rehearsal empty = *out;
  long map = sys_call(SYS_mmap, 0, sizeof(struct stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (map < 0 && map > -4096) {
    end(out, KEY_STEP_CHILD, (int)map);
    return;
  }
  struct stage *stage = (struct stage *)map;
  stage->rehearsal = empty;
  stage->thorough = thorough;
  /* A thorough rehearsal holds every free key for an instant: in memory of its own, where nobody misses them. */
  if (perform_apart(stage, !thorough && may_share(empty.filtered))) {
    *out = stage->rehearsal;
  } else if (!empty.filtered) {
    /* No filter can kill, and a kernel that gives a key has used the register itself. */
    pkeys_i_keys_hold();
    perform(stage, false);
    pkeys_i_keys_let_go();
    *out = stage->rehearsal;
  } else {
    end(out, KEY_STEP_CHILD, -EAGAIN);
  }
  sys_munmap((uintptr_t)stage, sizeof *stage);
}
