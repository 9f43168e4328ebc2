/**
 * CalloutError: what a failed callout throws. The record is copied when the fault comes; everything else (message,
 * symbols, suspect) is worked out when somebody asks, so that a fault costs little.
 */
import { basename } from 'node:path';
import { inspect, type InspectOptions } from 'node:util';

import { type Called, describeFault } from './message.js';
import { type Epoch, epoch, locate, type Location } from './modules.js';
import { siCodeName, signalName } from './names.js';
import {
  type Access,
  type CopiedRecord,
  FaultFlag,
  FaultRecord,
  type Phase,
  type RegisterName,
  type SystemCall,
} from './record.js';

/** Where the fault seems to have left a lock held or a structure half changed. */
export type Suspect = 'allocator' | 'loader' | 'stdio';

/** 'protected': still denied at the fault. 'intact', 'damaged': compared with the snapshot. 'unknown': neither. */
export type ImageState = 'protected' | 'intact' | 'damaged' | 'unknown';

/** What the guard knows of the image when a callout fails. */
export interface ImageWitness {
  /** Whether `mechanism` keeps the image closed throughout a callout, on all threads. */
  readonly protects: boolean;
  /** Compares with the snapshot: bytes that differ; `undefined` without image or snapshot. */
  compare(): number | undefined;
}

export type { Called } from './message.js';

/** Whose callout it was. */
export interface CalledBy {
  readonly mechanism: string;
  readonly image: ImageWitness;
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

const ALLOCATOR =
  /^(__libc_)?(malloc|free|calloc|realloc|reallocarray|memalign|aligned_alloc|posix_memalign|valloc|pvalloc|cfree|malloc_\w+|_int_\w+)$/;
const STDIO =
  /^(_IO_\w+|v?[fsd]?n?printf\w*|__\w*printf_chk|v?f?w?scanf\w*|f?puts\w*|f?put[cw]\w*|fwrite\w*|fread\w*|f?get[cs]\w*|fflush\w*|fopen\w*|fclose|fseek\w*|perror)$/;
const LOADER_SYMBOL = /^(_?dl\w+|__libc_dlopen\w*)$/;
const LOADER_MODULE = /^ld(-linux|-\d|64)/;

/** Properties that `toJSON` and inspection show, in this order. */
const SHOWN = [
  'errorName',
  'errorCode',
  'pc',
  'code',
  'phase',
  'signal',
  'siCode',
  'siCodeName',
  'address',
  'access',
  'pkey',
  'space',
  'spaceOffset',
  'symbol',
  'symbolOffset',
  'module',
  'moduleOffset',
  'function',
  'library',
  'threadId',
  'depth',
  'mechanism',
  'suspect',
  'image',
  'stackOverflow',
  'aborted',
  'unwound',
] as const;

/* What an error is made of; the lower half is worked out when asked. */
interface State {
  readonly copy: CopiedRecord;
  readonly called: Called;
  readonly arguments: readonly unknown[];
  readonly guard: CalledBy;
  readonly epoch: Epoch;
  view: FaultRecord | undefined;
  location: Location | null | undefined;
  suspect: Suspect | null | undefined;
  image: ImageState | undefined;
  callbackError: unknown;
}

/** A callout that did not come back: its callee faulted, or left a wild pointer behind (phase 'decode'). */
export class CalloutError extends Error {
  static {
    Object.defineProperty(this.prototype, 'name', { value: 'CalloutError', writable: true, configurable: true });
  }

  /* One private field: V8 gives an object that has a stack a slow form, in which every field costs. */
  readonly #state: State;

  /**
   * One line: what was called, what happened, where. An own property, as the stack is: these two, and `cause`, are all
   * that structuredClone and postMessage take along. `symbol` and `module` are looked up when somebody asks.
   */
  declare message: string;

  /** @internal Made by a guard only. */
  constructor(state: State, message: string) {
    super(message);
    this.#state = state;
  }

  /** As in Cog. */
  get errorName(): 'exception in FFI call' {
    return 'exception in FFI call';
  }
  /** Signal number. */
  get errorCode(): number {
    return this.record.signal;
  }
  /** Address of the faulting instruction (for traps, as the kernel reported it). */
  get pc(): bigint {
    return this.record.pc;
  }

