/*
 * memory.h: where the tiny VM's spaces get their memory. Two ways, a file each; the VM is the same over both.
 *
 *   memory_mapped.c   pkeys_image_map lays out and maps all of it
 *   memory_own.c      [K14] the VM has an allocator of its own, and keeps it: it maps, grows and discards, and says so
 */
#ifndef TINY_VM_MEMORY_H
#define TINY_VM_MEMORY_H

#include <stddef.h>

#include <turnkey/pkeys.h>

struct memory_space {
  const char *name;
  size_t bytes;   /* to begin with */
  size_t reserve; /* to grow to */
};

/* An image with memory in every space, all of it zero, and no mechanism yet. 0 or a negative errno. */
int memory_open(const struct memory_space *spaces, size_t count, struct pkeys_image **image);
/* Where a space lies; *bytes gets its size now. */
char *memory_at(struct pkeys_image *image, size_t space, size_t *bytes);
/* Makes a space larger, in place. 0 or a negative errno. */
int memory_grow(struct pkeys_image *image, size_t space, size_t bytes);
/* The contents of a space are not needed any more. */
void memory_discard(struct pkeys_image *image, size_t space);
int memory_close(struct pkeys_image *image);

#endif
