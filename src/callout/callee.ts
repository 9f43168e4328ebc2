/**
 * One guarded function: its thunks, the plain prototype that koffi calls them by, and what becomes of arguments,
 * results and faults. The JavaScript function that users call is made in function.ts.
 */
import { type ArgumentHost, CallScope, type Converter, converterOf, type Need, needOf } from './arguments.js';
import { ThunkFlag } from './binding.js';
import { DecodeFault } from './decode.js';
import { at, atSite, type Called, type CalloutError, type CallSite } from './error.js';
import { ffi, type ForeignFunction, type Parameter, prepareKoffi, type Type } from './koffi.js';
import { type Fix, plainOf } from './plain.js';
import { type Declaration, variadicParameter } from './prototype.js';
import { returnedInMemory, stackBytes } from './signature.js';
import { type CopiedRecord, takeFault, threadRecord } from './thread.js';

/** What a callee needs of its guard. */
export interface CalleeHost extends ArgumentHost {
  /** A thunk that the guard releases when it closes. */
  thunk(target: bigint, stackBytes: number, flags: number, isPrivate: boolean): bigint;
  /** Makes the error, without a stack. */
  makeError(record: CopiedRecord, called: Called, args: readonly unknown[]): CalloutError;
  /** Tells the guard's listeners, once the error has its stack. */
  tell(error: CalloutError): CalloutError;
}

export type Entry = (...args: never[]) => unknown;
type Raw = (...args: unknown[]) => unknown;

/** A private thunk with koffi's callable on it: for one asynchronous call at a time. */
export interface PrivateThunk {
  readonly code: bigint;
  readonly call: ForeignFunction;
  readonly lent: boolean;
}

export class Callee implements Called {
  readonly declaration: Declaration;
  readonly name: string;
  readonly library: string | undefined;
  readonly parameters: readonly Parameter[];
  readonly needs: readonly Need[];
  /** Turns koffi's plain result into the value; `undefined` if there is nothing to do. */
  readonly fix: Fix | undefined;
  /** The result goes through a hidden pointer: passed as an explicit first argument, to memory of ours. */
  readonly inMemory: boolean;
  readonly host: CalleeHost;
  readonly #address: bigint;
  readonly #flags: number;
  readonly #converters: readonly (Converter | undefined)[];
  readonly #plain: Type;
  readonly #raws = new Map<string, Raw>();
  readonly #idle: { readonly closed: PrivateThunk[]; readonly lent: PrivateThunk[] } = { closed: [], lent: [] };
  #gone: string | undefined;

  constructor(host: CalleeHost, declaration: Declaration, address: bigint, library: string | undefined) {
    const { result, arguments: parameters } = declaration.info;
    prepareKoffi();
    this.host = host;
    this.declaration = declaration;
    this.name = declaration.name;
    this.library = library;
    this.parameters = parameters;
    this.needs = parameters.map(needOf);
    this.#converters = parameters.map((parameter, index) =>
      this.needs[index] === 'none' ? undefined : converterOf(parameter),
    );
    this.inMemory = returnedInMemory(result);
    const plain = plainOf(result);
    this.fix = plain.fix;
    this.#address = address;
    this.#flags = declaration.options.canFail === true ? ThunkFlag.canFail : 0;
    const specs = parameters.map(({ type, direction }) =>
      direction === 'Input' ? type : direction === 'Output' ? ffi.out(type) : ffi.inout(type),
    );
    this.#plain = ffi.proto(this.inMemory ? 'void' : plain.type, [
      ...(this.inMemory ? ['void *'] : []),
      ...specs,
      ...(declaration.variadic ? ['...'] : []),
    ]);
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
      const code = this.host.thunk(this.#address, bytes, this.#flags | (lent ? ThunkFlag.lent : 0), false);
      raw = ffi.decode(code, this.#plain) as Raw;
      this.#raws.set(key, raw);
    }
    return raw;
  }

  /** From now on calls fail with `reason`. */
  retire(reason: string): void {
    this.#gone = reason;
  }

  takePrivate(lent: boolean): PrivateThunk {
    if (this.#gone !== undefined) throw new Error(this.#gone);
    const idle = (lent ? this.#idle.lent : this.#idle.closed).pop();
    if (idle !== undefined) return idle;
    const bytes = stackBytes(
      this.declaration.info.result,
      this.parameters.map((parameter) => parameter.type),
    );
    const code = this.host.thunk(this.#address, bytes, this.#flags | (lent ? ThunkFlag.lent : 0), true);
    return { code, call: ffi.decode(code, this.#plain) as ForeignFunction, lent };
  }

  givePrivate(thunk: PrivateThunk): void {
    (thunk.lent ? this.#idle.lent : this.#idle.closed).push(thunk);
  }

  /** Any call: converts, calls, decodes. Throws CalloutError; what koffi and callbacks throw passes through. */
  call(args: readonly unknown[], entry: Entry): unknown {
    this.checkCount(args.length);
    const scope = new CallScope(this.host, false);
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

  /** koffi's complaint about too few arguments. */
  checkCount(count: number): void {
    if (count < this.parameters.length) {
      throw new TypeError(
        `Expected ${this.parameters.length} arguments${this.declaration.variadic ? ' or more' : ''}, got ${count}`,
      );
    }
  }

  /** Arguments as koffi is to have them. Beyond the declared ones: pairs of type and value. */
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

  /** What the call left, as koffi would have given it. Throws DecodeFault. */
  decode(value: unknown, resultAddress: bigint | undefined, scope: CallScope): unknown {
    scope.finish();
    if (resultAddress !== undefined) return this.host.reader.fromOwn(resultAddress, 0, this.declaration.info.result);
    return this.fix === undefined ? value : this.fix(value, this.host.reader);
  }

  /** The error for the fault this thread's record holds; without a stack, and nobody told. */
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
