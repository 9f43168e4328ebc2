/*
 * registry.c: the process-wide set of owned keys, the masks made from it, and the latched tables that others read
 * without locks. The rules are in internal.h. pkey_alloc(2), pkeys(7).
 */
#include <errno.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

struct registry pkeys_i_registry = {
    .masks = {.copy = {{.masks = {.keep = ~0u}}, {.masks = {.keep = ~0u}}}},
    .next_image_id = 1,
    .next_loan_id = 1,
};

/* What a thread must know before it has any right to the pkeys_i_registry. A page of its own on key 0, read-only once
 * pkeys_init is done. */
static struct {
  _Atomic int32_t supported;   /* 0: not asked yet, 1: yes, -1: no */
  _Atomic int32_t runtime_key; /* 0: none */
  _Atomic int32_t initialised;
  struct rehearsal rehearsal; /* set before `supported` is */
} __attribute__((aligned(4096))) boot;
/* On key 0 as well: a thread that waits for the first pkeys_init has no right yet to what that tags. */
static struct lock key_lock;

void pkeys_i_keys_hold(void) { pkeys_i_lock_take(&key_lock); }
void pkeys_i_keys_let_go(void) { pkeys_i_lock_give(&key_lock); }
int pkeys_i_key_alloc(void) {
  pkeys_i_keys_hold();
  int key = 0;
  for (int spare = 1; spare < PKEYS_KEYS && key == 0; spare++)
    if (pkeys_i_registry.spare_keys & 1u << spare) key = spare;
  if (key) {
    pkeys_i_registry.spare_keys &= ~(1u << key);
    pkeys_wrpkru(pkeys_rdpkru() & ~pkru_field(key)); /* as pkey_alloc leaves it */
  } else {
    key = sys_pkey_alloc();
  }
  pkeys_i_keys_let_go();
  return key;
}
void pkeys_i_key_free(int key) {
  pkeys_i_keys_hold();
  enum key_step failed = boot.rehearsal.failed;
  if ((failed == KEY_STEP_FREE && boot.rehearsal.signal) || sys_pkey_free(key))
    pkeys_i_registry.spare_keys |= 1u << key;
  pkeys_i_keys_let_go();
}

_Static_assert(sizeof boot % 4096 == 0 && sizeof(struct registry) % 4096 == 0,
               "whole pages: nothing else is tagged or sealed with them");

bool pkeys_supported(void) {
  int32_t known = atomic_load_explicit(&boot.supported, memory_order_relaxed);
  if (known == 0) {
    /* Under the lock: the page may be sealed by now. */
    pkeys_i_keys_hold();
    known = atomic_load(&boot.supported);
    if (known == 0) {
      known = pkeys_i_cpu_has_ospke() ? 1 : -1;
      if (known > 0) {
        pkeys_i_rehearse(&boot.rehearsal, false);
        enum key_step failed = boot.rehearsal.failed;
        if (failed == KEY_STEP_CHILD || failed == KEY_STEP_REGISTER) known = -1;
        if (boot.rehearsal.key > 0) pkeys_i_registry.spare_keys |= 1u << boot.rehearsal.key;
      }
      atomic_store(&boot.supported, known);
    }
    pkeys_i_keys_let_go();
  }
  return known > 0;
}

/* ---- latches ------------------------------------------------------------------------------------------------- */

typedef uint64_t __attribute__((may_alias)) word_alias;

static void copy_out(void *to, const void *from, size_t bytes) {
  for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
    ((word_alias *)to)[i] = __atomic_load_n((const word_alias *)from + i, __ATOMIC_RELAXED);
}
static void copy_in(void *to, const void *from, size_t bytes) {
  for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
    __atomic_store_n((word_alias *)to + i, ((const word_alias *)from)[i], __ATOMIC_RELAXED);
}

