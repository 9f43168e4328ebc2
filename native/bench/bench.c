/*
 * turnkey-bench: the native loops behind the cost experiments.
 *
 *   turnkey-bench [--counted] [--seed N] [--processes N] [--rounds N] [--batch-us N] [--group-ms N] [--steps N]
 *                 [--clock monotonic] ROW... [/ ROW...]
 *
 * ROW: EXPERIMENT:MECHANISM[:NAME=VALUE,...], e.g. flip:pkeys:pages=16,touched=1. Rows between slashes are a group:
 * they are measured in the same rounds.
 *
 * One JSON line first: {"clock":{"name","nsPerTick","overheadNs","drift","governor"}}. Then one for each row, in the
 * order of the command line within its group:
 *   {"row" (its number, from 0),"unit","repeats","samples":[...],"counts":{...},"instructions","processes","rounds",
 *    "warmUp","settled","steal","ghz":[first,last],"switches","pinned","observed":{...},"warning",
 *    "each" (true: every operation is timed for itself)}
 * or {"row","skipped":"why"}, or {"row","broken":"why"}. A sample is the cost of one operation, the mean over one batch
 * of `repeats`, the empty loop and the clock subtracted; sample k of one row was taken in the same round as sample k of
 * the others of its group. counts: WRPKRUs, RDPKRUs, system calls and faults of one operation, seen by single-stepping
 * it (then "instructions" says how many in user mode), or, where that takes more than --steps, known from the code
 * path.
 *
 * Times: each row of a group has a process of its own, forked from one that has done nothing, pinned to one processor;
 * it sets up, sizes its batches, and warms up until batches no longer get faster. In each round every row measures one
 * batch, one after the other, in an order drawn anew. All this --processes times over.
 *
 * With --counted, on a machine whose clock advances by one nanosecond for each executed instruction (QEMU -icount
 * shift=0): instructions; the program waits until the clock has settled, some seconds after boot, sizes its batches by
 * count, and measures row after row in one process each.
 *
 * Exit code 0, or 2 on wrong usage.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "step.h"

#define SETTLED_S 6 /* before, an early clock source misleads */
#define MAX_ROWS 4000
#define MAX_GROUP 64
#define MAX_SAMPLES 1000
#define LEAST_ROUNDS 3       /* in each process, however long a row takes */
#define WARM_UP_NS 30000000u /* at most, after sizing */

static bool counted;
static unsigned processes = 3, rounds = 10;
static unsigned most_steps = 20000;
static uint64_t batch_ns, group_ns = 2000000000;

/* ---- what rows share ---- */

const char *bench_why(const char *format, ...) {
  static char why[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why, sizeof why, format, arguments);
  va_end(arguments);
  return why;
}

static const char *option(const struct bench_row *row, const char *name) {
  size_t length = strlen(name);
  for (const char *at = row->options; *at != 0; at++) {
    if (strncmp(at, name, length) == 0 && at[length] == '=') return at + length + 1;
    at = strchr(at, ',');
    if (at == NULL) return NULL;
  }
  return NULL;
}
uint64_t bench_number(const struct bench_row *row, const char *name, uint64_t missing) {
  const char *value = option(row, name);
  return value == NULL ? missing : strtoull(value, NULL, 10);
}
bool bench_is(const struct bench_row *row, const char *name, const char *text) {
  const char *value = option(row, name);
  size_t length = strlen(text);
  return value != NULL && strncmp(value, text, length) == 0 && (value[length] == 0 || value[length] == ',');
}
void bench_observe(struct bench_row *row, const char *name, double value) {
  for (int i = 0; i < BENCH_OBSERVED; i++) {
    struct bench_observed *one = &row->observed[i];
    if (one->name[0] == 0) snprintf(one->name, sizeof one->name, "%s", name);
    if (strcmp(one->name, name) != 0) continue;
    one->value += value;
    return;
  }
}
bool bench_have_keys(void) {
  unsigned a, b, c = 0, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 4)) != 0; /* OSPKE */
}

