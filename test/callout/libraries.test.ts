// lanes: native, emulated
/** Real libraries under a guard: zlib, libm, the C library, SQLite. */
import { deflateSync, inflateSync } from 'node:zlib';

import koffi from 'koffi';
import t from 'tap';

import { Guard } from '../../src/index.js';
import { fault } from '../support/fault.js';

const guard = new Guard({ mechanism: 'flag' });

t.test('real libraries: zlib', async (t) => {
  const z = guard.load('libz.so.1');
  const crc32 = z.func('unsigned long crc32(unsigned long crc, const uint8_t *buf, unsigned int len)');
  t.equal(crc32(0, Buffer.from('123456789'), 9), 0xcbf43926);
  const data = Buffer.from('guarded '.repeat(1000));
  const packed = Buffer.alloc(10_000);
  const length = [packed.length];
  t.equal(
    z.func('int compress(_Out_ uint8_t *to, _Inout_ unsigned long *toBytes, const uint8_t *from, unsigned long bytes)')(
      packed,
      length,
      data,
      data.length,
    ),
    0,
  );
  t.ok(inflateSync(packed.subarray(0, length[0])).equals(data));
  const unpacked = Buffer.alloc(data.length);
  const small = deflateSync(data);
  z.func('int uncompress(_Out_ uint8_t *to, _Inout_ unsigned long *toBytes, const uint8_t *from, unsigned long bytes)')(
    unpacked,
    [unpacked.length],
    small,
    small.length,
  );
  t.ok(unpacked.equals(data));
  t.equal(fault(() => crc32(0, 0x1234n, 100)).address, 0x1234n);
});

t.test('real libraries: libm, libc', async (t) => {
  const m = guard.load('libm.so.6');
  t.equal(m.func('double pow(double, double)')(2, 10), 1024);
  const exponent = [0];
  t.equal(m.func('double frexp(double, _Out_ int *)')(48, exponent), 0.75);
  t.equal(exponent[0], 6);
  const c = guard.load('libc.so.6');
  const Compare = koffi.proto('int Compare(const void *, const void *)');
  const qsort = c.func('qsort', 'void', [koffi.inout('void *'), 'size_t', 'size_t', koffi.pointer(Compare)]);
  const words = ['foo', 'bar', '123', 'foobar'];
  qsort(koffi.as(words, 'char **'), words.length, 8, (a: bigint, b: bigint) => {
    const [first, second] = [guard.decode(a, 'char *') as string, guard.decode(b, 'char *') as string];
    return first < second ? -1 : first > second ? 1 : 0;
  });
  t.strictSame(words, ['123', 'bar', 'foo', 'foobar']);
  const numbers = Int32Array.from({ length: 1000 }, (_, index) => (index * 7919) % 1009);
  qsort(
    numbers,
    numbers.length,
    4,
    (a: bigint, b: bigint) => (guard.decode(a, 'int') as number) - (guard.decode(b, 'int') as number),
  );
  t.strictSame(numbers, Int32Array.from(numbers).sort());
  const buffer = Buffer.alloc(64);
  c.func('int snprintf(char *to, size_t bytes, const char *format, ...)')(
    buffer,
    64,
    '%d %s %.2f',
    'int',
    42,
    'str',
    'text',
    'double',
    1.5,
  );
  t.equal(buffer.toString('latin1', 0, buffer.indexOf(0)), '42 text 1.50');
  c.func('int close(int fd)')(-1);
  t.equal(koffi.errno(), koffi.os.errno['EBADF'], 'errno survives the gate');
  t.equal(guard.load(null).func('int abs(int)')(-3), 3, 'the program itself');
});

const sqlite = ((): boolean => {
  try {
    koffi.load('libsqlite3.so.0');
    return true;
  } catch {
    return false;
  }
})();
t.test(
  'real libraries: sqlite3 with a row callback',
  { skip: sqlite ? false : 'libsqlite3.so.0 is not installed (Debian: libsqlite3-0)' },
  async (t) => {
    const s = guard.load('libsqlite3.so.0');
    koffi.opaque('sqlite3');
    const Row = koffi.proto('int Row(void *user, int columns, char **values, char **names)');
    const database: [bigint | null] = [null];
    t.equal(s.func('int sqlite3_open(const char *path, _Out_ sqlite3 **db)')(':memory:', database), 0);
    const exec = s.func('sqlite3_exec', 'int', [
      'sqlite3 *',
      'str',
      koffi.pointer(Row),
      'void *',
      koffi.out(koffi.pointer('char *')),
    ]);
    t.equal(
      exec(
        database[0],
        "CREATE TABLE t(id INTEGER, name TEXT); INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL);",
        null,
        null,
        [null],
      ),
      0,
    );
    const rows: unknown[] = [];
    t.equal(
      exec(
        database[0],
        'SELECT * FROM t ORDER BY id',
        (_user: null, columns: number, values: bigint) => {
          rows.push(guard.decode(values, 'char *', columns));
          return 0;
        },
        null,
        [null],
      ),
      0,
    );
    t.strictSame(rows, [
      ['1', 'one'],
      ['2', 'two'],
      ['3', null],
    ]);
    const message: [string | null] = [null];
    t.equal(exec(database[0], 'SELECT nonsense', null, null, message), 1);
    t.equal(message[0], 'no such column: nonsense');
    t.equal(fault(() => exec(0x1234n, 'SELECT 1', null, null, [null])).library, 'libsqlite3.so.0');
    s.func('int sqlite3_close(sqlite3 *db)')(database[0]);
  },
);
