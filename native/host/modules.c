/*
 * modules.c: whose code an address is. dl_iterate_phdr(3) is too slow to ask on every call, so what it answers is
 * cached per module; modules that are unloaded empty the cache (loader.c).
 *
 * Readers take no lock: an entry is a word. What was asked of the loader, or read from the table, is kept only if the
 * generation says that the table was not emptied meanwhile.
 */
#define _GNU_SOURCE
#include <link.h>
#include <string.h>

#include "internal.h"

#define MODULES 256
static host_module modules[MODULES];
host_module *_Atomic host_recent_ffi = &modules[0];
static _Atomic unsigned module_count;
_Atomic unsigned host_modules_generation = 1;
HOST_LOCK(lock)

struct search {
  uintptr_t address, low, high;
  const char *path;
  bool first, is_program, found;
};

static int visit(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  struct search *search = data;
  bool first = search->first;
  search->first = false;
  uintptr_t low = UINTPTR_MAX, high = 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
    uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr, end = start + info->dlpi_phdr[i].p_memsz;
    if (start < low) low = start;
    if (end > high) high = end;
  }
  if (search->address - low >= high - low) return 0;
  *search = (struct search){search->address, low, high, info->dlpi_name, false, first, true};
  return 1;
}

void host_module_bounds(const void *address, uintptr_t *low, size_t *bytes) {
  struct search search = {.address = (uintptr_t)address, .first = true};
  dl_iterate_phdr(visit, &search);
  *low = search.found ? search.low : 0;
  *bytes = search.found ? search.high - search.low : 0;
}

/* 0: a module that no word holds; it is asked for each time. */
static uint64_t word_of(const struct search *search, enum host_role role) {
  uint64_t first = search->low >> 12, pages = ((search->high + 4095) >> 12) - first;
  return first >> 35 != 0 || HOST_MODULE_PAGES(pages << 2) != pages ? 0 : first << 29 | pages << 2 | (uint64_t)role;
}

/* Adds a module that was found at `generation`. Whether it is new, or may be. It does not wait for the lock (fork.c):
 * what is not kept is asked for again. */
static bool add(uint64_t word, unsigned generation) {
  sigset_t mask;
  bool new = false;
  if (!host_try_lock(&lock, &mask)) return true;
  unsigned count = atomic_load(&module_count);
  bool kept = word == 0 || count == MODULES || atomic_load(&host_modules_generation) != generation;
  for (unsigned i = 0; i < count && !kept; i++) kept = atomic_load(&modules[i]) == word;
  if (!kept) {
    atomic_store(&modules[count], word);
    atomic_store_explicit(&module_count, count + 1, memory_order_release);
    new = true;
  }
  host_unlock(&lock, &mask);
  return new;
}

static enum host_role learn(uintptr_t address) {
  struct search search;
  enum host_role role;
  unsigned generation;
  do {
    generation = atomic_load(&host_modules_generation);
    search = (struct search){.address = address, .first = true};
    dl_iterate_phdr(visit, &search);
    if (!search.found) return HOST_OTHER; /* generated code: nobody's module */
    role = host_state.adapter->role(search.is_program ? host_state.program.path : search.path, search.is_program);
  } while (atomic_load(&host_modules_generation) != generation);
  bool new = add(word_of(&search, role), generation);
  /* The VM's handlers come after the trap's wherever they lie; the program's do so anyway. */
  if (new && role != HOST_OTHER && !search.is_program) trap_module_is_foreign((const void *)address, false);
  return role;
}

enum host_role host_role_of(const void *address) {
  unsigned generation = atomic_load(&host_modules_generation);
  unsigned count = atomic_load_explicit(&module_count, memory_order_acquire);
  for (unsigned i = 0; i < count; i++) {
    uint64_t word = atomic_load_explicit(&modules[i], memory_order_acquire);
    if (!host_module_holds(word, address)) continue;
    if (atomic_load(&host_modules_generation) != generation) break; /* the loader knows */
    if (host_module_role(word) == HOST_FFI) atomic_store_explicit(&host_recent_ffi, &modules[i], memory_order_relaxed);
    return host_module_role(word);
  }
  return host_state.adapter == NULL ? HOST_OTHER : learn((uintptr_t)address);
}

void host_modules_forget(void) {
  sigset_t mask;
  host_lock(&lock, &mask);
  atomic_fetch_add(&host_modules_generation, 1); /* first: whoever reads on learns that it has to ask again */
  atomic_store(&module_count, 0);
  for (unsigned i = 0; i < MODULES; i++) atomic_store(&modules[i], 0);
  host_unlock(&lock, &mask);
}
