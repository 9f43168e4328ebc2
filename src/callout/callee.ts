/**
 * One guarded function: its thunks, the plain prototype that koffi calls them by, and what becomes of arguments,
 * results and faults. The JavaScript function that users call is made in function.ts.
 */
import { isMainThread } from 'node:worker_threads';

import { type ArgumentHost, CallScope, type Converter, converterOf, type Need, needOf } from './arguments.js';
import { ThunkFlag } from './binding.js';
import { DecodeFault } from './decode.js';
import { at, atSite, type Called, type CalloutError, type CallSite } from './error.js';
import { ffi, type ForeignFunction, functionAt, type Parameter, type Type, type TypeSpec } from './koffi.js';
import { type Fix, plainOf } from './plain.js';
import { type Declaration, variadicParameter } from './prototype.js';
import type { CopiedRecord } from './record.js';
import { returnedInMemory, stackBytes, ticketPlace } from './signature.js';
import { takeFault, threadRecord } from './thread.js';
import type { InUse } from './vm.js';

/** What a callee needs of its guard. */
export interface CalleeHost extends ArgumentHost {
  /** Whether functions run on a foreign stack unless they say otherwise. */
  readonly foreignStack: boolean;
  /** Where callouts are counted, if they are: one number. */
  readonly calls?: Float64Array;
  /** A thunk that the guard releases when it closes. */
  thunk(target: bigint, stackBytes: number, flags: number): bigint;
  /** Makes the error, without a stack. */
  makeError(record: CopiedRecord, called: Called, args: readonly unknown[]): CalloutError;
  /** Tells the guard's listeners, once the error has its stack. */
  tell(error: CalloutError): CalloutError;
}

export type Entry = (...args: never[]) => unknown;
type Raw = (...args: unknown[]) => unknown;

/** koffi's function for asynchronous calls: what follows the arguments is `fillers`, then the ticket. */
export interface InFlight {
  readonly call: ForeignFunction;
  readonly fillers: readonly number[];
}

export class Callee implements Called {
  readonly declaration: Declaration;
  readonly name: string;
  readonly library: string | undefined;
  beginning?: Called['beginning'];
  readonly parameters: readonly Parameter[];
  readonly needs: readonly Need[];
  /** Turns koffi's plain result into the value; `undefined` if there is nothing to do. */
  readonly fix: Fix | undefined;
  /** The result goes through a hidden pointer: passed as an explicit first argument, to memory of ours. */
  readonly inMemory: boolean;
  readonly host: CalleeHost;
  /** What a call in flight keeps from being given back: the guard, its image, the function's library. */
  readonly uses: readonly InUse[];
  readonly #address: bigint;
  readonly #flags: number;
  readonly #converters: readonly (Converter | undefined)[];
  readonly #plain: { readonly result: TypeSpec; readonly parameters: readonly TypeSpec[] };
  readonly #prototype: Type;
  readonly #raws = new Map<string, Raw>();
  readonly #inFlight: { closed?: InFlight; lent?: InFlight } = {};
  #gone: string | undefined;

