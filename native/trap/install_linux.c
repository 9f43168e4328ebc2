/*
 * install_linux.c: putting the trap's handlers in their place, and knowing whose were there. Ordinary VM code, one
 * thread at a time.
 *
 * sigaction(2), dl_iterate_phdr(3).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <string.h>

#include "calls.h"
#include "context.h"
#ifdef T_SELECTOR
#include "dispatch.h"
#endif

static const int handled_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGXFSZ, SIGXCPU};
#define HANDLED (sizeof handled_signals / sizeof *handled_signals)

void trap_probe_platform(void) {
  trap_arena.shared.keys = pkeys_supported();
  trap_context_probe(&trap_arena.shared.machine);
}

static bool is_ours(const struct sigaction *action) {
  return (action->sa_flags & SA_SIGINFO) &&
         action->sa_sigaction == (void (*)(int, siginfo_t *, void *))(uintptr_t)trap_handler_entry;
}

static bool same_action(const struct sigaction *a, const struct sigaction *b) {
  return a->sa_flags == b->sa_flags && (void *)a->sa_sigaction == (void *)b->sa_sigaction &&
         memcmp(&a->sa_mask, &b->sa_mask, 8) == 0;
}

/* The entry for a handler found in our place: an old one that is back, or a new one. 0 when there is no room. */
static uint32_t previous_entry(int signal, const struct sigaction *action) {
  struct trap_shared *shared = &trap_arena.shared;
  for (uint32_t i = 1; i < PREVIOUS_COUNT; i++) {
    struct trap_previous *entry = &shared->before.previous[i];
    if (entry->signal == (uint32_t)signal && same_action(&entry->action, action)) return i;
    if (entry->signal != 0) continue;
    entry->action = *action;
    entry->earlier = atomic_load_explicit(&shared->before.latest[signal], memory_order_relaxed);
    entry->signal = (uint32_t)signal;
    return i;
  }
  return 0;
}

/* ---- whose a handler is -------------------------------------------------------------------------------------- */

/*
 * A module is known by its load address. The program is the VM's, and so is the module that the trap is part of; the
 * others are foreign code's, unless trap_module_is_foreign said otherwise. Kept in the arena: foreign code shall not
 * decide about it.
 */
struct search {
  uint64_t address, base;
  bool found;
};
static int holds(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  struct search *search = data;
  for (int i = 0; i < info->dlpi_phnum && !search->found; i++)
    search->found = info->dlpi_phdr[i].p_type == PT_LOAD &&
                    search->address - (info->dlpi_addr + info->dlpi_phdr[i].p_vaddr) < info->dlpi_phdr[i].p_memsz;
  if (search->found) search->base = info->dlpi_addr;
  return search->found;
}
static bool module_of(const void *address, uint64_t *base) {
  struct search search = {.address = (uint64_t)(uintptr_t)address};
  dl_iterate_phdr(holds, &search);
  *base = search.base;
  return search.found;
}

static struct trap_module *known_module(uint64_t base) {
  struct trap_handlers_before *before = &trap_arena.shared.before;
  for (uint32_t i = 0; i < before->module_count; i++)
    if (before->modules[i].base == base) return &before->modules[i];
  return NULL;
}

static int module_set(uint64_t base, bool foreign) {
  struct trap_handlers_before *before = &trap_arena.shared.before;
  struct trap_module *module = known_module(base);
  if (module == NULL && before->module_count == MODULE_COUNT) return -ENOSPC;
  if (module == NULL) module = &before->modules[before->module_count++];
  *module = (struct trap_module){.base = base, .foreign = foreign};
  return 0;
}

static int note_program(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size, (void)data;
  module_set(info->dlpi_addr, false);
  return 1; /* it is the first */
}
static void note_vm_modules(void) {
  uint64_t own;
  dl_iterate_phdr(note_program, NULL);
  if (module_of(trap_handler_entry, &own)) module_set(own, false);
}

int trap_handlers_module(const void *address, bool foreign) {
  uint64_t base;
  return module_of(address, &base) ? module_set(base, foreign) : -EINVAL;
}

static bool is_foreign(const struct sigaction *action) {
  if (!(action->sa_flags & SA_SIGINFO) && (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN))
    return false;
  uint64_t base;
  if (!module_of((const void *)(uintptr_t)action->sa_sigaction, &base)) return true; /* generated code */
  const struct trap_module *module = known_module(base);
  return module == NULL || module->foreign;
}

/* ---- installing ---------------------------------------------------------------------------------------------- */

/* Foreign code's handlers that were in place when trap_rearm_note looked. */
static struct sigaction noted[HANDLED];
static bool is_noted[HANDLED];

int trap_handlers_note(void) {
  for (size_t i = 0; i < HANDLED; i++) {
    if (sigaction(handled_signals[i], NULL, &noted[i]) != 0) return -errno;
    is_noted[i] = !is_ours(&noted[i]) && is_foreign(&noted[i]);
  }
  return 0;
}

