/* Mechanisms: each closes and opens, counted and naive, nesting, bystanders. */
#include <fcntl.h>

#include "pkeys_test.h"

CHECK_TEST(each, "each mechanism closes in a callout what it should, and opens it again") {
  EACH_MECHANISM(m) {
    if (!test_can(m)) {
      printf("#   no keys here: %s not tried\n", pkeys_mechanism_name(m));
      continue;
    }
    struct pkeys_image *image = image_of(m);
    char *eden = (char *)space_at(image, 0).address, *old = (char *)space_at(image, 1).address;
    bool closes = m != PKEYS_MECHANISM_NONE && m != PKEYS_MECHANISM_FLAG;
    eden[0] = 1;
    old[64 * KIB - 1] = 2;
    for (int round = 0; round < 3; round++) {
      CHECK_EQ(test_enter(false), 0);
      bool first = can_write(eden), middle = can_write(eden + 8 * KIB), last = can_write(old + 64 * KIB - 1), read = can_read(old);
      CHECK_EQ(test_leave(false), 0);
      CHECK_EQ(first, !closes);
      CHECK_EQ(middle, !closes);
      CHECK_EQ(last, !closes);
      CHECK(read);
      CHECK(can_write(eden) && can_write(old + 64 * KIB - 1));
    }
    CHECK_EQ(pkeys_image_verify_tags(image, NULL), 0);
    CHECK_EQ(pkeys_image_close(image), 0);
  }
}

CHECK_MAIN()
