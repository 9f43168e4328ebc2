/*
 * learn.c: learning which memory of its heap a program lends to foreign code for writing, and lending it.
 *
 * TURNKEY_HOST_LEARN=FILE: a store that a callee makes into the closed heap is let through. The page is opened, for
 * every thread, until the instruction has been executed: the processor's trap flag brings a signal right after it. Each
 * such store is noted by function, argument and kind of object; the list is written when the process ends.
 *
 * TURNKEY_HOST_LEND=FILE: calls of the functions in the list are passed a copy of the noted argument's object, outside
 * the heap. It is copied back when the call succeeded. Where the adapter cannot tell how large the object is, the heap
 * is open to the whole call.
 *
 * What learning cannot see: stores that no callee made (kernel writes into a closed page answer EFAULT as ever); reads;
 * stores by threads that the callee starts; whether a store was meant to be made. It is slow: two signals a store.
 *
 * The handlers run inside a signal, before the trap's, and hand on what is not a denied store. They make
 * async-signal-safe calls alone, and open rights before they read anything behind a key (I6).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "internal.h"

#define TRAP_FLAG 0x100          /* TF in EFLAGS */
#define WROTE 2                  /* W/R in a page fault's error code */
#define ARGUMENT_REACH (1 << 24) /* a store this far behind an argument is still taken for the argument's */

bool host_learning;

/* ---- what is learned ----------------------------------------------------------------------------------------- */

#define LEARNED 256
static struct learned {
  uintptr_t function;
  int argument; /* from 0; -1: the address comes from none of them */
  const char *kind;
  size_t bytes;
  uint64_t count;
} learned[LEARNED];
static unsigned learned_count;
static uint64_t learned_elsewhere;
static atomic_flag busy = ATOMIC_FLAG_INIT; /* held for a few instructions, signals masked */

static bool may_point(const struct host_ffi_type *type) {
  enum { UINT64 = 11, SINT64 = 12, POINTER = 14 }; /* FFI_TYPE_* */
  return type->type == POINTER || type->type == UINT64 || type->type == SINT64;
}

/* The argument behind which `address` lies, the nearest one; -1 if there is none. */
static int argument_of(const struct host_call *call, uintptr_t address, uintptr_t *value) {
  int best = -1;
  for (unsigned i = 0; i < call->cif->nargs; i++) {
    if (!may_point(call->cif->arg_types[i])) continue;
    uintptr_t here = *(uintptr_t *)call->arguments[i];
    if (address - here >= ARGUMENT_REACH || (best >= 0 && here <= *value)) continue;
    best = (int)i;
    *value = here;
  }
  return best;
}

static void note(const struct host_call *call, uintptr_t address) {
  uintptr_t value = address, start;
  size_t bytes = 0;
  int argument = argument_of(call, address, &value);
  const char *kind = host_state.adapter->object == NULL ? NULL : host_state.adapter->object(value, &start, &bytes);
  if (kind == NULL || address - start >= bytes) kind = "unknown", bytes = 0;
  uintptr_t function = (uintptr_t)call->function;
  while (atomic_flag_test_and_set(&busy)) {}
  unsigned i = 0;
  while (i < learned_count &&
         (learned[i].function != function || learned[i].argument != argument || learned[i].kind != kind))
    i++;
  if (i == LEARNED) learned_elsewhere++;
  else if (i == learned_count) learned[learned_count++] = (struct learned){function, argument, kind, bytes, 1};
  else learned[i].count++;
  atomic_flag_clear(&busy);
}

/* ---- one instruction ----------------------------------------------------------------------------------------- */

#define PAGES 4 /* an instruction may store across pages, and to two places */
static _Thread_local struct {
  unsigned count;
  struct pkeys_range page[PAGES];
} opened __attribute__((tls_model("initial-exec")));
static struct sigaction before[2]; /* of SIGSEGV and SIGTRAP: the trap's */

