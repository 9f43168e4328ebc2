/*
 * internal.h: what the files of native/pkeys share, and the rules they keep (I1 to I13: docs/invariants.md).
 *
 *   1. State. It lives in `pkeys_i_registry` (state.h), in whole pages under the runtime key: writable by the VM,
 *      read-only for callees (I11). The boot page beside it lies on key 0 and is read-only once set. It serves threads
 *      that have no right to the runtime key yet.
 *   2. Locks. There are three, always taken in this order: the registry lock to change images, regions, loans or keys;
 *      the mechanism lock to change what is closed; the pool's lock to give a virtual image a hardware key or to take
 *      it away. A change of spaces, hidden areas or adopted ranges holds all three.
 *   3. Readers take no lock. A region and the masks are *latched*: there are two copies and a version. The writer fills
 *      the copy that is not current, then publishes it by the version. A reader repeats only if the version moved, that
 *      is, if a writer made progress. So a signal handler that interrupted the writer reads the last complete state at
 *      once. A sequence lock would spin there for ever.
 *   4. A naive callout, or a bystander past its limit, calls mprotect on a region without the mechanism lock. It counts
 *      itself in `lockfree_users` meanwhile. Code that takes address space away unpublishes it first, and then waits
 *      until that count was 0 (pkeys_i_registry_quiesce).
 *   5. No code that holds the mechanism lock touches image or loan memory. So a VM thread that faults there does not
 *      hold it, except where a signal handler interrupted the holder; see mechanism.c.
 *
 * Code marked [handler] runs in signal handlers too: no lock, no allocation, no errno.
 */
#ifndef TURNKEY_PKEYS_INTERNAL_H
#define TURNKEY_PKEYS_INTERNAL_H

#include "kernel.h"
#include "pkeys.h"
#include "state.h"

/* ---- lock.c ------------------------------------------------------------------------------------------------------ */

void pkeys_i_lock_take(struct lock *lock);
void pkeys_i_lock_give(struct lock *lock);
/* True while this thread holds `lock` already: only a signal handler can see that. */
bool pkeys_i_lock_mine(const struct lock *lock);

/* ---- keys.c ------------------------------------------------------------------------------------------------------ */

/* [handler] A thread that is older than the runtime key, or in a signal handler, may lack the right even to read the
 * registry. The first takes that right; the second puts back what was there before. Returns the PKRU to hand to
 * pkeys_i_reader_leave. */
uint32_t pkeys_i_reader_enter(void);
void pkeys_i_reader_leave(uint32_t saved);
/* Keys are taken and given back one at a time. The lock is on key 0, and the innermost of all. */
void pkeys_i_keys_hold(void);
void pkeys_i_keys_let_go(void);
int pkeys_i_key_alloc(void);
/* A key that the kernel does not take back is kept, and given out by the next pkeys_i_key_alloc. */
void pkeys_i_key_free(int key);
/* Takes the runtime key and tags the registry with it. 0 where there is none: what needs no keys works without. */
int pkeys_i_runtime_key_take(void);
/* Ends the set-up: the runtime key is known from now on, and the page that says so can only be read. */
int pkeys_i_keys_seal(int runtime_key);
bool pkeys_i_keys_sealed(void);
/* The same for virtual keys, which need a gate that gives each thread rights of its own: -EOPNOTSUPP on ARM64. */
int pkeys_i_virtual_error(void);
/* Why no image can have keys, whatever is free now: -EOPNOTSUPP or -ENOSPC; 0 if they can. After pkeys_init. */
int pkeys_i_keys_error(void);

/* ---- regions.c --------------------------------------------------------------------------------------------------- */

/* Reading is [handler]; publishing needs both locks. */
void pkeys_i_region_read(size_t index, struct region *out);
void pkeys_i_region_publish(size_t index, const struct region *region);
/* The same without a copy, for holders of the locks: nothing publishes it anew meanwhile. The pool's lock will do for
 * spaces, hidden areas and adopted ranges. */
const struct region *pkeys_i_region_current(size_t index);
/* A free region's index, or -EMFILE. */
int pkeys_i_region_free_slot(void);
size_t pkeys_i_region_count(uint32_t kind);
/* Calls `visit` for every mapped space and hidden area of the image. Stops at the first non-zero result. Both locks
 * held. */
