/*
 * heap.h: a general-purpose allocator inside one contiguous range that grows at its end. A VM needs it if all its
 * objects shall lie in a space of an image.
 *
 * Everything it knows of itself lies in the range too, behind the same key as the objects: foreign code can spoil
 * neither. One heap serves one thread. Blocks of up to 2 KiB come from slabs of equal blocks, larger ones are runs of
 * pages; free runs are joined with their neighbours and kept by length. Why not a well-known allocator: mimalloc,
 * dlmalloc and their like keep their bookkeeping on key 0, in globals, thread-local storage and the C library's heap.
 * They take more memory from the operating system when they like.
 */
#ifndef TURNKEY_LUA_HEAP_H
#define TURNKEY_LUA_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap;

#define HEAP_PAGE 4096u
#define HEAP_MAX_PAGES (1u << 26) /* of a range: 256 GiB */

/* Makes at least `bytes` of the range usable, counted from its start; 0 or a negative errno. What is new reads as zero
 * or not: nothing relies on it. */
typedef int (*heap_grow)(void *context, size_t bytes);

/*
 * A heap in [base, base + committed), which may grow to `reserved`; all page-aligned. NULL if its own tables do not fit
 * into `committed` (heap_minimum says what is needed).
 */
struct heap *heap_create(void *base, size_t committed, size_t reserved, heap_grow grow, void *context);
size_t heap_minimum(size_t reserved);

/* Blocks are aligned to 16 bytes. NULL when there is no room left. */
void *heap_allocate(struct heap *heap, size_t bytes);
/* As realloc: the block may move; NULL leaves it as it was. block NULL allocates. */
void *heap_reallocate(struct heap *heap, void *block, size_t bytes);
void heap_free(struct heap *heap, void *block);
/* What the block really holds. */
size_t heap_block_bytes(const struct heap *heap, const void *block);

struct heap_statistics {
  uint64_t blocks, bytes; /* live, in the sizes really handed out */
  uint64_t peak_bytes;
  uint64_t allocations, grows; /* ever */
  uint64_t free_bytes;         /* in free runs */
  uint64_t committed_bytes;
};
void heap_statistics(const struct heap *heap, struct heap_statistics *out);

/*
 * Walks the whole heap. Every page belongs to one run. Every free block belongs to one slab and is listed once. Every
 * list is linked both ways. All sums agree. NULL if the heap is sound, else what is wrong. Reads nothing outside the
 * range, however spoiled the heap is.
 */
const char *heap_check(const struct heap *heap);

#endif
