/*
 * platform_linux.c: threads, stacks, masks and the loader on Linux. Ordinary VM code.
 *
 * sigaltstack(2), pthread_key_create(3), mmap(2), getauxval(3) AT_MINSIGSTKSZ, dl_iterate_phdr(3), pthread_atfork(3).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

__thread uint64_t trap_slot_word __attribute__((tls_model("initial-exec"), visibility("hidden"))) = SLOT_WORD_NONE;

static pthread_key_t exit_key;
static void (*exit_call)(struct trap_slot *slot);

/* ---- threads ------------------------------------------------------------------------------------------------- */

void trap_say(const char *text) {
  int saved = errno;
  ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
  (void)ignored;
  errno = saved;
}

int32_t trap_thread_number(void) { return (int32_t)syscall(SYS_gettid); }
int32_t trap_process_number(void) { return (int32_t)getpid(); }

static void thread_exits(void *value) { exit_call(value); }

int trap_platform_init(void (*exits)(struct trap_slot *slot), const struct trap_fork *fork) {
  exit_call = exits;
  int rc = -pthread_key_create(&exit_key, thread_exits);
  return rc < 0 ? rc : -pthread_atfork(fork->before, fork->in_parent, fork->in_child);
}

/* I6: the alternate stack. A slot keeps it when its thread ends, for the next one. */
static int alternate_prepare(struct trap_slot *slot) {
  if (slot->alternate_base != 0) return 0;
  uint64_t bytes = getauxval(AT_MINSIGSTKSZ);
  if (bytes < 2048) bytes = 2048; /* kernels before 5.14 give no value */
  bytes = (bytes + (64u << 10) + PKEYS_PAGE - 1) & ~(uint64_t)(PKEYS_PAGE - 1);
  char *map = mmap(NULL, bytes + PKEYS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                   0);
  if (map == MAP_FAILED) return -ENOMEM;
  if (mprotect(map, PKEYS_PAGE, PROT_NONE) != 0) {
    munmap(map, bytes + PKEYS_PAGE);
    return -ENOMEM;
  }
  slot->alternate_base = (uint64_t)(uintptr_t)map + PKEYS_PAGE;
  slot->alternate_bytes = bytes;
  return 0;
}

/* An alternate stack that the thread has already and that is as large as ours stays: a handler before ours may need all
 * of it. Not if it lies in an image, where it is closed during callouts (I6). */
static bool alternate_suffices(const struct trap_slot *slot, const stack_t *own) {
  struct pkeys_space space;
  return !(own->ss_flags & SS_DISABLE) && own->ss_size >= slot->alternate_bytes &&
         !pkeys_find_space((uintptr_t)own->ss_sp, &space);
}

int trap_thread_begin(struct trap_slot *slot) {
  int rc = alternate_prepare(slot);
  if (rc < 0) return rc;
  if (sigaltstack(NULL, &slot->platform.previous_alternate) != 0) return -errno;
  if (alternate_suffices(slot, &slot->platform.previous_alternate)) return -pthread_setspecific(exit_key, slot);
  stack_t alternate = {.ss_sp = (void *)(uintptr_t)slot->alternate_base, .ss_size = slot->alternate_bytes};
  if (sigaltstack(&alternate, NULL) != 0) return -errno;
  return -pthread_setspecific(exit_key, slot);
}

void trap_thread_end(struct trap_slot *slot) {
  stack_t current;
  if (sigaltstack(NULL, &current) == 0 && (uint64_t)(uintptr_t)current.ss_sp == slot->alternate_base) {
    stack_t before = slot->platform.previous_alternate;
    if (before.ss_flags & SS_DISABLE) before = (stack_t){.ss_flags = SS_DISABLE, .ss_size = MINSIGSTKSZ};
    sigaltstack(&before, NULL);
  }
}

/* ---- stacks -------------------------------------------------------------------------------------------------- */

int trap_stack_map(uint64_t usable, uint64_t *base) {
  uint64_t total = STACK_GUARD_LOW + usable + STACK_GUARD_HIGH;
  void *map = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return -ENOMEM;
  if (mprotect((char *)map + STACK_GUARD_LOW, usable, PROT_READ | PROT_WRITE) != 0) {
    munmap(map, total);
    return -ENOMEM;
  }
  *base = (uint64_t)(uintptr_t)map;
  return 0;
}

void trap_stack_unmap(uint64_t base, uint64_t map_bytes) { munmap((void *)(uintptr_t)base, map_bytes); }

/* ---- signal masks -------------------------------------------------------------------------------------------- */

void trap_signals_hold(struct trap_masked *before) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before->mask);
}
void trap_signals_hold_asynchronous(struct trap_masked *before) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
  sigset_t mask;
  sigfillset(&mask);
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&mask, faults[i]);
  pthread_sigmask(SIG_BLOCK, &mask, &before->mask);
}
void trap_signals_release(const struct trap_masked *before) { pthread_sigmask(SIG_SETMASK, &before->mask, NULL); }

void trap_mask_read(struct trap_masked *now) { pthread_sigmask(SIG_SETMASK, NULL, &now->mask); }

void trap_mask_note_held(struct trap_slot *slot, const struct trap_masked *held) { slot->platform.mask = held->mask; }
void trap_mask_note(struct trap_slot *slot) { pthread_sigmask(SIG_SETMASK, NULL, &slot->platform.mask); }
/* The kernel's set is 8 bytes, glibc's longer. */
uint64_t trap_mask_word(const struct trap_slot *slot) {
  uint64_t word;
  memcpy(&word, &slot->platform.mask, sizeof word);
  return word;
}
void trap_mask_put(struct trap_slot *slot, uint64_t word) { memcpy(&slot->platform.mask, &word, sizeof word); }

/* ---- modules ------------------------------------------------------------------------------------------------- */

static int note_module(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  int *count = data;
  const char *name = info->dlpi_name;
  if (strstr(name, "/libc.so") == NULL && strstr(name, "/ld-linux") == NULL && strstr(name, "/libc-") == NULL) return 0;
  for (int i = 0; i < info->dlpi_phnum && *count < 4; i++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[i];
    if (header->p_type != PT_LOAD || !(header->p_flags & PF_X)) continue;
    trap_arena.shared.watched_low[*count] = info->dlpi_addr + header->p_vaddr;
    trap_arena.shared.watched_high[*count] = info->dlpi_addr + header->p_vaddr + header->p_memsz;
    ++*count;
  }
  return 0;
}

void trap_modules_note(void) {
  int count = 0;
  dl_iterate_phdr(note_module, &count);
}

const void *const trap_loader_open = (const void *)(uintptr_t)dlopen, *const trap_loader_close =
                                                                          (const void *)(uintptr_t)dlclose;

bool trap_loader_message(char *message, size_t bytes) {
  const char *text = dlerror();
  if (text != NULL) snprintf(message, bytes, "%s", text);
  return text != NULL;
}