int pkeys_i_each_region(uint32_t image_id, int (*visit)(size_t index, struct region *region, void *context),
                        void *context);
/* What the pages of a pooled image have while it is not resident: closed by their access alone, for every thread. Pages
 * without access have the runtime key then, or the kernel would join their mapping with the guards, which takes far
 * longer than closing them. */
int pkeys_i_closed_access(const struct region *region);
int pkeys_i_closed_key(const struct region *region);
/* The key of a region's pages as things are: where its image is pooled, of that image's residence. Pool lock held. */
int pkeys_i_region_key(const struct region *region);
/* Access and key of [address, address+bytes) in one call (I9). The second is for pages that were just reserved, and so
 * have key 0 already. An access of -1 means readable and writable. */
int pkeys_i_region_apply(uintptr_t address, size_t bytes, int access, int key);
int pkeys_i_region_apply_fresh(uintptr_t address, size_t bytes, int access, int key);

/* ---- ranges.c ---------------------------------------------------------------------------------------------------- */

/* [handler] The range that contains `address`; the first that ends past `address`. False if there is none. */
bool pkeys_i_range_find(uintptr_t address, struct range *out);
bool pkeys_i_range_next(uintptr_t address, struct range *out);
size_t pkeys_i_range_count(void);
/* Makes [address, address+bytes) `with`, which has that address and size; NULL: of no range. Ranges that reach into it
 * are cut, neighbours that are alike joined. -EMFILE, nothing changed then. Both locks held. */
int pkeys_i_range_set(uintptr_t address, size_t bytes, const struct range *with);

/* ---- find.c ------------------------------------------------------------------------------------------------------ */

/* [handler] What contains `address`: a mapped region (reservations count as inside), or an adopted range as a region of
 * its space. False if nothing does. */
bool pkeys_i_region_find(uintptr_t address, struct region *out);
/* [handler] The range as a region of its space. False where the space is gone. */
bool pkeys_i_range_region(const struct range *range, struct region *out);
/* The region as others see it. */
void pkeys_i_space_of(const struct region *region, struct pkeys_space *out);

/* ---- masks.c ----------------------------------------------------------------------------------------------------- */

/* [handler] */
void pkeys_i_masks_read(struct mask_record *out);
/* Computes and publishes the masks from regions and keys, tells the listener. keys_grew: a key was added, older threads
 * must open it. */
void pkeys_i_masks_publish(bool keys_grew);

/* ---- registry.c -------------------------------------------------------------------------------------------------- */

/* Entry and exit of every function that changes the registry: initialised, this thread's rights opened, registry lock
 * held. 0 or the negative errno of pkeys_init, without the lock then. */
int pkeys_i_registry_enter(void);
void pkeys_i_registry_leave(void);
/* The same with both locks, as a change of regions and ranges needs. pkeys_i_change_leave returns `result`. */
int pkeys_i_change_enter(void);
int pkeys_i_change_leave(int result);
/* Waits until no thread uses a region without the mechanism lock. Call after unpublishing, before the address space
 * goes.
 */
void pkeys_i_registry_quiesce(void);

/* ---- adopt.c ----------------------------------------------------------------------------------------------------- */

/* Access and key of every adopted range of the image, as things are. 0 or a negative errno. Both locks held. */
int pkeys_i_apply_ranges(const struct pkeys_image *image);
/* Every adopted range of the image given back to the VM, untagged and as the VM had it. 0, or the first error: pages
 * may carry the image's keys then. Nobody is inside; both locks held. */
int pkeys_i_release_ranges(const struct pkeys_image *image);
/* As pkeys_i_smaps_check, in one pass, for the adopted ranges of the image. */
int pkeys_i_verify_ranges(const struct pkeys_image *image, uintptr_t *where);

/* ---- mechanism.c ------------------------------------------------------------------------------------------------- */

/* Whether any hooked callout is in foreign code. [handler] */
bool pkeys_i_mechanism_anyone_inside(void);
/* The access (PROT_*) that a region has now, given what is closed. -1: cannot be said (mprotect-naive with callouts
 * inside). Mechanism lock held. */
