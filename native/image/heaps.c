/* heaps.c: the heaps in an image and in its snapshot: walking, finding, comparing, restoring. See image.h. */
#include <errno.h>
#include <string.h>

#include "state.h"

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
  int e = pkeys_image_reachable(image->mapped);
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
  int e = pkeys_image_reachable(image->mapped);
  if (e == 0) e = view_now(image, &now);
  if (e < 0) return e;
  if (index >= image->spaces || offset >= now.size[index]) return -ERANGE;
  return object_in_view(image, &now, index, offset, out);
}

int image_hash(struct image *image, size_t index, uint64_t *hash) {
  struct pkeys_space s;
  int e = pkeys_image_reachable(image->mapped);
  if (e == 0) e = pkeys_image_space(image->mapped, index, &s);
  if (e == 0) *hash = compare_hash((const void *)s.address, s.bytes, 0);
  return e;
}

/* ---- snapshots ----------------------------------------------------------------------------------------------- */

int image_snapshot(struct image *image) {
  struct view now;
  int e = pkeys_image_reachable(image->mapped);
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
  int e = pkeys_image_reachable(image->mapped);
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
  int e = pkeys_image_reachable(image->mapped);
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
