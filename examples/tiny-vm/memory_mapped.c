/* memory_mapped.c: see memory.h. */
#include "memory.h"

#include <errno.h>
#include <stdlib.h>

int memory_open(const struct memory_space *spaces, size_t count, struct pkeys_image **image) {
  struct pkeys_space_request requests[8];
  if (count > 8) return -E2BIG;
  for (size_t i = 0; i < count; i++)
    requests[i] = (struct pkeys_space_request){
        .name = spaces[i].name, .bytes = spaces[i].bytes, .reserve_bytes = spaces[i].reserve};
  return pkeys_image_map(requests, count, PKEYS_KEY_PER_IMAGE, image, NULL);
}

char *memory_at(struct pkeys_image *image, size_t space, size_t *bytes) {
  struct pkeys_space found;
  if (pkeys_image_space(image, space, &found) < 0) abort();
  *bytes = found.bytes;
  return (char *)found.address;
}

/* New pages get access and key in one call. */
int memory_grow(struct pkeys_image *image, size_t space, size_t bytes) {
  return pkeys_space_resize(image, space, bytes);
}
void memory_discard(struct pkeys_image *image, size_t space) { (void)image, (void)space; }
int memory_close(struct pkeys_image *image) { return pkeys_image_close(image); }