static void access_page(const struct pkeys_range *page, bool open) {
  int protection = open || host_state.mechanism == PKEYS_MECHANISM_PKEYS ? page->protection
                                                                         : page->protection & ~PROT_WRITE;
  if (host_state.mechanism == PKEYS_MECHANISM_PKEYS)
    syscall(SYS_pkey_mprotect, page->address, page->bytes, protection, open ? 0 : page->key);
  else syscall(SYS_mprotect, page->address, page->bytes, protection);
}

static bool let_through(const siginfo_t *info, ucontext_t *uc) {
  const struct host_call *call = host_thread.call;
  uintptr_t address = (uintptr_t)info->si_addr;
  struct pkeys_range range;
  if (call == NULL || !trap_in_callout() || opened.count == PAGES || !(uc->uc_mcontext.gregs[REG_ERR] & WROTE) ||
      !pkeys_range_next(address, &range) || range.address > address || !(range.protection & PROT_WRITE))
    return false;
  range.address = address & ~(uintptr_t)(PKEYS_PAGE - 1);
  range.bytes = PKEYS_PAGE;
  note(call, address);
  opened.page[opened.count++] = range;
  access_page(&range, true);
  uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
  return true;
}

static bool close_again(ucontext_t *uc) {
  if (opened.count == 0) return false;
  while (opened.count > 0) access_page(&opened.page[--opened.count], false);
  uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
  return true;
}

static void on_signal(int signal, siginfo_t *info, void *context) {
  bool keys = pkeys_supported(), done = false;
  int saved = errno;
  uint32_t rights = keys ? pkeys_rdpkru() : 0;
  pkeys_open_thread();
  if (signal == SIGTRAP) done = info->si_code == TRAP_TRACE && close_again(context);
  else if (info->si_code == 2 /* SEGV_ACCERR */ || info->si_code == 4 /* SEGV_PKUERR */)
    done = let_through(info, context);
  if (keys) pkeys_wrpkru(rights);
  errno = saved;
  if (!done) before[signal == SIGTRAP].sa_sigaction(signal, info, context);
}

static void install(int signal, struct sigaction *previous) {
  host_next()->sigaction(signal, NULL, previous);
  struct sigaction action = *previous; /* the trap's flags and mask, for the trap's reasons */
  action.sa_sigaction = on_signal;
  host_next()->sigaction(signal, &action, NULL);
}

void host_learn_step_back(void) {
  if (!host_learning) return;
  host_next()->sigaction(SIGSEGV, &before[0], NULL);
  host_next()->sigaction(SIGTRAP, &before[1], NULL);
}
void host_learn_step_forward(void) {
  if (!host_learning) return;
  install(SIGSEGV, &before[0]);
  install(SIGTRAP, &before[1]);
}

/* ---- the list ------------------------------------------------------------------------------------------------ */

static const char *learn_path;

/* A line for each: FUNCTION ARGUMENT COUNT BYTES KIND PROGRAM. Arguments count from 1 here; 0: none. */
void host_learn_report(void) {
  if (!host_learning) return;
  FILE *file = fopen(learn_path, "a");
  if (file == NULL)
    host_say("the list of what was learned could not be written to %s: %s", learn_path, strerror(errno));
  for (unsigned i = 0; i < learned_count; i++) {
    const struct learned *entry = &learned[i];
    struct host_failure failure = {.fault = {.function = entry->function}};
    char name[256];
    host_function_name(&failure, name, sizeof name);
    host_say("learned: %s wrote into %s %d, %s, %llu times", name,
             entry->argument < 0 ? "no argument's memory:" : "the memory of argument", entry->argument + 1, entry->kind,
             (unsigned long long)entry->count);
    if (file != NULL)
      fprintf(file, "%s\t%d\t%llu\t%zu\t%s\t%s\n", name, entry->argument + 1, (unsigned long long)entry->count,
              entry->bytes, entry->kind, host_state.program.path);
  }
  if (learned_elsewhere > 0)
    host_say("learned: %llu stores more, for which the table had no room", (unsigned long long)learned_elsewhere);
  if (file != NULL) fclose(file);
}

/* ---- lending ------------------------------------------------------------------------------------------------- */

