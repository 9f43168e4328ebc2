/*
 * pkeys_stepped.c: virtual keys one instruction at a time. A thread enters an image with the trap flag set, so that a
 * signal follows each instruction of the eviction and the load. At each of them either
 *
 *   stores are tried into all images, with the rights of three threads: one that has none (a callee's), one that is in
 *   an image of its own, and the stepped thread; or
 *   a handler enters an image itself, between this instruction and the next.
 *
 * Others see the work of few instructions: system calls, atomic changes, writes of PKRU. Stores and handlers come
 * before and after each of those, and stores at every 11th instruction too. TURNKEY_STEPS=1: both at every instruction.
 * Intel SDM volume 3, 18.3.1 (single-step exception); sigaction(2).
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

static bool every_step; /* TURNKEY_STEPS */

/* Whether other threads and handlers see what the instruction at `pc` does. SDM volume 2, 2.1 and appendix A. */
static bool others_see(uintptr_t pc) {
  static const unsigned char system_call[] = {0x0f, 0x05}, write_pkru[] = {0x0f, 0x01, 0xef};
  unsigned char code[4];
  memcpy(code, (const void *)pc, sizeof code);
  if (memcmp(code, system_call, sizeof system_call) == 0 || memcmp(code, write_pkru, sizeof write_pkru) == 0)
    return true;
  bool lock = code[0] == 0xf0, wide = code[0] >> 4 == 4; /* a REX prefix */
  return lock || (code[wide] & 0xfe) == 0x86;            /* XCHG */
}

static void (*on_step)(ucontext_t *context);
static volatile unsigned steps;
static volatile bool moment; /* others saw the instruction before, or will see the next */
static void stepped(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  static bool seen;
  bool next = others_see((uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]);
  moment = every_step || seen || next;
  seen = next;
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
  every_step = getenv("TURNKEY_STEPS") != NULL;
  struct sigaction action = {.sa_sigaction = stepped, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
}

/* ---- images with everything that an image can have, or with spaces alone ---- */

enum { LEFT, STALE, NEXT, OTHERS, IMAGES, PLACES = 4 };
static struct pkeys_image *image[IMAGES];
static uintptr_t place[IMAGES][PLACES]; /* two spaces, a hidden area, an adopted range */
static int places = PLACES;
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
    CHECK_EQ(pkeys_image_map(requests, 2, PKEYS_KEY_VIRTUAL, &image[i], NULL), 0);
    CHECK_EQ(pkeys_image_set_mechanism(image[i], PKEYS_MECHANISM_PKEYS), 0);
    place[i][0] = space_at(image[i], 0).address + SPACE_BYTES;
    place[i][1] = space_at(image[i], 1).address;
    if (places == 2) continue;
    void *hidden = NULL, *adopted = test_reserve(SPACE_BYTES);
    CHECK_EQ(pkeys_image_hidden(image[i], SPACE_BYTES, &hidden), 0);
    CHECK_EQ(pkeys_space_adopt(image[i], 0, adopted, SPACE_BYTES, TEST_READ_WRITE), 0);
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
    for (int p = 0; p < places; p++) open += can_store(place[i][p] + 64);
    if (open) images |= 1u << i;
    if (open && open < places) *parts = true;
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
  if (!moment && steps % 11 != 0) return;
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

/* Broken once: tag_image with the protection left as it was: strangers write the image that was evicted. */
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

static unsigned at_moment, moments;
static int entered_then;
static volatile unsigned handler_wrong, handler_ran, rights_moved;

static unsigned writable_with(uint32_t pkru) {
  uint32_t before = pkeys_rdpkru();
  bool parts = false;
  pkeys_wrpkru(pkru);
  unsigned images = writable(&parts);
  pkeys_wrpkru(before);
  return images;
}

static void enter_in_handler(int i) {
  bool parts = false;
  handler_wrong += pkeys_seat_enter(&seat, image[i]) != 0;
  handler_wrong += writable(&parts) != 1u << i || parts;
}

/* `entered_then` comes first, as the eviction has left it, and the others throw out whatever is not pinned. */
static void enter_then(ucontext_t *context) {
  if (!moment || ++moments != at_moment) return;
  context->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
  uint32_t before = pkeys_rdpkru(), interrupted = pkru_of(context);
  unsigned own = writable_with(interrupted);
  pkeys_open_thread();
  struct pkeys_seat_saved saved = pkeys_seat_push(&seat);
  for (int i = 0; i <= OTHERS; i++) enter_in_handler((entered_then + i) % OTHERS);
  pkeys_seat_pop(&seat, saved);
  rights_moved += writable_with(interrupted) != own;
  pkeys_wrpkru(before);
  handler_ran++;
}

/* Broken once: `give_back` before write_rights in `change`: what the interrupted code has open is another image. The
 * victim's pages closed after the next image was made resident: the handler that enters that writes the victim too.
 * No count in `residence`, no `follow`, `give_up` without its tag_image: an image is left with a part of its pages
 * closed, or open under the key of another. */
CHECK_TEST(handler_at_step,
           "a handler that enters images after any instruction of an eviction leaves all rights right") {
  NEEDS_KEYS();
  unsigned runs = 0;
  places = 2; /* enough for an image in parts, and fewer steps */
  open_images(&(struct pkeys_virtual_options){.policy = PKEYS_POLICY_LRU, .ways = 3});
  ready(enter_then);
  for (at_moment = 1;; at_moment++) {
    unsigned before = handler_ran;
    for (entered_then = 0; entered_then < OTHERS; entered_then++) {
      settle_images();
      steps = moments = 0;
      step_on();
      int error = pkeys_seat_enter(&seat, image[NEXT]);
      step_off();
      CHECK_EQ(error, 0);
      check_at_rest(NEXT);
      runs++;
    }
    if (handler_ran == before) break;
  }
  CHECK(at_moment > 20 && handler_ran > 60);
  CHECK_EQ(handler_wrong, 0);
  CHECK_EQ(rights_moved, 0);
  CHECK_EQ(pkeys_virtual_state().pinned, 2);
  CHECK_EQ(pkeys_seat_enter(&seat, NULL), 0);
  check_at_rest(-1);
  printf("# %u runs, interrupted at %u moments of %u steps\n", runs, at_moment - 1, steps);
}

CHECK_MAIN()
