/*
 * text.c: what a failed callout is called in words. dladdr(3).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

const char *host_signal_name(int signal) {
  switch (signal) {
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGILL: return "SIGILL";
    case SIGFPE: return "SIGFPE";
    case SIGTRAP: return "SIGTRAP";
    case SIGABRT: return "SIGABRT";
    default: return "no signal";
  }
}

const char *host_code_name(int signal, int code) {
  static const char *const segv[] = {"SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"};
  static const char *const bus[] = {"BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR"};
  static const char *const ill[] = {"ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP", "ILL_PRVOPC", "ILL_PRVREG"};
  static const char *const fpe[] = {"FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF",
                                    "FPE_FLTUND", "FPE_FLTRES", "FPE_FLTINV", "FPE_FLTSUB"};
  if (code == SI_KERNEL) return "SI_KERNEL";
  if (code == SI_TKILL) return "SI_TKILL";
  if (code < 1) return "";
#define NAMED(table) (code <= (int)(sizeof(table) / sizeof *(table)) ? (table)[code - 1] : "")
  switch (signal) {
    case SIGSEGV: return NAMED(segv);
    case SIGBUS: return NAMED(bus);
    case SIGILL: return NAMED(ill);
    case SIGFPE: return NAMED(fpe);
    default: return "";
  }
#undef NAMED
}

const char *host_access_name(uint32_t access) {
  static const char *const names[] = {"unknown", "read", "write", "execute"};
  return access < sizeof names / sizeof *names ? names[access] : "unknown";
}

char *host_module_name(uint64_t address, char *text, size_t bytes) {
  Dl_info info;
  bool found = dladdr((const void *)(uintptr_t)address, &info) != 0 && info.dli_fname != NULL;
  const char *slash = found ? strrchr(info.dli_fname, '/') : NULL;
  snprintf(text, bytes, "%s", !found ? "" : slash != NULL ? slash + 1 : info.dli_fname);
  return text;
}

/* "memset (libc.so.6+0x1234)", or what of it is known. */
static void place(uint64_t address, char *text, size_t bytes) {
  Dl_info info;
  if (dladdr((const void *)(uintptr_t)address, &info) == 0) {
    snprintf(text, bytes, "%#llx", (unsigned long long)address);
    return;
  }
  const char *slash = info.dli_fname == NULL ? NULL : strrchr(info.dli_fname, '/');
  const char *module = slash != NULL ? slash + 1 : info.dli_fname != NULL ? info.dli_fname : "?";
  unsigned long long offset = address - (uint64_t)(uintptr_t)info.dli_fbase;
  if (info.dli_sname == NULL) snprintf(text, bytes, "%s+%#llx", module, offset);
  else snprintf(text, bytes, "%s (%s+%#llx)", info.dli_sname, module, offset);
}

#define NAMED_FUNCTIONS 8192
static struct {
  _Atomic(const void *) function;
  char *_Atomic name;
} named[NAMED_FUNCTIONS];

void host_name_function(const void *function, const char *name) {
  size_t first = (uintptr_t)function * 0x9e3779b97f4a7c15u >> 51;
  for (size_t i = 0; i < 32; i++) {
    size_t at = (first + i) % NAMED_FUNCTIONS;
    const void *here = NULL;
    if (atomic_load(&named[at].function) == function) return;
    if (!atomic_compare_exchange_strong(&named[at].function, &here, function)) continue;
    atomic_store(&named[at].name, strdup(name));
    return;
  }
}

static const char *known_name(const void *function) {
  size_t first = (uintptr_t)function * 0x9e3779b97f4a7c15u >> 51;
  for (size_t i = 0; i < 32; i++) {
    size_t at = (first + i) % NAMED_FUNCTIONS;
    if (atomic_load(&named[at].function) == function) return atomic_load(&named[at].name);
  }
  return NULL;
}

char *host_function_name(const struct host_failure *failure, char *text, size_t bytes) {
  Dl_info info;
  uint64_t function = failure->fault.function;
  const char *known = known_name((const void *)(uintptr_t)function);
  if (known != NULL) snprintf(text, bytes, "%s", known);
  else if (dladdr((const void *)(uintptr_t)function, &info) != 0 && info.dli_sname != NULL &&
           (uint64_t)(uintptr_t)info.dli_saddr == function)
    snprintf(text, bytes, "%s", info.dli_sname);
  else place(function, text, bytes);
  return text;
}

/* What was touched, as far as the record says. */
static void target(const struct trap_fault *fault, char *text, size_t bytes) {
  if (fault->flags & TRAP_FAULT_STACK_OVERFLOW) snprintf(text, bytes, "stack overflow");
  else if (fault->flags & TRAP_FAULT_UNWIND) snprintf(text, bytes, "an exception that the callee did not catch");
  else if (fault->flags & TRAP_FAULT_ABORT) snprintf(text, bytes, "the callee aborted");
  else if (fault->signal != SIGSEGV && fault->signal != SIGBUS)
    snprintf(text, bytes, "at %#llx", (unsigned long long)fault->pc);
  else if (fault->space_found)
    snprintf(text, bytes, "%s %#llx in the heap's space '%.31s'", host_access_name(fault->access),
             (unsigned long long)fault->address, fault->space_name);
  else if (fault->code == SI_KERNEL) snprintf(text, bytes, "%s, address unknown", host_access_name(fault->access));
  else snprintf(text, bytes, "%s %#llx", host_access_name(fault->access), (unsigned long long)fault->address);
}

char *host_failure_text(const struct host_failure *failure, char *text, size_t bytes) {
  const struct trap_fault *fault = &failure->fault;
  char function[256], what[128], where[256];
  host_function_name(failure, function, sizeof function);
  if (fault->signal == 0) {
    snprintf(text, bytes, "the call of %s was not made: %s", function, strerror(-fault->code));
    return text;
  }
  target(fault, what, sizeof what);
  place(fault->pc, where, sizeof where);
  const char *code = host_code_name(fault->signal, fault->code);
  snprintf(text, bytes, "exception in FFI call: %s%s%s%s in %s: %s, pc %s", host_signal_name(fault->signal),
           *code ? " (" : "", code, *code ? ")" : "", function, what, where);
  return text;
}
