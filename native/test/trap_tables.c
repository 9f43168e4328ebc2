/*
 * trap_tables.c: the tables of thunks and callbacks, bounded copies, and where WRPKRU may be (I3). Runs under valgrind
 * and -fsanitize=undefined.
 *
 * More than 400 lines: thunks, callbacks and copies are entries of the same tables, and share their callees.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "trap_common.h"

static volatile uintptr_t zero;
static void writes_null(void) { *(volatile int *)(zero + 16) = 1; }
static int one(void) { return 1; }
static int two(void) { return 2; }
static int three(void) { return 3; }
static int four(void) { return 4; }

/* ---- thunks ---- */

CHECK_TEST(cached,
           "a thunk is cached by target, stack bytes, flags and policy, and counted: released once for each get") {
  REQUIRE(trap_init() == 0);
  trap_policy *policy = trap_policy_create(TRAP_ALWAYS);
  uint64_t live = trap_statistics().thunks_live;
  void *a, *b, *c;
  CHECK_EQ(trap_thunk(CODE(one), 8, 0, NULL, &a), 0);
  CHECK_EQ(trap_thunk(CODE(one), 16, 0, NULL, &b), 0); /* rounded up */
  CHECK(a == b);
  CHECK_EQ(trap_thunk(CODE(one), 1, 0, NULL, &b), 0);
  CHECK(a == b);
  CHECK_EQ(trap_statistics().thunks_live, live + 1);
  struct {
    const void *target;
    size_t bytes;
    unsigned flags;
    trap_policy *policy;
  } others[] = {{CODE(two), 8, 0, NULL},
                {CODE(one), 0, 0, NULL},
                {CODE(one), 17, 0, NULL},
                {CODE(one), 8, TRAP_CAN_FAIL, NULL},
                {CODE(one), 8, TRAP_FLOAT, NULL},
                {CODE(one), 8, TRAP_LENT, NULL},
                {CODE(one), 8, TRAP_CALLER_STACK, NULL},
                {CODE(one), 16, TRAP_TICKETED, NULL},
                {CODE(one), 8, TRAP_BARE, NULL},
                {CODE(one), 8, TRAP_PHASE_LOAD, NULL},
                {CODE(one), 8, 0, policy}};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    CHECK_EQ(trap_thunk(others[i].target, others[i].bytes, others[i].flags, others[i].policy, &c), 0);
    CHECK(c != a);
    CHECK(trap_thunk_target(c) == others[i].target);
    CHECK_EQ(trap_thunk_release(c), 0);
    CHECK(trap_thunk_target(c) == NULL);
  }
  CHECK_EQ(trap_statistics().thunks_live, live + 1);
  CHECK_EQ(trap_thunk_release(a), 0);
  CHECK_EQ(trap_thunk_release(a), 0);
  CHECK_EQ(AS(one, a)(), 1);
  CHECK_EQ(trap_thunk_release(a), 0);
  CHECK_EQ(trap_thunk_release(a), -EINVAL);
  CHECK_EQ(trap_statistics().thunks_live, live);
}

