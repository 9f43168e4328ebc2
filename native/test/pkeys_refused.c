/*
 * A machine that refuses: seccomp filters that answer errors, raise SIGSYS or kill, no /proc, no child process, and a
 * register that is not there. Everything without keys goes on, and the probe names what went wrong.
 *
 * The filters are set in the test's own process, and last as long as that. Where there are no keys the calls are never
 * made, so the tests that need them to be refused are for the machine with keys.
 */
#define _GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "internal.h"
#include "pkeys_test.h"

/* The system call `number` is answered with `action` from now on; -1: no such call. */
static void refuse(long number, uint32_t action) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}
#define ANSWER(error) (SECCOMP_RET_ERRNO | (error))

/* Asked before any filter is set, and without pkeys_supported, which would rehearse before the filter is there. */
#define NEEDS_KEYS_BY_CPUID()                                                                                         \
  do {                                                                                                                \
    if (!pkeys_i_cpu_has_ospke()) CHECK_SKIP_OR_FAIL("TURNKEY_REQUIRE_PKEYS", "this machine has no protection keys"); \
  } while (0)

/* An image under every mechanism without keys: closed inside, open outside. */
static void check_without_keys(void) {
  for (enum pkeys_mechanism m = PKEYS_MECHANISM_NONE; m <= PKEYS_MECHANISM_MPROTECT_NAIVE; m++) {
    struct pkeys_image *image = image_of(m);
    REQUIRE(image != NULL);
    char *eden = (char *)space_at(image, 0).address;
    eden[0] = 1;
    CHECK_EQ(test_enter(false), 0);
    CHECK_EQ(can_write(eden), m == PKEYS_MECHANISM_NONE || m == PKEYS_MECHANISM_FLAG);
    CHECK_EQ(test_leave(false), 0);
    CHECK(can_write(eden));
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}
/* Both keyed mechanisms are refused, and the image can have another afterwards. */
static void check_no_keys(int error) {
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_UNSET);
  REQUIRE(image != NULL);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS), error);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS_GLIBC), error);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_FLAG), 0);
  CHECK_EQ(pkeys_image_close(image), 0);
}
static bool says(const struct pkeys_probe *probe, const char *words) {
  bool found = strstr(probe->reason, words) != NULL;
  if (!found) printf("#   \"%s\" is not in \"%s\"\n", words, probe->reason);
  return found;
}

struct refusal {
  long number;
  const char *call;
  uint32_t action;
  const char *name; /* of the errno or signal */
  int error, signal;
};
static const struct refusal refusals[] = {
    {SYS_pkey_alloc, "pkey_alloc", ANSWER(EPERM), "EPERM", EPERM, 0},
    {SYS_pkey_alloc, "pkey_alloc", ANSWER(ENOSYS), "ENOSYS", ENOSYS, 0},
    {SYS_pkey_alloc, "pkey_alloc", SECCOMP_RET_KILL_PROCESS, "SIGSYS", 0, SIGSYS},
    {SYS_pkey_alloc, "pkey_alloc", SECCOMP_RET_KILL_THREAD, "SIGSYS", 0, SIGSYS},
    {SYS_pkey_alloc, "pkey_alloc", SECCOMP_RET_TRAP, "SIGSYS", 0, SIGSYS},
    {SYS_pkey_mprotect, "pkey_mprotect", ANSWER(EPERM), "EPERM", EPERM, 0},
    {SYS_pkey_mprotect, "pkey_mprotect", ANSWER(EACCES), "EACCES", EACCES, 0},
    {SYS_pkey_mprotect, "pkey_mprotect", ANSWER(ENOSYS), "ENOSYS", ENOSYS, 0},
    {SYS_pkey_mprotect, "pkey_mprotect", SECCOMP_RET_KILL_PROCESS, "SIGSYS", 0, SIGSYS},
    {SYS_pkey_mprotect, "pkey_mprotect", SECCOMP_RET_TRAP, "SIGSYS", 0, SIGSYS},
};

static void check_refusal(const struct refusal *refusal) {
  refuse(refusal->number, refusal->action);
  CHECK_EQ(pkeys_init(), 0);
  CHECK_EQ(pkeys_runtime_key(), 0);
  CHECK_EQ(pkeys_protect_runtime((void *)4096, 4096), 0);
  check_without_keys();
  check_no_keys(-EOPNOTSUPP);
  struct pkeys_probe probe;
  for (int i = 0; i < 3; i++) {
    pkeys_probe(&probe);
    CHECK(!probe.usable && probe.filtered);
    CHECK_STR(probe.failed_call, refusal->call);
    CHECK_EQ(probe.failed_errno, refusal->error);
    CHECK_EQ(probe.failed_signal, refusal->signal);
    CHECK(says(&probe, refusal->call));
    CHECK(says(&probe, refusal->name));
    CHECK(says(&probe, "seccomp"));
    CHECK(says(&probe, "container"));
  }
}

