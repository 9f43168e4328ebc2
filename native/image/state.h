/* state.h: what is known of an image's contents; lies in its hidden area. For contents.c and heaps.c. */
#ifndef TURNKEY_IMAGE_STATE_H
#define TURNKEY_IMAGE_STATE_H

#include "image.h"

struct content {
  uint32_t kind;         /* enum image_content */
  uint64_t bytes;        /* GRAPH: how far the graph goes; files: their length */
  struct spur_file file; /* HEAP_FILE */
};

struct image {
  struct pkeys_image *mapped;
  size_t spaces;
  uint32_t root; /* the space with the class table, valid while one is GRAPH */
  struct content content[PKEYS_MAX_SPACES];
  uint8_t *snapshot; /* hidden; the spaces one after another, page-rounded as they are */
  uint32_t snapshot_root;
  size_t snapshot_bytes[PKEYS_MAX_SPACES];
  struct content snapshot_content[PKEYS_MAX_SPACES];
};

#endif
