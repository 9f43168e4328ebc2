/*
 * pkeys_adopt.h: memory that the VM maps itself, as part of a space. Part of pkeys.h, whose rules for return values,
 * threads and signal handlers hold here.
 */
#ifndef TURNKEY_PKEYS_ADOPT_H
#define TURNKEY_PKEYS_ADOPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <turnkey/export.h>

#include "pkeys_image.h"

TURNKEY_API_BEGIN

#define PKEYS_MAX_RANGES 65536 /* adopted at the same time, over all images; Linux allows about as many mappings */

/*
 * A VM with an allocator of its own keeps it: it maps, protects, discards, moves and unmaps as it likes, and says so.
 * An *adopted range* is such memory. It belongs to a space, has the space's key, and every mechanism closes it.
 *
 *   the VM wants to             it does
 *   map memory                  mmap with PROT_NONE, then pkeys_space_adopt with the access that it wants
 *   change access               pkeys_range_protect in place of mprotect
 *   discard contents            madvise(MADV_DONTNEED) and the like; nothing need be said
 *   move or resize a mapping    pkeys_range_remap in place of mremap
 *   unmap memory                pkeys_range_forget, then munmap
 *   map over adopted memory     pkeys_range_forget, mmap with PROT_NONE and MAP_FIXED, pkeys_space_adopt
 *   keep memory, unprotected    pkeys_range_release
 *
 * PROT_NONE first, because a fresh mapping has key 0: it would be open to other threads' callouts until it is adopted.
 * A VM that adopts memory in use accepts that instant.
 *
 * `address` must be page-aligned; `bytes` is rounded up to pages; `protection` is made of PROT_READ, PROT_WRITE and
 * PROT_EXEC (mmap(2)). Neighbouring ranges of the same space and protection become one; what acts on part of a range
 * splits it. Up to PKEYS_MAX_RANGES ranges exist at the same time. They are looked up in logarithmic time.
 *
 * Under mprotect-* a range that is closed for other threads' callouts stays closed until they are out. The protection
 * that the VM asks for meanwhile is noted, and comes with the opening.
 *
 * PROT_EXEC alone: plain mprotect gives such pages the kernel's own execute-only key, and the way back leaves key 0.
 * With pkeys_range_protect the pages keep the space's key.
 */

/* Makes an image of spaces without memory, to adopt ranges into. `bytes` and `reserve_bytes` of each request must be 0.
 * Otherwise as pkeys_image_map. */
int pkeys_image_create(const struct pkeys_space_request *requests, size_t count, enum pkeys_key_mode mode,
                       struct pkeys_image **out, size_t *failed_index);
/*
 * Adopts [address, address+bytes), which must be mapped, into space `index`. One system call gives it access and key
 * (I9), or closes it at once where a mechanism has the image closed. What is adopted already changes space and
 * protection. Spaces that pkeys_image_map has mapped can adopt ranges too. Closing the image releases its ranges.
 *
 *   -EINVAL  the range, protection or index is wrong, or the image is closed
 *   -EEXIST  part of it is a mapped space, a hidden area or a loan
 *   -EMFILE  PKEYS_MAX_RANGES ranges are adopted
 *   -ENOMEM  part of it is not mapped, or the process has too many mappings (vm.max_map_count)
 *   others   as mprotect(2) answers: -EACCES for a file that is not writable, say
 *
 * After a failure what was adopted before is as before, and the rest is not adopted; its part below a hole may have got
 * `protection`.
 */
int pkeys_space_adopt(struct pkeys_image *image, size_t index, void *address, size_t bytes, int protection);
/* Gives [address, address+bytes) another protection, in place of mprotect(2). All of it must be adopted (-ENOENT); it
 * may belong to several spaces. After another failure, a first part may have the new protection. */
int pkeys_range_protect(void *address, size_t bytes, int protection);
/* mremap(2) of an adopted range, with the same arguments; *out gets where it is. Key and access move along. All of
 * [address, address+bytes) must be adopted, in one space and with one protection (-ENOENT). With MREMAP_FIXED, what was
 * adopted at the target is forgotten, also if the kernel refuses. With MREMAP_DONTUNMAP the old range stays adopted. */
int pkeys_range_remap(void *address, size_t bytes, size_t new_bytes, int flags, void *new_address, void **out);
/* Ends the adoption of what is adopted in [address, address+bytes). pkeys_range_release untags the pages and gives them
 * the VM's protection. pkeys_range_forget leaves the pages as they are, for a caller that unmaps or replaces them right
 * after. It is no failure if nothing there is adopted. */
int pkeys_range_release(void *address, size_t bytes);
int pkeys_range_forget(void *address, size_t bytes);

struct pkeys_range {
  uintptr_t address;
  size_t bytes;
  int protection;    /* what the VM gave it; less while a mechanism has it closed */
  int key;           /* 0 while the space has none */
  uint32_t image_id; /* as pkeys_image_id */
  uint32_t space;    /* index in the image */
};
/* The first adopted range that ends past `address`, in the order of addresses: the one that contains it, if one does.
 * Returns false if there is none. Lock-free and async-signal-safe. */
bool pkeys_range_next(uintptr_t address, struct pkeys_range *out);

TURNKEY_API_END
#endif
