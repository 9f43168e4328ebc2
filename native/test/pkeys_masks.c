/* PKRU arithmetic, for all keys and all rights, on any CPU; and the masks of the registry. */
#include "pkeys_test.h"

/* The slow reference: rights of one key at a time, by division. */
static unsigned slow_rights(uint32_t pkru, int key) {
  uint64_t value = pkru;
  for (int i = 0; i < key; i++) value /= 4;
  return (unsigned)(value % 4);
}
static uint32_t slow_set(uint32_t pkru, int key, unsigned rights) {
  uint64_t weight = 1;
  for (int i = 0; i < key; i++) weight *= 4;
  return (uint32_t)(pkru - slow_rights(pkru, key) * weight + rights * weight);
}

CHECK_TEST(constants, "rights have the kernel's values") {
  CHECK_EQ(PKEYS_NO_ACCESS, 0x1); /* PKEY_DISABLE_ACCESS */
  CHECK_EQ(PKEYS_NO_WRITE, 0x2);  /* PKEY_DISABLE_WRITE */
  CHECK_EQ(pkru_field(15), 0xc0000000u);
  CHECK_EQ(pkru_bits(15, PKEYS_NO_WRITE), 0x80000000u);
}

CHECK_TEST(fields, "each key's field and bits are its own, and together they are the register") {
  uint32_t all = 0;
  for (int key = 0; key < PKEYS_KEYS; key++) {
    CHECK_EQ(all & pkru_field(key), 0);
    all |= pkru_field(key);
    for (unsigned rights = 0; rights < 4; rights++) {
      CHECK_EQ(pkru_bits(key, (enum pkeys_rights)rights), slow_set(0, key, rights));
      CHECK_EQ(pkru_bits(key, (enum pkeys_rights)rights) & ~pkru_field(key), 0);
    }
  }
  CHECK_EQ(all, 0xffffffffu);
}

CHECK_TEST(combine_one, "I2: one owned key gets absolute rights whatever it had, all other keys keep theirs") {
  for (int round = 0; round < 2000; round++) {
    uint32_t pkru = (uint32_t)check_random();
    for (int key = 1; key < PKEYS_KEYS; key++)
      for (unsigned rights = 0; rights < 4; rights++) {
        uint32_t got = pkru_combine(pkru, pkru_field(key), pkru_bits(key, (enum pkeys_rights)rights));
        if (got != slow_set(pkru, key, rights)) CHECK_EQ(got, slow_set(pkru, key, rights));
        if (pkru_rights(got, key) != rights) CHECK_EQ(pkru_rights(got, key), rights);
      }
  }
  CHECK(true);
}

CHECK_TEST(combine_many, "I2: any set of owned keys, any rights, against a key-by-key reference") {
  for (int round = 0; round < 200000; round++) {
    uint32_t pkru = (uint32_t)check_random(), rights = (uint32_t)check_random(), expected = pkru, owned = 0;
    unsigned set = (unsigned)check_random() & 0xffffu;
    for (int key = 0; key < PKEYS_KEYS; key++) {
      if (!(set >> key & 1)) continue;
      owned |= pkru_field(key);
      if (key) expected = slow_set(expected, key, slow_rights(rights, key));
    }
    if (pkru_combine(pkru, owned, rights) != expected) CHECK_EQ(pkru_combine(pkru, owned, rights), expected);
  }
  CHECK(true);
}

CHECK_TEST(combine_zero, "I1: key 0's bits are never changed by arithmetic") {
  for (int round = 0; round < 10000; round++) {
    uint32_t pkru = (uint32_t)check_random();
    if ((pkru_combine(pkru, ~0u, (uint32_t)check_random()) & 3u) != (pkru & 3u)) CHECK_EQ(pkru, 0);
  }
  CHECK_EQ(pkru_combine(0, ~0u, ~0u), 0xfffffffcu);
}

CHECK_TEST(write_zero, "I1: pkeys_wrpkru leaves key 0 open whatever it is given") {
  NEEDS_KEYS();
  uint32_t before = pkeys_rdpkru();
  pkeys_wrpkru(before | 3u);
  uint32_t after = pkeys_rdpkru();
  pkeys_wrpkru(before);
  CHECK_EQ(after, before & ~3u);
  for (int round = 0; round < 1000; round++) {
    /* Other keys' bits are written as given. */
    uint32_t value = (uint32_t)check_random();
    pkeys_wrpkru(value);
    uint32_t got = pkeys_rdpkru();
    pkeys_wrpkru(before);
    if (got != (value & ~3u)) CHECK_EQ(got, value & ~3u);
  }
}

CHECK_TEST(initial, "before any key is owned the masks keep everything and deny nothing") {
  struct pkeys_masks masks = pkeys_masks();
  CHECK_EQ(masks.keep, ~0u);
  CHECK_EQ(masks.deny, 0);
  CHECK_EQ(masks.deny_lent, 0);
  CHECK(!masks.hooked && !masks.keyed);
}

static int told;
static struct pkeys_masks last;
static void listen(const struct pkeys_masks *masks) {
  told++;
  last = *masks;
}

