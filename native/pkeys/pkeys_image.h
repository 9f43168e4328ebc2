/*
 * pkeys_image.h: images and their spaces: mapped, given a mechanism, resized, verified, closed. Part of pkeys.h, whose
 * rules for return values, threads and signal handlers hold here.
 */
#ifndef TURNKEY_PKEYS_IMAGE_H
#define TURNKEY_PKEYS_IMAGE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <turnkey/export.h>

#include "pkeys_keys.h"
#include "pkeys_mechanism.h"

TURNKEY_API_BEGIN

#ifndef EKEYREJECTED
#define EKEYREJECTED 1129 /* where the system has no such number (Windows) */
#endif

#define PKEYS_MAX_IMAGES 1040     /* open at the same time */
#define PKEYS_MAX_SPACES 128      /* of an image */
#define PKEYS_MAX_ALL_SPACES 2048 /* open at the same time, over all images */
#define PKEYS_NAME_BYTES 32
#define PKEYS_MAX_BYTES ((size_t)1 << 46)   /* largest space, hidden area or loan: half of a process's addresses */
#define PKEYS_GUARD_BYTES (16 * PKEYS_PAGE) /* size of the inaccessible guard on either side of every space */

struct pkeys_image; /* opaque; lies in pages under the runtime key */

/* PKEYS_KEY_VIRTUAL: the image has a hardware key only while it needs one, so more images than keys can be open at the
 * same time. pkeys_virtual.h says how threads enter such an image. Mechanisms other than pkeys treat it as
 * PKEYS_KEY_PER_IMAGE, and pkeys-glibc refuses it. */
enum pkeys_key_mode { PKEYS_KEY_PER_IMAGE = 0, PKEYS_KEY_PER_SPACE = 1, PKEYS_KEY_VIRTUAL = 2 };

struct pkeys_space_request {
  const char *name;       /* 1 to 31 bytes, unique in the image */
  size_t bytes;           /* size to commit at once, at least 1; rounded up to pages */
  size_t reserve_bytes;   /* size of the address range to grow into, at least `bytes`; 0 means 4 times `bytes` */
  enum pkeys_rights deny; /* right that callouts lose: PKEYS_NO_WRITE (also if 0) or PKEYS_NO_ACCESS */
};

/*
 * Maps an image of `count` spaces. They lie in the order of the requests in one reservation, each between two guards.
 * The new image has no mechanism, and its pages have key 0. If `failed_index` is not NULL, *failed_index gets the index
 * of the request that failed, or `count` where no single request is to blame.
 *
 *   -EINVAL  there are no requests; a name is missing, too long or used twice; `bytes` is 0 or over PKEYS_MAX_BYTES;
 *            `reserve_bytes` is below `bytes`; `deny` is unknown
 *   -EMFILE  more than PKEYS_MAX_IMAGES images or PKEYS_MAX_ALL_SPACES spaces would be open, or the image would have
 * more than PKEYS_MAX_SPACES -ENOMEM  the kernel gave no memory
 */
int pkeys_image_map(const struct pkeys_space_request *requests, size_t count, enum pkeys_key_mode mode,
                    struct pkeys_image **out, size_t *failed_index);
/*
 * Sets the image's mechanism, once. For pkeys and pkeys-glibc it allocates the keys, applies them, and compares
 * /proc/self/smaps with what was asked for (I9). A failed call changes nothing.
 *
 *   0              the mechanism is set, or it was set before
 *   -EBUSY         the image has another mechanism already; or the mechanism is one of mprotect-*, and loans are
 *                  sealed; or it is the first that needs keys, and a loan that is sealed is live: it keeps key 0
 *   -EINVAL        the image has one key for all spaces, and they do not all deny the same right; or it has a virtual
 *                  key and denies another right than the virtual images that are open; or it has a virtual key, and
 *                  the mechanism is pkeys-glibc
 *   -EOPNOTSUPP    the mechanism needs keys, and this machine has none
 *   -ENOSPC        the mechanism needs keys, and too few are left
 *   -EKEYREJECTED  smaps shows another key or access than the one applied
 *
 * A thread that is older than the new keys must open its rights before it touches the image (masks.generation).
 * mprotect-page and mprotect-range close the image at once if a callout is in foreign code now.
 */
int pkeys_image_set_mechanism(struct pkeys_image *image, enum pkeys_mechanism mechanism);
enum pkeys_mechanism pkeys_image_mechanism(const struct pkeys_image *image);
/* Unmaps the image, then frees its keys. The order matters: pkey_free untags nothing, so no page may still carry a
 * freed key. A later pkeys_image_map may give the same handle out again.
 *
 *   -EBUSY   a loan of this image is live; or its mechanism is hooked, and a callout is in foreign code
 *   -EINVAL  the image is closed already */
int pkeys_image_close(struct pkeys_image *image);

/*
 * Seals the committed pages of the image's spaces with mseal(2) (Linux 6.10). Nobody in this process unmaps, moves,
 * replaces or retags them any more. Nobody discards their contents while the key denies writes. This lasts until the
 * process ends.
 *
 *   still works       reads and writes; loans; snapshots; a space that grows into its reservation, whose new pages are
 *                     sealed as well
 *   answers -EPERM    a space that shrinks; pkeys_image_close. The handle and the keys stay in use
 *   needs a remedy    nothing restores pages that were lost before
 *
 *   -EINVAL      the image is closed, has no mechanism yet, or has adopted ranges, which are the VM's to seal
 *   -ENOTSUP     its mechanism is one of mprotect-*, which cannot close what is sealed
 *   -EOPNOTSUPP  this kernel cannot seal
 */