static cpu_set_t allowed;
unsigned bench_processors(unsigned *list, unsigned most) {
  unsigned count = 0;
  for (unsigned i = 0; i < CPU_SETSIZE && count < most; i++)
    if (CPU_ISSET(i, &allowed)) list[count++] = i;
  return count;
}
bool bench_pin(unsigned processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

/* ---- a row's process ---- */

enum command { SIZE, SAMPLE, SEE, END };
struct order {
  enum command command;
  uint64_t repeats; /* SIZE: 0 to find out */
};
struct answer {
  enum { READY, SKIPPED, DONE } kind;
  double value; /* SAMPLE: ns or instructions of one operation; SIZE: of a batch */
  uint64_t repeats;
  unsigned warm_up;
  bool settled, pinned, steppable, each;
  struct bench_counts counts;
  long switches;
  char text[400];
  struct bench_observed observed[BENCH_OBSERVED];
};

static void run_empty(uint64_t times) {
  for (uint64_t i = 0; i < times; i++) __asm__ volatile("" : : : "memory");
}
static uint64_t ticks_of(void (*run)(uint64_t), uint64_t times) {
  uint64_t start = clock_ticks();
  run(times);
  return clock_since(start);
}
/* The whole of a batch, in ns (or instructions). */
static double batch(const struct bench_row *row, uint64_t times) {
  return (row->timed != NULL ? row->timed(times) : (double)ticks_of(row->run, times)) * bench_clock.ns_per_tick;
}

/* The smallest of a few: what the loop itself costs. */
static double empty_cost(const struct bench_row *row, uint64_t times) {
  uint64_t least = UINT64_MAX;
  if (row->timed != NULL) return 0;
  for (int i = 0; i < 5; i++) {
    uint64_t cost = ticks_of(run_empty, times);
    if (cost < least) least = cost;
  }
  return clock_ns(least);
}

/* Batches double until one is long enough by the wall; the clock's readings are no measure where a row times only a
 * part. */
static uint64_t sized(const struct bench_row *row) {
  uint64_t times = 1;
  for (;;) {
    uint64_t start = clock_ticks();
    batch(row, times);
    if (clock_ns(clock_since(start)) >= (double)batch_ns || (row->at_most != 0 && times >= row->at_most)) return times;
    times *= 2;
  }
}

/* Goes on until the last batch is not faster by more than 2 % than the fastest of those before it, twice in a row. */
static void warm_up(const struct bench_row *row, uint64_t times, struct answer *answer) {
  double best = 1e300;
  uint64_t start = clock_ticks();
  for (int calm = 0; calm < 2; answer->warm_up++) {
    double cost = batch(row, times);
    calm = cost >= best * 0.98 ? calm + 1 : 0;
    if (cost < best) best = cost;
    answer->value = cost;
    answer->settled = calm >= 2;
    if (clock_ns(clock_since(start)) > WARM_UP_NS) {
      answer->settled = answer->settled || answer->warm_up < 3; /* too long a batch to judge by */
      break;
    }
  }
}

static long switches_now(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nivcsw;
}

static const char *set_up(struct bench_row *row) {
  static const struct {
    const char *name;
    const char *(*set_up)(struct bench_row *row);
  } experiments[] = {{"flip", bench_flip},
                     {"callout", bench_callout},
                     {"gate", bench_gate},
                     {"fault", bench_fault},
                     {"revisit", bench_revisit},
                     {"threads", bench_threads},
                     {"alternatives", bench_alternatives},
                     {"adopted", bench_adopted}};
  for (size_t i = 0; i < sizeof experiments / sizeof *experiments; i++)
    if (strcmp(row->experiment, experiments[i].name) == 0) return experiments[i].set_up(row);
  return "no such experiment";
}

static void tell(int channel, const struct answer *answer) {
  if (write(channel, answer, sizeof *answer) != (ssize_t)sizeof *answer) _exit(1);
}

static void serve(struct bench_row *row, int channel) {
  unsigned list[CPU_SETSIZE], count = bench_processors(list, CPU_SETSIZE);
  struct answer answer = {.kind = READY};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  /* The last processor: the first one serves most interrupts. */
  answer.pinned = count > 0 && bench_pin(list[count - 1]);
  const char *why = set_up(row);
  if (why != NULL) {
    answer.kind = SKIPPED;
    snprintf(answer.text, sizeof answer.text, "%s", why);
    tell(channel, &answer);
    _exit(0);
  }
  if (row->many_processors) answer.pinned = true; /* it has pinned its threads itself */
  if (row->warning != NULL) snprintf(answer.text, sizeof answer.text, "%s", row->warning);
  answer.counts = row->counts;
  answer.each = row->timed != NULL && row->at_most != 1;
  /* One side alone is not the whole of it; what a row does not time is not part of it; long ones take too long. */
  answer.steppable = row->run != NULL && !row->many_processors && row->counts.syscalls <= 300;
  tell(channel, &answer);
  struct order order;
  uint64_t times = 1;
  double empty = 0;
  long switches = 0;
  while (read(channel, &order, sizeof order) == (ssize_t)sizeof order && order.command != END) {
    answer = (struct answer){.kind = DONE};
    if (order.command == SIZE) {
      if (!row->cold) {
        times = order.repeats != 0 ? order.repeats : sized(row);
        if (!counted) warm_up(row, times, &answer);
        else answer.value = batch(row, times);
        if (counted && times < 4 && answer.value < 20 * (double)batch_ns) times = 4;
      }
      empty = empty_cost(row, times);
      answer.repeats = times;
    } else if (order.command == SAMPLE) {
      switches = switches_now();
      double cost = batch(row, times) - empty;
      answer.value = cost > 0 ? cost / (double)times : 0;
      answer.switches = switches_now() - switches;
    } else {
      step_be_seen(row);
    }
    memcpy(answer.observed, row->observed, sizeof answer.observed);
    tell(channel, &answer);
  }
  row->take_down();
  _exit(0);
}

/* ---- the schedule ---- */

struct member {
  struct bench_row row;
  unsigned number;
  pid_t child;
  int channel;
  uint64_t repeats;
  double samples[MAX_SAMPLES];
  unsigned sample_count;
  struct answer first, sized;
  long switches;
  bool stepped;
  struct step_counts steps;
  struct bench_observed observed[BENCH_OBSERVED];
  const char *failed; /* skipped or broken */
  bool broken;
  char text[400];
};
static struct member members[MAX_GROUP];
static unsigned member_count;

static uint64_t random_state;
static uint64_t random_next(void) { /* splitmix64 */
  uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static void fail(struct member *member, bool broken, const char *why) {
  snprintf(member->text, sizeof member->text, "%s", why);
  member->failed = member->text;
  member->broken = broken;
}

static void end(struct member *member) {
  if (member->child <= 0) return;
  struct order order = {.command = END};
  ssize_t told = write(member->channel, &order, sizeof order); /* gone already: SIGPIPE is ignored */
  (void)told;
  close(member->channel);
  while (waitpid(member->child, NULL, 0) < 0 && errno == EINTR) continue;
  member->child = 0;
}

static bool hear(struct member *member, struct answer *answer) {
  if (recv(member->channel, answer, sizeof *answer, MSG_WAITALL) == (ssize_t)sizeof *answer) return true;
  int status = 0;
  while (waitpid(member->child, &status, 0) < 0 && errno == EINTR) continue;
  close(member->channel);
  member->child = 0;
  fail(member, true,
       WIFSIGNALED(status)
           ? bench_why("its process ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)))
           : bench_why("its process ended with exit code %d", WEXITSTATUS(status)));
  return false;
}
static bool ask(struct member *member, enum command command, uint64_t repeats, struct answer *answer) {
  struct order order = {command, repeats};
  if (write(member->channel, &order, sizeof order) != (ssize_t)sizeof order && errno != EPIPE) return false;
  return hear(member, answer);
}

static void start(struct member *member) {
  int pair[2];
  fflush(stdout);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || (member->child = fork()) < 0) {
    member->child = 0;
    fail(member, true, strerror(errno));
    return;
  }
  if (member->child == 0) {
    close(pair[0]);
    serve(&member->row, pair[1]);
  }
  close(pair[1]);
  member->channel = pair[0];
  struct answer answer;
  if (!hear(member, &answer)) return;
  if (answer.kind == SKIPPED) {
    fail(member, false, answer.text);
    end(member);
    return;
  }
  member->first = answer;
}

static void add_observed(struct member *member, const struct answer *answer) {
  for (int i = 0; i < BENCH_OBSERVED; i++) {
    memcpy(member->observed[i].name, answer->observed[i].name, sizeof member->observed[i].name);
    member->observed[i].value += answer->observed[i].value;
  }
}

static void sample(struct member *member, struct answer *last) {
  if (member->failed != NULL || member->sample_count == MAX_SAMPLES) return;
  if (member->row.cold && member->child == 0) {
    start(member);
    struct answer answer;
    if (member->failed != NULL || !ask(member, SIZE, 1, &answer)) return;
    member->sized = answer;
  }
  if (!ask(member, SAMPLE, 0, last)) return;
  member->samples[member->sample_count++] = last->value;
  member->switches += last->switches;
  if (member->row.cold) {
    add_observed(member, last);
    end(member);
  }
}

/* Sizes and warms up one after the other; how long a round of all takes, in ns. */
static double prepare(void) {
  double round_ns = 0;
  for (unsigned i = 0; i < member_count; i++) {
    struct member *member = &members[i];
    if (member->failed != NULL || member->row.cold) continue;
    start(member);
    if (member->failed != NULL || !ask(member, SIZE, member->repeats, &member->sized)) continue;
    member->repeats = member->sized.repeats;
    round_ns += member->sized.value;
  }
  return round_ns;
}

static void see(struct member *member) {
  struct answer answer;
  if (most_steps == 0 || member->failed != NULL || member->child == 0 || !member->first.steppable) return;
  struct order order = {.command = SEE};
  if (write(member->channel, &order, sizeof order) != (ssize_t)sizeof order) return;
  member->stepped = step_see(member->child, most_steps, &member->steps);
  if (member->stepped) hear(member, &answer);
  else { /* it is gone; what was measured stands */ close(member->channel);
    member->child = 0;
  }
}

/* Steal time and all time of all processors, in ticks of proc_stat(5). */
struct stolen {
  double steal, all;
};
static struct stolen stolen_now(void) {
  struct stolen now = {0, 0};
  unsigned long long field[8] = {0};
  FILE *file = fopen("/proc/stat", "re");
  if (file == NULL) return now;
  if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &field[0], &field[1], &field[2], &field[3], &field[4],
             &field[5], &field[6], &field[7]) == 8) {
    for (int i = 0; i < 8; i++) now.all += (double)field[i];
    now.steal = (double)field[7];
  }
  fclose(file);
  return now;
}

