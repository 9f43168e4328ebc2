/*
 * probe_linux.c: what this machine can do with keys, found out by doing it, and what to say where something is missing.
 *
 * What the CPU says of itself (pkru_<machine>.c) tells neither that a key is left nor that tagging works. So the probe
 * takes keys, tags a page, and has the kernel refuse a write into it; all in a child process (rehearse_linux.c).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "internal.h"
#include "sys.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const char *error_name(int error, char buffer[16]) {
  switch (error) {
    case EACCES: return "EACCES";
    case EAGAIN: return "EAGAIN";
    case EINVAL: return "EINVAL";
    case EMFILE: return "EMFILE";
    case ENFILE: return "ENFILE";
    case ENOENT: return "ENOENT";
    case ENOMEM: return "ENOMEM";
    case ENOSPC: return "ENOSPC";
    case ENOSYS: return "ENOSYS";
    case EOPNOTSUPP: return "EOPNOTSUPP";
    case EPERM: return "EPERM";
    default: snprintf(buffer, 16, "errno %d", error); return buffer;
  }
}
static const char *signal_name(int signal, char buffer[16]) {
  switch (signal) {
    case 4: return "SIGILL";
    case 9: return "SIGKILL";
    case 31: return "SIGSYS";
    default: snprintf(buffer, 16, "signal %d", signal); return buffer;
  }
}
static const char *const call_names[KEY_STEPS] = {
    [KEY_STEP_CHILD] = "clone",       [KEY_STEP_REGISTER] = "RDPKRU",        [KEY_STEP_ALLOC] = "pkey_alloc",
    [KEY_STEP_TAG] = "pkey_mprotect", [KEY_STEP_SMAPS] = "/proc/self/smaps", [KEY_STEP_DENY] = "read",
    [KEY_STEP_FREE] = "pkey_free",
};

/* ---- sentences --------------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void say(struct pkeys_probe *out, const char *format, ...) {
  size_t used = strlen(out->reason);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(out->reason + used, sizeof out->reason - used, format, arguments);
  va_end(arguments);
}

/* Who refuses, likeliest first. The kernel itself has the three calls since 4.9, and answers neither EPERM nor EACCES.
 */
static void say_why_refused(struct pkeys_probe *out, const struct rehearsal *r, int error, const int version[3]) {
  bool old = version[0] < 4 || (version[0] == 4 && version[1] < 9);
  if (r->filtered && (r->signal || error == EPERM || error == EACCES || error == ENOSYS))
    say(out,
        ". A seccomp filter is set here, most likely a container's or a service's: allow pkey_alloc, pkey_mprotect "
        "and pkey_free in it (docker: --security-opt seccomp=FILE; systemd: SystemCallFilter=@pkey)");
  else if (error == ENOSYS && old) say(out, ". The kernel is older than Linux 4.9, which has the call first");
  else if (error == ENOSYS)
    say(out, ". The kernel was built without keys, or something between it and this process, a sandbox or an emulator, "
             "does not know the call");
  else if (error == EPERM || error == EACCES)
    say(out, ". The kernel itself never answers so: a security module or a sandbox does");
  else if (error == EINVAL)
    say(out,
        ". So answers a kernel that has switched keys off: started with 'nopku', or run by a hypervisor that shows "
        "them and does not pass them on");
}

