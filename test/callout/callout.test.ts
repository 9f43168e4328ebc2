// lanes: native, emulated
/**
 * Guarded functions as a drop-in for koffi's: forms of declaration, arguments, callbacks, variadic calls, real
 * libraries, nesting.
 */
import { deflateSync, inflateSync } from 'node:zlib';

import koffi from 'koffi';
import t from 'tap';

import { Guard, Image } from '../../src/index.js';
import { FOREIGN, FOREIGN_FAULTS, runChild } from '../support/callout.js';
import { fault } from '../support/fault.js';

const guard = new Guard({ mechanism: 'flag' });
const lib = guard.load(FOREIGN);
const raw = koffi.load(FOREIGN);

koffi.struct('CallSmall', { name: 'const char *', id: 'int64_t' });
koffi.struct('CallPlainLarge', { values: koffi.array('int64_t', 5) });
koffi.struct('CallLarge', {
  id: 'int32_t',
  name: 'const char *',
  weight: 'double',
  wide: 'const char16_t *',
  tail: koffi.array('uint8_t', 5),
});
koffi.proto('int CallUnary(int value)');
koffi.struct('Operations', { first: 'CallUnary *', bias: 'int', second: 'CallUnary *' });

t.test('every form of declaration', async (t) => {
  const forms = [
    lib.func('int test_add(int a, int b)'),
    lib.func('int test_add(int, int);'),
    lib.func('int __stdcall test_add(int a, int b)'),
    lib.func('test_add', 'int', ['int', 'int']),
    lib.func('test_add', koffi.types.int, [koffi.types.int, 'int']),
    lib.func('__cdecl', 'test_add', 'int', ['int', 'int']),
    lib.cdecl('test_add', 'int', ['int', 'int']),
    lib.stdcall('int test_add(int a, int b)'),
    lib.func('int test_add(int a, int b)', { canFail: true }),
    lib.func('test_add', 'int', ['int', 'int'], { canFail: true }),
  ];
  for (const add of forms) t.equal(add(40, 2), 42);
  const add = lib.func('int test_add(int a, int b)');
  t.equal(add.name, 'test_add');
  t.equal(add.info.name, 'test_add');
  t.strictSame(
    add.info.arguments.map((argument) => argument.direction),
    ['Input', 'Input'],
  );
  t.equal(add.info.result, koffi.types.int);
  t.equal(lib.func('void test_nothing()')(), undefined);
  t.equal(lib.func('void test_nothing(void)')(), undefined);
  t.equal(guard.decode(lib.symbol('test_variable'), 'int'), 42);
  t.equal(lib.symbol('test_variable'), raw.symbol('test_variable'));
});

t.test('wrong arguments are the TypeErrors that koffi throws', async (t) => {
  const Ten = Array.from({ length: 10 }, (_, index) => index);
  const cases: readonly (readonly [string, unknown[]])[] = [
    ['int test_add(int a, int b)', []],
    ['int test_add(int a, int b)', [1]],
    ['int test_add(int a, int b)', [1, 'two']],
    ['int test_add(int a, int b)', [1, {}]],
    ['int64_t test_total_length(const char **strings)', []],
    ['int64_t test_total_length(const char **strings)', [true]],
    ['CallLarge test_large(int id, uint64_t name, uint64_t wide)', [1]],
    ['CallLarge test_large(int id, uint64_t name, uint64_t wide)', ['x', 1, 2]],
    ['int test_out_int(_Out_ int *out, int value)', ['text', 1]],
    ['int test_call_twice(CallUnary *callback, int value)', ['text', 1]],
    ['int test_out_int(_Out_ CallSmall *out, int value)', [5.5]],
  ];
  for (const [definition, args] of cases) {
    let expected = 'nothing';
    let got = 'nothing';
    try {
      (raw.func(definition) as (...all: unknown[]) => unknown)(...args);
    } catch (error) {
      expected = String(error);
    }
    try {
      lib.func(definition)(...args);
    } catch (error) {
      got = String(error);
    }
    t.equal(got, expected, `${definition} of ${JSON.stringify(args)}`);
  }
  t.equal(lib.func('int test_add(int a, int b)')(...Ten), 1, 'more arguments than declared are ignored');
  t.throws(() => lib.func('nosuchtype test_add(int a)'), /nosuchtype/);
  t.throws(() => lib.func('int (int a)'), /function name/);
  t.throws(() => lib.func('test_add', 'int', 'int' as never), TypeError);
  t.throws(() => {
    (lib.func as unknown as (what: number) => void)(5);
  }, TypeError);
});