static void latch_read(const _Atomic uint32_t *version, const void *copies, void *out, size_t bytes) {
  for (;;) {
    uint32_t before = atomic_load(version);
    copy_out(out, (const char *)copies + (before & 1) * bytes, bytes);
    /* Pairs with the fence in latch_publish: had a word of the publication after next been seen, so would be the next
     * version. */
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(version, memory_order_relaxed) == before) return;
  }
}
static void latch_publish(_Atomic uint32_t *version, void *copies, const void *value, size_t bytes) {
  uint32_t next = atomic_load_explicit(version, memory_order_relaxed) + 1;
  atomic_thread_fence(memory_order_release);
  copy_in((char *)copies + (next & 1) * bytes, value, bytes);
  /* Sequentially consistent: readers that decide by a record after announcing themselves (pkeys_i_registry_quiesce,
   * mechanism.c) rely on it. */
  atomic_store(version, next);
}

_Static_assert(sizeof(struct region) % 8 == 0, "copied in words");
_Static_assert(sizeof(struct mask_record) % 8 == 0, "copied in words");
_Static_assert(offsetof(struct region_latch, copy) % 8 == 0 && offsetof(struct mask_latch, copy) % 8 == 0,
               "copied in words");

void pkeys_i_region_read(size_t index, struct region *out) {
  struct region_latch *latch = &pkeys_i_registry.regions[index];
  latch_read(&latch->version, latch->copy, out, sizeof *out);
}
void pkeys_i_region_publish(size_t index, const struct region *region) {
  struct region_latch *latch = &pkeys_i_registry.regions[index];
  latch_publish(&latch->version, latch->copy, region, sizeof *region);
  if (index >= atomic_load(&pkeys_i_registry.regions_used))
    atomic_store(&pkeys_i_registry.regions_used, (uint32_t)index + 1);
}
void pkeys_i_masks_read(struct mask_record *out) {
  latch_read(&pkeys_i_registry.masks.version, pkeys_i_registry.masks.copy, out, sizeof *out);
}

int pkeys_i_region_free_slot(void) {
  struct region region;
  for (size_t i = 0; i < MAX_REGIONS; i++) {
    pkeys_i_region_read(i, &region);
    if (region.kind == REGION_FREE) return (int)i;
  }
  return -EMFILE;
}

bool pkeys_i_region_find(uintptr_t address, struct region *out) {
  uint32_t used = atomic_load(&pkeys_i_registry.regions_used);
  for (uint32_t i = 0; i < used; i++) {
    pkeys_i_region_read(i, out);
    if (out->kind != REGION_FREE && address - out->address < out->reserved) return true;
  }
  struct range range;
  return pkeys_i_range_find(address, &range) && pkeys_i_range_region(&range, out);
}

/* ---- rights to the registry ---------------------------------------------------------------------------------- */

uint32_t pkeys_i_reader_enter(void) {
  int key = atomic_load_explicit(&boot.runtime_key, memory_order_relaxed);
  if (key == 0) return 0;
  uint32_t pkru = pkeys_rdpkru();
  if (pkru_rights(pkru, key) & PKEYS_NO_ACCESS)
    pkeys_wrpkru(pkru_combine(pkru, pkru_field(key), pkru_bits(key, PKEYS_NO_WRITE)));
  return pkru;
}
void pkeys_i_reader_leave(uint32_t saved) {
  int key = atomic_load_explicit(&boot.runtime_key, memory_order_relaxed);
  if (key != 0 && (pkru_rights(saved, key) & PKEYS_NO_ACCESS)) pkeys_wrpkru(saved);
}

void pkeys_open_thread(void) {
  if (atomic_load_explicit(&boot.runtime_key, memory_order_relaxed) == 0) return;
  struct mask_record record;
  uint32_t saved = pkeys_i_reader_enter();
  pkeys_i_masks_read(&record);
  uint32_t open = saved & record.masks.keep;
  if (pkeys_rdpkru() != open) pkeys_wrpkru(open);
}

int pkeys_i_registry_enter(void) {
  int error = pkeys_init();
  if (error) return error;
  pkeys_open_thread();
  pkeys_i_lock_take(&pkeys_i_registry.lock);
  pkeys_open_thread(); /* a key may have come while this thread waited */
  return 0;
}
void pkeys_i_registry_leave(void) { pkeys_i_lock_give(&pkeys_i_registry.lock); }