static void print_text(const char *text) {
  putchar('"');
  for (; *text != 0; text++) {
    if (*text == '"' || *text == '\\') putchar('\\');
    putchar((unsigned char)*text < ' ' ? ' ' : *text);
  }
  putchar('"');
}

static void print(const struct member *member, unsigned processes_done, double steal, double ghz_first,
                  double ghz_last) {
  if (member->failed != NULL || member->sample_count == 0) {
    printf("{\"row\":%u,\"%s\":", member->number, member->broken ? "broken" : "skipped");
    print_text(member->failed != NULL ? member->failed : "no sample was taken");
    printf("}\n");
    fflush(stdout);
    return;
  }
  printf("{\"row\":%u,\"unit\":\"%s\",\"repeats\":%" PRIu64 ",\"samples\":[", member->number,
         counted ? "instructions" : "ns", member->sized.repeats);
  for (unsigned i = 0; i < member->sample_count; i++)
    printf(member->samples[i] >= 1000 ? "%s%.1f" : "%s%.3f", i == 0 ? "" : ",", member->samples[i]);
  struct bench_counts counts = member->stepped ? member->steps.counts : member->first.counts;
  printf("]");
  /* The first one in a process is not known from a later one. */
  if (!member->row.cold)
    printf(",\"counts\":{\"wrpkru\":%u,\"rdpkru\":%u,\"syscalls\":%u,\"faults\":%u}", counts.wrpkru, counts.rdpkru,
           counts.syscalls, counts.faults);
  if (member->stepped) printf(",\"instructions\":%u", member->steps.instructions);
  if (member->first.each) printf(",\"each\":true");
  printf(",\"processes\":%u,\"warmUp\":%u,\"settled\":%s,\"pinned\":%s",
         member->row.cold ? member->sample_count : processes_done, member->sized.warm_up,
         member->sized.settled || counted || member->row.cold ? "true" : "false",
         member->first.pinned ? "true" : "false");
  if (!counted)
    printf(",\"steal\":%.4f,\"ghz\":[%.3f,%.3f],\"switches\":%ld", steal, ghz_first, ghz_last, member->switches);
  if (member->observed[0].name[0] != 0) {
    printf(",\"observed\":{");
    for (int i = 0; i < BENCH_OBSERVED && member->observed[i].name[0] != 0; i++)
      printf("%s\"%s\":%.0f", i == 0 ? "" : ",", member->observed[i].name, member->observed[i].value);
    putchar('}');
  }
  if (member->first.text[0] != 0) {
    printf(",\"warning\":");
    print_text(member->first.text);
  }
  printf("}\n");
  fflush(stdout);
}

