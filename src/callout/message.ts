/**
 * The message of a CalloutError, from the fault record alone. It is made for every fault, looked at or not. So it reads
 * words and joins strings, looks nothing up, and allocates no more than it must.
 */
import { basename } from 'node:path';

import { shortage } from './failure.js';
import { siCodeName, signalName } from './names.js';
import { type CopiedRecord, FaultFlag, FaultRecord, recordLayout as AT, WORD } from './record.js';

/** A message up to the address, and the fields that it says. */
interface Beginning {
  readonly key: number;
  readonly code: number;
  readonly text: string;
}

/** What was called. */
export interface Called {
  readonly name: string;
  readonly library: string | undefined;
  /** How the message of its last failure began. */
  beginning?: Beginning | undefined;
}

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

/* A program faults at few instructions, again and again: the last one's text is kept. */
const last = { low: 0, high: 0, text: ', pc 0x0' };

function pcText(words: Uint32Array, at: number): string {
  const low = words[at] as number;
  const high = words[at + 1] as number;
  if (low !== last.low || high !== last.high) {
    last.text = `, pc 0x${hex(low, high)}`;
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
  const { words, start } = copy;
  const signal = words[start + SIGNAL] as number;
  if (signal === 0) {
    const record = new FaultRecord(copy);
    return `${titleOf(called)}: not called, ${shortage(record.code, record.address)}`;
  }
  const access = words[start + ACCESSED] as number;
  return (
    beginningOf(words, start, called) +
    (access === 0 ? '' : hex(words[start + ADDRESS] as number, words[start + ADDRESS + 1] as number)) +
    (words[start + SPACE] === 0 ? '' : inSpace(copy)) +
    (signal === SIGSYS ? inCall(copy) : '') +
    pcText(words, start + PC)
  );
}

/* A callee fails in one way, most often: its last beginning is kept. */
function beginningOf(words: Uint32Array, start: number, called: Called): string {
  const signal = words[start + SIGNAL] as number;
  const code = (words[start + CODE] as number) | 0;
  const phase = words[start + PHASED] as number;
  const flags = words[start + FLAGS] as number;
  const access = words[start + ACCESSED] as number;
  const key = signal | (access << 8) | (phase << 12) | (flags << 16);
  const known = called.beginning;
  if (known?.key === key && known.code === code) return known.text;
  const text =
    titleOf(called) +
    (PHASE[phase] as string) +
    kindOf(flags) +
    `${signalName(signal)} (${siCodeName(signal, code)})` +
    (ACCESS[access] as string);
  called.beginning = { key, code, text };
  return text;
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
  const call = new FaultRecord(copy).systemCall;
  if (call === undefined) return '';
  return ` for ${call.name}(${call.arguments.map((word) => `0x${word.toString(16)}`).join(', ')})`;
}

function inSpace(copy: CopiedRecord): string {
  const record = new FaultRecord(copy);
  return ` in space '${record.spaceName}' +0x${record.spaceOffset.toString(16)}`;
}
