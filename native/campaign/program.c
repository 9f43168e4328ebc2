/*
 * program.c: see program.h. The program trusts its memory, as programs do: it follows pointers of its image and tables
 * without a check. What becomes of it after a fault is what a campaign counts.
 */
#define _GNU_SOURCE
#include "state.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "asleep.h"
#include "call.h"
#include "spur.h"

#define HASH_START 0xcbf29ce484222325u
#define CHURN 24

static bool called_back;

static uint64_t hash(uint64_t so_far, const void *bytes, size_t count) {
  for (size_t at = 0; at < count; at++) so_far = (so_far ^ ((const uint8_t *)bytes)[at]) * 0x100000001b3u;
  return so_far;
}

static void tell(struct event event) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  event.ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
  if (write(orders->events, &event, sizeof event) < 0) _exit(124);
}

/* Takes a failed callout's record, if there is one. */
static bool failed(int kind) {
  struct trap_fault fault;
  if (!guarded || !trap_take_fault(&fault)) return false;
  tell((struct event){.kind = kind,
                      .unit = tables->unit,
                      .signal = fault.signal,
                      .code = fault.code,
                      .pkey = fault.pkey,
                      .held = (int)fault.mechanism_held,
                      .address = fault.address,
                      .pc = fault.pc,
                      .error = fault.signal == 0 ? fault.code : 0});
  return true;
}

static void library_error(int error) {
  if (error != 0) tell((struct event){.kind = EVENT_CAUGHT, .unit = tables->unit, .error = error});
}

/* ---- what the program reads of a callee's ---------------------------------------------------------------------- */

/* Copies what a callee points to; guarded, a wild pointer is an error told. */
static bool take(void *to, const void *from, size_t bytes) {
  if (!guarded) {
    memcpy(to, from, bytes);
    return true;
  }
  struct trap_fault fault;
  if (trap_copy(to, from, bytes, &fault) == 0) return true;
  tell((struct event){.kind = EVENT_CAUGHT,
                      .unit = -1,
                      .signal = fault.signal,
                      .code = fault.code,
                      .pkey = fault.pkey,
                      .address = fault.address,
                      .pc = fault.pc});
  return false;
}

/* Hashes what the callee left behind, as a program reads it: a string up to its end, bytes up to their length. */
static uint64_t decode(const struct left *where) {
  struct left left;
  char name[256];
  if (!take(&left, where, sizeof left)) return 0;
  if (guarded) {
    bool ends = false;
    struct trap_fault fault;
    intptr_t units = trap_copy_string(name, left.text, sizeof name - 1, 1, &ends, &fault);
    if (units < 0 || !ends || left.length > sizeof name) {
      tell((struct event){.kind = EVENT_CAUGHT, .unit = -1, .error = EFAULT, .address = (uintptr_t)left.text});
      return 0;
    }
    name[units] = 0;
  } else {
    strcpy(name, left.text);
  }
  char *copy = malloc(left.length + 1);
  if (copy == NULL) {
    library_error(ENOMEM);
    return 0;
  }
  uint64_t result = hash(HASH_START, name, strlen(name));
  if (take(copy, left.text, left.length)) result = hash(result, copy, left.length);
  free(copy);
  return hash(result, &left.word, sizeof left.word);
}

int program_compare(const void *a, const void *b) {
  if (!called_back && orders->active && orders->fault.moment == MOMENT_CALLBACK) {
    called_back = true;
    tables->now(orders); /* a callout nested in the callback */
    failed(EVENT_CAUGHT);
  }
  uint64_t left, right;
  if (orders->fault.stratum == STRATUM_LEFT) {
    if (!take(&left, a, sizeof left) || !take(&right, b, sizeof right)) return 0;
  } else {
    memcpy(&left, a, sizeof left);
    memcpy(&right, b, sizeof right);
  }
  return left < right ? -1 : left > right;
}

/* ---- fixed work -------------------------------------------------------------------------------------------------- */

/* A collector's work: every object of every space, and the headers of all that they point to. */
static uint64_t collect(void) {
  uint64_t sum = 0;
  for (int i = 0; i < IMAGE_STRATA; i++) {
    const struct pkeys_space *space = &program.spaces[i];
    const uint64_t *at = (const uint64_t *)space->address;
    const uint64_t *end = (const uint64_t *)(space->address + space->bytes);
    while (at < end) {
      uint64_t header = *at, slots = header >> 56;
      if (slots == SPUR_SLOTS_OVERFLOW) slots = header & 0xffffffffffffffu, header = *++at;
      if (slots == 0) slots = 1;
      /* What lies above a context's stack pointer is nothing. */
      bool pointers = spur_format_of(header) <= SPUR_EPHEMERON && spur_class_of(header) != SPUR_CLASS_FREE &&
                      spur_class_of(header) != SPUR_CLASS_CONTEXT;
      for (uint64_t slot = 1; slot <= slots; slot++) {
        uint64_t value = at[slot];
        sum = sum * 31 + value;
        if (pointers && value != 0 && (value & 7) == 0) sum += *(const uint64_t *)(uintptr_t)value;
      }
      sum = sum * 31 + header;
      at += slots + 1;
    }
  }
  return sum;
}