  constructor(
    host: CalleeHost,
    declaration: Declaration,
    address: bigint,
    library: string | undefined,
    uses: readonly InUse[],
  ) {
    const { result, arguments: parameters } = declaration.info;
    this.host = host;
    this.uses = uses;
    this.declaration = declaration;
    this.name = declaration.name;
    this.library = library;
    this.parameters = parameters;
    this.needs = parameters.map((parameter) => needOf(parameter, host.lend !== undefined));
    this.#converters = parameters.map((parameter, index) =>
      this.needs[index] === 'none' ? undefined : converterOf(parameter),
    );
    this.inMemory = returnedInMemory(result);
    const plain = plainOf(result);
    this.fix = plain.fix;
    this.#address = address;
    this.#flags =
      (declaration.options.canFail === true ? ThunkFlag.canFail : 0) |
      ((declaration.options.foreignStack ?? host.foreignStack) ? 0 : ThunkFlag.callerStack);
    const specs = parameters.map(({ type, direction }) =>
      direction === 'Input' ? type : direction === 'Output' ? ffi.out(type) : ffi.inout(type),
    );
    this.#plain = {
      result: this.inMemory ? 'void' : plain.type,
      parameters: [...(this.inMemory ? ['void *'] : []), ...specs],
    };
    this.#prototype = ffi.proto(this.#plain.result, [
      ...this.#plain.parameters,
      ...(declaration.variadic ? ['...'] : []),
    ]);
    /*
     * koffi ends the process when a worker is terminated while koffi makes a function. A declaration is such a moment
     * with koffi as well; the first asynchronous call is none.
     */
    if (!isMainThread && !declaration.variadic) this.inFlight(false);
  }

  /**
   * koffi's callable on a shared thunk. `lent`: of calls that are passed a loan. `types`: all arguments' types, if
   * variadic ones are among them.
   */
  raw(lent: boolean, types?: readonly Type[]): Raw {
    if (this.#gone !== undefined) throw new Error(this.#gone);
    const bytes = stackBytes(this.declaration.info.result, types ?? this.parameters.map((parameter) => parameter.type));
    const key = `${lent ? 'lent ' : ''}${bytes}`;
    let raw = this.#raws.get(key);
    if (raw === undefined) {
      const code = this.host.thunk(this.#address, bytes, this.#flags | (lent ? ThunkFlag.lent : 0));
      raw = functionAt(code, this.#prototype);
      this.#raws.set(key, raw);
    }
    return raw;
  }

  /** What the declared arguments take of a stack, in bytes. */
  get stackBytes(): number {
    return stackBytes(
      this.declaration.info.result,
      this.parameters.map((parameter) => parameter.type),
    );
  }

  /** From now on calls fail with `reason`. */
  retire(reason: string): void {
    this.#gone = reason;
  }

  /** For calls on koffi's worker threads: a prototype with a ticket behind the arguments, where the trap finds it. */
  inFlight(lent: boolean): InFlight {
    if (this.#gone !== undefined) throw new Error(this.#gone);
    const known = lent ? this.#inFlight.lent : this.#inFlight.closed;
    if (known !== undefined) return known;
    const place = ticketPlace(
      this.declaration.info.result,
      this.parameters.map((parameter) => parameter.type),
    );
    const flags = this.#flags | ThunkFlag.ticketed | (lent ? ThunkFlag.lent : 0);
    const words = Array.from({ length: place.fillers + 1 }, () => 'int64_t');
    const made: InFlight = {
      call: functionAt(
        this.host.thunk(this.#address, place.stackBytes, flags),
        ffi.proto(this.#plain.result, [...this.#plain.parameters, ...words]),
      ),
      fillers: words.slice(1).map(() => 0),
    };
    this.#inFlight[lent ? 'lent' : 'closed'] = made;
    return made;
  }

  /** Any synchronous call: converts, calls, decodes. Throws CalloutError, and whatever koffi or a callback throws. */
  call(args: readonly unknown[], entry: Entry): unknown {
    this.checkCount(args.length);
    const scope = new CallScope(this.host);
    this.count();
    try {
      const given = this.convert(args, scope);
      const result = this.inMemory ? scope.take(this.declaration.info.result.size) : undefined;
      if (result !== undefined) given.unshift(result.address);
      const raw = this.raw(scope.lent, this.declaration.variadic ? this.#allTypes(args) : undefined);
      let value: unknown;
      try {
        value = raw(...given);
      } catch (error) {
        throw this.thrown(error, args, entry);
      }
      if (threadRecord[0] !== 0) throw this.host.tell(at(this.failed(args), entry));
      try {
        return this.decode(value, result?.address, scope);
      } catch (error) {
        throw this.decodeFailed(error, args, entry);
      }
    } finally {
      scope.release();
    }
  }

  /** Notes one callout, where they are counted. */
  count(): void {
    const { calls } = this.host;
    if (calls !== undefined) calls[0] = (calls[0] ?? 0) + 1;
  }

  /** koffi's complaint about too few arguments. */
  checkCount(count: number): void {
    if (count < this.parameters.length) {
      throw new TypeError(
        `Expected ${this.parameters.length} arguments${this.declaration.variadic ? ' or more' : ''}, got ${count}`,
      );
    }
  }

  /** Arguments as koffi takes them. Beyond the declared ones they are pairs of type and value. */
  convert(args: readonly unknown[], scope: CallScope): unknown[] {
    const given = this.parameters.map((_, index) => {
      const converter = this.#converters[index];
      return converter === undefined ? args[index] : converter(args[index], scope);
    });
    if (this.declaration.variadic) {
      for (let i = this.parameters.length; i < args.length; i += 2) {
        given.push(args[i]);
        if (i + 1 < args.length) given.push(converterOf(variadicParameter(args[i]))(args[i + 1], scope));
      }
    }
    return given;
  }

  /** Decodes what the call left, as koffi would have. Throws DecodeFault. */
  decode(value: unknown, resultAddress: bigint | undefined, scope: CallScope): unknown {
    scope.finish();
    if (resultAddress !== undefined) return this.host.reader.fromOwn(resultAddress, 0, this.declaration.info.result);
    return this.fix === undefined ? value : this.fix(value, this.host.reader);
  }

  /** The error for the fault in this thread's record, without a stack; no listener has been told. */
  failed(args: readonly unknown[]): CalloutError {
    return this.host.makeError(takeFault(), this, args);
  }

  /** koffi threw: a callback's exception, or a wrong argument; unless the callee faulted after that. */
  thrown(error: unknown, args: readonly unknown[], entry: Entry): unknown {
    if (threadRecord[0] === 0) return error;
    const fault = this.failed(args);
    fault.setCallbackError(error);
    return this.host.tell(at(fault, entry));
  }

  /** Decoding threw: a CalloutError if it was a wild pointer. */
  decodeFailed(error: unknown, args: readonly unknown[], entry: Entry, site?: CallSite): unknown {
    if (!(error instanceof DecodeFault)) return error;
    const fault = this.host.makeError(error.record, this, args);
    return this.host.tell(site === undefined ? at(fault, entry) : atSite(fault, site));
  }

  #allTypes(args: readonly unknown[]): Type[] {
    const types = this.parameters.map((parameter) => parameter.type);
    for (let i = this.parameters.length; i < args.length; i += 2) types.push(variadicParameter(args[i]).type);
    return types;
  }
}
