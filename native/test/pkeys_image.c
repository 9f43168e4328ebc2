/* Images and spaces: requests, layout, tags (I9), growing and shrinking, hidden areas, keys running out, closing.
 * More than 400 lines: one list of behaviours of one file's functions. */

#include "pkeys_test.h"

/* ---- requests ------------------------------------------------------------------------------------------------ */

static int map_one(struct pkeys_space_request request, size_t *failed) {
  struct pkeys_image *image = NULL;
  *failed = 99;
  int error = pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, failed);
  if (error == 0) CHECK_EQ(pkeys_image_close(image), 0);
  return error;
}

CHECK_TEST(bad_requests, "bad requests are refused with -EINVAL and the index of the offender") {
  size_t failed;
  const struct {
    struct pkeys_space_request request;
    const char *what;
  } bad[] = {
      {{.name = "s", .bytes = 0}, "no bytes"},
      {{.name = "s", .bytes = PKEYS_MAX_BYTES + 1}, "over 2^46"},
      {{.name = "s", .bytes = SIZE_MAX}, "all there is"},
      {{.name = "s", .bytes = SIZE_MAX - 4095}, "wraps when rounded"},
      {{.name = "s", .bytes = 4096, .reserve_bytes = PKEYS_MAX_BYTES + 1}, "reserve over 2^46"},
      {{.name = "s", .bytes = 4096, .reserve_bytes = SIZE_MAX}, "reserve of all there is"},
      {{.name = "s", .bytes = 8192, .reserve_bytes = 4096}, "reserve below bytes"},
      {{.name = "", .bytes = 4096}, "empty name"},
      {{.name = NULL, .bytes = 4096}, "no name"},
      {{.name = "12345678901234567890123456789012", .bytes = 4096}, "32 bytes of name"},
      {{.name = "s", .bytes = 4096, .deny = (enum pkeys_rights)3}, "unknown rights"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    int error = map_one(bad[i].request, &failed);
    if (error != -EINVAL || failed != 0) printf("#   %s: %d, index %zu\n", bad[i].what, error, failed);
    CHECK_EQ(error, -EINVAL);
    CHECK_EQ(failed, 0);
  }
  CHECK_EQ(map_one((struct pkeys_space_request){.name = "1234567890123456789012345678901", .bytes = 1}, &failed), 0);

  struct pkeys_image *image = NULL;
  const struct pkeys_space_request twice[] = {
      {.name = "a", .bytes = 1}, {.name = "b", .bytes = 1}, {.name = "a", .bytes = 1}};
  CHECK_EQ(pkeys_image_map(twice, 3, PKEYS_KEY_PER_IMAGE, &image, &failed), -EINVAL);
  CHECK_EQ(failed, 2);
  CHECK_EQ(pkeys_image_map(twice, 0, PKEYS_KEY_PER_IMAGE, &image, &failed), -EINVAL);
  CHECK_EQ(pkeys_image_map(NULL, 1, PKEYS_KEY_PER_IMAGE, &image, &failed), -EINVAL);
  CHECK_EQ(pkeys_image_map(twice, 2, PKEYS_KEY_PER_IMAGE, NULL, &failed), -EINVAL);
  CHECK_EQ(pkeys_image_map(twice, 2, (enum pkeys_key_mode)7, &image, &failed), -EINVAL);
  CHECK_EQ(pkeys_image_map(twice, SIZE_MAX, PKEYS_KEY_PER_IMAGE, &image, &failed), -EMFILE);
}

CHECK_TEST(absurd, "more address space than there is: -ENOMEM, and nothing stays mapped") {
  struct pkeys_space_request requests[8]; /* more than 48 bits of address, which ARM64 has */
  static const char *const names[8] = {"a", "b", "c", "d", "e", "f", "g", "h"};
  for (size_t i = 0; i < 8; i++)
    requests[i] = (struct pkeys_space_request){.name = names[i], .bytes = 4096, .reserve_bytes = PKEYS_MAX_BYTES};
  struct pkeys_image *image = NULL;
  for (int round = 0; round < 100; round++)
    CHECK_EQ(pkeys_image_map(requests, 8, PKEYS_KEY_PER_IMAGE, &image, NULL), -ENOMEM);
  CHECK(image == NULL);
}

CHECK_TEST(limits, "too many images or spaces: -EMFILE, and room again after a close") {
  struct pkeys_image *images[PKEYS_MAX_IMAGES], *more = NULL;
  struct pkeys_space_request requests[PKEYS_MAX_SPACES + 1];
  char names[PKEYS_MAX_SPACES + 1][8];
  for (int i = 0; i <= PKEYS_MAX_SPACES; i++) {
    snprintf(names[i], sizeof names[i], "s%d", i);
    requests[i] = (struct pkeys_space_request){.name = names[i], .bytes = 1};
  }
  for (int i = 0; i < PKEYS_MAX_IMAGES; i++)
    CHECK_EQ(pkeys_image_map(requests, 1, PKEYS_KEY_PER_IMAGE, &images[i], NULL), 0);
  CHECK_EQ(pkeys_image_map(requests, 1, PKEYS_KEY_PER_IMAGE, &more, NULL), -EMFILE);
  for (int i = 0; i < PKEYS_MAX_IMAGES; i++) CHECK_EQ(pkeys_image_close(images[i]), 0);
  CHECK_EQ(pkeys_image_map(requests, PKEYS_MAX_SPACES + 1, PKEYS_KEY_PER_IMAGE, &more, NULL), -EMFILE);
  CHECK_EQ(pkeys_image_map(requests, PKEYS_MAX_SPACES, PKEYS_KEY_PER_IMAGE, &more, NULL), 0);
  CHECK_EQ(pkeys_image_space_count(more), PKEYS_MAX_SPACES);
  CHECK_EQ(pkeys_image_close(more), 0);
  int full = PKEYS_MAX_ALL_SPACES / PKEYS_MAX_SPACES;
  for (int i = 0; i < full; i++)
    CHECK_EQ(pkeys_image_map(requests, PKEYS_MAX_SPACES, PKEYS_KEY_PER_IMAGE, &images[i], NULL), 0);
  CHECK_EQ(pkeys_image_map(requests, 1, PKEYS_KEY_PER_IMAGE, &more, NULL), -EMFILE);
  for (int i = 0; i < full; i++) CHECK_EQ(pkeys_image_close(images[i]), 0);
}

/* ---- layout -------------------------------------------------------------------------------------------------- */

CHECK_TEST(layout, "spaces lie in the given order, zero, rounded to pages, guards around each") {
  const struct pkeys_space_request requests[] = {{.name = "a", .bytes = 1},
                                                 {.name = "b", .bytes = 4097, .reserve_bytes = 4097},
                                                 {.name = "c", .bytes = 4096, .deny = PKEYS_NO_ACCESS}};
  struct pkeys_image *image = NULL;
  REQUIRE(pkeys_image_map(requests, 3, PKEYS_KEY_PER_IMAGE, &image, NULL) == 0);
  CHECK_EQ(pkeys_image_space_count(image), 3);
  CHECK(pkeys_image_id(image) > 0);
  struct pkeys_space a = space_at(image, 0), b = space_at(image, 1), c = space_at(image, 2);
  CHECK_STR(a.name, "a");
  CHECK_EQ(a.bytes, 4096);
  CHECK_EQ(a.reserved_bytes, 4096);
  CHECK_EQ(b.bytes, 8192);
  CHECK_EQ(b.reserved_bytes, 8192);
  CHECK_EQ(c.reserved_bytes, 4 * 4096);
  CHECK_EQ(a.deny, PKEYS_NO_WRITE);
  CHECK_EQ(c.deny, PKEYS_NO_ACCESS);
  CHECK_EQ(a.key, 0);
  CHECK_EQ(a.mechanism, PKEYS_MECHANISM_UNSET);
  CHECK_EQ(b.address, a.address + a.reserved_bytes + PKEYS_GUARD_BYTES);
  CHECK_EQ(c.address, b.address + b.reserved_bytes + PKEYS_GUARD_BYTES);
  for (size_t i = 0; i < b.bytes; i++)
    if (((char *)b.address)[i]) CHECK_EQ(((char *)b.address)[i], 0);
  CHECK(can_write((char *)a.address) && can_write((char *)c.address));
  CHECK(!can_read((char *)a.address - 1) && !can_read((char *)a.address - PKEYS_GUARD_BYTES));
  CHECK(!can_read((char *)b.address + b.bytes) && !can_read((char *)b.address + b.bytes + PKEYS_GUARD_BYTES - 1));
  CHECK(!can_read((char *)c.address + c.bytes));
  CHECK_DIES(SIGSEGV, ((volatile char *)a.address)[-1] = 1);
  CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
  struct pkeys_space none;
  CHECK_EQ(pkeys_image_space(image, 3, &none), -EINVAL);
  CHECK_EQ(pkeys_image_close(image), 0);
  CHECK(!can_read((char *)a.address));
}

CHECK_TEST(closed, "use after close: -EINVAL everywhere") {
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_FLAG);
  struct pkeys_space space;
  struct pkeys_loan loan;
  void *area;
  CHECK_EQ(pkeys_image_close(image), 0);
  CHECK_EQ(pkeys_image_close(image), -EINVAL);
  CHECK_EQ(pkeys_image_space(image, 0, &space), -EINVAL);
  CHECK_EQ(pkeys_image_space_count(image), 0);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_FLAG), -EINVAL);
  CHECK_EQ(pkeys_space_resize(image, 0, 4096), -EINVAL);
  CHECK_EQ(pkeys_space_neighbour(image, 0, 16, &area), -EINVAL);
  CHECK_EQ(pkeys_image_hidden(image, 4096, &area), -EINVAL);
  CHECK_EQ(pkeys_image_reapply(image), -EINVAL);
  CHECK_EQ(pkeys_image_verify_tags(image, NULL), -EINVAL);
  CHECK_EQ(pkeys_lend(16, image, 0, 0, PKEYS_LOAN_OUT, false, &loan), -EINVAL);
}

