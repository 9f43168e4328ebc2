/*
 * conformance_threads.c: each thread has rights of its own: what it starts with, and many at once. pkeys(7).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conformance.h"

static void *report_pkru(void *at) {
  *(uint32_t *)at = rdpkru();
  return NULL;
}

void inheritance(int key) {
  set_rights(key, RIGHT_NO_WRITE);
  uint32_t mine = rdpkru(), theirs = 0;
  pthread_t thread;
  pthread_create(&thread, NULL, report_pkru, &theirs);
  pthread_join(thread, NULL);
  check(theirs == mine, "a new thread starts with its maker's PKRU", "0x%08x, expected 0x%08x", theirs, mine);
  pid_t pid = fork();
  if (pid == 0) _exit(rdpkru() == mine ? 0 : 1);
  int status = 0;
  waitpid(pid, &status, 0);
  check(status == 0, "a forked process starts with its maker's PKRU", "it differs");
  set_rights(key, 0);
}

struct older {
  pthread_barrier_t barrier;
  volatile uint8_t *page;
  struct fault fault;
  uint32_t pkru;
};

static void *older_thread(void *argument) {
  struct older *o = argument;
  pthread_barrier_wait(&o->barrier); /* the thread exists, the key does not */
  pthread_barrier_wait(&o->barrier); /* the page is tagged */
  o->pkru = rdpkru();
  o->fault = try_access(o->page, false);
  return NULL;
}

int thread_older_than_key(void) {
  static struct older o;
  pthread_t thread;
  pthread_barrier_init(&o.barrier, NULL, 2);
  pthread_create(&thread, NULL, older_thread, &o);
  pthread_barrier_wait(&o.barrier);
  int key = key_alloc();
  o.page = map_pages(1);
  key_tag((void *)o.page, PAGE, PROT_READ | PROT_WRITE, key);
  pthread_barrier_wait(&o.barrier);
  pthread_join(thread, NULL);
  check_fault("a thread older than the key may not read what it tags", o.fault, CODE_PKUERR, key, o.page);
  check(!try_access(o.page, true).raised, "the thread that allocated the key may", "the write faulted");
  return key;
}

/* All threads at once: random pages, random rights, every outcome predicted. */
enum { STRESS_THREADS = 2, STRESS_ROUNDS = 3000 };
struct stress {
  int keys[2];
  volatile uint8_t *pages[2];
  uint32_t seed;
  int wrong;
  int faults;
};

static void *stress_thread(void *argument) {
  struct stress *s = argument;
  uint32_t x = s->seed;
  for (int i = 0; i < STRESS_ROUNDS; i++) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    uint32_t rights = x % 3, which = (x >> 8) & 1, at = (x >> 9) & 4095;
    bool write_it = (x >> 22) & 1;
    set_rights(s->keys[which], rights);
    struct fault f = try_access(s->pages[which] + at, write_it);
    bool expected = rights == RIGHT_NO_ACCESS || (rights == RIGHT_NO_WRITE && write_it);
    if (f.raised != expected || (expected && (f.code != CODE_PKUERR || f.key != s->keys[which]))) s->wrong++;
    s->faults += f.raised;
    set_rights(s->keys[which], 0);
  }
  return NULL;
}

void stress(int key_a, int key_b) {
  volatile uint8_t *pages[2] = {map_pages(1), map_pages(1)};
  key_tag((void *)pages[0], PAGE, PROT_READ | PROT_WRITE, key_a);
  key_tag((void *)pages[1], PAGE, PROT_READ | PROT_WRITE, key_b);
  static struct stress s[STRESS_THREADS];
  pthread_t threads[STRESS_THREADS];
  int wrong = 0, faults = 0;
  for (int i = 0; i < STRESS_THREADS; i++) {
    s[i] = (struct stress){{key_a, key_b}, {pages[0], pages[1]}, 12345u + 777u * (uint32_t)i, 0, 0};
    pthread_create(&threads[i], NULL, stress_thread, &s[i]);
  }
  for (int i = 0; i < STRESS_THREADS; i++) {
    pthread_join(threads[i], NULL);
    wrong += s[i].wrong;
    faults += s[i].faults;
  }
  check(wrong == 0 && faults > STRESS_ROUNDS / 2, "threads at once, random pages and rights: every access as predicted",
        "%d of %d wrong, %d faults", wrong, STRESS_THREADS * STRESS_ROUNDS, faults);
}
