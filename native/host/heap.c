/*
 * heap.c: the allocator of heap.h. One reserved address range per heap, given out in blocks of 64 KiB: a block holds
 * objects of one size, up to 8 KiB, found by a bitmap; larger objects are runs of blocks. Freed runs of 1 MiB and more
 * give their pages back to the kernel.
 *
 * The records are a second range, always closed. They are checked on the way in. An address that was never given out,
 * or was given back already, ends the process with a message, as in the C library's malloc.
 */
#define _GNU_SOURCE
#include "heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#define BLOCK ((size_t)64 << 10)
#define UNIT 16
#define SMALL_MOST ((size_t)8 << 10)
#define WORDS (BLOCK / UNIT / 64)
#define CLASSES 88
#define BINS 24
#define GROWTH 16                           /* blocks that are opened at once, at least */
#define DISCARD (((size_t)1 << 20) / BLOCK) /* blocks of a run whose pages go back to the kernel */

enum state { STATE_UNUSED, STATE_FREE, STATE_SMALL, STATE_LARGE };

struct block {
  uint32_t state;
  uint32_t run;            /* blocks in the run: kept in its first block, and of a free run in its last one too */
  uint32_t next, previous; /* in a list: free runs of a bin, or blocks of a class that have room; index + 1 */
  uint32_t object_bytes, count, used, hint;
  uint64_t is_free[WORDS];
};

struct host_heap {
  char *base;
  size_t blocks;         /* in the reservation */
  uint32_t top, opened;  /* blocks given out so far, and blocks that are accessible */
  uint32_t records_open; /* blocks whose records are accessible */
  unsigned space;
  bool open;
  unsigned lock;
  uint32_t room[CLASSES], bins[BINS]; /* index + 1 */
  struct block block[];
};

/* On key 0: a lock for which threads contend must not be closed by another thread's callout. */
static pthread_mutex_t locks[4] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
                                   PTHREAD_MUTEX_INITIALIZER};
static unsigned heaps;
__attribute__((constructor)) static void locks_over_fork(void) {
  for (size_t i = 0; i < sizeof locks / sizeof *locks; i++) host_hold_over_fork(&locks[i]);
}

/* ---- memory from the kernel ---------------------------------------------------------------------------------- */

static void *reserve(size_t bytes) {
  void *address = host_next()->mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return address == MAP_FAILED ? NULL : address;
}

static int open_pages(bool open, unsigned space, void *address, size_t bytes) {
  if (!open && atomic_load(&host_state.has_image) && host_adopt(space, address, bytes, PROT_READ | PROT_WRITE) == 0)
    return 0;
  return host_next()->mprotect(address, bytes, PROT_READ | PROT_WRITE) == 0 ? 0 : -ENOMEM;
}

/* An address limit (ulimit -v) may allow less than is best. */
int host_heap_create(unsigned space, bool open, struct host_heap **out, struct host_heap_bounds *bounds) {
  if (heaps == sizeof locks / sizeof *locks) return -EMFILE;
  for (size_t bytes = (size_t)256 << 30; bytes >= (size_t)1 << 28; bytes /= 4) {
    size_t blocks = bytes / BLOCK, records = sizeof(struct host_heap) + blocks * sizeof(struct block);
    records = (records + PKEYS_PAGE - 1) & ~(size_t)(PKEYS_PAGE - 1);
    char *memory = reserve(bytes + BLOCK), *table = reserve(records);
    if (memory != NULL && table != NULL) {
      int rc = open_pages(false, space, table, PKEYS_PAGE);
      if (rc < 0) return rc;
      struct host_heap *heap = (struct host_heap *)table;
      heap->base = (char *)(((uintptr_t)memory + BLOCK - 1) & ~(uintptr_t)(BLOCK - 1));
      heap->blocks = blocks;
      heap->records_open = (uint32_t)((PKEYS_PAGE - sizeof *heap) / sizeof(struct block));
      heap->space = space;
      heap->open = open;
      heap->lock = heaps++;
      *bounds = (struct host_heap_bounds){(uintptr_t)heap->base, bytes};
      *out = heap;
      return 0;
    }
    if (memory != NULL) host_next()->munmap(memory, bytes + BLOCK);
    if (table != NULL) host_next()->munmap(table, records);
  }
  return -ENOMEM;
}

