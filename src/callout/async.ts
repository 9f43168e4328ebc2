/**
 * Calls on koffi's worker threads. Each call in flight has a private thunk, with a fault record of its own, read in its
 * completion; what the callee left is decoded there, on this thread.
 */
import { CallScope } from './arguments.js';
import { binding } from './binding.js';
import type { Callee, Entry } from './callee.js';
import { atSite, type CallSite } from './error.js';
import { RECORD_BYTES } from './record.js';
import { wholeRecord } from './thread.js';

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

function start(callee: Callee, args: readonly unknown[], done: Completion, entry: Entry): void {
  const site: CallSite = {};
  Error.captureStackTrace(site, entry);
  const scope = new CallScope(callee.host, true);
  let begun = false;
  try {
    const given = callee.convert(args, scope);
    const result = callee.inMemory ? scope.take(callee.declaration.info.result.size) : undefined;
    if (result !== undefined) given.unshift(result.address);
    const thunk = callee.takePrivate(scope.lent);
    const complete = (failure: unknown, value: unknown): void => {
      const record = new Uint8Array(RECORD_BYTES);
      const faulted = binding.thunkFault(thunk.code, record);
      callee.givePrivate(thunk);
      let error: unknown = faulted
        ? callee.host.tell(atSite(callee.host.makeError(wholeRecord(record), callee, args), site))
        : failure;
      let final: unknown;
      if (error === null) {
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
    begun = true; /* koffi completes at once, with an error, when it refuses an argument */
    try {
      thunk.call.async(...given, complete);
    } catch (error) {
      begun = false;
      callee.givePrivate(thunk);
      throw error;
    }
  } finally {
    if (!begun) scope.release();
  }
}
