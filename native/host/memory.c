/*
 * memory.c: mmap and its kin. The tag is there before the VM gets the address, and a range that leaves is untagged
 * first. mmap(2), mprotect(2), mremap(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "internal.h"

static bool owns_heap(const void *caller) {
  return atomic_load_explicit(&host_state.has_image, memory_order_acquire) && host_is_vm(caller);
}

/* A negative errno as the C library answers it. */
static int answer(int rc) {
  if (rc >= 0) return rc;
  errno = -rc;
  return -1;
}

static void *map(void *address, size_t bytes, int protection, int flags, int fd, off_t offset, const void *caller) {
  const struct host_next *next = host_next();
  if (!owns_heap(caller)) return next->mmap(address, bytes, protection, flags, fd, offset);
  struct host_mapping mapping = {address, bytes, protection, flags, fd, offset, caller};
  int space = host_state.adapter->heap == NULL ? -1 : host_state.adapter->heap(&mapping);
  if (flags & MAP_FIXED && host_adopted(address, bytes)) pkeys_range_forget(address, bytes);
  void *mapped = next->mmap(address, bytes, space < 0 ? protection : PROT_NONE, flags, fd, offset);
  if (mapped == MAP_FAILED || space < 0) return mapped;
  if (host_adopt((unsigned)space, mapped, bytes, protection) < 0) next->mprotect(mapped, bytes, protection);
  return mapped;
}

HOST_REPLACES void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return map(address, bytes, protection, flags, fd, offset, HOST_CALLER());
}
HOST_REPLACES void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return map(address, bytes, protection, flags, fd, offset, HOST_CALLER());
}

HOST_REPLACES int munmap(void *address, size_t bytes) {
  if (owns_heap(HOST_CALLER()) && host_adopted(address, bytes)) pkeys_range_forget(address, bytes);
  return host_next()->munmap(address, bytes);
}

/* Adopted memory, which may change its space by that. */
static int protect(const struct pkeys_range *range, uintptr_t address, size_t bytes, int protection) {
  const struct host_adapter *adapter = host_state.adapter;
  int space = adapter->protects == NULL ? (int)range->space : adapter->protects(range->space, protection);
  if (space == (int)range->space) return pkeys_range_protect((void *)address, bytes, protection);
  return host_adopt((unsigned)space, (void *)address, bytes, protection);
}

/* Adopted and other memory in one call: each piece its own way. */
HOST_REPLACES int mprotect(void *address, size_t bytes, int protection) {
  const struct host_next *next = host_next();
  if (!owns_heap(HOST_CALLER()) || !host_adopted(address, bytes)) return next->mprotect(address, bytes, protection);
  uintptr_t at = (uintptr_t)address, end = at + ((bytes + PKEYS_PAGE - 1) & ~(size_t)(PKEYS_PAGE - 1));
  if (at % PKEYS_PAGE != 0 || end < at) return answer(-EINVAL);
  struct pkeys_range range;
  while (at < end) {
    bool found = pkeys_range_next(at, &range) && range.address < end;
    uintptr_t gap = found ? range.address : end;
    if (gap > at && next->mprotect((void *)at, gap - at, protection) != 0) return -1;
    if (!found) break;
    if (range.address > at) at = range.address;
    uintptr_t last = range.address + range.bytes < end ? range.address + range.bytes : end;
    int rc = protect(&range, at, last - at, protection);
    if (rc < 0) return answer(rc);
    at = last;
  }
  return 0;
}

HOST_REPLACES void *mremap(void *address, size_t bytes, size_t new_bytes, int flags, ...) {
  void *new_address = NULL;
  if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
    va_list arguments;
    va_start(arguments, flags);
    new_address = va_arg(arguments, void *);
    va_end(arguments);
  }
  if (!owns_heap(HOST_CALLER()) || !host_adopted(address, bytes == 0 ? 1 : bytes))
    return host_next()->mremap(address, bytes, new_bytes, flags, new_address);
  void *out;
  int rc = pkeys_range_remap(address, bytes, new_bytes, flags, new_address, &out);
  return rc < 0 ? (answer(rc), MAP_FAILED) : out;
}