/* Broken once: pkeys_init returned the error of pkey_mprotect, so that nothing could be used. */
CHECK_TEST(refused, "a call that keys need is refused, traps or kills: what needs no keys works, and the probe names "
                    "the call, the errno or signal, and a container's filter as the likely cause") {
  NEEDS_KEYS_BY_CPUID();
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    printf("#   %s: %s\n", refusals[i].call, refusals[i].name);
    CHECK_EXITS(0, check_refusal(&refusals[i]); _exit(check_now->failures ? 1 : 0));
  }
}

CHECK_TEST(refused_late, "a filter that is set after pkeys_init: an image's keys fail to apply, nothing is half done, "
                         "and the image can have another mechanism") {
  NEEDS_KEYS();
  CHECK_EQ(pkeys_init(), 0);
  struct pkeys_probe before, after;
  pkeys_probe(&before);
  refuse(SYS_pkey_mprotect, ANSWER(EPERM));
  check_without_keys();
  for (int i = 0; i < 20; i++) check_no_keys(-EPERM);
  pkeys_probe(&after);
  CHECK_EQ(after.keys_free, before.keys_free);
  CHECK_STR(after.failed_call, "pkey_mprotect");
}

/* Broken once: the probe took all keys and could give none back. */
CHECK_TEST(free_refused,
           "pkey_free is refused: keys stay usable, those that images give up are used again, and neither "
           "probing nor closing runs out of them") {
  NEEDS_KEYS_BY_CPUID();
  static const uint32_t actions[] = {ANSWER(EPERM), ANSWER(ENOSYS), SECCOMP_RET_KILL_PROCESS};
  for (size_t a = 0; a < sizeof actions / sizeof *actions; a++) {
    CHECK_EXITS(
        0, refuse(SYS_pkey_free, actions[a]); struct pkeys_probe first, last; CHECK_EQ(pkeys_init(), 0);
        CHECK(pkeys_runtime_key() != 0); pkeys_probe(&first); for (int i = 0; i < 40; i++) {
          struct pkeys_image *image = image_of(PKEYS_MECHANISM_PKEYS);
          CHECK_EQ(pkeys_image_close(image), 0);
          pkeys_probe(&last);
        } CHECK(first.usable && last.usable);
        CHECK_STR(first.failed_call, "pkey_free"); CHECK(strstr(first.warning, "pkey_free") != NULL);
        CHECK(last.keys_free >= first.keys_free - 1); _exit(check_now->failures ? 1 : 0));
  }
}

CHECK_TEST(no_child, "a filter that refuses child processes too: keys are not tried, the probe says why, the rest "
                     "works; without a filter the calls are tried in this process") {
  NEEDS_KEYS_BY_CPUID();
  CHECK_EXITS(0, refuse(SYS_clone, ANSWER(EPERM)); struct pkeys_probe probe; CHECK_EQ(pkeys_init(), 0);
              CHECK_EQ(pkeys_runtime_key(), 0); pkeys_probe(&probe); CHECK(!probe.usable);
              CHECK_STR(probe.failed_call, "clone"); CHECK(says(&probe, "no child process")); check_without_keys();
              check_no_keys(-EOPNOTSUPP); _exit(check_now->failures ? 1 : 0));
}

CHECK_TEST(no_proc, "without /proc the tags cannot be verified: an image gets no keys, the probe names the file") {
  NEEDS_KEYS();
  if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || umount2("/proc", MNT_DETACH))
    CHECK_SKIP("no right to unmount /proc");
  CHECK_EQ(pkeys_init(), 0);
  struct pkeys_probe probe, after;
  pkeys_probe(&probe);
  CHECK(!probe.usable && probe.alloc_works);
  CHECK_STR(probe.failed_call, "/proc/self/smaps");
  CHECK_EQ(probe.failed_errno, ENOENT);
  CHECK(says(&probe, "ENOENT") && says(&probe, "Mount /proc"));
  check_without_keys();
  check_no_keys(-ENOENT);
  pkeys_probe(&after);
  CHECK_EQ(after.keys_free, probe.keys_free); /* what was taken for the image was given back */
}

