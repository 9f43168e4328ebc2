/*
 * trap_signals.c: which signals the trap takes and which it must not (I5), its handler's own conditions (I6), and
 * signal handlers of the VM that interrupt callouts (I7, I12). What must end a process does so in a child. The parent
 * looks by which signal and with which message it ended, and that it ended at all.
 *
 * Not under valgrind, whose signal frames do not give the mask back (see trap_faults.c). Under -fsanitize=undefined the
 * tests that damage the trap's own state fail: the sanitizer is there first.
 *
 * More than 400 lines: one list of rules about one handler, whose tests share the ways to watch a child end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sys/auxv.h>
#include <time.h>
#include <ucontext.h>

#include "../trap/internal.h"
#include "trap_common.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static volatile uintptr_t zero;
static int honest_double(int value) { return value * 2; }
static const int handled[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
#define HANDLED (sizeof handled / sizeof *handled)

__attribute__((no_sanitize("undefined"))) static void writes_null(void) { *(volatile int *)(zero + 16) = 1; }
static int gettid_(void) { return (int)syscall(SYS_gettid); }

/* ---- I5: what other processes and threads send ---- */

enum sender { BY_KILL, BY_RAISE, BY_PTHREAD_KILL, BY_SIGQUEUE, BY_OTHER_THREAD, SENDERS };
static pthread_t target;
static void *sends_to_target(void *signal) {
  pthread_kill(target, (int)(intptr_t)signal);
  return NULL;
}
static void send_signal(enum sender sender, int signal) {
  pthread_t thread;
  switch (sender) {
    case BY_KILL: kill(getpid(), signal); break;
    case BY_RAISE: raise(signal); break;
    case BY_PTHREAD_KILL: pthread_kill(pthread_self(), signal); break;
    case BY_SIGQUEUE: sigqueue(getpid(), signal, (union sigval){.sival_int = 4711}); break;
    default:
      target = pthread_self();
      pthread_create(&thread, NULL, sends_to_target, (void *)(intptr_t)signal);
      pthread_join(thread, NULL);
  }
}
static enum sender callee_sender;
static int callee_signal;
static void sends(void) { send_signal(callee_sender, callee_signal); }

/* Broken once: `synchronous` answers true (the callee's own kill fails the callout and the process lives); the resend
 * in pass_on left out. */
CHECK_TEST(sent_signals_kill, "I5: each of the seven signals, sent in whatever way, still ends the process by that "
                              "signal; inside a callout too") {
  for (size_t i = 0; i < HANDLED; i++)
    for (int sender = 0; sender < SENDERS; sender++) {
      CHECK_DIES_SAYING(handled[i], "", trap_init(), send_signal((enum sender)sender, handled[i]));
      bool own_abort = handled[i] == SIGABRT && (sender == BY_RAISE || sender == BY_PTHREAD_KILL);
      if (own_abort) continue; /* I5's exception */
      callee_sender = (enum sender)sender;
      callee_signal = handled[i];
      CHECK_DIES_SAYING(handled[i], "", trap_init(), GUARD(sends, 0, 0)());
    }
}

CHECK_TEST(own_abort_taken, "I5: SIGABRT that the callee sends its own thread fails the callout") {
  REQUIRE(trap_init() == 0);
  callee_signal = SIGABRT;
  for (callee_sender = BY_RAISE; callee_sender <= BY_PTHREAD_KILL; callee_sender++) {
    struct trap_fault fault;
    GUARD(sends, 0, 0)();
    REQUIRE(trap_take_fault(&fault));
    CHECK_EQ(fault.signal, SIGABRT);
    CHECK_HONEST();
  }
}

CHECK_TEST(blocked_then_sent, "I5: a signal sent while blocked is delivered when unblocked, by its default action") {
  if (!blocked_signals_work())
    CHECK_SKIP("qemu-user 7.2 itself dies of SIGILL or SIGFPE that a thread sends itself while it has it blocked (so "
               "it does without this project)");
  for (size_t i = 0; i < HANDLED; i++)
    CHECK_DIES_SAYING(handled[i], "", {
      trap_init();
      sigset_t set;
      sigemptyset(&set);
      sigaddset(&set, handled[i]);
      pthread_sigmask(SIG_BLOCK, &set, NULL);
      kill(getpid(), handled[i]);
      pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    });
}

CHECK_TEST(ignored_stay_ignored, "I5: SIG_IGN is honoured for sent signals, not for faults; a system call that it "
                                 "would not have interrupted is not") {
  for (size_t i = 0; i < HANDLED; i++) {
    CHECK_EXITS(7, {
      signal(handled[i], SIG_IGN);
      trap_init();
      for (int sender = 0; sender < SENDERS; sender++) send_signal((enum sender)sender, handled[i]);
      callee_sender = BY_KILL;
      callee_signal = handled[i];
      GUARD(sends, 0, 0)();
      struct trap_fault fault;
      _exit(trap_take_fault(&fault) ? 1 : 7);
    });
  }
  CHECK_DIES_SAYING(SIGSEGV, "", signal(SIGSEGV, SIG_IGN), trap_init(), writes_null());
  CHECK_DIES_SAYING(OTHER_FAULT, "", signal(OTHER_FAULT, SIG_IGN), trap_init(), other_fault());
}

static int read_pipe[2];
static volatile bool read_returned;
/* Signals the reader: until read(2) has returned, or, where it is not to, fifty times; then writes what it waits for.
 */
