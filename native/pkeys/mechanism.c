/*
 * mechanism.c: the mechanisms that need calls around the foreign function (mprotect-*, pkeys-glibc), and the bystanders
 * of the process-wide ones. mprotect(2), futex(2), pkey_set(3).
 *
 * Counted mechanisms (mprotect-page, mprotect-range). `inside` counts the hooked callouts that are in foreign code.
 * A thread that changes it calls reconcile afterwards. Under the mechanism lock, that makes what is closed follow from
 * the counts *as they are then*: closed while inside > 0. It is a level and not an edge, so no thread needs to know
 * whether it was first or last. An image that becomes mprotect-* while others are inside is closed at once. No step is
 * lost: between a change of the count and its reconcile, another thread's reconcile does the work or finds it to do.
 * The lending arena likewise: closed while callouts are inside and none of them was passed a loan. (mprotect is
 * process-wide: one lent callout opens the arena to all others. Under keys it does not. That is a result to show, not a
 * defect here.)
 *
 * A callout under mprotect-naive closes and opens for itself, even while others are inside: the hole that it exists to
 * show.
 *
 * Signal handlers. A VM handler may make guarded callouts of its own, and may do so on the thread that holds the
 * mechanism lock, in the middle of closing or opening. lock.c lets it in. By the time it returns it has left as often
 * as it has entered, so the interrupted work is still the right work; only what has been done of it may be undone. So
 * the handler acts on all pages, not on the difference (`stale`), and leaves it to the next thread to do the same. If
 * other threads came meanwhile, they wait for the lock and reconcile after.
 *
 * Bystanders never deadlock. pkeys_bystander_wait takes no lock. It waits for the closing word to become even, at most
 * for its limit, and then opens the region by an mprotect of its own. So the holder of the mechanism lock (a thread
 * stopped in enter, or the very thread that the handler has interrupted) can only delay it by that limit. In the other
 * direction, pkeys_i_registry_quiesce alone waits for a bystander. It does so only while the bystander is between two
 * counter operations with one mprotect between them.
 */
#include <errno.h>

#include "internal.h"
#include "sys.h"

static int open_access(const struct region *region) { return (int)region->protection; }
/* What the VM had given, without what a callout loses. */
static int closed_access(const struct region *region) {
  return region->kind == REGION_LOAN || region->deny == PKEYS_NO_ACCESS ? PROT_NONE
                                                                        : (int)region->protection & ~PROT_WRITE;
}

static bool is_closed(const struct closing *closing) { return (atomic_load(&closing->word) & 1) != 0; }

static bool any_caller(_Atomic uint64_t *bits) {
  for (size_t i = 0; i < PKEYS_MAX_CALLERS / 64; i++)
    if (atomic_load(&bits[i])) return true;
  return false;
}
static void mark_caller(_Atomic uint64_t *bits, unsigned caller, bool in) {
  uint64_t bit = 1ull << (caller % 64);
  if (in) atomic_fetch_or(&bits[caller / 64], bit);
  else atomic_fetch_and(&bits[caller / 64], ~bit);
}
bool pkeys_i_mechanism_anyone_inside(void) {
  return atomic_load(&pkeys_i_registry.inside) > 0 || any_caller(pkeys_i_registry.callers_inside);
}
static bool anyone_lent(void) {
  return atomic_load(&pkeys_i_registry.lent_inside) > 0 || any_caller(pkeys_i_registry.callers_lent);
}

int pkeys_i_mechanism_access(const struct region *region) {
  if (region->pooled)
    return image_key(&pkeys_i_registry.images[region->pooled - 1]) ? open_access(region)
                                                                   : pkeys_i_closed_access(region);
  struct mask_record record;
  pkeys_i_masks_read(&record);
  if (region->kind == REGION_LOAN) {
    if (record.naive && pkeys_i_mechanism_anyone_inside() && !record.counted) return -1;
    return is_closed(&pkeys_i_registry.arena_closing) ? closed_access(region) : open_access(region);
  }
  if (region->mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE && pkeys_i_mechanism_anyone_inside()) return -1;
  return mechanism_is_counted(region->mechanism) && is_closed(&pkeys_i_registry.images_closing) ? closed_access(region)
                                                                                                : open_access(region);
}

int pkeys_i_mechanism_settled_access(const struct region *region) {
  return region->mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE ? -1 : pkeys_i_mechanism_access(region);
}

/* One region to `access`: page by page if the mechanism says so. Opening after a failure goes by range, which needs no
 * more mappings than there are. */
