/*
 * turnkey-campaign: the warm process of a campaign. It sets a program up once (program.c), and forks a trial for each
 * fault (follow.c). Standard input says what to do, a line each, and standard output gets JSON, a line each:
 *
 *   mechanism NAME       first; sets the program up
 *   seed N               of all faults
 *   planted K            every K-th fault of a stratum meets a gate that takes no rights away
 *   layout               reads the strata from a trial's maps, uses them and prints them
 *   stratum NAME FROM-TO,FROM-TO…   the strata of a plan, in place of `layout`
 *   check DIGEST         refuses to go on where the trial's mappings are not the plan's
 *   trials FROM TO       makes the trials of the faults in [FROM, TO)
 *
 * Words on the command line and the environment lie on the stack and would move it, so the program takes none, and
 * starts itself once more, with no address drawn at random (personality(2)) and an environment of its own.
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
#include <sys/personality.h>
#include <unistd.h>

#include "follow.h"
#include "strata.h"
#include "trap.h"

#define OUTPUT_BYTES (1u << 16)
#define LINE_BYTES (1u << 20)
#define MOST_BLOCKS 4096

/* What trials shall not have: in memory that fork(2) leaves out, so that it is no part of any stratum. */
struct parent {
  struct strata strata;
  struct block before[MOST_MAPPINGS], added[MOST_MAPPINGS], blocks[MOST_BLOCKS];
  struct landmarks marks;
  struct program program;
  struct outcome outcome;
  struct order *order; /* written here; a trial reads the same pages elsewhere, and cannot write them */
  const char *mechanism;
  char names[64];
  uint64_t seed, planted, golden_answer, golden_after, golden_cpu;
  size_t used, line_used;
  bool ready;
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

_Noreturn static void refuse(const char *why) {
  print("{\"refused\":\"%s\"}\n", why);
  flush();
  _exit(1);
}

static void *private_memory(size_t bytes) {
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
  enum pkeys_mechanism mechanism;
  if (pkeys_mechanism_parse(name, &mechanism) < 0) refuse("no such mechanism");
  parent->mechanism = pkeys_mechanism_name(mechanism);
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

  parent->marks.before_count = strata_mappings(getpid(), parent->before, MOST_MAPPINGS, false);
  int rc = trap_init();
  if (rc < 0) refuse("the trap could not be set up");
  size_t count = strata_mappings(getpid(), parent->added, MOST_MAPPINGS, false), kept = 0;
  for (size_t i = 0; i < count; i++) {
    bool old = false;
    for (size_t k = 0; k < parent->marks.before_count; k++)
      old |= parent->added[i].address - parent->before[k].address < parent->before[k].bytes;
    if (!old) parent->added[kept++] = parent->added[i];
  }
  parent->marks.added_count = kept;
  size_t blocks = MOST_BLOCKS;
  const char *problem = program_set_up(mechanism, parent->order, seen, parent->blocks, &blocks, &parent->program);
  if (problem != NULL) refuse(problem);
  /* In the order of addresses, by insertion: qsort might allocate. */
  for (size_t i = 1; i < blocks; i++)
    for (size_t k = i; k > 0 && parent->blocks[k].address < parent->blocks[k - 1].address; k--) {
      struct block block = parent->blocks[k];
      parent->blocks[k] = parent->blocks[k - 1], parent->blocks[k - 1] = block;
    }
  parent->marks.program = &parent->program;
  parent->marks.blocks = parent->blocks, parent->marks.block_count = blocks;
  parent->marks.before = parent->before, parent->marks.added = parent->added;
  parent->marks.before_count = strata_mappings(getpid(), parent->before, MOST_MAPPINGS, false);
  follow_set_up(&parent->program, events[0]);
}

static void look(pid_t trial, const struct outcome *outcome) {
  parent->marks.callee_local = outcome->callee.address;
  parent->marks.thread_local_address = outcome->thread.address;
  strata_read(trial, &parent->marks, &parent->strata);
}

static void look_at_mappings(pid_t trial, const struct outcome *outcome) {
  (void)outcome;
  strata_mapped(trial, &parent->strata);
}

/* One trial that stops in its callout, and one without a fault, by which the others' answers are judged. */
static void rehearse(follow_look_function *with) {
  parent->order->pause = 1;
  follow_trial(false, UINT64_MAX, with, &parent->outcome);
  parent->order->pause = 0;
  if (parent->strata.full) refuse("a table of mappings is full");
  follow_trial(false, UINT64_MAX, NULL, &parent->outcome);
  const struct outcome *golden = &parent->outcome;
  if (!golden->is_done || golden->caught_count > 0 || !golden->image_equal || golden->returned.signal != 0)
    refuse("the program fails without a fault");
  parent->golden_answer = golden->returned.answer;
  parent->golden_after = golden->done.answer;
  parent->ready = true;
}

/* ---- one trial --------------------------------------------------------------------------------------------------- */

static const char *const moments[] = {"before", "middle", "end", "callback", "thread", "after"};
static const char *const all_means[] = {"bit", "zero", "noise", "pointer", "run", "kernel"};
static const char *const overruns[] = {"heap", "stack", "lent", "neighbour"};
static const char *const stales[] = {"freed", "object", "loan"};
static const char *const lefts[] = {"pointer", "length", "string", "word", "argument"};

static uintptr_t place(const struct fault *fault) {
  if (fault->stratum >= STRATUM_OVERRUN) return 0;
  if (fault->stratum != STRATUM_UNMAPPED) return strata_address(&parent->strata, fault->stratum, fault->position);
  for (uint64_t which = 100;; which++) { /* 47 bits of address for a process */
    uintptr_t address = draw_word(parent->seed, fault->index, which) >> 17;
    if (!strata_is_mapped(&parent->strata, address, LARGEST_RUN)) return address;
  }
}

static bool in_image(uint64_t address) {
  for (int i = 0; i < IMAGE_STRATA; i++)
    if (address - parent->program.spaces[i].address < parent->program.spaces[i].bytes) return true;
  return false;
}

/* Memory that the mechanism closes: the image (I10), and under keys the trap's own pages. */
static bool closed_to_callee(const struct outcome *out) {
  const struct event *returned = &out->returned;
  if (in_image(returned->address)) return returned->code == SEGV_PKUERR || returned->code == SEGV_ACCERR;
  return strata_is_trap(returned->address) && returned->code == SEGV_PKUERR;
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
static const char *verdict_of(const struct outcome *out, uint8_t stratum) {
  if (out->crashed) return "crashed";
  if (out->hung) return "hung";
  if (!out->image_equal) return "damaged";
  if (out->stored.error != 0 && !out->stored.changed) return "refused";
  if (out->has_stored) return out->stored.changed ? "host-damaged" : "harmless";
  if (stratum == STRATUM_LEFT) return out->caught_count > 0 || out->returned.signal != 0 ? "trapped" : "harmless";
  const struct event *failed = out->returned.signal != 0 ? &out->returned : &out->caught;
  if (!out->has_fault || failed->signal == 0) return "harmless";
  if (!right(out)) return "host-damaged";
  struct outcome judged = *out;
  judged.returned = *failed;
  bool foreign = failed->pc - parent->program.code.address < parent->program.code.bytes;
  return failed->signal == SIGSEGV && foreign && closed_to_callee(&judged) ? "prevented" : "trapped";
}

/* Takes out of the trials' own pipes what a trial that died has left there: it would let the next one's late store
 * happen too early, or not at all. */
static void drain(const int pipe[2]) {
  char bytes[64];
  for (int left; ioctl(pipe[0], FIONREAD, &left) == 0 && left > 0;)
    if (read(pipe[0], bytes, sizeof bytes) <= 0) return;
}

static void trial(uint64_t index) {
  struct fault fault;
  draw_fault(parent->seed, index, parent->strata.bytes, &fault);
  drain(parent->order->go);
  drain(parent->order->gone);
  parent->order->fault = fault;
  parent->order->address = place(&fault);
  parent->order->active = 1;
  bool open = parent->planted > 0 && index / STRATA % parent->planted == 0;
  struct outcome *out = &parent->outcome;
  follow_trial(open, parent->golden_cpu, NULL, out);
  const char *source = fault.stratum == STRATUM_OVERRUN ? overruns[fault.source]
                       : fault.stratum == STRATUM_STALE ? stales[fault.source]
                       : fault.stratum == STRATUM_LEFT  ? lefts[fault.source]
                                                        : NULL;
  print("{\"index\":%" PRIu64 ",\"mechanism\":\"%s\",\"stratum\":\"%s\",\"moment\":\"%s\",\"means\":\"%s\"", index,
        parent->mechanism, stratum_name(fault.stratum), moments[fault.moment], all_means[fault.means]);
  if (source != NULL) print(",\"source\":\"%s\"", source);
  print(",\"address\":\"0x%" PRIx64 "\",\"bytes\":%u,\"verdict\":\"%s\",\"end\":\"%s\",\"image\":\"%s\",\"unit\":%d",
        out->has_fault ? out->fault.address : (uint64_t)parent->order->address, fault.bytes,
        verdict_of(out, fault.stratum), end_of(out), out->image_equal ? "equal" : "differs", out->unit.unit);
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
}

/* ---- the lines of standard input --------------------------------------------------------------------------------- */

static void print_layout(void) {
  const struct strata *strata = &parent->strata;
  print("{\"digest\":\"%016" PRIx64 "\",\"strata\":[", strata->digest);
  for (int stratum = 0; stratum < STRATA; stratum++) {
    print("%s{\"name\":\"%s\",\"bytes\":%" PRIu64 ",\"ranges\":\"", stratum > 0 ? "," : "",
          stratum_name((unsigned)stratum), strata->bytes[stratum]);
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
  while (stratum < STRATA && strcmp(stratum_name((unsigned)stratum), text) != 0) stratum++;
  if (stratum == STRATA) refuse("the plan has a stratum that this program does not know");
  struct strata *strata = &parent->strata;
  while (*ranges != 0) {
    uintptr_t from = strtoul(ranges, &ranges, 16), to = strtoul(ranges + 1, &ranges, 16);
    if (strata->count == MOST_RANGES || to <= from) refuse("the plan's strata are not readable");
    strata->ranges[strata->count++] = (struct stratum_range){from, to, stratum};
    strata->bytes[stratum] += to - from;
    if (*ranges == ',') ranges++;
  }
}

static void run_line(char *line) {
  char *word = strchrnul(line, ' ');
  if (*word != 0) *word++ = 0;
  if (strcmp(line, "mechanism") == 0) {
    set_up(word);
  } else if (parent->mechanism == NULL) {
    refuse("the first line names a mechanism");
  } else if (strcmp(line, "seed") == 0) {
    parent->seed = strtoull(word, NULL, 10);
  } else if (strcmp(line, "planted") == 0) {
    parent->planted = strtoull(word, NULL, 10);
  } else if (strcmp(line, "limit") == 0) {
    parent->golden_cpu = strtoull(word, NULL, 10) * 1000000u;
  } else if (strcmp(line, "layout") == 0) {
    rehearse(look);
    print_layout();
  } else if (strcmp(line, "stratum") == 0) {
    take_stratum(word);
  } else if (strcmp(line, "check") == 0) {
    rehearse(look_at_mappings);
    if (parent->strata.digest != strtoull(word, NULL, 16)) refuse("memory is not laid out as in the plan");
  } else if (strcmp(line, "trials") == 0) {
    if (!parent->ready) refuse("trials need strata");
    if (parent->golden_cpu == 0) refuse("trials need a limit");
    char *end;
    uint64_t from = strtoull(word, &end, 10), to = strtoull(end, NULL, 10);
    for (uint64_t index = from; index < to; index++) {
      trial(index);
      flush();
    }
  } else if (*line != 0) {
    refuse("a line that is not understood");
  }
}

int main(void) {
  if ((personality(0xffffffff) & ADDR_NO_RANDOMIZE) == 0) {
    char *const words[] = {"turnkey-campaign", NULL};
    /* Restartable sequences are off: the kernel looks at their part of thread-local storage when it preempts a thread,
     * so whether a thread dies of a fault there would be a matter of chance. */
    char *const environment[] = {"GLIBC_TUNABLES=glibc.pthread.rseq=0", NULL};
    if (personality(ADDR_NO_RANDOMIZE) < 0) return 1;
    execve("/proc/self/exe", words, environment);
    return 1;
  }
  signal(SIGPIPE, SIG_DFL);
  parent = private_memory(sizeof *parent);
  for (;;) {
    ssize_t got = read(STDIN_FILENO, parent->line + parent->line_used, LINE_BYTES - 1 - parent->line_used);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    parent->line_used += (size_t)got;
    parent->line[parent->line_used] = 0;
    char *line = parent->line;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
      *end = 0;
      run_line(line);
    }
    parent->line_used = strlen(line);
    memmove(parent->line, line, parent->line_used + 1);
  }
  flush();
  return 0;
}
