/*
 * trap_common.h: what the trap's tests share. That is the ways a callout can go through the gate (mechanism, stack,
 * floating point), images under them, and the register probe of trap_probe_*.S.
 */
#ifndef TURNKEY_TEST_TRAP_COMMON_H
#define TURNKEY_TEST_TRAP_COMMON_H

#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <sys/syscall.h>

#include "../pkeys/pkeys.h"
#include "../trap/trap.h"
#include "check.h"
#include "trap_machine.h"

#define PAGE 4096u
#define IMAGE_PAGES 16u

/* Under an emulator (emulated_cpu, trap_machine_*.h) everything takes some twenty times as long: loops are shorter.
 * TRAP_TEST_SCALE overrides (percent). */
__attribute__((unused)) static unsigned long scaled(unsigned long count, unsigned long emulated) {
  const char *percent = getenv("TRAP_TEST_SCALE");
  if (percent && atol(percent) > 0) return count * (unsigned long)atol(percent) / 100 + 1;
  return emulated_cpu() ? emulated : count;
}

/* ---- ways through the gate ---- */

enum way_mechanism { WAY_FLAG, WAY_KEYS, WAY_HOOKED, WAY_GLIBC, WAY_MECHANISMS };
struct way {
  enum way_mechanism mechanism;
  bool foreign_stack;
  unsigned flags;            /* TRAP_FLOAT or 0 */
  struct pkeys_image *image; /* open while the way is in use; NULL for flag */
  uintptr_t space;           /* its one space */
};

static const char *const way_names[] = {"flag", "pkeys", "mprotect-range", "pkeys-glibc"};
__attribute__((unused)) static bool way_possible(enum way_mechanism mechanism) {
  return (mechanism != WAY_KEYS && mechanism != WAY_GLIBC) || pkeys_supported();
}

/* Opens an image under the mechanism, so that thunks take its gate. False with a failed check if that does not work. */
__attribute__((unused)) static bool way_open(struct way *way) {
  static const enum pkeys_mechanism mechanisms[] = {PKEYS_MECHANISM_FLAG, PKEYS_MECHANISM_PKEYS,
                                                    PKEYS_MECHANISM_MPROTECT_RANGE, PKEYS_MECHANISM_PKEYS_GLIBC};
  int rc = trap_init();
  if (rc == 0) rc = trap_set_foreign_stack(way->foreign_stack, 0);
  struct pkeys_space_request request = {
      .name = "old", .bytes = IMAGE_PAGES * PAGE, .reserve_bytes = 0, .deny = PKEYS_NO_WRITE};
  struct pkeys_space space;
  if (rc == 0) rc = pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &way->image, NULL);
  if (rc == 0) rc = pkeys_image_set_mechanism(way->image, mechanisms[way->mechanism]);
  if (rc == 0) rc = pkeys_image_space(way->image, 0, &space);
  if (rc == 0) way->space = space.address;
  CHECK_EQ(rc, 0);
  return rc == 0;
}
__attribute__((unused)) static void way_close(struct way *way) {
  CHECK_EQ(pkeys_image_close(way->image), 0);
  way->image = NULL;
}

/* Runs `body(way)` for every combination that this machine has. */
__attribute__((unused)) static void each_way(void (*body)(struct way *)) {
  for (int mechanism = 0; mechanism < WAY_MECHANISMS; mechanism++) {
    if (!way_possible((enum way_mechanism)mechanism)) continue;
    for (int foreign = 1; foreign >= 0; foreign--)
      for (unsigned fp = 0; fp < 2; fp++) {
        struct way way = {
            .mechanism = (enum way_mechanism)mechanism, .foreign_stack = foreign != 0, .flags = fp ? TRAP_FLOAT : 0};
        int before = check_now->failures;
        if (!way_open(&way)) return;
        body(&way);
        way_close(&way);
        if (check_now->failures != before)
          printf("#   ... through %s, %s stack%s\n", way_names[mechanism], foreign ? "foreign" : "caller's",
                 fp ? ", float" : "");
      }
  }
}

/* ---- thunks ---- */

