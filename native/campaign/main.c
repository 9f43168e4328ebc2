/*
 * turnkey-campaign: the warm process of a campaign on the stand-in. It sets a program up once (program.c), and forks a
 * trial for each fault; serve.h says what it reads and prints.
 *
 * Words on the command line and the environment lie on the stack and would move it, so the program takes none. It
 * starts itself once more, with no address drawn at random (personality(2)) and an environment of its own. With words
 * it starts that command instead, likewise: a host whose memory is to lie where it lay before.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <unistd.h>

#include "../pkeys/state.h"
#include "../trap/internal.h"
#include "program.h"
#include "serve.h"
#include "trap.h"

#define MOST_BLOCKS 4096

/* What only this process knows of its mappings. In memory that fork(2) leaves out. */
struct landmarks {
  struct program program;
  struct block spaces[IMAGE_STRATA];
  struct block before[MOST_MAPPINGS]; /* mappings before the trap was set up, */
  struct block added[MOST_MAPPINGS];  /* and those that it has added */
  struct block blocks[MOST_BLOCKS];   /* of the callee's libraries */
  size_t before_count, added_count, block_count;
  struct block tls;
  uintptr_t callee_local, thread_local_address;
  struct image image;
};
static struct landmarks *marks;

static const struct image *set_up(const char *name, struct order *order, const struct order *seen) {
  enum pkeys_mechanism mechanism;
  if (pkeys_mechanism_parse(name, &mechanism) < 0) serve_refuse("no such mechanism");
  marks->before_count = strata_mappings(getpid(), marks->before, MOST_MAPPINGS, false);
  int rc = trap_init();
  if (rc < 0) serve_refuse("the trap could not be set up");
  size_t count = strata_mappings(getpid(), marks->added, MOST_MAPPINGS, false), kept = 0;
  for (size_t i = 0; i < count; i++) {
    bool old = false;
    for (size_t k = 0; k < marks->before_count; k++)
      old |= marks->added[i].address - marks->before[k].address < marks->before[k].bytes;
    if (!old) marks->added[kept++] = marks->added[i];
  }
  marks->added_count = kept;
  size_t blocks = MOST_BLOCKS;
  const char *problem = program_set_up(mechanism, order, seen, marks->blocks, &blocks, &marks->program);
  if (problem != NULL) serve_refuse(problem);
  /* In the order of addresses, by insertion: qsort might allocate. */
  for (size_t i = 1; i < blocks; i++)
    for (size_t k = i; k > 0 && marks->blocks[k].address < marks->blocks[k - 1].address; k--) {
      struct block block = marks->blocks[k];
      marks->blocks[k] = marks->blocks[k - 1], marks->blocks[k - 1] = block;
    }
  marks->block_count = blocks;
  marks->before_count = strata_mappings(getpid(), marks->before, MOST_MAPPINGS, false);
  marks->tls = strata_tls();
  for (int i = 0; i < IMAGE_STRATA; i++)
    marks->spaces[i] = (struct block){marks->program.spaces[i].address, marks->program.spaces[i].bytes};
  marks->image = (struct image){.blocks = marks->spaces, .count = IMAGE_STRATA};
  return &marks->image;
}

/* ---- strata ------------------------------------------------------------------------------------------------------ */

static bool within(const struct block *blocks, size_t count, uintptr_t address) {
  for (size_t i = 0; i < count; i++)
    if (address - blocks[i].address < blocks[i].bytes) return true;
  return false;
}

static bool overlaps(const void *start, size_t bytes, uintptr_t page) {
  return page < (uintptr_t)start + bytes && page + PAGE_BYTES > (uintptr_t)start;
}