CHECK_TEST(mechanism_once, "a mechanism is set once: the same again is 0, another -EBUSY") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    struct pkeys_image *image = image_of(PKEYS_MECHANISM_UNSET);
    CHECK_EQ(pkeys_image_set_mechanism(image, (enum pkeys_mechanism)99), -EINVAL);
    CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_UNSET), -EINVAL);
    CHECK_EQ(pkeys_image_set_mechanism(image, m), 0);
    CHECK_EQ(pkeys_image_mechanism(image), m);
    CHECK_EQ(space_at(image, 1).mechanism, m);
    CHECK_EQ(pkeys_image_set_mechanism(image, m), 0);
    CHECK_EQ(pkeys_image_set_mechanism(image, m == PKEYS_MECHANISM_NONE ? PKEYS_MECHANISM_FLAG : PKEYS_MECHANISM_NONE),
             -EBUSY);
    CHECK_EQ(pkeys_image_mechanism(image), m);
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

CHECK_TEST(no_keys, "without keys the mechanisms that need them answer -EOPNOTSUPP and change nothing") {
  if (pkeys_supported()) CHECK_SKIP("this machine has keys");
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_UNSET);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS), -EOPNOTSUPP);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS_GLIBC), -EOPNOTSUPP);
  CHECK_EQ(pkeys_image_mechanism(image), PKEYS_MECHANISM_UNSET);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_MPROTECT_RANGE), 0);
}

