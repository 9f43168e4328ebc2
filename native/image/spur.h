/*
 * spur.h: object heaps in the Squeak/Pharo (Cog VM) formats: making one, walking one, saying what is wrong with one.
 *
 * C11, no Node, no keys: plain bytes in, a report out. The walker reads arbitrary bytes without ever leaving the
 * segments it was given: a heap that a foreign function has scribbled over is its ordinary input. It allocates its own
 * maps with mmap, not malloc, because the allocator may be what was damaged.
 *
 * The formats are those of the VM's object memories: Spur (32 and 64 bits; class SpurMemoryManager) and the older V3
 * (class ObjectMemory).
 *
 * Spur object header, 64 bits in both word sizes, bits from the least significant:
 *
 *   22 class index, 1 unused, 1 immutable, 5 format, 1 remembered, 1 pinned, 1 grey,
 *   22 identity hash, 1 unused, 1 marked, 8 slots
 *
 * A slot count of 255 means that the word before the header holds the count in its low 56 bits (and 255 in its high 8).
 * Objects are multiples of 8 bytes, at least 16 (header and one slot). Class index 0 is a free chunk, 8 a forwarder.
 * Immediates, 64-bit: SmallInteger ...001, Character ...010, SmallFloat ...100.
 * Immediates, 32-bit: SmallInteger ..1, Character .10.
 */
#ifndef TURNKEY_SPUR_H
#define TURNKEY_SPUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum spur_format {
  SPUR_ZERO_SIZED = 0,
  SPUR_FIXED = 1,
  SPUR_INDEXABLE = 2,
  SPUR_FIXED_INDEXABLE = 3,
  SPUR_WEAK = 4,
  SPUR_EPHEMERON = 5,
  SPUR_FORWARDED = 7,
  SPUR_BITS_64 = 9,
  SPUR_BITS_32 = 10,
  SPUR_BITS_16 = 12,
  SPUR_BYTES = 16,
  SPUR_METHOD = 24,
};
enum spur_class { /* the class indices that Turnkey's own graph uses; 32 to 37, 51 and 52 as in the VM */
                  SPUR_CLASS_FREE = 0,
                  SPUR_CLASS_FORWARDED = 8,
                  SPUR_CLASS_ARRAY_PUN = 16,
                  SPUR_CLASS_BITS_64_PUN = 19,
                  SPUR_LAST_PUN = 31,
                  SPUR_CLASS_LARGE_NEGATIVE = 32,
                  SPUR_CLASS_LARGE_POSITIVE = 33,
                  SPUR_CLASS_FLOAT = 34,
                  SPUR_CLASS_METHOD = 35,
                  SPUR_CLASS_CONTEXT = 36,
                  SPUR_CLASS_CLOSURE = 37,
                  SPUR_CLASS_UNDEFINED = 38,
                  SPUR_CLASS_FALSE = 39,
                  SPUR_CLASS_TRUE = 40,
                  SPUR_CLASS_CLASS = 41,
                  SPUR_CLASS_POINT = 42,
                  SPUR_CLASS_ASSOCIATION = 43,
                  SPUR_CLASS_COLLECTION = 44,
                  SPUR_CLASS_BITS_64 = 45,
                  SPUR_CLASS_BITS_32 = 46,
                  SPUR_CLASS_BITS_16 = 47,
                  SPUR_CLASS_WEAK_ARRAY = 48,
                  SPUR_CLASS_EPHEMERON = 49,
                  SPUR_CLASS_BYTE_ARRAY = 50,
                  SPUR_CLASS_ARRAY = 51,
                  SPUR_CLASS_STRING = 52,
                  SPUR_CLASS_LIMIT = 53,
};

#define SPUR_CLASS_BITS 22
#define SPUR_HASH_BITS 22
#define SPUR_SLOTS_OVERFLOW 255u