int pkeys_image_seal(struct pkeys_image *image);
bool pkeys_image_is_sealed(const struct pkeys_image *image);
/*
 * The same for the lending arena: each loan that is made from now on has sealed pages. The arena grows by new ones, and
 * never shrinks: pages that come back are emptied, and given to the next loan of their size. Their number of pages is a
 * power of two, so a loan may have spare pages on the side that is not flush. A callee that overruns the loan there
 * meets no guard page. What was lent before is neither sealed nor kept.
 *
 *   -EBUSY       an image has one of mprotect-*, which close loans too
 *   -EOPNOTSUPP  this kernel cannot seal
 *
 * From then on no image is given one of mprotect-* any more (-EBUSY).
 */
int pkeys_seal_loans(void);
/* Seals the pages of the registry itself. 0, -EOPNOTSUPP, or another negative errno. */
int pkeys_seal_runtime(void);

/* The state of a space when it was asked for. */
struct pkeys_space {
  char name[PKEYS_NAME_BYTES];
  uintptr_t address;
  size_t bytes, reserved_bytes;
  int key; /* 0 while the space has no key of its own */
  enum pkeys_rights deny;
  uint32_t image_id; /* 1 or more, and never used again in this process */
  enum pkeys_mechanism mechanism;
};
size_t pkeys_image_space_count(const struct pkeys_image *image);
int pkeys_image_space(const struct pkeys_image *image, size_t index, struct pkeys_space *out);
uint32_t pkeys_image_id(const struct pkeys_image *image);
/* Sets the size of a space to `bytes`, rounded up to pages. Growing gives the new pages access and key in one system
 * call and verifies both in smaps (I9). Shrinking loses the contents of the tail, whose pages become PROT_NONE.
 *
 *   -EINVAL  `bytes` is 0, the index is wrong, or the image is closed
 *   -ENOMEM  `bytes` exceeds the reservation
 *   -EBUSY   a live loan was made from the tail */
int pkeys_space_resize(struct pkeys_image *image, size_t index, size_t bytes);
/* Opens the last `bytes` of the guard below a space, on key 0. This is the place of a C buffer from which an overflow
 * runs into the image. *out + bytes is the first address of the space. `bytes` is at most PKEYS_GUARD_BYTES -
 * PKEYS_PAGE (-EINVAL), so one guard page remains. A second call can enlarge the range, not shrink it. No mechanism
 * closes it. */
int pkeys_space_neighbour(struct pkeys_image *image, size_t index, size_t bytes, void **out);
/* Applies access and key to the whole image again, one pkey_mprotect for each range, and verifies both (I9). Call it
 * after something outside this layer has remapped pages of the image. What the kernel does with the key of a page:
 *
 *   the key is kept   plain mprotect; mremap; MADV_DONTNEED
 *   the key is lost   a new mapping over the page; mprotect to PROT_EXEC alone and back */
int pkeys_image_reapply(struct pkeys_image *image);
/* Compares each committed page with /proc/self/smaps. Returns 0 if key and access are right everywhere. Otherwise
 * returns -EKEYREJECTED and stores the first wrong address in *where, unless `where` is NULL. */
int pkeys_image_verify_tags(const struct pkeys_image *image, uintptr_t *where);
/* Asks /proc/self/maps whether each committed page is still mapped, with at least the access that it should have now.
 * Returns 0, or -EFAULT: a callee may have unmapped or re-protected what the VM is about to read. Returns 0 too where
 * /proc cannot be read. Far cheaper than pkeys_image_verify_tags, and says nothing of keys. */
int pkeys_image_reachable(const struct pkeys_image *image);
/* Maps a hidden area of `bytes` that belongs to the image, between guard pages. Snapshots lie in such areas, so foreign
 * code cannot spoil them. The area has the key and the `deny` of the image's first space. The mprotect mechanisms close
 * it too, with one mprotect. It is released with the image, or by pkeys_image_hidden_release. */
int pkeys_image_hidden(struct pkeys_image *image, size_t bytes, void **out);
int pkeys_image_hidden_release(struct pkeys_image *image, void *area);
/* Finds the space, in any image, whose reservation or adopted range contains `address`. Returns false if there is none;
 * a guard belongs to no space. For an adopted range, address and sizes are the range's. Lock-free and
 * async-signal-safe. */
bool pkeys_find_space(uintptr_t address, struct pkeys_space *out);
/* The key that the pages at `address` had when they faulted, for code that learns of the fault later. `reported` is the
 * key that the kernel named, 0 or less if none. The key of the space, and 0 for pages that are closed by their access.
 * With a virtual key it may have changed since: then *moves is how many changes ago, of the last 16, it was `reported`.
 * If it never was, the answer is the key now; *moves is 0 then. -1: there is no space. Else *out is the space as
 * pkeys_find_space tells it, with its key of now (NULL: not wanted). Lock-free and async-signal-safe. */
int pkeys_space_key_at_fault(uintptr_t address, int reported, struct pkeys_space *out, uint32_t *moves);
/* Whether [address, address+bytes) meets memory of this layer: reservations and guards of spaces, adopted ranges,
 * hidden areas, loans, the registry. Lock-free and async-signal-safe. */
bool pkeys_overlaps(uintptr_t address, size_t bytes);
/* The extents of that memory in the order of addresses, without the registry: the first that begins at `address` or
 * above. Returns false if there is none. Lock-free and async-signal-safe. */
bool pkeys_extent_next(uintptr_t address, uintptr_t *from, uintptr_t *to);

TURNKEY_API_END
#endif