static int set_access(const struct region *region, int access, bool by_page) {
  if (!by_page) return sys_mprotect(region->address, region->bytes, access);
  for (size_t done = 0; done < region->bytes; done += PKEYS_PAGE) {
    int error = sys_mprotect(region->address + done, PKEYS_PAGE, access);
    if (error) return error;
  }
  return 0;
}

enum group { GROUP_COUNTED, GROUP_NAIVE, GROUP_LOANS };

static bool in_group(const struct region *region, enum group group) {
  switch (group) {
    case GROUP_COUNTED: return region->kind != REGION_LOAN && mechanism_is_counted(region->mechanism);
    case GROUP_NAIVE: return region->kind != REGION_LOAN && region->mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE;
    case GROUP_LOANS: return region->kind == REGION_LOAN;
  }
  return false;
}

/* Whether closing changes nothing: pages that the VM has no right to write anyway. */
static bool same_closed(const struct region *region) { return closed_access(region) == open_access(region); }

static int set_region(const struct region *region, bool close, bool by_page_allowed) {
  if (same_closed(region)) return 0;
  /* Hidden areas and loans are no pages of a space: one call each. */
  bool by_page = by_page_allowed && region->kind == REGION_SPACE && region->mechanism == PKEYS_MECHANISM_MPROTECT_PAGE;
  return set_access(region, close ? closed_access(region) : open_access(region), by_page);
}

/* Every region of a group opened or closed, adopted ranges included. The first error ends closing; opening goes on to
 * the end and reports the first error. */
static int set_group(enum group group, bool close, bool by_page_allowed) {
  int first = 0;
  struct region region;
  uint32_t used = atomic_load(&pkeys_i_registry.regions_used);
  for (uint32_t i = 0; i < used; i++) {
    pkeys_i_region_read(i, &region);
    if (region.kind == REGION_FREE || region.bytes == 0 || !in_group(&region, group)) continue;
    int error = set_region(&region, close, by_page_allowed);
    if (error && !first) first = error;
    if (error && close) return error;
  }
  struct range range;
  for (uintptr_t from = 0; group != GROUP_LOANS && pkeys_i_range_next(from, &range);
       from = range.address + range.bytes) {
    if (!pkeys_i_range_region(&range, &region) || !in_group(&region, group)) continue;
    int error = set_region(&region, close, by_page_allowed);
    if (error && !first) first = error;
    if (error && close) return error;
  }
  return first;
}

/* ---- counted ----------------------------------------------------------------------------------------------------- */

/* Odd while closed; a new value with each closing, so that bystanders can tell one from the next. Neither undoes what a
 * handler in between has done. */
static void mark_closed(struct closing *closing) {
  if (is_closed(closing)) atomic_fetch_add(&closing->word, 2);
  else atomic_fetch_or(&closing->word, 1);
}
static void mark_open(struct closing *closing) {
  uint32_t word = atomic_load(&closing->word);
  if (word & 1) atomic_compare_exchange_strong(&closing->word, &word, word + 1);
  if (atomic_load(&closing->waiters) > 0) sys_futex_wake(&closing->word, INT32_MAX);
}

/* Makes one closing what it should be. Mechanism lock held. */
static int reconcile_one(struct closing *closing, _Atomic uint32_t *stale, enum group group, bool close) {
  bool closed = is_closed(closing);
  if (closed == close && !atomic_load(stale)) return 0;
  atomic_store(stale, 0);
  int error = 0;
  if (close) {
    mark_closed(closing);
    error = set_group(group, true, true);
    if (!error) return 0;
    if (closed)
      atomic_fetch_add(&pkeys_i_registry.bystander_windows, 1); /* others are inside and lose their protection */
  }
  int open_error = set_group(group, false, !error);
  if (open_error) atomic_store(stale, 1); /* something is still closed: whoever reconciles next tries again */
  mark_open(closing);
  return error ? error : open_error;
}

int pkeys_i_mechanism_reconcile_locked(void) {
  struct mask_record record;
  pkeys_i_masks_read(&record);
  bool inside = record.counted > 0 && pkeys_i_mechanism_anyone_inside();
  int error = reconcile_one(&pkeys_i_registry.images_closing, &pkeys_i_registry.images_stale, GROUP_COUNTED, inside);
  int arena_error = reconcile_one(&pkeys_i_registry.arena_closing, &pkeys_i_registry.arena_stale, GROUP_LOANS,
                                  inside && !error && !anyone_lent());
  return error ? error : arena_error;
}

static void nothing_is_known(void) {
  atomic_store(&pkeys_i_registry.images_stale, 1);
  atomic_store(&pkeys_i_registry.arena_stale, 1);
}