static void collect_and_end(void) {
  for (unsigned i = 0; i < member_count; i++) {
    end(&members[i]);
  }
}

static void measure_group(void) {
  double ghz_first = counted ? 0 : clock_core_ghz(), ghz_last;
  struct stolen before = stolen_now();
  unsigned done = 0;
  for (; done < processes; done++) {
    double round_ns = prepare();
    unsigned here = rounds;
    /* All rows of a group have the same number of rounds, or there would be no pairs. */
    if (!counted && round_ns > 0 && (double)group_ns / processes / round_ns < here)
      here = (unsigned)((double)group_ns / processes / round_ns);
    if (here < LEAST_ROUNDS && !counted) here = LEAST_ROUNDS < rounds ? LEAST_ROUNDS : rounds;
    if (counted && round_ns > 20 * (double)batch_ns) here = round_ns > 500 * (double)batch_ns ? 1 : 2;
    for (unsigned round = 0; round < here; round++) {
      unsigned order[MAX_GROUP];
      for (unsigned i = 0; i < member_count; i++) {
        unsigned other = (unsigned)(random_next() % (i + 1));
        order[i] = order[other];
        order[other] = i;
      }
      for (unsigned i = 0; i < member_count; i++) {
        struct answer last = {.kind = DONE};
        sample(&members[order[i]], &last);
        if (round == here - 1 && !members[order[i]].row.cold) add_observed(&members[order[i]], &last);
      }
    }
    if (done == 0)
      for (unsigned i = 0; i < member_count; i++) see(&members[i]);
    collect_and_end();
  }
  struct stolen after = stolen_now();
  ghz_last = counted ? 0 : clock_core_ghz();
  double steal = after.all > before.all ? (after.steal - before.steal) / (after.all - before.all) : 0;
  for (unsigned i = 0; i < member_count; i++) print(&members[i], done, steal, ghz_first, ghz_last);
  member_count = 0;
}