static void *interrupts_then_writes(void *until_returned) {
  struct timespec nap = {0, 1000000};
  for (int i = 0; until_returned != NULL ? !read_returned : i < 50; i++) {
    nanosleep(&nap, NULL);
    pthread_kill(target, SIGTRAP);
  }
  ssize_t ignored = write(read_pipe[1], "x", 1);
  (void)ignored;
  return NULL;
}
static void counts(int signal);
static volatile sig_atomic_t counted;
static void counts(int signal) {
  (void)signal;
  counted = counted + 1;
}
/* What read(2) answers when SIGTRAP arrives in it, given how SIGTRAP was handled before the trap came. */
static int read_interrupted(void (*handler)(int), int flags, bool interrupts) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  sigaction(SIGTRAP, &action, NULL);
  trap_init();
  if (pipe(read_pipe) != 0) return 100;
  target = pthread_self();
  pthread_t thread;
  pthread_create(&thread, NULL, interrupts_then_writes, interrupts ? read_pipe : NULL);
  char byte;
  ssize_t n = read(read_pipe[0], &byte, 1);
  int error = errno;
  read_returned = true;
  return n == 1 ? 1 : error == EINTR ? 2 : 3;
}
/* Broken once: SA_RESTART not taken over from the handler before. */
CHECK_TEST(
    restarts_as_before,
    "I5: a system call is interrupted by a sent signal only if it was before: SIG_IGN, SA_RESTART and plain handlers") {
  CHECK_EXITS(1, _exit(read_interrupted(SIG_IGN, 0, false)));
  CHECK_EXITS(1, _exit(read_interrupted(counts, SA_RESTART, false)));
  CHECK_EXITS(2, _exit(read_interrupted(counts, 0, true)));
}

/* ---- I5: previous handlers ---- */

static struct {
  volatile int calls, signal, code, value, pid;
  void *volatile address;
  sigset_t mask;
  uint32_t pkru;
  volatile bool had_context, on_stack;
} seen;

static void see(int signal, siginfo_t *info, void *context) {
  seen.pkru = pkeys_supported() ? pkeys_rdpkru() : 0;
  seen.calls++;
  seen.signal = signal;
  seen.had_context = context != NULL;
  seen.code = info->si_code;
  seen.address = info->si_addr;
  seen.value = info->si_value.sival_int;
  pthread_sigmask(SIG_SETMASK, NULL, &seen.mask);
}
static uint32_t kernel_pkru;
static void see_pkru(int signal) {
  (void)signal;
  kernel_pkru = pkeys_supported() ? pkeys_rdpkru() : 0;
}
/* Handles a fault as WebAssembly engines do: goes on elsewhere. */
extern const char after_fault[];
static void see_and_skip(int signal, siginfo_t *info, void *context) {
  see(signal, info, context);
  CONTEXT_PC((ucontext_t *)context) = (__typeof__(CONTEXT_PC((ucontext_t *)context)))(uintptr_t)after_fault;
}
__attribute__((noinline)) static void fault_and_skip(void) { WRITES_32_THEN("after_fault"); }

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags, int masked) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = flags;
  if (masked) sigaddset(&action.sa_mask, masked);
  sigaction(signal, &action, NULL);
}

static void *faulting_elsewhere(void *argument) {
  (void)argument;
  fault_and_skip();
  return NULL;
}

/* Broken once, each: the mask in pass_on, `pkeys_wrpkru(kernel_pkru)`, SA_SIGINFO not looked at. */
CHECK_TEST(previous_handler, "I5: a fault outside callouts goes to the handler before, with its siginfo, context, mask "
                             "and the kernel's PKRU; it may go on elsewhere") {
  install(SIGSEGV, see_and_skip, SA_SIGINFO, SIGUSR1);
  struct sigaction plain = {.sa_handler = see_pkru};
  sigaction(SIGUSR2, &plain, NULL);
  REQUIRE(trap_init() == 0);
  raise(SIGUSR2);
  sigset_t own;
  sigemptyset(&own);
  sigaddset(&own, SIGHUP);
  pthread_sigmask(SIG_SETMASK, &own, NULL);
  trap_note_thread();
  for (int round = 1; round <= 3; round++) {
    fault_and_skip();
    CHECK_EQ(seen.calls, round);
    CHECK_EQ(seen.signal, SIGSEGV);
    CHECK_EQ(seen.code, SEGV_MAPERR);
    CHECK_EQ((uintptr_t)seen.address, 32);
    CHECK_EQ(seen.pkru, kernel_pkru);
    for (int s = 1; s < 32; s++)
      if (s != SIGKILL && s != SIGSTOP)
        CHECK_EQ(sigismember(&seen.mask, s), s == SIGSEGV || s == SIGUSR1 || s == SIGHUP);
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    for (int s = 1; s < 32; s++) CHECK_EQ(sigismember(&now, s), s == SIGHUP);
    /* and the trap still works in between */
    struct trap_fault fault;
    GUARD(writes_null, 0, 0)();
    CHECK(trap_take_fault(&fault));
    CHECK_EQ(seen.calls, round);
  }
  CHECK_EQ(trap_statistics().passed_on, 3);
  /* On threads that were never attached. */
  pthread_t thread;
  REQUIRE(pthread_create(&thread, NULL, faulting_elsewhere, NULL) == 0);
  pthread_join(thread, NULL);
  CHECK_EQ(seen.calls, 4);
}

