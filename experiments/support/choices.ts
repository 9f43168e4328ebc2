/**
 * What people pick instead of a guard, each doing the same work. The choices are koffi itself, a worker thread, a child
 * process, plain JavaScript, WebAssembly, and programs of C and Java. Plain JavaScript and WebAssembly hold no C
 * library of the system: they have packages of their own for some of the work.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { deflateSync } from 'node:zlib';

import type { Guard } from '../../src/callout/guard.js';
import { ffi } from '../../src/callout/koffi.js';
import type { Order } from './choices-callee.js';
import { type Program, PROGRAMS, startProgram } from './choices-program.js';
import { Unavailable } from './choices-unavailable.js';
import { byLibraries, type Harm, harmByLibraries, INSERTS, plainText, type Work } from './choices-work.js';

/** Choices whose caller is a process of Node's. */
const IN_NODE = ['koffi', 'guard', 'worker thread', 'child process', 'plain JavaScript', 'WebAssembly'] as const;
export type InNode = (typeof IN_NODE)[number];

export const CHOICES = [...IN_NODE, ...PROGRAMS] as const;
export type Choice = (typeof CHOICES)[number];

/** Whether the caller of this choice is a program of its own, which does harm by itself. */
export const isProgram = (choice: Choice): choice is Program => (PROGRAMS as readonly string[]).includes(choice);

/** A choice, ready for one piece of work. */
export interface Ready {
  /** Does it once: at once, or by a message there and back. */
  readonly run: () => number | Promise<number>;
  /** ns of so many times, where a program times itself; the caller of `run` times it otherwise. */
  readonly time?: (times: number) => Promise<number>;
  /** ms that a compiler at run time is given before the timing. */
  readonly warmUpMs?: number;
  readonly stop: () => void;
}

/** A choice whose caller is this process. */
export interface ReadyHere extends Ready {
  /** Does harm as its callee would; answers when the caller has heard of it. */
  readonly harm: (harm: Harm, address: bigint) => unknown;
}

/** What the JVM has to compile what it runs: its last compiler takes the hot loop well before. */
const JAVA_WARM_UP_MS = 2000;

const CALLEE = fileURLToPath(new URL('choices-callee.js', import.meta.url));
const require = createRequire(import.meta.url);

/** A package that only this comparison needs: a devDependency of a checkout, and nothing that a user installs. */
function comparison(name: string): unknown {
  return orUnavailable(name, () => require(name) as unknown);
}

/** Where a file of such a package lies. */
function located(name: string, file: string): string {
  return orUnavailable(name, () => require.resolve(`${name}/${file}`));
}

function orUnavailable<T>(name: string, find: () => T): T {
  try {
    return find();
  } catch {
    throw new Unavailable(`the npm package ${name} is not installed: npm install ${name}`);
  }
}

/** (module (memory 1) (func add …) (func store …) (func abort unreachable)), as WebAssembly's binary format has it. */
const MODULE = Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // magic, version
  ...[1, 15, 3, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, 0x60, 2, 0x7f, 0x7f, 0, 0x60, 0, 0], // types
  ...[3, 4, 3, 0, 1, 2], // functions
  ...[5, 3, 1, 0, 1], // one page of memory
  ...[
    7, 23, 3, 3, 0x61, 0x64, 0x64, 0, 0, 5, 0x73, 0x74, 0x6f, 0x72, 0x65, 0, 1, 5, 0x61, 0x62, 0x6f, 0x72, 0x74, 0, 2,
  ],
  ...[10, 23, 3, 7, 0, 0x20, 0, 0x20, 1, 0x6d, 0x0b, 9, 0, 0x20, 0, 0x20, 1, 0x36, 2, 0, 0x0b, 3, 0, 0, 0x0b],
]);

interface Sql {
  run(sql: string, values?: readonly number[]): unknown;
  exec(sql: string): readonly { readonly values: readonly (readonly unknown[])[] }[];
  prepare(sql: string): { run(values: readonly number[]): unknown };
}

/** What zip.js exports of its zlib. A result holds zlib's code in its high byte and the bytes made in the others. */
interface WasmZlib {
  readonly memory: WebAssembly.Memory;
  _initialize(): void;
  malloc(bytes: number): number;
  inflate_new(): number;
  inflate_init(stream: number): number;
  inflate_process(stream: number, from: number, bytes: number, to: number, room: number, flush: number): number;
  inflate_end(stream: number): number;
}

const Z_STREAM_END = 1;

/** Inflates by zip.js's zlib: its module as its package exports it, without streams, which would cost more. */
async function wasmInflation(): Promise<() => number> {
  const file = located('@zip.js/zip.js', 'dist/zip-module.wasm');
  const { instance } = await WebAssembly.instantiate(readFileSync(file));
  const zlib = instance.exports as unknown as WasmZlib;
  zlib._initialize();
  const plain = plainText();
  const packed = deflateSync(plain);
  const [from, to] = [zlib.malloc(packed.length), zlib.malloc(plain.length)];
  const inflate = (): Uint8Array => {
    new Uint8Array(zlib.memory.buffer, from, packed.length).set(packed);
    const stream = zlib.inflate_new();
    if (zlib.inflate_init(stream) !== 0) throw new Error('inflate_init failed');
    const result = zlib.inflate_process(stream, from, packed.length, to, plain.length, 0);
    if (result >> 24 !== Z_STREAM_END) throw new Error(`inflate_process answered ${String(result >> 24)}`);
    if (zlib.inflate_end(stream) !== 0) throw new Error('inflate_end failed');
    return new Uint8Array(zlib.memory.buffer, to, result & 0xff_ffff).slice(); // out of its memory, as a caller needs
  };
  if (!plain.equals(inflate())) throw new Error('the WebAssembly zlib gave back something else');
  return () => inflate().length;
}