CHECK_TEST(neighbour,
           "a neighbour lies flush below its space, on key 0, open in callouts; the overflow reaches the image") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    struct pkeys_image *image = image_of(m);
    struct pkeys_space old = space_at(image, 1);
    void *buffer = NULL, *larger = NULL;
    CHECK_EQ(pkeys_space_neighbour(image, 1, 0, &buffer), -EINVAL);
    CHECK_EQ(pkeys_space_neighbour(image, 1, PKEYS_GUARD_BYTES, &buffer), -EINVAL);
    CHECK_EQ(pkeys_space_neighbour(image, 2, 16, &buffer), -EINVAL);
    CHECK_EQ(pkeys_space_neighbour(image, 1, 100, &buffer), 0);
    CHECK_EQ((uintptr_t)buffer + 100, old.address);
    memset(buffer, 7, 100);
    CHECK_EQ(smaps_key(buffer, NULL), 0);
    CHECK_EQ(pkeys_space_neighbour(image, 1, PKEYS_GUARD_BYTES - PKEYS_PAGE, &larger), 0);
    CHECK_EQ(*(char *)buffer, 7);
    CHECK(can_write(larger) && !can_read((char *)larger - 1));
    CHECK_EQ(pkeys_space_neighbour(image, 1, 100, &buffer), 0);
    CHECK(can_write(larger));
    CHECK_EQ(test_enter(false), 0);
    bool below = can_write((char *)old.address - 1), first = can_write((char *)old.address);
    CHECK_EQ(test_leave(false), 0);
    CHECK(below);
    CHECK_EQ(first, m == PKEYS_MECHANISM_NONE || m == PKEYS_MECHANISM_FLAG);
    CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
    CHECK_EQ(pkeys_image_close(image), 0);
    CHECK(!can_read(larger));
  }
}