static void see_plain(int signal) {
  seen.calls++;
  seen.signal = signal;
  pthread_sigmask(SIG_SETMASK, NULL, &seen.mask);
}
CHECK_TEST(previous_flags,
           "I5: a plain handler, SA_NODEFER and SA_RESETHAND mean what they meant; sigqueue's value arrives") {
  struct sigaction plain = {.sa_handler = see_plain};
  sigaction(SIGFPE, &plain, NULL);
  install(SIGBUS, see, SA_SIGINFO | SA_NODEFER, 0);
  install(SIGILL, see, (int)(SA_SIGINFO | SA_RESETHAND), 0);
  REQUIRE(trap_init() == 0);
  raise(SIGFPE);
  CHECK_EQ(seen.calls, 1);
  CHECK_EQ(seen.signal, SIGFPE);
  CHECK_EQ(sigismember(&seen.mask, SIGFPE), 1);
  sigqueue(getpid(), SIGBUS, (union sigval){.sival_int = 4711});
  CHECK_EQ(seen.calls, 2);
  CHECK_EQ(seen.code, SI_QUEUE);
  CHECK_EQ(seen.value, 4711);
  CHECK_EQ(sigismember(&seen.mask, SIGBUS), 0);
  raise(SIGILL);
  CHECK_EQ(seen.calls, 3);
  CHECK_DIES_SAYING(SIGILL, "", raise(SIGILL));
}

static sigjmp_buf away;
static void jumps_away(int signal) {
  (void)signal;
  siglongjmp(away, 1);
}
/* Broken once: `handling` not cleared before the handler is called (the next fault is "inside the fault handler"). */
CHECK_TEST(previous_jumps, "I5: a handler before us may leave by siglongjmp; the trap works on") {
  struct sigaction plain = {.sa_handler = jumps_away};
  sigaction(SIGSEGV, &plain, NULL);
  REQUIRE(trap_init() == 0);
  for (volatile int round = 0; round < 3; round++) {
    if (sigsetjmp(away, 1) == 0) {
      writes_null();
      CHECK(false);
    }
    if (pkeys_supported())
      pkeys_open_thread(); /* the jump keeps the handler's PKRU (F1), and whoever jumps must mend it */
    struct trap_fault fault;
    GUARD(writes_null, 0, 0)();
    CHECK(trap_take_fault(&fault));
  }
}

/* A handler put over ours, which chains to us as a polite one does. */
static struct sigaction under;
static void chains(int signal, siginfo_t *info, void *context) {
  seen.calls++;
  if (under.sa_flags & SA_SIGINFO) under.sa_sigaction(signal, info, context);
}
static void aborts_itself(void) { abort(); }

/* Broken once, each: `chained` always false (endless recursion, the handler's stack overflows); trap_rearm left out
 * (the callouts kill). */
CHECK_TEST(rearmed, "I5: handlers put over ours lose their place to trap_rearm, and get what is not ours; one that "
                    "chains to us does not loop") {
  install(SIGSEGV, see_and_skip, SA_SIGINFO, 0);
  REQUIRE(trap_init() == 0);
  struct sigaction ours, now;
  sigaction(SIGSEGV, NULL, &ours);
  struct trap_fault fault;
  for (int round = 1; round <= 3; round++) {
    struct sigaction over = {.sa_sigaction = chains, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &over, &under);
    CHECK_EQ(trap_rearm(), 0);
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_sigaction == ours.sa_sigaction);
    seen.calls = 0;
    GUARD(writes_null, 0, 0)();
    CHECK(trap_take_fault(&fault));
    CHECK_EQ(seen.calls, 0);
    fault_and_skip(); /* ours, chains, ours again, see_and_skip */
    CHECK_EQ(seen.calls, 2);
  }
  /* One that jumps away leaves nothing behind. */
  struct sigaction jumping = {.sa_handler = jumps_away};
  sigaction(SIGSEGV, &jumping, NULL);
  CHECK_EQ(trap_rearm(), 0);
  for (volatile int round = 0; round < 3; round++) {
    if (sigsetjmp(away, 1) == 0) {
      writes_null();
      CHECK(false);
    }
    if (pkeys_supported()) pkeys_open_thread();
    GUARD(writes_null, 0, 0)();
    CHECK(trap_take_fault(&fault));
  }
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGABRT, &ignore, NULL);
  CHECK_EQ(trap_rearm(), 0);
  raise(SIGABRT);
  GUARD(aborts_itself, 0, 0)();
  CHECK(trap_take_fault(&fault) && fault.signal == SIGABRT);
  CHECK_EQ(GUARD(trap_rearm, 0, 0)(), -EBUSY);
  /* 64 handlers are kept for good, not more. */
  int rc = 0;
  for (int i = 1; rc == 0 && i < 80; i++) {
    install(SIGFPE, see, SA_SIGINFO, 1 + i % 31);
    if (i >= 31) install(SIGFPE, see, SA_SIGINFO | SA_NODEFER, 1 + i % 31);
    rc = trap_rearm();
  }
  CHECK_EQ(rc, -ENOSPC);
}

/* ---- I5: other threads ---- */

static volatile int spin_until, spinning;
static int spins(int value) {
  spinning = 1;
  while (!spin_until) {}
  return value + 1;
}
static volatile pid_t reader;
static int sleeps_in_read(int fd) {
  char byte;
  reader = (pid_t)gettid_();
  spinning = 1;
  ssize_t n;
  while ((n = read(fd, &byte, 1)) < 0 && errno == EINTR) {}
  return (int)n;
}
/* Whether a thread of this process waits in a system call. */
static bool asleep(pid_t thread) {
  char path[64], state = 0;
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
  FILE *stat = fopen(path, "r");
  if (stat == NULL) abort();
  if (fscanf(stat, "%*d (%*[^)]) %c", &state) != 1) abort();
  fclose(stat);
  return state == 'S';
}
static void *spinning_callout(void *argument) { return (void *)(intptr_t)GUARD(spins, 0, 0)((int)(intptr_t)argument); }
static void *reading_callout(void *argument) {
  return (void *)(intptr_t)GUARD(sleeps_in_read, 0, 0)((int)(intptr_t)argument);
}
static void start_spinning(pthread_t *thread, void *(*start)(void *), intptr_t argument) {
  spinning = spin_until = 0;
  CHECK_EQ(pthread_create(thread, NULL, start, (void *)argument), 0);
  while (!spinning) sched_yield();
}

