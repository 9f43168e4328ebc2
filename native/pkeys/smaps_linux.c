/*
 * smaps_linux.c: checks tags and access against what the kernel shows in /proc/self/smaps. proc(5); fs/proc/task_mmu.c
 * (a mapping starts with "first-last perms ...", `ProtectionKey:` follows further down where the kernel has keys).
 *
 * Streams through a small buffer: smaps of a Node process is some 200 KiB, and nothing here may allocate.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"
#include "sys.h"

/* "7f00-8000 rw-p ..." to a mapping; false for any other line. */
static bool parse_header(const char *line, struct smaps_mapping *out) {
  uintptr_t bounds[2] = {0, 0};
  for (int i = 0; i < 2; i++) {
    const char *start = line;
    for (;; line++) {
      unsigned digit;
      if (*line >= '0' && *line <= '9') digit = (unsigned)(*line - '0');
      else if (*line >= 'a' && *line <= 'f') digit = (unsigned)(*line - 'a') + 10;
      else break;
      bounds[i] = bounds[i] * 16 + digit;
    }
    if (line == start || *line != (i == 0 ? '-' : ' ')) return false;
    line++;
  }
  *out = (struct smaps_mapping){bounds[0], bounds[1], 0, 0};
  if (line[0] == 'r') out->access |= PROT_READ;
  if (line[0] && line[1] == 'w') out->access |= PROT_WRITE;
  if (line[0] && line[1] && line[2] == 'x') out->access |= PROT_EXEC;
  return true;
}

/* "ProtectionKey:         5" to 5; -1 for any other line. */
static int parse_key(const char *line) {
  static const char name[] = "ProtectionKey:";
  for (size_t i = 0; i < sizeof name - 1; i++)
    if (line[i] != name[i]) return -1;
  int key = 0;
  bool any = false;
  for (line += sizeof name - 1; *line; line++)
    if (*line >= '0' && *line <= '9') {
      key = key * 10 + (*line - '0');
      any = true;
    }
  return any ? key : -1;
}

int pkeys_i_mappings_each(bool keys, bool (*visit)(const struct smaps_mapping *mapping, void *context), void *context) {
  const char *path = keys ? "/proc/self/smaps" : "/proc/self/maps";
  long fd = sys_call(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
  if (fd < 0) return (int)fd;
  char buffer[4096], line[160];
  size_t length = 0;
  bool have = false, more = true;
  int error = 0;
  struct smaps_mapping mapping = {0, 0, 0, 0};
  while (more) {
    long got = sys_call(SYS_read, fd, (long)buffer, sizeof buffer, 0, 0, 0);
    if (got == -EINTR) continue;
    if (got < 0) error = (int)got;
    if (got <= 0) break;
    for (long i = 0; i < got && more; i++) {
      if (buffer[i] != '\n') {
        if (length < sizeof line - 1) line[length++] = buffer[i]; /* a long path is cut: its numbers come first */
        continue;
      }
      line[length] = 0;
      length = 0;
      struct smaps_mapping next;
      int key;
      if (parse_header(line, &next)) {
        if (have) more = visit(&mapping, context);
        mapping = next;
        have = true;
      } else if ((key = parse_key(line)) >= 0) {
        mapping.key = key;
      }
    }
  }
  if (have && more && !error) visit(&mapping, context);
  sys_call(SYS_close, fd, 0, 0, 0, 0, 0);
  return error;
}

struct expected {
  struct smaps_expectation *expectations;
  size_t count;
};

/* Mappings come in ascending order: each expectation advances as long as what it sees is right. */
static bool match(const struct smaps_mapping *mapping, void *context) {
  struct expected *expected = context;
  for (size_t i = 0; i < expected->count; i++) {
    struct smaps_expectation *e = &expected->expectations[i];
    if (mapping->first > e->covered || mapping->last <= e->covered || e->covered >= e->address + e->bytes) continue;
    if (mapping->key != e->key) continue;
    if (e->access >= 0 && mapping->access != e->access) continue;
    e->covered = mapping->last;
  }
  return true;
}

int pkeys_i_smaps_check(struct smaps_expectation *expectations, size_t count, uintptr_t *where) {
  for (size_t i = 0; i < count; i++) expectations[i].covered = expectations[i].address;
  struct expected expected = {expectations, count};
  int error = pkeys_i_mappings_each(true, match, &expected);
  if (error) return error;
  for (size_t i = 0; i < count; i++)
    if (expectations[i].covered < expectations[i].address + expectations[i].bytes) {
      if (where) *where = expectations[i].covered;
      return -EKEYREJECTED;
    }
  return 0;
}
