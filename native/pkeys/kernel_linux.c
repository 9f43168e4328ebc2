/*
 * kernel_linux.c: versions of Linux that are known to break protection keys, although every call succeeds.
 *
 * From the stable change logs (kernel.org, ChangeLog-5.10.103 and so on) and the commits named. A distribution may have
 * taken a fix into an older version: the sentences say what to look for.
 */
#include <stddef.h>

#include "internal.h"

bool pkeys_i_kernel_version(const char *release, int version[3]) {
  version[0] = version[1] = version[2] = 0;
  for (int part = 0; part < 3; part++) {
    int digits = 0;
    for (; *release >= '0' && *release <= '9' && digits < 6; release++, digits++)
      version[part] = version[part] * 10 + (*release - '0');
    if (digits == 0) return part == 2; /* "6.12" and "6.12-rc1" are versions too */
    if (*release != '.') return part >= 1;
    release++;
  }
  return true;
}

static bool before(const int version[3], int major, int minor, int patch) {
  if (version[0] != major) return version[0] < major;
  if (version[1] != minor) return version[1] < minor;
  return version[2] < patch;
}
/* In the series major.minor, and at least patch. */
static bool fixed_in(const int version[3], int major, int minor, int patch) {
  return version[0] == major && version[1] == minor && version[2] >= patch;
}

const char *pkeys_i_kernel_breaks(const int version[3], const struct kernel_cpu *cpu) {
  if (before(version, 5, 0, 0) && !fixed_in(version, 4, 19, 19))
    return "Linux before 5.0 (4.19.19 has the fix) forgets at fork which keys are taken: a forked child is given keys "
           "that its pages carry already ('x86/pkeys: Properly copy pkey state at fork()')";
  if (!before(version, 5, 2, 0) && before(version, 5, 14, 0) && !fixed_in(version, 5, 10, 103))
    return "Linux 5.2 to 5.13 (5.10.103 has the fix) may go on with another thread's rights after a switch from a "
           "kernel "
           "thread: a callout may run with the image open ('x86/fpu: Correct pkru/xstate inconsistency')";
  if (cpu->amd && !before(version, 6, 12, 0) && before(version, 6, 12, 5))
    return "Linux 6.12 to 6.12.4 on AMD opens every key when a signal handler returns: an image lies open to the rest "
           "of "
           "a callout that a signal interrupted ('x86/pkeys: Ensure updated PKRU value is XRSTOR'd')";
  if (!cpu->xgetbv1 && !before(version, 6, 12, 5) && before(version, 6, 16, 0) && !fixed_in(version, 6, 12, 36))
    return "Linux 6.12.5 to 6.15 (6.12.36 has the fix) cannot deliver signals on a CPU with keys but without XGETBV1 "
           "('x86/pkeys: Simplify PKRU update in signal frame')";
  return NULL;
}
