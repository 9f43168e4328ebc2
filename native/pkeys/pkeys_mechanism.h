/*
 * pkeys_mechanism.h: the ways to close every open image around a callout, as the gate and the fault handler see them.
 * Part of pkeys.h, whose rules for return values, threads and signal handlers hold here.
 */
#ifndef TURNKEY_PKEYS_MECHANISM_H
#define TURNKEY_PKEYS_MECHANISM_H

#include <stdbool.h>
#include <stdint.h>

#include <turnkey/export.h>

TURNKEY_API_BEGIN

enum pkeys_mechanism {
  PKEYS_MECHANISM_UNSET = 0,
  PKEYS_MECHANISM_NONE,
  PKEYS_MECHANISM_FLAG,
  PKEYS_MECHANISM_MPROTECT_PAGE,
  PKEYS_MECHANISM_MPROTECT_RANGE,
  PKEYS_MECHANISM_MPROTECT_NAIVE,
  PKEYS_MECHANISM_PKEYS,
  PKEYS_MECHANISM_PKEYS_GLIBC,
};
/* The name of a mechanism, such as 'mprotect-page', and back. docs/architecture.md explains each mechanism. Parsing an
 * unknown name answers -EINVAL. */
const char *pkeys_mechanism_name(enum pkeys_mechanism mechanism);
int pkeys_mechanism_parse(const char *name, enum pkeys_mechanism *out);

/* ---- around a callout -------------------------------------------------------------------------------------------- */

/*
 * The slow gate calls these two on the way into and out of foreign code, with the VM's rights. Enter closes, and leave
 * opens, every image whose mechanism is *hooked*, that is, not done by the fast gate:
 *
 *   mechanism               enter                               leave
 *   mprotect-page, -range   closes if it is the first inside    opens if it is the last inside
 *   mprotect-naive          closes                              opens, whoever else is inside
 *   pkeys-glibc             pkey_set(3) denies, this thread     pkey_set(3) opens, this thread
 *
 * `lent` says that this callout was passed a loan. A callback leaves and enters again, with the same `lent`.
 * Both return 0, or the negative errno of the first mprotect that failed. A failed enter has opened everything again;
 * no leave may follow it.
 * Neither allocates or changes errno. With mprotect-page or -range both take the mechanism lock. A signal handler that
 * interrupted a callout may call both, even on the thread that holds that lock.
 */
int pkeys_enter_foreign(bool lent);
int pkeys_leave_foreign(bool lent);
/*
 * The same for a caller with a number of its own below PKEYS_MAX_CALLERS; the trap passes its thread's slot. Calls may
 * be repeated, and a signal handler on the same thread may interrupt one with the other. The caller is then in or out,
 * as the last call said, and never in twice. A plain count cannot do that: a handler could not see whether the
 * interrupted code had counted already.
 */
#define PKEYS_MAX_CALLERS 1024
int pkeys_enter_foreign_as(unsigned caller, bool lent);
int pkeys_leave_foreign_as(unsigned caller, bool lent);
/* In a child that VM code forked, other threads' callouts do not go on. So their counts are forgotten, and what they
 * had closed is opened. The trap does this for its own. 0 or a negative errno. */
int pkeys_forked(void);

/*
 * The fault handler calls this on a bystander: a VM thread outside callouts that got SEGV_ACCERR at `address`. The
 * function waits, for at most `limit_ns`, until the counted mprotect mechanisms have opened that page. Past the limit
 * it opens the page itself: the callouts inside are unprotected for that window, which is counted.
 *
 *   true   retry the instruction
 *   false  no counted mechanism has closed the page; or the same fault has come back several times while the page was
 *          open (an instruction fetch, for example), so a retry would never end
 *
 * It opens this thread's rights. It is async-signal-safe (futex, clock_gettime, mprotect) and takes no lock, so it
 * returns even while another thread holds one.
 */
bool pkeys_bystander_wait(uintptr_t address, uint64_t limit_ns);
/* What bystanders have suffered since the process began. */
struct pkeys_bystanders {
  uint64_t faults;    /* faults that were waited for */
  uint64_t waited_ns; /* sum of the waits, in nanoseconds */
  uint64_t windows;   /* times that closed pages were opened although callouts were inside */
};
struct pkeys_bystanders pkeys_bystanders(void);

TURNKEY_API_END
#endif