void pkeys_i_registry_quiesce(void) {
  while (atomic_load(&pkeys_i_registry.lockfree_users) > 0) sys_yield();
}

/* ---- set-up -------------------------------------------------------------------------------------------------- */

/* Takes the runtime key and tags the registry with it. 0 where there is none: what needs no keys works without. */
static int take_runtime_key(void) {
  if (!pkeys_supported() || boot.rehearsal.failed < KEY_STEP_FREE) return 0;
  int key = pkeys_i_key_alloc();
  if (key < 0) {
    boot.rehearsal.error[KEY_STEP_ALLOC] = -key; /* they went since the rehearsal */
    return 0;
  }
  /* I11 */
  if (sys_pkey_mprotect((uintptr_t)&pkeys_i_registry, sizeof pkeys_i_registry, PROT_READ | PROT_WRITE, key)) {
    pkeys_i_key_free(key);
    return 0;
  }
  return key;
}

/* A child has no thread but the one that forked, so nobody there would give back a lock that another thread held. A
 * callee may fork too: with its rights a thread cannot take the locks, and it gets the same rights back. */
static void before_fork(void) {
  uint32_t saved = pkeys_supported() ? pkeys_rdpkru() : 0;
  pkeys_open_thread();
  pkeys_i_lock_take(&pkeys_i_registry.lock);
  pkeys_i_lock_take(&pkeys_i_registry.mechanism_lock);
  pkeys_i_keys_hold();
  pkeys_i_registry.forking_rights = saved;
}
static void after_fork(void) {
  uint32_t saved = pkeys_i_registry.forking_rights;
  pkeys_i_keys_let_go();
  pkeys_i_lock_give(&pkeys_i_registry.mechanism_lock);
  pkeys_i_lock_give(&pkeys_i_registry.lock);
  if (pkeys_supported()) pkeys_wrpkru(saved);
}

/* The first time, before anybody can have entered the registry. 0 or negative errno. */
static int initialise(void) {
  int key = take_runtime_key();
  pkeys_i_registry.runtime_key = key;
  pkeys_i_registry_publish_masks(key > 0);
  atomic_store(&boot.runtime_key, key);
  int error = sys_at_fork(before_fork, after_fork);
  if (error) return error;
  atomic_store(&boot.initialised, 1);
  return sys_mprotect((uintptr_t)&boot, sizeof boot, PROT_READ);
}

int pkeys_init(void) {
  if (atomic_load(&boot.initialised)) return 0;
  pkeys_i_keys_hold();
  int error = atomic_load(&boot.initialised) ? 0 : initialise();
  pkeys_i_keys_let_go();
  return error;
}

int pkeys_i_keys_error(void) {
  if (!pkeys_supported()) return -EOPNOTSUPP;
  if (pkeys_runtime_key()) return 0;
  /* None was left at pkeys_init, or they do not work here. Either way the trap's own pages would lie open. */
  return boot.rehearsal.error[KEY_STEP_ALLOC] == ENOSPC ? -ENOSPC : -EOPNOTSUPP;
}

int pkeys_runtime_key(void) { return atomic_load_explicit(&boot.runtime_key, memory_order_relaxed); }

int pkeys_protect_runtime(void *address, size_t bytes) {
  int error = pkeys_init();
  if (error) return error;
  int key = pkeys_runtime_key();
  if (key == 0) return 0;
  if ((uintptr_t)address % PKEYS_PAGE != 0 || bytes == 0 || bytes > PKEYS_MAX_BYTES) return -EINVAL;
  return sys_pkey_mprotect((uintptr_t)address, round_up(bytes), PROT_READ | PROT_WRITE, key);
}

/* ---- masks --------------------------------------------------------------------------------------------------- */

