/* Probing by doing. */
#include <fcntl.h>

#include "pkeys_test.h"

#if defined(__x86_64__)
#include <cpuid.h>
/* What the CPU says itself: it has keys, and the kernel uses them. */
static void cpu_says(bool *has, bool *used) {
  unsigned eax, ebx, ecx = 0, edx;
  __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
  *has = (ecx & 8) != 0;
  *used = (ecx & 16) != 0;
}
#define WITHOUT_KEYS "the CPU shows no PKU (CPUID.7.0:ECX bit 3 is 0)"
#else
#include <sys/auxv.h>
static void cpu_says(bool *has, bool *used) { *has = *used = (getauxval(26 /* AT_HWCAP2 */) >> 63 & 1) != 0; }
#define WITHOUT_KEYS                                                                                            \
  "no permission overlay (HWCAP2_POE is not set): it takes a CPU with FEAT_S1POE and Linux 6.12 or later with " \
  "CONFIG_ARM64_POE"
#endif

CHECK_TEST(consistent, "the probe agrees with what the CPU says itself, says a reason exactly when something is "
                       "missing, and leaves nothing behind") {
  bool has, used;
  cpu_says(&has, &used);
  struct pkeys_probe first, second;
  uint32_t pkru = pkeys_supported() ? pkeys_rdpkru() : 0;
  int fd = open("/dev/null", O_RDONLY);
  close(fd);
  for (int i = 0; i < 50; i++) pkeys_probe(&first);
  pkeys_probe(&second);
  int next = open("/dev/null", O_RDONLY);
  CHECK_EQ(next, fd);
  close(next);
  printf("#   usable %d, free %d, alloc_errno %d, tag_errno %d, reason \"%s\"\n", first.usable, first.keys_free,
         first.alloc_errno, first.tag_errno, first.reason);
  CHECK_EQ(first.cpu_pku, has);
  CHECK_EQ(first.cpu_ospke, used);
  CHECK_EQ(pkeys_supported(), used);
  CHECK_EQ(first.usable, first.reason[0] == 0);
  CHECK_EQ(first.usable, first.cpu_pku && first.cpu_ospke && first.alloc_works && first.tag_works && first.deny_works);
  CHECK_EQ(first.keys_free, second.keys_free);
  CHECK_EQ(first.usable, second.usable);
  if (pkeys_supported()) CHECK_EQ(pkeys_rdpkru(), pkru);
  else {
    CHECK(!first.usable && !first.alloc_works && !first.tag_works && !first.deny_works);
    CHECK_EQ(first.keys_free, 0);
    CHECK(first.alloc_errno != 0);
  }
  if (!first.cpu_pku) CHECK_STR(first.reason, WITHOUT_KEYS);
}

CHECK_TEST(works, "where keys work the probe says so") {
  NEEDS_KEYS();
  struct pkeys_probe probe;
  pkeys_probe(&probe);
  CHECK(probe.usable && probe.keys_free > 0 && probe.keys_free < PKEYS_KEYS);
}

CHECK_TEST(taken, "with keys taken by others the probe counts what is left, and says so when none is") {
  NEEDS_KEYS();
  struct pkeys_probe probe;
  pkeys_probe(&probe);
  int free_keys = probe.keys_free, key = 0, taken = 0;
  while (taken < free_keys - 1 && (key = (int)syscall(SYS_pkey_alloc, 0, PKEYS_NO_WRITE)) > 0) taken++;
  uint32_t pkru = pkeys_rdpkru();
  pkeys_probe(&probe);
  CHECK_EQ(probe.keys_free, 1);
  CHECK(probe.usable);
  CHECK_EQ(pkeys_rdpkru(), pkru);
  CHECK_EQ(pkru_rights(pkru, key), PKEYS_NO_WRITE);
  CHECK((int)syscall(SYS_pkey_alloc, 0, 0) > 0);
  pkeys_probe(&probe);
  CHECK_EQ(probe.keys_free, 0);
  CHECK(!probe.usable);
  CHECK_EQ(probe.alloc_errno, ENOSPC);
  CHECK(strstr(probe.reason, "no protection key is left: all 15 are taken in this process (pkey_alloc: ENOSPC)") !=
        NULL);
  CHECK(strstr(probe.reason, "Another owner") != NULL);
  CHECK_STR(probe.failed_call, "pkey_alloc");
  CHECK_EQ(probe.failed_errno, ENOSPC);
}

static _Atomic int stop, refused;
static void *probe_forever(void *argument) {
  struct pkeys_probe probe;
  while (!stop) pkeys_probe(&probe);
  return argument;
}
CHECK_TEST(beside, "probing beside an image that takes its key: the probe's hold on all keys is never seen") {
  NEEDS_KEYS();
  CHECK_EQ(pkeys_init(), 0);
  pthread_t thread = start(probe_forever, NULL);
  for (int i = 0; i < 300; i++) {
    struct pkeys_image *image = image_of(PKEYS_MECHANISM_UNSET);
    refused += pkeys_image_set_mechanism(image, PKEYS_MECHANISM_PKEYS) != 0;
    CHECK_EQ(pkeys_image_close(image), 0);
  }
  stop = 1;
  pthread_join(thread, NULL);
  CHECK_EQ(refused, 0);
}

CHECK_TEST(kernel_off, "a kernel that has not switched keys on is named as the reason") {
  struct pkeys_probe probe;
  pkeys_probe(&probe);
  if (!probe.cpu_pku || probe.cpu_ospke) CHECK_SKIP("only on a CPU with PKU under a kernel started with nopku");
  CHECK(strstr(probe.reason, "nopku") != NULL);
  CHECK(!probe.usable);
}

CHECK_MAIN()
