/*
 * pkeys_stepped.c: virtual keys one instruction at a time. A thread enters an image with the trap flag set, so that a
 * signal follows each instruction of the eviction and the load. At each of them either
 *
 *   stores are tried into all images, with the rights of three threads: one that has none (a callee's), one that is in
 *   an image of its own, and the stepped thread; or
 *   a handler enters an image itself, between this instruction and the next.
 *
 * TURNKEY_STEPS=1: at every instruction; else stores at every 11th, and a handler at every 499th. Intel SDM volume 3,
 * 18.3.1 (single-step exception); sigaction(2).
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <sys/ucontext.h>

#include "pkeys_virtual_test.h"

#define TRAP_FLAG 0x100
#define NO_RIGHTS 0x55555554u

static uint32_t pkru_offset; /* of PKRU in a signal frame's XSAVE area */
static uint32_t pkru_of(const ucontext_t *context) {
  uint32_t pkru;
  memcpy(&pkru, (const char *)context->uc_mcontext.fpregs + pkru_offset, sizeof pkru);
  return pkru;
}

static unsigned stride_of(unsigned usual) {
  static int all = -1; /* asked before the first step */
  if (all < 0) all = getenv("TURNKEY_STEPS") != NULL;
  return all ? 1 : usual;
}

static void (*on_step)(ucontext_t *context);
static volatile unsigned steps;
static void stepped(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  steps++;
  on_step(context);
}
static inline __attribute__((always_inline)) void step_on(void) {
  __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::
                       : "memory", "cc");
}
static inline __attribute__((always_inline)) void step_off(void) {
  __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $-257, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::
                       : "memory", "cc");
}
static void ready(void (*handler)(ucontext_t *context)) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  CHECK(__get_cpuid_count(0xd, 9, &a, &b, &c, &d) && a >= 4);
  pkru_offset = b;
  on_step = handler;
  stride_of(1);
  struct sigaction action = {.sa_sigaction = stepped, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
}

/* ---- images with everything that an image can have ---- */

enum { LEFT, STALE, NEXT, OTHERS, IMAGES, PLACES = 4 };
static struct pkeys_image *image[IMAGES];
static uintptr_t place[IMAGES][PLACES]; /* two spaces, a hidden area, an adopted range */
static struct pkeys_seat other;

/* Enters, and loads too, whenever that is done. */
static void enter_now(struct pkeys_seat *own, int i) {
  CHECK_EQ(pkeys_seat_enter(own, image[i]), 0);
  if (pkeys_seat_fault(own, place[i][0])) pkeys_wrpkru(pkeys_seat_rights(own, pkeys_rdpkru()));
}

/* OTHERS has one key, which another seat has open; the rest share the others. */
static void open_images(const struct pkeys_virtual_options *options) {
  CHECK_EQ(pkeys_virtual_configure(options), 0);
  const struct pkeys_space_request requests[] = {
      {.name = "eden", .bytes = 2 * SPACE_BYTES, .reserve_bytes = 2 * SPACE_BYTES, .deny = PKEYS_NO_WRITE},
      {.name = "old", .bytes = SPACE_BYTES, .reserve_bytes = SPACE_BYTES, .deny = PKEYS_NO_WRITE}};
  for (int i = 0; i < IMAGES; i++) {
    void *hidden = NULL, *adopted = test_reserve(SPACE_BYTES);
    CHECK_EQ(pkeys_image_map(requests, 2, PKEYS_KEY_VIRTUAL, &image[i], NULL), 0);
    CHECK_EQ(pkeys_image_set_mechanism(image[i], PKEYS_MECHANISM_PKEYS), 0);
    CHECK_EQ(pkeys_image_hidden(image[i], SPACE_BYTES, &hidden), 0);
    CHECK_EQ(pkeys_space_adopt(image[i], 0, adopted, SPACE_BYTES, TEST_READ_WRITE), 0);
    place[i][0] = space_at(image[i], 0).address + SPACE_BYTES;
    place[i][1] = space_at(image[i], 1).address;
    place[i][2] = (uintptr_t)hidden;
    place[i][3] = (uintptr_t)adopted;
  }
  pkeys_seat_begin(&other);
  enter_now(&other, OTHERS);
  pkeys_seat_begin(&seat);
}

/* STALE is the oldest, then LEFT, which the seat is in. */
static void settle_images(void) {
  enter_now(&seat, STALE);
  enter_now(&seat, LEFT);
}

/* Which images this thread can write now, a bit each; all places of an image must agree, unless `parts`. */
static unsigned writable(bool *parts) {
  unsigned images = 0;
  for (int i = 0; i < IMAGES; i++) {
    int open = 0;
    for (int p = 0; p < PLACES; p++) open += can_store(place[i][p] + 64);
    if (open) images |= 1u << i;
    if (open && open < PLACES) *parts = true;
  }
  return images;
}

static void check_at_rest(int entered) {
  bool parts = false;
  CHECK_EQ(writable(&parts), entered < 0 ? 0u : 1u << entered);
  CHECK(!parts);
  for (int i = 0; i < IMAGES; i++) CHECK_EQ(pkeys_image_verify_tags(image[i], NULL), 0);
}

/* ---- stores at every step ---- */