int pkeys_i_mechanism_access(const struct region *region);
/* The same as far as it stays so under the locks. Naive callouts take none, so one may begin while smaps is being read.
 * -1: cannot be told. */
int pkeys_i_mechanism_settled_access(const struct region *region);
/* Brings what is closed in line with who is inside. 0 or negative errno (then everything is open). Mechanism lock held.
 */
int pkeys_i_mechanism_reconcile_locked(void);
/* Waits until the region at `address` is open, at most limit_ns, then opens it. As pkeys_bystander_wait, for a thread
 * that has not faulted yet. */
bool pkeys_i_mechanism_await_open(uintptr_t address, uint64_t limit_ns);

/* ---- pool.c ------------------------------------------------------------------------------------------------------ */

/* [handler] Counts one more seat on the key that the image is resident under. The key, or 0: it is not resident. */
int pkeys_i_pool_pin(const struct pkeys_image *image);
void pkeys_i_pool_unpin(int key);
/* [handler] Makes the image resident, by evicting another if necessary, and pins it. The key, or a negative errno:
 * -EBUSY after `limit_ns` if seats have every key open. Takes the pool's lock. */
int pkeys_i_pool_load(struct pkeys_image *image, uint64_t limit_ns);
/* Protects an image with a virtual key. All locks held, masks not yet published. Answers 0 or a negative errno, and
 * whether the pool grew. */
int pkeys_i_pool_add(struct pkeys_image *image, bool *grew);
/* -EBUSY: a seat has it open. Else the image has no key any more, and its pages are closed or about to be unmapped. All
 * locks held. pkeys_i_pool_restore takes that back. */
int pkeys_i_pool_remove(struct pkeys_image *image, uint32_t *was);
void pkeys_i_pool_restore(struct pkeys_image *image, uint32_t was);
/* The image that was removed is gone, and no page carries its key `was` any more; or pages may (`untagged` false), and
 * the key is never used again. Answers what to free after the masks are published, a bit for each key: after the last
 * image all of them, else none. */
uint32_t pkeys_i_pool_gone(uint32_t was, bool untagged);
/* A key for an image or for loans, at the pool's expense if none is left. Registry and mechanism lock held; `locked`:
 * the pool's too. */
int pkeys_i_pool_key_alloc(bool locked);

/* ---- seat.c ------------------------------------------------------------------------------------------------------ */

/* Enters the pooled image, and has it loaded, whenever misses load. */
int pkeys_i_seat_load(struct pkeys_seat *seat, struct pkeys_image *image);

/* ---- block.c ----------------------------------------------------------------------------------------------------- */

/* Pages for at least `bytes`, with this access and key. 0 or a negative errno. Both locks held, for all but the wipe.
 */
int pkeys_i_block_take(size_t bytes, int access, int key, struct loan_block *out);
int pkeys_i_block_give_back(const struct loan_block *block);
/* Zeroes sealed pages, which are used again, as they come back and as they are lent. Meanwhile callees that were lent
 * something else could write them. It touches them, so without the mechanism lock. */
void pkeys_i_block_wipe(const struct loan_block *block);
/* Whether sealed pages keep `key`. */
bool pkeys_i_blocks_carry(int key);
/* Whether a live loan is sealed: its key is for good. */
bool pkeys_i_blocks_live(void);

/* ---- loan.c ------------------------------------------------------------------------------------------------------ */

/* Under both locks. */
bool pkeys_i_any_loans(void);
/* Gives every live loan `key`. 0 or a negative errno; a first part may have it then. */
int pkeys_i_loans_retag(int key);
/* Whether a live loan was made from past the first `bytes` of the space. */
bool pkeys_i_loans_reach_past(const struct pkeys_image *image, size_t index, size_t bytes);
/* Frees the loan key if nothing keyed is open any more, retagging live loans to key 0. */
void pkeys_i_loan_key_drop(void);

/* ---- tags.c, space.c --------------------------------------------------------------------------------------------- */

/* Access and key of all that belongs to the image, as things are. 0 or a negative errno. Both locks held. */
int pkeys_i_apply_image(const struct pkeys_image *image);
/* Unmaps the hidden areas of the image. Both locks held. */
void pkeys_i_hidden_release_all(const struct pkeys_image *image);

#endif