/* ---- growing and shrinking ----------------------------------------------------------------------------------- */

CHECK_TEST(resize, "I9: after resize the new pages carry the key, the given-back ones neither key nor contents") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    struct pkeys_image *image = image_of(m);
    struct pkeys_space eden = space_at(image, 0);
    char *bytes = (char *)eden.address, access[5];
    memset(bytes, 7, eden.bytes);
    CHECK_EQ(pkeys_space_resize(image, 0, 40 * KIB), 0);
    CHECK_EQ(space_at(image, 0).bytes, 40 * KIB);
    bytes[40 * KIB - 1] = 8;
    CHECK_EQ(bytes[0], 7);
    CHECK_EQ(smaps_key(bytes + 40 * KIB - 1, access), eden.key);
    CHECK_STR(access, "rw-p");
    CHECK(!can_read(bytes + 40 * KIB));
    CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);

    CHECK_EQ(pkeys_space_resize(image, 0, 4 * KIB + 1), 0);
    CHECK_EQ(space_at(image, 0).bytes, 8 * KIB);
    CHECK(!can_read(bytes + 8 * KIB));
    CHECK_EQ(smaps_key(bytes + 8 * KIB, access), 0);
    CHECK_STR(access, "---p");
    CHECK_EQ(bytes[8 * KIB - 1], 7);
    CHECK_EQ(pkeys_space_resize(image, 0, 64 * KIB), 0);
    CHECK_EQ(bytes[8 * KIB], 0);
    CHECK_EQ(bytes[40 * KIB - 1], 0);
    CHECK_EQ(smaps_key(bytes + 63 * KIB, NULL), eden.key);

    CHECK_EQ(pkeys_space_resize(image, 0, 64 * KIB), 0);
    CHECK_EQ(pkeys_space_resize(image, 0, 64 * KIB + 1), -ENOMEM);
    CHECK_EQ(pkeys_space_resize(image, 0, SIZE_MAX), -ENOMEM);
    CHECK_EQ(pkeys_space_resize(image, 0, 0), -EINVAL);
    CHECK_EQ(pkeys_space_resize(image, 2, 4096), -EINVAL);
    CHECK_EQ(space_at(image, 0).bytes, 64 * KIB);
    CHECK_EQ(test_enter(false), 0);
    bool grown = can_write(bytes + 63 * KIB);
    CHECK_EQ(test_leave(false), 0);
    CHECK_EQ(grown, m == PKEYS_MECHANISM_NONE || m == PKEYS_MECHANISM_FLAG);
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

CHECK_TEST(resize_inside, "pages added while a counted callout is inside are closed like the rest") {
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_MPROTECT_RANGE);
  char *eden = (char *)space_at(image, 0).address;
  CHECK_EQ(test_enter(false), 0);
  CHECK_EQ(pkeys_space_resize(image, 0, 32 * KIB), 0);
  bool open = can_write(eden + 20 * KIB);
  CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
  CHECK_EQ(test_leave(false), 0);
  CHECK(!open);
  CHECK(can_write(eden + 20 * KIB));
  CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
}

/* ---- tags ---------------------------------------------------------------------------------------------------- */

