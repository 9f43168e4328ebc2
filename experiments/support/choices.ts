/**
 * What people pick instead of a guard, each doing the same work: koffi itself, a worker thread, a child process, plain
 * JavaScript, WebAssembly. The last two hold no C library: they have packages of their own for some of the work.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { deflateSync } from 'node:zlib';

import type { Guard } from '../../src/callout/guard.js';
import { ffi } from '../../src/callout/koffi.js';
import type { Order } from './choices-callee.js';
import { byLibraries, type Harm, harmByLibraries, INSERTS, plainText, type Work } from './choices-work.js';

export const CHOICES = ['koffi', 'guard', 'worker thread', 'child process', 'plain JavaScript', 'WebAssembly'] as const;
export type Choice = (typeof CHOICES)[number];

/** A choice, ready for one piece of work. */
export interface Ready {
  /** Does it once: at once, or by a message there and back. */
  readonly run: () => number | Promise<number>;
  /** Does harm as its callee would; answers when the caller has heard of it. */
  readonly harm: (harm: Harm, address: bigint) => unknown;
  readonly stop: () => void;
}

/** Why a choice cannot do a piece of work here. */
export class Unavailable extends Error {}

const CALLEE = fileURLToPath(new URL('choices-callee.js', import.meta.url));
const require = createRequire(import.meta.url);

/** A package that only this comparison needs: a devDependency of a checkout, and nothing that a user installs. */
function comparison(name: string): unknown {
  try {
    return require(name);
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

async function inWebAssembly(work: Work): Promise<() => number> {
  if (work === 'inflate, 1 MiB') throw new Unavailable('no WebAssembly build of zlib is among the packages compared');
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

async function webAssembly(work: Work): Promise<Ready> {
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

function javaScript(work: Work): Ready {
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

async function elsewhere(work: Work, other: ChildProcess | Worker): Promise<Ready> {
  await ask(other, { kind: 'start', work });
  return {
    run: () => ask(other, { kind: 'work' }),
    harm: (harm, address) => ask(other, { kind: 'harm', harm, address: String(address) }),
    stop: () => void (other instanceof Worker ? other.terminate() : other.kill('SIGKILL')),
  };
}

/**
 * Starts a choice for a piece of work; `guard` is what the choice of that name calls through.
 * @throws Unavailable where the choice cannot do it here
 */
export async function choose(choice: Choice, work: Work, guard: Guard): Promise<Ready> {
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
