/*
 * image.h: an image with something in it: filled with objects or loaded from a file, walked, snapshot, compared,
 * restored.
 *
 * Joins native/pkeys (where the memory is and how it is protected) to spur.h and compare.h (what it holds). Its own
 * state and the snapshot lie in the image's hidden area, under the image's key. Foreign code can no more spoil them
 * than the image.
 *
 * Calls on one image are the caller's to serialise; the calling thread must have its rights open (pkeys_open_thread).
 * Return values: 0 or a negative errno. -EFAULT: pages of the image are no longer mapped, or no longer readable and
 * writable, and nothing was touched.
 */
#ifndef TURNKEY_IMAGE_H
#define TURNKEY_IMAGE_H

#include "compare.h"
#include "pkeys.h"
#include "spur.h"

#ifdef __cplusplus
extern "C" {
#endif

struct image; /* opaque; in the image's hidden area */

/* Takes over `mapped` (closed with the image). On failure `mapped` stays the caller's. */
int image_open(struct pkeys_image *mapped, struct image **out);
/* pkeys_image_close, the image's state included. -EBUSY: nothing was done. */
int image_close(struct image *image);
struct pkeys_image *image_mapped(struct image *image);

enum image_content {
  IMAGE_EMPTY = 0,     /* nothing that the walker knows: fresh, or written by hand */
  IMAGE_GRAPH = 1,     /* Turnkey's own graph */
  IMAGE_FILE = 2,      /* bytes of a file of another kind */
  IMAGE_HEAP_FILE = 3, /* an image file of the Squeak/Spur family */
};
const char *image_content_name(enum image_content content); /* 'empty', 'graph', 'file', 'heap-file' */

/* Fills every space to its committed size (spur_fill). The class table goes into the space named 'old', else into the
 * largest. */
int image_fill(struct image *image, uint64_t seed, struct spur_filled *out);

/* Reads a regular file into space `index` from its start. The space grows as far as its reservation allows, and never
 * shrinks; what lies behind is cleared. -ENOENT, -EISDIR, -EACCES and so on from open(2); -ENODATA: empty; -EFBIG:
 * larger than the reservation; -EINVAL: no regular file. *file_bytes gets the length where it is known, also on
 * failure. Spaces with a graph that pointed here are no longer walked. */
int image_load(struct image *image, size_t index, const char *path, uint64_t *file_bytes);
/* The header of the heap file in space `index`; false if it holds none. */
bool image_file(struct image *image, size_t index, struct spur_file *out);

/* pkeys_space_resize. New bytes are zero and belong to no graph; a graph that loses its tail is damaged, and
 * image_verify says so. */
int image_resize(struct image *image, size_t index, size_t bytes);

struct image_space_report {
  uint32_t content; /* enum image_content */
  bool walked;      /* false: not a heap, or one the walker does not know */
  uint64_t objects, free_chunks, free_bytes, walked_bytes, problems;
};
struct image_report {
  uint64_t objects, pointers, classes, problems;
  uint32_t kept;
  uint64_t by_kind[SPUR_PROBLEM_KINDS];
  size_t spaces;
  struct image_space_report space[PKEYS_MAX_SPACES];
};
/* Walks every space with a heap in it. In problems[], `segment` is the space's index and offsets count from the space's
 * start. */
int image_verify(struct image *image, struct spur_problem *problems, size_t capacity, struct image_report *out);

/* Copies every space's committed bytes into the hidden area, replacing an earlier snapshot. */
int image_snapshot(struct image *image);
bool image_has_snapshot(const struct image *image);

struct image_range {
  uint32_t space;
  uint64_t offset, bytes;
  bool object_known; /* the snapshot has a heap here: `object` is the one in which the range begins, as it was then */
  struct spur_object object; /* offsets from the space's start */
};
struct image_difference {
  uint64_t changed_bytes; /* exact; bytes that a space gained or lost count whole */
  uint64_t ranges, kept;
  uint64_t resized; /* spaces whose size is not the snapshot's */
};
/* Where the image differs from its snapshot. The objects are looked up for at most `with_objects` ranges (each costs a
 * walk). -ENODATA: no snapshot. */
int image_diff(struct image *image, struct image_range *ranges, size_t capacity, size_t with_objects,
               struct image_difference *out);
/* Sizes and contents as in the snapshot; writes only blocks that differ. *bytes: how much was written. -ENODATA,
 * -ENOMEM. */
int image_restore(struct image *image, uint64_t *bytes);

/* The object around byte `offset` of a space, now (not in the snapshot). -ENODATA: no heap there; -ENOENT: the chain of
 * objects breaks before it. */
int image_object_at(struct image *image, size_t index, uint64_t offset, struct spur_object *out);

/* Copies out of and into a space, by way of the kernel: pages that a callee has unmapped give -EFAULT instead of a
 * signal. -ERANGE: outside the committed bytes. */
int image_read(struct image *image, size_t index, uint64_t offset, void *to, size_t bytes);
int image_write(struct image *image, size_t index, uint64_t offset, const void *from, size_t bytes);

/* XXH64 of a space's committed bytes. */
int image_hash(struct image *image, size_t index, uint64_t *hash);

#ifdef __cplusplus
}
#endif
#endif