CHECK_TEST(tags,
           "I9: every page of spaces and hidden areas shows the key in smaps, made before or after the mechanism") {
  NEEDS_KEYS();
  for (int mode = 0; mode < 2; mode++) {
    const struct pkeys_space_request requests[] = {{.name = "a", .bytes = 16 * KIB}, {.name = "b", .bytes = 16 * KIB}};
    struct pkeys_image *image = NULL;
    void *before = NULL, *after = NULL;
    REQUIRE(pkeys_image_map(requests, 2, mode ? PKEYS_KEY_PER_SPACE : PKEYS_KEY_PER_IMAGE, &image, NULL) == 0);
    CHECK_EQ(pkeys_image_hidden(image, 10000, &before), 0);
    CHECK_EQ(smaps_key(before, NULL), 0);
    CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS), 0);
    CHECK_EQ(pkeys_image_hidden(image, 10000, &after), 0);
    struct pkeys_space a = space_at(image, 0), b = space_at(image, 1);
    CHECK(a.key > 0);
    CHECK_EQ(a.key == b.key, mode == 0);
    for (size_t page = 0; page < 4; page++) {
      CHECK_EQ(smaps_key((char *)a.address + page * 4096, NULL), a.key);
      CHECK_EQ(smaps_key((char *)b.address + page * 4096, NULL), b.key);
    }
    CHECK_EQ(smaps_key(before, NULL), a.key);
    CHECK_EQ(smaps_key((char *)after + 9999, NULL), a.key);
    CHECK_EQ(smaps_key((char *)a.address - 1, NULL), 0);
    CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

CHECK_TEST(remapped, "I9: a mapping over a space loses its key; verify names the page, reapply puts it back") {
  NEEDS_KEYS();
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_PKEYS);
  struct pkeys_space old = space_at(image, 1);
  char *page = (char *)old.address + 5 * 4096;
  uintptr_t where = 0;
  REQUIRE(test_map_over(page, 4096));
  CHECK_EQ(smaps_key(page, NULL), 0);
  CHECK_EQ(pkeys_image_verify_tags(image, &where), -EKEYREJECTED);
  CHECK_EQ(where, (uintptr_t)page);
  CHECK_EQ(test_enter(false), 0);
  bool hole = can_write(page);
  CHECK_EQ(test_leave(false), 0);
  CHECK(hole);
  CHECK_EQ(pkeys_image_reapply(image), 0);
  CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
  CHECK_EQ(smaps_key(page, NULL), old.key);
  CHECK_EQ(test_enter(false), 0);
  hole = can_write(page);
  CHECK_EQ(test_leave(false), 0);
  CHECK(!hole);
  /* PROT_EXEC alone takes a key of the kernel's own, and the way back leaves key 0. */
  CHECK_EQ(test_protect(page, 4096, TEST_EXECUTE), 0);
  CHECK_EQ(test_protect(page, 4096, TEST_READ_WRITE), 0);
  CHECK_EQ(pkeys_image_verify_tags(image, &where), -EKEYREJECTED);
  CHECK_EQ(pkeys_image_reapply(image), 0);
  /* A hole in the mapping cannot be put back: that is an error and no silence. */
  CHECK_EQ(test_unmap(page, 4096), 0);
  CHECK_EQ(pkeys_image_verify_tags(image, &where), -EKEYREJECTED);
  CHECK_EQ(where, (uintptr_t)page);
  CHECK_EQ(pkeys_image_reapply(image), -ENOMEM);
}

CHECK_TEST(remapped_access, "verify sees changed access on machines without keys too") {
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_FLAG);
  char *page = (char *)space_at(image, 1).address + 3 * 4096;
  uintptr_t where = 0;
  CHECK_EQ(test_protect(page, 4096, TEST_READ), 0);
  CHECK_EQ(pkeys_image_verify_tags(image, &where), -EKEYREJECTED);
  CHECK_EQ(where, (uintptr_t)page);
  CHECK_EQ(pkeys_image_reapply(image), 0);
  CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
}

/* A thread that exists before a key does: it waits for the main thread's step at the barrier, and then says what it can
 * do. */
static struct {
  pthread_barrier_t barrier;
  struct pkeys_image *image;
  bool before, opened, written, read_inside, written_inside, found, same;
  enum pkeys_rights runtime_rights;
  uint32_t generation;
} older;

static void *older_than_image(void *argument) {
  pthread_barrier_wait(&older.barrier);
  pthread_barrier_wait(&older.barrier);
  char *eden = (char *)space_at(older.image, 0).address;
  struct pkeys_masks masks = pkeys_masks();
  older.before = can_read(eden);
  older.generation = masks.generation;
  pkeys_wrpkru((pkeys_rdpkru() & masks.keep) | masks.deny);
  older.read_inside = can_read(eden);
  older.written_inside = can_write(eden);
  pkeys_open_thread();
  older.opened = can_read(eden);
  older.written = can_write(eden);
  return argument;
}

