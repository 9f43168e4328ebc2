/* spur_file.c: the header and the segments of an image file; names of what may be wrong with a heap. See spur.h. */
#include <errno.h>
#include <string.h>

#include "load.h"
#include "spur.h"

const char *spur_problem_name(enum spur_problem_kind kind) {
  static const char *const names[SPUR_PROBLEM_KINDS] = {
      [SPUR_OK] = "ok",
      [SPUR_BAD_CHAIN] = "bad-chain",
      [SPUR_BAD_HEADER] = "bad-header",
      [SPUR_BAD_FORMAT] = "bad-format",
      [SPUR_BAD_CLASS] = "bad-class",
      [SPUR_FORMAT_MISMATCH] = "format-mismatch",
      [SPUR_BAD_CLASS_HASH] = "bad-class-hash",
      [SPUR_BAD_POINTER] = "bad-pointer",
      [SPUR_POINTER_TO_FREE] = "pointer-to-free",
      [SPUR_BAD_TAG] = "bad-tag",
      [SPUR_BAD_METHOD] = "bad-method",
      [SPUR_BAD_FREE_CHUNK] = "bad-free-chunk",
      [SPUR_BAD_ROOTS] = "bad-roots",
      [SPUR_BAD_FILE] = "bad-file",
  };
  return (unsigned)kind < SPUR_PROBLEM_KINDS ? names[kind] : "unknown";
}

/* 512 in the version says that the image uses more than one bytecode set; it changes nothing in the heap. */
#define MULTIPLE_BYTECODES 512u

static bool version_known(uint32_t version, struct spur_file *out) {
  static const struct {
    uint32_t version, family, word_bytes;
  } known[] = {
      {6502, SPUR_FAMILY_V3, 4},  {6504, SPUR_FAMILY_V3, 4},  {6505, SPUR_FAMILY_V3, 4},  {6521, SPUR_FAMILY_SPUR, 4},
      {68000, SPUR_FAMILY_V3, 8}, {68002, SPUR_FAMILY_V3, 8}, {68003, SPUR_FAMILY_V3, 8}, {68021, SPUR_FAMILY_SPUR, 8},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (version == known[i].version || version == known[i].version + MULTIPLE_BYTECODES) {
      out->version = version;
      out->multiple_bytecodes = version != known[i].version;
      out->family = known[i].family;
      out->word_bytes = known[i].word_bytes;
      return true;
    }
  return false;
}

int spur_file_parse(const void *bytes, size_t size, struct spur_file *out) {
  const uint8_t *p = bytes;
  memset(out, 0, sizeof *out);
  for (uint64_t offset = 0; offset <= 512; offset += 512) {
    if (size < offset + 96) continue; /* enough for every field below */
    for (int swap = 0; swap < 2; swap++) {
      if (!version_known(load32(p + offset, swap), out)) continue;
      const uint8_t *h = p + offset;
      unsigned word = out->word_bytes;
      out->swapped = swap;
      out->file_offset = offset;
      out->header_bytes = load32(h + 4, swap); /* 32 bits in both word sizes */
      out->heap_bytes = load_word(h + 8, word, swap);
      out->base_address = load_word(h + 8 + word, word, swap);
      out->special_objects = load_word(h + 8 + 2 * word, word, swap);
      if (out->family == SPUR_FAMILY_SPUR) out->first_segment_bytes = load_word(h + (word == 8 ? 72 : 48), word, swap);
      return 0;
    }
  }
  memset(out, 0, sizeof *out);
  return -EINVAL;
}

int spur_file_segments(const void *bytes, size_t size, const struct spur_file *file, struct spur_segment *out,
                       size_t capacity) {
  if (file->header_bytes < SPUR_FILE_HEADER_MIN || file->header_bytes > 65536 || (file->header_bytes & 3) ||
      capacity == 0)
    return -EINVAL;
  uint64_t start = file->file_offset + file->header_bytes;
  if (start >= size || file->heap_bytes == 0 || file->heap_bytes > size - start) return -EINVAL;
  const uint8_t *heap = (const uint8_t *)bytes + start;
  if (file->family == SPUR_FAMILY_V3) {
    out[0] = (struct spur_segment){.bytes = heap, .size = file->heap_bytes, .address = file->base_address};
    return 1;
  }
  /*
   * Spur saves its segments one after another. The last 16 bytes of each are a bridge of two words. The low 56 bits
   * of the first are the gap to the next segment's address, in words. The second is the next segment's size, or 0.
   */
  uint64_t at = 0, address = file->base_address,
           bytes_here = file->first_segment_bytes ? file->first_segment_bytes : file->heap_bytes;
  int count = 0;
  while (bytes_here) {
    if (bytes_here < 32 || (bytes_here & 7) || bytes_here > file->heap_bytes - at || (size_t)count >= capacity)
      return -EINVAL;
    out[count++] = (struct spur_segment){.bytes = heap + at, .size = bytes_here - 16, .address = address};
    uint64_t bridge = load64(heap + at + bytes_here - 16, file->word_bytes, file->swapped);
    uint64_t following = load64(heap + at + bytes_here - 8, file->word_bytes, file->swapped);
    address += bytes_here + (spur_slots_of(bridge) ? (bridge & 0x00ffffffffffffffu) * file->word_bytes : 0);
    at += bytes_here;
    bytes_here = at < file->heap_bytes ? following : 0;
  }
  return count;
}