__attribute__((unused)) static void *guarded(const void *target, size_t stack_bytes, unsigned flags) {
  void *code = NULL;
  int rc = trap_thunk(target, stack_bytes, flags, NULL, &code);
  if (rc != 0) check_failed(__FILE__, __LINE__, "trap_thunk: %d", rc);
  return code;
}
__attribute__((unused)) static void *callback(const void *target, size_t stack_bytes) {
  void *code = NULL;
  int rc = trap_callback(target, stack_bytes, &code);
  if (rc != 0) check_failed(__FILE__, __LINE__, "trap_callback: %d", rc);
  return code;
}
#define CODE(function) ((const void *)(uintptr_t)(function))
/* `code` as a function of the same type as `function`. */
#define AS(function, code) ((__typeof__(&function))(uintptr_t)(code))
/* A thunk of `function`, typed as it is. */
#define GUARD(function, stack_bytes, flags) AS(function, guarded(CODE(function), stack_bytes, flags))

__attribute__((unused, noinline)) static int honest_add(int a, int b) { return a + b; }
/* That callouts still work on this thread, and leave no fault. */
#define CHECK_HONEST()                                           \
  do {                                                           \
    struct trap_fault check_fault;                               \
    __typeof__(&honest_add) check_add = GUARD(honest_add, 0, 0); \
    CHECK_EQ(check_add(40, 2), 42);                              \
    CHECK(!trap_take_fault(&check_fault));                       \
    CHECK_EQ(trap_depth(), 0);                                   \
    trap_thunk_release((void *)(uintptr_t)check_add);            \
  } while (0)

/* ---- dying with a message ---- */

struct died {
  int status;
  char text[2048];
}; /* text: what it wrote on standard error */
/* Forks; in the child returns true with standard error going to the parent. A child that loops or hangs instead of
 * dying ends by the limit of check_fork. In the parent returns false when the child is gone. */
__attribute__((unused)) static bool died_child(struct died *out) {
  int ends[2];
  memset(out, 0, sizeof *out);
  if (pipe(ends) != 0) return false;
  pid_t child = check_fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    return true;
  }
  close(ends[1]);
  size_t used = 0;
  for (;;) {
    char rest[512];
    bool full = used >= sizeof out->text - 1;
    ssize_t n = read(ends[0], full ? rest : out->text + used, full ? sizeof rest : sizeof out->text - 1 - used);
    if (n <= 0) break;
    if (!full) used += (size_t)n;
  }
  close(ends[0]);
  out->status = check_wait(child);
  return false;
}
/* Runs the statements in a child, which must die by `signo`. Its standard error must have `message` in it ("": anything
 * or nothing). The words "turnkey: fatal" must be there once if the message is one of the trap's, else never.
 */
#define CHECK_DIES_SAYING(signo, message, ...)                                      \
  do {                                                                              \
    struct died check_died;                                                         \
    if (died_child(&check_died)) {                                                  \
      __VA_ARGS__;                                                                  \
      fflush(NULL);                                                                 \
      _exit(0);                                                                     \
    }                                                                               \
    check_death(__FILE__, __LINE__, &check_died, (signo), (message), #__VA_ARGS__); \
  } while (0)
__attribute__((unused)) static void check_death(const char *file, int line, const struct died *died, int signo,
                                                const char *message, const char *what) {
  char text[128];
  int fatal = 0;
  check_counted();
  for (const char *at = died->text; (at = strstr(at, "turnkey: fatal")) != NULL; at++) fatal++;
  if (died->status == -1 || !WIFSIGNALED(died->status) || WTERMSIG(died->status) != signo)
    check_failed(file, line, "child %s, expected to die by signal %d: %s; it wrote: %.300s",
                 check_status(died->status, text, sizeof text), signo, what, died->text);
  else if (strstr(died->text, message) == NULL || fatal != (*message != '\0'))
    check_failed(file, line,
                 "child died as expected, but wrote (%d times 'turnkey: fatal') \"%.300s\", expected \"%s\": %s", fatal,
                 died->text, message, what);
}

/* ---- the register probe: struct probe is each machine's own (trap_machine_*.h) ---- */

/* What probe_call puts into the registers that a function must keep. */
#define PROBE_SAVED(i) (0x5a5a000000000000u + 0x1111u * (uint64_t)((i) + 1))
/* Calls `code` with the registers and stack of *in; what comes back is in in's results. Not reentrant. */
void probe_call(void *code, struct probe *in);
/* Records what it was called with in probe_seen, clobbers every register that it may and all that it may not, returns
 * the results of probe_seen. */
void probe_callee(void);
void probe_polite(void); /* the same, but keeps the registers that a function must keep */
extern struct probe probe_seen;

#endif