CHECK_TEST(older_thread,
           "I2: a thread older than the key gets no more than the masks say: reads in a callout, all after opening") {
  NEEDS_KEYS();
  CHECK_EQ(pkeys_init(), 0);
  pthread_barrier_init(&older.barrier, NULL, 2);
  pthread_t thread = start(older_than_image, NULL);
  pthread_barrier_wait(&older.barrier);
  uint32_t generation = pkeys_masks().generation;
  older.image = image_of(PKEYS_MECHANISM_PKEYS);
  pthread_barrier_wait(&older.barrier);
  pthread_join(thread, NULL);
  CHECK(!older.before);
  CHECK(older.generation != generation);
  CHECK(older.read_inside);
  CHECK(!older.written_inside);
  CHECK(older.opened && older.written);
}

static void *older_than_all_keys(void *argument) {
  pthread_barrier_wait(&older.barrier);
  pthread_barrier_wait(&older.barrier);
  uint32_t before = pkeys_rdpkru();
  struct pkeys_space eden = {.address = 0};
  older.found = pkeys_image_space(older.image, 0, &eden) == 0 && pkeys_find_space(eden.address, &eden) &&
                pkeys_masks().keyed;
  older.same = pkeys_rdpkru() == before; /* readers give back the rights they took */
  older.runtime_rights = pkru_rights(before, pkeys_runtime_key());
  pkeys_open_thread();
  older.written = can_write((char *)eden.address);
  return argument;
}

CHECK_TEST(older_than_all, "a thread older than the runtime key reads masks and spaces, and may open its rights") {
  NEEDS_KEYS();
  pthread_barrier_init(&older.barrier, NULL, 2);
  pthread_t thread = start(older_than_all_keys, NULL);
  pthread_barrier_wait(&older.barrier);
  older.image = image_of(PKEYS_MECHANISM_PKEYS);
  pthread_barrier_wait(&older.barrier);
  pthread_join(thread, NULL);
  CHECK_EQ(older.runtime_rights, PKEYS_NO_ACCESS);
  CHECK(older.found);
  CHECK(older.same);
  CHECK(older.written);
}

/* ---- keys run out -------------------------------------------------------------------------------------------- */

CHECK_TEST(exhaustion, "one key more than there are: -ENOSPC, nothing changed, and all keys free again after closing") {
  NEEDS_KEYS();
  struct pkeys_probe probe;
  CHECK_EQ(pkeys_init(), 0);
  pkeys_probe(&probe);
  int free_keys = probe.keys_free;
  CHECK(free_keys > 3);
  struct pkeys_space_request requests[PKEYS_KEYS];
  char names[PKEYS_KEYS][8];
  for (int i = 0; i < PKEYS_KEYS; i++) {
    snprintf(names[i], sizeof names[i], "s%d", i);
    requests[i] = (struct pkeys_space_request){.name = names[i], .bytes = 4096};
  }
  struct pkeys_masks before = pkeys_masks();
  struct pkeys_image *image = NULL;
  REQUIRE(pkeys_image_map(requests, (size_t)free_keys + 1, PKEYS_KEY_PER_SPACE, &image, NULL) == 0);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS), -ENOSPC);
  CHECK_EQ(pkeys_image_mechanism(image), PKEYS_MECHANISM_UNSET);
  struct pkeys_masks after = pkeys_masks();
  CHECK(memcmp(&before, &after, sizeof before) == 0);
  pkeys_probe(&probe);
  CHECK_EQ(probe.keys_free, free_keys);
  for (int i = 0; i <= free_keys; i++) CHECK_EQ(smaps_key((char *)space_at(image, (size_t)i).address, NULL), 0);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_FLAG), 0);
  CHECK_EQ(pkeys_image_close(image), 0);

  REQUIRE(pkeys_image_map(requests, (size_t)free_keys, PKEYS_KEY_PER_SPACE, &image, NULL) == 0);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS), 0);
  struct pkeys_image *another = image_of(PKEYS_MECHANISM_UNSET);
  CHECK_EQ(pkeys_image_set_mechanism(another, PKEYS_MECHANISM_PKEYS), -ENOSPC);
  struct pkeys_loan loan;
  CHECK_EQ(pkeys_lend(16, NULL, 0, 0, PKEYS_LOAN_OUT, false, &loan), -ENOSPC);
  pkeys_probe(&probe);
  CHECK_EQ(probe.keys_free, 0);
  CHECK(!probe.usable && !probe.alloc_works);
  CHECK_EQ(probe.alloc_errno, ENOSPC);
  CHECK(strstr(probe.reason, "taken") != NULL);
  CHECK_EQ(pkeys_image_close(image), 0);
  pkeys_probe(&probe);
  CHECK_EQ(probe.keys_free, free_keys);
  CHECK(probe.usable);
  CHECK_EQ(pkeys_image_set_mechanism(another, PKEYS_MECHANISM_PKEYS), 0);
}

