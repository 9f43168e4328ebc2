/*
 * store.c: the stray store of a trial, linked into the foreign code that makes it. Links to nothing of Turnkey's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "asleep.h"
#include "order.h"

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void stray_tell(const struct order *order, struct event event) {
  event.ns = now_ns();
  if (write(order->events, &event, sizeof event) < 0) abort();
}

/* The store itself, by this library's own instructions: each byte or word goes through a volatile pointer. */
static void store(const struct fault *fault, void *to, const uint8_t *noise) {
  switch (fault->means) {
    case MEANS_BIT: *(volatile uint8_t *)to ^= (uint8_t)(1u << fault->bit); break;
    case MEANS_RUN:
      for (uint32_t at = 0; at < fault->bytes; at++) ((volatile uint8_t *)to)[at] = noise[at];
      break;
    default: {
      struct word {
        uint64_t value;
      } __attribute__((packed, may_alias));
      uint64_t value;
      memcpy(&value, noise, 8);
      ((volatile struct word *)to)->value = value;
    }
  }
}

void stray_store(const struct order *order, void *to) {
  const struct fault *fault = &order->fault;
  uint8_t before[LARGEST_RUN], noise[LARGEST_RUN];
  draw_noise(fault->noise, noise, fault->bytes);
  if (fault->means == MEANS_ZERO) memset(noise, 0, 8);
  /* A value that looks like a pointer: somewhere near the place that it overwrites. */
  if (fault->means == MEANS_POINTER) {
    uint64_t value = ((uint64_t)(uintptr_t)to & ~(uint64_t)0xfffff) + (fault->noise & 0xffff8);
    memcpy(noise, &value, 8);
  }
  /* By way of the kernel, which answers an error where nothing can be read. */
  struct iovec here = {before, fault->bytes}, there = {to, fault->bytes};
  ssize_t known = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
  if (fault->means == MEANS_BIT && known > 0) noise[0] = before[0] ^ (uint8_t)(1u << fault->bit);
  struct event event = {
      .kind = EVENT_FAULT, .held = (int32_t)known, .address = (uintptr_t)to, .answer = (uintptr_t)before};
  stray_tell(order, event);
  event = (struct event){.kind = EVENT_STORED, .address = (uintptr_t)to};
  if (fault->means == MEANS_KERNEL) {
    ssize_t got = pread(order->noise_file, to, fault->bytes, 0);
    event.error = got < 0 ? errno : got < (ssize_t)fault->bytes ? EFAULT : 0;
    if (pread(order->noise_file, noise, fault->bytes, 0) < 0) abort();
    event.changed = got > 0 && (known < got || memcmp(before, noise, (size_t)got) != 0);
  } else {
    store(fault, to, noise);
    event.changed = known < (ssize_t)fault->bytes || memcmp(before, noise, fault->bytes) != 0;
  }
  stray_tell(order, event);
}

__attribute__((visibility("default"))) void stray_now(const struct order *order) {
  volatile uint8_t local[64];
  local[0] = 0;
  switch (order->fault.kind) {
    case KIND_OVERRUN:
      stray_store(order, order->fault.source == OVERRUN_STACK ? (void *)(local + sizeof local)
                                                              : order->overruns[order->fault.source]);
      break;
    case KIND_STALE: stray_store(order, order->stales[order->fault.source]); break;
    case KIND_LEFT: break;
    default: stray_store(order, (void *)(uintptr_t)order->address);
  }
}

static void *at_once(void *order) {
  wait_for_program();
  stray_now(order);
  return NULL;
}

static void *late(void *argument) {
  const struct order *order = argument;
  char byte = 0;
  while (read(order->go[0], &byte, 1) < 0 && errno == EINTR) {}
  wait_for_program();
  stray_now(order);
  pid_t self = gettid();
  if (write(order->gone[1], &self, sizeof self) < 0) abort();
  for (;;) pause(); /* it stays, as a library's threads do */
}

/* A thread of this library's own; the program knows nothing of it. */
static void on_thread(const struct order *order, void *(*start)(void *), int wait) {
  pthread_t thread;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 << 10);
  int rc = pthread_create(&thread, &attributes, start, (void *)(uintptr_t)order);
  pthread_attr_destroy(&attributes);
  if (rc != 0) abort();
  if (wait) pthread_join(thread, NULL);
  else pthread_detach(thread);
}

void stray_moment(const struct order *order, enum moment now) {
  if (!order->active || order->fault.moment != now) return;
  switch (now) {
    case MOMENT_THREAD: on_thread(order, at_once, 1); break;
    case MOMENT_AFTER: on_thread(order, late, 0); break;
    default: stray_now(order);
  }
}

void stray_pause(const struct order *order) {
  if (!order->pause) return;
  struct event event = {.kind = EVENT_CALLEE, .address = (uintptr_t)&event};
  stray_tell(order, event);
  kill(getpid(), SIGSTOP);
}
