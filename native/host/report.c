/*
 * report.c: what is counted, said and reported. Each guarded process appends one line of JSON when it ends, by a single
 * write(2), so that lines of several processes do not mix. Ordinary VM code.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

_Thread_local struct host_thread host_thread __attribute__((tls_model("initial-exec")));

HOST_LOCK(lock)
static struct host_thread *threads; /* live ones */
static struct host_thread ended;    /* sums over threads that have ended */
static pthread_key_t thread_ends;
static _Atomic uint64_t counters[HOST_COUNTERS];
static _Atomic bool reported;

/* ---- counting ------------------------------------------------------------------------------------------------ */

static void add(struct host_thread *sum, const struct host_thread *thread) {
  sum->callouts += thread->callouts;
  sum->callbacks += thread->callbacks;
  sum->failures += thread->failures;
}

static void forget_thread(void *data) {
  struct host_thread *thread = data;
  sigset_t mask;
  host_lock(&lock, &mask);
  add(&ended, thread);
  if (thread->previous != NULL) thread->previous->next = thread->next;
  else threads = thread->next;
  if (thread->next != NULL) thread->next->previous = thread->previous;
  host_unlock(&lock, &mask);
}

void host_thread_list(struct host_thread *thread) {
  int saved = errno;
  sigset_t mask;
  host_lock(&lock, &mask);
  thread->previous = NULL;
  thread->next = threads;
  if (threads != NULL) threads->previous = thread;
  threads = thread;
  thread->listed = true;
  host_unlock(&lock, &mask);
  pthread_setspecific(thread_ends, thread);
  errno = saved;
}

void host_count(enum host_counter counter) { atomic_fetch_add_explicit(&counters[counter], 1, memory_order_relaxed); }

static struct host_thread totals(void) {
  sigset_t mask;
  host_lock(&lock, &mask);
  struct host_thread sum = {0};
  add(&sum, &ended);
  for (const struct host_thread *thread = threads; thread != NULL; thread = thread->next) add(&sum, thread);
  host_unlock(&lock, &mask);
  return sum;
}

/* ---- failed callouts, by function ---------------------------------------------------------------------------- */

#define FAILED_FUNCTIONS 256
static struct failed_function {
  uint64_t count;
  struct host_failure first;
} failed_functions[FAILED_FUNCTIONS];
static unsigned failed_count;
static uint64_t failed_elsewhere; /* in functions past the table's end */

void host_count_failure(const struct host_failure *failure) {
  sigset_t mask;
  host_lock(&lock, &mask);
  unsigned i = 0;
  while (i < failed_count && failed_functions[i].first.fault.function != failure->fault.function) i++;
  if (i < FAILED_FUNCTIONS) {
    if (i == failed_count) {
      failed_functions[i].first = *failure;
      failed_count++;
    }
    failed_functions[i].count++;
  } else {
    failed_elsewhere++;
  }
  host_unlock(&lock, &mask);
}

uint64_t host_failures(void) { return host_thread.failures; }
const struct host_failure *host_failure(void) { return &host_thread.failure; }

/* ---- messages ------------------------------------------------------------------------------------------------ */

static void say(const char *format, va_list arguments) {
  char text[1024] = "turnkey: ";
  size_t at = strlen(text);
  int saved = errno;
  vsnprintf(text + at, sizeof text - at - 1, format, arguments);
  strcat(text, "\n");
  ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
  (void)ignored;
  errno = saved;
}

void host_say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(format, arguments);
  va_end(arguments);
}

#define ONCE 64
void host_say_once(const char *format, ...) {
  static const char *_Atomic told[ONCE];
  for (unsigned i = 0; i < ONCE; i++) {
    const char *here = NULL;
    if (atomic_compare_exchange_strong(&told[i], &here, format)) break;
    if (here == format) return;
  }
  va_list arguments;
  va_start(arguments, format);
  say(format, arguments);
  va_end(arguments);
}

#define NOTES 16
static char notes[NOTES][512];
static unsigned note_count;
void host_note(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  sigset_t mask;
  host_lock(&lock, &mask);
  if (note_count < NOTES) vsnprintf(notes[note_count++], sizeof notes[0], format, arguments);
  host_unlock(&lock, &mask);
  va_end(arguments);
}

/* ---- the report ---------------------------------------------------------------------------------------------- */

struct line {
  char *text;
  size_t used, room;
};

static void append(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(struct line *line, const char *format, ...) {
  for (;;) {
    va_list arguments;
    va_start(arguments, format);
    size_t left = line->room - line->used;
    int wanted = vsnprintf(line->text + line->used, left, format, arguments);
    va_end(arguments);
    if (wanted < 0) return;
    if ((size_t)wanted < left) {
      line->used += (size_t)wanted;
      return;
    }
    size_t room = (line->room + (size_t)wanted + 1) * 2;
    char *larger = realloc(line->text, room);
    if (larger == NULL) return;
    line->text = larger;
    line->room = room;
  }
}

/* A JSON string. Bytes that are no ASCII go through: paths are UTF-8 where their owner wants JSON of them. */
static void append_string(struct line *line, const char *name, const char *value) {
  append(line, "\"%s\":\"", name);
  for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
    if (*c == '"' || *c == '\\') append(line, "\\%c", *c);
    else if (*c < 0x20) append(line, "\\u%04x", *c);
    else append(line, "%c", *c);
  }
  append(line, "\"");
}

