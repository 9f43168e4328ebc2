/**
 * Real work by correct libraries, for experiments that ask what a mechanism costs a program. The work is cut into units
 * of the same size, and each unit is timed. Unit k is the same data under every mechanism. The result is checked when
 * all units are done. More than 400 lines: each application is a few calls of one library, and all are listed and timed
 * alike.
 */
import { inflateSync } from 'node:zlib';

import type { Guard } from '../../src/callout/guard.js';
import { ffi } from '../../src/callout/koffi.js';
import { randomBelow } from '../../src/experiment/index.js';
import { timeNs, warmUp } from './cost-guard.js';
import { pngFile } from './png.js';
import { textFile } from './text-file.js';

type Call = (...args: unknown[]) => unknown;

/**
 * Crossings of one unit: guarded calls made, calls back into the VM during them, and guarded copies of what callbacks
 * read.
 */
export interface Crossings {
  readonly callouts: number;
  readonly callbacks: number;
  readonly reads: number;
}

/** An application under way. */
export interface Work {
  /** Does unit `at` (in order, each once). */
  unit(at: number): Crossings;
  /** Checks what came out. Throws an Error where it is wrong. */
  finish(): void;
}

export interface Application {
  readonly name: string;
  /** What one unit is. */
  readonly unit: string;
  readonly library: string;
  /**
   * It prefers its own symbols to those that node exports: node has a zlib of its own, which libz.so.1 would call half
   * of the time.
   */
  readonly deep?: boolean;
  /** Units in all. */
  readonly units: number;
  /** Sets it up to do units from `first` on. */
  start(guard: Guard, first: number): Work;
}

const KIB = 1024;
const ROW = ffi.proto('int TurnkeyCostRow(void *context, int columns, char **values, char **names)').name;
const COMPARE = ffi.proto('int TurnkeyCostCompare(const void *a, const void *b)').name;

function expect(answer: unknown, wanted: number, what: string): void {
  if (Number(answer) !== wanted) throw new Error(`${what} answered ${String(answer)}, not ${wanted}`);
}

/** The address of a buffer that stays where it is: its own memory, not V8's heap. */
function addressOf(bytes: Buffer): number {
  return Number(ffi.address(bytes));
}

/** Size and member offsets of z_stream (zlib.h) in bytes, on a 64-bit machine. */
const Z_STREAM = { bytes: 112, nextIn: 0, availIn: 8, nextOut: 24, availOut: 32 } as const;
const Z_NO_FLUSH = 0;
const Z_FINISH = 4;
const Z_STREAM_END = 1;
const ZLIB_UNIT = 256 * KIB;

function compression(chunkBytes: number): Application {
  return {
    name: `zlib, ${chunkBytes / KIB} KiB chunks`,
    unit: '256 KiB of text compressed by deflate, level 6',
    library: 'libz.so.1',
    deep: true,
    units: 64,
    start(guard, first) {
      const zlib = guard.load('libz.so.1', { deep: true });
      const version = zlib.func('const char *zlibVersion()')();
      const init = zlib.func('int deflateInit_(uintptr_t stream, int level, const char *version, int bytes)') as Call;
      const deflate = zlib.func('int deflate(uintptr_t stream, int flush)') as Call;
      const end = zlib.func('int deflateEnd(uintptr_t stream)') as Call;
      const source = textFile().bytes;
      // Large enough for the output of any chunk: a full output buffer would mean another call.
      const output = Buffer.alloc(2 * ZLIB_UNIT + 64 * KIB);
      const stream = Buffer.alloc(Z_STREAM.bytes);
      const [streamAt, sourceAt, outputAt] = [addressOf(stream), addressOf(source), addressOf(output)];
      expect(init(streamAt, 6, version, Z_STREAM.bytes), 0, 'deflateInit_');
      const parts: Buffer[] = [];
      let done = 0;
      const step = (offset: number, bytes: number, flush: number): number => {
        stream.writeBigUInt64LE(BigInt(sourceAt + offset), Z_STREAM.nextIn);
        stream.writeUInt32LE(bytes, Z_STREAM.availIn);
        const answer = Number(deflate(streamAt, flush));
        if (stream.readUInt32LE(Z_STREAM.availIn) !== 0) throw new Error('deflate left some of its input');
        return answer;
      };
      const rewind = (): void => {
        stream.writeBigUInt64LE(BigInt(outputAt), Z_STREAM.nextOut);
        stream.writeUInt32LE(output.length, Z_STREAM.availOut);
      };
      const keep = (): void => {
        parts.push(Buffer.from(output.subarray(0, output.length - stream.readUInt32LE(Z_STREAM.availOut))));
      };
      return {
        unit(at) {
          const from = at * ZLIB_UNIT;
          rewind();
          for (let offset = 0; offset < ZLIB_UNIT; offset += chunkBytes) step(from + offset, chunkBytes, Z_NO_FLUSH);
          keep();
          done++;
          return { callouts: ZLIB_UNIT / chunkBytes, callbacks: 0, reads: 0 };
        },
        finish() {
          rewind();
          expect(step(0, 0, Z_FINISH), Z_STREAM_END, 'deflate');
          keep();
          end(streamAt);
          const from = first * ZLIB_UNIT;
          if (!inflateSync(Buffer.concat(parts)).equals(source.subarray(from, from + done * ZLIB_UNIT)))
            throw new Error('what was compressed is not the file');
        },
      };
    },
  };
}

