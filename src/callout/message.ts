/**
 * The message of a CalloutError, from the fault record alone. It is made for every fault, looked at or not: so it reads
 * words and joins strings, looks nothing up, and allocates no more than it must.
 */
import { basename } from 'node:path';

import { binding } from './binding.js';
import { shortage } from './failure.js';
import { siCodeName, signalName } from './names.js';
import { FaultFlag, FaultRecord } from './record.js';
import type { CopiedRecord } from './thread.js';

/** What was called. */
export interface Called {
  readonly name: string;
  readonly library: string | undefined;
  /** The beginning of its messages, once it has failed. */
  title?: string;
}

const AT = binding.recordLayout;
const WORD = 4;
const HIGH = 2 ** 32;

const ACCESS = ['', ' read of 0x', ' write to 0x', ' execute at 0x'] as const;
const PHASE = ['', ', while loading or unloading', ', decoding what it left behind'] as const;

/* 'SIGSEGV (SEGV_MAPERR)', by signal and code: a program meets few. */
const names = new Map<number, string>();

function nameOf(signal: number, code: number): string {
  const key = signal * HIGH + (code >>> 0);
  let name = names.get(key);
  if (name === undefined) {
    name = `${signalName(signal)} (${siCodeName(signal, code)})`;
    names.set(key, name);
  }
  return name;
}

/* Addresses of user space are exact as numbers. */
function hex(words: Uint32Array, at: number): string {
  const low = words[at] as number;
  const high = words[at + 1] as number;
  return high < 0x20_0000 ? (high * HIGH + low).toString(16) : ((BigInt(high) << 32n) | BigInt(low)).toString(16);
}

/** One line. */
export function describeFault(copy: CopiedRecord, called: Called): string {
  const { words } = copy;
  const start = copy.offset / WORD;
  const at = (offset: number): number => words[start + offset / WORD] as number;
  const signal = at(AT.signal);
  called.title ??=
    `exception in FFI call: ${called.name}` + (called.library === undefined ? '' : ` (${basename(called.library)})`);
  if (signal === 0) {
    const record = new FaultRecord(copy.bytes, copy.offset);
    return `${called.title}: not called, ${shortage(record.code, record.address)}`;
  }
  const flags = at(AT.flags);
  const kind =
    flags === 0
      ? ': '
      : (flags & FaultFlag.stackOverflow) !== 0
        ? ': stack overflow, '
        : (flags & FaultFlag.unwind) !== 0
          ? ': unwound into the gate (C++ throw, thread exit or cancellation), '
          : ': ';
  const access = at(AT.access);
  return (
    called.title +
    PHASE[at(AT.phase)] +
    kind +
    nameOf(signal, at(AT.code) | 0) +
    (access === 0 ? '' : (ACCESS[access] as string) + hex(words, start + AT.address / WORD)) +
    (at(AT.spaceFound) === 0 ? '' : inSpace(copy)) +
    ', pc 0x' +
    hex(words, start + AT.pc / WORD)
  );
}

function inSpace(copy: CopiedRecord): string {
  const record = new FaultRecord(copy.bytes, copy.offset);
  return ` in space '${record.spaceName}' +0x${record.spaceOffset.toString(16)}`;
}