static void append_failure(struct line *line, const struct failed_function *failed) {
  const struct trap_fault *fault = &failed->first.fault;
  char text[1024];
  append(line, "{");
  append_string(line, "function", host_function_name(&failed->first, text, sizeof text));
  append(line, ",\"count\":%llu,\"first\":{", (unsigned long long)failed->count);
  append_string(line, "text", host_failure_text(&failed->first, text, sizeof text));
  append(line, ",\"signal\":\"%s\",\"code\":\"%s\",\"access\":\"%s\"", host_signal_name(fault->signal),
         host_code_name(fault->signal, fault->code), host_access_name(fault->access));
  append(line, ",\"address\":\"%#llx\",\"pc\":\"%#llx\",\"pkey\":%d,", (unsigned long long)fault->address,
         (unsigned long long)fault->pc, fault->pkey);
  append_string(line, "module", host_module_name(fault->pc, text, sizeof text));
  append(line, ",");
  append_string(line, "space", fault->space_found ? fault->space_name : "");
  append(line, ",\"mechanismHeld\":%s}}", fault->mechanism_held ? "true" : "false");
}

static const char *asked_mechanism = "auto", *no_keys = "";
void host_report_asked(const char *asked, const char *why_not_keys) {
  asked_mechanism = asked;
  no_keys = why_not_keys;
}

static void write_json(const char *path, const struct host_thread *sum) {
  struct line line = {0};
  struct host_heap_size heap = host_image_largest(), now = host_image_now();
  struct pkeys_bystanders bystanders = pkeys_bystanders();
  append(&line, "{\"pid\":%d,\"parent\":%d,", (int)getpid(), (int)getppid());
  append_string(&line, "program", host_state.program.path);
  append(&line, ",\"adapter\":\"%s\",\"asked\":\"%s\",\"mechanism\":\"%s\",", host_state.adapter->name, asked_mechanism,
         pkeys_mechanism_name(host_state.mechanism));
  append_string(&line, "noKeys", no_keys);
  append(&line, ",\"callouts\":%llu,\"failed\":%llu,\"unguarded\":%llu,\"callbacks\":%llu,\"threads\":%llu",
         (unsigned long long)sum->callouts, (unsigned long long)sum->failures,
         (unsigned long long)counters[HOST_UNGUARDED], (unsigned long long)sum->callbacks,
         (unsigned long long)counters[HOST_THREADS]);
  append(&line, ",\"handlers\":%llu,\"heapRanges\":%llu,\"heapBytes\":%llu,\"heapBytesAtEnd\":%llu,\"notAdopted\":%llu",
         (unsigned long long)counters[HOST_HANDLERS], (unsigned long long)heap.ranges, (unsigned long long)heap.bytes,
         (unsigned long long)now.bytes, (unsigned long long)counters[HOST_NOT_ADOPTED]);
  append(&line, ",\"bystanders\":{\"faults\":%llu,\"waitedNs\":%llu,\"windows\":%llu},",
         (unsigned long long)bystanders.faults, (unsigned long long)bystanders.waited_ns,
         (unsigned long long)bystanders.windows);
  append_string(&line, "open", host_state.adapter->open == NULL ? "" : host_state.adapter->open);
  append(&line, ",\"notes\":[");
  for (unsigned i = 0; i < note_count; i++) {
    append(&line, i == 0 ? "{" : ",{");
    append_string(&line, "text", notes[i]);
    append(&line, "}");
  }
  append(&line, "],\"failures\":[");
  for (unsigned i = 0; i < failed_count; i++) {
    if (i > 0) append(&line, ",");
    append_failure(&line, &failed_functions[i]);
  }
  append(&line, "],\"failuresElsewhere\":%llu}\n", (unsigned long long)failed_elsewhere);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0 || line.text == NULL || write(fd, line.text, line.used) != (ssize_t)line.used)
    host_say("the report could not be written to %s: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  free(line.text);
}

static void write_summary(const struct host_thread *sum) {
  char text[1024];
  host_say("%s, mechanism %s: %llu callouts, %llu failed", host_state.adapter->name,
           pkeys_mechanism_name(host_state.mechanism), (unsigned long long)sum->callouts,
           (unsigned long long)sum->failures);
  for (unsigned i = 0; i < failed_count; i++)
    host_say("%llu times: %s", (unsigned long long)failed_functions[i].count,
             host_failure_text(&failed_functions[i].first, text, sizeof text));
}

static const char *json_path;
static bool summary;

void host_report(void) {
  if (!host_guarding() || getpid() != host_state.process || atomic_exchange(&reported, true)) return;
  host_learn_report();
  struct host_thread sum = totals();
  if (json_path != NULL) write_json(json_path, &sum);
  if (summary) write_summary(&sum);
}

/* ---- start, fork and end ------------------------------------------------------------------------------------- */

/* A child counts from nothing, on its one thread. A callee's child is no VM: it does not report. */
void host_report_in_child(void) {
  if (trap_in_callout()) return;
  host_state.process = getpid();
  threads = NULL;
  memset(&ended, 0, sizeof ended);
  host_image_in_child();
  /* adapters compare failures before and after a call: the thread's own count goes on, and its past is taken off */
  ended.failures = 0 - host_thread.failures;
  memset(counters, 0, sizeof counters);
  memset(failed_functions, 0, sizeof failed_functions);
  failed_count = 0;
  failed_elsewhere = 0;
  host_thread.callouts = host_thread.callbacks = 0;
  host_thread.listed = false;
  atomic_store(&reported, false);
}

void host_report_start(void) {
  const char *path = getenv("TURNKEY_HOST_JSON"), *wanted = getenv("TURNKEY_HOST_SUMMARY");
  if (path != NULL && *path != 0) json_path = strdup(path);
  summary = wanted != NULL && strcmp(wanted, "1") == 0;
  host_state.process = getpid();
  pthread_key_create(&thread_ends, forget_thread);
  int rc = host_fork_start();
  if (rc < 0) host_say("a child of fork is not guarded, and may hang: its handlers found no place (%s)", strerror(-rc));
}

__attribute__((destructor)) static void at_end(void) { host_report(); }