/* From a callout that has changed the counts; or from a signal handler that does so on the thread that holds the lock.
 */
static int reconcile(void) {
  bool nested = pkeys_i_lock_mine(&pkeys_i_registry.mechanism_lock);
  pkeys_i_lock_take(&pkeys_i_registry.mechanism_lock);
  if (nested) nothing_is_known(); /* here */
  int error = pkeys_i_mechanism_reconcile_locked();
  if (nested) nothing_is_known(); /* where the holder goes on */
  pkeys_i_lock_give(&pkeys_i_registry.mechanism_lock);
  return error;
}

/* ---- each callout for itself ------------------------------------------------------------------------------------- */

static int naive_set(bool close, bool lent, const struct mask_record *record) {
  atomic_fetch_add(&pkeys_i_registry.lockfree_users, 1);
  int error = set_group(GROUP_NAIVE, close, false);
  /* The arena as this callout needs it; where counted mechanisms are open too, theirs is the rule. */
  if (!error && !record->counted) error = set_group(GROUP_LOANS, close && !lent, false);
  if (error && close) {
    set_group(GROUP_NAIVE, false, false);
    if (!record->counted) set_group(GROUP_LOANS, false, false);
  }
  atomic_fetch_sub(&pkeys_i_registry.lockfree_users, 1);
  return error;
}

static void glibc_set(const struct mask_record *record, bool close, bool lent) {
  for (int key = 1; key < PKEYS_KEYS; key++) {
    if (!(record->glibc_fields & pkru_field(key))) continue;
    bool open = !close || (lent && (record->loan_field & pkru_field(key)));
    pkeys_i_library_pkey_set(key, open ? PKEYS_OPEN : (unsigned)pkru_rights(record->glibc_rights, key));
  }
}

/* ---- the gate's calls -------------------------------------------------------------------------------------------- */

#define NO_NUMBER PKEYS_MAX_CALLERS

static int leave(unsigned caller, bool lent) {
  struct mask_record record;
  if (caller < NO_NUMBER) {
    mark_caller(pkeys_i_registry.callers_lent, caller, false);
    mark_caller(pkeys_i_registry.callers_inside, caller, false);
  } else {
    if (lent) atomic_fetch_sub(&pkeys_i_registry.lent_inside, 1);
    atomic_fetch_sub(&pkeys_i_registry.inside, 1);
  }
  /* The masks are read after the count has changed: code that makes an image mprotect-* publishes that first and reads
   * the count then. */
  pkeys_i_masks_read(&record);
  int error = 0;
  if (record.glibc_fields) glibc_set(&record, false, lent);
  if (record.naive) error = naive_set(false, lent, &record);
  if (record.counted) {
    int counted_error = reconcile();
    if (!error) error = counted_error;
  }
  return error;
}

static int enter(unsigned caller, bool lent) {
  struct mask_record record;
  if (caller < NO_NUMBER) {
    mark_caller(pkeys_i_registry.callers_inside, caller, true);
    mark_caller(pkeys_i_registry.callers_lent, caller, lent);
  } else {
    atomic_fetch_add(&pkeys_i_registry.inside, 1);
    if (lent) atomic_fetch_add(&pkeys_i_registry.lent_inside, 1);
  }
  pkeys_i_masks_read(&record);
  int error = 0;
  if (record.counted) error = reconcile();
  if (!error && record.naive) error = naive_set(true, lent, &record);
  if (error) {
    leave(caller, lent);
    return error;
  }
  if (record.glibc_fields) glibc_set(&record, true, lent);
  return 0;
}

int pkeys_enter_foreign(bool lent) { return enter(NO_NUMBER, lent); }
int pkeys_leave_foreign(bool lent) { return leave(NO_NUMBER, lent); }
int pkeys_enter_foreign_as(unsigned caller, bool lent) { return caller < NO_NUMBER ? enter(caller, lent) : -EINVAL; }
int pkeys_leave_foreign_as(unsigned caller, bool lent) { return caller < NO_NUMBER ? leave(caller, lent) : -EINVAL; }

int pkeys_forked(void) {
  int error = pkeys_i_registry_enter();
  if (error) return error;
  pkeys_i_lock_take(&pkeys_i_registry.mechanism_lock);
  atomic_store(&pkeys_i_registry.inside, 0);
  atomic_store(&pkeys_i_registry.lent_inside, 0);
  for (size_t i = 0; i < PKEYS_MAX_CALLERS / 64; i++) {
    atomic_store(&pkeys_i_registry.callers_inside[i], 0);
    atomic_store(&pkeys_i_registry.callers_lent[i], 0);
  }
  atomic_store(&pkeys_i_registry.lockfree_users, 0);
  nothing_is_known();
  error = pkeys_i_mechanism_reconcile_locked();
  pkeys_i_lock_give(&pkeys_i_registry.mechanism_lock);
  pkeys_i_registry_leave();
  return error;
}

