/*
 * heap.c: see heap.h. The range begins with the heap itself, then a word for each page; then come the pages. Links are
 * page numbers, so that a check can tell a wild one.
 * More than 400 lines: pages, slabs and large blocks are one allocator over one table.
 */
#include "heap.h"

#include <string.h>

#define SLAB_PAGES 4u
#define SLAB_HEADER 64u
#define CLASSES 24u
#define LARGEST_CLASS 2048u
#define EXACT_BINS 32u
#define BINS 128u
#define NONE 0u /* page 0 holds the heap itself: never in a list */

/* A page's word: what it is, and a number. */
enum kind {
  KIND_FREE = 0u << 30,  /* first and last page of a free run: its pages; 0 inside one */
  KIND_SLAB = 1u << 30,  /* distance from the slab's first page */
  KIND_LARGE = 2u << 30, /* first page of a block: its pages; 0 for the others */
  KIND_OWN = 3u << 30,   /* the heap's own tables */
};
#define KIND(word) ((word) & (3u << 30))
#define NUMBER(word) ((word) & ~(3u << 30))

struct link {
  uint32_t next, previous;
};

struct slab {
  struct link link;                      /* among those of its class with a free block */
  uint16_t class, used, capacity, fresh; /* fresh: blocks from here on were never given out */
  uint32_t free; /* offset of the first free block from the slab's start, 0: none; each holds the next one's */
};
_Static_assert(sizeof(struct slab) <= SLAB_HEADER, "a slab's header has its room");

struct heap {
  uint32_t pages, reserved_pages; /* usable now; at most */
  uint32_t own_pages;
  heap_grow grow;
  void *context;
  uint64_t bins[BINS / 64]; /* which have a run */
  uint32_t runs[BINS];
  uint32_t partial[CLASSES];
  struct heap_statistics statistics;
  uint32_t page[];
};

static const uint16_t class_bytes[CLASSES] = {16,  32,  48,  64,  80,  96,  112, 128,  160,  192,  224,  256,
                                              320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048};

static unsigned class_of(size_t bytes) {
  if (bytes <= 128) return bytes == 0 ? 0 : (unsigned)((bytes - 1) / 16);
  unsigned shift = 63u - (unsigned)__builtin_clzll(bytes - 1); /* 2^shift < bytes <= 2^(shift + 1) */
  return 8 + (shift - 7) * 4 + (unsigned)((bytes - 1) >> (shift - 2) & 3);
}

static unsigned bin_of(uint32_t pages) {
  if (pages < EXACT_BINS) return pages;
  unsigned shift = 31u - (unsigned)__builtin_clz(pages);
  return EXACT_BINS + (shift - 5) * 4 + (pages >> (shift - 2) & 3);
}

static char *at(const struct heap *heap, uint32_t page) { return (char *)(uintptr_t)heap + (size_t)page * HEAP_PAGE; }
static struct link *run_link(const struct heap *heap, uint32_t page) { return (struct link *)(void *)at(heap, page); }
static struct slab *slab_at(const struct heap *heap, uint32_t page) { return (struct slab *)(void *)at(heap, page); }
static uint32_t page_of(const struct heap *heap, const void *block) {
  return (uint32_t)(((uintptr_t)block - (uintptr_t)heap) / HEAP_PAGE);
}
static uint32_t pages_for(size_t bytes) { return (uint32_t)((bytes + HEAP_PAGE - 1) / HEAP_PAGE); }

/* ---- lists: the heads are page numbers, the links lie in the pages ------------------------------------------- */

static void list_push(struct heap *heap, uint32_t *head, uint32_t page) {
  *run_link(heap, page) = (struct link){*head, NONE};
  if (*head != NONE) run_link(heap, *head)->previous = page;
  *head = page;
}

static void list_remove(struct heap *heap, uint32_t *head, uint32_t page) {
  struct link link = *run_link(heap, page);
  if (link.previous != NONE) run_link(heap, link.previous)->next = link.next;
  else *head = link.next;
  if (link.next != NONE) run_link(heap, link.next)->previous = link.previous;
}

