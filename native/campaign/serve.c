/*
 * serve.c: see serve.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "serve.h"

#define OUTPUT_BYTES (1u << 16)
#define LINE_BYTES (1u << 20)

/* What trials shall not have: in memory that fork(2) leaves out, so that it is no part of any stratum. */
struct parent {
  const struct subject *subject;
  struct strata strata;
  struct outcome outcome;
  struct order *order; /* written here; a trial reads the same pages elsewhere, and cannot write them */
  char mechanism[32];
  uint64_t seed, planted, golden_answer, golden_after, cpu_limit_ns, digest;
  size_t used, line_used;
  bool ready;
  bool *is_open; /* the trial's gate is to take no rights away; not in this memory */
  char output[OUTPUT_BYTES], line[LINE_BYTES];
};
static struct parent *parent;

static void flush(void) {
  for (size_t at = 0; at < parent->used;) {
    ssize_t put = write(STDOUT_FILENO, parent->output + at, parent->used - at);
    if (put < 0 && errno != EINTR) _exit(1);
    if (put > 0) at += (size_t)put;
  }
  parent->used = 0;
}

__attribute__((format(printf, 1, 2))) static void print(const char *format, ...) {
  if (parent->used > OUTPUT_BYTES - 1024) flush();
  va_list arguments;
  va_start(arguments, format);
  parent->used += (size_t)vsnprintf(parent->output + parent->used, OUTPUT_BYTES - parent->used, format, arguments);
  va_end(arguments);
}

_Noreturn void serve_refuse(const char *why) {
  print("{\"refused\":\"%s\"}\n", why);
  flush();
  _exit(1);
}

void *serve_memory(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) _exit(1);
  madvise(memory, bytes, MADV_DONTFORK);
  return memory;
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int memory_file(size_t bytes) {
  int file = memfd_create("campaign", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, (off_t)bytes) != 0) _exit(1);
  return file;
}

static void set_up(const char *name) {
  snprintf(parent->mechanism, sizeof parent->mechanism, "%s", name);
  int orders = memory_file(sizeof(struct order)), noise = memory_file(LARGEST_RUN);
  parent->order = mmap(NULL, sizeof(struct order), PROT_READ | PROT_WRITE, MAP_SHARED, orders, 0);
  const struct order *seen = mmap(NULL, sizeof(struct order), PROT_READ, MAP_SHARED, orders, 0);
  if (parent->order == MAP_FAILED || seen == MAP_FAILED) _exit(1);
  madvise(parent->order, sizeof(struct order), MADV_DONTFORK);
  uint8_t bytes[LARGEST_RUN];
  draw_noise(1, bytes, LARGEST_RUN);
  int events[2], go[2], gone[2];
  if (pwrite(noise, bytes, LARGEST_RUN, 0) != LARGEST_RUN || pipe2(events, O_NONBLOCK) != 0 || pipe(go) != 0 ||
      pipe(gone) != 0)
    _exit(1);
  parent->order->events = events[1];
  parent->order->go[0] = go[0], parent->order->go[1] = go[1];
  parent->order->gone[0] = gone[0], parent->order->gone[1] = gone[1];
  parent->order->noise_file = noise;
  follow_set_up(parent->subject->set_up(name, parent->order, seen), parent->order, events[0]);
}

static void look(pid_t trial, const struct outcome *outcome) { parent->subject->look(trial, outcome, &parent->strata); }

static void take_digest(pid_t trial, const struct outcome *outcome) {
  parent->digest = parent->subject->digest(trial, outcome, &parent->strata);
}

/* A trial that stops in its callout to be looked at. Returns true in the trial. */
static bool stop_and(follow_look_function *with) {
  parent->order->pause = 1;
  if (follow_trial(UINT64_MAX, with, &parent->outcome)) return true;
  parent->order->pause = 0;
  return false;
}

/* Takes the digest of a trial's memory and, for a new plan, its strata; then makes a trial without a fault, by which
 * the others' answers are judged. Returns true in a trial. */
static bool rehearse(bool reads_strata) {
  parent->order->active = 0;
  if (parent->is_open != NULL) *parent->is_open = false;
  if (stop_and(take_digest) || (reads_strata && stop_and(look))) return true;
  if (parent->strata.full) serve_refuse("a table of mappings is full");
  if (follow_trial(UINT64_MAX, NULL, &parent->outcome)) return true;
  const struct outcome *golden = &parent->outcome;
  if (!golden->is_done || golden->caught_count > 0 || !golden->image_equal || golden->returned.signal != 0)
    serve_refuse("the program fails without a fault");
  parent->golden_answer = golden->returned.answer;
  parent->golden_after = golden->done.answer;
  parent->ready = true;
  return false;
}

/* ---- one trial --------------------------------------------------------------------------------------------------- */

