/* A page that cannot be filled, and a sleep that only a signal ends: mmap(2), memfd_create(2), pause(2). */
#define _GNU_SOURCE
#include "foreign.h"

#include <sys/mman.h>
#include <unistd.h>

void foreign_bus(void) {
  int file = memfd_create("turnkey-bus", 0);
  char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (page == MAP_FAILED) return;
  *(volatile char *)page = 1; /* the file has no bytes: the page cannot be filled */
}

void foreign_sleep_forever(void) {
  for (;;) pause();
}