static void say_failure(struct pkeys_probe *out, const struct rehearsal *r, const int version[3]) {
  char name[16];
  const char *call = call_names[r->failed];
  int error = r->error[r->failed];
  if (r->signal && r->failed == KEY_STEP_REGISTER) {
    say(out,
        "the CPU and the kernel say that there are keys, but the instruction that reads the rights (%s) raises %s. "
        "An emulator, a binary translator or a hypervisor shows what it does not have",
        call, signal_name(r->signal, name));
    return;
  }
  if (r->signal) {
    say(out, "%s kills the process that calls it (%s)", call, signal_name(r->signal, name));
    say_why_refused(out, r, EPERM, version);
    return;
  }
  switch (r->failed) {
    case KEY_STEP_CHILD:
      say(out, "a seccomp filter is set here, and no child process could be made to try the calls in (%s: %s)", call,
          error_name(error, name));
      return;
    case KEY_STEP_ALLOC:
      if (error == ENOSPC)
        say(out,
            "no protection key is left: all %d are taken in this process (pkey_alloc: ENOSPC). Another owner of keys "
            "has them: the language VM or a library",
            pkeys_i_cpu_keys - 1);
      else say(out, "the kernel gives no protection key (%s: %s)", call, error_name(error, name));
      break;
    case KEY_STEP_TAG: say(out, "a page could not be tagged with a key (%s: %s)", call, error_name(error, name)); break;
    case KEY_STEP_SMAPS:
      if (error == EKEYREJECTED)
        say(out, "pkey_mprotect said that a page has a key, but /proc/self/smaps shows another");
      else
        say(out,
            "/proc/self/smaps could not be read, so tags cannot be verified (%s). Mount /proc, or let this process "
            "read it",
            error_name(error, name));
      return;
    case KEY_STEP_DENY:
      say(out, "a denied key does not hold the kernel's copies back: read(2) into the page went wrong (%s)",
          error == ENOTSUP ? "not refused with EFAULT" : error_name(error, name));
      return;
    default: return;
  }
  say_why_refused(out, r, error, version);
}

/* ---- the probe --------------------------------------------------------------------------------------------------- */

static bool went_well(const struct rehearsal *r, enum key_step step) {
  return r->reached >= step && r->error[step] == 0 && !(r->signal && r->failed == step);
}

void pkeys_probe(struct pkeys_probe *out) {
  memset(out, 0, sizeof *out);
  out->cpu_pku = pkeys_i_cpu_has_keys();
  out->cpu_ospke = pkeys_i_cpu_has_ospke();

  struct utsname name;
  int version[3] = {0, 0, 0};
  bool known = uname(&name) == 0 && pkeys_i_kernel_version(name.release, version);
  struct rehearsal r = {.failed = KEY_STEP_ALLOC};
  if (out->cpu_ospke) {
    pkeys_i_rehearse(&r, true);
    struct kernel_cpu cpu;
    pkeys_i_kernel_cpu(&cpu);
    const char *breaks = known ? pkeys_i_kernel_breaks(version, &cpu) : NULL;
    if (breaks) snprintf(out->warning, sizeof out->warning, "this is Linux %s. %s", name.release, breaks);
  } else {
    /* Not to be had; what the kernel answers is said for the record. A filter that kills is not asked. */
    r.filtered = pkeys_i_filtered();
    int key = r.filtered ? -EOPNOTSUPP : sys_pkey_alloc();
    if (key > 0) pkeys_i_key_free(key);
    r.error[KEY_STEP_ALLOC] = key < 0 ? -key : EOPNOTSUPP;
  }
  out->filtered = r.filtered;
  out->keys_free = r.keys;
  out->alloc_works = out->cpu_ospke && went_well(&r, KEY_STEP_ALLOC);
  out->tag_works = out->alloc_works && went_well(&r, KEY_STEP_TAG) && went_well(&r, KEY_STEP_SMAPS);
  out->deny_works = out->tag_works && went_well(&r, KEY_STEP_DENY);
  out->alloc_errno = r.error[KEY_STEP_ALLOC];
  out->tag_errno = r.error[KEY_STEP_TAG];
  out->usable = out->cpu_pku && out->cpu_ospke && out->deny_works;
  if (r.failed < KEY_STEPS && out->cpu_ospke) {
    out->failed_call = call_names[r.failed];
    out->failed_errno = r.error[r.failed];
    out->failed_signal = r.signal;
  }
  if (r.failed == KEY_STEP_FREE && out->warning[0] == 0)
    snprintf(
        out->warning, sizeof out->warning,
        "pkey_free is refused here: keys that an image gives up stay with this process, and are given to the next");
  if (!out->cpu_pku) say(out, "%s", pkeys_i_cpu_lacks_keys);
  else if (!out->cpu_ospke) say(out, "%s", pkeys_i_kernel_lacks_keys);
  else if (!out->usable) say_failure(out, &r, version);
}
