/*
 * smaps_windows.c: checks access against what the system says of each page: VirtualQuery. No page has a key here: an
 * expectation of one is never met.
 */
#include <errno.h>

#include "internal.h"
#include "sys.h"

/* One stretch of pages with the same state; 0 bytes where the system does not know the address. */
static size_t stretch(uintptr_t address, int *access) {
  MEMORY_BASIC_INFORMATION info;
  DWORD last = GetLastError();
  size_t known = VirtualQuery((const void *)address, &info, sizeof info);
  SetLastError(last);
  if (known == 0) return 0;
  *access = info.State != MEM_COMMIT || (info.Protect & PAGE_GUARD)            ? PROT_NONE
            : info.Protect == PAGE_READONLY                                    ? PROT_READ
            : info.Protect == PAGE_READWRITE || info.Protect == PAGE_WRITECOPY ? PROT_READ | PROT_WRITE
            : info.Protect == PAGE_NOACCESS                                    ? PROT_NONE
                                                                               : PROT_EXEC;
  return (uintptr_t)info.BaseAddress + info.RegionSize - address;
}

int pkeys_i_smaps_check(struct smaps_expectation *expectations, size_t count, uintptr_t *where) {
  for (size_t i = 0; i < count; i++) {
    struct smaps_expectation *e = &expectations[i];
    for (e->covered = e->address; e->covered < e->address + e->bytes;) {
      int access = PROT_NONE;
      size_t bytes = stretch(e->covered, &access);
      if (bytes == 0 || e->key != 0 || (e->access >= 0 && access != e->access)) {
        if (where) *where = e->covered;
        return -EKEYREJECTED;
      }
      e->covered += bytes;
    }
  }
  return 0;
}

int pkeys_i_mappings_each(bool keys, bool (*visit)(const struct smaps_mapping *mapping, void *context), void *context) {
  (void)keys;
  struct smaps_mapping mapping = {0, 0, 0, 0};
  for (size_t bytes; (bytes = stretch(mapping.first, &mapping.access)) > 0; mapping.first += bytes) {
    mapping.last = mapping.first + bytes;
    if (!visit(&mapping, context)) return 0;
  }
  return 0;
}