static volatile unsigned tries, strangers, foreign_rights, own_wrong, own_images;
static uint32_t others_rights;

static void try_all(ucontext_t *context) {
  if (steps % stride_of(11) != 0) return;
  bool parts = false;
  strangers += writable(&parts) != 0; /* a handler begins without rights, as a callee's thread runs */
  pkeys_wrpkru(others_rights);
  foreign_rights += writable(&parts) != 1u << OTHERS;
  pkeys_wrpkru(pkru_of(context));
  unsigned own = writable(&parts);
  /* None or one, and that is what was entered, or is about to be. */
  own_wrong += parts || (own & (own - 1)) != 0 || (own & ~(1u << LEFT | 1u << NEXT)) != 0;
  own_images |= own;
  pkeys_wrpkru(NO_RIGHTS);
  tries += 3 * IMAGES * PLACES;
}

/* Should break it: tag_image with the protection left as it was; `give_back` before write_rights in `change`. */
static void tried_at_every_step(const struct pkeys_virtual_options *options) {
  NEEDS_KEYS();
  open_images(options);
  settle_images();
  uint32_t key = (uint32_t)space_at(image[OTHERS], 0).key;
  others_rights = NO_RIGHTS & ~pkru_field((int)key);
  ready(try_all);
  bool on_fault = options->load == PKEYS_LOAD_ON_FAULT;
  step_on();
  int error = pkeys_seat_enter(&seat, image[NEXT]);
  if (on_fault) error = error ? error : pkeys_seat_fault(&seat, place[NEXT][1]) ? 0 : -EFAULT;
  step_off();
  CHECK_EQ(error, 0);
  if (on_fault) pkeys_wrpkru(pkeys_seat_rights(&seat, pkeys_rdpkru())); /* what the fault's handler returns with */
  check_at_rest(NEXT);
  CHECK(steps > 1000 && tries > 10000);
  CHECK_EQ(strangers, 0);
  CHECK_EQ(foreign_rights, 0);
  CHECK_EQ(own_wrong, 0);
  CHECK_EQ(own_images, on_fault ? 1u << LEFT : 1u << LEFT | 1u << NEXT); /* so the tries do see what is open */
  printf("# %u steps, %u stores tried\n", steps, tries);
}

CHECK_TEST(step_stale, "an eviction, step by step: no store reaches an image that its thread has not entered") {
  tried_at_every_step(&(struct pkeys_virtual_options){.policy = PKEYS_POLICY_LRU, .ways = 3});
}
CHECK_TEST(step_left, "the same where the image that is evicted is the one that is left") {
  tried_at_every_step(&(struct pkeys_virtual_options){.policy = PKEYS_POLICY_CLOCK, .ways = 2});
}
CHECK_TEST(step_random, "the same, at random") {
  tried_at_every_step(&(struct pkeys_virtual_options){.policy = PKEYS_POLICY_RANDOM, .ways = 3, .seed = 5});
}
CHECK_TEST(step_nth, "the same, by the guests' key") {
  tried_at_every_step(&(struct pkeys_virtual_options){.policy = PKEYS_POLICY_NTH_MISS, .ways = 3});
}
CHECK_TEST(step_fault, "the same, loading on the fault") {
  tried_at_every_step(
      &(struct pkeys_virtual_options){.policy = PKEYS_POLICY_LRU, .ways = 2, .load = PKEYS_LOAD_ON_FAULT});
}

/* ---- a handler at every step ---- */

static unsigned at_step;
static int entered_then;
static volatile unsigned handler_wrong, handler_ran;

static void enter_then(ucontext_t *context) {
  if (steps != at_step) return;
  context->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
  uint32_t before = pkeys_rdpkru();
  pkeys_open_thread();
  struct pkeys_seat_saved saved = pkeys_seat_push(&seat);
  handler_wrong += pkeys_seat_enter(&seat, image[entered_then]) != 0;
  bool parts = false;
  handler_wrong += writable(&parts) != 1u << entered_then || parts;
  pkeys_seat_pop(&seat, saved);
  pkeys_wrpkru(before);
  handler_ran++;
}

CHECK_TEST(handler_at_step,
           "a handler that enters an image after any instruction of an eviction leaves all rights right") {
  NEEDS_KEYS();
  unsigned stride = stride_of(499), runs = 0, last = 0;
  open_images(&(struct pkeys_virtual_options){.policy = PKEYS_POLICY_LRU, .ways = 3});
  ready(enter_then);
  for (at_step = 1;; at_step += stride) {
    unsigned before = handler_ran;
    for (entered_then = 0; entered_then < OTHERS; entered_then++) {
      settle_images();
      steps = 0;
      step_on();
      int error = pkeys_seat_enter(&seat, image[NEXT]);
      step_off();
      CHECK_EQ(error, 0);
      check_at_rest(NEXT);
      runs++;
    }
    if (handler_ran == before) break;
    last = at_step;
  }
  CHECK(runs > 20 && last > 1000);
  CHECK_EQ(handler_wrong, 0);
  CHECK_EQ(pkeys_virtual_state().pinned, 2);
  CHECK_EQ(pkeys_seat_enter(&seat, NULL), 0);
  check_at_rest(-1);
  printf("# %u runs, interrupted up to step %u\n", runs, last);
}

CHECK_MAIN()