async function inWebAssembly(work: Work): Promise<() => number> {
  if (work === 'inflate, 1 MiB') return wasmInflation();
  if (work === 'int(int, int)') {
    const divide = (await WebAssembly.instantiate(MODULE)).instance.exports['add'] as (a: number, b: number) => number;
    return () => divide(84, 2);
  }
  const start = comparison('sql.js') as () => Promise<{ readonly Database: new () => Sql }>;
  const db = new (await start()).Database();
  db.run('CREATE TABLE t (value INTEGER)');
  const insert = db.prepare('INSERT INTO t VALUES (?)');
  return () => {
    db.run('DELETE FROM t');
    for (let value = 0; value < INSERTS; value++) insert.run([value]);
    return Number(db.exec('SELECT SUM(value) FROM t')[0]?.values[0]?.[0]);
  };
}

function inJavaScript(work: Work): () => number {
  if (work === 'SQLite, 100 inserts and a select') throw new Unavailable('there is no SQLite in plain JavaScript');
  if (work === 'int(int, int)') {
    const divide = (a: number, b: number): number => Math.trunc(a / b) | 0;
    return () => divide(84, 2);
  }
  const { inflate } = comparison('pako') as { readonly inflate: (packed: Uint8Array) => Uint8Array };
  const packed = deflateSync(plainText());
  return () => inflate(packed).length;
}

async function webAssembly(work: Work): Promise<ReadyHere> {
  const run = await inWebAssembly(work);
  const { instance } = await WebAssembly.instantiate(MODULE);
  const { abort, store } = instance.exports as Record<'abort' | 'store', (...args: number[]) => void>;
  return {
    run,
    harm(harm, address) {
      if (harm === 'abort') abort();
      else store(harm === 'null write' ? 0 : Number(BigInt.asIntN(32, address)), -1); // its pointers have 32 bits
    },
    stop: () => undefined,
  };
}

function javaScript(work: Work): ReadyHere {
  return {
    run: inJavaScript(work),
    harm(harm) {
      if (harm === 'abort') throw new Error('abort');
    },
    stop: () => undefined,
  };
}

/** Sends an order and waits for the answer; rejects where the other side ends instead. */
function ask(other: ChildProcess | Worker, order: Order): Promise<number> {
  return new Promise((resolve, reject) => {
    const clear = (): void => {
      other.removeAllListeners('message').removeAllListeners('exit').removeAllListeners('error');
    };
    other.once('message', (answer: number) => {
      clear();
      resolve(answer);
    });
    other.once('error', reject);
    other.once('exit', (code: number | null, signal?: string | null) => {
      clear();
      reject(new Error(`the other side ended: ${signal ?? `exit code ${String(code)}`}`));
    });
    if (other instanceof Worker) other.postMessage(order);
    else other.send(order);
  });
}

async function elsewhere(work: Work, other: ChildProcess | Worker): Promise<ReadyHere> {
  await ask(other, { kind: 'start', work });
  return {
    run: () => ask(other, { kind: 'work' }),
    harm: (harm, address) => ask(other, { kind: 'harm', harm, address: String(address) }),
    stop: () => void (other instanceof Worker ? other.terminate() : other.kill('SIGKILL')),
  };
}

function programReady(choice: Program, work: Work): Ready {
  const { batch, stop } = startProgram(choice, work);
  return {
    run: async () => (await batch(1)).answer,
    time: async (times) => (await batch(times)).ns,
    ...(choice === 'JNA protected mode' ? { warmUpMs: JAVA_WARM_UP_MS } : {}),
    stop,
  };
}

/**
 * Starts a choice whose caller is this process; `guard` is what the choice of that name calls through.
 * @throws Unavailable where the choice cannot do it here
 */
export async function chooseHere(choice: InNode, work: Work, guard: Guard): Promise<ReadyHere> {
  if (choice === 'plain JavaScript') return javaScript(work);
  if (choice === 'WebAssembly') return webAssembly(work);
  if (choice === 'worker thread') return elsewhere(work, new Worker(CALLEE));
  if (choice === 'child process') return elsewhere(work, fork(CALLEE));
  const loader = choice === 'guard' ? guard : ffi;
  return {
    run: byLibraries(work, loader),
    harm(harm, address) {
      harmByLibraries(harm, loader, address);
    },
    stop: () => undefined,
  };
}

/**
 * Starts any choice for a piece of work.
 * @throws Unavailable where the choice cannot do it here
 */
export async function choose(choice: Choice, work: Work, guard: Guard): Promise<Ready> {
  return isProgram(choice) ? programReady(choice, work) : chooseHere(choice, work, guard);
}