/* I2: `keep` covers the keys of others, and `deny` holds the rights to ours. */
void pkeys_i_registry_publish_masks(bool keys_grew) {
  struct mask_record record = {0};
  struct mask_record before;
  pkeys_i_masks_read(&before);
  uint32_t owned = 0, deny = 0;
  if (pkeys_i_registry.runtime_key) {
    owned |= pkru_field(pkeys_i_registry.runtime_key);
    deny |= pkru_bits(pkeys_i_registry.runtime_key, PKEYS_NO_WRITE); /* readable: the gate's way out reads its frame */
  }
  if (pkeys_i_registry.loan_key) {
    record.loan_field = pkru_field(pkeys_i_registry.loan_key);
    owned |= record.loan_field;
    deny |= pkru_bits(pkeys_i_registry.loan_key, PKEYS_NO_ACCESS);
  }
  for (size_t i = 0; i < PKEYS_MAX_IMAGES; i++) {
    const struct pkeys_image *image = &pkeys_i_registry.images[i];
    uint32_t mechanism = atomic_load(&image->mechanism);
    if (atomic_load(&image->id) == 0) continue;
    record.masks.hooked |= mechanism_is_hooked(mechanism);
    record.masks.keyed |= mechanism == PKEYS_MECHANISM_PKEYS;
    record.counted += mechanism_is_counted(mechanism);
    record.naive += mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE;
    if (!mechanism_is_keyed(mechanism)) continue;
    for (uint32_t s = 0; s < image->space_count; s++) {
      struct region region;
      pkeys_i_region_read(image->space[s], &region);
      if (region.key == 0) continue;
      owned |= pkru_field(region.key);
      if (mechanism == PKEYS_MECHANISM_PKEYS) {
        deny |= pkru_bits(region.key, (enum pkeys_rights)region.deny);
      } else {
        record.glibc_fields |= pkru_field(region.key);
        record.glibc_rights |= pkru_bits(region.key, (enum pkeys_rights)region.deny);
      }
    }
  }
  if (record.glibc_fields && pkeys_i_registry.loan_key) {
    record.glibc_fields |= record.loan_field;
    record.glibc_rights |= pkru_bits(pkeys_i_registry.loan_key, PKEYS_NO_ACCESS);
  }
  /* A gate that writes masks after pkeys_enter_foreign would open what that has just closed. */
  if (record.masks.keyed) deny |= record.glibc_rights;
  record.masks.keep = ~owned;
  record.masks.deny = deny;
  record.masks.deny_lent = deny & ~record.loan_field;
  record.masks.entered = record.glibc_rights;
  record.masks.entered_lent = record.glibc_rights & ~record.loan_field;
  record.masks.generation = before.masks.generation + (keys_grew ? 1 : 0);
  latch_publish(&pkeys_i_registry.masks.version, pkeys_i_registry.masks.copy, &record, sizeof record);
  if (pkeys_i_registry.listener) pkeys_i_registry.listener(&record.masks);
}

struct pkeys_masks pkeys_masks(void) {
  struct mask_record record;
  uint32_t saved = pkeys_i_reader_enter();
  pkeys_i_masks_read(&record);
  pkeys_i_reader_leave(saved);
  return record.masks;
}

void pkeys_on_change(void (*listener)(const struct pkeys_masks *masks)) {
  if (pkeys_i_registry_enter()) return;
  pkeys_i_registry.listener = listener;
  struct mask_record record;
  pkeys_i_masks_read(&record);
  if (listener) listener(&record.masks);
  pkeys_i_registry_leave();
}

void pkeys_i_registry_drop_loan_key(void) {
  if (pkeys_i_registry.loan_key == 0) return;
  for (size_t i = 0; i < PKEYS_MAX_IMAGES; i++)
    if (atomic_load(&pkeys_i_registry.images[i].id) &&
        mechanism_is_keyed(atomic_load(&pkeys_i_registry.images[i].mechanism)))
      return;
  for (size_t i = 0; i < MAX_REGIONS; i++) {
    struct region region;
    pkeys_i_region_read(i, &region);
    if (region.kind != REGION_LOAN) continue;
    if (pkeys_i_region_apply(region.address, region.bytes, pkeys_i_mechanism_access(&region), 0))
      return; /* keep the key rather than free one in use */
    region.key = 0;
    pkeys_i_region_publish(i, &region);
  }
  int key = pkeys_i_registry.loan_key;
  pkeys_i_registry.loan_key = 0;
  pkeys_i_registry_publish_masks(false);
  pkeys_i_key_free(key);
}

