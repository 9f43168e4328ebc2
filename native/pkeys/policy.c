/*
 * policy.c: which image a miss takes the key from: the policies of pkeys_virtual.h, behind one interface. Called under
 * the pool's lock, or on a hit without. [handler]
 */
#include <errno.h>
#include <string.h>

#include "pool.h"

static bool evictable(int key) {
  uint64_t word = atomic_load_explicit(&pool->way[key].word, memory_order_relaxed);
  return pins_of(word) == 0 && owner_of(word) < WAY_SHARED;
}

/* The evictable key with the lowest stamp, `except` left out. 0: there is none. */
static int oldest(int except) {
  int found = 0;
  uint32_t lowest = 0;
  for (uint32_t rest = pool->keys & ~(1u << except); rest; rest &= rest - 1) {
    int key = __builtin_ctz(rest);
    uint32_t stamp = atomic_load_explicit(&pool->way[key].stamp, memory_order_relaxed);
    if ((found && (int32_t)(stamp - lowest) >= 0) || !evictable(key)) continue;
    found = key;
    lowest = stamp;
  }
  return found;
}

static int victim_lru(void) { return oldest(0); }

static int victim_clock(void) {
  int fallback = 0;
  for (int step = 0; step < 2 * PKEYS_KEYS; step++) {
    int key = (int)(pool->hand = (pool->hand + 1) % PKEYS_KEYS);
    if (!is_member(key) || !evictable(key)) continue;
    if (!atomic_exchange_explicit(&pool->way[key].stamp, 0, memory_order_relaxed)) return key;
    fallback = key;
  }
  return fallback;
}

static int victim_random(void) {
  int candidates[PKEYS_KEYS], count = 0;
  for (int key = 1; key < PKEYS_KEYS; key++)
    if (is_member(key) && evictable(key)) candidates[count++] = key;
  if (count == 0) return 0;
  pool->random ^= pool->random << 13; /* xorshift64 */
  pool->random ^= pool->random >> 7;
  pool->random ^= pool->random << 17;
  return candidates[(pool->random >> 32) % (uint32_t)count];
}

static int victim_nth_miss(void) {
  int guest = pool->keys ? __builtin_ctz(pool->keys) : 0; /* the key that is kept for guests */
  bool turn = ++pool->misses % pool->options.nth == 0;
  if (!turn && guest && evictable(guest)) return guest;
  int key = oldest(guest);
  return key ? key : oldest(0);
}

static int victim_none(void) { return 0; }

static const struct policy {
  const char *name;
  int (*victim)(void); /* an evictable key, 0: none */
  bool once;           /* `stamp` says whether the image was entered, and not when */
} policies[PKEYS_POLICIES] = {
    [PKEYS_POLICY_LRU] = {"lru", victim_lru, false},
    [PKEYS_POLICY_CLOCK] = {"clock", victim_clock, true},
    [PKEYS_POLICY_RANDOM] = {"random", victim_random, true},
    [PKEYS_POLICY_NTH_MISS] = {"nth-miss", victim_nth_miss, false},
    [PKEYS_POLICY_STRIPES] = {"stripes", victim_none, true},
};

int pkeys_i_policy_victim(void) { return policies[pool->options.policy].victim(); }

const char *pkeys_policy_name(enum pkeys_policy policy) {
  return (unsigned)policy < PKEYS_POLICIES ? policies[policy].name : NULL;
}

int pkeys_policy_parse(const char *name, enum pkeys_policy *out) {
  for (unsigned i = 0; name && i < PKEYS_POLICIES; i++)
    if (strcmp(name, policies[i].name) == 0) {
      *out = (enum pkeys_policy)i;
      return 0;
    }
  return -EINVAL;
}

/* Relaxed, and not one step: what two threads enter at the same instant may share a stamp. */
void pkeys_i_policy_entered(int key) {
  uint32_t stamp = 1;
  if (!policies[pool->options.policy].once) {
    stamp = atomic_load_explicit(&pool->clock, memory_order_relaxed) + 1;
    atomic_store_explicit(&pool->clock, stamp, memory_order_relaxed);
  }
  atomic_store_explicit(&pool->way[key].stamp, stamp, memory_order_relaxed);
}