CHECK_TEST(private_thunks, "a private thunk is never shared, and its faults go to its own record") {
  REQUIRE(trap_init() == 0);
  void *a, *b, *shared;
  CHECK_EQ(trap_thunk_private(CODE(writes_null), 0, 0, NULL, &a), 0);
  CHECK_EQ(trap_thunk_private(CODE(writes_null), 0, 0, NULL, &b), 0);
  CHECK_EQ(trap_thunk(CODE(writes_null), 0, 0, NULL, &shared), 0);
  CHECK(a != b && b != shared && a != shared);
  struct trap_fault *record_a = trap_thunk_fault(a), *record_b = trap_thunk_fault(b), fault;
  REQUIRE(record_a != NULL && record_b != NULL && record_a != record_b);
  CHECK(trap_thunk_fault(shared) == NULL);
  CHECK(trap_thunk_fault((char *)a + 1) == NULL && trap_thunk_fault(CODE(one)) == NULL &&
        trap_thunk_fault(NULL) == NULL);
  AS(writes_null, a)();
  CHECK(record_a->pending != 0 && record_a->address == 16 && record_a->thunk == (uintptr_t)a);
  CHECK_EQ(record_b->pending, 0);
  CHECK(!trap_take_fault(&fault));
  uint32_t first = record_a->pending;
  AS(writes_null, a)();
  CHECK(record_a->pending > first);
  AS(writes_null, shared)();
  CHECK(trap_take_fault(&fault));
  /* A record that is used again is empty. */
  CHECK_EQ(trap_thunk_release(a), 0);
  CHECK_EQ(trap_thunk_private(CODE(writes_null), 0, 0, NULL, &a), 0);
  CHECK_EQ(trap_thunk_fault(a)->pending, 0);
  /* 4096 records; the next one is -ENOSPC, shared ones go on. */
  int made = 0;
  static void *codes[5000];
  while (made < 5000 && trap_thunk_private(CODE(one), 0, 0, NULL, &codes[made]) == 0) made++;
  CHECK_EQ(made, 4094);
  CHECK_EQ(trap_thunk(CODE(three), 0, 0, NULL, &shared), 0);
  CHECK_EQ(AS(three, shared)(), 3);
  for (int i = 0; i < made; i++) CHECK_EQ(trap_thunk_release(codes[i]), 0);
  CHECK_EQ(trap_thunk_private(CODE(one), 0, 0, NULL, &codes[0]), 0);
}

#if !defined(_WIN32)
typedef long ticketed(long, long, long, long, long, long, long, long, long, long);
static long writes_where(long a, long b, long c, long d, long e, long f) {
  if (a != 0) *(volatile int *)(zero + (uintptr_t)a) = 1;
  return b + c + d + e + f;
}
static void *ticket_thread(void *argument) {
  struct ticket_call {
    ticketed *code;
    long where, ticket, result;
  } *call = argument;
  /* Ten words: on AArch64 eight of them go by register. */
#if defined(__x86_64__)
  call->result = ((long (*)(long, long, long, long, long, long, long, long))(uintptr_t)call->code)(
      call->where, 1, 2, 3, 4, 5, 0, call->ticket);
#else
  call->result = call->code(call->where, 1, 2, 3, 4, 5, 0, 0, 0, call->ticket);
#endif
  return NULL;
}
/* Broken once: the ticket was read a word beyond where the caller puts it. */
CHECK_TEST(tickets,
           "the fault of a call with a ticket goes to the ticket's record, on any thread and through any gate") {
  REQUIRE(trap_init() == 0);
  void *code;
  REQUIRE(trap_thunk(CODE(writes_where), 16, TRAP_TICKETED, NULL, &code) == 0);
  struct ticket_call {
    ticketed *code;
    long where, ticket, result;
  } calls[40];
  pthread_t threads[40];
  struct trap_fault fault;
  for (int nested = 0; nested < 2; nested++) { /* twice: a thread's first callout takes the slow gate */
    for (int i = 0; i < 40; i++) {
      uint32_t ticket;
      REQUIRE(trap_ticket_take(&ticket) == 0);
      memcpy(&calls[i].code, &code, sizeof code);
      calls[i].where = i % 3 == 0 ? 0 : 64 + i;
      calls[i].ticket = ticket;
      if (nested) ticket_thread(&calls[i]);
      else REQUIRE(pthread_create(&threads[i], NULL, ticket_thread, &calls[i]) == 0);
    }
    for (int i = 0; i < 40; i++) {
      if (!nested) pthread_join(threads[i], NULL);
      bool failed = trap_ticket_end((uint32_t)calls[i].ticket, &fault);
      CHECK_EQ(failed, i % 3 != 0);
      CHECK_EQ(calls[i].result, i % 3 == 0 ? 15 : 0);
      if (failed) CHECK(fault.address == (uint64_t)calls[i].where && fault.thunk == (uintptr_t)code);
    }
    CHECK(!trap_take_fault(&fault));
  }
  int taken = 0;
  uint32_t ticket, first = 0;
  while (trap_ticket_take(&ticket) == 0)
    if (taken++ == 0) first = ticket;
  CHECK_EQ(taken, TRAP_MAX_TICKETS);
  CHECK(!trap_ticket_end(first, &fault));
  CHECK_EQ(trap_ticket_take(&ticket), 0);
  CHECK_EQ(ticket, first);
  CHECK_EQ(trap_ticket_take(NULL), -EINVAL);
  CHECK(!trap_ticket_end(TRAP_MAX_TICKETS, &fault));
}

