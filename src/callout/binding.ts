/** The trap's half of the addon, typed. Addresses are bigint; a record is a Uint8Array of RECORD_BYTES. */
import { type Errno, native } from '../native.js';

/**
 * A module that the loader has mapped. `path` is '' for the program itself; `bias` is added to the file's addresses.
 */
export interface LoadedModule {
  readonly path: string;
  readonly bias: bigint;
  readonly start: bigint;
  readonly end: bigint;
}

export interface TrapStatistics {
  readonly faults: number;
  readonly passedOn: number;
  readonly threadsLive: number;
  readonly threadsEver: number;
  readonly thunksLive: number;
  readonly callbacksLive: number;
  readonly stacksCached: number;
}

/** Handle of a policy cell in the trap. */
export type Policy = bigint;

/** What `T` is answered with, or the negative errno of a failure: `answered` in failure.ts makes the sentence. */
type Or<T> = T | Errno;

/** What a fault record holds, by the names of trap.h (struct trap_fault). */
export type RecordField =
  | 'bytes'
  | 'pending'
  | 'phase'
  | 'signal'
  | 'code'
  | 'address'
  | 'pc'
  | 'access'
  | 'pkey'
  | 'threadId'
  | 'depth'
  | 'function'
  | 'thunk'
  | 'spaceFound'
  | 'spaceImageId'
  | 'spaceOffset'
  | 'spaceName'
  | 'errorCode'
  | 'trapNumber'
  | 'registers'
  | 'pkru'
  | 'flags'
  | 'stackWords'
  | 'mechanismHeld'
  | 'stack'
  | 'spaceKey'
  | 'spaceMoves';

export interface TrapBinding {
  /** Offset of each field of a fault record, in bytes, and the `bytes` of a record. */
  readonly recordLayout: Readonly<Record<RecordField, number>>;
  faultView(): Or<ArrayBuffer>;
  depth(): number;
  rearm(): Errno;
  /** Before Node installs a signal handler: the next rearm() puts those of foreign libraries back in their place. */
  rearmNote(): Errno;
  policyCreate(response: number): Or<Policy>;
  policySet(policy: Policy, response: number): void;
  policyRelease(policy: Policy): void;
  thunk(target: bigint, stackBytes: number, flags: number, policy: Policy | null): Or<bigint>;
  thunkRelease(code: bigint): Errno;
  /** A ticket: the fault record of one call in flight. */
  ticketTake(): number;
  /** Gives a ticket back; true with the fault in `record` if its call failed. */
  ticketEnd(ticket: number, record: Uint8Array): boolean;
  callback(target: bigint, stackBytes: number): Or<bigint>;
  callbackRelease(code: bigint): Errno;
  /** Calls by threads in no callout that have not come back, of a callback that lives or was released. */
  callbackCalls(code: bigint): number;
  copy(destination: Uint8Array, source: bigint, bytes: number, record: Uint8Array): boolean;
  copyString(source: bigint, unitBytes: number, maxUnits: number, record: Uint8Array): string | null | undefined;
  dlopen(path: string | null, flags: number, policy: Policy | null, record: Uint8Array): bigint | string | undefined;
  dlclose(handle: bigint, policy: Policy | null, record: Uint8Array): true | string | undefined;
  dlsym(handle: bigint, name: string): bigint;
  modules(): LoadedModule[];
  setForeignStack(enabled: boolean, bytes: number): Errno;
  /**
   * For measurement only (trap_model in trap.h): callouts of this process that close nothing pay a serialising delay of
   * about so many cycles wherever rights would be written. It protects nothing. Returns the cycles reached, or a
   * negative errno; 0 ends it.
   */
  model(cycles: number): number;
  statistics(): TrapStatistics;
  /** The filter of callees' system calls (filter.h); `rules`: number and verdict, in turn. */
  filterInit(way: number, refusal: number, threads: boolean, code: boolean, rules: Uint32Array): Errno;
  filterStatistics(): { readonly judged: number; readonly refused: number };
  /** A hardware breakpoint at which callees fail (filter.h, trap_watch_code). */
  watchCode(address: bigint): Errno;
  /** Seals the trap's own pages (mseal). */
  seal(): Errno;
  /** Code addresses for native parts of the VM in other modules (trap.h), and where this thread's fault record is. */
  hooks(): { readonly signalEnter: bigint; readonly signalLeave: bigint; readonly faultRecord: bigint };
}

/** Flags of a thunk (enum trap_thunk_flags). */
export const ThunkFlag = {
  canFail: 1,
  lent: 2,
  phaseLoad: 4,
  phaseDecode: 8,
  bare: 16,
  inside: 512,
  callerStack: 64,
  ticketed: 128,
  filter: 256,
} as const;

/** Importing this attaches the thread (I13). */
export const binding = native as unknown as TrapBinding;
