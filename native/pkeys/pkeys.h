/*
 * pkeys.h: protection keys, spaces, loans and mechanisms, for a VM that calls foreign code.
 *
 * This header and the six that it includes are the layer's manual. The layer is C11; it needs no Node and handles no
 * signals.
 *
 *   pkeys_keys.h       the register that holds a thread's rights; whether this machine has keys; the owned keys
 *   pkeys_mechanism.h  the mechanisms, and the two calls that close and open every image around a callout
 *   pkeys_image.h      images and their spaces
 *   pkeys_adopt.h      memory that the VM maps itself
 *   pkeys_loan.h       memory that is lent to foreign code
 *   pkeys_virtual.h    virtual keys: more images than keys
 *
 * A VM includes this one. The gate and the fault trap lie above, in native/trap, and call down into this layer.
 *
 * Words:
 *   image       the memory of a VM's object heap, made of spaces
 *   space       one named range of an image
 *   callout     one call from the VM into foreign code
 *   loan        memory lent to foreign code for writing
 *   owned key   a key that this layer has allocated
 *   VM code     code that runs with all rights to the owned keys
 *   bystander   a VM thread that meets a page which another thread's callout has closed
 * I1 to I13 are the rules of docs/invariants.md.
 *
 * Return values: a function returns 0 or a non-negative result on success, and a negative errno on failure:
 *   -EINVAL      an argument is wrong, or the image or loan is closed
 *   -ENOMEM      the kernel gave no memory or address space, or a reservation is exhausted
 *   -EOPNOTSUPP  this machine has no keys
 *   -ENOSPC      this machine has keys, and none is left
 *   -EMFILE      a table of this layer is full
 * No function prints, and none changes errno.
 *
 * Threads: any thread may call any function. pkeys_init must have returned before another thread calls one.
 * Signal handlers: only functions marked async-signal-safe may be called; they take no lock and do not allocate.
 * Rights: a function that changes something is VM code (I13). It first opens this thread's rights to all owned keys,
 * and leaves them open.
 * fork: the child has everything the parent has, and no lock is held in it. If VM code forked, the child calls
 * pkeys_forked next. A child forked inside a callout is foreign code: it keeps the callout's rights and counts for
 * ever.
 *
 * Kernel pages: pkeys(7), pkey_alloc(2), pkey_mprotect(2); Documentation/core-api/protection-keys.rst.
 */
#ifndef TURNKEY_PKEYS_H
#define TURNKEY_PKEYS_H

#include <turnkey/export.h>

#include "pkeys_adopt.h"
#include "pkeys_image.h"
#include "pkeys_keys.h"
#include "pkeys_loan.h"
#include "pkeys_mechanism.h"
#include "pkeys_virtual.h"

TURNKEY_API_BEGIN

/* Version of the library that runs, in the form of TURNKEY_VERSION in turnkey/version.h. Async-signal-safe. */
const char *pkeys_version(void);

TURNKEY_API_END
#endif