CHECK_TEST(other_threads_fault,
           "I5: a fault on a thread outside callouts goes to the handler before, while another thread is in one") {
  install(SIGSEGV, see_and_skip, SA_SIGINFO, 0);
  REQUIRE(trap_init() == 0);
  pthread_t thread;
  start_spinning(&thread, spinning_callout, 41);
  fault_and_skip();
  CHECK_EQ(seen.calls, 1);
  spin_until = 1;
  void *result;
  pthread_join(thread, &result);
  CHECK_EQ((intptr_t)result, 42);
  CHECK_DIES_SAYING(SIGBUS, "", {
    pthread_t again;
    start_spinning(&again, spinning_callout, 1);
    kill(getpid(), SIGBUS);
    pause();
  });
}

/* Broken once: self_abort looks at siginfo alone. */
CHECK_TEST(
    abort_from_elsewhere,
    "I5: another thread's pthread_kill(SIGABRT) into a callout is not the callee's: computing or in a system call") {
  install(SIGABRT, see, SA_SIGINFO, 0);
  REQUIRE(trap_init() == 0);
  pthread_t thread;
  void *result;
  start_spinning(&thread, spinning_callout, 41);
  pthread_kill(thread, SIGABRT);
  while (seen.calls == 0) sched_yield();
  spin_until = 1;
  pthread_join(thread, &result);
  CHECK_EQ((intptr_t)result, 42);
  REQUIRE(pipe(read_pipe) == 0);
  start_spinning(&thread, reading_callout, read_pipe[0]);
  while (!asleep(reader)) sched_yield();
  pthread_kill(thread, SIGABRT);
  while (seen.calls == 1) sched_yield();
  CHECK_EQ(write(read_pipe[1], "x", 1), 1);
  pthread_join(thread, &result);
  CHECK_EQ((intptr_t)result, 1);
  CHECK_EQ(seen.calls, 2);
  CHECK_EQ(trap_statistics().faults, 0);
}

/* ---- policies ---- */

CHECK_TEST(policies, "response never, declared, always; changed while a callout is in progress") {
  install(SIGSEGV, see_and_skip, SA_SIGINFO, 0);
  REQUIRE(trap_init() == 0);
  trap_policy *policy = trap_policy_create(TRAP_NEVER);
  REQUIRE(policy != NULL);
  void *plain, *declared;
  REQUIRE(trap_thunk(CODE(fault_and_skip), 0, 0, policy, &plain) == 0);
  REQUIRE(trap_thunk(CODE(fault_and_skip), 0, TRAP_CAN_FAIL, policy, &declared) == 0);
  struct trap_fault fault;
  static const struct {
    enum trap_response response;
    bool plain_fails, declared_fails;
  } rows[] = {
      {TRAP_NEVER, false, false}, {TRAP_DECLARED, false, true}, {TRAP_ALWAYS, true, true}, {TRAP_NEVER, false, false}};
  int calls = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    trap_policy_set(policy, rows[i].response);
    AS(fault_and_skip, plain)();
    CHECK_EQ(trap_take_fault(&fault), rows[i].plain_fails);
    CHECK_EQ(seen.calls, calls += !rows[i].plain_fails);
    AS(fault_and_skip, declared)();
    CHECK_EQ(trap_take_fault(&fault), rows[i].declared_fails);
    CHECK_EQ(seen.calls, calls += !rows[i].declared_fails);
  }
  CHECK_HONEST();
  CHECK_EQ(trap_thunk_release(plain), 0);
  CHECK_EQ(trap_thunk_release(declared), 0);
  trap_policy_release(policy);
}
static void sets_then_faults(int *flag) {
  __atomic_store_n(flag, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(flag, __ATOMIC_SEQ_CST) == 1) sched_yield();
  *(volatile int *)(zero + 16) = 1;
}
static trap_policy *changing;
static int change_flag;
static void *changes_policy(void *argument) {
  while (__atomic_load_n(&change_flag, __ATOMIC_SEQ_CST) == 0) sched_yield();
  trap_policy_set(changing, TRAP_ALWAYS);
  __atomic_store_n(&change_flag, 2, __ATOMIC_SEQ_CST);
  return argument;
}
CHECK_TEST(policy_in_progress, "a response changed during a callout holds for that callout") {
  REQUIRE(trap_init() == 0);
  changing = trap_policy_create(TRAP_NEVER);
  void *code;
  REQUIRE(trap_thunk(CODE(sets_then_faults), 0, 0, changing, &code) == 0);
  pthread_t thread;
  REQUIRE(pthread_create(&thread, NULL, changes_policy, NULL) == 0);
  AS(sets_then_faults, code)(&change_flag);
  struct trap_fault fault;
  CHECK(trap_take_fault(&fault));
  pthread_join(thread, NULL);
}
CHECK_TEST(policy_cells, "1024 policies at once, the next one is NULL, a released one can be had again") {
  REQUIRE(trap_init() == 0);
  trap_policy *cells[1024];
  for (int i = 0; i < 1024; i++) CHECK((cells[i] = trap_policy_create(TRAP_ALWAYS)) != NULL);
  CHECK(trap_policy_create(TRAP_ALWAYS) == NULL);
  trap_policy_release(cells[500]);
  CHECK(trap_policy_create(TRAP_NEVER) == cells[500]);
}

