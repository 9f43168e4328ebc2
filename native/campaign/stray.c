/*
 * stray.c: the foreign code of a campaign's program. It does honest work with zlib, SQLite and qsort, and makes the one
 * stray store that the order asks for. Links to nothing of Turnkey's.
 */
#define _GNU_SOURCE
#include "stray.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
API stray_job_function stray_job;
API stray_now_function stray_now;

static uint64_t jobs_done; /* a library's ordinary global */

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void tell(const struct order *order, struct event event) {
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

static void store_at(const struct order *order, void *to) {
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
  struct event event = {.kind = EVENT_FAULT, .address = (uintptr_t)to};
  tell(order, event);
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
  tell(order, event);
}

/* Now: at the address drawn, past the end of a buffer, or through a pointer kept from an earlier callout. */
void stray_now(const struct order *order) {
  volatile uint8_t local[64];
  local[0] = 0;
  switch (order->fault.stratum) {
    case STRATUM_OVERRUN:
      store_at(order, order->fault.source == OVERRUN_STACK ? (void *)(local + sizeof local)
                                                           : order->overruns[order->fault.source]);
      break;
    case STRATUM_STALE: store_at(order, order->stales[order->fault.source]); break;
    case STRATUM_LEFT: break;
    default: store_at(order, (void *)(uintptr_t)order->address);
  }
}

static void *at_once(void *order) {
  stray_now(order);
  return NULL;
}

static void *late(void *argument) {
  const struct order *order = argument;
  char byte = 0;
  while (read(order->go[0], &byte, 1) < 0 && errno == EINTR) {}
  stray_now(order);
  if (write(order->gone[1], &byte, 1) < 0) abort();
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

static void moment(const struct order *order, int stray, enum moment now) {
  if (!stray || !order->active || order->fault.moment != now) return;
  switch (now) {
    case MOMENT_THREAD: on_thread(order, at_once, 1); break;
    case MOMENT_AFTER: on_thread(order, late, 0); break;
    default: stray_now(order);
  }
}

static void look(const struct order *order) {
  struct event event = {.kind = EVENT_CALLEE, .address = (uintptr_t)&event};
  tell(order, event);
  kill(getpid(), SIGSTOP);
}

static uint64_t hash(uint64_t so_far, const void *bytes, size_t count) {
  for (size_t at = 0; at < count; at++) so_far = (so_far ^ ((const uint8_t *)bytes)[at]) * 0x100000001b3u;
  return so_far;
}

/* Changes one thing of what is left behind for the program. */
static void spoil(const struct fault *fault, struct left *left, char *text) {
  switch (fault->source) {
    case LEFT_POINTER: {
      uint64_t value = (uintptr_t)left->text;
      if (fault->means == MEANS_BIT) value ^= (uint64_t)1 << (fault->noise & 63);
      else if (fault->means == MEANS_ZERO) value = 0;
      else if (fault->means == MEANS_POINTER) value = (value & ~(uint64_t)0xfffff) + (fault->noise & 0xfffff);
      else value = fault->noise;
      left->text = (const char *)(uintptr_t)value;
      break;
    }
    case LEFT_LENGTH:
      left->length = fault->means == MEANS_BIT ? left->length ^ (uint64_t)1 << (fault->noise & 63)
                                               : fault->noise >> (fault->noise & 63);
      break;
    case LEFT_STRING: /* no terminator within the bytes that belong to it */ memset(text, 'x', 64); break;
    case LEFT_WORD: left->word ^= fault->noise; break;
    default: break;
  }
}

uint64_t stray_job(const struct order *order, const char *text, int stray, int *rc, struct left *left) {
  const struct tools *tools = order->tools;
  uint64_t result = 0xcbf29ce484222325u;
  uint8_t packed[PACKED_BYTES];
  *rc = 0;
  moment(order, stray, MOMENT_BEFORE);
  moment(order, stray, MOMENT_AFTER);

  z_stream *packer = tools->packer;
  int error = tools->deflate_reset(packer);
  packer->next_in = (Bytef *)(uintptr_t)text, packer->avail_in = TEXT_BYTES / 2;
  packer->next_out = packed, packer->avail_out = sizeof packed;
  if (error == Z_OK) error = tools->deflate(packer, Z_NO_FLUSH);
  if (order->pause) look(order);
  moment(order, stray, MOMENT_MIDDLE);
  moment(order, stray, MOMENT_THREAD);
  packer->avail_in += TEXT_BYTES / 2;
  if (error == Z_OK) error = tools->deflate(packer, Z_FINISH) == Z_STREAM_END ? Z_OK : Z_STREAM_ERROR;
  z_stream *unpacker = tools->unpacker;
  if (error == Z_OK) error = tools->inflate_reset(unpacker);
  unpacker->next_in = packed, unpacker->avail_in = (uInt)(sizeof packed - packer->avail_out);
  unpacker->next_out = (Bytef *)order->lent, unpacker->avail_out = TEXT_BYTES;
  if (error == Z_OK) error = tools->inflate(unpacker, Z_FINISH) == Z_STREAM_END ? Z_OK : Z_DATA_ERROR;
  result = hash(result, order->lent, TEXT_BYTES);

  int database = tools->bind(tools->update, 1, 0);
  if (database == SQLITE_OK) database = tools->step(tools->update);
  if (tools->reset(tools->update) != SQLITE_OK || database != SQLITE_DONE) error = SQLITE_ERROR + 100;
  tools->bind(tools->sum, 1, 1);
  if (tools->step(tools->sum) != SQLITE_ROW) error = SQLITE_ERROR + 100;
  sqlite3_int64 sum = tools->column(tools->sum, 0);
  tools->reset(tools->sum);
  result = hash(result, &sum, sizeof sum);

  uint64_t values[VALUES];
  for (int at = 0; at < VALUES; at++) values[at] = hash(0xcbf29ce484222325u, &at, sizeof at);
  if (stray && order->active && order->fault.stratum == STRATUM_LEFT && order->fault.source == LEFT_ARGUMENT) {
    uint64_t wild = order->fault.means == MEANS_ZERO ? 0 : order->fault.noise >> (order->fault.bit + 16);
    tools->compare((const void *)(uintptr_t)wild, &values[0]);
  }
  tools->sort(values, VALUES, sizeof *values, tools->compare);
  result = hash(result, values, sizeof values);

  left->word = result;
  char *name = (char *)(uintptr_t)left->text;
  memcpy(name, "what a callee leaves behind", 28);
  left->length = 27;
  if (stray && order->active && order->fault.stratum == STRATUM_LEFT) spoil(&order->fault, left, name);
  jobs_done++;
  moment(order, stray, MOMENT_END);
  *rc = error;
  return result;
}