static const char *const moments[] = {"before", "middle", "end", "callback", "thread", "after"};
static const char *const all_means[] = {"bit", "zero", "noise", "pointer", "run", "kernel"};
static const char *const overruns[] = {"heap", "stack", "lent", "neighbour"};
static const char *const stales[] = {"freed", "object", "loan"};
static const char *const lefts[] = {"pointer", "length", "string", "word", "argument"};

static uintptr_t place(const struct fault *fault) {
  if (fault->kind > KIND_UNMAPPED) return 0;
  if (fault->kind == KIND_PLACED) return strata_address(&parent->strata, fault->stratum, fault->position);
  for (uint64_t which = 100;; which++) { /* 47 bits of address for a process */
    uintptr_t address = draw_word(parent->seed, fault->index, which) >> 17;
    if (!strata_is_mapped(&parent->strata, address, LARGEST_RUN)) return address;
  }
}

static bool right(const struct outcome *out) {
  bool callout = out->returned.signal != 0 || out->returned.answer == parent->golden_answer;
  return callout && out->done.answer == parent->golden_after;
}

static const char *end_of(const struct outcome *out) {
  if (out->crashed) return "crash";
  if (out->hung) return "hang";
  if (out->returned.signal != 0 || out->caught_count > 0 || out->stored.error != 0) return "told";
  return right(out) ? "right" : "wrong";
}

/* The words of docs/architecture.md. */
static const char *verdict_of(const struct outcome *out, uint8_t kind) {
  if (out->crashed) return "crashed";
  if (out->hung) return "hung";
  if (!out->image_equal) return "damaged";
  if (out->stored.error != 0 && !out->stored.changed) return "refused";
  if (out->has_stored) return out->stored.changed ? "host-damaged" : "harmless";
  if (kind == KIND_LEFT) return out->caught_count > 0 || out->returned.signal != 0 ? "trapped" : "harmless";
  const struct event *failed = out->returned.signal != 0 ? &out->returned : &out->caught;
  if (!out->has_fault || failed->signal == 0) return "harmless";
  if (!right(out)) return "host-damaged";
  const struct subject *subject = parent->subject;
  bool stopped = failed->signal == SIGSEGV && subject->foreign(failed->pc);
  return stopped && subject->closed(failed->address, failed->code) ? "prevented" : "trapped";
}

/* Takes out of the trials' own pipes what a trial that died has left there. It would let the late store of the next
 * trial happen too early, or not at all. */
static void drain(const int pipe[2]) {
  char bytes[64];
  for (int left; ioctl(pipe[0], FIONREAD, &left) == 0 && left > 0;)
    if (read(pipe[0], bytes, sizeof bytes) <= 0) return;
}

/* Returns true in the trial. */
static bool trial(uint64_t index) {
  struct fault fault;
  draw_fault(parent->seed, index, parent->subject->space, parent->strata.bytes, &fault);
  drain(parent->order->go);
  drain(parent->order->gone);
  parent->order->fault = fault;
  parent->order->address = place(&fault);
  parent->order->active = 1;
  unsigned strata = parent->subject->space->strata;
  if (parent->is_open != NULL) *parent->is_open = parent->planted > 0 && index / strata % parent->planted == 0;
  struct outcome *out = &parent->outcome;
  if (follow_trial(parent->cpu_limit_ns, NULL, out)) return true;
  const char *source = fault.kind == KIND_OVERRUN ? overruns[fault.source]
                       : fault.kind == KIND_STALE ? stales[fault.source]
                       : fault.kind == KIND_LEFT  ? lefts[fault.source]
                                                  : NULL;
  print("{\"index\":%" PRIu64 ",\"mechanism\":\"%s\",\"stratum\":\"%s\",\"moment\":\"%s\",\"means\":\"%s\"", index,
        parent->mechanism, parent->subject->space->names[fault.stratum], moments[fault.moment], all_means[fault.means]);
  if (source != NULL) print(",\"source\":\"%s\"", source);
  print(",\"address\":\"0x%" PRIx64 "\",\"bytes\":%u,\"verdict\":\"%s\",\"end\":\"%s\",\"image\":\"%s\",\"unit\":%d",
        out->has_fault ? out->fault.address : (uint64_t)parent->order->address, fault.bytes,
        verdict_of(out, fault.kind), end_of(out), out->image_equal ? "equal" : "differs", out->unit.unit);
  if (out->has_fault && (out->crashed || out->hung)) print(",\"diedNs\":%" PRIu64, out->end_ns - out->fault.ns);
  if (out->has_stored && !out->stored.changed) print(",\"changed\":false");
  if (out->stored.error != 0) print(",\"errno\":%d", out->stored.error);
  const struct event *failed = out->returned.signal != 0 ? &out->returned : out->caught_count > 0 ? &out->caught : NULL;
  if (out->crashed && out->signal != 0)
    print(",\"evidence\":{\"signal\":%d,\"code\":%d,\"pkey\":%d,\"address\":\"0x%" PRIx64 "\",\"pc\":\"0x%" PRIx64
          "\"}",
          out->signal, out->code, out->pkey, out->address, out->pc);
  else if (out->crashed) print(",\"evidence\":{\"exitCode\":%d}", out->exit_code);
  else if (failed != NULL)
    print(",\"evidence\":{\"signal\":%d,\"code\":%d,\"pkey\":%d,\"address\":\"0x%" PRIx64 "\",\"pc\":\"0x%" PRIx64
          "\",\"error\":%d,\"unit\":%d}",
          failed->signal, failed->code, failed->pkey, failed->address, failed->pc, failed->error, failed->unit);
  if (!out->image_equal) print(",\"changedAt\":\"0x%" PRIx64 "\"", out->changed_at);
  print("}\n");
  return false;
}