/* ---- bystanders -------------------------------------------------------------------------------------------------- */

/*
 * Whether this thread faulted at this address before with the closing in this same state, more often than a mechanism
 * explains. While the word stands still, an open region stays open. So the same fault once more has another cause (an
 * instruction fetch, or pages that other code protected), and retrying it would never end.
 */
static bool seen_too_often(uintptr_t address, uint32_t word) {
  uintptr_t thread = sys_thread();
  struct bystander_memory *slot = &pkeys_i_registry.bystanders[(thread >> 12 ^ thread >> 20) % BYSTANDER_SLOTS];
  if (atomic_load(&slot->thread) == thread && atomic_load(&slot->address) == address &&
      atomic_load(&slot->word) == word)
    return atomic_fetch_add(&slot->repeats, 1) >= 3;
  atomic_store(&slot->thread, thread);
  atomic_store(&slot->address, address);
  atomic_store(&slot->word, word);
  atomic_store(&slot->repeats, 1);
  return false;
}

/* What closes the region at `address`: NULL if that is no counted mechanism, or nothing is there. */
static struct closing *closing_of(uintptr_t address, struct region *region) {
  if (!pkeys_i_region_find(address, region)) return NULL;
  if (address - region->address >= region->bytes) return NULL; /* reserved, not committed: a fault of its own */
  if (region->kind != REGION_LOAN)
    return mechanism_is_counted(region->mechanism) ? &pkeys_i_registry.images_closing : NULL;
  struct mask_record record;
  pkeys_i_masks_read(&record);
  return record.counted ? &pkeys_i_registry.arena_closing : NULL;
}

/* While `closing` shows the odd `word`. */
static bool await_change(struct closing *closing, uint32_t word, uintptr_t address, uint64_t limit_ns) {
  uint64_t start = sys_now_ns(), waited = 0;
  atomic_fetch_add(&closing->waiters, 1);
  while (atomic_load(&closing->word) == word && waited < limit_ns) {
    sys_futex_wait(&closing->word, word, limit_ns - waited);
    waited = sys_now_ns() - start;
  }
  atomic_fetch_sub(&closing->waiters, 1);
  atomic_fetch_add(&pkeys_i_registry.bystander_waited_ns, waited);
  /* Opened, or closed afresh: if it is closed still, the retry faults and waits again. */
  if (atomic_load(&closing->word) != word) return true;

  /* Past the limit. Looked up again under the count: the region may be gone, and its address may be somebody else's. */
  struct region region;
  atomic_fetch_add(&pkeys_i_registry.lockfree_users, 1);
  bool opened = closing_of(address, &region) && sys_mprotect(region.address, region.bytes, open_access(&region)) == 0;
  atomic_fetch_sub(&pkeys_i_registry.lockfree_users, 1);
  if (opened) atomic_fetch_add(&pkeys_i_registry.bystander_windows, 1);
  return opened;
}

bool pkeys_i_mechanism_await_open(uintptr_t address, uint64_t limit_ns) {
  struct region region;
  struct closing *closing = closing_of(address, &region);
  if (!closing) return false;
  uint32_t word = atomic_load(&closing->word);
  return (word & 1) ? await_change(closing, word, address, limit_ns) : true;
}

bool pkeys_bystander_wait(uintptr_t address, uint64_t limit_ns) {
  pkeys_open_thread();
  struct region region;
  struct closing *closing = closing_of(address, &region);
  if (!closing) return false;
  uint32_t word = atomic_load(&closing->word);
  if (seen_too_often(address, word)) return false;
  atomic_fetch_add(&pkeys_i_registry.bystander_faults, 1);
  return (word & 1) ? await_change(closing, word, address, limit_ns) : true; /* even: opened since the fault */
}

struct pkeys_bystanders pkeys_bystanders(void) {
  uint32_t saved = pkeys_i_reader_enter();
  struct pkeys_bystanders counts = {atomic_load(&pkeys_i_registry.bystander_faults),
                                    atomic_load(&pkeys_i_registry.bystander_waited_ns),
                                    atomic_load(&pkeys_i_registry.bystander_windows)};
  pkeys_i_reader_leave(saved);
  return counts;
}
