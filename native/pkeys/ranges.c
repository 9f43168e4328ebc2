/*
 * ranges.c: the table of adopted ranges. Thousands of them, sorted by address, looked up from a fault without a lock.
 *
 * A range lies in a slot and is never changed there. The order is an array of slot numbers, in two copies with one
 * version: readers use copy `version & 1`. A change writes new ranges into free slots, and the new order into the other
 * copy. It raises the version, and then writes the same order into the first copy. So at any instant one copy and the
 * slots that it names are complete and stand still. A signal handler that interrupted the writer reads that copy at
 * once. A reader repeats only if the version moved meanwhile. Slots that a change empties are used again by a later
 * change, never by the same.
 *
 * Writing needs both locks. All reads are [handler].
 */
#include <errno.h>

#include "internal.h"

static struct range_table *const table = &pkeys_i_registry.ranges;

static uint32_t load(const _Atomic uint32_t *word) { return atomic_load_explicit(word, memory_order_relaxed); }
static void store(_Atomic uint32_t *word, uint32_t value) { atomic_store_explicit(word, value, memory_order_relaxed); }

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Position in `order` of the first range that ends past `address`; `count` if there is none. Whoever reads beside a
 * writer may get nonsense, and checks the version; it ends in any case. */
static uint32_t position_past(const _Atomic uint32_t *order, uint32_t count, uintptr_t address) {
  uint32_t low = 0, high = count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2, slot = load(&order[middle]) % RANGE_SLOTS;
    uintptr_t start = atomic_load_explicit(&table->slots[slot].address, memory_order_relaxed);
    size_t bytes = atomic_load_explicit(&table->slots[slot].bytes, memory_order_relaxed);
    if (start + bytes > address) high = middle;
    else low = middle + 1;
  }
  return low;
}

static void slot_read(uint32_t slot, struct range *out) {
  const struct range_slot *from = &table->slots[slot % RANGE_SLOTS];
  out->address = atomic_load_explicit(&from->address, memory_order_relaxed);
  out->bytes = atomic_load_explicit(&from->bytes, memory_order_relaxed);
  out->region = load(&from->region);
  out->protection = load(&from->protection);
}

bool pkeys_i_range_next(uintptr_t address, struct range *out) {
  for (;;) {
    uint32_t version = atomic_load(&table->version), copy = version & 1;
    uint32_t count = load(&table->count[copy]);
    if (count > PKEYS_MAX_RANGES) count = PKEYS_MAX_RANGES;
    uint32_t position = position_past(table->order[copy], count, address);
    bool found = position < count;
    if (found) slot_read(load(&table->order[copy][position]), out);
    /* Pairs with the fence in publish: had anything of the change after next been seen, so would be its version. */
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&table->version, memory_order_relaxed) == version) return found;
  }
}

bool pkeys_i_range_find(uintptr_t address, struct range *out) {
  return pkeys_i_range_next(address, out) && address >= out->address;
}

size_t pkeys_i_range_count(void) { return load(&table->count[atomic_load(&table->version) & 1]); }

/* ---- changing ---------------------------------------------------------------------------------------------------- */

/* The change to one copy of the order: `removed` entries at `position` replaced by `added` slots. */
struct splice {
  uint32_t position, removed, added;
  uint32_t slots[RANGE_MOST_ADDED];
};

static void apply(uint32_t copy, uint32_t count, const struct splice *s) {
  _Atomic uint32_t *order = table->order[copy];
  uint32_t tail = s->position + s->removed, moved = s->position + s->added;
  if (moved < tail)
    for (uint32_t i = 0; tail + i < count; i++) store(&order[moved + i], load(&order[tail + i]));
  if (moved > tail)
    for (uint32_t i = count; i > tail; i--) store(&order[i - 1 + s->added - s->removed], load(&order[i - 1]));
  for (uint32_t i = 0; i < s->added; i++) store(&order[s->position + i], s->slots[i]);
  store(&table->count[copy], count - s->removed + s->added);
}

static uint32_t take_slot(const struct range *range) {
  uint32_t slot = table->free_count > 0 ? table->free[--table->free_count] : table->slots_used++;
  struct range_slot *to = &table->slots[slot];
  atomic_store_explicit(&to->address, range->address, memory_order_relaxed);
  atomic_store_explicit(&to->bytes, range->bytes, memory_order_relaxed);
  store(&to->region, range->region);
  store(&to->protection, range->protection);
  return slot;
}

static int replace(uint32_t position, uint32_t removed, const struct range *added, uint32_t count_added) {
  uint32_t version = load(&table->version), now = version & 1, count = load(&table->count[now]);
  if (count - removed + count_added > PKEYS_MAX_RANGES) return -EMFILE;
  struct splice splice = {.position = position, .removed = removed, .added = count_added};
  atomic_thread_fence(memory_order_release);
  for (uint32_t i = 0; i < count_added; i++) splice.slots[i] = take_slot(&added[i]);
  /* The slots that fall out are named by the copy that is replaced last: taken from there before that. */
  apply(now ^ 1, count, &splice);
  atomic_store(&table->version, version + 1);
  atomic_thread_fence(memory_order_release);
  for (uint32_t i = 0; i < removed; i++) table->free[table->free_count++] = load(&table->order[now][position + i]);
  apply(now, count, &splice);
  return 0;
}

/* Part of `range` below and above [start, end), as far as there is one. */
static void keep_outside(const struct range *range, uintptr_t start, uintptr_t end, struct range *pieces,
                         uint32_t *count) {
  uintptr_t last = range->address + range->bytes;
  if (range->address < start)
    pieces[(*count)++] = (struct range){range->address, start - range->address, range->region, range->protection};
  if (last > end) pieces[(*count)++] = (struct range){end, last - end, range->region, range->protection};
}

static bool continues(const struct range *below, const struct range *above) {
  return below->address + below->bytes == above->address && below->region == above->region &&
         below->protection == above->protection;
}

static void range_at(uint32_t position, struct range *out) {
  slot_read(load(&table->order[load(&table->version) & 1][position]), out);
}

int pkeys_i_range_set(uintptr_t address, size_t bytes, const struct range *with) {
  uint32_t now = load(&table->version) & 1, count = load(&table->count[now]);
  uintptr_t end = address + bytes;
  /* From the range before, which may go on into the new one, to the one after. */
  uint32_t first = position_past(table->order[now], count, address), last = first;
  if (with && first > 0) first--;
  struct range range, pieces[RANGE_MOST_ADDED];
  uint32_t below = 0, above = 0, skipped = 0;
  struct range lower[2], upper[2];
  for (last = first; last < count; last++) {
    range_at(last, &range);
    if (range.address > end || (!with && range.address >= end)) break;
    if (range.address + range.bytes < address) { /* does not touch it */
      skipped++;
      continue;
    }
    struct range outside[2];
    uint32_t parts = 0;
    keep_outside(&range, address, end, outside, &parts);
    for (uint32_t i = 0; i < parts; i++)
      if (outside[i].address < address) lower[below++] = outside[i];
      else upper[above++] = outside[i];
  }
  first += skipped;
  uint32_t added = 0;
  for (uint32_t i = 0; i < below; i++) pieces[added++] = lower[i];
  if (with) {
    if (added > 0 && continues(&pieces[added - 1], with)) pieces[added - 1].bytes += with->bytes;
    else pieces[added++] = *with;
  }
  for (uint32_t i = 0; i < above; i++)
    if (added > 0 && continues(&pieces[added - 1], &upper[i])) pieces[added - 1].bytes += upper[i].bytes;
    else pieces[added++] = upper[i];
  return replace(first, last - first, pieces, added);
}