CHECK_TEST(runtime, "pkeys_init is idempotent; the runtime key is denied for writing only, and owned") {
  CHECK_EQ(pkeys_init(), 0);
  int key = pkeys_runtime_key();
  CHECK_EQ(pkeys_init(), 0);
  CHECK_EQ(pkeys_runtime_key(), key);
  struct pkeys_masks masks = pkeys_masks();
  if (!pkeys_supported()) {
    CHECK_EQ(key, 0);
    CHECK_EQ(masks.keep, ~0u);
    CHECK_EQ(masks.deny, 0);
    return;
  }
  CHECK(key > 0 && key < PKEYS_KEYS);
  CHECK_EQ(masks.keep, ~pkru_field(key));
  CHECK_EQ(masks.deny, pkru_bits(key, PKEYS_NO_WRITE));
  CHECK_EQ(masks.deny_lent, masks.deny);
}

CHECK_TEST(of_images, "masks follow the images: keys, rights, hooked, keyed; the listener hears each change") {
  NEEDS_KEYS();
  pkeys_on_change(listen);
  CHECK_EQ(told, 1);
  uint32_t generation = pkeys_masks().generation;
  struct pkeys_image *image = image_of(PKEYS_MECHANISM_PKEYS);
  struct pkeys_space eden = space_at(image, 0);
  struct pkeys_masks masks = pkeys_masks();
  CHECK(told > 1);
  CHECK(memcmp(&last.keep, &masks.keep, 12) == 0);
  CHECK(eden.key > 0 && eden.key != pkeys_runtime_key());
  CHECK(masks.generation != generation);
  CHECK(masks.keyed && !masks.hooked);
  CHECK_EQ(masks.keep, ~(pkru_field(pkeys_runtime_key()) | pkru_field(eden.key)));
  CHECK_EQ(masks.deny, pkru_bits(pkeys_runtime_key(), PKEYS_NO_WRITE) | pkru_bits(eden.key, PKEYS_NO_WRITE));

  struct pkeys_image *other = image_of(PKEYS_MECHANISM_PKEYS_GLIBC);
  int glibc_key = space_at(other, 0).key;
  struct pkeys_masks both = pkeys_masks();
  CHECK(both.keyed && both.hooked);
  CHECK_EQ(both.keep, masks.keep & ~pkru_field(glibc_key));
  /* pkeys_enter_foreign denies it, and a gate that writes masks after that must not open it again. */
  CHECK_EQ(both.deny, masks.deny | pkru_bits(glibc_key, PKEYS_NO_WRITE));
  CHECK_EQ(pkeys_image_close(image), 0);
  masks = pkeys_masks();
  CHECK(!masks.keyed && masks.hooked);
  CHECK_EQ(pkru_rights(masks.deny, glibc_key), PKEYS_OPEN);
  CHECK_EQ(pkeys_image_close(other), 0);
  masks = pkeys_masks();
  CHECK_EQ(masks.keep, ~pkru_field(pkeys_runtime_key()));
  CHECK(!masks.keyed && !masks.hooked);
  CHECK_EQ(last.keep, masks.keep);
}

CHECK_TEST(per_space, "each space's rights are its own with a key per space") {
  NEEDS_KEYS();
  const struct pkeys_space_request requests[] = {{.name = "a", .bytes = 1, .deny = PKEYS_NO_ACCESS},
                                                 {.name = "b", .bytes = 1}};
  struct pkeys_image *image;
  REQUIRE(pkeys_image_map(requests, 2, PKEYS_KEY_PER_SPACE, &image, NULL) == 0);
  CHECK_EQ(pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS), 0);
  struct pkeys_space a = space_at(image, 0), b = space_at(image, 1);
  CHECK(a.key != b.key);
  struct pkeys_masks masks = pkeys_masks();
  CHECK_EQ(pkru_rights(masks.deny, a.key), PKEYS_NO_ACCESS);
  CHECK_EQ(pkru_rights(masks.deny, b.key), PKEYS_NO_WRITE);
  CHECK_EQ(masks.deny & 3u, 0);
  struct pkeys_image *shared;
  REQUIRE(pkeys_image_map(requests, 2, PKEYS_KEY_PER_IMAGE, &shared, NULL) == 0);
  CHECK_EQ(pkeys_image_set_mechanism(shared, PKEYS_MECHANISM_PKEYS), -EINVAL);
  CHECK_EQ(pkeys_image_set_mechanism(shared, PKEYS_MECHANISM_MPROTECT_RANGE), 0);
}

CHECK_TEST(names, "mechanisms have the names of the design, both ways") {
  EACH_MECHANISM(m) {
    enum pkeys_mechanism back = PKEYS_MECHANISM_UNSET;
    CHECK_EQ(pkeys_mechanism_parse(pkeys_mechanism_name(m), &back), 0);
    CHECK_EQ(back, m);
  }
  enum pkeys_mechanism unknown;
  CHECK_STR(pkeys_mechanism_name(PKEYS_MECHANISM_MPROTECT_PAGE), "mprotect-page");
  CHECK_EQ(pkeys_mechanism_parse("mprotect", &unknown), -EINVAL);
  CHECK_EQ(pkeys_mechanism_parse("unset", &unknown), -EINVAL);
  CHECK_EQ(pkeys_mechanism_parse(NULL, &unknown), -EINVAL);
}

CHECK_MAIN()
