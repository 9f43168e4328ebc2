/* pkeys_ranges.h: what the tests of adopted ranges share. */
#ifndef TURNKEY_TEST_PKEYS_RANGES_H
#define TURNKEY_TEST_PKEYS_RANGES_H

#include "pkeys_test.h"

#define PAGE 4096u
#define NONE PROT_NONE
#define R PROT_READ
#define RW (PROT_READ | PROT_WRITE)
#define X shown_execution()
#define RX (PROT_READ | X)
#define RWX (PROT_READ | PROT_WRITE | X)

static inline char *map(size_t pages, int protection) {
  void *memory = mmap(NULL, pages * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) abort();
  return memory;
}
/* PROT_EXEC, or 0 where smaps does not show it: qemu-user 7.2 keeps it for itself, and gives smaps as the host wrote
 * it.
 */
static inline int shown_execution(void) {
  static int shown = -1;
  if (shown < 0) {
    char *page = map(1, PROT_READ | PROT_EXEC), access[5] = "";
    smaps_key(page, access);
    munmap(page, PAGE);
    shown = access[2] == 'x' ? PROT_EXEC : 0;
  }
  return shown;
}

/* An image of three spaces without memory, young, old and code. */
static inline struct pkeys_image *create(enum pkeys_mechanism mechanism, enum pkeys_key_mode mode) {
  const struct pkeys_space_request requests[] = {{.name = "young"}, {.name = "old"}, {.name = "code"}};
  struct pkeys_image *image = NULL;
  CHECK_EQ(pkeys_image_create(requests, 3, mode, &image, NULL), 0);
  if (image && mechanism) CHECK_EQ(pkeys_image_set_mechanism(image, mechanism), 0);
  return image;
}
static inline bool closes(enum pkeys_mechanism m) { return m != PKEYS_MECHANISM_NONE && m != PKEYS_MECHANISM_FLAG; }

static inline const char *access_text(int protection, char text[5]) {
  snprintf(text, 5, "%c%c%cp", protection & PROT_READ ? 'r' : '-', protection & PROT_WRITE ? 'w' : '-',
           protection & PROT_EXEC ? 'x' : '-');
  return text;
}
/* Access and key of the page, as smaps shows them. */
static inline void check_page(const void *page, int protection, int key) {
  char seen[5] = "", wanted[5];
  CHECK_EQ(smaps_key(page, seen), key);
  CHECK_STR(seen, access_text(protection, wanted));
}

#endif
