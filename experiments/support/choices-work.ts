/**
 * Three pieces of work that are the same whoever does them, and the harm that a callee may do. Whatever loads C
 * functions may do them: koffi here, koffi in a worker or a child process, or a guard.
 */
import { deflateSync } from 'node:zlib';

import { BUILT, inProject } from '../../src/experiment/index.js';

type Call = (...args: unknown[]) => unknown;

/** What koffi and a guard have in common. */
export interface Loader {
  load(path: string): { func(prototype: string): unknown };
}

export const WORKS = ['int(int, int)', 'inflate, 1 MiB', 'SQLite, 100 inserts and a select'] as const;
export type Work = (typeof WORKS)[number];

export const HARMS = ['null write', 'abort', 'heap write', 'image write'] as const;
export type Harm = (typeof HARMS)[number];

/** 1 MiB that deflate makes a third of: words in an order of their own, the same everywhere. */
export function plainText(): Buffer {
  const words = ['image ', 'callout ', 'key ', 'gate ', 'of ', 'the ', 'foreign ', 'trap\n'];
  let text = '';
  for (let state = 1; text.length < 1 << 20;) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    text += words[(state >>> 16) & 7] ?? '';
  }
  return Buffer.from(text.slice(0, 1 << 20), 'latin1');
}

export const INSERTS = 100;
/** What the select sums up to. */
export const SUM = (INSERTS * (INSERTS - 1)) / 2;

function check(answer: unknown, wanted: number, what: string): void {
  if (Number(answer) !== wanted) throw new Error(`${what} answered ${String(answer)}, not ${wanted}`);
}

function division(loader: Loader): () => number {
  const divide = loader.load(inProject(BUILT.foreign)).func('int foreign_divide(int dividend, int divisor)') as Call;
  return () => Number(divide(84, 2));
}

function inflation(loader: Loader): () => number {
  const plain = plainText();
  const packed = deflateSync(plain);
  const output = Buffer.alloc(plain.length);
  const length = Buffer.alloc(8);
  const uncompress = loader
    .load('libz.so.1')
    .func('int uncompress(void *to, void *length, const void *from, unsigned long bytes)') as Call;
  const run = (): number => {
    length.writeBigUInt64LE(BigInt(output.length));
    check(uncompress(output, length, packed, packed.length), 0, 'uncompress');
    return Number(length.readBigUInt64LE());
  };
  run();
  if (!output.equals(plain)) throw new Error('zlib gave back something else');
  return run;
}

const SQLITE_ROW = 100;
const SQLITE_DONE = 101;

function database(loader: Loader): () => number {
  const sqlite = loader.load('libsqlite3.so.0');
  const open = sqlite.func('int sqlite3_open(const char *path, _Out_ void **db)') as Call;
  const prepare = sqlite.func(
    'int sqlite3_prepare_v2(void *db, const char *sql, int bytes, _Out_ void **statement, void *tail)',
  ) as Call;
  const bind = sqlite.func('int sqlite3_bind_int(void *statement, int at, int value)') as Call;
  const step = sqlite.func('int sqlite3_step(void *statement)') as Call;
  const reset = sqlite.func('int sqlite3_reset(void *statement)') as Call;
  const column = sqlite.func('int sqlite3_column_int(void *statement, int at)') as Call;
  const made = (make: (out: unknown[]) => unknown): unknown => {
    const out: unknown[] = [null];
    check(make(out), 0, 'SQLite');
    return out[0];
  };
  const db = made((out) => open(':memory:', out));
  const statement = (sql: string): unknown => made((out) => prepare(db, sql, -1, out, null));
  check(step(statement('CREATE TABLE t (value INTEGER)')), SQLITE_DONE, 'create');
  const [clear, insert, select] = ['DELETE FROM t', 'INSERT INTO t VALUES (?)', 'SELECT SUM(value) FROM t'].map(
    statement,
  );
  const once = (prepared: unknown, wanted: number): void => {
    check(step(prepared), wanted, 'step');
  };
  return () => {
    once(clear, SQLITE_DONE);
    reset(clear);
    for (let value = 0; value < INSERTS; value++) {
      bind(insert, 1, value);
      once(insert, SQLITE_DONE);
      reset(insert);
    }
    once(select, SQLITE_ROW);
    const sum = Number(column(select, 0));
    reset(select);
    return sum;
  };
}

/** One piece of work by C libraries, ready to be done again and again; it answers {@link ANSWERS}. */
export function byLibraries(work: Work, loader: Loader): () => number {
  if (work === 'int(int, int)') return division(loader);
  return work === 'inflate, 1 MiB' ? inflation(loader) : database(loader);
}

/** What each piece of work answers, whoever does it. */
export const ANSWERS: Readonly<Record<Work, number>> = {
  'int(int, int)': 42,
  'inflate, 1 MiB': 1 << 20,
  'SQLite, 100 inserts and a select': SUM,
};

/** Does harm as a callee: 8 bytes at `address` for a wild write. */
export function harmByLibraries(harm: Harm, loader: Loader, address: bigint): void {
  const libc = loader.load('libc.so.6');
  if (harm === 'abort') (libc.func('void abort()') as Call)();
  else
    (libc.func('void *memset(uintptr_t to, int value, size_t bytes)') as Call)(
      harm === 'null write' ? 0n : address,
      0xff,
      8,
    );
}