static uintptr_t where_is_my_stack(void) { return (uintptr_t)__builtin_frame_address(0); }
CHECK_TEST(caller_stack, "a TRAP_CALLER_STACK function runs on its caller's stack, others on a foreign one") {
  REQUIRE(trap_init() == 0);
  void *near = guarded(CODE(where_is_my_stack), 0, TRAP_CALLER_STACK), *far = guarded(CODE(where_is_my_stack), 0, 0);
  void *faulting = guarded(CODE(writes_null), 0, TRAP_CALLER_STACK);
  uintptr_t here = (uintptr_t)__builtin_frame_address(0);
  struct trap_fault fault;
  for (int i = 0; i < 3; i++) {
    CHECK(here - AS(where_is_my_stack, near)() < 65536);
    CHECK(here - AS(where_is_my_stack, far)() >= 65536);
    AS(writes_null, faulting)();
    CHECK(trap_take_fault(&fault) && fault.address == 16 && fault.foreign_sp_top == 0);
  }
}
#endif

CHECK_TEST(bad_arguments,
           "bad arguments are refused: NULL, too many bytes, unknown flags, addresses that are no thunk's") {
  REQUIRE(trap_init() == 0);
  void *code = &code, *before = code;
  CHECK_EQ(trap_thunk(NULL, 0, 0, NULL, &code), -EINVAL);
  CHECK_EQ(trap_thunk(CODE(one), 0, 0, NULL, NULL), -EINVAL);
  CHECK_EQ(trap_thunk(CODE(one), TRAP_MAX_STACK_BYTES + 1, 0, NULL, &code), -EINVAL);
  CHECK_EQ(trap_thunk(CODE(one), TRAP_MAX_STACK_BYTES + TRAP_TICKET_BYTES + 16, TRAP_TICKETED, NULL, &code), -EINVAL);
  CHECK_EQ(trap_thunk(CODE(one), TRAP_MAX_CALLER_STACK_BYTES + 1, TRAP_CALLER_STACK, NULL, &code), -EINVAL);
  CHECK_EQ(trap_thunk(CODE(one), (size_t)-1, 0, NULL, &code), -EINVAL);
  CHECK_EQ(trap_thunk(CODE(one), 0, 256, NULL, &code), -EINVAL);
  CHECK_EQ(trap_thunk(CODE(one), 0, TRAP_TICKETED, NULL, &code), -EINVAL);
  CHECK_EQ(trap_thunk(CODE(one), 8, TRAP_TICKETED, NULL, &code), -EINVAL);
  CHECK_EQ(trap_thunk(CODE(one), 0, 0x10000, NULL, &code), -EINVAL); /* a flag of the trap's own */
  CHECK_EQ(trap_callback(NULL, 0, &code), -EINVAL);
  CHECK_EQ(trap_callback(CODE(one), 0, NULL), -EINVAL);
  CHECK_EQ(trap_callback(CODE(one), TRAP_MAX_CALLBACK_STACK_BYTES + 1, &code), -EINVAL);
  CHECK(code == before);
  void *most[] = {guarded(CODE(one), TRAP_MAX_STACK_BYTES, 0),
                  guarded(CODE(one), TRAP_MAX_STACK_BYTES + TRAP_TICKET_BYTES, TRAP_TICKETED),
                  guarded(CODE(one), TRAP_MAX_CALLER_STACK_BYTES, TRAP_CALLER_STACK)};
  for (size_t i = 0; i < sizeof most / sizeof *most; i++) CHECK_EQ(trap_thunk_release(most[i]), 0);
  CHECK_EQ(trap_callback_release(callback(CODE(one), TRAP_MAX_CALLBACK_STACK_BYTES)), 0);
  void *thunk = guarded(CODE(one), 0, 0), *back = callback(CODE(one), 0);
  void *wrong[] = {
      NULL,      (void *)(uintptr_t)one, (char *)thunk + 1, (char *)thunk + 16 * 5000, (char *)thunk - 16 * 9000,
      (void *)-1};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    CHECK_EQ(trap_thunk_release(wrong[i]), -EINVAL);
    CHECK_EQ(trap_callback_release(wrong[i]), -EINVAL);
    CHECK(trap_thunk_target(wrong[i]) == NULL);
  }
  CHECK_EQ(trap_thunk_release(back), -EINVAL);
  CHECK_EQ(trap_callback_release(thunk), -EINVAL);
  CHECK_EQ(trap_callback_release((char *)back + 16), -EINVAL); /* not live */
  CHECK_EQ(trap_thunk_release(thunk), 0);
  CHECK_EQ(trap_callback_release(back), 0);
  CHECK_EQ(trap_callback_release(back), -EINVAL);
}

