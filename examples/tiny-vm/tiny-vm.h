/*
 * tiny-vm.h: a virtual machine to be read: bytecodes, a moving collector, a heartbeat, callouts and callbacks, on as
 * many threads as like, one at a time. Each place where protection keys touch it is marked [K1] to [K13], here and in
 * tiny-vm.c; docs/porting.md refers to the numbers.
 */
#ifndef TINY_VM_H
#define TINY_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <turnkey/pkeys.h>

/* A value is a small integer (odd), nil (0) or the address of an object, which changes with every collection. */
typedef uintptr_t value;
#define NIL ((value)0)
#define INTEGER(n) ((value)(n) << 1 | 1)
#define INTEGER_OF(v) ((intptr_t)(v) >> 1)
#define IS_INTEGER(v) (((v) & 1) != 0)

enum kind { TUPLE = 1, BYTES = 2 };
struct object {
  uint32_t kind, size;  /* in values, or in bytes */
  struct object *moved; /* during a collection: where to */
  value slots[];
};

/* A program is an array of instructions: a code, and an operand where it says so. */
enum bytecode {
  PUSH,  /* n: the integer n */
  LOCAL, /* i: argument or local i of this method */
  SET,   /* i: pops into local i */
  POP,
  ADD,
  SUBTRACT,
  LESS,
  JUMP,      /* where: an index of the program; backwards, other threads get their turn */
  UNLESS,    /* where: jumps if 0 or nil is popped */
  NEW,       /* n: a tuple of n nils */
  NEW_BYTES, /* n */
  AT,        /* i: pops a tuple, pushes its slot i; of bytes, byte i */
  PUT,       /* i: pops a value and a tuple or bytes, stores */
  CALL,      /* argument count: pops that many arguments over a method number, pushes its result */
  CALLOUT,   /* argument count: the same over a foreign function's number; pushes nil if it failed */
  FAILURE,   /* pushes the last callout's failure: nil, or a tuple of signal, address, pc and the name of the space, as
                bytes */
  RETURN     /* pops the result */
};
struct instruction {
  enum bytecode code;
  int operand;
};

struct vm_thread;
struct vm_statistics {
  uint64_t collections, beats, failures, live_bytes;
  bool suspect;
};

/* One VM per process. All answer 0 or a negative errno. */
int vm_open(enum pkeys_mechanism mechanism, size_t heap_bytes, bool filtered); /* filtered: callees' system calls */
int vm_close(void);
int vm_method(const struct instruction *program, int locals); /* its number. locals: besides the arguments */
/* A foreign function of up to six integer or pointer arguments: integers are passed as such, bytes as a loan that is
 * copied back. Its number. */
int vm_foreign(long (*function)(long, long, long, long, long, long));
/* An address that foreign code may call with (method, argument): runs the method and answers its result, if that is an
 * integer. */
long (*vm_callback(void))(long method, long argument);

/* This thread becomes one of the VM's, or ceases to be. */
int vm_thread_begin(struct vm_thread **out);
void vm_thread_end(struct vm_thread *thread);
/* Runs a method. -ENOMEM where the heap is full, else 0. */
int vm_run(struct vm_thread *thread, int method, const long *arguments, int count, long *result);

int vm_heartbeat(unsigned microseconds); /* 0 ends it */
void vm_collect(struct vm_thread *thread);
bool vm_heap_is_sound(struct vm_thread *thread); /* walks everything that can be reached */
struct vm_statistics vm_statistics(void);

#endif