const SQLITE_ROW = 100;
const SQLITE_DONE = 101;
const SQLITE_TRANSIENT = -1;
const ROWS = 64;
/** The table of a row's two texts, and each of them. */
const READS_OF_ROW = 3;

interface Database {
  readonly handle: unknown;
  readonly library: ReturnType<Guard['load']>;
  exec(sql: string): void;
}

function openDatabase(guard: Guard): Database {
  const library = guard.load('libsqlite3.so.0');
  const opened: [unknown] = [null];
  expect(
    (library.func('int sqlite3_open(const char *name, _Out_ void **db)') as Call)(':memory:', opened),
    0,
    'sqlite3_open',
  );
  const exec = library.func(
    'int sqlite3_exec(void *db, const char *sql, void *callback, void *context, void *message)',
  ) as Call;
  const [handle] = opened;
  return {
    handle,
    library,
    exec(sql) {
      expect(exec(handle, sql, null, null, null), 0, sql);
    },
  };
}

const insert: Application = {
  name: 'sqlite3, insert',
  unit: `${ROWS} rows inserted by a prepared statement in one transaction`,
  library: 'libsqlite3.so.0',
  units: 32,
  start(guard) {
    const { handle, library, exec } = openDatabase(guard);
    exec('create table t (id integer primary key, name text)');
    const prepared: [bigint] = [0n];
    expect(
      (
        library.func(
          'int sqlite3_prepare_v2(void *db, const char *sql, int bytes, _Out_ uintptr_t *statement, void *tail)',
        ) as Call
      )(handle, 'insert into t values (?, ?)', -1, prepared, null),
      0,
      'sqlite3_prepare_v2',
    );
    const statement = Number(prepared[0]);
    const bindInt = library.func('int sqlite3_bind_int(uintptr_t statement, int index, int value)') as Call;
    const bindText = library.func(
      'int sqlite3_bind_text(uintptr_t statement, int index, const char *text, int bytes, intptr_t destructor)',
    ) as Call;
    const step = library.func('int sqlite3_step(uintptr_t statement)') as Call;
    const reset = library.func('int sqlite3_reset(uintptr_t statement)') as Call;
    let rows = 0;
    return {
      unit() {
        exec('begin');
        for (let row = 0; row < ROWS; row++) {
          bindInt(statement, 1, rows);
          bindText(statement, 2, `name ${(rows * 7919) % 1000}`, -1, SQLITE_TRANSIENT);
          if (step(statement) !== SQLITE_DONE) throw new Error('a row was not inserted');
          reset(statement);
          rows++;
        }
        exec('commit');
        return { callouts: 2 + 4 * ROWS, callbacks: 0, reads: 0 };
      },
      finish() {
        const count: [bigint] = [0n];
        expect(
          (
            library.func(
              'int sqlite3_prepare_v2(void *db, const char *sql, int bytes, _Out_ uintptr_t *statement, void *tail)',
            ) as Call
          )(handle, 'select count(*) from t', -1, count, null),
          0,
          'sqlite3_prepare_v2',
        );
        expect(step(Number(count[0])), SQLITE_ROW, 'sqlite3_step');
        expect(
          (library.func('int sqlite3_column_int(uintptr_t statement, int column)') as Call)(Number(count[0]), 0),
          rows,
          'select count(*)',
        );
      },
    };
  },
};