/* ---- a second fault ---- */

/* What a callee may do to the trap's own state where no key protects it (mechanism flag). */
static struct trap_slot *own_slot(void) { return trap_slot_at(trap_slot_offset()); }
static int damage;
static void damages(void) {
  struct trap_slot *slot = own_slot();
  struct trap_entry *entry = (struct trap_entry *)(uintptr_t)trap_state(slot);
  switch (damage) {
    case 0: entry->policy = (struct trap_policy *)(uintptr_t)0x4141414141414140; break; /* read by the handler */
    case 1: entry->record = (struct trap_fault *)(uintptr_t)0x1000; break;              /* written by the handler */
    case 2: slot->level = 0x7fffffff; break;
    case 3: slot->frames[0].sp = 0x1000; break; /* landed on */
    case 4: slot->frames[0].sp = 0x4141000; break;
    case 5: SPOIL_FLOAT(&slot->fp); break;
  }
  *(volatile int *)(zero + 16) = 1;
}
#define DAMAGES 6
/* Broken once, each: the test of `handling`, the test of `recovering` (the process then loops for ever, and dies by
 * SIGALRM). */
CHECK_TEST(second_fault, "I6: a fault in the handler, or while a callout is being failed, ends the process once, with "
                         "a message, never in a loop") {
  for (damage = 0; damage < DAMAGES; damage++) {
    if (damage == 5 && !spoiled_float_faults()) continue;
    bool in_handler = damage <= 2;
    CHECK_DIES_SAYING(SIGSEGV,
                      in_handler ? "a fault inside the fault handler" : "a fault while a callout was being failed",
                      trap_init(), GUARD(damages, 0, 0)());
  }
}

/* ---- I6: signals that keep being sent ---- */

#define FLOODERS 2
#define FLOODS 30000
static volatile int flooding;
static void *floods(void *argument) {
  (void)argument;
  for (int i = 0; i < FLOODS; i++) pthread_kill(target, SIGTRAP);
  __atomic_fetch_sub(&flooding, 1, __ATOMIC_SEQ_CST);
  return NULL;
}
/* Each flooder sends so many signals and then ends: with it this ends, whatever the machine. */
static int flooded(bool callouts) {
  struct sigaction action = {.sa_handler = counts};
  sigaction(SIGTRAP, &action, NULL);
  if (trap_init() != 0) return 1;
  target = pthread_self();
  flooding = FLOODERS;
  pthread_t threads[FLOODERS];
  for (int i = 0; i < FLOODERS; i++)
    if (pthread_create(&threads[i], NULL, floods, NULL) != 0) return 2;
  struct trap_fault fault;
  do {
    if (!callouts) continue;
    GUARD(writes_null, 0, 0)();
    if (!trap_take_fault(&fault) || fault.signal != SIGSEGV) return 3;
  } while (flooding != 0);
  for (int i = 0; i < FLOODERS; i++) pthread_join(threads[i], NULL);
  return counted > 0 ? 0 : 4;
}
/* Broken once: SIGTRAP left out of the mask of the trap's handlers (frame upon frame, until the alternate stack has no
 * room: death without a word; or, once the handler is at work, "a fault inside the fault handler"). */
CHECK_TEST(sent_without_end, "I6: a signal that other threads send without a pause goes to the handler before, during "
                             "callouts and while they fail") {
  CHECK_EXITS(0, _exit(flooded(false)));
  CHECK_EXITS(0, _exit(flooded(true)));
}

/* ---- I6: the alternate stack ---- */

static int recurses(int depth) {
  volatile char room[256];
  room[depth & 255] = (char)depth;
  return depth == -1 ? 0 : recurses(depth + 1) + room[depth & 255];
}
static void overflows_with_wide_state(void) {
  fill_wide_state();
  recurses(0);
}
CHECK_TEST(alternate_stack,
           "I6: the alternate stack holds the largest signal frame of this CPU and the handler, with room to spare") {
  REQUIRE(trap_init() == 0);
  struct trap_slot *slot = own_slot();
  stack_t current;
  sigaltstack(NULL, &current);
  CHECK_EQ((uintptr_t)current.ss_sp, slot->alternate_base);
  CHECK(current.ss_size >= getauxval(AT_MINSIGSTKSZ) + (32 << 10));
  memset(current.ss_sp, 0xa5, current.ss_size);
  GUARD(overflows_with_wide_state, 0, 0)();
  struct trap_fault fault;
  CHECK(trap_take_fault(&fault));
  CHECK(fault.flags & TRAP_FAULT_STACK_OVERFLOW);
  size_t untouched = 0;
  while (((unsigned char *)current.ss_sp)[untouched] == 0xa5) untouched++;
  /* It was used. A frame need not be near AT_MINSIGSTKSZ, which counts AMX tiles that few processes may use. */
  CHECK(untouched < current.ss_size - 1024);
  CHECK(untouched >= 32 << 10);
  /* A page below it is no access: an overrun is a fault, not silence. */
  CHECK_DIES_SAYING(SIGSEGV, "", *(volatile char *)((char *)current.ss_sp - 1) = 1);
}

/* ---- I12: handlers that interrupt callouts ---- */