/* ---- the lines of standard input --------------------------------------------------------------------------------- */

static void print_layout(void) {
  const struct strata *strata = &parent->strata;
  print("{\"digest\":\"%016" PRIx64 "\",\"strata\":[", parent->digest);
  for (int stratum = 0; stratum < (int)parent->subject->space->strata; stratum++) {
    print("%s{\"name\":\"%s\",\"bytes\":%" PRIu64 ",\"ranges\":\"", stratum > 0 ? "," : "",
          parent->subject->space->names[stratum], strata->bytes[stratum]);
    const char *comma = "";
    for (size_t i = 0; i < strata->count; i++)
      if (strata->ranges[i].stratum == stratum)
        print("%s%" PRIxPTR "-%" PRIxPTR, comma, strata->ranges[i].from, strata->ranges[i].to), comma = ",";
    print("\"}");
  }
  print("]}\n");
}

static void take_stratum(char *text) {
  char *ranges = strchr(text, ' ');
  int stratum = 0;
  if (ranges == NULL) return; /* it has no bytes */
  *ranges++ = 0;
  const struct fault_space *space = parent->subject->space;
  while (stratum < (int)space->strata && strcmp(space->names[stratum], text) != 0) stratum++;
  if (stratum == (int)space->strata) serve_refuse("the plan has a stratum that this program does not know");
  struct strata *strata = &parent->strata;
  while (*ranges != 0) {
    uintptr_t from = strtoul(ranges, &ranges, 16), to = strtoul(ranges + 1, &ranges, 16);
    if (strata->count == MOST_RANGES || to <= from) serve_refuse("the plan's strata are not readable");
    strata->ranges[strata->count++] = (struct stratum_range){from, to, stratum};
    strata->bytes[stratum] += to - from;
    if (*ranges == ',') ranges++;
  }
}

/* Returns true in a trial. */
static bool run_line(char *line) {
  char *word = strchrnul(line, ' ');
  if (*word != 0) *word++ = 0;
  if (strcmp(line, "mechanism") == 0) {
    set_up(word);
  } else if (parent->mechanism[0] == 0) {
    serve_refuse("the first line names a mechanism");
  } else if (strcmp(line, "seed") == 0) {
    parent->seed = strtoull(word, NULL, 10);
  } else if (strcmp(line, "planted") == 0) {
    parent->planted = strtoull(word, NULL, 10);
    if (parent->planted > 0 && parent->is_open == NULL) serve_refuse("this program has no gate that could be opened");
  } else if (strcmp(line, "limit") == 0) {
    parent->cpu_limit_ns = strtoull(word, NULL, 10) * 1000000u;
  } else if (strcmp(line, "layout") == 0) {
    if (rehearse(true)) return true;
    print_layout();
  } else if (strcmp(line, "stratum") == 0) {
    take_stratum(word);
  } else if (strcmp(line, "check") == 0) {
    if (rehearse(false)) return true;
    if (parent->digest != strtoull(word, NULL, 16)) serve_refuse("memory is not laid out as in the plan");
  } else if (strcmp(line, "trials") == 0) {
    if (!parent->ready) serve_refuse("trials need strata");
    if (parent->cpu_limit_ns == 0) serve_refuse("trials need a limit");
    char *end;
    uint64_t from = strtoull(word, &end, 10), to = strtoull(end, NULL, 10);
    for (uint64_t index = from; index < to; index++) {
      if (trial(index)) return true;
      flush();
    }
  } else if (*line != 0) {
    serve_refuse("a line that is not understood");
  }
  return false;
}

bool serve(const struct subject *subject, bool *is_open) {
  parent = serve_memory(sizeof *parent);
  parent->subject = subject;
  parent->is_open = is_open;
  for (;;) {
    ssize_t got = read(STDIN_FILENO, parent->line + parent->line_used, LINE_BYTES - 1 - parent->line_used);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    parent->line_used += (size_t)got;
    parent->line[parent->line_used] = 0;
    char *line = parent->line;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
      *end = 0;
      if (run_line(line)) return true;
    }
    parent->line_used = strlen(line);
    memmove(parent->line, line, parent->line_used + 1);
  }
  flush();
  return false;
}
