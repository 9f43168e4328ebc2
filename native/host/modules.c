/*
 * modules.c: whose code an address is. dl_iterate_phdr(3) is too slow to ask on every call, so what it answers is
 * cached per module; modules that are unloaded empty the cache (loader.c).
 *
 * Readers take no lock: entries are complete before the count that makes them visible, and a generation tells a reader
 * that the table was emptied under it.
 */
#define _GNU_SOURCE
#include <link.h>
#include <string.h>

#include "internal.h"

#define MODULES 256
static struct host_module modules[MODULES];
/* Most questions are about the FFI's module: who calls ffi_call. */
const struct host_module *_Atomic host_recent_ffi = &modules[0];
static _Atomic unsigned module_count;
_Atomic unsigned host_modules_generation = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

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

static enum host_role learn(uintptr_t address) {
  struct search search = {.address = address, .first = true};
  dl_iterate_phdr(visit, &search);
  if (!search.found) return HOST_OTHER; /* generated code: nobody's module */
  const char *path = search.is_program ? host_state.program.path : search.path;
  enum host_role role = host_state.adapter->role(path, search.is_program);
  bool new = false;
  pthread_mutex_lock(&lock);
  unsigned count = atomic_load(&module_count);
  for (unsigned i = 0; i < count; i++)
    if (atomic_load(&modules[i].low) == search.low && atomic_load(&modules[i].high) == search.high) goto known;
  if (count < MODULES) {
    atomic_store(&modules[count].low, search.low);
    atomic_store(&modules[count].high, search.high);
    atomic_store(&modules[count].role, role);
    atomic_store_explicit(&module_count, count + 1, memory_order_release);
    new = true;
  }
known:
  pthread_mutex_unlock(&lock);
  /* The VM's handlers come after the trap's wherever they lie; the program's do so anyway. */
  if (new && role != HOST_OTHER && !search.is_program) trap_module_is_foreign((const void *)address, false);
  return role;
}

enum host_role host_role_of(const void *address) {
  unsigned count = atomic_load_explicit(&module_count, memory_order_acquire);
  for (unsigned i = 0; i < count; i++) {
    if (!host_module_holds(&modules[i], address)) continue;
    enum host_role role = (enum host_role)atomic_load_explicit(&modules[i].role, memory_order_relaxed);
    if (role == HOST_FFI) atomic_store_explicit(&host_recent_ffi, &modules[i], memory_order_release);
    return role;
  }
  return host_state.adapter == NULL ? HOST_OTHER : learn((uintptr_t)address);
}

void host_modules_forget(void) {
  pthread_mutex_lock(&lock);
  atomic_store(&module_count, 0);
  for (unsigned i = 0; i < MODULES; i++) {
    atomic_store(&modules[i].low, 0);
    atomic_store(&modules[i].high, 0);
  }
  atomic_fetch_add(&host_modules_generation, 1);
  pthread_mutex_unlock(&lock);
}