/* ---- runs of pages ------------------------------------------------------------------------------------------- */

static void run_insert(struct heap *heap, uint32_t first, uint32_t pages) {
  unsigned bin = bin_of(pages);
  heap->page[first] = KIND_FREE | pages;
  heap->page[first + pages - 1] = KIND_FREE | pages;
  list_push(heap, &heap->runs[bin], first);
  heap->bins[bin / 64] |= 1ull << bin % 64;
}

static void run_remove(struct heap *heap, uint32_t first) {
  uint32_t pages = NUMBER(heap->page[first]);
  unsigned bin = bin_of(pages);
  list_remove(heap, &heap->runs[bin], first);
  if (heap->runs[bin] == NONE) heap->bins[bin / 64] &= ~(1ull << bin % 64);
  heap->page[first] = heap->page[first + pages - 1] = KIND_FREE;
}

/* Frees a run and joins it with free neighbours. */
static void run_free(struct heap *heap, uint32_t first, uint32_t pages) {
  heap->statistics.free_bytes += (uint64_t)pages * HEAP_PAGE;
  for (uint32_t i = 0; i < pages; i++) heap->page[first + i] = KIND_FREE;
  if (first + pages < heap->pages && KIND(heap->page[first + pages]) == KIND_FREE) {
    uint32_t after = NUMBER(heap->page[first + pages]);
    run_remove(heap, first + pages);
    pages += after;
  }
  if (KIND(heap->page[first - 1]) == KIND_FREE) {
    uint32_t before = NUMBER(heap->page[first - 1]);
    first -= before;
    run_remove(heap, first);
    pages += before;
  }
  run_insert(heap, first, pages);
}

static bool run_grow(struct heap *heap, uint32_t pages) {
  uint32_t step = heap->pages / 4 > 256 ? heap->pages / 4 : 256;
  if (step < pages) step = pages;
  uint32_t left = heap->reserved_pages - heap->pages;
  if (step > left) step = left;
  if (step == 0) return false;
  uint32_t old = heap->pages;
  if (heap->grow == NULL || heap->grow(heap->context, (size_t)(old + step) * HEAP_PAGE) < 0) return false;
  heap->pages += step;
  heap->statistics.grows++;
  heap->statistics.committed_bytes = (uint64_t)heap->pages * HEAP_PAGE;
  run_free(heap, old, step);
  return true;
}

/* First page of a run of `pages`, marked by nobody yet; NONE if there is no room. */
static uint32_t run_take(struct heap *heap, uint32_t pages) {
  for (;;) {
    unsigned bin = bin_of(pages);
    uint32_t found = NONE;
    /* A bin of several lengths may hold shorter runs too; every later one holds only longer ones. */
    for (uint32_t run = heap->runs[bin]; run != NONE && found == NONE; run = run_link(heap, run)->next)
      if (NUMBER(heap->page[run]) >= pages) found = run;
    for (unsigned word = (bin + 1) / 64; word < BINS / 64 && found == NONE; word++) {
      uint64_t bits = heap->bins[word];
      if (word == (bin + 1) / 64) bits &= ~0ull << (bin + 1) % 64;
      if (bits != 0) found = heap->runs[word * 64 + (unsigned)__builtin_ctzll(bits)];
    }
    if (found != NONE) {
      uint32_t length = NUMBER(heap->page[found]);
      run_remove(heap, found);
      if (length > pages) run_insert(heap, found + pages, length - pages);
      heap->statistics.free_bytes -= (uint64_t)pages * HEAP_PAGE;
      return found;
    }
    /* At the end, joined with the last free run, this may be more than was asked for; near the reservation's end it may
     * be less, and the next round finds nothing. */
    if (!run_grow(heap, pages)) return NONE;
  }
}

/* ---- blocks -------------------------------------------------------------------------------------------------- */

static void count(struct heap *heap, size_t bytes) {
  struct heap_statistics *sum = &heap->statistics;
  sum->blocks++;
  sum->allocations++;
  sum->bytes += bytes;
  if (sum->bytes > sum->peak_bytes) sum->peak_bytes = sum->bytes;
}