static int calls_back(int (*back)(void)) { return back() + 1; }
CHECK_TEST(released_called, "a released thunk that is called ends the process with a message") {
  REQUIRE(trap_init() == 0);
  void *thunk = guarded(CODE(one), 0, 0), *with_args = guarded(CODE(two), 64, 0);
  trap_thunk_release(thunk);
  trap_thunk_release(with_args);
  CHECK_DIES_SAYING(SIGABRT, "a released thunk was called", AS(one, thunk)());
  CHECK_DIES_SAYING(SIGABRT, "a released thunk was called", AS(one, with_args)());
  CHECK_DIES_SAYING(SIGABRT, "a released thunk was called", GUARD(calls_back, 0, 0)(AS(one, thunk)));
}

/* Broken once: the target of a released callback was the gate that dies, and foreign threads ended the program. */
CHECK_TEST(released_callback, "a released callback gives zeros, and one message in all; its address comes back last") {
  REQUIRE(trap_init() == 0);
  void *back = callback(CODE(one), 0), *other = callback(CODE(one), 24);
  trap_callback_release(back);
  trap_callback_release(other);
  struct died child;
  if (died_child(&child)) {
    int bad = AS(one, back)() != 0 || AS(one, other)() != 0 || GUARD(calls_back, 0, 0)(AS(one, back)) != 1;
    struct pair {
      double a, b;
    } (*two_doubles)(void);
    memcpy(&two_doubles, &back, sizeof back);
    struct pair pair = two_doubles();
    _exit(bad || pair.a != 0 || pair.b != 0);
  }
  CHECK(WIFEXITED(child.status) && WEXITSTATUS(child.status) == 0);
  const char *said = strstr(child.text, "turnkey: foreign code called a callback that was released");
  CHECK(said != NULL && strchr(said, '\n') == child.text + strlen(child.text) - 1);
  void *next = callback(CODE(two), 0);
  CHECK(next != back && next != other);
  trap_callback_release(next);
}

