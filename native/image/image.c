/* image.c: see image.h. */
#define _GNU_SOURCE
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct content {
  uint32_t kind;         /* enum image_content */
  uint64_t bytes;        /* GRAPH: how far the graph goes; files: their length */
  struct spur_file file; /* HEAP_FILE */
};

struct image {
  struct pkeys_image *mapped;
  size_t spaces;
  uint32_t root; /* the space with the class table, valid while one is GRAPH */
  struct content content[PKEYS_MAX_SPACES];
  uint8_t *snapshot; /* hidden; the spaces one after another, page-rounded as they are */
  uint32_t snapshot_root;
  size_t snapshot_bytes[PKEYS_MAX_SPACES];
  struct content snapshot_content[PKEYS_MAX_SPACES];
};

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

/* ---- are the pages still there? ------------------------------------------------------------------------------ */

struct maps {
  int fd;
  size_t have, at;
  char buffer[4096];
};

static int maps_byte(struct maps *m) {
  if (m->at == m->have) {
    ssize_t n = read(m->fd, m->buffer, sizeof m->buffer);
    if (n <= 0) return -1;
    m->have = (size_t)n;
    m->at = 0;
  }
  return (unsigned char)m->buffer[m->at++];
}
static uint64_t maps_hex(struct maps *m, int *last) {
  uint64_t v = 0;
  int c;
  while ((c = maps_byte(m)) >= 0) {
    if (c >= '0' && c <= '9') v = v << 4 | (uint64_t)(c - '0');
    else if (c >= 'a' && c <= 'f') v = v << 4 | (uint64_t)(c - 'a' + 10);
    else break;
  }
  *last = c;
  return v;
}

/*
 * A callee may have unmapped or re-protected what we are about to read: then a report is better than dying.
 * /proc/self/maps lists mappings in ascending order; every space must be covered without a gap. Its access is looked at
 * only where no mprotect mechanism may have it closed just now.
 */