static void *small(struct heap *heap, unsigned class) {
  size_t bytes = class_bytes[class];
  uint32_t first = heap->partial[class];
  if (first == NONE) {
    first = run_take(heap, SLAB_PAGES);
    if (first == NONE) return NULL;
    for (uint32_t i = 0; i < SLAB_PAGES; i++) heap->page[first + i] = KIND_SLAB | i;
    struct slab *slab = slab_at(heap, first);
    slab->class = (uint16_t)class;
    slab->used = slab->fresh = 0;
    slab->capacity = (uint16_t)((SLAB_PAGES * HEAP_PAGE - SLAB_HEADER) / bytes);
    slab->free = 0;
    list_push(heap, &heap->partial[class], first);
  }
  struct slab *slab = slab_at(heap, first);
  char *block;
  if (slab->free != 0) {
    block = (char *)slab + slab->free;
    memcpy(&slab->free, block, sizeof slab->free);
  } else {
    block = (char *)slab + SLAB_HEADER + (size_t)slab->fresh++ * bytes;
  }
  if (++slab->used == slab->capacity) list_remove(heap, &heap->partial[class], first);
  count(heap, bytes);
  return block;
}

static void *large(struct heap *heap, size_t bytes) {
  if (bytes > (size_t)heap->reserved_pages * HEAP_PAGE) return NULL;
  uint32_t pages = pages_for(bytes);
  uint32_t first = run_take(heap, pages);
  if (first == NONE) return NULL;
  heap->page[first] = KIND_LARGE | pages;
  for (uint32_t i = 1; i < pages; i++) heap->page[first + i] = KIND_LARGE;
  count(heap, (size_t)pages * HEAP_PAGE);
  return at(heap, first);
}

void *heap_allocate(struct heap *heap, size_t bytes) {
  return bytes <= LARGEST_CLASS ? small(heap, class_of(bytes)) : large(heap, bytes);
}

size_t heap_block_bytes(const struct heap *heap, const void *block) {
  uint32_t page = page_of(heap, block), word = heap->page[page];
  if (KIND(word) == KIND_LARGE) return (size_t)NUMBER(word) * HEAP_PAGE;
  return class_bytes[slab_at(heap, page - NUMBER(word))->class];
}

void heap_free(struct heap *heap, void *block) {
  if (block == NULL) return;
  uint32_t page = page_of(heap, block), word = heap->page[page];
  heap->statistics.blocks--;
  if (KIND(word) == KIND_LARGE) {
    uint32_t pages = NUMBER(word);
    heap->statistics.bytes -= (uint64_t)pages * HEAP_PAGE;
    run_free(heap, page, pages);
    return;
  }
  uint32_t first = page - NUMBER(word);
  struct slab *slab = slab_at(heap, first);
  heap->statistics.bytes -= class_bytes[slab->class];
  memcpy(block, &slab->free, sizeof slab->free);
  slab->free = (uint32_t)((char *)block - (char *)slab);
  if (slab->used-- == slab->capacity) list_push(heap, &heap->partial[slab->class], first);
  /* An empty slab goes back, unless it is the only one that its class has room in. */
  if (slab->used == 0 && (slab->link.next != NONE || slab->link.previous != NONE)) {
    list_remove(heap, &heap->partial[slab->class], first);
    run_free(heap, first, SLAB_PAGES);
  }
}

/* A large block to another number of pages where it stands; false if what follows is not free. */
static bool resize(struct heap *heap, uint32_t first, uint32_t wanted) {
  uint32_t pages = NUMBER(heap->page[first]);
  if (wanted < pages) {
    heap->page[first] = KIND_LARGE | wanted;
    run_free(heap, first + wanted, pages - wanted);
  } else if (wanted > pages) {
    uint32_t next = first + pages, more = wanted - pages;
    if (next >= heap->pages || KIND(heap->page[next]) != KIND_FREE) return false;
    uint32_t length = NUMBER(heap->page[next]);
    if (length < more) return false;
    run_remove(heap, next);
    if (length > more) run_insert(heap, next + more, length - more);
    heap->statistics.free_bytes -= (uint64_t)more * HEAP_PAGE;
    for (uint32_t i = 0; i < more; i++) heap->page[next + i] = KIND_LARGE;
    heap->page[first] = KIND_LARGE | wanted;
  }
  heap->statistics.bytes += ((uint64_t)wanted - pages) * HEAP_PAGE;
  if (heap->statistics.bytes > heap->statistics.peak_bytes) heap->statistics.peak_bytes = heap->statistics.bytes;
  return true;
}