CHECK_TEST(none_left_at_init, "no key left at pkeys_init: flag and mprotect work, pkeys answers -ENOSPC") {
  NEEDS_KEYS();
  test_all_keys();
  CHECK_EQ(pkeys_init(), 0);
  CHECK_EQ(pkeys_runtime_key(), 0);
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_MPROTECT_RANGE);
  CHECK_EQ(test_enter(false), 0);
  bool open = can_write((char *)space_at(image, 0).address);
  CHECK_EQ(test_leave(false), 0);
  CHECK(!open);
  CHECK_EQ(pkeys_image_set_mechanism(image_of(PKEYS_MECHANISM_UNSET), PKEYS_MECHANISM_PKEYS), -ENOSPC);
}

CHECK_TEST(freed_key,
           "a key is freed only when no page carries it: the next owner of its number can deny it without harm") {
  NEEDS_KEYS();
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_PKEYS);
  void *hidden;
  CHECK_EQ(pkeys_image_hidden(image, 4096, &hidden), 0);
  int key = space_at(image, 0).key;
  CHECK_EQ(pkeys_image_close(image), 0);
  FILE *file = fopen("/proc/self/smaps", "r");
  char line[512];
  int seen = 0, value;
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "ProtectionKey: %d", &value) == 1) seen += value == key;
  if (file) fclose(file);
  CHECK_EQ(seen, 0);
  CHECK_EQ(pkeys_masks().keep & pkru_field(key), pkru_field(key));
}

/* ---- several images, hidden areas, look-ups ------------------------------------------------------------------ */

CHECK_TEST(two_images, "a callout closes every open image, whatever their mechanisms; each keeps its own") {
  EACH_MECHANISM(m) EACH_MECHANISM(n) {
    if (!test_can(m) || !test_can(n)) continue;
    struct pkeys_image *images[2] = {image_of(m), image_of(n)};
    CHECK(pkeys_image_id(images[0]) != pkeys_image_id(images[1]));
    char *bytes[2] = {(char *)space_at(images[0], 1).address, (char *)space_at(images[1], 1).address};
    CHECK_EQ(test_enter(false), 0);
    bool open[2] = {can_write(bytes[0]), can_write(bytes[1])};
    CHECK_EQ(test_leave(false), 0);
    CHECK_EQ(open[0], m <= PKEYS_MECHANISM_FLAG);
    CHECK_EQ(open[1], n <= PKEYS_MECHANISM_FLAG);
    CHECK(can_write(bytes[0]) && can_write(bytes[1]));
    CHECK_EQ(pkeys_image_close(images[0]), 0);
    CHECK(!can_read(bytes[0]) && can_write(bytes[1]));
    CHECK_EQ(test_enter(false), 0);
    open[1] = can_write(bytes[1]);
    CHECK_EQ(test_leave(false), 0);
    CHECK_EQ(open[1], n <= PKEYS_MECHANISM_FLAG);
    CHECK_EQ(pkeys_image_close(images[1]), 0);
  }
}

CHECK_TEST(no_access, "NO_ACCESS takes reading away too, in every mechanism that protects") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    const struct pkeys_space_request request = {.name = "secret", .bytes = 8192, .deny = PKEYS_NO_ACCESS};
    struct pkeys_image *image = NULL;
    REQUIRE(pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, NULL) == 0);
    CHECK_EQ(pkeys_image_set_mechanism(image, m), 0);
    char *bytes = (char *)space_at(image, 0).address;
    CHECK_EQ(test_enter(false), 0);
    bool read = can_read(bytes), write = can_write(bytes + 4096);
    CHECK_EQ(test_leave(false), 0);
    CHECK_EQ(read, m <= PKEYS_MECHANISM_FLAG);
    CHECK_EQ(write, m <= PKEYS_MECHANISM_FLAG);
    CHECK(can_read(bytes) && can_write(bytes));
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