CHECK_TEST(
    exhaustion,
    "8192 thunks and 8192 callbacks at once, each works; the next is -ENOSPC; what is released can be had again") {
  REQUIRE(trap_init() == 0);
  static void *thunks[TRAP_MAX_THUNKS + 1], *backs[TRAP_MAX_CALLBACKS + 1];
  uint64_t live = trap_statistics().thunks_live;
  int made = 0, n = 0;
  /* Distinct by stack bytes and flags. The stack must have as many bytes above the call as the thunk copies. */
  volatile char above[TRAP_MAX_STACK_BYTES];
  above[0] = above[TRAP_MAX_STACK_BYTES - 1] = 0;
  while (made < TRAP_MAX_THUNKS + 1) {
    int rc = trap_thunk(CODE(one), (size_t)(made / 4) * 16,
                        (unsigned)(made % 4 & 1 ? TRAP_CAN_FAIL : 0) | (made % 4 & 2 ? TRAP_FLOAT : 0), NULL,
                        &thunks[made]);
    if (rc != 0) {
      CHECK_EQ(rc, -ENOSPC);
      break;
    }
    made++;
  }
  CHECK_EQ(made + live, TRAP_MAX_THUNKS);
  for (int i = 0; i < made; i++) CHECK_EQ(AS(one, thunks[i])(), 1);
  for (int i = 0; i < made; i++) /* none twice */
    for (int j = i + 1; j < i + 3 && j < made; j++) CHECK(thunks[i] != thunks[j]);
  CHECK_EQ(trap_thunk_release(thunks[77]), 0);
  CHECK_EQ(trap_thunk(CODE(four), 0, 0, NULL, &thunks[77]), 0);
  CHECK_EQ(AS(four, thunks[77])(), 4);
  for (int i = made; i-- > 0;) CHECK_EQ(trap_thunk_release(thunks[i]), 0);
  CHECK_EQ(trap_statistics().thunks_live, live);
  for (; n < TRAP_MAX_CALLBACKS + 1; n++)
    if (trap_callback(n % 2 ? CODE(one) : CODE(two), 0, &backs[n]) != 0) break;
  CHECK_EQ(n, TRAP_MAX_CALLBACKS);
  CHECK_EQ(trap_callback(CODE(one), 0, &backs[n]), -ENOSPC);
  __typeof__(&calls_back) call = GUARD(calls_back, 0, 0);
  for (int i = 0; i < n; i += 31) CHECK_EQ(call(AS(one, backs[i])), i % 2 ? 2 : 3);
  CHECK_EQ(call(AS(one, backs[n - 1])), 2);
  for (int i = 0; i < n; i++) CHECK_EQ(trap_callback_release(backs[i]), 0);
  CHECK_EQ(trap_statistics().callbacks_live, 0);
}