/* The stratum of a page. `owner` is the mapping whose rest it may be. */
static int stratum_of(const struct mapping *mapping, const struct mapping *owner, uintptr_t page) {
  const struct program *program = &marks->program;
  for (int i = 0; i < IMAGE_STRATA; i++)
    if (page - program->spaces[i].address < program->spaces[i].bytes) return i;
  if (page - program->neighbour.address < program->neighbour.bytes) return STRATUM_NEIGHBOUR;
  if (overlaps(program->loan.address, program->loan.bytes, page)) return STRATUM_LENT;
  /* The pages that the runtime key covers. */
  if (overlaps(&trap_arena, sizeof trap_arena, page) || overlaps(&pkeys_i_registry, sizeof pkeys_i_registry, page))
    return STRATUM_TRAP;
  size_t bytes = mapping->to - mapping->from;
  if (marks->callee_local - mapping->from < bytes) return STRATUM_FOREIGN_STACK;
  if (marks->thread_local_address - mapping->from < bytes) return STRATUM_OTHER_STACKS;
  if (strata_has(mapping, "[stack]")) return STRATUM_VM_STACK;
  if (strata_has(mapping, "[heap]")) return STRATUM_HEAP;
  if (within(marks->added, marks->added_count, page)) return STRATUM_FOREIGN_STACK; /* alternate signal stacks */
  if (strata_has(owner, "/turnkey-campaign")) return STRATUM_VM_GLOBALS;
  if (strata_has(owner, "/libc.so") || strata_has(owner, "/ld-linux")) return STRATUM_LIBC_GLOBALS;
  if (owner->path_bytes > 0) return STRATUM_CALLEE_GLOBALS;
  /* What the trial has mapped since it was forked belongs to its other thread. */
  return within(marks->before, marks->before_count, page) ? STRATUM_HEAP : STRATUM_OTHER_STACKS;
}

static void take_page(const struct mapping *mapping, const struct mapping *owner, uintptr_t page, bool exists,
                      struct strata *out) {
  int stratum = stratum_of(mapping, owner, page);
  const struct block *tls = &marks->tls;
  uintptr_t end = page + PAGE_BYTES;
  if (!exists) strata_add(out, STRATUM_UNTOUCHED, page, end);
  else if (stratum == STRATUM_HEAP && tls->address < end && tls->address + tls->bytes > page)
    strata_add_split(out, STRATUM_LIBC_GLOBALS, STRATUM_TLS, tls, 1, page, end);
  else if (stratum == STRATUM_HEAP)
    strata_add_split(out, stratum, STRATUM_CALLEE_HEAP, marks->blocks, marks->block_count, page, end);
  else strata_add(out, stratum, page, end);
}

static void look(pid_t trial, const struct outcome *outcome, struct strata *out) {
  marks->callee_local = outcome->callee.address;
  marks->thread_local_address = outcome->thread.address;
  strata_read(trial, take_page, out);
}

/* All mappings, alike under every mechanism. */
static uint64_t digest(pid_t trial, const struct outcome *outcome, struct strata *out) {
  (void)outcome;
  strata_mapped(trial, out);
  return out->digest;
}

/* Memory that the mechanism closes: the image (I10), and under keys the trap's own pages. */
static bool closed(uint64_t address, int code) {
  for (int i = 0; i < IMAGE_STRATA; i++)
    if (address - marks->spaces[i].address < marks->spaces[i].bytes) return code == SEGV_PKUERR || code == SEGV_ACCERR;
  bool is_trap = address - (uintptr_t)&trap_arena < sizeof trap_arena ||
                 address - (uintptr_t)&pkeys_i_registry < sizeof pkeys_i_registry;
  return is_trap && code == SEGV_PKUERR;
}

static bool foreign(uint64_t pc) { return pc - marks->program.code.address < marks->program.code.bytes; }

static const struct subject stand_in = {
    .space = &stand_in_space,
    .set_up = set_up,
    .look = look,
    .digest = digest,
    .closed = closed,
    .foreign = foreign,
};

/* Restartable sequences are off: the kernel looks at their part of thread-local storage when it preempts a thread, so
 * whether a thread dies of a fault there would be a matter of chance. Functions are bound at start: what a global
 * offset table holds, which a store may hit, would depend on what the warm process has called so far. */
static char *const environment[] = {"GLIBC_TUNABLES=glibc.pthread.rseq=0", "LD_BIND_NOW=1", NULL};

/* Whether this process was started by itself: who starts it may have switched address randomisation off, too. */
static bool is_prepared(void) {
  if ((personality(0xffffffff) & ADDR_NO_RANDOMIZE) == 0) return false;
  for (int i = 0; environment[i] != NULL; i++)
    if (environ[i] == NULL || strcmp(environ[i], environment[i]) != 0) return false;
  return environ[2] == NULL;
}

int main(int count, char **words) {
  if (count > 1 || !is_prepared()) {
    if (personality(ADDR_NO_RANDOMIZE) < 0) return 1;
    if (count > 1) {
      for (int i = 0; environment[i] != NULL; i++) putenv(environment[i]);
      execvp(words[1], words + 1);
      return 1;
    }
    char *const own[] = {"turnkey-campaign", NULL};
    execve("/proc/self/exe", own, environment);
    return 1;
  }
  signal(SIGPIPE, SIG_DFL);
  marks = serve_memory(sizeof *marks);
  bool is_open = false;
  if (serve(&stand_in, &is_open)) program_trial(is_open);
  return 0;
}
