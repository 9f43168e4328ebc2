/* schedule.c: has the processes of a group measure in turn. See process.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"

#define LEAST_ROUNDS 3 /* in each process, however long a row takes */

static struct member members[MAX_GROUP];
static unsigned member_count;

static uint64_t random_next(void) { /* splitmix64 */
  uint64_t z = settings.random_state += UINT64_C(0x9e3779b97f4a7c15);
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
    worker_serve(&member->row, pair[1]);
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
  if (settings.most_steps == 0 || member->failed != NULL || member->child == 0 || !member->first.steppable) return;
  struct order order = {.command = SEE};
  if (write(member->channel, &order, sizeof order) != (ssize_t)sizeof order) return;
  member->stepped = step_see(member->child, settings.most_steps, &member->steps);
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

static void collect_and_end(void) {
  for (unsigned i = 0; i < member_count; i++) {
    end(&members[i]);
  }
}

void schedule_measure(void) {
  if (member_count == 0) return;
  double ghz_first = settings.counted ? 0 : clock_core_ghz(), ghz_last;
  struct stolen before = stolen_now();
  unsigned done = 0;
  for (; done < settings.processes; done++) {
    double round_ns = prepare();
    unsigned here = settings.rounds;
    /* All rows of a group have the same number of rounds, or there would be no pairs. */
    if (!settings.counted && round_ns > 0 && (double)settings.group_ns / settings.processes / round_ns < here)
      here = (unsigned)((double)settings.group_ns / settings.processes / round_ns);
    if (here < LEAST_ROUNDS && !settings.counted)
      here = LEAST_ROUNDS < settings.rounds ? LEAST_ROUNDS : settings.rounds;
    if (settings.counted && round_ns > 20 * (double)settings.batch_ns)
      here = round_ns > 500 * (double)settings.batch_ns ? 1 : 2;
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
  ghz_last = settings.counted ? 0 : clock_core_ghz();
  double steal = after.all > before.all ? (after.steal - before.steal) / (after.all - before.all) : 0;
  for (unsigned i = 0; i < member_count; i++) print_row(&members[i], done, steal, ghz_first, ghz_last);
  member_count = 0;
}

struct member *schedule_add(unsigned number) {
  if (member_count == MAX_GROUP) return NULL;
  struct member *member = &members[member_count++];
  memset(member, 0, sizeof *member);
  member->number = number;
  return member;
}