t.test('variadic calls', async (t) => {
  const declare = 'double test_variadic(const char *kinds, ...)';
  const sum = lib.func(declare);
  const bare = raw.func(declare) as (...args: unknown[]) => unknown;
  const many = Array.from({ length: 20 }, (_, index) => index);
  const calls: readonly unknown[][] = [
    [''],
    ['id', 'int', 5, 'double', 2.5],
    ['sss', 'str', 'a', 'const char *', 'bc', 'str', 'def'],
    [many.map(() => 'd').join(''), ...many.flatMap((value) => ['double', value])],
    [many.map(() => 'l').join(''), ...many.flatMap((value) => ['int64_t', value])],
    ['ci', 'CallPlainLarge', { values: [1, 2, 3, 4, 5] }, 'int', 6],
  ];
  for (const args of calls) t.equal(sum(...args), bare(...args), String(args[0]));
  const out = [0];
  sum('o', koffi.out(koffi.pointer('int')), out);
  t.equal(out[0], 99);
  const named = [0];
  sum('o', '_Out_ int *', named);
  t.equal(named[0], 99);
  t.equal(
    sum('f', 'CallUnary *', (value: number) => value * 3),
    30,
  );
  t.equal(fault(() => sum('?')).address, 4n);
  t.throws(() => sum('i', 'int'), /Missing value/);
  t.throws(() => sum(), /Expected 1 arguments or more, got 0/);
});

t.test('callbacks: functions, structs of functions, functions from callbacks', async (t) => {
  const twice = lib.func('int test_call_twice(CallUnary *callback, int value)');
  t.equal(
    twice((value: number) => value * 10, 3),
    70,
  );
  t.equal(twice(lib.symbol('test_double'), 3), 14, 'a C function');
  t.equal(
    lib.func('int test_operations(const Operations *operations, int value)')(
      { first: (value: number) => value + 1, bias: 100, second: null },
      5,
    ),
    106,
  );
  t.equal(
    lib.func('int test_operations(const Operations *operations, int value)')(
      { first: (value: number) => value + 1, bias: 100, second: (value: number) => -value },
      5,
    ),
    101,
  );
  t.equal(
    lib.func('int test_operations_by_value(Operations operations, int value)')(
      { first: (value: number) => value + 1, bias: 100, second: null },
      5,
    ),
    106,
  );
  const Made = koffi.proto('CallUnary *Made()');
  t.equal(
    lib.func('test_call_for_function', 'int', [koffi.pointer(Made), 'int'])(() => (value: number) => value + 1000, 1),
    1001,
  );
  const Many = koffi.proto(
    'int64_t Many(int a, int b, int c, int d, int e, int f, int g, double h, CallPlainLarge i, int8_t j)',
  );
  const seen: unknown[] = [];
  const many = lib.func('test_call_many', 'int64_t', [koffi.pointer(Many), 'int']);
  t.equal(
    many((...args: unknown[]) => {
      seen.push(args);
      return 1234567890123;
    }, 77),
    1234567890123,
  );
  t.strictSame(
    seen,
    [[1, 2, 3, 4, 5, 6, 7, 8.5, { values: BigInt64Array.of(9n, 10n, 11n, 12n, 77n) }, -13]],
    'with arguments on the stack',
  );
  const Maker = koffi.proto('CallLarge Maker(int id)');
  t.same(
    lib.func('test_call_for_large', 'CallLarge', [koffi.pointer(Maker)])((id: number) => ({
      id,
      name: 'from JavaScript',
      weight: 2,
      wide: 'wide',
      tail: [1, 2, 3, 4, 5],
    })),
    { id: 4, name: 'from JavaScript', weight: 2, wide: 'wide', tail: Uint8Array.of(1, 2, 3, 4, 5) },
  );
  const Text = koffi.proto('const char *Text()');
  t.equal(
    lib.func('test_call_for_string', 'size_t', [koffi.pointer(Text)])(() => 'five!'),
    5,
  );
});

