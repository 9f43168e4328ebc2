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

#include "../pkeys/state.h"
#include "../trap/internal.h"

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

struct mapping {
  uintptr_t from, to;
  char access[5];
  const char *path;
  size_t path_bytes;
};

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

static bool within(const struct block *blocks, size_t count, uintptr_t address) {
  for (size_t i = 0; i < count; i++)
    if (address - blocks[i].address < blocks[i].bytes) return true;
  return false;
}

static void add(struct strata *out, int stratum, uintptr_t from, uintptr_t to) {
  if (from >= to) return;
  struct stratum_range *last = &out->ranges[out->count - (out->count > 0)];
  out->bytes[stratum] += to - from;
  if (out->count > 0 && last->to == from && last->stratum == stratum) last->to = to;
  else if (out->count < MOST_RANGES) out->ranges[out->count++] = (struct stratum_range){from, to, stratum};
  else out->full = true;
}

/* [from, to) of a page that exists: what of it is the callee's blocks, or lies within other limits, is another
 * stratum's. `blocks` is in the order of addresses. */
static void add_split(struct strata *out, int stratum, int inner, const struct block *blocks, size_t count,
                      uintptr_t from, uintptr_t to) {
  for (size_t i = 0; i < count; i++) {
    uintptr_t start = blocks[i].address, end = start + blocks[i].bytes;
    if (end <= from || start >= to) continue;
    if (start > from) add(out, stratum, from, start);
    add(out, inner, start > from ? start : from, end < to ? end : to);
    from = end < to ? end : to;
  }
  add(out, stratum, from, to);
}

/* The static block of thread-local storage of this thread, which a forked trial has at the same place. */
static int tls_of(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  struct block *tls = data;
  uintptr_t start = (uintptr_t)info->dlpi_tls_data, top = (uintptr_t)pthread_self();
  if (start != 0 && start < top && top - start < (1u << 16) && start < tls->address) tls->address = start;
  return 0;
}
#define THREAD_DESCRIPTOR_BYTES 2304 /* glibc's struct pthread, behind the thread pointer */

static bool has(const struct mapping *mapping, const char *part) {
  return memmem(mapping->path, mapping->path_bytes, part, strlen(part)) != NULL;
}

static bool overlaps(const void *start, size_t bytes, uintptr_t page) {
  return page < (uintptr_t)start + bytes && page + PKEYS_PAGE > (uintptr_t)start;
}

/* The stratum of a page. `owner` is the mapping whose rest it may be. */
static int stratum_of(const struct landmarks *marks, const struct mapping *mapping, const struct mapping *owner,
                      uintptr_t page) {
  const struct program *program = marks->program;
  for (int i = 0; i < IMAGE_STRATA; i++)
    if (page - program->spaces[i].address < program->spaces[i].bytes) return i;
  if (page - program->neighbour.address < program->neighbour.bytes) return STRATUM_NEIGHBOUR;
  if (overlaps(program->loan.address, program->loan.bytes, page)) return STRATUM_LENT;
  /* The pages that the runtime key covers. */
  if (overlaps(&trap_arena, sizeof trap_arena, page) || overlaps(&pkeys_i_registry, sizeof pkeys_i_registry, page))
    return STRATUM_TRAP;
  size_t bytes = mapping->to - mapping->from;
  if (marks->callee_local - mapping->from < bytes) return STRATUM_FOREIGN_STACK;
  if (marks->thread_local_address - mapping->from < bytes) return STRATUM_OTHER_STACKS;
  if (has(mapping, "[stack]")) return STRATUM_VM_STACK;
  if (has(mapping, "[heap]")) return STRATUM_HEAP;
  if (within(marks->added, marks->added_count, page)) return STRATUM_FOREIGN_STACK; /* alternate signal stacks */
  if (has(owner, "/turnkey-campaign")) return STRATUM_VM_GLOBALS;
  if (has(owner, "/libc.so") || has(owner, "/ld-linux")) return STRATUM_LIBC_GLOBALS;
  if (owner->path_bytes > 0) return STRATUM_CALLEE_GLOBALS;
  /* What the trial has mapped since it was forked belongs to its other thread. */
  return within(marks->before, marks->before_count, page) ? STRATUM_HEAP : STRATUM_OTHER_STACKS;
}

void strata_read(pid_t process, const struct landmarks *marks, struct strata *out) {
  memset(out, 0, sizeof *out);
  strata_mapped(process, out);
  struct block tls = {(uintptr_t)pthread_self(), 0};
  dl_iterate_phdr(tls_of, &tls);
  tls.bytes = (uintptr_t)pthread_self() + THREAD_DESCRIPTOR_BYTES - tls.address;
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/pagemap", (int)process);
  int pages = open(path, O_RDONLY | O_CLOEXEC);
  struct mapping mapping, owner = {0};
  for (const char *at = read_maps(process); (at = next_mapping(at, &mapping)) != NULL;) {
    /* What follows a library's data without a gap is the rest of it (bss). */
    if (mapping.path_bytes > 0 || owner.to != mapping.from) owner = mapping;
    else owner.to = mapping.to;
    if (mapping.access[1] != 'w') continue;
    for (uintptr_t page = mapping.from; page < mapping.to; page += PKEYS_PAGE) {
      int stratum = stratum_of(marks, &mapping, &owner, page);
      uint64_t entry = 0;
      bool exists = pread(pages, &entry, 8, (off_t)(page / PKEYS_PAGE * 8)) == 8 && entry >> 62 != 0;
      uintptr_t end = page + PKEYS_PAGE;
      if (!exists) add(out, STRATUM_UNTOUCHED, page, end);
      else if (stratum == STRATUM_HEAP && tls.address < end && tls.address + tls.bytes > page)
        add_split(out, STRATUM_LIBC_GLOBALS, STRATUM_TLS, &tls, 1, page, end);
      else if (stratum == STRATUM_HEAP)
        add_split(out, stratum, STRATUM_CALLEE_HEAP, marks->blocks, marks->block_count, page, end);
      else add(out, stratum, page, end);
    }
  }
  if (pages >= 0) close(pages);
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

bool strata_is_trap(uintptr_t address) {
  return address - (uintptr_t)&trap_arena < sizeof trap_arena ||
         address - (uintptr_t)&pkeys_i_registry < sizeof pkeys_i_registry;
}
