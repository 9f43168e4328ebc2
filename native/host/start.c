/*
 * start.c: the library's constructor. It runs before the program's main and after the C library's own set-up.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

struct host_state host_state;

/* The first that recognises the program serves it; the last one takes every program. */
static const struct host_adapter *const adapters[] = {&host_adapter_cpython, &host_adapter_node, &host_adapter_ruby,
                                                      &host_adapter_squeak, &host_adapter_ffi};
#define ADAPTERS (sizeof adapters / sizeof *adapters)

enum pkeys_mechanism host_mechanism(void) { return host_state.mechanism; }
const struct host_adapter *host_adapter(void) { return host_state.adapter; }

/* For what else of Turnkey's is in the process: the Node addon looks this name up. NULL: nothing is guarded. */
HOST_REPLACES const char *turnkey_host_mechanism(void);
const char *turnkey_host_mechanism(void) { return host_guarding() ? pkeys_mechanism_name(host_state.mechanism) : NULL; }

static void find_program(void) {
  static char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length < 0) length = snprintf(path, sizeof path, "%s", program_invocation_name);
  path[length < (ssize_t)sizeof path ? length : (ssize_t)sizeof path - 1] = 0;
  const char *slash = strrchr(path, '/');
  host_state.program = (struct host_program){path, slash == NULL ? path : slash + 1};
}

static const char *stranger; /* the adapter that was named, and whose VM the program is not */

static const struct host_adapter *choose_adapter(void) {
  const char *wanted = getenv("TURNKEY_HOST_ADAPTER");
  bool named = wanted != NULL && *wanted != 0;
  for (size_t i = 0; i < ADAPTERS; i++) {
    if (named && strcmp(wanted, adapters[i]->name) != 0) continue;
    if (adapters[i]->recognises(&host_state.program)) return adapters[i];
    if (named) stranger = adapters[i]->name;
  }
  if (named && stranger == NULL) host_say("there is no adapter '%s': the generic one, 'ffi', is used", wanted);
  return &host_adapter_ffi;
}

void host_first_callout(void) {
  static _Atomic bool was;
  if (atomic_load_explicit(&was, memory_order_relaxed) || atomic_exchange(&was, true)) return;
  const char *path = host_state.program.path, *name = pkeys_mechanism_name(host_state.mechanism);
  char text[6000] = "";
  if (stranger != NULL)
    snprintf(
        text, sizeof text,
        "%s is not the VM that the adapter '%s' is for: it has none of its symbols. The generic adapter, 'ffi', is "
        "used; without --adapter the program is looked at",
        path, stranger);
  else if (host_state.adapter == &host_adapter_ffi && host_state.mechanism != PKEYS_MECHANISM_FLAG &&
           host_image_now().ranges == 0)
    snprintf(text, sizeof text,
             "%s is no VM that an adapter knows: mechanism %s closes none of its memory, and the trap alone is in "
             "place. TURNKEY_HOST_HEAP=anonymous closes what the program itself maps",
             path, name);
  if (text[0] != 0) {
    host_say("%s", text);
    host_note("%s", text);
  }
  if (host_nothing_lent[0] != 0) host_say("%s", host_nothing_lent);
}

/* The mechanism that is asked for, or what `auto` comes to. false: the program is not to be guarded. */
static bool choose_mechanism(void) {
  static struct pkeys_probe probe;
  const char *asked = getenv("TURNKEY_HOST_MECHANISM");
  if (asked == NULL || *asked == 0) asked = "auto";
  host_report_asked(strdup(asked), "");
  if (strcmp(asked, "auto") == 0) {
    pkeys_probe(&probe);
    host_state.mechanism = probe.usable ? PKEYS_MECHANISM_PKEYS : PKEYS_MECHANISM_FLAG;
    if (!probe.usable) host_report_asked("auto", probe.reason);
    return true;
  }
  if (pkeys_mechanism_parse(asked, &host_state.mechanism) < 0) {
    host_say("TURNKEY_HOST_MECHANISM is '%s', which is no mechanism: the program is not guarded", asked);
    return false;
  }
  return host_state.mechanism != PKEYS_MECHANISM_NONE;
}

/* Takes this library out of LD_PRELOAD, and leaves others there. */
static void spare_children(void) {
  const char *children = getenv("TURNKEY_HOST_CHILDREN"), *preload = getenv("LD_PRELOAD");
  if (children == NULL || strcmp(children, "0") != 0 || preload == NULL) return;
  char *list = strdup(preload), *kept = calloc(1, strlen(preload) + 2), *state;
  if (list == NULL || kept == NULL) return;
  for (const char *item = strtok_r(list, ": ", &state); item != NULL; item = strtok_r(NULL, ": ", &state)) {
    if (strstr(item, "libturnkey-host.so") != NULL) continue;
    if (*kept) strcat(kept, ":");
    strcat(kept, item);
  }
  if (*kept) setenv("LD_PRELOAD", kept, 1);
  else unsetenv("LD_PRELOAD");
  free(list);
  free(kept);
}

/* Without keys the trap still holds: the program runs, and the report says what did not protect it. */
static void start_image(void) {
  int rc = host_image_start();
  if (rc >= 0) return;
  const char *name = pkeys_mechanism_name(host_state.mechanism);
  const char *why = rc == -EOPNOTSUPP ? "this machine has no protection keys"
                    : rc == -ENOSPC   ? "no protection key is left in this process"
                                      : strerror(-rc);
  host_say("mechanism %s is not possible: %s; the trap alone (flag) is in place, and the heap is open", name, why);
  host_note("mechanism %s is not possible: %s", name, why);
  host_state.mechanism = PKEYS_MECHANISM_FLAG;
  rc = host_image_start();
  if (rc < 0) host_say("the heap's image could not be made: %s", strerror(-rc));
}

/* What an adapter cannot do, if anything. */
static void say(const char *why) {
  if (why == NULL) return;
  host_say("%s", why);
  host_note("%s", why);
}

__attribute__((constructor)) static void start(void) {
  int saved = errno;
  find_program();
  host_state.mechanism = PKEYS_MECHANISM_FLAG;
  host_state.adapter = choose_adapter();
  bool guards = choose_mechanism();
  spare_children();
  say(host_state.adapter->prepare == NULL ? NULL : host_state.adapter->prepare());
  if (guards) {
    host_signals_start();
    int rc = trap_init();
    if (rc < 0) {
      host_say("the trap could not be set up (%s): the program is not guarded", strerror(-rc));
    } else {
      host_report_start();
      trap_module_is_foreign((const void *)(uintptr_t)start, false); /* its functions stand before the VM's handlers */
      start_image();
      atomic_store(&host_state.guarding, true);
      say(host_state.adapter->start == NULL ? NULL : host_state.adapter->start());
      say(host_learn_start());
    }
  }
  errno = saved;
}