/* ---- the command line ---- */

/* EXPERIMENT:MECHANISM[:NAME=VALUE,...], in place. */
static bool parse_row(char *text, struct bench_row *row) {
  char *mechanism = strchr(text, ':');
  if (mechanism == NULL) return false;
  *mechanism++ = 0;
  char *options = strchr(mechanism, ':');
  if (options != NULL) *options++ = 0;
  *row = (struct bench_row){.experiment = text, .mechanism = mechanism, .options = options == NULL ? "" : options};
  row->cold = bench_number(row, "cold", 0) != 0;
  return true;
}

static int usage(void) {
  fprintf(stderr, "usage: turnkey-bench [--counted] [--seed N] [--processes N] [--rounds N] [--batch-us N] [--group-ms "
                  "N] [--steps N] [--clock monotonic] ROW... [/ ROW...]\n"
                  "  ROW: EXPERIMENT:MECHANISM[:NAME=VALUE,...], EXPERIMENT one of flip, callout, gate, fault, "
                  "revisit, threads, alternatives, adopted\n");
  return 2;
}

int main(int count, char **arguments) {
  unsigned long seed = 1, batch_us = 0;
  bool monotonic = false;
  int at = 1;
  for (; at < count && strncmp(arguments[at], "--", 2) == 0; at++) {
    if (strcmp(arguments[at], "--counted") == 0) {
      counted = true;
      continue;
    }
    if (at + 1 == count) return usage();
    const char *name = arguments[at++];
    if (strcmp(name, "--clock") == 0 && strcmp(arguments[at], "monotonic") == 0) monotonic = true;
    else if (strcmp(name, "--seed") == 0) seed = strtoul(arguments[at], NULL, 10);
    else if (strcmp(name, "--processes") == 0) processes = (unsigned)strtoul(arguments[at], NULL, 10);
    else if (strcmp(name, "--rounds") == 0) rounds = (unsigned)strtoul(arguments[at], NULL, 10);
    else if (strcmp(name, "--batch-us") == 0) batch_us = strtoul(arguments[at], NULL, 10);
    else if (strcmp(name, "--steps") == 0) most_steps = (unsigned)strtoul(arguments[at], NULL, 10);
    else if (strcmp(name, "--group-ms") == 0) group_ns = strtoul(arguments[at], NULL, 10) * 1000000;
    else return usage();
  }
  if (at == count || processes == 0 || rounds == 0 || processes * rounds > MAX_SAMPLES) return usage();
  if (counted) processes = 1;
  batch_ns = (batch_us == 0 ? (counted ? 100 : 400) : batch_us) * 1000;
  random_state = seed;
  signal(SIGPIPE, SIG_IGN);
  sched_getaffinity(0, sizeof allowed, &allowed);
  if (counted) {
    struct timespec settled = {.tv_sec = SETTLED_S};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &settled, NULL);
  }
  clock_set_up(counted, monotonic);
  printf("{\"clock\":{\"name\":\"%s\",\"nsPerTick\":%.6f,\"overheadNs\":%.2f,\"drift\":%.6f}}\n",
         bench_clock.tsc ? "invariant TSC, serialised" : "CLOCK_MONOTONIC", bench_clock.ns_per_tick,
         bench_clock.overhead_ns, bench_clock.drift);
  fflush(stdout);
  for (unsigned number = 0; at < count; at++) {
    if (strcmp(arguments[at], "/") == 0) {
      if (member_count > 0) measure_group();
      continue;
    }
    if (member_count == MAX_GROUP || number == MAX_ROWS) return usage();
    struct member *member = &members[member_count];
    memset(member, 0, sizeof *member);
    if (!parse_row(arguments[at], &member->row)) return usage();
    member->number = number++;
    member_count++;
    if (counted) measure_group();
  }
  if (member_count > 0) measure_group();
  return 0;
}
