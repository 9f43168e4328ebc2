/* strata.c: see strata.h. proc(5): /proc/PID/maps, /proc/PID/pagemap (bits 63 and 62: the page exists). */
#define _GNU_SOURCE
#include "strata.h"

#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TEXT_MOST (1u << 20)

/* A whole /proc file, in memory of the parent's own. */
static const char *read_maps(pid_t process) {
  static char *text;
  if (text == NULL) {
    text = mmap(NULL, TEXT_MOST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED) abort();
    madvise(text, TEXT_MOST, MADV_DONTFORK);
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/maps", (int)process);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  size_t used = 0;
  for (ssize_t got; file >= 0 && used < TEXT_MOST - 1 && (got = read(file, text + used, TEXT_MOST - 1 - used)) > 0;)
    used += (size_t)got;
  if (file >= 0) close(file);
  text[used] = 0;
  return text;
}

/* The next line of a maps file. */
static const char *next_mapping(const char *line, struct mapping *out) {
  if (*line == 0) return NULL;
  char *end;
  out->from = strtoul(line, &end, 16);
  out->to = strtoul(end + 1, &end, 16);
  memcpy(out->access, end + 1, 4);
  out->access[4] = 0;
  const char *stop = strchrnul(line, '\n');
  out->path = end;
  for (int fields = 0; fields < 4 && out->path < stop; fields++) {
    while (out->path < stop && *out->path == ' ') out->path++;
    while (out->path < stop && *out->path != ' ') out->path++;
  }
  while (out->path < stop && *out->path == ' ') out->path++;
  out->path_bytes = (size_t)(stop - out->path);
  return *stop == '\n' ? stop + 1 : stop;
}

size_t strata_mappings(pid_t process, struct block *out, size_t most, bool writable) {
  struct mapping mapping;
  size_t count = 0;
  for (const char *at = read_maps(process); (at = next_mapping(at, &mapping)) != NULL && count < most;)
    if (!writable || mapping.access[1] == 'w') out[count++] = (struct block){mapping.from, mapping.to - mapping.from};
  return count;
}

void strata_mapped(pid_t process, struct strata *out) {
  struct mapping mapping;
  out->mapped_count = 0;
  out->digest = 0xcbf29ce484222325u;
  for (const char *at = read_maps(process); (at = next_mapping(at, &mapping)) != NULL;) {
    struct block *last = &out->mapped[out->mapped_count - (out->mapped_count > 0)];
    if (out->mapped_count > 0 && last->address + last->bytes == mapping.from) last->bytes = mapping.to - last->address;
    else if (out->mapped_count < MOST_MAPPINGS)
      out->mapped[out->mapped_count++] = (struct block){mapping.from, mapping.to - mapping.from};
    else out->full = true;
  }
  for (size_t i = 0; i < out->mapped_count; i++)
    out->digest = ((out->digest ^ out->mapped[i].address) * 0x100000001b3u ^ out->mapped[i].bytes) * 0x100000001b3u;
}

void strata_add(struct strata *out, int stratum, uintptr_t from, uintptr_t to) {
  if (from >= to) return;
  struct stratum_range *last = &out->ranges[out->count - (out->count > 0)];
  out->bytes[stratum] += to - from;
  if (out->count > 0 && last->to == from && last->stratum == stratum) last->to = to;
  else if (out->count < MOST_RANGES) out->ranges[out->count++] = (struct stratum_range){from, to, stratum};
  else out->full = true;
}

void strata_add_split(struct strata *out, int stratum, int inner, const struct block *blocks, size_t count,
                      uintptr_t from, uintptr_t to) {
  for (size_t i = 0; i < count; i++) {
    uintptr_t start = blocks[i].address, end = start + blocks[i].bytes;
    if (end <= from || start >= to) continue;
    if (start > from) strata_add(out, stratum, from, start);
    strata_add(out, inner, start > from ? start : from, end < to ? end : to);
    from = end < to ? end : to;
  }
  strata_add(out, stratum, from, to);
}

static int tls_of(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  struct block *tls = data;
  uintptr_t start = (uintptr_t)info->dlpi_tls_data, top = (uintptr_t)pthread_self();
  if (start != 0 && start < top && top - start < (1u << 16) && start < tls->address) tls->address = start;
  return 0;
}
#define THREAD_DESCRIPTOR_BYTES 2304 /* glibc's struct pthread, behind the thread pointer */

bool strata_has(const struct mapping *mapping, const char *part) {
  return memmem(mapping->path, mapping->path_bytes, part, strlen(part)) != NULL;
}

struct block strata_tls(void) {
  struct block tls = {(uintptr_t)pthread_self(), 0};
  dl_iterate_phdr(tls_of, &tls);
  tls.bytes = (uintptr_t)pthread_self() + THREAD_DESCRIPTOR_BYTES - tls.address;
  return tls;
}

void strata_read(pid_t process, strata_page_function *take, struct strata *out) {
  memset(out, 0, sizeof *out);
  strata_mapped(process, out);
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/pagemap", (int)process);
  int pages = open(path, O_RDONLY | O_CLOEXEC);
  struct mapping mapping, owner = {0};
  for (const char *at = read_maps(process); (at = next_mapping(at, &mapping)) != NULL;) {
    /* What follows a library's data without a gap is the rest of it (bss). */
    if (mapping.path_bytes > 0 || owner.to != mapping.from) owner = mapping;
    else owner.to = mapping.to;
    if (mapping.access[1] != 'w') continue;
    for (uintptr_t page = mapping.from; page < mapping.to; page += PAGE_BYTES) {
      uint64_t entry = 0;
      bool exists = pread(pages, &entry, 8, (off_t)(page / PAGE_BYTES * 8)) == 8 && entry >> 62 != 0;
      take(&mapping, &owner, page, exists, out);
    }
  }
  if (pages >= 0) close(pages);
}

uint64_t strata_digest(const struct strata *strata) {
  uint64_t digest = 0xcbf29ce484222325u;
  for (size_t i = 0; i < strata->count; i++) {
    const struct stratum_range *range = &strata->ranges[i];
    digest = ((digest ^ range->from) * 0x100000001b3u ^ range->to) * 0x100000001b3u;
    digest = (digest ^ (uint64_t)range->stratum) * 0x100000001b3u;
  }
  return digest;
}

uintptr_t strata_address(const struct strata *strata, int stratum, uint64_t position) {
  for (size_t i = 0; i < strata->count; i++) {
    const struct stratum_range *range = &strata->ranges[i];
    if (range->stratum != stratum) continue;
    if (position < range->to - range->from) return range->from + position;
    position -= range->to - range->from;
  }
  return 0;
}

bool strata_is_mapped(const struct strata *strata, uintptr_t address, size_t bytes) {
  for (size_t i = 0; i < strata->mapped_count; i++) {
    const struct block *block = &strata->mapped[i];
    if (address < block->address + block->bytes && address + bytes > block->address) return true;
  }
  return false;
}

static int code_of(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  struct block *block = data;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    uintptr_t start = info->dlpi_addr + part->p_vaddr;
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) || block->address - start >= part->p_memsz) continue;
    *block = (struct block){start, part->p_memsz};
    return 1;
  }
  return 0;
}

struct block strata_code(uintptr_t address) {
  struct block block = {address, 0};
  dl_iterate_phdr(code_of, &block);
  return block;
}
