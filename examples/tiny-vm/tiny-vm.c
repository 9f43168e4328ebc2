/*
 * tiny-vm.c: see tiny-vm.h. What is left out: a compiler, more than one VM, and every optimisation. More than 400
 * lines: one file to read from top to bottom, as the example of a whole VM.
 */
#define _GNU_SOURCE
#include "tiny-vm.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <turnkey/call.h>
#include <turnkey/filter.h>

#include "memory.h"

#define THREADS 8
#define STACK_VALUES 2048
#define METHODS 64
#define ARGUMENTS 6

struct vm_thread {
  value *stack, *sp; /* sp: the next free place; everything below it is a root */
  value failure;
  bool used;
};
typedef long foreign(long, long, long, long, long, long);

/*
 * [K1] What is protected: all that a stray store must not reach. The heap's two halves, the operand stacks, and the
 * VM's own state: roots, allocation pointers, tables of methods and functions. All under one key, denied for writing:
 * foreign code may read what it is shown.
 */
enum space { STATE, STACKS, HALF_A, HALF_B, SPACES };
struct state {
  char *free, *limit;
  int half;
  struct vm_thread threads[THREADS];
  struct {
    const struct instruction *program;
    int locals;
  } methods[METHODS];
  struct {
    foreign *plain, *lent;
  } functions[METHODS];
  int method_count, function_count;
  volatile bool poll; /* set by the heartbeat */
  volatile uint64_t beats;
  uint64_t collections, failures;
  bool suspect, full;
};
static struct pkeys_image *image;
static struct state *vm;
static unsigned thunk_flags; /* of every foreign function's */

/*
 * [K2] What is left open, on key 0. The lock: threads contend for it while others are in callouts, and a mutex in pages
 * that mprotect closes could not even be waited for. Which thread this is: thread-local storage is never keyed (the
 * kernel writes there). Both are believed only as far as they can be checked.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread struct vm_thread *current;

static void give_up(const char *why) {
  fprintf(stderr, "tiny-vm: %s\n", why);
  abort();
}

/* The VM belongs to one thread at a time; it is let go for a callout, and at the heartbeat. */
static void own(void) { pthread_mutex_lock(&lock); }
static void disown(void) { pthread_mutex_unlock(&lock); }