t.test('callbacks: pointers that foreign code passes are decoded by guarded reads', async (t) => {
  const Told = koffi.proto('int Told(const char *text, int number)');
  const call = lib.func('test_call_string', 'int', [koffi.pointer(Told), 'uint64_t', 'int']);
  const address = lib.func<(which: number) => bigint>('void *test_text(int which)')(1);
  let told: unknown;
  t.equal(
    call(
      (text: string, number: number) => {
        told = text;
        return number;
      },
      address,
      7,
    ),
    8,
  );
  t.equal(told, 'plain');
  const error = fault(() => call(() => 0, 0x1234, 7));
  t.equal(error.phase, 'decode');
  t.equal(error.address, 0x1234n);
  const Told16 = koffi.proto('int Told16(const char16_t *text)');
  t.equal(
    fault(() => lib.func('test_call_string16', 'int', [koffi.pointer(Told16), 'uint64_t'])(() => 0, 0x1234)).phase,
    'decode',
  );
  const ToldSmall = koffi.proto('int ToldSmall(CallSmall small)');
  const callSmall = lib.func('test_call_small', 'int', [koffi.pointer(ToldSmall), 'uint64_t']);
  t.equal(
    callSmall(({ name, id }: { name: string; id: number }) => name.length + id, address),
    10,
  );
  t.equal(fault(() => callSmall(() => 0, 0x1234)).phase, 'decode');
});

t.test('callbacks: what they throw comes out of the call, as with koffi', async (t) => {
  const twice = lib.func('int test_call_twice(CallUnary *callback, int value)');
  let calls = 0;
  t.throws(
    () =>
      twice(() => {
        calls++;
        throw new RangeError('from the callback');
      }, 1),
    { name: 'RangeError', message: 'from the callback' },
  );
  t.ok(calls >= 1);
  t.equal(
    twice((value: number) => value, 1),
    3,
    'and the next call works',
  );
  const error = fault(() =>
    lib.func('int test_call_then_write(CallUnary *callback, int value, uint64_t address)')(
      () => {
        throw new RangeError('first');
      },
      1,
      8,
    ),
  );
  t.equal(error.address, 8n);
  t.match(error.callbackError, { message: 'first' }, 'the fault wins, and keeps the exception');
});

t.test('callbacks: kept beyond the call', async (t) => {
  const keep = lib.func('void test_keep(CallUnary *callback)');
  const fire = lib.func('int test_fire(int value)');
  keep((value: number) => value);
  t.throws(() => fire(1), /non-registered callback/, 'a transient one is refused');
  const code = guard.register((value: number) => value + 1, 'CallUnary *');
  keep(code);
  t.equal(fire(1), 2);
  guard.unregister(code);
  t.throws(() => fire(1), /non-registered callback/);
  t.throws(() => {
    guard.unregister(code);
  }, /matching registered callback/);
  const theirs = koffi.register((value: number) => value + 5, 'CallUnary *');
  keep(theirs);
  t.equal(fire(1), 6, 'one that koffi registered');
  koffi.unregister(theirs);
  t.throws(() => guard.register(() => 0, 'int'), TypeError);
  t.throws(() => guard.register('no function' as never, 'CallUnary *'), TypeError);
});

t.test('nested: a fault in an inner callout fails only that', async (t) => {
  const twice = lib.func('int test_call_twice(CallUnary *callback, int value)');
  const write = lib.func('int test_write(uint64_t address, int value)');
  const depths: number[] = [];
  const descend = (depth: number): number =>
    twice((value: number) => {
      if (depth > 0) return descend(depth - 1) + value;
      depths.push(fault(() => write(16, 1)).depth);
      return value;
    }, 1) as number;
  const plain = (depth: number): number =>
    [1, 2].reduce((sum, value) => sum + (depth > 0 ? plain(depth - 1) + value : value), 0);
  t.equal(descend(5), plain(5));
  t.ok(
    depths.every((depth) => depth === 7),
    'each at its depth',
  );
  t.throws(
    () => twice(() => write(24, 1), 1),
    { code: 'ERR_CALLOUT_FAULT' },
    'uncaught in the callback, it comes out of the outer call',
  );
});

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

