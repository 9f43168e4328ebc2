/*
 * probe_linux.c: what this machine can do with keys, found out by doing it.
 *
 * What the CPU says of itself (pkru_<machine>.c) tells neither that a key is left nor that tagging works, so the probe
 * takes keys, tags a page, has the kernel refuse a write into it, and undoes all of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

/* read(2) into `page` through a pipe: 0 or a negative errno. The kernel honours PKRU in its copies, and answers instead
 * of signalling. */
static int kernel_writes(uintptr_t page) {
  int ends[2];
  long error = sys_call(SYS_pipe2, (long)ends, O_CLOEXEC, 0, 0, 0, 0);
  if (error < 0) return (int)error;
  long got = sys_call(SYS_write, ends[1], (long)"k", 1, 0, 0, 0);
  if (got == 1) got = sys_call(SYS_read, ends[0], (long)page, 1, 0, 0, 0);
  sys_call(SYS_close, ends[0], 0, 0, 0, 0, 0);
  sys_call(SYS_close, ends[1], 0, 0, 0, 0, 0);
  return got < 0 ? (int)got : 0;
}

static void try_key(struct pkeys_probe *out, int key) {
  int error;
  uintptr_t page = sys_reserve(0, PKEYS_PAGE, &error);
  if (error) {
    out->tag_errno = -error;
    snprintf(out->reason, sizeof out->reason, "no memory for a page to tag (mmap: errno %d)", -error);
    return;
  }
  error = sys_pkey_mprotect(page, PKEYS_PAGE, PROT_READ | PROT_WRITE, key);
  if (error) {
    out->tag_errno = -error;
    snprintf(out->reason, sizeof out->reason, "a page could not be tagged with key %d (pkey_mprotect: errno %d)", key,
             -error);
  } else {
    *(volatile char *)page = 1;
    struct smaps_expectation tagged = {
        .address = page, .bytes = PKEYS_PAGE, .access = PROT_READ | PROT_WRITE, .key = key};
    error = smaps_check(&tagged, 1, NULL);
    out->tag_works = error == 0;
    if (error == -EKEYREJECTED)
      snprintf(out->reason, sizeof out->reason,
               "pkey_mprotect said that a page has key %d, but /proc/self/smaps does not show it", key);
    else if (error)
      snprintf(out->reason, sizeof out->reason,
               "/proc/self/smaps could not be read, so tags cannot be verified (errno %d)", -error);
  }
  if (out->tag_works) {
    int open = kernel_writes(page);
    uint32_t pkru = pkeys_rdpkru();
    pkeys_wrpkru(pkru_combine(pkru, pkru_field(key), pkru_bits(key, PKEYS_NO_WRITE)));
    int denied = kernel_writes(page);
    pkeys_wrpkru(pkru);
    out->deny_works = open == 0 && denied == -EFAULT;
    if (!out->deny_works)
      snprintf(out->reason, sizeof out->reason,
               "a denied key does not hold the kernel's copies back: read(2) into the page answered errno %d when "
               "open, %d when denied",
               -open, -denied);
  }
  sys_munmap(page, PKEYS_PAGE); /* before the key is freed: pkey_free untags nothing */
}

void pkeys_probe(struct pkeys_probe *out) {
  memset(out, 0, sizeof *out);
  out->cpu_pku = cpu_has_keys();
  out->cpu_ospke = cpu_has_ospke();
  uint32_t saved = out->cpu_ospke ? pkeys_rdpkru() : 0;

  int keys[PKEYS_KEYS];
  int error = 0;
  keys_hold();
  while (out->keys_free < PKEYS_KEYS) {
    int key = sys_pkey_alloc();
    if (key < 0) {
      error = key;
      break;
    }
    keys[out->keys_free++] = key;
  }
  out->alloc_works = out->keys_free > 0;
  out->alloc_errno = out->alloc_works ? 0 : -error;

  if (!out->cpu_pku) snprintf(out->reason, sizeof out->reason, "%s", cpu_lacks_keys);
  else if (!out->cpu_ospke) snprintf(out->reason, sizeof out->reason, "%s", kernel_lacks_keys);
  else if (!out->alloc_works && error == -ENOSPC)
    snprintf(out->reason, sizeof out->reason,
             "no protection key is left: all %d are taken in this process (pkey_alloc: ENOSPC)", cpu_keys - 1);
  else if (!out->alloc_works)
    snprintf(out->reason, sizeof out->reason, "the kernel gives no protection key (pkey_alloc: errno %d)",
             out->alloc_errno);
  else try_key(out, keys[0]);

  for (int i = 0; i < out->keys_free; i++) sys_pkey_free(keys[i]);
  keys_let_go();
  /* pkey_alloc opened each key for this thread. */
  if (out->cpu_ospke) pkeys_wrpkru(saved);
  out->usable = out->cpu_pku && out->cpu_ospke && out->alloc_works && out->tag_works && out->deny_works;
}