#define LENT 256
static struct lent {
  char name[256];
  int argument;
} lent[LENT];
static unsigned lent_count;
bool host_lends;
char host_nothing_lent[9000];

static const char *read_list(const char *path) {
  static char why[9000];
  FILE *file = fopen(path, "r");
  if (file == NULL) {
    snprintf(why, sizeof why, "the list of what to lend, %s, cannot be read: %s", path, strerror(errno));
    return why;
  }
  char line[8192], name[256], program[4096];
  int argument;
  while (why[0] == 0 && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%255[^\t]\t%d\t%*[^\t]\t%*[^\t]\t%*[^\t]\t%4095[^\n]", name, &argument, program) != 3)
      snprintf(why, sizeof why, "%s is no list of what to lend", path);
    else if (strcmp(program, host_state.program.path) != 0) /* one list may hold what several programs lend */
      snprintf(host_nothing_lent, sizeof host_nothing_lent, "%s was learned from another program, %s: nothing is lent",
               path, program);
    else if (lent_count < LENT && argument > 0) {
      lent[lent_count] = (struct lent){.argument = argument - 1};
      strcpy(lent[lent_count++].name, name);
    }
  }
  fclose(file);
  if (why[0] != 0) lent_count = 0;
  if (lent_count > 0) host_nothing_lent[0] = 0;
  return why[0] == 0 ? NULL : why;
}

/* Puts copies in the place of what is lent. False: something lent is of unknown size, and the heap must be open. */
bool host_lend(struct host_call *call, struct host_loans *loans) {
  struct host_failure failure = {.fault = {.function = (uintptr_t)call->function}};
  char name[256];
  loans->count = 0;
  host_function_name(&failure, name, sizeof name);
  for (unsigned i = 0; i < lent_count && loans->count < HOST_LOANS; i++) {
    if (strcmp(lent[i].name, name) != 0 || (unsigned)lent[i].argument >= call->cif->nargs) continue;
    uintptr_t value = *(uintptr_t *)call->arguments[lent[i].argument], start;
    size_t bytes;
    if (!host_adopted((void *)(value & ~(uintptr_t)(PKEYS_PAGE - 1)), PKEYS_PAGE)) continue; /* open already */
    if (host_state.adapter->object == NULL || host_state.adapter->object(value, &start, &bytes) == NULL) return false;
    struct host_loan *loan = &loans->loan[loans->count];
    *loan = (struct host_loan){.original = value, .bytes = start + bytes - value, .argument = lent[i].argument};
    loan->copy = malloc(loan->bytes);
    if (loan->copy == NULL) return false;
    memcpy(loan->copy, (void *)value, loan->bytes);
    loan->slot = call->arguments[loan->argument];
    call->arguments[loan->argument] = &loan->copy;
    loans->count++;
  }
  return true;
}

/* A callee that answers a pointer into the copy means the original. */
void host_lend_end(struct host_call *call, struct host_loans *loans, bool failed) {
  for (unsigned i = 0; i < loans->count; i++) {
    struct host_loan *loan = &loans->loan[i];
    call->arguments[loan->argument] = loan->slot;
    uintptr_t *result = call->result;
    if (!failed && result != NULL && call->cif->rtype->size == sizeof *result && may_point(call->cif->rtype) &&
        *result - (uintptr_t)loan->copy < loan->bytes)
      *result += loan->original - (uintptr_t)loan->copy;
    if (!failed) memcpy((void *)loan->original, loan->copy, loan->bytes);
    free(loan->copy);
  }
}

const char *host_learn_start(void) {
  const char *learn = getenv("TURNKEY_HOST_LEARN"), *lend = getenv("TURNKEY_HOST_LEND");
  bool closes = host_state.mechanism != PKEYS_MECHANISM_FLAG;
  if (learn != NULL && *learn != 0) {
    if (!closes) return "nothing can be learned where nothing closes the heap (mechanism flag)";
    learn_path = strdup(learn);
    host_learning = true;
    host_learn_step_forward();
  }
  const char *why = lend != NULL && *lend != 0 ? read_list(lend) : NULL;
  host_lends = lent_count > 0;
  return why;
}
