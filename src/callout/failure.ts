/** Sentences for what the trap could not do. The addon answers a negative errno; here it becomes an Error, once. */
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';

import type { Errno } from '../native.js';
import { binding } from './binding.js';

const { EAGAIN, EBUSY, EINVAL, ENOMEM, ENOSPC, ENOTSUP } = constants.errno;

/** Sizes of the trap's tables (trap.h). */
const MOST = { thunks: 8192, callbacks: 8192, policies: 1024, tickets: 4096, threads: 1023 } as const;

export type Table = keyof typeof MOST;

const FULL: Readonly<Record<Table, string>> = {
  thunks: 'functions of open guards: close guards, or unload libraries, that are no longer used',
  callbacks: 'callbacks: unregister those that are no longer used',
  policies: 'open guards: close those that are no longer used',
  tickets: 'asynchronous calls in flight: wait for some of them',
  threads: 'threads that have made callouts',
};

/** What was short, and how much of it there is. `address`: as in a fault record whose signal is 0 (trap.h). */
export function shortage(error: Errno, amount: bigint): string {
  const threads = binding.statistics().threadsLive;
  if (error === -EAGAIN) return `no thread slot is left: ${threads} of ${amount} are taken by ${FULL.threads}`;
  if (error === -ENOMEM)
    return (
      `no memory for the ${amount / 1024n} KiB of stack that a thread's callouts need (${threads} ` +
      'threads have theirs); a limit on address space or on locked memory may be the reason'
    );
  return errnoText(error);
}

function errnoText(error: Errno): string {
  return `errno ${-error}, ${getSystemErrorName(error)}`;
}

/** What EINVAL means where code is made for arguments: the limits of trap.h, a ticket's own bytes apart. */
export const REFUSED = {
  thunk: 'its arguments take more than 512 KiB of stack, or its address is null',
  callerStack:
    'its arguments take more than 32 KiB of stack, the most with foreignStack: false, or its address is null',
  callback: 'its arguments take more than 64 KiB of stack, the most for a callback',
} as const;

/**
 * The answer, or an Error "Cannot WHAT: why". `table`: which one is full where the errno is ENOSPC. `refused`: why,
 * where it is EINVAL.
 */
export function answered<T>(
  answer: T | Errno,
  what: string,
  table?: Table,
  refused = 'a value is out of range',
): Exclude<T, Errno> {
  if (typeof answer !== 'number' || answer >= 0) return answer as Exclude<T, Errno>;
  const why =
    answer === -ENOSPC && table !== undefined
      ? `all ${MOST[table]} places are taken by ${FULL[table]}`
      : answer === -EAGAIN
        ? shortage(answer, BigInt(MOST.threads))
        : answer === -EBUSY
          ? 'a callout is in progress on this thread'
          : answer === -EINVAL
            ? refused
            : answer === -ENOTSUP
              ? 'this CPU has protection keys of its own'
              : errnoText(answer);
  throw Object.assign(new Error(`Cannot ${what}: ${why}`), { code: getSystemErrorName(answer), errno: -answer });
}