t.test('every kind of fault that foreign code can raise becomes an error, and the next call works', async (t) => {
  const kinds: Readonly<Record<string, string>> = {
    foreign_null_read: 'SIGSEGV',
    foreign_null_write: 'SIGSEGV',
    foreign_noncanonical_read: 'SIGSEGV',
    foreign_noncanonical_write: 'SIGSEGV',
    foreign_illegal: 'SIGILL',
    foreign_breakpoint: 'SIGTRAP',
    foreign_privileged: 'SIGSEGV',
    foreign_misaligned_sse: 'SIGSEGV',
    foreign_bus: 'SIGBUS',
    foreign_fault_with_df: 'SIGSEGV',
    foreign_fault_with_tf: 'SIGTRAP',
    foreign_fault_with_full_x87: 'SIGSEGV',
    foreign_fault_with_bad_control_words: 'SIGSEGV',
    foreign_abort: 'SIGABRT',
  };
  const result = runChild(`
    const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN_FAULTS);
    const add = lib.func('int foreign_add(int a, int b)');
    const attempt = (definition, ...args) => {
      try {
        lib.func(definition)(...args);
        return 'nothing';
      } catch (error) {
        assert.equal(add(40, 2), 42);
        return error;
      }
    };
    const seen = {};
    for (const name of ${JSON.stringify(Object.keys(kinds))}) seen[name] = attempt('void ' + name + '()').signal;
    console.log(JSON.stringify({
      seen,
      divide: attempt('int foreign_divide(int a, int b)', 1, 0).siCodeName,
      overflow: attempt('uint64_t foreign_recurse(uint64_t depth, uint64_t frame)', 0, 64).stackOverflow,
      jump: attempt('int foreign_call(uint64_t address)', 0x1234).access,
    }));
  `);
  t.equal(result.status, 0, result.stderr);
  t.strictSame(JSON.parse(result.stdout || '{}'), {
    seen: kinds,
    divide: 'FPE_INTDIV',
    overflow: true,
    jump: 'execute',
  });
});

t.test("listeners for the six signals do not take the trap out, and hear what is not a callout's", async (t) => {
  const result = runChild(`
    const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN_FAULTS);
    const signalOf = (name) => {
      try { lib.func('void ' + name + '()')(); return 'nothing'; } catch (error) { return error.signal; }
    };
    const abort = () => signalOf('foreign_abort');
    const breakpoint = () => signalOf('foreign_breakpoint');
    let heard = 0;
    const listener = () => { heard++; };
    process.on('SIGTRAP', listener);
    process.on('SIGABRT', listener);
    const seen = [abort(), breakpoint()];
    process.kill(process.pid, 'SIGTRAP');
    while (heard === 0) await new Promise(resolve => setTimeout(resolve, 5));
    process.removeListener('SIGTRAP', listener);
    process.removeListener('SIGABRT', listener);
    seen.push(abort(), breakpoint());
    console.log(JSON.stringify([...seen, heard]));
    process.kill(process.pid, 'SIGABRT');
  `);
  t.equal(result.stdout, '["SIGABRT","SIGTRAP","SIGABRT","SIGTRAP",1]\n', result.stderr);
  t.equal(result.signal, 'SIGABRT', 'and without a listener the signal ends the process again');
});

t.test('loans are passed as their address; a released one is refused', async (t) => {
  const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 16 }] });
  for (const mechanism of ['none', 'flag'] as const) {
    const own = new Guard({ mechanism });
    const fill = own.load(FOREIGN_FAULTS).func('void foreign_fill(uint8_t *bytes, uint64_t count, uint8_t value)');
    const loan = image.lend(100, 'out');
    fill(loan, 100, 7);
    t.ok(loan.buffer.every((byte) => byte === 7));
    loan.release();
    t.throws(() => fill(loan, 100, 7), /was released/);
    own.close();
  }
  image.close();
});

t.test('where code may not be made from strings, functions work all the same', async (t) => {
  const result = runChild(
    `
    const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);
    console.log(lib.func('int test_add(int a, int b)')(40, 2));
    try { lib.func('int test_read(uint64_t address)')(8); } catch (error) { console.log(error.code); }
  `,
    { flags: ['--disallow-code-generation-from-strings'] },
  );
  t.equal(result.stdout, '42\nERR_CALLOUT_FAULT\n', result.stderr);
});
