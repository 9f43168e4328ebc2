/*
 * heap_ranges.c: the program's heap as an image of adopted ranges (pkeys.h, "memory that the VM maps itself").
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

static struct pkeys_image *image;

int host_image_start(void) {
  const struct host_adapter *adapter = host_state.adapter;
  if (adapter->space_count == 0) return 0;
  int rc = pkeys_image_create(adapter->spaces, adapter->space_count, adapter->key_mode, &image, NULL);
  if (rc == 0) rc = pkeys_image_set_mechanism(image, host_state.mechanism);
  if (rc == 0) atomic_store(&host_state.has_image, true);
  return rc;
}

struct host_heap_size host_image_now(void) {
  struct host_heap_size size = {0};
  struct pkeys_range range;
  for (uintptr_t at = 0; pkeys_range_next(at, &range); at = range.address + range.bytes) {
    size.ranges++;
    size.bytes += range.bytes;
  }
  return size;
}

/* No lock: it would have to be held over forks and signals. Two threads that look at once may mix their ranges. */
static _Atomic uint64_t largest_bytes, largest_ranges;
static _Atomic uint64_t adoptions, look_at = 1;

struct host_heap_size host_image_largest(void) {
  struct host_heap_size now = host_image_now();
  uint64_t known = atomic_load(&largest_bytes);
  while (now.bytes >= known && !atomic_compare_exchange_weak(&largest_bytes, &known, now.bytes)) {}
  if (now.bytes >= known) atomic_store(&largest_ranges, now.ranges);
  return (struct host_heap_size){.ranges = atomic_load(&largest_ranges), .bytes = atomic_load(&largest_bytes)};
}

void host_image_in_child(void) {
  atomic_store(&largest_bytes, 0);
  atomic_store(&largest_ranges, 0);
}

/* Looked at whenever there were an eighth more adoptions: some hundred times in the longest life. */
static void note_adoption(void) {
  uint64_t count = atomic_fetch_add_explicit(&adoptions, 1, memory_order_relaxed) + 1;
  uint64_t wanted = atomic_load_explicit(&look_at, memory_order_relaxed);
  if (count >= wanted && atomic_compare_exchange_strong(&look_at, &wanted, count + 1 + count / 8)) host_image_largest();
}

int host_adopt(unsigned space, void *address, size_t bytes, int protection) {
  if (!atomic_load(&host_state.has_image)) return 0;
  int rc = pkeys_space_adopt(image, space, address, bytes, protection);
  if (rc < 0) {
    host_count(HOST_NOT_ADOPTED);
    host_say_once("memory of the heap could not be adopted (%s): it is not protected", strerror(-rc));
  } else {
    note_adoption();
  }
  return rc;
}

void *host_map(unsigned space, size_t bytes) {
  bool adopts = atomic_load(&host_state.has_image);
  const int access = PROT_READ | PROT_WRITE;
  void *address = host_next()->mmap(NULL, bytes, adopts ? PROT_NONE : access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) return NULL;
  if (adopts && host_adopt(space, address, bytes, access) < 0) host_next()->mprotect(address, bytes, access);
  return address;
}

void host_unmap(void *address, size_t bytes) {
  pkeys_range_forget(address, bytes);
  host_next()->munmap(address, bytes);
}

bool host_adopted(const void *address, size_t bytes) {
  struct pkeys_range range;
  return pkeys_range_next((uintptr_t)address, &range) && range.address < (uintptr_t)address + bytes;
}