static struct way beat_way;
static volatile unsigned long beats, beats_inside;
static volatile uint32_t *beat_word;
static void heartbeat(int signal) {
  (void)signal;
  struct trap_signal saved;
  int saved_errno = errno;
  bool inside = !pkeys_supported() && trap_in_callout(); /* needs read rights */
  uint32_t pkru = pkeys_supported() ? pkeys_rdpkru() : 0;
  trap_signal_enter(&saved);
  if (pkeys_supported()) inside = trap_state_is_callout(saved.words[0]);
  if (trap_in_callout()) beats = 1ul << 40; /* must not be so */
  ++*beat_word;                             /* touches the image */
  beats++;
  if (inside) beats_inside++;
  trap_signal_leave(&saved);
  if (pkeys_supported() && pkeys_rdpkru() != pkru) beats = 1ul << 41;
  errno = saved_errno;
}
/*
 * Heartbeats of the calling thread. Each is due some time after the one before has ended, and its handler sets the
 * timer anew. So whatever a handler interrupts gets on, however slow or busy the machine is. A timer that repeats by
 * itself is always due again where the handler takes longer than the interval, and nothing else runs any more.
 */
struct beat {
  timer_t timer;
  void (*handler)(int);
  struct itimerspec due;
};
static void beat_comes(int signal, siginfo_t *info, void *context) {
  (void)context;
  struct beat *beat = info->si_value.sival_ptr;
  beat->handler(signal);
  timer_settime(beat->timer, 0, &beat->due, NULL); /* a system call and nothing more */
}
static void beat_start(struct beat *beat, long ns, void (*handler)(int), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = beat_comes;
  action.sa_flags = SA_SIGINFO | SA_RESTART | flags;
  sigaction(SIGVTALRM, &action, NULL);
  beat->handler = handler;
  beat->due = (struct itimerspec){{0, 0}, {0, ns}};
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGVTALRM;
  event.sigev_value.sival_ptr = beat;
  event.sigev_notify_thread_id = (pid_t)gettid_();
  CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &beat->timer), 0);
  CHECK_EQ(timer_settime(beat->timer, 0, &beat->due, NULL), 0);
}
/* No beat comes any more: from the thread itself, or once that has ended. */
static void beat_end(struct beat *beat) { CHECK_EQ(timer_delete(beat->timer), 0); }
/* Foreign code: works a little; answers whether it still has no right to write the image (asking the kernel, which
 * raises no signal) and to its own PKRU. */
static int devzero = -1;
static int works(int rounds, uintptr_t space, bool look) {
  for (volatile int i = 0; i < rounds; i++) {}
  if (!look) return 1;
  return read(devzero, (void *)space, 1) < 0 && errno == EFAULT ? 1 : 2;
}

static void beats_through(struct way *way) {
  if (way->flags) return;
  beat_way = *way;
  beat_word = (volatile uint32_t *)(way->space + PAGE);
  *beat_word = 0;
  beats = beats_inside = 0;
  struct pkeys_bystanders before = pkeys_bystanders();
  __typeof__(&works) work = GUARD(works, 0, 0);
  __typeof__(&writes_null) fault = GUARD(writes_null, 0, 0);
  unsigned long callouts = way->mechanism == WAY_FLAG || way->mechanism == WAY_KEYS ? scaled(100000, 100000)
                                                                                    : scaled(20000, 3000);
  unsigned long wrong = 0, faults = 0;
  bool closes = way->mechanism != WAY_FLAG;
  struct beat beat;
  beat_start(&beat, 1000000, heartbeat, way->foreign_stack ? SA_ONSTACK : 0);
  for (unsigned long i = 0; i < callouts || beats_inside < 20; i++) {
    bool look = i % 4 == 0;
    int expected = look && !closes ? 2 : 1;
    wrong += work(i % 64 == 0 ? 20000 : 20, way->space, look) != expected;
    ((volatile uint32_t *)way->space)[1] = (uint32_t)i; /* open to the VM at once */
    struct trap_fault record;
    if (i % 50 == 49) {
      fault();
      faults++;
      wrong += !trap_take_fault(&record) || record.address != 16;
    } else {
      wrong += trap_take_fault(&record);
    }
  }
  beat_end(&beat);
  CHECK_EQ(wrong, 0);
  CHECK_EQ(*beat_word, beats);
  CHECK(beats_inside >= 20);
  CHECK_EQ(trap_statistics().faults >= faults, true);
  struct pkeys_bystanders after = pkeys_bystanders();
  CHECK_EQ(after.windows - before.windows, 0); /* no heartbeat waited for its own thread */
  CHECK_HONEST();
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  CHECK_EQ(sigismember(&mask, SIGVTALRM), 0);
  trap_thunk_release((void *)(uintptr_t)work);
  trap_thunk_release((void *)(uintptr_t)fault);
}
/* Broken once, each: the state not cleared in trap_signal_enter; the rights not given back in trap_signal_leave;
 * FRAME_HOOKED not looked at in trap_signal_enter; FRAME_LEAVING not set in hooked_leave. */
CHECK_TEST(heartbeat_through_callouts, "I12: a heartbeat each millisecond that touches the image, through 100,000 "
                                       "callouts and 2,000 faults: none is harmed") {
  devzero = open("/dev/zero", O_RDONLY);
  REQUIRE(trap_init() == 0);
  each_way(beats_through);
}

/*
 * Broken once, each: a fresh foreign stack given back by trap_slow_return (while the gate still runs on it: found in
 * most runs); the handler's suspension writing to the frame that it interrupted; the mask not noted anew in
 * trap_signal_enter.
 *
 * A storm: on every thread a heartbeat comes 100 us after the last, and makes honest and failing callouts, also with a
 * callback. The threads meanwhile make callouts with callbacks with callouts that fail, and threads attach and end.
 * What a handler interrupts is any instruction of the gates, landing pads, callbacks, attaching and releasing. A
 * thread's timer outlives it: the last beats come while its thread is being released.
 */