void *heap_reallocate(struct heap *heap, void *block, size_t bytes) {
  if (block == NULL) return heap_allocate(heap, bytes);
  uint32_t page = page_of(heap, block);
  size_t have = heap_block_bytes(heap, block);
  if (KIND(heap->page[page]) == KIND_LARGE) {
    if (bytes > LARGEST_CLASS && bytes <= (size_t)heap->reserved_pages * HEAP_PAGE &&
        resize(heap, page, pages_for(bytes)))
      return block;
  } else if (bytes <= LARGEST_CLASS && class_bytes[class_of(bytes)] == have) {
    return block;
  }
  void *moved = heap_allocate(heap, bytes);
  if (moved == NULL) return bytes <= have ? block : NULL; /* to shrink never fails: Lua relies on it */
  memcpy(moved, block, bytes < have ? bytes : have);
  heap_free(heap, block);
  return moved;
}

/* ---- the whole ----------------------------------------------------------------------------------------------- */

static uint32_t own_pages(size_t reserved) {
  return pages_for(sizeof(struct heap) + reserved / HEAP_PAGE * sizeof(uint32_t));
}

size_t heap_minimum(size_t reserved) { return ((size_t)own_pages(reserved) + SLAB_PAGES) * HEAP_PAGE; }

struct heap *heap_create(void *base, size_t committed, size_t reserved, heap_grow grow, void *context) {
  if (committed < heap_minimum(reserved) || committed > reserved || reserved / HEAP_PAGE > HEAP_MAX_PAGES) return NULL;
  struct heap *heap = base;
  memset(heap, 0, sizeof *heap);
  heap->pages = (uint32_t)(committed / HEAP_PAGE);
  heap->reserved_pages = (uint32_t)(reserved / HEAP_PAGE);
  heap->own_pages = own_pages(reserved);
  heap->grow = grow;
  heap->context = context;
  heap->statistics.committed_bytes = committed;
  for (uint32_t i = 0; i < heap->own_pages; i++) heap->page[i] = KIND_OWN;
  run_free(heap, heap->own_pages, heap->pages - heap->own_pages);
  return heap;
}

void heap_statistics(const struct heap *heap, struct heap_statistics *out) { *out = heap->statistics; }

/* A slab's free blocks, each once, on a block's boundary, and as many as its count says. */
static const char *check_slab(const struct heap *heap, uint32_t first) {
  const struct slab *slab = slab_at(heap, first);
  if (slab->class >= CLASSES) return "a slab of no class";
  uint32_t bytes = class_bytes[slab->class];
  if (slab->capacity != (SLAB_PAGES * HEAP_PAGE - SLAB_HEADER) / bytes) return "a slab with a wrong capacity";
  if (slab->fresh > slab->capacity || slab->used > slab->fresh) return "a slab with impossible counts";
  uint8_t seen[SLAB_PAGES * HEAP_PAGE / 16 / 8] = {0};
  unsigned free = 0;
  for (uint32_t offset = slab->free; offset != 0;) {
    uint32_t index = (offset - SLAB_HEADER) / bytes;
    if (offset < SLAB_HEADER || (offset - SLAB_HEADER) % bytes != 0 || index >= slab->fresh)
      return "a wild link between free blocks";
    if (seen[index / 8] & 1u << index % 8) return "a free block that is listed twice";
    seen[index / 8] |= (uint8_t)(1u << index % 8);
    free++;
    memcpy(&offset, (const char *)slab + offset, sizeof offset);
  }
  return free + slab->used == slab->fresh ? NULL : "a slab whose free blocks do not make up its count";
}