/* Makes blocks up to `wanted` accessible, and their records. */
static bool open_up_to(struct host_heap *heap, size_t wanted) {
  if (wanted > heap->blocks) return false;
  if (wanted > heap->records_open) {
    size_t aim = wanted + 256 < heap->blocks ? wanted + 256 : heap->blocks;
    uintptr_t start = (uintptr_t)&heap->block[heap->records_open], end = (uintptr_t)&heap->block[aim];
    start = (start + PKEYS_PAGE - 1) & ~(uintptr_t)(PKEYS_PAGE - 1);
    end = (end + PKEYS_PAGE - 1) & ~(uintptr_t)(PKEYS_PAGE - 1);
    if (end > start && open_pages(false, heap->space, (void *)start, end - start) < 0) return false;
    heap->records_open = (uint32_t)((end - (uintptr_t)heap->block) / sizeof(struct block));
    if (heap->records_open > heap->blocks) heap->records_open = (uint32_t)heap->blocks;
  }
  if (wanted > heap->opened) {
    size_t aim = wanted > heap->opened + GROWTH ? wanted : heap->opened + GROWTH;
    if (aim > heap->blocks) aim = heap->blocks;
    if (open_pages(heap->open, heap->space, heap->base + heap->opened * BLOCK, (aim - heap->opened) * BLOCK) < 0)
      return false;
    heap->opened = (uint32_t)aim;
  }
  return true;
}

/* ---- lists and runs ------------------------------------------------------------------------------------------ */

static void push(struct host_heap *heap, uint32_t *list, uint32_t index) {
  struct block *block = &heap->block[index];
  block->previous = 0;
  block->next = *list;
  if (*list != 0) heap->block[*list - 1].previous = index + 1;
  *list = index + 1;
}
static void take_out(struct host_heap *heap, uint32_t *list, uint32_t index) {
  struct block *block = &heap->block[index];
  if (block->previous != 0) heap->block[block->previous - 1].next = block->next;
  else *list = block->next;
  if (block->next != 0) heap->block[block->next - 1].previous = block->previous;
}

static unsigned bin_of(uint32_t blocks) {
  unsigned bin = 31u - (unsigned)__builtin_clz(blocks);
  return bin < BINS ? bin : BINS - 1;
}
static void free_run(struct host_heap *heap, uint32_t index, uint32_t blocks) {
  heap->block[index].state = heap->block[index + blocks - 1].state = STATE_FREE;
  heap->block[index].run = heap->block[index + blocks - 1].run = blocks;
  push(heap, &heap->bins[bin_of(blocks)], index);
}
static void unfree_run(struct host_heap *heap, uint32_t index) {
  uint32_t blocks = heap->block[index].run;
  take_out(heap, &heap->bins[bin_of(blocks)], index);
  heap->block[index].state = heap->block[index + blocks - 1].state = STATE_UNUSED;
}

/* Gives a run back: with its free neighbours it is one. What lies at the top is not kept as a run. */
static void give_run(struct host_heap *heap, uint32_t index, uint32_t blocks) {
  if (blocks >= DISCARD) madvise(heap->base + index * BLOCK, blocks * BLOCK, MADV_DONTNEED);
  heap->block[index].state = STATE_UNUSED;
  if (index + blocks < heap->top && heap->block[index + blocks].state == STATE_FREE) {
    uint32_t after = heap->block[index + blocks].run;
    unfree_run(heap, index + blocks);
    blocks += after;
  }
  if (index > 0 && heap->block[index - 1].state == STATE_FREE) {
    uint32_t before = heap->block[index - 1].run;
    unfree_run(heap, index - before);
    index -= before;
    blocks += before;
  }
  free_run(heap, index, blocks);
}

/* A run of `blocks`, or false. *fresh: no byte of it was ever written. */
static bool take_run(struct host_heap *heap, uint32_t blocks, uint32_t *index, bool *fresh) {
  for (unsigned bin = bin_of(blocks); bin < BINS; bin++) {
    for (uint32_t i = heap->bins[bin]; i != 0; i = heap->block[i - 1].next) {
      uint32_t run = heap->block[i - 1].run;
      if (run < blocks) continue;
      *index = i - 1;
      unfree_run(heap, *index);
      if (run > blocks) free_run(heap, *index + blocks, run - blocks);
      *fresh = false;
      return true;
    }
  }
  if (!open_up_to(heap, (size_t)heap->top + blocks)) return false;
  *index = heap->top;
  *fresh = true;
  heap->top += blocks;
  return true;
}