/* Signals that stand for a limit: sent, not raised by an instruction. */
static bool is_limit(int signal) { return signal == SIGXFSZ || signal == SIGXCPU; }

#ifdef T_SELECTOR
/* What rt_sigaction(2) takes. glibc's sigaction puts its own way back to the kernel in; ours is never dispatched. */
struct kernel_action {
  const void *handler;
  uint64_t flags;
  const void *restorer;
  uint64_t mask;
};
#define RESTORER 0x04000000u
static bool returns_by_us(const struct sigaction *action) {
  return (const void *)(uintptr_t)action->sa_restorer == (const void *)trap_restorer;
}
static int put(int signal, const struct sigaction *action) {
  struct kernel_action ours = {.handler = trap_handler_entry,
                               .flags = (uint64_t)(uint32_t)action->sa_flags | RESTORER,
                               .restorer = trap_restorer};
  memcpy(&ours.mask, &action->sa_mask, sizeof ours.mask);
  return (int)TRAP_CALL(SYS_rt_sigaction, signal, &ours, NULL, sizeof ours.mask);
}
/* By the filter, a handler that interrupts a callout has its calls judged: a blocked SIGSYS would end the process. */
static void let_calls_be_judged(void) {
  if (trap_arena.shared.filter.way == TRAP_FILTER_NONE) return;
  for (int signal = 1; signal < NSIG; signal++) {
    uint64_t action[4];
    if (TRAP_CALL(SYS_rt_sigaction, signal, NULL, action, 8) != 0 || action[0] < 2) continue;
    const uint64_t bit = (uint64_t)1 << (SIGSYS - 1);
    if (!(action[3] & bit)) continue;
    action[3] &= ~bit;
    (void)TRAP_CALL(SYS_rt_sigaction, signal, action, NULL, 8);
  }
}
#else
static bool returns_by_us(const struct sigaction *action) { return (void)action, true; }
static int put(int signal, const struct sigaction *action) { return sigaction(signal, action, NULL) == 0 ? 0 : -errno; }
static void let_calls_be_judged(void) {}
#endif

static int install_over(int signal, const struct sigaction *before) {
  uint32_t link = previous_entry(signal, before);
  if (link == 0) return -ENOSPC;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = (void (*)(int, siginfo_t *, void *))(uintptr_t)trap_handler_entry;
  /* I6. SIGINFO: address, code and key. ONSTACK: a stack overflow leaves no stack to run on. NODEFER: a fault in here
   * must reach us, not kill silently. */
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  /* RESTART where a sent signal would not have interrupted a system call before: it was ignored, or its handler said
   * so. */
  if ((before->sa_flags & SA_RESTART) || (!(before->sa_flags & SA_SIGINFO) && before->sa_handler == SIG_IGN))
    action.sa_flags |= SA_RESTART;
  /*
   * Everything else waits: a VM's own handler has no business on a thread between a callout and its failure. So do the
   * signals of faults that the handler's own code cannot raise. The kernel delivers what has been sent before the
   * handler's first instruction runs. A signal that keeps being sent, and does not wait, fills the stack with frames. A
   * memory fault that is blocked would kill silently, and so would a refused system call.
   */
  sigfillset(&action.sa_mask);
  sigdelset(&action.sa_mask, SIGSEGV);
  sigdelset(&action.sa_mask, SIGBUS);
  sigdelset(&action.sa_mask, SIGSYS);
  atomic_store_explicit(&trap_arena.shared.before.latest[signal], link,
                        memory_order_release); /* before it can be asked for */
  return put(signal, &action);
}

/*
 * One rule says which handler gets a fault in a callout, in whatever order they came. A handler that foreign code
 * installed keeps its place before ours, as it would without the trap. It hands on to the handler that it replaced what
 * is not its own (I5), and that is ours. The VM's handlers lose their place, and get what is no callout's.
 */
int trap_handlers_install(void) {
  bool first = trap_arena.shared.before.module_count == 0;
  if (first) note_vm_modules();
  for (size_t i = 0; i < HANDLED; i++) {
    struct sigaction now;
    if (sigaction(handled_signals[i], NULL, &now) != 0) return -errno;
    bool put_back = is_noted[i];
    is_noted[i] = false;
    if (is_ours(&now) && !returns_by_us(&now)) { /* somebody saved it and put it back, by sigaction(3) */
      int rc = put(handled_signals[i], &now);
      if (rc < 0) return rc;
    }
    if (is_ours(&now) || (!first && is_foreign(&now))) continue;
    /* A limit that is ignored stays so: the callee then has the error that its call answers. */
    if (is_limit(handled_signals[i]) && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN) continue;
    int rc = install_over(handled_signals[i], &now);
    if (rc < 0) return rc;
    if (put_back && sigaction(handled_signals[i], &noted[i], NULL) != 0) return -errno;
  }
  let_calls_be_judged();
  return 0;
}
