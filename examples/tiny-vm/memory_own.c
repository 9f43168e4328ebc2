/*
 * memory_own.c: see memory.h. An allocator as a VM has one: it takes address space by mmap, commits from it, and gives
 * contents back by madvise. What protection keys need of it: to say what belongs to which space, and when.
 */
#define _GNU_SOURCE
#include "memory.h"

#include <errno.h>
#include <sys/mman.h>

#define SPACES 8
#define PAGE 4096u

/* The allocator's own tables lie where foreign code may write: they say where memory is, not what is protected. */
static struct {
  char *address;
  size_t bytes, reserve;
} blocks[SPACES];
static size_t block_count;

static size_t whole_pages(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

/* [K14] Memory that the VM maps itself. It is without access until it is adopted: then it gets access and key in one
 * call, before the VM has its address. */
static int commit(struct pkeys_image *image, size_t space, size_t bytes) {
  size_t before = blocks[space].bytes, wanted = whole_pages(bytes);
  if (wanted <= before) return 0;
  if (wanted > blocks[space].reserve) return -ENOMEM;
  int rc = pkeys_space_adopt(image, space, blocks[space].address + before, wanted - before, PROT_READ | PROT_WRITE);
  if (rc == 0) blocks[space].bytes = wanted;
  return rc;
}

int memory_open(const struct memory_space *spaces, size_t count, struct pkeys_image **image) {
  struct pkeys_space_request requests[SPACES] = {{.name = NULL}};
  if (count > SPACES) return -E2BIG;
  for (size_t i = 0; i < count; i++) requests[i].name = spaces[i].name;
  int rc = pkeys_image_create(requests, count, PKEYS_KEY_PER_IMAGE, image, NULL);
  for (block_count = 0; rc == 0 && block_count < count; block_count++) {
    size_t i = block_count;
    blocks[i].bytes = 0;
    blocks[i].reserve = whole_pages(spaces[i].reserve > spaces[i].bytes ? spaces[i].reserve : spaces[i].bytes);
    void *address = mmap(NULL, blocks[i].reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
      rc = -errno;
      break;
    }
    blocks[i].address = address;
    rc = commit(*image, i, spaces[i].bytes);
  }
  return rc;
}

char *memory_at(struct pkeys_image *image, size_t space, size_t *bytes) {
  (void)image;
  *bytes = blocks[space].bytes;
  return blocks[space].address;
}

int memory_grow(struct pkeys_image *image, size_t space, size_t bytes) { return commit(image, space, bytes); }

/* Discarding keeps access and key: nothing need be said. */
void memory_discard(struct pkeys_image *image, size_t space) {
  (void)image;
  madvise(blocks[space].address, blocks[space].bytes, MADV_DONTNEED);
}

/* Closing the image untags what is adopted; then the VM unmaps its own. */
int memory_close(struct pkeys_image *image) {
  int rc = pkeys_image_close(image);
  for (size_t i = 0; rc == 0 && i < block_count; i++) munmap(blocks[i].address, blocks[i].reserve);
  return rc;
}