/* ---- objects ------------------------------------------------------------------------------------------------- */

/* 16, 32, … 1,024 bytes; above that eight sizes for each doubling. */
static unsigned class_of(size_t bytes) {
  if (bytes <= 1024) return (unsigned)((bytes + UNIT - 1) / UNIT) - 1;
  unsigned doubling = 63u - (unsigned)__builtin_clzll(bytes - 1); /* 10, 11, 12 */
  return 64 + (doubling - 10) * 8 + (unsigned)((bytes - 1) >> (doubling - 3) & 7);
}
static size_t class_bytes(unsigned class) {
  if (class < 64) return (class + 1) * (size_t)UNIT;
  unsigned doubling = 10 + (class - 64) / 8;
  return ((size_t)1 << doubling) + ((class - 64) % 8 + 1) * ((size_t)1 << (doubling - 3));
}

static void *small_take(struct host_heap *heap, size_t bytes, bool *fresh) {
  unsigned class = class_of(bytes);
  if (heap->room[class] == 0) {
    uint32_t new;
    if (!take_run(heap, 1, &new, fresh)) return NULL;
    struct block *block = &heap->block[new];
    block->state = STATE_SMALL;
    block->run = 1;
    block->object_bytes = (uint32_t)class_bytes(class);
    block->count = (uint32_t)(BLOCK / block->object_bytes);
    block->used = block->hint = 0;
    for (uint32_t i = 0; i < WORDS; i++) {
      uint32_t first = i * 64;
      block->is_free[i] = first >= block->count        ? 0
                          : block->count - first >= 64 ? ~(uint64_t)0
                                                       : ((uint64_t)1 << (block->count - first)) - 1;
    }
    push(heap, &heap->room[class], new);
  }
  *fresh = false;
  uint32_t index = heap->room[class] - 1;
  struct block *block = &heap->block[index];
  uint32_t word = block->hint;
  while (block->is_free[word] == 0) word = (word + 1) % WORDS;
  block->hint = word;
  uint32_t object = word * 64 + (uint32_t)__builtin_ctzll(block->is_free[word]);
  block->is_free[word] &= block->is_free[word] - 1;
  if (++block->used == block->count) take_out(heap, &heap->room[class], index);
  return heap->base + index * BLOCK + (size_t)object * block->object_bytes;
}

static void *take(struct host_heap *heap, size_t bytes, bool *fresh) {
  if (bytes == 0) bytes = 1;
  if (bytes <= SMALL_MOST) return small_take(heap, bytes, fresh);
  if (bytes > heap->blocks * BLOCK) return NULL;
  uint32_t index, blocks = (uint32_t)((bytes + BLOCK - 1) / BLOCK);
  if (!take_run(heap, blocks, &index, fresh)) return NULL;
  heap->block[index].state = STATE_LARGE;
  heap->block[index].run = blocks;
  return heap->base + index * BLOCK;
}

static void wrong(const struct host_heap *heap, const void *address) __attribute__((noreturn));
static void wrong(const struct host_heap *heap, const void *address) {
  host_say("%p in the %s heap is given back, but was not given out, or is given back twice", address,
           heap->open ? "open" : "closed");
  abort();
}

static struct block *block_of(struct host_heap *heap, const void *address) {
  size_t index = (size_t)((const char *)address - heap->base) / BLOCK;
  struct block *block = index < heap->top ? &heap->block[index] : NULL;
  size_t offset = (size_t)((const char *)address - heap->base) % BLOCK;
  if (block == NULL || (block->state != STATE_SMALL && block->state != STATE_LARGE)) wrong(heap, address);
  if (block->state == STATE_LARGE ? offset != 0 : offset % block->object_bytes != 0) wrong(heap, address);
  return block;
}

