/* pool.h: what pool.c and policy.c share: the words of keys, and the policy in use. */
#ifndef TURNKEY_PKEYS_POOL_H
#define TURNKEY_PKEYS_POOL_H

#include "internal.h"

static struct pool *const pool = &pkeys_i_registry.pool;

static inline uint32_t owner_of(uint64_t word) { return (uint32_t)(word >> 32); }
static inline uint32_t pins_of(uint64_t word) { return (uint32_t)word; }
static inline uint64_t way_word(uint32_t owner, uint32_t pins) { return (uint64_t)owner << 32 | pins; }
static inline bool is_member(int key) { return (pool->keys & 1u << key) != 0; }
static inline struct pkeys_image *image_of(uint32_t number) { return &pkeys_i_registry.images[number - 1]; }
static inline bool stripes(void) { return pool->options.policy == PKEYS_POLICY_STRIPES; }

/* A key whose image may be evicted, 0: there is none; and that the image under a key was entered. */
int pkeys_i_policy_victim(void);
void pkeys_i_policy_entered(int key);

#endif
