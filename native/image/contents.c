/* contents.c: an image's contents: filling, loading, reading, writing. See image.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "state.h"

const char *image_content_name(enum image_content content) {
  static const char *const names[] = {"empty", "graph", "file", "heap-file"};
  return (unsigned)content < 4 ? names[content] : "unknown";
}

struct pkeys_image *image_mapped(struct image *image) { return image->mapped; }
bool image_has_snapshot(const struct image *image) { return image->snapshot != NULL; }

int image_open(struct pkeys_image *mapped, struct image **out) {
  void *area;
  int e = pkeys_image_hidden(mapped, sizeof(struct image), &area);
  if (e < 0) return e;
  struct image *image = area;
  memset(image, 0, sizeof *image);
  image->mapped = mapped;
  image->spaces = pkeys_image_space_count(mapped);
  *out = image;
  return 0;
}

int image_close(struct image *image) { return pkeys_image_close(image->mapped); }

/* ---- contents ------------------------------------------------------------------------------------------------ */

int image_fill(struct image *image, uint64_t seed, struct spur_filled *out) {
  struct spur_area areas[PKEYS_MAX_SPACES];
  size_t root = 0;
  bool named = false;
  int e = pkeys_image_reachable(image->mapped);
  if (e < 0) return e;
  for (size_t i = 0; i < image->spaces; i++) {
    struct pkeys_space s;
    if ((e = pkeys_image_space(image->mapped, i, &s)) < 0) return e;
    areas[i] = (struct spur_area){(void *)s.address, s.bytes};
    if (strcmp(s.name, "old") == 0) root = i, named = true;
    else if (!named && areas[i].size > areas[root].size) root = i;
  }
  if ((e = spur_fill(areas, image->spaces, root, seed, out)) < 0) return e;
  image->root = (uint32_t)root;
  for (size_t i = 0; i < image->spaces; i++)
    image->content[i] = (struct content){.kind = IMAGE_GRAPH, .bytes = areas[i].size};
  return 0;
}

static int read_file(int fd, uint8_t *to, uint64_t bytes) {
  for (uint64_t at = 0; at < bytes;) {
    size_t n = bytes - at < (4u << 20) ? (size_t)(bytes - at) : 4u << 20;
    ssize_t got = read(fd, to + at, n);
    if (got < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    if (got == 0) return -EIO; /* it has become shorter meanwhile */
    at += (uint64_t)got;
  }
  return 0;
}

int image_load(struct image *image, size_t index, const char *path, uint64_t *file_bytes) {
  struct pkeys_space s;
  struct stat st;
  if (file_bytes) *file_bytes = 0;
  int e = pkeys_image_space(image->mapped, index, &s);
  if (e < 0) return e;
  if ((e = pkeys_image_reachable(image->mapped)) < 0) return e;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hang us */
  if (fd < 0) return -errno;
  if (fstat(fd, &st) != 0) e = -errno;
  else if (S_ISDIR(st.st_mode)) e = -EISDIR;
  else if (!S_ISREG(st.st_mode)) e = -EINVAL;
  else if (st.st_size == 0) e = -ENODATA;
  if (e == 0) {
    uint64_t bytes = (uint64_t)st.st_size;
    if (file_bytes) *file_bytes = bytes;
    if (bytes > s.reserved_bytes) e = -EFBIG;
    if (e == 0 && bytes > s.bytes) {
      e = pkeys_space_resize(image->mapped, index, (bytes + PKEYS_PAGE - 1) & ~(uint64_t)(PKEYS_PAGE - 1));
      if (e == 0) e = pkeys_image_space(image->mapped, index, &s);
    }
    if (e == 0) {
      if (image->content[index].kind == IMAGE_GRAPH && image->root == index)
        for (size_t i = 0; i < image->spaces; i++)
          if (image->content[i].kind == IMAGE_GRAPH) image->content[i].kind = IMAGE_EMPTY;
      struct content *c = &image->content[index];
      *c = (struct content){.kind = IMAGE_EMPTY};
      uint8_t *to = (uint8_t *)s.address;
      e = read_file(fd, to, bytes);
      if (e == 0) {
        memset(to + bytes, 0, s.bytes - bytes);
        c->kind = spur_file_parse(to, bytes, &c->file) == 0 ? IMAGE_HEAP_FILE : IMAGE_FILE;
        c->bytes = bytes;
      }
    }
  }
  close(fd);
  return e;
}

bool image_file(struct image *image, size_t index, struct spur_file *out) {
  if (index >= image->spaces || image->content[index].kind != IMAGE_HEAP_FILE) return false;
  *out = image->content[index].file;
  return true;
}

/*
 * process_vm_readv/writev on ourselves: remote access asks the page tables, not PKRU (F5), and answers EFAULT. In two
 * cases the copy is made as any VM code makes it, and waits as a bystander until the space is open. Either an mprotect
 * mechanism may have closed the space for another thread's callout, or the kernel refuses this call.
 */
static int copy(struct image *image, size_t index, uint64_t offset, void *here, size_t bytes, bool write) {
  struct pkeys_space s;
  int e = pkeys_image_space(image->mapped, index, &s);
  if (e < 0) return e;
  if (offset > s.bytes || bytes > s.bytes - offset) return -ERANGE;
  if (bytes == 0) return 0;
  uint8_t *there = (uint8_t *)s.address + offset;
  struct iovec local = {here, bytes}, remote = {there, bytes};
  ssize_t n = write ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0)
                    : process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
  if (n == (ssize_t)bytes) return 0;
  if ((n >= 0 || errno == EFAULT) && (e = pkeys_image_reachable(image->mapped)) < 0) return e;
  if (write) memcpy(there, here, bytes);
  else memcpy(here, there, bytes);
  return 0;
}
int image_read(struct image *image, size_t index, uint64_t offset, void *to, size_t bytes) {
  return copy(image, index, offset, to, bytes, false);
}
int image_write(struct image *image, size_t index, uint64_t offset, const void *from, size_t bytes) {
  return copy(image, index, offset, (void *)(uintptr_t)from, bytes, true);
}

int image_resize(struct image *image, size_t index, size_t bytes) {
  return pkeys_space_resize(image->mapped, index, bytes);
}