static inline uint32_t spur_class_of(uint64_t header) { return (uint32_t)header & 0x3fffffu; }
static inline uint32_t spur_format_of(uint64_t header) { return (uint32_t)(header >> 24) & 31u; }
static inline uint32_t spur_hash_of(uint64_t header) { return (uint32_t)(header >> 32) & 0x3fffffu; }
static inline uint32_t spur_slots_of(uint64_t header) { return (uint32_t)(header >> 56); }
static inline uint64_t spur_header(uint32_t class_index, uint32_t format, uint32_t hash, uint32_t slots_byte) {
  return (uint64_t)(class_index & 0x3fffffu) | (uint64_t)(format & 31u) << 24 | (uint64_t)(hash & 0x3fffffu) << 32 |
         (uint64_t)(slots_byte & 255u) << 56;
}
#define SPUR_IMMUTABLE ((uint64_t)1 << 23)
#define SPUR_REMEMBERED ((uint64_t)1 << 29)
#define SPUR_PINNED ((uint64_t)1 << 30)
#define SPUR_GREY ((uint64_t)1 << 31)
#define SPUR_MARKED ((uint64_t)1 << 55)
#define SPUR_UNUSED ((uint64_t)1 << 22 | (uint64_t)1 << 54)

/* ---- making a graph ------------------------------------------------------------------------------------------ */

/* Memory to fill: 8-byte aligned, a multiple of 8 long, written in place; pointers in the graph are real addresses. */
struct spur_area {
  void *bytes;
  size_t size;
};
#define SPUR_MIN_ROOT_BYTES 4096u /* what the class table needs */

struct spur_filled {
  uint64_t objects, free_chunks, pointers;
};

/*
 * Fills every area to its last byte with a 64-bit Spur heap. Area `root` begins with nil, false, true, the free lists
 * and the class table. Then come objects of every format, free chunks among them and one at the end. Pointers lead into
 * their own area and into the root area, never out of it, as if its objects had just been tenured. The same seed and
 * sizes give the same graph at any address; only the pointers are relocated. Returns 0; or -EINVAL if there is no area,
 * one is misaligned, the root is too small, or another area is under 32 bytes.
 */
int spur_fill(const struct spur_area *areas, size_t count, size_t root, uint64_t seed, struct spur_filled *out);

/* ---- walking one --------------------------------------------------------------------------------------------- */

enum spur_problem_kind {
  SPUR_OK = 0,
  SPUR_BAD_CHAIN,       /* an object's size runs past the end of its segment; the walk of that segment ends there */
  SPUR_BAD_HEADER,      /* reserved bits set, or slot count and overflow word disagree */
  SPUR_BAD_FORMAT,      /* a format that does not exist, or with a size it cannot have */
  SPUR_BAD_CLASS,       /* the class index is not in the class table (Spur), the class pointer leads nowhere (V3) */
  SPUR_FORMAT_MISMATCH, /* the object's format or size is not what its class makes */
  SPUR_BAD_CLASS_HASH,  /* a class whose identity hash is not its index */
  SPUR_BAD_POINTER,     /* a slot points to no object start in any segment */
  SPUR_POINTER_TO_FREE, /* a slot points to a free chunk */
  SPUR_BAD_TAG,         /* a slot's tag bits are none of pointer, SmallInteger, Character, SmallFloat */
  SPUR_BAD_METHOD,      /* a compiled method whose header is no SmallInteger or names more literals than it has slots */
  SPUR_BAD_FREE_CHUNK,  /* a free chunk with set header bits or a link to no free chunk */
  SPUR_BAD_ROOTS,       /* nil, false, true, the free lists or the class table are not where they belong */
  SPUR_BAD_FILE,        /* the file's header and its length disagree */
  SPUR_PROBLEM_KINDS
};
const char *spur_problem_name(enum spur_problem_kind kind); /* 'bad-chain' and so on */