static int (*const targets[])(void) = {one, two, three, four};
static volatile bool concurrent_failed;
static void *makes_and_calls(void *argument) {
  uint64_t state = (uintptr_t)argument * 0x9e3779b97f4a7c15u;
  for (unsigned long i = 0, n = scaled(30000, 1500); i < n; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    unsigned which = (unsigned)(state >> 8) % 4, bytes = (unsigned)(state >> 16) % 3 * 16;
    void *code = NULL, *back = NULL;
    bool private = state >> 20 & 1;
    if ((private ? trap_thunk_private : trap_thunk)(CODE(targets[which]), bytes, 0, NULL, &code) != 0 ||
        AS(one, code)() != (int)which + 1 || trap_thunk_target(code) != CODE(targets[which]) ||
        trap_callback(CODE(targets[which]), 0, &back) != 0 || AS(one, back)() != (int)which + 1 ||
        trap_callback_release(back) != 0 || trap_thunk_release(code) != 0)
      concurrent_failed = true;
  }
  return NULL;
}
static volatile bool toggling;
static void *toggles_images(void *argument) {
  (void)argument;
  while (toggling) {
    struct way way = {.mechanism = pkeys_supported() ? WAY_KEYS : WAY_HOOKED, .foreign_stack = true};
    struct pkeys_space_request request = {.name = "old", .bytes = PAGE};
    if (pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &way.image, NULL) != 0) concurrent_failed = true;
    if (pkeys_image_set_mechanism(way.image, way.mechanism == WAY_KEYS ? PKEYS_MECHANISM_PKEYS
                                                                       : PKEYS_MECHANISM_MPROTECT_RANGE) != 0)
      concurrent_failed = true;
    sched_yield();
    int rc;
    while ((rc = pkeys_image_close(way.image)) == -EBUSY) sched_yield();
    if (rc != 0) concurrent_failed = true;
  }
  return NULL;
}
CHECK_TEST(concurrent,
           "four threads make, call and release thunks and callbacks at once, while images come and go under them") {
  REQUIRE(trap_init() == 0);
  uint64_t live = trap_statistics().thunks_live;
  pthread_t threads[4], toggler;
  toggling = true;
  REQUIRE(pthread_create(&toggler, NULL, toggles_images, NULL) == 0);
  for (uintptr_t i = 0; i < 4; i++) REQUIRE(pthread_create(&threads[i], NULL, makes_and_calls, (void *)(i + 1)) == 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  toggling = false;
  pthread_join(toggler, NULL);
  CHECK(!concurrent_failed);
  CHECK_EQ(trap_statistics().thunks_live, live);
  CHECK_EQ(trap_statistics().callbacks_live, 0);
  CHECK_HONEST();
}

/* ---- bounded copies ---- */

static char *pages; /* two pages, the second no access */
static void map_pages(void) {
  pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED);
  CHECK_EQ(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
  for (unsigned i = 0; i < PAGE; i++) pages[i] = (char)((i * 31 + 7) | 1);
}
static void copies(struct way *way) {
  (void)way;
  static char to[2 * PAGE];
  struct trap_fault fault;
  for (size_t bytes = 0; bytes < 300; bytes = bytes < 40 ? bytes + 1 : bytes + 61) {
    memset(to, 0x11, sizeof to);
    CHECK_EQ(trap_copy(to, pages + PAGE - bytes, bytes, &fault), 0); /* up to the page's last byte */
    CHECK(memcmp(to, pages + PAGE - bytes, bytes) == 0);
    CHECK_EQ(to[bytes], 0x11);
    memset(&fault, 0, sizeof fault);
    CHECK_EQ(trap_copy(to, pages + PAGE - bytes, bytes + 1, &fault), -EFAULT); /* one more */
    CHECK(fault.address >= (uintptr_t)pages + PAGE && fault.address < (uintptr_t)pages + 2 * PAGE);
    CHECK_EQ(fault.phase, TRAP_IN_DECODE);
    CHECK_EQ(fault.access, TRAP_ACCESS_READ);
    CHECK(!trap_take_fault(&fault));
  }
  static const uintptr_t wild[] = {
      0, 8, 0x1234, 0x7a0000001000, 0x8000414141414141, 0xffffffff81000000, UINTPTR_MAX - 2};
  for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
    CHECK_EQ(trap_copy(to, (void *)wild[i], 16, &fault), -EFAULT);
    CHECK_EQ(trap_copy(to, (void *)wild[i], 16, NULL), -EFAULT);
    CHECK_EQ(trap_copy(to, (void *)wild[i], 0, &fault), 0);
    bool terminated;
    for (unsigned unit = 1; unit <= 4; unit *= 2)
      CHECK_EQ(trap_copy_string(to, (void *)wild[i], 16, unit, &terminated, &fault), -EFAULT);
  }
  CHECK_HONEST();
}
/* Broken once: string_callee compares eight bytes at a time. */
CHECK_TEST(exact_copies, "trap_copy: exact at page ends; wild sources are -EFAULT with the fault, phase 'decode'") {
  map_pages();
  each_way(copies);
}
static void strings(struct way *way) {
  (void)way;
  static char to[2 * PAGE];
  struct trap_fault fault;
  bool terminated;
  for (unsigned unit = 1; unit <= 4; unit *= 2)
    for (size_t length = 0; length < 20; length++) {
      size_t bytes = length * unit;
      char *end = pages + PAGE, *at = end - bytes - unit;
      char kept[4];
      memcpy(kept, end - unit, unit);
      memset(end - unit, 0, unit); /* the terminator is the page's last unit */
      memset(to, 0x11, sizeof to);
      CHECK_EQ(trap_copy_string(to, at, 1000, unit, &terminated, &fault), length);
      CHECK(terminated);
      CHECK(memcmp(to, at, bytes + unit) == 0);
      CHECK_EQ(to[bytes + unit], 0x11);
      CHECK_EQ(trap_copy_string(to, at, length + 1, unit, &terminated, NULL), length); /* just enough */
      CHECK(terminated);
      CHECK_EQ(trap_copy_string(to, at, length, unit, &terminated, NULL), length); /* one too few: not even looked at */
      CHECK(!terminated);
      CHECK_EQ(trap_copy_string(to, at, length, unit, NULL, NULL), length);
      memcpy(end - unit, kept, unit);
      CHECK_EQ(trap_copy_string(to, at, 1000, unit, &terminated, &fault),
               -EFAULT); /* no terminator before the page ends */
      CHECK_EQ(fault.address, (uintptr_t)end);
      CHECK_EQ(fault.phase, TRAP_IN_DECODE);
      CHECK_EQ(trap_copy_string(to, at, length + 1, unit, &terminated, &fault), length + 1); /* bounded before it */
      CHECK(!terminated);
    }
  CHECK_EQ(trap_copy_string(to, pages, 10, 3, &terminated, NULL), -EINVAL);
  CHECK_EQ(trap_copy_string(to, pages, 10, 0, &terminated, NULL), -EINVAL);
  CHECK_EQ(trap_copy_string(to, pages, 10, 8, &terminated, NULL), -EINVAL);
  terminated = true;
  CHECK_EQ(trap_copy_string(to, NULL, 0, 1, &terminated, NULL), 0);
  CHECK(!terminated);
  /* A surrogate of what a unit of 2 is: its low byte alone may be 0. */
  static const uint16_t low_zero[] = {0x100, 0x200, 0};
  CHECK_EQ(trap_copy_string(to, low_zero, 10, 2, &terminated, NULL), 2);
  /* A fault that nobody took stays the earlier callout's. */
  GUARD(writes_null, 0, 0)();
  CHECK_EQ(trap_copy_string(to, low_zero, 10, 2, &terminated, &fault), 2);
  CHECK_EQ(trap_copy(to, low_zero, 4, &fault), 0);
  CHECK(trap_take_fault(&fault));
  CHECK_EQ(fault.address, 16);
}
CHECK_TEST(exact_strings, "trap_copy_string: terminators at a page's last unit, bounds, units of 1, 2 and 4 bytes") {
  map_pages();
  each_way(strings);
}
CHECK_TEST(
    copies_are_callouts,
    "copies run with rights down: the image cannot be their destination, nor, where reads are denied, their source") {
  REQUIRE(trap_init() == 0);
  for (int keyed = 0; keyed < 2; keyed++) {
    if (keyed && !pkeys_supported()) break;
    struct pkeys_image *image;
    struct pkeys_space_request requests[] = {{.name = "writes", .bytes = PAGE},
                                             {.name = "all", .bytes = PAGE, .deny = PKEYS_NO_ACCESS}};
    struct pkeys_space space, secret;
    REQUIRE(pkeys_image_map(requests, 2, PKEYS_KEY_PER_SPACE, &image, NULL) == 0);
    REQUIRE(pkeys_image_set_mechanism(image, keyed ? PKEYS_MECHANISM_PKEYS : PKEYS_MECHANISM_MPROTECT_RANGE) == 0);
    pkeys_image_space(image, 0, &space);
    pkeys_image_space(image, 1, &secret);
    struct trap_fault fault;
    char byte = 5;
    CHECK_EQ(trap_copy((void *)space.address, &byte, 1, &fault), -EFAULT);
    CHECK_EQ(fault.access, TRAP_ACCESS_WRITE);
    CHECK_STR(fault.space_name, "writes");
    CHECK_EQ(trap_copy(&byte, (void *)space.address, 1, &fault), 0);
    CHECK_EQ(trap_copy(&byte, (void *)secret.address, 1, &fault), -EFAULT);
    CHECK_EQ(fault.access, TRAP_ACCESS_READ);
    CHECK_STR(fault.space_name, "all");
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

/* ---- I3 ---- */

/*
 * Searches the executable sections of this very program, byte by byte: also what starts in the middle of an instruction
 * could be jumped to. Broken once: a second WRPKRU in slow.c.
 */
CHECK_TEST(wrpkru_places, "I3: rights are written (WRPKRU; POR_EL0) in the gates, the keyed landing pad and "
                          "pkeys_wrpkru, nowhere else in the program; XRSTOR nowhere") {
  int fd = open("/proc/self/exe", O_RDONLY);
  struct stat status;
  REQUIRE(fd >= 0 && fstat(fd, &status) == 0);
  const unsigned char *file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  REQUIRE(file != MAP_FAILED);
  const Elf64_Ehdr *header = (const void *)file;
  const Elf64_Shdr *sections = (const void *)(file + header->e_shoff);
  const Elf64_Sym *symbols = NULL;
  size_t symbol_count = 0;
  const char *names = NULL;
  for (int i = 0; i < header->e_shnum; i++)
    if (sections[i].sh_type == SHT_SYMTAB) {
      symbols = (const void *)(file + sections[i].sh_offset);
      symbol_count = sections[i].sh_size / sizeof *symbols;
      names = (const char *)(file + sections[sections[i].sh_link].sh_offset);
    }
  REQUIRE(symbols != NULL);
  int found = 0, gates = 0, landings = 0, function = 0, elsewhere = 0, xrstor = 0;
  bool is_static = true;
  for (int i = 0; i < header->e_shnum; i++) is_static = is_static && sections[i].sh_type != SHT_DYNAMIC;
  for (int i = 0; i < header->e_shnum; i++) {
    if (!(sections[i].sh_flags & SHF_EXECINSTR) || sections[i].sh_type != SHT_PROGBITS) continue;
    const unsigned char *text = file + sections[i].sh_offset;
    for (size_t at = 0; at + 4 <= sections[i].sh_size; at++) {
      if (restores_rights(text + at)) xrstor++;
      if (!writes_rights(text + at)) continue;
      found++;
      uint64_t address = sections[i].sh_addr + at;
      const Elf64_Sym *nearest = NULL; /* the last function that begins at or before it */
      for (size_t s = 0; s < symbol_count; s++)
        if (ELF64_ST_TYPE(symbols[s].st_info) == STT_FUNC && symbols[s].st_value <= address &&
            (!nearest || symbols[s].st_value > nearest->st_value))
          nearest = &symbols[s];
      const char *name = nearest ? names + nearest->st_name : "?";
      if (strncmp(name, "trap_gate_keys", 14) == 0) gates++;
      else if (strcmp(name, "trap_landing_keys") == 0) landings++;
      else if (strcmp(name, "pkeys_wrpkru") == 0) function++;
      else if (!(is_static && (strcmp(name, "pkey_set") == 0 || strcmp(name, "__pkey_set") == 0))) {
        elsewhere++;
        printf("#   a write of rights at 0x%" PRIx64 " in %s\n", address, name);
      }
    }
  }
  CHECK_EQ(elsewhere, 0);
#ifdef __x86_64__
  const int expected_gates = 32; /* two in each of the eight keyed gates, with the filter and without */
#else
  const int expected_gates = 16; /* two in each of the eight keyed gates */
#endif
  CHECK_EQ(gates, expected_gates);
  CHECK_EQ(landings, 1);
  CHECK_EQ(function, 1);
  CHECK_EQ(found, gates + landings + function + (is_static ? found - expected_gates - 2 : 0));
  if (!is_static) CHECK_EQ(xrstor, 0);
}

CHECK_MAIN()
