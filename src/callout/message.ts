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
/* Fields, in words. */
const SIGNAL = AT.signal / WORD;
const CODE = AT.code / WORD;
const ACCESSED = AT.access / WORD;
const ADDRESS = AT.address / WORD;
const PC = AT.pc / WORD;
const FLAGS = AT.flags / WORD;
const PHASED = AT.phase / WORD;
const SPACE = AT.spaceFound / WORD;
const HIGH = 2 ** 32;
const SIGSYS = 31;

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

/* A program faults at few instructions, again and again: the last one's text is kept. */
const last = { low: 0, high: 0, text: '0' };

function pcText(words: Uint32Array, at: number): string {
  const low = words[at] as number;
  const high = words[at + 1] as number;
  if (low !== last.low || high !== last.high) {
    last.text = hex(low, high);
    last.low = low;
    last.high = high;
  }
  return last.text;
}

/* Addresses of user space are exact as numbers. */
function hex(low: number, high: number): string {
  return high < 0x20_0000 ? (high * HIGH + low).toString(16) : ((BigInt(high) << 32n) | BigInt(low)).toString(16);
}

/** One line. */
export function describeFault(copy: CopiedRecord, called: Called): string {
  const { words } = copy;
  const start = copy.offset / WORD;
  const signal = words[start + SIGNAL] as number;
  const title = (called.title ??= titleOf(called));
  if (signal === 0) {
    const record = new FaultRecord(copy.bytes, copy.offset);
    return `${title}: not called, ${shortage(record.code, record.address)}`;
  }
  const access = words[start + ACCESSED] as number;
  const address =
    access === 0
      ? ''
      : (ACCESS[access] as string) + hex(words[start + ADDRESS] as number, words[start + ADDRESS + 1] as number);
  return (
    title +
    (PHASE[words[start + PHASED] as number] as string) +
    kindOf(words[start + FLAGS] as number) +
    nameOf(signal, (words[start + CODE] as number) | 0) +
    address +
    (words[start + SPACE] === 0 ? '' : inSpace(copy)) +
    (signal === SIGSYS ? inCall(copy) : '') +
    ', pc 0x' +
    pcText(words, start + PC)
  );
}

function titleOf(called: Called): string {
  const library = called.library === undefined ? '' : ` (${basename(called.library)})`;
  return `exception in FFI call: ${called.name}${library}`;
}

function kindOf(flags: number): string {
  if ((flags & FaultFlag.stackOverflow) !== 0) return ': stack overflow, ';
  return (flags & FaultFlag.unwind) === 0 ? ': ' : ': unwound into the gate (C++ throw, thread exit or cancellation), ';
}

function inCall(copy: CopiedRecord): string {
  const call = new FaultRecord(copy.bytes, copy.offset).systemCall;
  if (call === undefined) return '';
  return ` for ${call.name}(${call.arguments.map((word) => `0x${word.toString(16)}`).join(', ')})`;
}

function inSpace(copy: CopiedRecord): string {
  const record = new FaultRecord(copy.bytes, copy.offset);
  return ` in space '${record.spaceName}' +0x${record.spaceOffset.toString(16)}`;
}