  /** 'ERR_CALLOUT_REFUSED': the call was not made, for want of memory or a thread slot; `signal` is 0 then. */
  get code(): 'ERR_CALLOUT_FAULT' | 'ERR_CALLOUT_REFUSED' {
    return this.record.signal === 0 ? 'ERR_CALLOUT_REFUSED' : 'ERR_CALLOUT_FAULT';
  }
  /** 'load': constructors and destructors; 'call': the function itself; 'decode': reading what it left behind. */
  get phase(): Phase {
    return this.record.phase;
  }
  /** 'SIGSEGV' and so on. */
  get signal(): string {
    return signalName(this.record.signal);
  }
  get siCode(): number {
    return this.record.code;
  }
  /** 'SEGV_PKUERR' and so on. */
  get siCodeName(): string {
    return siCodeName(this.record.signal, this.record.code);
  }
  /** What was accessed. 0 with access 'unknown': a general-protection fault (a non-canonical address, say). */
  get address(): bigint {
    return this.record.address;
  }
  get access(): Access {
    return this.record.access;
  }
  /** Protection key of the page, where the kernel told. */
  get pkey(): number | undefined {
    return this.record.pkey < 0 ? undefined : this.record.pkey;
  }
  /** Name of the space that `address` lies in. */
  get space(): string | undefined {
    return this.record.inSpace ? this.record.spaceName : undefined;
  }
  /** Key of that space at the fault; 0: its pages were closed by their access. A virtual key changes. */
  get spaceKey(): number | undefined {
    return this.record.inSpace ? this.record.spaceKey : undefined;
  }
  get spaceOffset(): bigint | undefined {
    return this.record.inSpace ? this.record.spaceOffset : undefined;
  }
  /** Function that `pc` lies in, if its module has a symbol for it. */
  get symbol(): string | undefined {
    return locationOf(this, this.#state)?.symbol;
  }
  get symbolOffset(): bigint | undefined {
    return locationOf(this, this.#state)?.symbolOffset;
  }
  /** Path of the module that `pc` lies in. */
  get module(): string | undefined {
    return locationOf(this, this.#state)?.module;
  }
  get moduleOffset(): bigint | undefined {
    return locationOf(this, this.#state)?.moduleOffset;
  }
  /** Name of the function that was called. */
  get function(): string {
    return this.#state.called.name;
  }
  /** The library it was found in, as given to `guard.load`. */
  get library(): string | undefined {
    return this.#state.called.library;
  }
  /** Arguments as passed. */
  get arguments(): readonly unknown[] {
    return this.#state.arguments;
  }
  /** Kernel thread id. */
  get threadId(): number {
    return this.record.threadId;
  }
  /** Nesting depth of the failed callout, from 1. */
  get depth(): number {
    return this.record.depth;
  }
  get mechanism(): string {
    return this.#state.guard.mechanism;
  }
  get stackOverflow(): boolean {
    return (this.record.flags & FaultFlag.stackOverflow) !== 0;
  }
  /** The callee called abort(), or a check of its own did (stack protector, fortify, the allocator). */
  get aborted(): boolean {
    return (this.record.flags & FaultFlag.abort) !== 0;
  }
  /** The callee tried to unwind through the gate: C++ throw, pthread_exit, cancellation. */
  get unwound(): boolean {
    return (this.record.flags & FaultFlag.unwind) !== 0;
  }
  /** The system call that raised SIGSYS, with its arguments: one that the filter refused. */
  get systemCall(): SystemCall | undefined {
    return this.record.systemCall;
  }
  /** Register values at the fault. */
  get registers(): Readonly<Record<RegisterName, bigint>> {
    return this.record.registers;
  }
  /** What the trap recorded, undecorated. */
  get record(): FaultRecord {
    const state = this.#state;
    return (state.view ??= new FaultRecord(state.copy));
  }
  /** What a JavaScript callback of this callout had thrown before the callee faulted. */
  get callbackError(): unknown {
    return this.#state.callbackError;
  }

  /** Whose code was on the foreign stack; its locks may still be held. */
  get suspect(): Suspect | undefined {
    const state = this.#state;
    if (state.suspect === undefined) state.suspect = findSuspect(this, state.epoch) ?? null;
    return state.suspect ?? undefined;
  }

  /**
   * 'protected' if the mechanism held until the fault; 'intact' or 'damaged' once a comparison was made: at the fault,
   * if the guard was made with `compare: true`, or by {@link compareImage}. It is never compared behind your back
   * later: the VM may have written since.
   */
  get image(): ImageState {
    return (
      this.#state.image ?? (this.#state.guard.image.protects && this.record.mechanismHeld ? 'protected' : 'unknown')
    );
  }

  /** Compares the image with its snapshot now. Only meaningful while the VM has not written to it since the callout. */
  compareImage(): ImageState {
    const differing = this.#state.guard.image.compare();
    if (differing !== undefined) this.#state.image = differing === 0 ? 'intact' : 'damaged';
    return this.image;
  }

  /** @internal */
  setCallbackError(error: unknown): void {
    this.#state.callbackError = error;
    Object.defineProperty(this, 'cause', { value: error, writable: true, configurable: true });
  }

  /**
   * Plain data, for a log or another thread (`port.postMessage(error.toJSON())`): addresses are '0x…' strings,
   * arguments are shortened, undefined fields are left out. A clone of the error itself has its message, stack and
   * cause alone.
   */
  toJSON(): Record<string, unknown> {
    const result: Record<string, unknown> = { name: this.name, message: this.message, stack: this.stack };
    for (const key of SHOWN) {
      const value: unknown = this[key];
      if (value !== undefined && value !== false) result[key] = typeof value === 'bigint' ? hex(value) : value;
    }
    result['arguments'] = this.arguments.map(describeArgument);
    return result;
  }

  [inspect.custom](_depth: number, options: InspectOptions, show: typeof inspect = inspect): string {
    const fields: Record<string, unknown> = this.toJSON();
    delete fields['name'];
    delete fields['message'];
    delete fields['stack'];
    return `${this.stack ?? this.message} ${show(fields, options)}`;
  }
}

function locationOf(error: CalloutError, state: State): Location | undefined {
  if (state.location === undefined) state.location = locate(error.pc, state.epoch) ?? null;
  return state.location ?? undefined;
}

/*
 * The scan of the stack also meets what dead frames left in the holes of living ones, the loader's above all (lazy
 * binding goes through it). So the faulting function and the called one come first; then the allocator and stdio
 * wherever they are found, and the loader only when nothing else is, save while a library is being loaded.
 */
function findSuspect(error: CalloutError, epochOfFault: Epoch): Suspect | undefined {
  const direct =
    suspectAt(locate(error.pc, epochOfFault)) ??
    (/^libc[.-]/.test(basename(error.library ?? '')) ? suspectNamed(error.function) : undefined);
  if (direct !== undefined) return direct;
  const found = new Set<Suspect>();
  for (const address of error.record.stack) {
    const suspect = suspectAt(locate(address, epochOfFault));
    if (suspect !== undefined) found.add(suspect);
  }
  const order: readonly Suspect[] =
    error.phase === 'load' ? ['loader', 'allocator', 'stdio'] : ['allocator', 'stdio', 'loader'];
  return order.find((suspect) => found.has(suspect));
}

function suspectAt(location: Location | undefined): Suspect | undefined {
  if (location === undefined) return undefined;
  const file = basename(location.module);
  if (LOADER_MODULE.test(file)) return 'loader';
  const { symbol } = location;
  if (symbol === undefined || !/^(libc|libm|libpthread|libdl)[.-]/.test(file)) return undefined;
  return suspectNamed(symbol);
}

function suspectNamed(symbol: string): Suspect | undefined {
  return ALLOCATOR.test(symbol)
    ? 'allocator'
    : STDIO.test(symbol)
      ? 'stdio'
      : LOADER_SYMBOL.test(symbol)
        ? 'loader'
        : undefined;
}

function describeArgument(value: unknown): unknown {
  if (typeof value === 'bigint') return hex(value);
  if (typeof value === 'function') return `[function ${value.name}]`;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer)
    return `[${value.constructor.name} of ${value.byteLength} bytes]`;
  if (typeof value === 'string' && value.length > 200) return `${value.slice(0, 200)}…`;
  if (typeof value === 'object' && value !== null)
    return inspect(value, { depth: 1, breakLength: Infinity, maxStringLength: 100 });
  return value;
}

/** Where an asynchronous callout was made: an object that captured the stack there. */
export interface CallSite {
  readonly stack?: string;
}

/**
 * Makes the error for a copied record, without a stack: {@link at} or {@link atSite} gives it one. Error's own capture
 * is switched off, since it would begin in the guard's own frames and cost as much again.
 */
export function makeCalloutError(
  copy: CopiedRecord,
  called: Called,
  args: readonly unknown[],
  guard: CalledBy,
): CalloutError {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  const state: State = {
    copy,
    called,
    arguments: args,
    guard,
    epoch: epoch(),
    view: undefined,
    location: undefined,
    suspect: undefined,
    image: undefined,
    callbackError: undefined,
  };
  const error = new CalloutError(state, describeFault(copy, called));
  Error.stackTraceLimit = limit;
  return error;
}

/**
 * Gives `error` the stack of `entry`'s caller. To be called from as close to `entry` as can be: each frame between
 * costs.
 */
export function at(error: CalloutError, entry: (...args: never[]) => unknown): CalloutError {
  Error.captureStackTrace(error, entry);
  return error;
}

/** Gives `error` the stack that was captured where an asynchronous call was made. */
export function atSite(error: CalloutError, site: CallSite): CalloutError {
  Object.defineProperty(error, 'stack', {
    configurable: true,
    get: () => `${error.name}: ${error.message}${(site.stack ?? '').replace(/^[^\n]*/, '')}`,
  });
  return error;
}