static int accessible(const struct image *image) {
  struct pkeys_space spaces[PKEYS_MAX_SPACES];
  uintptr_t covered[PKEYS_MAX_SPACES];
  for (size_t i = 0; i < image->spaces; i++) {
    int e = pkeys_image_space(image->mapped, i, &spaces[i]);
    if (e < 0) return e;
    covered[i] = spaces[i].address;
  }
  enum pkeys_mechanism mechanism = pkeys_image_mechanism(image->mapped);
  bool closable = mechanism == PKEYS_MECHANISM_MPROTECT_PAGE || mechanism == PKEYS_MECHANISM_MPROTECT_RANGE ||
                  mechanism == PKEYS_MECHANISM_MPROTECT_NAIVE;
  struct maps m = {.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
  if (m.fd < 0) return 0; /* no /proc: nothing can be said, so nothing is refused */
  for (;;) {
    int c;
    uint64_t start = maps_hex(&m, &c);
    if (c != '-') break;
    uint64_t end = maps_hex(&m, &c);
    char access[2];
    access[0] = (char)maps_byte(&m);
    access[1] = (char)maps_byte(&m);
    while ((c = maps_byte(&m)) >= 0 && c != '\n') {}
    if (!closable && (access[0] != 'r' || access[1] != 'w')) continue;
    for (size_t i = 0; i < image->spaces; i++)
      if (start <= covered[i] && covered[i] < end) covered[i] = end;
  }
  close(m.fd);
  for (size_t i = 0; i < image->spaces; i++)
    if (covered[i] < spaces[i].address + spaces[i].bytes) return -EFAULT;
  return 0;
}

/* ---- contents ------------------------------------------------------------------------------------------------ */

int image_fill(struct image *image, uint64_t seed, struct spur_filled *out) {
  struct spur_area areas[PKEYS_MAX_SPACES];
  size_t root = 0;
  bool named = false;
  int e = accessible(image);
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
  if ((e = accessible(image)) < 0) return e;
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
 * cases the copy is made as any VM code makes it, and waits as a bystander until the space is open: where an mprotect
 * mechanism may have closed the space for another thread's callout, and where the kernel refuses this call.
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
  if ((n >= 0 || errno == EFAULT) && (e = accessible(image)) < 0) return e;
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

/* ---- heaps --------------------------------------------------------------------------------------------------- */

/* Where the bytes of the spaces are: in the image itself, or in its snapshot. */
struct view {
  const struct content *content;
  uint32_t root;
  const uint8_t *bytes[PKEYS_MAX_SPACES];
  uint64_t size[PKEYS_MAX_SPACES], address[PKEYS_MAX_SPACES];
};

static int view_now(const struct image *image, struct view *v) {
  v->content = image->content;
  v->root = image->root;
  for (size_t i = 0; i < image->spaces; i++) {
    struct pkeys_space s;
    int e = pkeys_image_space(image->mapped, i, &s);
    if (e < 0) return e;
    v->bytes[i] = (const uint8_t *)s.address;
    v->size[i] = s.bytes;
    v->address[i] = s.address;
  }
  return 0;
}
static int view_snapshot(const struct image *image, struct view *v) {
  int e = view_now(image, v);
  if (e < 0) return e;
  v->content = image->snapshot_content;
  v->root = image->snapshot_root;
  const uint8_t *at = image->snapshot;
  for (size_t i = 0; i < image->spaces; i++) {
    v->bytes[i] = at;
    v->size[i] = image->snapshot_bytes[i];
    at += image->snapshot_bytes[i];
  }
  return 0;
}

/* The heap that space `index` belongs to. spaces[k] is the space of segment k. -ENODATA: none; -EINVAL: a heap file
 * whose header lies. */
static int heap_of(const struct image *image, const struct view *v, size_t index, struct spur_segment *segments,
                   size_t *spaces, struct spur_heap *heap) {
  const struct content *c = &v->content[index];
  *heap = (struct spur_heap){.segments = segments, .word_bytes = 8, .family = SPUR_FAMILY_SPUR};
  if (c->kind == IMAGE_GRAPH) {
    heap->strict = true;
    for (size_t i = 0; i < image->spaces; i++) {
      if (v->content[i].kind != IMAGE_GRAPH) continue;
      uint64_t size = v->content[i].bytes < v->size[i] ? v->content[i].bytes : v->size[i];
      if (i == v->root) heap->root = heap->count;
      spaces[heap->count] = i;
      segments[heap->count++] = (struct spur_segment){v->bytes[i], size, v->address[i]};
    }
    return 0;
  }
  if (c->kind != IMAGE_HEAP_FILE) return -ENODATA;
  heap->family = c->file.family;
  heap->word_bytes = c->file.word_bytes;
  heap->swapped = c->file.swapped;
  heap->special_objects = c->file.special_objects;
  uint64_t size = c->bytes < v->size[index] ? c->bytes : v->size[index];
  int n = spur_file_segments(v->bytes[index], size, &c->file, segments, SPUR_MAX_SEGMENTS);
  if (n < 0) return n;
  heap->count = (uint32_t)n;
  for (int i = 0; i < n; i++) spaces[i] = index;
  return 0;
}

static void add_report(const struct view *v, const struct spur_heap *heap, const size_t *spaces,
                       const struct spur_report *r, struct image_report *out, struct spur_problem *problems) {
  for (uint32_t k = 0; k < heap->count; k++) {
    struct image_space_report *s = &out->space[spaces[k]];
    s->walked = true;
    s->objects += r->segments[k].objects;
    s->free_chunks += r->segments[k].free_chunks;
    s->free_bytes += r->segments[k].free_bytes;
    s->walked_bytes += r->segments[k].walked_bytes;
    s->problems += r->segments[k].problems;
  }
  for (uint32_t i = 0; i < r->kept; i++) {
    struct spur_problem *p = &problems[out->kept + i];
    uint64_t shift = (uint64_t)((const uint8_t *)heap->segments[p->segment].bytes - v->bytes[spaces[p->segment]]);
    p->offset += shift;
    p->object += shift;
    p->segment = (uint32_t)spaces[p->segment];
  }
  out->kept += r->kept;
  out->objects += r->objects;
  out->pointers += r->pointers;
  out->classes += r->classes;
  out->problems += r->problems;
  for (unsigned k = 0; k < SPUR_PROBLEM_KINDS; k++) out->by_kind[k] += r->by_kind[k];
}

int image_verify(struct image *image, struct spur_problem *problems, size_t capacity, struct image_report *out) {
  struct spur_segment segments[SPUR_MAX_SEGMENTS];
  size_t spaces[SPUR_MAX_SEGMENTS];
  struct spur_heap heap;
  struct spur_report report;
  struct view now;
  memset(out, 0, sizeof *out);
  out->spaces = image->spaces;
  int e = accessible(image);
  if (e == 0) e = view_now(image, &now);
  if (e < 0) return e;
  bool graph_done = false;
  for (size_t i = 0; i < image->spaces; i++) {
    const struct content *c = &image->content[i];
    out->space[i].content = c->kind;
    if (c->kind == IMAGE_GRAPH ? graph_done : c->kind != IMAGE_HEAP_FILE) continue;
    if (c->kind == IMAGE_GRAPH) graph_done = true;
    e = heap_of(image, &now, i, segments, spaces, &heap);
    if (e == -EINVAL) {
      out->problems++;
      out->by_kind[SPUR_BAD_FILE]++;
      out->space[i].problems++;
      if (out->kept < capacity)
        problems[out->kept++] = (struct spur_problem){.kind = SPUR_BAD_FILE,
                                                      .segment = (uint32_t)i,
                                                      .offset = c->file.file_offset,
                                                      .object = c->file.file_offset,
                                                      .slot = -1,
                                                      .value = c->file.heap_bytes};
      continue;
    }
    if (e < 0) return e;
    if (heap.family == SPUR_FAMILY_V3 && heap.word_bytes != 4)
      continue; /* a 64-bit V3 heap: its header is read, its objects are not */
    e = spur_walk(&heap, problems ? problems + out->kept : NULL, capacity - out->kept, &report);
    if (e < 0) return e;
    add_report(&now, &heap, spaces, &report, out, problems);
  }
  for (size_t i = 0; i < image->spaces; i++) {
    const struct content *c = &image->content[i];
    if (c->kind == IMAGE_EMPTY || c->bytes <= now.size[i]) continue;
    /* the space was shrunk below its contents: reported even where an object happens to end just there */
    out->problems++;
    out->by_kind[SPUR_BAD_CHAIN]++;
    out->space[i].problems++;
    if (out->kept < capacity)
      problems[out->kept++] = (struct spur_problem){.kind = SPUR_BAD_CHAIN,
                                                    .segment = (uint32_t)i,
                                                    .offset = now.size[i],
                                                    .object = now.size[i],
                                                    .slot = -1,
                                                    .value = c->bytes};
  }
  return 0;
}

/* `offset` in space -> the object around it. */
static int object_in_view(const struct image *image, const struct view *v, size_t index, uint64_t offset,
                          struct spur_object *out) {
  struct spur_segment segments[SPUR_MAX_SEGMENTS];
  size_t spaces[SPUR_MAX_SEGMENTS];
  struct spur_heap heap;
  int e = heap_of(image, v, index, segments, spaces, &heap);
  if (e < 0) return e == -EINVAL ? -ENOENT : e;
  for (uint32_t k = 0; k < heap.count; k++) {
    uint64_t start = (uint64_t)((const uint8_t *)segments[k].bytes - v->bytes[index]);
    if (spaces[k] != index || offset < start || offset - start >= segments[k].size) continue;
    if (!spur_object_at(&heap, k, offset - start, out)) return -ENOENT;
    out->offset += start;
    return 0;
  }
  return -ENOENT;
}

int image_object_at(struct image *image, size_t index, uint64_t offset, struct spur_object *out) {
  struct view now;
  int e = accessible(image);
  if (e == 0) e = view_now(image, &now);
  if (e < 0) return e;
  if (index >= image->spaces || offset >= now.size[index]) return -ERANGE;
  return object_in_view(image, &now, index, offset, out);
}

int image_hash(struct image *image, size_t index, uint64_t *hash) {
  struct pkeys_space s;
  int e = accessible(image);
  if (e == 0) e = pkeys_image_space(image->mapped, index, &s);
  if (e == 0) *hash = compare_hash((const void *)s.address, s.bytes, 0);
  return e;
}

/* ---- snapshots ----------------------------------------------------------------------------------------------- */

int image_snapshot(struct image *image) {
  struct view now;
  int e = accessible(image);
  if (e == 0) e = view_now(image, &now);
  if (e < 0) return e;
  uint64_t total = 0, before = 0;
  for (size_t i = 0; i < image->spaces; i++) total += now.size[i], before += image->snapshot_bytes[i];
  if (image->snapshot && before != total) {
    if ((e = pkeys_image_hidden_release(image->mapped, image->snapshot)) < 0) return e;
    image->snapshot = NULL;
  }
  if (!image->snapshot) {
    void *area;
    if ((e = pkeys_image_hidden(image->mapped, total, &area)) < 0) return e;
    image->snapshot = area;
  }
  uint8_t *at = image->snapshot;
  for (size_t i = 0; i < image->spaces; i++) {
    memcpy(at, now.bytes[i], now.size[i]);
    at += now.size[i];
    image->snapshot_bytes[i] = now.size[i];
    image->snapshot_content[i] = image->content[i];
  }
  image->snapshot_root = image->root;
  return 0;
}

int image_diff(struct image *image, struct image_range *ranges, size_t capacity, size_t with_objects,
               struct image_difference *out) {
  struct view now, then;
  struct compare_range found[256];
  memset(out, 0, sizeof *out);
  if (!image->snapshot) return -ENODATA;
  int e = accessible(image);
  if (e == 0) e = view_now(image, &now);
  if (e == 0) e = view_snapshot(image, &then);
  if (e < 0) return e;
  for (size_t i = 0; i < image->spaces; i++) {
    uint64_t common = now.size[i] < then.size[i] ? now.size[i] : then.size[i];
    uint64_t longer = now.size[i] < then.size[i] ? then.size[i] : now.size[i];
    struct compare_result r;
    size_t room = capacity - out->kept;
    compare_memory(now.bytes[i], then.bytes[i], common, found, room < 256 ? room : 256, &r);
    if (longer > common) {
      out->resized++;
      r.changed_bytes += longer - common;
      r.ranges++;
      if (r.kept < room && r.kept < 256) found[r.kept++] = (struct compare_range){common, longer - common};
    }
    for (uint64_t k = 0; k < r.kept; k++) {
      struct image_range *range = &ranges[out->kept++];
      *range = (struct image_range){.space = (uint32_t)i, .offset = found[k].offset, .bytes = found[k].bytes};
      if (out->kept <= with_objects && found[k].offset < then.size[i])
        range->object_known = object_in_view(image, &then, i, found[k].offset, &range->object) == 0;
    }
    out->changed_bytes += r.changed_bytes;
    out->ranges += r.ranges;
  }
  return 0;
}

int image_restore(struct image *image, uint64_t *bytes) {
  struct view now, then;
  *bytes = 0;
  if (!image->snapshot) return -ENODATA;
  int e = accessible(image);
  if (e == 0) e = view_now(image, &now);
  for (size_t i = 0; e == 0 && i < image->spaces; i++)
    if (now.size[i] != image->snapshot_bytes[i]) e = pkeys_space_resize(image->mapped, i, image->snapshot_bytes[i]);
  if (e == 0) e = view_now(image, &now);
  if (e == 0) e = view_snapshot(image, &then);
  if (e < 0) return e;
  for (size_t i = 0; i < image->spaces; i++) {
    *bytes += compare_copy((void *)now.address[i], then.bytes[i], then.size[i]);
    image->content[i] = image->snapshot_content[i];
  }
  image->root = image->snapshot_root;
  return 0;
}