static void give(struct host_heap *heap, void *address) {
  struct block *block = block_of(heap, address);
  uint32_t index = (uint32_t)(block - heap->block);
  if (block->state == STATE_LARGE) {
    give_run(heap, index, block->run);
    return;
  }
  uint32_t object = (uint32_t)((size_t)((char *)address - heap->base) % BLOCK) / block->object_bytes;
  uint64_t bit = (uint64_t)1 << object % 64;
  if (object >= block->count || block->is_free[object / 64] & bit) wrong(heap, address);
  block->is_free[object / 64] |= bit;
  uint32_t *room = &heap->room[class_of(block->object_bytes)];
  if (block->used-- == block->count) push(heap, room, index);
  /* One empty block stays for each size. */
  if (block->used == 0 && (block->next != 0 || block->previous != 0)) {
    take_out(heap, room, index);
    give_run(heap, index, 1);
  }
}

static size_t size_of(const struct block *block) {
  return block->state == STATE_LARGE ? block->run * BLOCK : block->object_bytes;
}

/* Changes a large object's size where it is: by its own tail, by a free run behind it, or at the top. */
static bool resize(struct host_heap *heap, struct block *block, size_t bytes) {
  if (block->state != STATE_LARGE || bytes <= SMALL_MOST || bytes > heap->blocks * BLOCK) return false;
  uint32_t index = (uint32_t)(block - heap->block), wanted = (uint32_t)((bytes + BLOCK - 1) / BLOCK);
  uint32_t run = block->run, end = index + run;
  if (wanted < run) {
    block->run = wanted;
    give_run(heap, index + wanted, run - wanted);
    return true;
  }
  if (wanted == run) return true;
  if (end == heap->top) {
    if (!open_up_to(heap, (size_t)index + wanted)) return false;
    heap->top = index + wanted;
  } else {
    if (heap->block[end].state != STATE_FREE || heap->block[end].run < wanted - run) return false;
    uint32_t behind = heap->block[end].run;
    unfree_run(heap, end);
    if (behind > wanted - run) free_run(heap, index + wanted, behind - (wanted - run));
  }
  block->run = wanted;
  return true;
}

/* ---- what others call ---------------------------------------------------------------------------------------- */

void *host_heap_malloc(struct host_heap *heap, size_t bytes) {
  bool fresh;
  pthread_mutex_lock(&locks[heap->lock]);
  void *address = take(heap, bytes, &fresh);
  pthread_mutex_unlock(&locks[heap->lock]);
  return address;
}

void *host_heap_calloc(struct host_heap *heap, size_t count, size_t bytes) {
  if (bytes != 0 && count > SIZE_MAX / bytes) return NULL;
  bool fresh;
  pthread_mutex_lock(&locks[heap->lock]);
  void *address = take(heap, count * bytes, &fresh);
  pthread_mutex_unlock(&locks[heap->lock]);
  if (address != NULL && !fresh) memset(address, 0, count * bytes);
  return address;
}

void *host_heap_realloc(struct host_heap *heap, void *address, size_t bytes) {
  if (address == NULL) return host_heap_malloc(heap, bytes);
  bool fresh;
  pthread_mutex_lock(&locks[heap->lock]);
  struct block *block = block_of(heap, address);
  size_t before = size_of(block);
  bool stays = block->state == STATE_SMALL ? bytes <= before && bytes > before / 2 : resize(heap, block, bytes);
  void *new = stays ? address : take(heap, bytes, &fresh);
  pthread_mutex_unlock(&locks[heap->lock]);
  if (stays || new == NULL) return new;
  memcpy(new, address, before < bytes ? before : bytes);
  host_heap_free(heap, address);
  return new;
}

void host_heap_free(struct host_heap *heap, void *address) {
  if (address == NULL) return;
  pthread_mutex_lock(&locks[heap->lock]);
  give(heap, address);
  pthread_mutex_unlock(&locks[heap->lock]);
}

bool host_heap_object(struct host_heap *heap, uintptr_t address, uintptr_t *start, size_t *bytes) {
  size_t index = (address - (uintptr_t)heap->base) / BLOCK;
  if (index >= heap->top) return false;
  while (index > 0 && heap->block[index].state == STATE_UNUSED) index--; /* the middle of a run */
  const struct block *block = &heap->block[index];
  if (block->state != STATE_SMALL && block->state != STATE_LARGE) return false;
  uintptr_t base = (uintptr_t)heap->base + index * BLOCK;
  *bytes = size_of(block);
  *start = block->state == STATE_LARGE ? base : base + (address - base) / block->object_bytes * block->object_bytes;
  return address - *start < *bytes;
}