static void *storm_outer, *storm_inner, *storm_back, *storm_honest, *storm_handler_failing, *storm_handler_outer;
static volatile unsigned long storm_beats, storm_wrong;
static uintptr_t storm_space;
static int storm_inner_callee(int value) {
  if (value % 3 == 0) writes_null();
  return value + 1;
}
static int storm_vm(int value) { /* the VM's callback */
  ((volatile int *)storm_space)[2] = value;
  struct trap_fault fault;
  int result = AS(storm_inner_callee, storm_inner)(value);
  bool failed = trap_take_fault(&fault);
  if (failed != (value % 3 == 0) || (failed ? fault.address != 16 : result != value + 1))
    __atomic_fetch_add(&storm_wrong, 1, __ATOMIC_RELAXED);
  return value * 2;
}
static int storm_callee(int (*back)(int), int value) {
  int doubled = back(value);
  if (value % 5 == 0) writes_null();
  return doubled;
}
static void storm_heartbeat(int signal) {
  (void)signal;
  struct trap_signal saved;
  int error = errno;
  trap_signal_enter(&saved);
  unsigned long n = __atomic_fetch_add(&storm_beats, 1, __ATOMIC_RELAXED);
  if (saved.words[2] == 0)
    return trap_signal_leave(&saved); /* not a VM thread (yet, or any more): it would become one here */
  ((volatile int *)storm_space)[3] = (int)n;
  struct trap_fault *record = trap_thunk_fault(
      storm_handler_failing); /* private: the thread's own record is the interrupted code's */
  if (AS(honest_add, storm_honest)(40, 2) != 42) __atomic_fetch_add(&storm_wrong, 1, __ATOMIC_RELAXED);
  if (n % 4 == 1) {
    AS(writes_null, storm_handler_failing)();
    if (record->address != 16) __atomic_fetch_add(&storm_wrong, 1, __ATOMIC_RELAXED);
  }
  if (n % 8 == 3 && AS(storm_callee, storm_handler_outer)(AS(honest_double, storm_back), 7) != 14)
    __atomic_fetch_add(&storm_wrong, 1, __ATOMIC_RELAXED);
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  if (!sigismember(&mask, SIGVTALRM))
    __atomic_fetch_add(&storm_wrong, 1, __ATOMIC_RELAXED); /* also after a callout that failed */
  trap_signal_leave(&saved);
  errno = error;
}
#define STORM_NS 100000
static unsigned long storm_rounds;
static void storm_through(void) {
  int (*back)(int) = AS(storm_vm, callback(CODE(storm_vm), 0));
  for (unsigned long i = 1; i <= storm_rounds; i++) {
    struct trap_fault fault;
    int value = (int)(i % 1000) + 1;
    int result = AS(storm_callee, storm_outer)(back, value);
    bool failed = trap_take_fault(&fault);
    if (failed != (value % 5 == 0) || (failed ? fault.depth != 1 : result != value * 2))
      __atomic_fetch_add(&storm_wrong, 1, __ATOMIC_RELAXED);
  }
  trap_callback_release((void *)(uintptr_t)back);
}
static void *storm_thread(void *beat) {
  beat_start(beat, STORM_NS, storm_heartbeat, 0);
  storm_through();
  return NULL;
}
static void storm(struct way *way) {
  if (way->flags) return;
  storm_space = way->space;
  storm_beats = storm_wrong = 0;
  storm_outer = guarded(CODE(storm_callee), 0, 0);
  storm_inner = guarded(CODE(storm_inner_callee), 0, 0);
  storm_honest = guarded(CODE(honest_add), 0, 0);
  storm_back = callback(CODE(honest_double), 0);
  REQUIRE(trap_thunk_private(CODE(writes_null), 0, 0, NULL, &storm_handler_failing) == 0);
  REQUIRE(trap_thunk_private(CODE(storm_callee), 0, 0, NULL, &storm_handler_outer) == 0);
  struct beat own, theirs[3];
  beat_start(&own, STORM_NS, storm_heartbeat, 0);
  storm_rounds = way->mechanism == WAY_HOOKED ? scaled(1000, 20) : scaled(1500, 40);
  /* Under mprotect there is one thread. A handler may interrupt the holder of the mechanism's lock, and meet an image
   * closed for another thread that waits for that lock. It then waits out the bystander's limit. Nothing hangs, but a
   * storm of that takes its time. */
  int others = way->mechanism == WAY_HOOKED ? 0 : 3;
  struct pkeys_bystanders before = pkeys_bystanders();
  for (unsigned long wave = 0, waves = scaled(60, 16); wave < waves; wave++) {
    pthread_t threads[3];
    for (int i = 0; i < others; i++) REQUIRE(pthread_create(&threads[i], NULL, storm_thread, &theirs[i]) == 0);
    storm_through();
    for (int i = 0; i < others; i++) {
      pthread_join(threads[i], NULL);
      beat_end(&theirs[i]);
    }
  }
  beat_end(&own);
  CHECK_EQ(storm_wrong, 0);
  CHECK(storm_beats > 0);
  CHECK_EQ(pkeys_bystanders().windows, before.windows);
  CHECK_EQ(trap_statistics().threads_live, 1);
  CHECK_HONEST();
  *(volatile int *)way->space = 1;
  trap_thunk_release(storm_outer);
  trap_thunk_release(storm_inner);
  trap_thunk_release(storm_honest);
  trap_thunk_release(storm_handler_failing);
  trap_thunk_release(storm_handler_outer);
  trap_callback_release(storm_back);
}
CHECK_TEST(signal_storm, "I12: a storm of heartbeats that make callouts of their own, through nested callouts, "
                         "callbacks and faults on four threads that come and go") {
  REQUIRE(trap_init() == 0);
  each_way(storm);
}