struct spur_problem {
  uint32_t kind;        /* enum spur_problem_kind */
  uint32_t segment;     /* index */
  uint64_t offset;      /* offset of the wrong word in its segment */
  uint64_t object;      /* offset of the object's header in its segment */
  uint64_t class_index; /* class index of that object, as read (V3: class pointer) */
  int64_t slot;         /* index, or -1: the header */
  uint64_t value;       /* the wrong word, as read */
};

struct spur_segment {
  const void *bytes;
  uint64_t size;    /* bytes; a trailing rest of fewer than 8 is a bad chain */
  uint64_t address; /* where pointers believe it to be */
};

enum spur_family { SPUR_FAMILY_SPUR = 0, SPUR_FAMILY_V3 = 1 };

struct spur_heap {
  const struct spur_segment *segments;
  uint32_t count;           /* at most SPUR_MAX_SEGMENTS */
  uint32_t root;            /* Spur: the segment that starts with nil */
  uint32_t family;          /* enum spur_family */
  uint32_t word_bytes;      /* 4 or 8 */
  bool swapped;             /* words are stored in the other byte order */
  uint64_t special_objects; /* V3: oop of the special objects array, which holds the compact classes */
  bool strict; /* also check what holds in Turnkey's own graphs, but need not in a saved image: unused bits, class
                  hashes, free chunks */
};
#define SPUR_MAX_SEGMENTS 128

struct spur_segment_report {
  uint64_t objects, free_chunks, free_bytes, walked_bytes, problems;
};

struct spur_report {
  uint64_t objects, free_chunks, free_bytes, pointers, classes;
  uint64_t problems; /* all, also those not kept */
  uint64_t by_kind[SPUR_PROBLEM_KINDS];
  uint32_t kept; /* entries used in the caller's array */
  struct spur_segment_report segments[SPUR_MAX_SEGMENTS];
};

/*
 * Walks the heap: every header, sizes that chain exactly to the end of each segment, every class index, every pointer
 * slot. The first `capacity` problems go to `problems`. For any bytes, time is linear in the heap's size, and memory
 * (mmap) is 1/32 of it. Returns 0, also when there are problems; -EINVAL; or -ENOMEM.
 */
int spur_walk(const struct spur_heap *heap, struct spur_problem *problems, size_t capacity, struct spur_report *report);

/* The object that contains byte `offset` of segment `segment`: its header's offset, bytes and class index. False if the
 * chain breaks before it or the byte is a free chunk's (then *class_index is 0 and the offsets are set). */
struct spur_object {
  uint64_t offset, bytes, slots;
  uint32_t class_index, format;
  int64_t slot;
  bool is_free;
};
bool spur_object_at(const struct spur_heap *heap, uint32_t segment, uint64_t offset, struct spur_object *out);

/* ---- image files --------------------------------------------------------------------------------------------- */

#define SPUR_FILE_HEADER_MIN 64u
struct spur_file {
  uint32_t
      version; /* 6502, 6504, 6505, 6521, 68000, 68002, 68003, 68021, and with 512 added for the second bytecode set */
  uint32_t family;     /* enum spur_family */
  uint32_t word_bytes; /* 4 or 8 */
  bool swapped;        /* the other byte order */
  bool multiple_bytecodes;
  uint64_t file_offset;  /* where the header starts: 0 or 512 (a prefix such as a shell line) */
  uint64_t header_bytes; /* where the heap starts, from there */
  uint64_t heap_bytes;
  uint64_t base_address;        /* where pointers believe the heap to start */
  uint64_t special_objects;     /* oop of the special objects array */
  uint64_t first_segment_bytes; /* Spur: 0 or the first segment's size */
};
/* Reads the header of an image file. 0, or -EINVAL: not a file of this family. Reads nothing past `size`. */
int spur_file_parse(const void *bytes, size_t size, struct spur_file *out);
/* The file's heap as segments (the bridges between a Spur image's segments are followed). Number of segments, or
 * negative: -EINVAL when the header's numbers do not fit the file. */
int spur_file_segments(const void *bytes, size_t size, const struct spur_file *file, struct spur_segment *out,
                       size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