/* Whether `page` begins something of `kind` here, so that a list may lead to it. */
static bool begins(const struct heap *heap, uint32_t page, uint32_t kind) {
  if (page < heap->own_pages || page >= heap->pages || KIND(heap->page[page]) != kind) return false;
  return kind == KIND_SLAB ? NUMBER(heap->page[page]) == 0 : NUMBER(heap->page[page]) != 0;
}

const char *heap_check(const struct heap *heap) {
  if (heap->pages > heap->reserved_pages || heap->own_pages >= heap->pages ||
      heap->own_pages != own_pages((size_t)heap->reserved_pages * HEAP_PAGE))
    return "the heap's own sizes are wrong";
  uint64_t blocks = 0, bytes = 0, free_pages = 0;
  uint32_t runs = 0, partial = 0;
  for (uint32_t page = 0; page < heap->own_pages; page++)
    if (heap->page[page] != KIND_OWN) return "the heap's own pages are not marked as such";
  bool after_free = false;
  for (uint32_t page = heap->own_pages; page < heap->pages;) {
    uint32_t word = heap->page[page], length = NUMBER(word);
    bool is_free = KIND(word) == KIND_FREE;
    if (KIND(word) == KIND_SLAB) {
      length = SLAB_PAGES;
      if (page + length > heap->pages) return "a slab past the end";
      for (uint32_t i = 0; i < length; i++)
        if (heap->page[page + i] != (KIND_SLAB | i)) return "a slab in pieces";
      const char *wrong = check_slab(heap, page);
      if (wrong != NULL) return wrong;
      const struct slab *slab = slab_at(heap, page);
      blocks += slab->used;
      bytes += (uint64_t)slab->used * class_bytes[slab->class];
      if (slab->used < slab->capacity) partial++;
    } else {
      if (length == 0 || length > heap->pages - page || KIND(word) == KIND_OWN) return "pages that belong to nothing";
      for (uint32_t i = 1; i < length; i++)
        if (heap->page[page + i] != (KIND(word) | (is_free && i == length - 1 ? length : 0))) return "a run in pieces";
      if (is_free) {
        if (after_free) return "two free runs side by side";
        runs++;
        free_pages += length;
      } else {
        blocks++;
        bytes += (uint64_t)length * HEAP_PAGE;
      }
    }
    after_free = is_free;
    page += length;
  }
  for (unsigned bin = 0; bin < BINS; bin++) {
    if ((heap->bins[bin / 64] >> bin % 64 & 1) != (heap->runs[bin] != NONE)) return "a bin's bit is wrong";
    uint32_t previous = NONE;
    for (uint32_t run = heap->runs[bin]; run != NONE; previous = run, run = run_link(heap, run)->next) {
      if (!begins(heap, run, KIND_FREE) || bin_of(NUMBER(heap->page[run])) != bin ||
          run_link(heap, run)->previous != previous)
        return "a wild link between free runs";
      if (runs-- == 0) return "a free run that is listed twice";
    }
  }
  if (runs != 0) return "a free run that is not listed";
  for (unsigned class = 0; class < CLASSES; class++) {
    uint32_t previous = NONE;
    for (uint32_t first = heap->partial[class]; first != NONE;
         previous = first, first = slab_at(heap, first)->link.next) {
      if (!begins(heap, first, KIND_SLAB) || slab_at(heap, first)->class != class ||
          slab_at(heap, first)->link.previous != previous)
        return "a wild link between slabs";
      if (slab_at(heap, first)->used >= slab_at(heap, first)->capacity) return "a full slab among those with room";
      if (partial-- == 0) return "a slab that is listed twice";
    }
  }
  if (partial != 0) return "a slab with room that is not listed";
  if (blocks != heap->statistics.blocks || bytes != heap->statistics.bytes) return "the sums do not agree";
  if (free_pages * HEAP_PAGE != heap->statistics.free_bytes) return "the sum of free pages does not agree";
  return NULL;
}