static uint64_t churn(uint64_t seed) {
  char *blocks[CHURN];
  uint64_t result = HASH_START;
  for (unsigned i = 0; i < CHURN; i++) {
    size_t bytes = 16 + draw_word(seed, i, 0) % (i % 6 == 5 ? 6000 : 300);
    blocks[i] = malloc(bytes);
    if (blocks[i] == NULL) {
      library_error(ENOMEM);
      return 0;
    }
    memset(blocks[i], (int)i, bytes);
    if (i % 3 == 2) free(blocks[i - 1]), blocks[i - 1] = NULL;
  }
  for (unsigned i = 0; i < CHURN; i++) {
    if (blocks[i] != NULL) result = hash(result, blocks[i], 16);
    free(blocks[i]);
  }
  return result;
}

/* One callout into the libraries, with a text out of the image. */
static uint64_t callout(int unit, int stray) {
  char *text = malloc(TEXT_BYTES);
  if (text == NULL) {
    library_error(ENOMEM);
    return 0;
  }
  memcpy(text, (const char *)program.spaces[STRATUM_OLD].address + 65536 * (unit + 1), TEXT_BYTES);
  tables->left.text = tables->left_text;
  int error = 0;
  uint64_t result = tables->job(orders, text, stray, &error, &tables->left);
  if (failed(stray ? EVENT_RETURN : EVENT_CAUGHT)) {
    free(text);
    return 0;
  }
  library_error(error);
  free(text);
  if (stray) tell((struct event){.kind = EVENT_RETURN, .answer = result});
  return result;
}

static uint64_t unit_of_work(int unit) {
  uint64_t result = churn((uint64_t)unit);
  char line[64];
  snprintf(line, sizeof line, "unit %d of %s, %.3f\n", unit, "work", unit / 3.0);
  fputs(line, tables->log);
  fflush(tables->log);
  result = hash(result, line, strlen(line));
  if (unit == UNITS - 1) {
    uint64_t seen = collect();
    result = hash(result, &seen, sizeof seen);
    struct trap_fault fault = {0};
    char message[64];
    void *library = guarded ? trap_dlopen("libm.so.6", RTLD_NOW, NULL, &fault, message, sizeof message)
                            : dlopen("libm.so.6", RTLD_NOW);
    if (library == NULL) library_error(ELIBACC);
    else if (guarded) trap_dlclose(library, NULL, &fault, message, sizeof message);
    else dlclose(library);
  }
  uint64_t called = callout(unit, 0);
  return hash(result, &called, sizeof called);
}

static void *other_thread(void *ignored) {
  (void)ignored;
  trap_attach(); /* under every mechanism, so that memory is laid out alike */
  tell((struct event){.kind = EVENT_THREAD, .address = (uintptr_t)&ignored});
  tables->other = gettid();
  sem_post(&tables->done);
  sem_wait(&tables->work);
  wait_for_program(); /* the two race with nothing */
  tables->answer = unit_of_work(tables->unit);
  sem_post(&tables->done);
  return NULL;
}

_Noreturn void program_trial(bool is_open) {
  pkeys_forked();
  if (is_open) tables->job = job_open, tables->now = now_open;
  pthread_t other;
  if (pthread_create(&other, NULL, other_thread, NULL) != 0) _exit(124);
  sem_wait(&tables->done);
  wait_for_sleep(tables->other);

  tables->unit = -1;
  uint64_t answer = callout(0, 1);
  if (orders->active && orders->fault.moment == MOMENT_AFTER && answer != 0) {
    char byte = 0;
    if (write(orders->go[1], &byte, 1) != 1) _exit(124);
    pid_t late = 0;
    while (read(orders->gone[0], &late, sizeof late) < 0 && errno == EINTR) {}
    wait_for_pause(late);
  }
  if (answer != 0) {
    uint64_t left = decode(&tables->left);
    answer = hash(HASH_START, &left, sizeof left);
  }
  tell((struct event){.kind = EVENT_UNIT, .unit = -1, .answer = answer});
  answer = HASH_START;
  for (int unit = 0; unit < UNITS; unit++) {
    tables->unit = unit;
    if (unit == 1) {
      sem_post(&tables->work);
      sem_wait(&tables->done);
      /* Its end is part of its work. pthread_join alone waits for nothing where the thread's number is damaged. */
      wait_for_end(tables->other);
      pthread_join(other, NULL);
    } else {
      tables->answer = unit_of_work(unit);
    }
    answer = hash(answer, &tables->answer, sizeof answer);
    tell((struct event){.kind = EVENT_UNIT, .unit = unit, .answer = answer});
  }
  tell((struct event){.kind = EVENT_DONE, .unit = UNITS, .answer = answer});
  _exit(0);
}