CHECK_TEST(no_register, "an instruction that this CPU does not have is tried in a child: SIGILL there, none here") {
  bool has = pkeys_supported();
  struct rehearsal rehearsal;
  for (int thorough = 0; thorough < 2; thorough++) {
    pkeys_i_rehearse(&rehearsal, thorough);
    if (has) {
      CHECK(rehearsal.failed > KEY_STEP_REGISTER);
    } else {
      /* x86: reading the register raises SIGILL. ARM64: the register is left alone, and the kernel gives no key. */
#if defined(__x86_64__)
      CHECK_EQ(rehearsal.failed, KEY_STEP_REGISTER);
      CHECK_EQ(rehearsal.signal, SIGILL);
#else
      CHECK_EQ(rehearsal.failed, KEY_STEP_ALLOC);
      CHECK_EQ(rehearsal.signal, 0);
#endif
    }
  }
}

static volatile sig_atomic_t told;
static void tell(int signal) { told = signal; }
CHECK_TEST(unseen, "the child is nobody's business: no SIGCHLD, no handler of the program's in it, the signal mask and "
                   "errno as before, no zombie") {
  struct sigaction action = {.sa_handler = tell};
  sigaction(SIGCHLD, &action, NULL);
  sigaction(SIGILL, &action, NULL);
  sigaction(SIGSYS, &action, NULL);
  sigset_t before, after;
  sigprocmask(SIG_SETMASK, NULL, &before);
  errno = 4711;
  struct rehearsal rehearsal;
  for (int thorough = 0; thorough < 2; thorough++) pkeys_i_rehearse(&rehearsal, thorough);
  CHECK_EQ(errno, 4711);
  CHECK_EQ(told, 0);
  sigprocmask(SIG_SETMASK, NULL, &after);
  CHECK_EQ(memcmp(&before, &after, 8), 0);
  CHECK_EQ(waitpid(-1, NULL, WNOHANG | __WALL), -1);
  CHECK_EQ(errno, ECHILD);
}

CHECK_TEST(versions, "kernels known to break keys are known by version, series by series, and only on the CPUs they "
                     "break them on") {
  static const struct {
    const char *release;
    bool amd, xgetbv1;
    const char *words; /* NULL: nothing is known */
  } rows[] = {
      {"4.18.0-553.el8.x86_64", false, true, "at fork"},
      {"4.19.18", false, true, "at fork"},
      {"4.19.19-generic", false, true, NULL},
      {"5.0.0", false, true, NULL},
      {"5.1.21", false, true, NULL},
      {"5.2.0-rc1", false, true, "kernel thread"},
      {"5.4.0-42-generic", true, true, "kernel thread"},
      {"5.10.102", false, true, "kernel thread"},
      {"5.10.103", false, true, NULL},
      {"5.13.19", false, true, "kernel thread"},
      {"5.14.0-427.el9", false, true, NULL},
      {"6.1.0-50-cloud-amd64", true, true, NULL},
      {"6.11.9", true, true, NULL},
      {"6.12.0", true, true, "AMD"},
      {"6.12.4-amd64", true, true, "AMD"},
      {"6.12.4-amd64", false, true, NULL},
      {"6.12.5", true, true, NULL},
      {"6.12.35", false, false, "XGETBV1"},
      {"6.12.36", false, false, NULL},
      {"6.14.2", true, false, "XGETBV1"},
      {"6.14.2", true, true, NULL},
      {"6.16.0", false, false, NULL},
      {"7.3.1", true, true, NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    int version[3];
    CHECK(pkeys_i_kernel_version(rows[i].release, version));
    struct kernel_cpu cpu = {rows[i].amd, rows[i].xgetbv1};
    const char *breaks = pkeys_i_kernel_breaks(version, &cpu);
    bool right = rows[i].words ? breaks && strstr(breaks, rows[i].words) : !breaks;
    if (!right) printf("#   %s: %s\n", rows[i].release, breaks ? breaks : "nothing known");
    CHECK(right);
    struct pkeys_probe probe;
    CHECK(!breaks || strlen(breaks) + 64 < sizeof probe.warning);
  }
  int version[3];
  CHECK(!pkeys_i_kernel_version("", version));
  CHECK(!pkeys_i_kernel_version("6", version));
  CHECK(!pkeys_i_kernel_version("next", version));
  CHECK(pkeys_i_kernel_version("6.12-rc3", version));
  CHECK_EQ(version[1], 12);
}

CHECK_MAIN()
