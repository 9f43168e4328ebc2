/**
 * The program of a campaign on Node itself. It runs in a guarded Node and is called by turnkey's own tools alone. It
 * sets up what a program has, and calls foreign code once. Everything after that call happens in a fork of this process
 * (native/campaign/node.c), once for each fault. The fork reports what came of the call, and does fixed work.
 *
 * It trusts its memory, as programs do. It uses one thread and no event loop: a fork has neither.
 */
import { createHash } from 'node:crypto';
import { readSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { deflateSync, inflateSync } from 'node:zlib';

import type { ffi } from '../callout/koffi.js';

/** The program's own koffi, which is guarded; src/callout's is the one that guards. */
const koffi = createRequire(import.meta.url)('koffi') as typeof ffi;

const [, , path = ''] = process.argv;
const gc = (globalThis as unknown as { readonly gc: (how?: { readonly type: 'minor' }) => void }).gc;

/** As in native/campaign/order.h. */
const EVENT = { returned: 4, unit: 5, done: 6, caught: 7 } as const;
const EVENT_BYTES = 64;

const addon = { exports: {} as { readonly serve: () => void; readonly end: () => void } };
process.dlopen(addon, path);
const library = koffi.load(path);
const compareType = koffi.proto('int node_compare(const uint64_t *a, const uint64_t *b)');
const againType = koffi.proto('void node_nested()');
const job = library.func(
  'uint64_t node_job(void *lent, uint32_t bytes, node_compare *compare, node_nested *again, int stray)',
);
const again = library.func('void node_again()');
const isLate = library.func('int node_is_late()');
const pipe = library.func('int node_pipe(int which)');

interface Row {
  readonly key: number;
  readonly text: string;
  readonly next: Row | undefined;
  value: number;
}

/** What the program lives on: objects that point to each other, tables, text, bytes, code. */
const rows: Row[] = [];
for (let key = 0; key < 600; key++)
  rows.push({ key, text: `row ${key} of the table`, next: rows[key >> 1], value: key * key + 7 });
const byText = new Map(rows.map((row) => [row.text, row]));
const groups = new Set(rows.filter(({ key }) => key % 7 === 0));
const numbers = Array.from({ length: 400 }, (_, at) => at / 3);
const bytes = Buffer.from(rows.map(({ text }) => text).join('\n'));
const closures = Array.from({ length: 50 }, (_, by) => (value: number) => value * by + (rows[by]?.value ?? 0));
const lent = Buffer.alloc(1024, 'what a program lends ');
const event = Buffer.alloc(EVENT_BYTES);

let events = -1;

function tell(kind: number, unit: number, answer: number, error?: unknown): void {
  event.fill(0);
  event.writeInt32LE(kind, 0);
  event.writeInt32LE(unit, 4);
  const fault = error as { errorCode?: unknown; siCode?: unknown; pkey?: unknown; address?: unknown; pc?: unknown };
  if (error !== undefined && typeof fault.errorCode === 'number') {
    event.writeInt32LE(fault.errorCode, 8);
    event.writeInt32LE(typeof fault.siCode === 'number' ? fault.siCode : 0, 12);
    event.writeInt32LE(typeof fault.pkey === 'number' ? fault.pkey : -1, 16);
    event.writeBigUInt64LE(typeof fault.address === 'bigint' ? fault.address : 0n, 32);
    event.writeBigUInt64LE(typeof fault.pc === 'bigint' ? fault.pc : 0n, 40);
  } else if (error !== undefined) event.writeInt32LE(1, 20);
  event.writeBigUInt64LE(BigInt(answer), 48);
  event.writeBigUInt64LE(process.hrtime.bigint(), 56);
  writeSync(events, event);
}

/** Adds to a sum of 32 bits. */
const add = (sum: number, value: number): number => (Math.imul(sum, 31) + (value | 0)) | 0;

function walk(): number {
  let sum = 17;
  for (const row of rows) {
    sum = add(sum, row.value + row.text.length);
    sum = add(sum, row.next === undefined ? row.key : row.next.key + row.text.charCodeAt(row.text.length >> 1));
  }
  for (const [text, row] of byText) sum = add(sum, text === row.text ? row.key : -1);
  for (const row of groups) sum = add(sum, row.value);
  for (const number of numbers) sum = add(sum, number * 3);
  for (const [at, closure] of closures.entries()) sum = add(sum, closure(at));
  return add(
    sum,
    bytes.reduce((all, byte) => all + byte, 0),
  );
}

function churn(): number {
  let sum = 1;
  let kept: { readonly text: string; readonly before: unknown } | undefined;
  for (let at = 0; at < 1000; at++) {
    const item = { text: `${at}-${sum}`, before: at % 50 === 0 ? undefined : kept };
    kept = item;
    sum = add(sum, item.text.length);
  }
  return sum;
}

let calls = 0;
/** What a callback of the callee's is for. */
let state: 'serve' | 'trial' | 'after' = 'after';

function compare(a: unknown, b: unknown): number {
  const [x, y] = [Number(koffi.decode(a, 'uint64_t')), Number(koffi.decode(b, 'uint64_t'))];
  calls++;
  return x < y ? -1 : Number(x > y);
}
const compareCallback = koffi.register(compare, koffi.pointer(compareType));
const againCallback = koffi.register(() => {
  if (state === 'serve') {
    state = 'trial';
    addon.exports.serve(); // returns in every trial
  } else if (state === 'trial') again();
}, koffi.pointer(againType));

function callout(stray: number): number {
  const result = Number(job(lent, lent.length, compareCallback, againCallback, stray));
  return stray === 1 ? result % 2 ** 32 : add(result % 2 ** 32, calls);
}

const UNITS: readonly (() => number)[] = [
  () => add(walk(), churn()),
  () => {
    gc({ type: 'minor' });
    const sorted = rows.map(({ text }) => text).sort();
    lent.fill('again ');
    return add(add(walk(), sorted.join('').length), callout(0) | 0);
  },
  () => {
    // oxlint-disable-next-line typescript/no-implied-eval -- new code is what this unit is about
    const made = new Function('rows', 'return rows.reduce((sum, row) => (sum * 33 + row.value) | 0, 5)') as (
      all: readonly Row[],
    ) => number;
    const text = JSON.stringify(rows.slice(0, 100).map((row) => ({ key: row.key, text: row.text })));
    const back = (JSON.parse(text) as readonly Row[]).length + text.replace(/row (\d+)/g, '<$1>').length;
    const packed = deflateSync(bytes);
    const digest = createHash('sha256').update(inflateSync(packed)).update(text).digest().readUInt32LE(0);
    gc();
    return add(add(add(made(rows), back), digest), walk());
  },
];

// work by which code is compiled, and after which memory is where it will be
for (let round = 0; round < 3; round++) for (const unit of UNITS) unit();
again();
if (isLate() !== 0 || pipe(0) !== -1) throw new Error('there is no trial yet');
gc();
lent.fill('what a program lends ');
calls = 0;

state = 'serve';
let answer = 0;
try {
  answer = callout(1);
  state = 'after';
  events = pipe(0) as number;
  tell(EVENT.returned, -1, answer >>> 0);
} catch (error) {
  state = 'after';
  events = pipe(0) as number;
  tell(EVENT.returned, -1, 0, error);
}
calls = 0;
if (isLate() === 1) {
  const byte = Buffer.alloc(1);
  writeSync(pipe(1) as number, byte);
  readSync(pipe(2) as number, byte);
}
tell(EVENT.unit, -1, answer >>> 0);
let after = 17;
for (const [at, unit] of UNITS.entries()) {
  try {
    after = add(after, unit());
  } catch (error) {
    tell(EVENT.caught, at, 0, error);
  }
  tell(EVENT.unit, at, after >>> 0);
}
tell(EVENT.done, UNITS.length, after >>> 0);
addon.exports.end();