/* ---- names and look-ups -------------------------------------------------------------------------------------- */

static const char *const mechanism_names[] = {
    [PKEYS_MECHANISM_UNSET] = "unset",
    [PKEYS_MECHANISM_NONE] = "none",
    [PKEYS_MECHANISM_FLAG] = "flag",
    [PKEYS_MECHANISM_MPROTECT_PAGE] = "mprotect-page",
    [PKEYS_MECHANISM_MPROTECT_RANGE] = "mprotect-range",
    [PKEYS_MECHANISM_MPROTECT_NAIVE] = "mprotect-naive",
    [PKEYS_MECHANISM_PKEYS] = "pkeys",
    [PKEYS_MECHANISM_PKEYS_GLIBC] = "pkeys-glibc",
};
#define MECHANISMS (sizeof mechanism_names / sizeof mechanism_names[0])

const char *pkeys_mechanism_name(enum pkeys_mechanism mechanism) {
  return (unsigned)mechanism < MECHANISMS ? mechanism_names[mechanism] : "unknown";
}
int pkeys_mechanism_parse(const char *name, enum pkeys_mechanism *out) {
  for (size_t i = PKEYS_MECHANISM_NONE; name && i < MECHANISMS; i++)
    if (strcmp(name, mechanism_names[i]) == 0) {
      *out = (enum pkeys_mechanism)i;
      return 0;
    }
  return -EINVAL;
}

static void space_of(const struct region *region, struct pkeys_space *out) {
  memcpy(out->name, region->name, sizeof out->name);
  out->address = region->address;
  out->bytes = region->bytes;
  out->reserved_bytes = region->reserved;
  out->key = region->key;
  out->deny = (enum pkeys_rights)region->deny;
  out->image_id = region->image_id;
  out->mechanism = (enum pkeys_mechanism)region->mechanism;
}

bool pkeys_find_space(uintptr_t address, struct pkeys_space *out) {
  struct region region;
  uint32_t saved = pkeys_i_reader_enter();
  bool found = pkeys_i_region_find(address, &region) && region.kind == REGION_SPACE;
  pkeys_i_reader_leave(saved);
  if (found && out) space_of(&region, out);
  return found;
}

uint32_t pkeys_find_loan(uintptr_t address, size_t bytes) {
  struct region region;
  uint32_t saved = pkeys_i_reader_enter();
  bool found = pkeys_i_region_find(address, &region) && region.kind == REGION_LOAN;
  pkeys_i_reader_leave(saved);
  size_t into = address - region.lent_address;
  return found && into < region.lent_bytes && bytes <= region.lent_bytes - into ? region.number : 0;
}

bool pkeys_i_image_is_open(const struct pkeys_image *image) { return image && atomic_load(&image->id) != 0; }
uint32_t pkeys_image_id(const struct pkeys_image *image) {
  uint32_t saved = pkeys_i_reader_enter();
  uint32_t id = atomic_load(&image->id);
  pkeys_i_reader_leave(saved);
  return id;
}
enum pkeys_mechanism pkeys_image_mechanism(const struct pkeys_image *image) {
  uint32_t saved = pkeys_i_reader_enter();
  uint32_t mechanism = atomic_load(&image->mechanism);
  pkeys_i_reader_leave(saved);
  return (enum pkeys_mechanism)mechanism;
}
size_t pkeys_image_space_count(const struct pkeys_image *image) {
  uint32_t saved = pkeys_i_reader_enter();
  size_t count = pkeys_i_image_is_open(image) ? image->space_count : 0;
  pkeys_i_reader_leave(saved);
  return count;
}
int pkeys_image_space(const struct pkeys_image *image, size_t index, struct pkeys_space *out) {
  struct region region;
  uint32_t saved = pkeys_i_reader_enter();
  bool found = pkeys_i_image_is_open(image) && index < image->space_count;
  if (found) {
    pkeys_i_region_read(image->space[index], &region);
    found = region.kind == REGION_SPACE && region.number == index && region.image_id == atomic_load(&image->id);
  }
  pkeys_i_reader_leave(saved);
  if (!found) return -EINVAL;
  space_of(&region, out);
  return 0;
}