static void faults_in_handler(int signal) {
  (void)signal;
  writes_null();
}
static void raises_usr1(void) { raise(SIGUSR1); }
/* Broken once: on_alternate (the handler's fault fails the innocent callout, and SIGUSR1 stays blocked). */
CHECK_TEST(handler_faults, "I12: a VM handler on the alternate stack that interrupts a callout and faults is not the "
                           "callee; nor is one that said trap_signal_enter") {
  CHECK_DIES_SAYING(SIGSEGV, "", {
    trap_init();
    struct sigaction action = {.sa_handler = faults_in_handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    GUARD(raises_usr1, 0, 0)();
  });
  /* An alternate stack of the VM's own, set after it attached. */
  CHECK_DIES_SAYING(SIGSEGV, "", {
    trap_init();
    static char own[256 << 10];
    stack_t alternate = {.ss_sp = own, .ss_size = sizeof own};
    sigaltstack(&alternate, NULL);
    struct sigaction action = {.sa_handler = faults_in_handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    GUARD(raises_usr1, 0, 0)();
  });
}
static void enters_and_faults(int signal) {
  (void)signal;
  struct trap_signal saved;
  trap_signal_enter(&saved);
  writes_null();
}
CHECK_TEST(entered_handler_faults, "I12: a fault after trap_signal_enter is the VM's, on whatever stack") {
  CHECK_DIES_SAYING(SIGSEGV, "", {
    trap_init();
    signal(SIGUSR1, enters_and_faults);
    GUARD(raises_usr1, 0, 0)();
  });
}

/* ---- pending during recovery ---- */

static volatile int pending_handled, pending_in_callout;
static __typeof__(&writes_null) pending_thunk;
static void counts_pending(int signal) {
  (void)signal;
  struct trap_signal saved;
  trap_signal_enter(&saved);
  pending_in_callout += trap_in_callout();
  if (pending_thunk) { /* a callout of the handler's own, which fails too */
    struct trap_fault fault;
    pending_thunk();
    pending_handled += trap_take_fault(&fault) ? 1 : 1000;
  } else {
    pending_handled++;
  }
  trap_signal_leave(&saved);
}
static void blocks_raises_and_faults(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR1);
  writes_null();
}
/* Broken once: uc_sigmask not set in recover (SIGUSR1 stays blocked and is never delivered); `recovering` not suspended
 * in trap_signal_enter. */
CHECK_TEST(pending_in_recovery, "I12: a signal that waited while a callout was being failed is delivered then, and its "
                                "handler may make callouts that fail") {
  REQUIRE(trap_init() == 0);
  signal(SIGUSR1, counts_pending);
  struct trap_fault fault;
  __typeof__(&blocks_raises_and_faults) call = GUARD(blocks_raises_and_faults, 0, 0);
  call();
  CHECK_EQ(pending_handled, 1);
  CHECK(trap_take_fault(&fault));
  pending_thunk = GUARD(writes_null, 0, 0);
  call();
  CHECK_EQ(pending_handled, 2);
  CHECK_EQ(pending_in_callout, 0);
  CHECK_HONEST();
}

/* ---- the mask ---- */

static void mask_is_noted(struct way *way) {
  (void)way;
  sigset_t noted, now;
  sigemptyset(&noted);
  sigaddset(&noted, SIGWINCH);
  pthread_sigmask(SIG_SETMASK, &noted, NULL);
  trap_note_thread();
  __typeof__(&blocks_raises_and_faults) call = GUARD(blocks_raises_and_faults, 0, way->flags);
  struct trap_fault fault;
  call();
  CHECK(trap_take_fault(&fault));
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  for (int s = 1; s < 32; s++) CHECK_EQ(sigismember(&now, s), s == SIGWINCH);
}
CHECK_TEST(mask_noted,
           "I12: after a failed callout the signal mask is what the thread noted, whatever the callee blocked") {
  signal(SIGUSR1, SIG_IGN);
  each_way(mask_is_noted);
}

/* ---- a child that a callee forks ---- */

static int forks_and_faults(void) {
  pid_t child = fork();
  if (child == 0) writes_null();
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}
CHECK_TEST(forked_child, "a child that a callee forks and that faults dies; it does not come back as a second VM") {
  REQUIRE(trap_init() == 0);
  int status = GUARD(forks_and_faults, 0, 0)();
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  CHECK_HONEST();
  /* A VM that forks goes on in the child. */
  CHECK_EXITS(5, {
    struct trap_fault fault;
    GUARD(writes_null, 0, 0)();
    _exit(trap_take_fault(&fault) && fault.thread_id == gettid_() ? 5 : 6);
  });
}

CHECK_TEST(installed_twice, "trap_init again changes nothing; the handlers' flags are I6's") {
  REQUIRE(trap_init() == 0);
  struct sigaction first, again;
  for (size_t i = 0; i < HANDLED; i++) {
    sigaction(handled[i], NULL, &first);
    CHECK_EQ(first.sa_flags & (SA_SIGINFO | SA_ONSTACK | SA_NODEFER), SA_SIGINFO | SA_ONSTACK | SA_NODEFER);
    for (int s = 1; s < 32; s++) {
      bool own = s == SIGSEGV || s == SIGBUS || s == SIGSYS;
      if (s != SIGKILL && s != SIGSTOP)
        CHECK_EQ(sigismember(&first.sa_mask, s), !own); /* what the handler may raise itself would kill silently */
    }
    CHECK_EQ(trap_init(), 0);
    sigaction(handled[i], NULL, &again);
    CHECK(first.sa_sigaction == again.sa_sigaction && first.sa_flags == again.sa_flags);
  }
}

CHECK_MAIN()
