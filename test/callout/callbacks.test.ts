// lanes: native, emulated
/** Callbacks under a guard as a drop-in for koffi's: functions, structs of functions, what they throw, nesting. */
import koffi from 'koffi';
import t from 'tap';

import { Guard } from '../../src/index.js';
import { FOREIGN } from '../support/callout.js';
import { fault } from '../support/fault.js';

const guard = new Guard({ mechanism: 'flag' });
const lib = guard.load(FOREIGN);

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
