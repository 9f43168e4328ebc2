/*
 * opens.c PATH: the shared library by dlopen, as a plug-in of a VM would bring it. Its thread-local words have a fixed
 * place in every thread (initial-exec), which the loader must find room for in a running process, in threads that are
 * there already, and after other libraries; and it cannot be unloaded again.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"

static sem_t opened;
static int (*init)(void), (*attach)(void);
static int (*thunk)(const void *, size_t, unsigned, void *, void **);
static bool (*take)(void *);
static int (*guarded)(int *);
static char fault[1024]; /* struct trap_fault */

static int wild(int *pointer) { return ++*pointer; }

static void find(void *library, const char *name, void *out) {
  void *symbol = dlsym(library, name);
  EXPECT(symbol != NULL);
  memcpy(out, &symbol, sizeof symbol);
}

static void guarded_calls_work(void) {
  int value = 41;
  EXPECT(guarded(&value) == 42 && !take(fault));
  EXPECT(guarded(NULL) == 0 && take(fault));
  EXPECT(guarded(&value) == 43 && !take(fault));
}

static void *older(void *nothing) {
  (void)nothing;
  while (sem_wait(&opened) != 0) {}
  guarded_calls_work();
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  pthread_t thread;
  EXPECT(sem_init(&opened, 0, 0) == 0 && pthread_create(&thread, NULL, older, NULL) == 0);
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) fprintf(stderr, "%s\n", dlerror());
  EXPECT(library != NULL);
  if (library == NULL) return expect_result("the library by dlopen");
  find(library, "trap_init", &init);
  find(library, "trap_attach", &attach);
  find(library, "trap_thunk", &thunk);
  find(library, "trap_take_fault", &take);
  EXPECT(dlsym(library, "trap_arena") == NULL && dlsym(library, "trap_gate_slow") == NULL &&
         dlsym(library, "trap_slot_find") == NULL);
  EXPECT(init() == 0 && attach() == 0);
  void *code = NULL;
  EXPECT(thunk((const void *)(uintptr_t)wild, 0, 0, NULL, &code) == 0);
  memcpy(&guarded, &code, sizeof code);
  guarded_calls_work();
  EXPECT(sem_post(&opened) == 0 && pthread_join(thread, NULL) == 0);
  EXPECT(dlclose(library) == 0);
  guarded_calls_work(); /* it stays: handlers and thunks point into it */
  return expect_result("the library by dlopen");
}