const select: Application = {
  name: 'sqlite3, select',
  unit: `${ROWS} rows selected, each handed to a JavaScript callback that reads two texts`,
  library: 'libsqlite3.so.0',
  units: 32,
  start(guard) {
    const { handle, library, exec } = openDatabase(guard);
    exec('create table t (id integer primary key, name text)');
    exec(
      'insert into t values ' +
        `${Array.from({ length: 2 * ROWS }, (_, row) => `(${row}, 'name ${(row * 7919) % 1000}')`).join(', ')}`,
    );
    const each = library.func(
      `int sqlite3_exec(void *db, const char *sql, ${ROW} *callback, void *context, void *message)`,
    ) as Call;
    let rows = 0;
    let wrong = 0;
    const onRow = (_context: unknown, columns: unknown, values: unknown): number => {
      const [id, name] = guard.decode(values, 'char *', Number(columns)) as readonly string[];
      if (name !== `name ${(Number(id) * 7919) % 1000}`) wrong++;
      rows++;
      return 0;
    };
    let units = 0;
    return {
      unit() {
        units++;
        expect(each(handle, `select id, name from t limit ${ROWS}`, onRow, null, null), 0, 'sqlite3_exec');
        return { callouts: 1, callbacks: ROWS, reads: READS_OF_ROW * ROWS };
      },
      finish() {
        expect(rows, units * ROWS, 'rows');
        expect(wrong, 0, 'wrong rows');
      },
    };
  },
};

const ELEMENTS = 32;

const sort: Application = {
  name: 'qsort',
  unit: `${ELEMENTS} integers sorted, compared by a JavaScript callback`,
  library: 'libc.so.6',
  units: 32,
  start(guard) {
    const qsort = guard
      .load('libc.so.6')
      .func(`void qsort(uintptr_t base, size_t count, size_t bytes, ${COMPARE} *compare)`) as Call;
    const memory = Buffer.alloc(ELEMENTS * 4);
    const numbers = new Int32Array(memory.buffer, memory.byteOffset, ELEMENTS);
    const at = addressOf(memory);
    let comparisons = 0;
    let unsorted = 0;
    const compare = (a: unknown, b: unknown): number => {
      comparisons++;
      return Number(guard.decode(a, 'int32_t')) - Number(guard.decode(b, 'int32_t'));
    };
    return {
      unit(unit) {
        const random = randomBelow(unit + 1);
        for (let i = 0; i < ELEMENTS; i++) numbers[i] = random(1 << 30);
        const before = comparisons;
        qsort(at, ELEMENTS, 4, compare);
        for (let i = 1; i < ELEMENTS; i++) if ((numbers[i - 1] ?? 0) > (numbers[i] ?? 0)) unsorted++;
        return { callouts: 1, callbacks: comparisons - before, reads: 2 * (comparisons - before) };
      },
      finish() {
        expect(unsorted, 0, 'elements out of order');
      },
    };
  },
};

const PICTURE = { width: 256, height: 64 } as const;

/** An RGB PNG of smooth colours with some noise, deterministic. */
function picture(): { readonly file: Buffer; readonly pixels: Buffer } {
  const { width, height } = PICTURE;
  const random = randomBelow(1);
  const pixels = Buffer.alloc(height * width * 3);
  for (let i = 0; i < pixels.length; i++)
    pixels[i] = ((Math.floor(i / 3) % width) >> 1) + Math.floor(i / (3 * width)) + random(4);
  return { file: pngFile(width, height, 3, pixels), pixels };
}

