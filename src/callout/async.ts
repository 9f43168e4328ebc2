/**
 * Calls on koffi's worker threads. Each call in flight has a ticket, that is, a fault record of its own, read in its
 * completion. What the callee left is decoded there, on this thread.
 */
import { CallScope } from './arguments.js';
import { binding } from './binding.js';
import type { Callee, Entry } from './callee.js';
import { atSite, type CallSite } from './error.js';
import { answered } from './failure.js';
import { RECORD_BYTES } from './record.js';
import { wholeRecord } from './thread.js';

/** koffi lays arguments out on a stack of 128 KiB there, and does not ask whether they fit. */
const MOST_STACK_BYTES = 64 * 1024;

type Completion = (error: unknown, result?: unknown) => void;

/** Starts a call; `args` end with the completion. Throws what koffi throws for calls it cannot start. */
export function asyncCall(callee: Callee, args: readonly unknown[], entry: Entry): void {
  const count = callee.parameters.length;
  if (args.length <= count) throw new TypeError(`Expected ${count + 1} arguments, got ${args.length}`);
  const done = args[count];
  if (typeof done !== 'function')
    throw new TypeError(`Expected callback function as last argument, got ${typeof done}`);
  start(callee, args.slice(0, count), done as Completion, entry);
}

/** Starts a call and promises its result. */
export function promisedCall(callee: Callee, args: readonly unknown[], entry: Entry): Promise<unknown> {
  return new Promise((resolve, reject) => {
    callee.checkCount(args.length);
    start(
      callee,
      args.slice(0, callee.parameters.length),
      (error, result) => {
        if (error === null) resolve(result);
        else reject(error instanceof Error ? error : new Error(String(error as string)));
      },
      entry,
    );
  });
}

/* Calls fail rarely: one record serves them all and is replaced when it was used. */
let spare = new Uint8Array(RECORD_BYTES);

function start(callee: Callee, args: readonly unknown[], done: Completion, entry: Entry): void {
  if (callee.stackBytes > MOST_STACK_BYTES)
    throw Object.assign(
      new Error(
        `Cannot call ${callee.name} asynchronously: its arguments take more than 64 KiB of stack, and koffi has ` +
          '128 KiB for such calls',
      ),
      { code: 'EINVAL' },
    );
  const site: CallSite = {};
  Error.captureStackTrace(site, entry);
  const scope = new CallScope(callee.host, callee.uses);
  callee.count();
  let ticket: number | undefined;
  /* Whether the call failed: then its record is in `spare`. */
  const takeTicket = (): boolean => {
    const failed = ticket !== undefined && binding.ticketEnd(ticket, spare);
    ticket = undefined;
    return failed;
  };
  try {
    const given = callee.convert(args, scope);
    const result = callee.inMemory ? scope.take(callee.declaration.info.result.size) : undefined;
    if (result !== undefined) given.unshift(result.address);
    const { call, fillers } = callee.inFlight(scope.lent);
    ticket = answered(binding.ticketTake(), `call ${callee.name} asynchronously`, 'tickets');
    /* koffi completes at once, with an error, when it refuses an argument. */
    const complete = (failure: unknown, value: unknown): void => {
      let error = failure;
      let final: unknown;
      if (takeTicket()) {
        const record = wholeRecord(spare);
        spare = new Uint8Array(RECORD_BYTES);
        error = callee.host.tell(atSite(callee.host.makeError(record, callee, args), site));
      } else if (error === null) {
        try {
          final = callee.decode(value, result?.address, scope);
        } catch (thrown) {
          error = callee.decodeFailed(thrown, args, entry, site);
        }
      }
      scope.release();
      if (error === null) done(null, final);
      else done(error);
    };
    call.async(...given, ...fillers, ticket, complete);
  } catch (error) {
    takeTicket();
    scope.release();
    throw error;
  }
}