static char *space_at(enum space space, size_t *bytes) {
  size_t unused;
  return memory_at(image, space, bytes != NULL ? bytes : &unused);
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

static size_t bytes_of(const struct object *object) {
  size_t body = object->kind == BYTES ? object->size : object->size * sizeof(value);
  return sizeof *object + (body + 15) / 16 * 16;
}

static value moved(value v) {
  if (v == NIL || IS_INTEGER(v)) return v;
  struct object *object = (struct object *)v;
  if (object->moved == NULL) {
    object->moved = (struct object *)vm->free;
    vm->free += bytes_of(object);
    memcpy(object->moved, object, bytes_of(object));
    object->moved->moved = NULL;
  }
  return (value)object->moved;
}

/*
 * [K3] The collector. It runs on a thread that owns the VM, whose rights are all: nothing is opened or closed for it,
 * whoever is in a callout meanwhile. (Under mprotect it would have to wait for them.) What it must not do is move what
 * foreign code was shown: nothing is, but loans and copies. A collector that maps or unmaps pages of the image calls
 * pkeys_image_reapply before anyone goes out again: a fresh mapping has key 0.
 */
static void collect(void) {
  size_t bytes;
  vm->half = !vm->half;
  vm->free = space_at(vm->half ? HALF_B : HALF_A, &bytes);
  vm->limit = vm->free + bytes;
  char *scan = vm->free;
  for (struct vm_thread *thread = vm->threads; thread < vm->threads + THREADS; thread++) {
    if (!thread->used) continue;
    for (value *v = thread->stack; v < thread->sp; v++) *v = moved(*v);
    thread->failure = moved(thread->failure);
  }
  for (; scan < vm->free; scan += bytes_of((struct object *)scan)) {
    struct object *object = (struct object *)scan;
    for (uint32_t i = 0; object->kind == TUPLE && i < object->size; i++) object->slots[i] = moved(object->slots[i]);
  }
  memory_discard(image, vm->half ? HALF_A : HALF_B);
  vm->collections++;
}

static value new_object(enum kind kind, uint32_t size) {
  struct object header = {.kind = kind, .size = size};
  size_t bytes = bytes_of(&header);
  if (vm->free + bytes > vm->limit) collect();
  if (vm->free + bytes > vm->limit) {
    /* [K4] The image grows: new pages get access and key in one call, so there is no moment in which they are open to a
     * callout on another thread. */
    size_t before, half = 0;
    for (int each = HALF_A; each <= HALF_B; each++) {
      space_at((enum space)each, &before);
      if (memory_grow(image, (size_t)each, before * 2 + bytes) < 0) {
        vm->full = true;
        return NIL;
      }
    }
    vm->limit = space_at(vm->half ? HALF_B : HALF_A, &half) + half;
  }
  struct object *object = (struct object *)vm->free;
  vm->free += bytes;
  memset(object, 0, bytes);
  *object = header;
  return (value)object;
}

/* ---- callouts and callbacks ---------------------------------------------------------------------------------- */

static void note_failure(struct vm_thread *thread, const struct trap_fault *fault) {
  const char *name = fault->space_found ? fault->space_name : "";
  vm->failures++;
  /* [K10] The image is as it was. The rest of the process need not be: a failed callout keeps its locks and
   * half-written structures. Who saves this image says so. */
  vm->suspect = true;
  value tuple = new_object(TUPLE, 4);
  if (tuple == NIL) return;
  thread->failure = tuple; /* a root, before the next allocation */
  value text = new_object(BYTES, (uint32_t)strlen(name) + 1);
  struct object *failure = (struct object *)thread->failure;
  failure->slots[0] = INTEGER(fault->signal);
  failure->slots[1] = INTEGER(fault->address);
  failure->slots[2] = INTEGER(fault->pc);
  failure->slots[3] = text;
  if (text != NIL) strcpy((char *)((struct object *)text)->slots, name);
}

static value callout(struct vm_thread *thread, int number, int count) {
  long arguments[ARGUMENTS] = {0};
  struct pkeys_loan loans[ARGUMENTS];
  unsigned lent = 0;
  bool refused = number < 0 || number >= vm->function_count || count > ARGUMENTS;
  for (int i = 0; i < count && !refused; i++) {
    value v = thread->sp[i - count];
    struct object *object = (struct object *)v;
    if (v == NIL || IS_INTEGER(v)) {
      arguments[i] = INTEGER_OF(v);
    } else if (object->kind == BYTES && pkeys_lend(object->size, NULL, 0, 0, PKEYS_LOAN_INOUT, true, &loans[i]) == 0) {
      /* [K5] Bytes go out as a loan: pages of their own, under a key that is open in this callout alone, their end
       * flush with a guard page. */
      memcpy(loans[i].address, object->slots, object->size);
      arguments[i] = (long)(intptr_t)loans[i].address;
      lent |= 1u << i;
    } else {
      refused = true;
    }
  }
  long result = 0;
  struct trap_fault fault = {0};
  bool failed = refused;
  if (!refused) {
    foreign *function = lent ? vm->functions[number].lent : vm->functions[number].plain;
    disown(); /* with the VM's rights; from here to own() nothing of the image is touched */
    /* [K6] The call itself: the thunk arms the trap, takes the rights away, calls on another stack, and puts all back.
     */
    result = function(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
    /* [K7] Did it fail? Asked before any other callout on this thread can be made. Then result is 0 and means nothing.
     */
    failed = trap_take_fault(&fault);
    own();
  }
  thread->failure = NIL; /* callouts in callbacks had theirs */
  for (int i = 0; i < count; i++) {
    if (!(lent & 1u << i)) continue;
    struct object *object = (struct object *)thread->sp[i - count]; /* where it is now */
    if (!failed) memcpy(object->slots, loans[i].address, object->size);
    pkeys_loan_release(loans[i].id);
  }
  thread->sp -= count;
  if (failed) note_failure(thread, &fault);
  return failed ? NIL : INTEGER(result);
}

static value interpret(struct vm_thread *thread, int method, int count);

/* [K8] What foreign code calls. The thunk from TRAP_CALLBACK has brought this thread back to its own stack and rights;
 * what it was passed is as wild as anything else. */
static long call_back(long method, long argument) {
  struct vm_thread *thread = current;
  own();
  if (thread < vm->threads || thread >= vm->threads + THREADS || !thread->used)
    give_up("a callback on a thread that is none of the VM's");
  if (method < 0 || method >= vm->method_count) method = 0;
  *thread->sp++ = INTEGER(argument);
  value result = interpret(thread, (int)method, 1);
  disown();
  return IS_INTEGER(result) ? (long)INTEGER_OF(result) : 0;
}

long (*vm_callback(void))(long, long) { return TRAP_CALLBACK(call_back, 0); }

/* ---- the interpreter ----------------------------------------------------------------------------------------- */

/* Pops `count` arguments. A thread's stack ends at a guard; methods are nested as far as that goes. */
static value interpret(struct vm_thread *thread, int method, int count) {
  const struct instruction *program = vm->methods[method].program, *pc = program;
  value *const base = thread->sp - count;
  if (base + count + vm->methods[method].locals + 64 > thread->stack + STACK_VALUES)
    give_up("methods nested too deeply");
  for (int i = 0; i < vm->methods[method].locals; i++) *thread->sp++ = NIL;
  while (!vm->full) {
    const int operand = pc->operand;
    struct object *object;
    value v;
    switch (pc++->code) {
      case PUSH: *thread->sp++ = INTEGER(operand); break;
      case LOCAL: *thread->sp++ = base[operand]; break;
      case SET: base[operand] = *--thread->sp; break;
      case POP: thread->sp--; break;
      case ADD: thread->sp--, thread->sp[-1] = INTEGER(INTEGER_OF(thread->sp[-1]) + INTEGER_OF(*thread->sp)); break;
      case SUBTRACT:
        thread->sp--, thread->sp[-1] = INTEGER(INTEGER_OF(thread->sp[-1]) - INTEGER_OF(*thread->sp));
        break;
      case LESS: thread->sp--, thread->sp[-1] = INTEGER(INTEGER_OF(thread->sp[-1]) < INTEGER_OF(*thread->sp)); break;
      case JUMP:
        if (program + operand < pc && vm->poll) {
          vm->poll = false;
          disown();
          sched_yield();
          own();
        }
        pc = program + operand;
        break;
      case UNLESS:
        v = *--thread->sp;
        if (v == NIL || v == INTEGER(0)) pc = program + operand;
        break;
      case NEW:
      case NEW_BYTES:
        v = new_object(pc[-1].code == NEW ? TUPLE : BYTES, (uint32_t)operand);
        *thread->sp++ = v;
        break;
      case AT:
        object = (struct object *)thread->sp[-1];
        thread->sp[-1] = object->kind == TUPLE ? object->slots[operand]
                                               : INTEGER(((unsigned char *)object->slots)[operand]);
        break;
      case PUT:
        thread->sp -= 2, object = (struct object *)thread->sp[0];
        if (object->kind == TUPLE) object->slots[operand] = thread->sp[1];
        else ((unsigned char *)object->slots)[operand] = (unsigned char)INTEGER_OF(thread->sp[1]);
        break;
      case CALL:
        v = interpret(thread, (int)INTEGER_OF(thread->sp[-1 - operand]), operand);
        thread->sp[-1] = v;
        break;
      case CALLOUT:
        v = callout(thread, (int)INTEGER_OF(thread->sp[-1 - operand]), operand);
        thread->sp[-1] = v;
        break;
      case FAILURE: *thread->sp++ = thread->failure; break;
      case RETURN:
        v = thread->sp[-1];
        thread->sp = base;
        return v;
    }
  }
  thread->sp = base; /* out of memory unwinds by returning: nothing jumps over a gate */
  return NIL;
}

/* ---- the heartbeat ------------------------------------------------------------------------------------------- */

/*
 * [K9] A handler of the VM's. It may come in the middle of a callout, and starts with rights to key 0 alone, whatever
 * was set: it touches the image between enter and leave only, which open the VM's rights, suspend the trap, and put
 * both back.
 */
static struct itimerval until_next_beat;
static void heartbeat(int signal) {
  (void)signal;
  struct trap_signal saved;
  trap_signal_enter(&saved);
  vm->beats++;
  vm->poll = true;
  trap_signal_leave(&saved);
  /* The timer does not repeat by itself: where a beat takes longer than the interval, the VM still gets on. */
  setitimer(ITIMER_REAL, &until_next_beat, NULL);
}

int vm_heartbeat(unsigned microseconds) {
  struct sigaction action = {.sa_handler = heartbeat, .sa_flags = SA_RESTART | SA_ONSTACK};
  until_next_beat = (struct itimerval){.it_value = {.tv_usec = microseconds}};
  if (microseconds != 0 && sigaction(SIGALRM, &action, NULL) != 0) return -errno;
  return setitimer(ITIMER_REAL, &until_next_beat, NULL) != 0 ? -errno : 0;
}

/* ---- the VM from outside ------------------------------------------------------------------------------------- */

/*
 * [K15] Keys stop stores. The filter stops the calls that would unmap the heap, or have the kernel write it: every
 * system call of a callee is judged, and one that is refused fails the callout by SIGSYS. The VM's own calls are not
 * judged, nor are those of its callbacks. It comes after the image, and before the thunks, which say that they want it.
 */
static int filter_callees(void) {
  const struct trap_filter_options options = {.way = TRAP_FILTER_DISPATCH, .threads = true, .code = true};
  thunk_flags = TRAP_FILTER;
  return trap_filter_init(&options);
}

int vm_open(enum pkeys_mechanism mechanism, size_t heap_bytes, bool filtered) {
  const struct memory_space spaces[SPACES] = {
      [STATE] = {.name = "state", .bytes = sizeof(struct state)},
      [STACKS] = {.name = "stacks", .bytes = THREADS * STACK_VALUES * sizeof(value)},
      [HALF_A] = {.name = "half-a", .bytes = heap_bytes, .reserve = heap_bytes * 64},
      [HALF_B] = {.name = "half-b", .bytes = heap_bytes, .reserve = heap_bytes * 64},
  };
  /* [K11] First the trap, whose handlers chain to those that are there; then the image; then its mechanism. Without
   * keys -EOPNOTSUPP: the caller decides, and says so. */
  int rc = trap_init();
  if (rc == 0) rc = memory_open(spaces, SPACES, &image);
  if (rc == 0 && (rc = pkeys_image_set_mechanism(image, mechanism)) < 0) memory_close(image);
  thunk_flags = 0;
  if (rc == 0 && filtered && (rc = filter_callees()) < 0) memory_close(image);
  if (rc < 0) return rc;
  vm = (struct state *)space_at(STATE, NULL);
  vm->free = space_at(HALF_A, &heap_bytes);
  vm->limit = vm->free + heap_bytes;
  return 0;
}

int vm_close(void) {
  vm_heartbeat(0);
  for (int i = 0; i < vm->function_count; i++) {
    TRAP_RELEASE(vm->functions[i].plain);
    TRAP_RELEASE(vm->functions[i].lent);
  }
  return memory_close(image);
}

int vm_method(const struct instruction *program, int locals) {
  if (vm->method_count == METHODS) return -ENOSPC;
  vm->methods[vm->method_count].program = program;
  vm->methods[vm->method_count].locals = locals;
  return vm->method_count++;
}

/* [K12] A foreign function becomes two thunks: one whose callouts find all loans closed, one that is passed a loan. */
int vm_foreign(foreign *function) {
  if (vm->function_count == METHODS) return -ENOSPC;
  foreign *plain = TRAP_GUARD(function, 0, thunk_flags, NULL),
          *lent = TRAP_GUARD(function, 0, thunk_flags | TRAP_LENT, NULL);
  if (plain == NULL || lent == NULL) return -errno;
  vm->functions[vm->function_count].plain = plain;
  vm->functions[vm->function_count].lent = lent;
  return vm->function_count++;
}

/* [K13] A thread may be older than the key, and then has no right to it: it attaches before it touches anything. */
int vm_thread_begin(struct vm_thread **out) {
  int rc = trap_attach();
  if (rc < 0) return rc;
  own();
  rc = -EAGAIN;
  for (int i = 0; i < THREADS && rc < 0; i++) {
    if (vm->threads[i].used) continue;
    value *stack = (value *)(void *)space_at(STACKS, NULL) + i * STACK_VALUES;
    vm->threads[i] = (struct vm_thread){.stack = stack, .sp = stack, .used = true};
    *out = current = &vm->threads[i];
    rc = 0;
  }
  disown();
  return rc;
}

void vm_thread_end(struct vm_thread *thread) {
  own();
  thread->used = false;
  current = NULL;
  disown();
}

int vm_run(struct vm_thread *thread, int method, const long *arguments, int count, long *result) {
  own();
  for (int i = 0; i < count; i++) *thread->sp++ = INTEGER(arguments[i]);
  value v = interpret(thread, method, count);
  int rc = vm->full ? -ENOMEM : 0;
  *result = IS_INTEGER(v) ? (long)INTEGER_OF(v) : 0;
  disown();
  return rc;
}

void vm_collect(struct vm_thread *thread) {
  (void)thread;
  own();
  collect();
  disown();
}

bool vm_heap_is_sound(struct vm_thread *thread) {
  vm_collect(thread); /* now the half holds what can be reached, object after object */
  own();
  size_t bytes;
  const char *low = space_at(vm->half ? HALF_B : HALF_A, &bytes), *at = low;
  bool sound = true;
  while (sound && at < vm->free) {
    const struct object *object = (const struct object *)at;
    sound = (object->kind == TUPLE || object->kind == BYTES) && object->moved == NULL &&
            bytes_of(object) <= (size_t)(vm->free - at);
    for (uint32_t i = 0; sound && object->kind == TUPLE && i < object->size; i++) {
      value v = object->slots[i];
      sound = v == NIL || IS_INTEGER(v) || (v >= (value)low && v < (value)vm->free && v % 16 == 0);
    }
    at += bytes_of(object);
  }
  disown();
  return sound && pkeys_image_verify_tags(image, NULL) == 0;
}

struct vm_statistics vm_statistics(void) {
  own();
  size_t bytes;
  const char *low = space_at(vm->half ? HALF_B : HALF_A, &bytes);
  struct vm_statistics s = {vm->collections, vm->beats, vm->failures, (uint64_t)(vm->free - low), vm->suspect};
  disown();
  return s;
}
