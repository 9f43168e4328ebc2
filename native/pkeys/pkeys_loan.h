/*
 * pkeys_loan.h: memory that is lent to foreign code for writing. Part of pkeys.h, whose rules for return values,
 * threads and signal handlers hold here.
 */
#ifndef TURNKEY_PKEYS_LOAN_H
#define TURNKEY_PKEYS_LOAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <turnkey/export.h>

#include "pkeys_image.h"

TURNKEY_API_BEGIN

#define PKEYS_MAX_LOANS 256 /* live at the same time, over all images */

/* Direction of a loan, as the callee sees it. With OUT the callee writes; with IN it reads. */
enum pkeys_loan_mode {
  PKEYS_LOAN_OUT = 0,
  PKEYS_LOAN_IN = 1,
  PKEYS_LOAN_INOUT = 2,
};
struct pkeys_loan {
  void *address; /* the first byte that the callee may use; not aligned if the loan was made with `flush_end` */
  size_t bytes;
  uint32_t id;
};
/*
 * Lends `bytes` of memory to foreign code. A loan is made of whole, zeroed pages between two guard pages. All loans
 * together are the *lending arena*, which may be sealed (pkeys_seal_loans). `flush_end` puts the end of the bytes
 * directly before the upper guard page; otherwise their start lies directly after the lower one.
 *
 * With `image`, the loan stands for [offset, offset+bytes) of space `space_index`:
 *
 *   mode               copied into the loan now   copied back by pkeys_loan_release
 *   PKEYS_LOAN_OUT     no                         yes
 *   PKEYS_LOAN_IN      yes                        no
 *   PKEYS_LOAN_INOUT   yes                        yes
 *
 * These copies are VM code. If other threads' callouts keep the image closed, a copy waits for up to one second; after
 * that it relies on the trap.
 *
 * Who can reach the arena during callouts:
 *
 *   open images have               the arena is open in
 *   pkeys, pkeys-glibc             each callout that was passed a loan, by the loan key
 *   mprotect-page, -range          all callouts, while at least one of them was passed a loan
 *   mprotect-naive                 all callouts or none, by the callout that entered or left last
 *
 * The loan key is allocated with the first loan while an image with a keyed mechanism is open.
 *
 *   -EINVAL  `bytes` is 0 or over PKEYS_MAX_BYTES; the mode or space is unknown; the image is closed
 *   -ERANGE  the range reaches outside the space
 *   -EMFILE  PKEYS_MAX_LOANS loans are live; or the arena is sealed, and four times as many blocks of other sizes exist
 *   -ENOSPC  the arena needs the loan key, and no key is left
 */
int pkeys_lend(size_t bytes, struct pkeys_image *image, size_t space_index, size_t offset, enum pkeys_loan_mode mode,
               bool flush_end, struct pkeys_loan *out);
int pkeys_loan_release(uint32_t id); /* -EINVAL if no such loan is live */
/* The id of the live loan that contains [address, address+bytes), or 0. Lock-free and async-signal-safe. */
uint32_t pkeys_find_loan(uintptr_t address, size_t bytes);

TURNKEY_API_END
#endif