CHECK_TEST(hidden, "a hidden area is closed with its image, guarded, found as no space, released once") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) continue;
    struct pkeys_image *image = image_of(m), *other = image_of(PKEYS_MECHANISM_FLAG);
    void *area = NULL, *none;
    CHECK_EQ(pkeys_image_hidden(image, 0, &none), -EINVAL);
    CHECK_EQ(pkeys_image_hidden(image, SIZE_MAX, &none), -EINVAL);
    CHECK_EQ(pkeys_image_hidden(image, 5000, &area), 0);
    memset(area, 9, 5000);
    CHECK(!can_read((char *)area - 1) && !can_read((char *)area + 8192));
    CHECK_EQ(test_enter(false), 0);
    bool open = can_write(area);
    CHECK_EQ(test_leave(false), 0);
    CHECK_EQ(open, m <= PKEYS_MECHANISM_FLAG);
    CHECK(!pkeys_find_space((uintptr_t)area, NULL));
    CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
    CHECK_EQ(pkeys_image_hidden_release(other, area), -EINVAL);
    CHECK_EQ(pkeys_image_hidden_release(image, (char *)area + 1), -EINVAL);
    CHECK_EQ(pkeys_image_hidden_release(image, (void *)space_at(image, 0).address), -EINVAL);
    CHECK_EQ(pkeys_image_hidden_release(image, area), 0);
    CHECK(!can_read(area));
    CHECK_EQ(pkeys_image_hidden_release(image, area), -EINVAL);
    CHECK_EQ(pkeys_image_hidden(image, 5000, &area), 0);
    CHECK_EQ(pkeys_image_close(image), 0);
    CHECK(!can_read(area));
    CHECK_EQ(pkeys_image_close(other), 0);
  }
}

CHECK_TEST(find, "find_space knows spaces and their reservations, not guards, not closed images") {
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_FLAG), *other = image_of(PKEYS_MECHANISM_NONE);
  struct pkeys_space eden = space_at(image, 0), old = space_at(other, 1), found;
  CHECK(pkeys_find_space(eden.address, &found));
  CHECK_STR(found.name, "eden");
  CHECK_EQ(found.address, eden.address);
  CHECK_EQ(found.image_id, pkeys_image_id(image));
  CHECK_EQ(found.mechanism, PKEYS_MECHANISM_FLAG);
  CHECK(pkeys_find_space(eden.address + eden.reserved_bytes - 1, &found) && strcmp(found.name, "eden") == 0);
  CHECK(!pkeys_find_space(eden.address + eden.reserved_bytes, &found));
  CHECK(!pkeys_find_space(eden.address - 1, &found));
  CHECK(pkeys_find_space(old.address + 5, &found) && found.image_id == pkeys_image_id(other));
  CHECK(!pkeys_find_space(0, &found) && !pkeys_find_space(UINTPTR_MAX, &found) &&
        !pkeys_find_space((uintptr_t)&found, NULL));
  CHECK_EQ(pkeys_image_close(image), 0);
  CHECK(!pkeys_find_space(eden.address, &found));
  CHECK(pkeys_find_space(old.address, NULL));
}

CHECK_TEST(registry_protected, "I11: a callee cannot write the registry") {
  NEEDS_KEYS();
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_PKEYS);
  struct pkeys_masks masks = pkeys_masks();
  CHECK_EQ(smaps_key(image, NULL), pkeys_runtime_key());
  CHECK_DIES(SIGSEGV, pkeys_wrpkru((pkeys_rdpkru() & masks.keep) | masks.deny); *(volatile char *)image = 1);
  CHECK_EXITS(0, pkeys_wrpkru((pkeys_rdpkru() & masks.keep) | masks.deny); if (pkeys_image_id(image) == 0) _exit(9));
  CHECK_DIES(SIGSEGV, char *eden = (char *)space_at(image, 0).address; test_enter(false); *(volatile char *)eden = 1);
}

CHECK_MAIN()
