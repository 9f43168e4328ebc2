/*
 * heap.h: an allocator for adapters whose VM lets its own be replaced. A heap is either *closed*, in a space of the
 * image, or *open*, on key 0, for what is meant for foreign writing. For both, what the allocator knows of its blocks
 * lies in closed memory. So an overrun in an open heap reaches the neighbouring objects and nothing else.
 */
#ifndef TURNKEY_HOST_HEAP_H
#define TURNKEY_HOST_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host_heap;
struct host_heap_bounds { /* of the address range that a heap gives out of */
  uintptr_t low;
  size_t bytes;
};
static inline bool host_heap_holds(const struct host_heap_bounds *bounds, const void *address) {
  return (uintptr_t)address - bounds->low < bounds->bytes;
}

/* Makes a heap that gives memory of space `space`, or open memory if `open`; its records lie in `space` either way. Up
 * to 4 heaps. Returns 0 or a negative errno. */
int host_heap_create(unsigned space, bool open, struct host_heap **out, struct host_heap_bounds *bounds);
/* As malloc(3) and the like; 16-byte aligned; 0 bytes are 1. Any thread may call them. */
void *host_heap_malloc(struct host_heap *heap, size_t bytes);
void *host_heap_calloc(struct host_heap *heap, size_t count, size_t bytes);
void *host_heap_realloc(struct host_heap *heap, void *address, size_t bytes);
void host_heap_free(struct host_heap *heap, void *address);
/* The object that contains `address`, live or not. False if there is none. */
bool host_heap_object(struct host_heap *heap, uintptr_t address, uintptr_t *start, size_t *bytes);

#endif
