/**
 * The JavaScript function for a callee. Where every argument is plain, the function is written for its signature: fixed
 * arity, no closure, no loop, no array on the way. It costs a single comparison more than a bare koffi call. It is
 * written as source, so that each function has type feedback of its own and V8 can call koffi's function directly.
 */
import { asyncCall, promisedCall } from './async.js';
import type { Callee } from './callee.js';
import type { PrototypeInfo } from './koffi.js';
import { threadRecord } from './thread.js';
import { Loan } from './vm.js';

/** A function whose type the user has not given. */
export type AnyFunction = (...args: never[]) => unknown;
export type UntypedFunction = (...args: unknown[]) => unknown;

/**
 * A guarded function: koffi's surface, and `promise`. Throws CalloutError when the callee faults or leaves a wild
 * pointer behind.
 */
export type GuardedFunction<F extends AnyFunction = UntypedFunction> = F & {
  /** As koffi's: the last argument is `(error, result)`. Not for variadic functions. */
  readonly async: (...args: unknown[]) => void;
  /** The same as a promise. */
  readonly promise: (...args: Parameters<F>) => Promise<ReturnType<F>>;
  readonly info: PrototypeInfo;
};

interface Written {
  readonly call: UntypedFunction;
  readonly replace: (raw: UntypedFunction) => void;
}

/** The function users call, and how to end its life. */
export interface MadeFunction {
  readonly call: GuardedFunction;
  retire(reason: string): void;
}

export function makeFunction(callee: Callee): MadeFunction {
  const written =
    callee.declaration.variadic || callee.inMemory || callee.needs.includes('convert')
      ? general(callee)
      : direct(callee);
  const { call } = written;
  Object.defineProperty(call, 'name', { value: callee.name, configurable: true });
  const extra: Record<string, unknown> = { info: callee.declaration.info };
  if (!callee.declaration.variadic) {
    extra['async'] = function async(...args: unknown[]): void {
      asyncCall(callee, args, async);
    };
    extra['promise'] = function promise(...args: unknown[]): Promise<unknown> {
      return promisedCall(callee, args, promise);
    };
  }
  return {
    call: Object.assign(call, extra) as unknown as GuardedFunction,
    retire(reason) {
      callee.retire(reason);
      written.replace(() => {
        throw new Error(reason);
      });
    },
  };
}

function general(callee: Callee): Written {
  const call: UntypedFunction = (...args) => callee.call(args, call);
  return { call, replace: () => undefined };
}

function direct(callee: Callee): Written {
  const count = callee.parameters.length;
  const names = Array.from({ length: count }, (_, index) => `a${index}`);
  const list = names.join(', ');
  const loans = names.filter((_, index) => callee.needs[index] === 'loan');
  const loanTest = loans.map((name) => `special(${name})`).join(' || ');
  const source = `'use strict';
    const { fix } = callee;
    /* Functions on their own, not methods: V8 gives a function that has only ever thrown no type feedback, and without
       it each look-up of a property costs, and an array is made by a call into V8. */
    const failed = (...args) => callee.failed(args);
    const { tell } = callee.host;
    const { calls } = callee.host;
    const { captureStackTrace } = Error;
    /* A loan, or a buffer that may be detached: its length reads 0. */
    const special = (value) =>
      value instanceof Loan || (value !== null && typeof value === 'object' && value.byteLength === 0);
    const call = function (${list}) {
      ${count > 0 ? `if (arguments.length < ${count}) callee.checkCount(arguments.length);` : ''}
      ${loans.length > 0 ? `if (${loanTest}) return callee.call([${list}], call);` : ''}
      ${callee.host.calls === undefined ? '' : 'calls[0]++;'}
      let value;
      try {
        value = raw(${list});
      } catch (error) {
        throw callee.thrown(error, [${list}], call);
      }
      if (record[0] !== 0) {
        const error = failed(${list});
        captureStackTrace(error, call);
        throw tell(error);
      }
      ${
        callee.fix === undefined
          ? 'return value;'
          : `try {
        return fix(value, callee.host.reader);
      } catch (error) {
        throw callee.decodeFailed(error, [${list}], call);
      }`
      }
    };
    return { call, replace(other) { raw = other; } };`;
  try {
    // oxlint-disable-next-line typescript/no-implied-eval -- ours: a prototype gives names and numbers alone
    const write = new Function('callee', 'raw', 'record', 'Loan', source) as (
      callee: Callee,
      raw: UntypedFunction,
      record: Uint32Array,
      loan: typeof Loan,
    ) => Written;
    return write(callee, callee.raw(false), threadRecord, Loan);
  } catch (error) {
    if (error instanceof EvalError) return general(callee); /* --disallow-code-generation-from-strings */
    throw error;
  }
}