const decode: Application = {
  name: 'png decode',
  unit: `a picture of ${PICTURE.width} by ${PICTURE.height} pixels decoded row by row`,
  library: 'libpng16.so.16',
  units: 32,
  start(guard) {
    const png = guard.load('libpng16.so.16');
    const libc = guard.load('libc.so.6');
    const { file, pixels } = picture();
    const decoded = Buffer.alloc(pixels.length);
    const [fileAt, decodedAt] = [addressOf(file), addressOf(decoded)];
    const version = (png.func('const char *png_get_libpng_ver(uintptr_t none)') as Call)(0);
    const fmemopen = libc.func('uintptr_t fmemopen(uintptr_t bytes, size_t count, const char *mode)') as Call;
    const fclose = libc.func('int fclose(uintptr_t file)') as Call;
    const create = png.func(
      'uintptr_t png_create_read_struct(const char *version, uintptr_t a, uintptr_t b, uintptr_t c)',
    ) as Call;
    const createInfo = png.func('uintptr_t png_create_info_struct(uintptr_t png)') as Call;
    const initIo = png.func('void png_init_io(uintptr_t png, uintptr_t file)') as Call;
    const readInfo = png.func('void png_read_info(uintptr_t png, uintptr_t info)') as Call;
    const readRow = png.func('void png_read_row(uintptr_t png, uintptr_t row, uintptr_t display)') as Call;
    const readEnd = png.func('void png_read_end(uintptr_t png, uintptr_t info)') as Call;
    const destroy = png.func(
      'void png_destroy_read_struct(_Inout_ uintptr_t *png, _Inout_ uintptr_t *info, uintptr_t end)',
    ) as Call;
    let wrong = 0;
    return {
      unit() {
        const input = fmemopen(fileAt, file.length, 'r');
        const reader = create(version, 0, 0, 0);
        const info = createInfo(reader);
        initIo(reader, input);
        readInfo(reader, info);
        for (let row = 0; row < PICTURE.height; row++) readRow(reader, decodedAt + row * PICTURE.width * 3, 0);
        readEnd(reader, info);
        destroy([reader], [info], 0);
        fclose(input);
        if (!decoded.equals(pixels)) wrong++;
        return { callouts: 8 + PICTURE.height, callbacks: 0, reads: 0 };
      },
      finish() {
        expect(wrong, 0, 'wrong pictures');
      },
    };
  },
};

/** All of them. */
export const APPLICATIONS: readonly Application[] = [
  compression(KIB),
  compression(4 * KIB),
  compression(64 * KIB),
  insert,
  select,
  sort,
  decode,
];

/** By name. @throws RangeError */
export function applicationNamed(name: string): Application {
  const found = APPLICATIONS.find((application) => application.name === name);
  if (found === undefined) throw new RangeError(`there is no application '${name}'`);
  return found;
}

/** What one process saw of an application. */
export interface Timed {
  /** ns of each unit. */
  readonly samples: readonly number[];
  /** Mean over the units. */
  readonly crossings: Crossings;
  readonly warm: boolean;
}

const MOST_WARM_UP_MS = 1500;

/**
 * Times units `first` to `first + count - 1`, after a warm-up by a run of its own over the first of them; `skipped`
 * where the library is missing.
 */
export function timeUnits(
  application: Application,
  guard: Guard,
  first: number,
  count: number,
): Timed | { readonly skipped: string } {
  try {
    guard.load(application.library, { deep: application.deep ?? false });
  } catch (error) {
    return { skipped: error instanceof Error ? error.message : String(error) };
  }
  let again: Work | undefined;
  const warm = warmUp(() => {
    again ??= application.start(guard, first);
    again.unit(first);
  }, MOST_WARM_UP_MS);
  const work = application.start(guard, first);
  const samples: number[] = [];
  const sum = { callouts: 0, callbacks: 0, reads: 0 };
  for (let at = first; at < first + count; at++) {
    samples.push(
      timeNs(() => {
        const { callouts, callbacks, reads } = work.unit(at);
        sum.callouts += callouts;
        sum.callbacks += callbacks;
        sum.reads += reads;
      }),
    );
  }
  work.finish();
  return {
    samples,
    crossings: {
      callouts: Math.round(sum.callouts / count),
      callbacks: Math.round(sum.callbacks / count),
      reads: Math.round(sum.reads / count),
    },
    warm,
  };
}
