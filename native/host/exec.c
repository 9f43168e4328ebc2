/*
 * exec.c: programs that the VM starts are guarded by the same library, unless the loader takes none into them. What
 * cannot be guarded is said before it starts. elf(5), execve(2), xattr(7), ld.so(8) ("secure-execution mode").
 *
 * A child that vfork made runs here: it shares its parent's memory, and changes nothing of it but the list of what was
 * said.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "internal.h"

static bool has_loader(int fd, const Elf64_Ehdr *header) {
  for (int i = 0; i < header->e_phnum; i++) {
    Elf64_Phdr segment;
    off_t at = (off_t)(header->e_phoff + (Elf64_Off)i * header->e_phentsize);
    if (pread(fd, &segment, sizeof segment, at) == (ssize_t)sizeof segment && segment.p_type == PT_INTERP) return true;
  }
  return false;
}

/* Why nothing can be preloaded into a program, or NULL: a script's interpreter is looked at when that is started. */
static const char *obstacle(const char *path) {
  Elf64_Ehdr header;
  struct stat status;
  const char *why = NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  if (read(fd, &header, sizeof header) == (ssize_t)sizeof header && memcmp(header.e_ident, ELFMAG, SELFMAG) == 0) {
    if (header.e_ident[EI_CLASS] != ELFCLASS64) why = "is a 32-bit program";
    else if (header.e_machine != EM_X86_64) why = "is a program for another kind of CPU";
    else if (!has_loader(fd, &header)) why = "is statically linked";
    else if (fstat(fd, &status) == 0 && ((status.st_mode & S_ISUID && status.st_uid != geteuid()) ||
                                         (status.st_mode & S_ISGID && status.st_gid != getegid())))
      why = "is setuid or setgid";
    else if (getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0) why = "has file capabilities";
  }
  close(fd);
  return why;
}

static void look_at(const char *path, const void *caller) {
  const char *children = getenv("TURNKEY_HOST_CHILDREN");
  if (path == NULL || !host_is_vm(caller) || trap_in_callout() || (children != NULL && strcmp(children, "0") == 0))
    return;
  int saved = errno;
  const char *why = obstacle(path);
  if (why != NULL) host_say("%s %s: it runs unguarded, since no library can be preloaded into it", path, why);
  errno = saved;
}

HOST_REPLACES int execve(const char *path, char *const arguments[], char *const environment[]) {
  look_at(path, HOST_CALLER());
  return host_next()->execve(path, arguments, environment);
}
HOST_REPLACES int execv(const char *path, char *const arguments[]) {
  look_at(path, HOST_CALLER());
  return host_next()->execve(path, arguments, environ);
}
HOST_REPLACES int posix_spawn(pid_t *child, const char *path, const posix_spawn_file_actions_t *actions,
                              const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[]) {
  look_at(path, HOST_CALLER());
  return host_next()->posix_spawn(child, path, actions, attributes, arguments, environment);
}
