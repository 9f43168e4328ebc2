// lanes: native, emulated
/**
 * What a callee leaves behind: good values come out as koffi gives them, wild pointers in any shape are CalloutErrors
 * of phase 'decode'.
 */
import koffi, { as as unwatched } from 'koffi';
import t from 'tap';

import { as, Guard, type GuardedFunction } from '../../src/index.js';
import { FOREIGN, runChild } from '../support/callout.js';
import { fault } from '../support/fault.js';

/* koffi declares its Union class as an interface. */
const Union = koffi.Union as unknown as new (type: unknown) => Record<string, unknown>;

const guard = new Guard({ mechanism: 'flag' });
const lib = guard.load(FOREIGN);
const raw = koffi.load(FOREIGN);

const Small = koffi.struct('Small', { name: 'const char *', id: 'int64_t' });
const Mixed = koffi.struct('Mixed', { weight: 'double', name: 'const char *' });
const Large = koffi.struct('Large', {
  id: 'int32_t',
  name: 'const char *',
  weight: 'double',
  wide: 'const char16_t *',
  tail: koffi.array('uint8_t', 5),
});
koffi.struct('PlainLarge', { values: koffi.array('int64_t', 5) });
koffi.struct('Nested', { inner: Small, count: 'int16_t', names: koffi.array('const char *', 2) });
koffi.struct('Counted', { count: 'uint32_t', values: koffi.pointer(null, 'int32_t', 'count') });
koffi.struct('Flexible', { count: 'uint32_t', values: koffi.array('int32_t', 'count', 8) });
koffi.struct('Padded', { a: 'int8_t', _: koffi.array('char', 10), b: 'int8_t', name: 'const char *' });
const Either = koffi.union('Either', { number: 'int64_t', text: 'const char *', real: 'double' });
koffi.union('Pair', { number: 'int64_t', real: 'double', raw: koffi.array('uint8_t', 8) });

/** The error that `run` throws. */
const WILD = 0x1234n;
const NON_CANONICAL = 0x8000_0000_0000_1234n;
const KERNEL = 0xffff_ffff_8000_0000n;

/* A page that can be read, with one behind it that cannot: what runs over its end faults. */
const mapping = ((): { readonly last: bigint; readonly page: bigint } => {
  const mmap = lib.func<(...args: unknown[]) => bigint>(
    'void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)',
  );
  const mprotect = lib.func('int mprotect(void *addr, size_t length, int prot)');
  const page = mmap(null, 8192, 3, 0x22, -1, 0);
  mprotect(page + 4096n, 4096, 0);
  return { page, last: page + 4096n };
})();

/* Both ways of calling, with the same arguments. */
function both(definition: string): readonly [GuardedFunction, (...args: unknown[]) => unknown] {
  return [lib.func(definition), raw.func(definition) as (...args: unknown[]) => unknown];
}

const text = (which: number): bigint => (lib.func('void *test_text(int which)') as (which: number) => bigint)(which);
const text16 = (): bigint => (lib.func('void *test_text16()') as () => bigint)();

t.test('results are decoded as koffi decodes them', async (t) => {
  for (const which of [-1, 0, 1, 2, 3]) {
    const [guarded, bare] = both('const char *test_text(int which)');
    t.equal(guarded(which), bare(which), `text ${which}`);
  }
  for (const definition of ['const char16_t *test_text16()', 'const char32_t *test_text32()']) {
    const [guarded, bare] = both(definition);
    t.equal(guarded(), bare(), definition);
    t.equal(guarded(), 'héllo 🐟');
  }
  const cases: readonly (readonly [string, ...unknown[]])[] = [
    ['Small test_small(uint64_t name, int64_t id)', text(1), 7],
    ['Mixed test_mixed(double weight, uint64_t name)', 2.5, text(2)],
    ['Large test_large(int id, uint64_t name, uint64_t wide)', 5, text(1), text16()],
    ['Large test_large(int id, uint64_t name, uint64_t wide)', 5, 0, 0],
    ['PlainLarge test_plain_large(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)', 1, 2, 3, 4, 5],
    ['Nested test_nested(uint64_t inner, uint64_t first, uint64_t second)', text(1), text(2), 0],
    ['Flexible test_flexible(uint32_t count)', 3],
    ['Flexible test_flexible(uint32_t count)', 4_000_000],
    ['Padded test_padded(uint64_t name)', text(1)],
    ['void *test_pointer(uint64_t address)', WILD],
    ['void *test_pointer(uint64_t address)', 0],
  ];
  for (const [definition, ...args] of cases) {
    const [guarded, bare] = both(definition);
    t.strictSame(guarded(...args), bare(...args), definition);
  }
  const numbers = Int32Array.of(10, 20, 30, 40);
  const [counted, bareCounted] = both('Counted test_counted(uint64_t values, uint32_t count)');
  t.strictSame(counted(koffi.address(numbers), 3), bareCounted(koffi.address(numbers), 3), 'a counted pointer');
  t.strictSame(counted(0, 0), bareCounted(0, 0), 'a counted pointer to nothing');
});

t.test('a wild pointer as a result, in every shape, is a CalloutError of phase decode', async (t) => {
  const shapes: readonly (readonly [string, string, (wild: bigint) => unknown[]])[] = [
    ['string', 'const char *test_string(uint64_t address)', (wild) => [wild]],
    ['UTF-16 string', 'const char16_t *test_string16(uint64_t address)', (wild) => [wild]],
    ['UTF-32 string', 'const char32_t *test_string32(uint64_t address)', (wild) => [wild]],
    ['struct in registers', 'Small test_small(uint64_t name, int64_t id)', (wild) => [wild, 1]],
    ['struct in both kinds of registers', 'Mixed test_mixed(double weight, uint64_t name)', (wild) => [1, wild]],
    ['struct in memory', 'Large test_large(int id, uint64_t name, uint64_t wide)', (wild) => [1, wild, 0]],
    ['struct in memory, UTF-16', 'Large test_large(int id, uint64_t name, uint64_t wide)', (wild) => [1, 0, wild]],
    [
      'struct in a struct',
      'Nested test_nested(uint64_t inner, uint64_t first, uint64_t second)',
      (wild) => [wild, 0, 0],
    ],
    [
      'array in a struct',
      'Nested test_nested(uint64_t inner, uint64_t first, uint64_t second)',
      (wild) => [0, 0, wild],
    ],
    ['counted pointer', 'Counted test_counted(uint64_t values, uint32_t count)', (wild) => [wild, 4]],
  ];
  for (const [shape, definition, args] of shapes) {
    const called = lib.func(definition);
    for (const wild of [WILD, NON_CANONICAL, KERNEL, mapping.last]) {
      const error = fault(() => called(...args(wild)));
      t.equal(error.phase, 'decode', `${shape}, 0x${wild.toString(16)}`);
      t.equal(error.function, called.info.name);
      t.strictSame(error.arguments, args(wild));
      if (wild === WILD || wild === mapping.last) {
        t.equal(error.address, wild);
        t.equal(error.access, 'read');
      }
    }
  }
});

t.test('a string that runs to the end of its page is read whole, one that runs over it faults', async (t) => {
  const string = lib.func('const char *test_string(uint64_t address)');
  const fill = lib.func('const char *test_unterminated(void *buffer, size_t bytes)');
  const unfilled = lib.func('void *memset(void *to, int value, size_t bytes)');
  t.equal(fault(() => fill(mapping.page, 4096)).address, mapping.last);
  unfilled(mapping.last - 1n, 0, 1);
  t.equal(string(mapping.page), 'x'.repeat(4095));
  t.equal(string(mapping.last - 1n), '');
});

t.test('a string longer than the limit is an error that says what to do', async (t) => {
  const narrow = new Guard({ mechanism: 'flag', decodeLimit: 100 });
  const string = narrow.load(FOREIGN).func('const char *test_string(uint64_t address)');
  t.throws(() => string(mapping.page), /100 bytes.*decodeLimit/);
  t.equal(string(text(1)), 'plain');
  narrow.close();
});

t.test('a fault in a function with a result in memory decodes nothing', async (t) => {
  const large = lib.func('Large test_large_fault(uint64_t address)');
  const error = fault(() => large(WILD));
  t.equal(error.phase, 'call');
  t.equal(error.address, WILD);
});

t.test('out-parameters come back as with koffi', async (t) => {
  const cases: readonly (readonly [string, () => unknown[]])[] = [
    ['int test_out_int(_Out_ int *out, int value)', () => [[null], 5]],
    ['void test_inout_int(_Inout_ int *value, int add)', () => [[40], 2]],
    ['void test_out_string(_Out_ const char **out, uint64_t address)', () => [[null], text(2)]],
    ['void test_out_string(_Out_ const char **out, uint64_t address)', () => [[null], 0]],
    ['void test_out_text(_Out_ char *out)', () => [['\0'.repeat(20)]]],
    ['void test_out_text(_Out_ void *out)', () => [['\0'.repeat(20)]]],
    ['void test_out_text16(_Out_ char16_t *out)', () => [['\0'.repeat(20)]]],
    ['void test_inout_text(_Inout_ char *text)', () => [['shout ü']]],
    ['void test_out_large(_Out_ Large *out, uint64_t name)', () => [{}, text(1)]],
    ['void test_inout_small(_Inout_ Small *value)', () => [{ name: 'twelve chars', id: 30 }]],
    ['void test_inout_small(_Inout_ Small *value)', () => [{ name: null, id: 30 }]],
    ['void test_out_smalls(_Out_ Small *out, size_t count, uint64_t last)', () => [[{}, {}, {}], 3, text(1)]],
    ['void test_inout_doubles(_Inout_ double *values, size_t count)', () => [[1, 2.5, 3], 3]],
    ['void test_inout_doubles(_Inout_ double *values, size_t count)', () => [Float64Array.of(1, 2.5), 2]],
    ['void test_inout_doubles(double *values, size_t count)', () => [[1, 2.5], 2]],
    ['void test_swap16(_Inout_ uint16_be_t *values, size_t count)', () => [[0x1234, 0x5678], 2]],
    ['void test_swap16(_Inout_ uint16_be_t *values, size_t count)', () => [Uint16Array.of(0x1234, 0x5678), 2]],
    ['int64_t test_total_length(const char **strings)', () => [['Get', 'Total', 'Length', null]]],
    ['int test_out_int(_Out_ int *out, int value)', () => [Buffer.alloc(4), 5]],
  ];
  for (const [definition, make] of cases) {
    const [guarded, bare] = both(definition);
    const [mine, theirs] = [make(), make()];
    t.equal(guarded(...mine), bare(...theirs), definition);
    t.strictSame(mine, theirs, definition);
  }
});

t.test('casts of void * are decoded as what they were cast to', async (t) => {
  const out = lib.func('void test_out_smalls(_Out_ void *out, size_t count, uint64_t last)');
  for (const cast of [as, koffi.as]) {
    const smalls: unknown[] = [{}, {}];
    out(cast(smalls, 'Small *'), 2, text(1));
    t.strictSame(smalls, [
      { name: 'one', id: 0 },
      { name: 'plain', id: 1 },
    ]);
    t.equal(fault(() => out(cast([{}, {}], 'Small *'), 2, WILD)).phase, 'decode');
  }
  /* koffi's named export cannot be watched: what it casts is known to koffi alone. */
  t.throws(() => out(unwatched([{}, {}], 'Small *'), 2, text(1)), /use as\(\) from turnkey/);
  t.equal(
    lib.func('int64_t test_total_length(const void *strings)')(unwatched(['one', 'three', null], 'char **')),
    8,
    'which does not matter on the way in',
  );
});

t.test('a wild pointer in an out-parameter, in every shape, is a CalloutError of phase decode', async (t) => {
  const string = lib.func('void test_out_string(_Out_ const char **out, uint64_t address)');
  const large = lib.func('void test_out_large(_Out_ Large *out, uint64_t name)');
  const smalls = lib.func('void test_out_smalls(_Out_ Small *out, size_t count, uint64_t last)');
  for (const wild of [WILD, NON_CANONICAL, mapping.last]) {
    t.equal(fault(() => string([null], wild)).phase, 'decode');
    t.equal(fault(() => large({}, wild)).phase, 'decode');
    t.equal(fault(() => smalls([{}, {}, {}], 3, wild)).phase, 'decode');
  }
});

t.test('a fault in a function with out-parameters leaves them as they were', async (t) => {
  const out = lib.func('void test_out_then_fault(_Out_ int *out, uint64_t address)');
  const value = [5];
  t.equal(fault(() => out(value, WILD)).phase, 'call');
  t.strictSame(value, [5]);
});

t.test('unions: koffi follows nothing until a member is read, nor does a guard; then it reads guarded', async (t) => {
  const union = lib.func<(text: bigint) => { text: string | null; number: number | bigint }>(
    'Either test_union(uint64_t text)',
  );
  const bits = lib.func('uint64_t test_union_bits(Either value)');
  const value = union(text(1));
  t.equal(value.text, 'plain');
  t.equal(BigInt(value.number), text(1));
  t.equal(BigInt(bits(value) as number | bigint), text(1), 'it can be passed on');
  value.number = 17;
  t.equal(bits(value), 17, 'and written to');
  const wild = union(WILD);
  t.equal(wild.number, Number(WILD));
  t.equal(fault(() => wild.text).phase, 'decode');

  const out = new Union(Either);
  lib.func('void test_out_union(_Out_ Either *out, uint64_t text)')(out, text(1));
  t.equal(out['text'], 'plain');
  lib.func('void test_out_union(_Out_ Either *out, uint64_t text)')(out, WILD);
  t.equal(fault(() => out['text']).phase, 'decode');
  t.equal(out['number'], Number(WILD));

  const pair = new Union('Pair');
  lib.func('void test_out_pair(_Out_ Pair *out, double real)')(pair, 2.5);
  t.equal(pair['real'], 2.5);
  t.equal((lib.func('Pair test_union_pair(double real)')(1.5) as { real: number }).real, 1.5);
});

t.test('disposables: decoded, then disposed of through the gate', async (t) => {
  const disposed = lib.func<() => number>('int test_disposed()');
  const dispose = lib.func('void test_dispose(void *pointer)');
  const before = disposed();
  koffi.disposable('TestDisposable', 'str', dispose as unknown as () => void);
  t.equal(lib.func('TestDisposable test_heap_string(const char *text)')('heap text'), 'heap text');
  t.equal(disposed(), before + 1, 'by the function that was named');
  t.equal(lib.func('char *! test_heap_string(const char *text)')('free me'), 'free me');
  t.equal(lib.func('test_heap_string', koffi.disposable('str'), ['str'])('free me'), 'free me');
  t.equal(disposed(), before + 1);

  const result = runChild(`
    const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);
    try {
      lib.func('char *! test_not_from_heap()')();
    } catch (error) {
      console.log(error.function, error.signal, error.suspect);
    }
    koffi.disposable('Bad', 'str', lib.func('void test_dispose_fault(void *pointer)'));
    try {
      lib.func('Bad test_heap_string(const char *text)')('x');
    } catch (error) {
      console.log(error.function, error.signal, error.address);
    }
    process.kill(process.pid, 'SIGKILL');   // the allocator may hold its lock by now
  `);
  t.equal(result.stdout, 'free SIGABRT allocator\ntest_dispose_fault SIGSEGV 8n\n', result.stderr);
});

t.test('guard.decode: as koffi.decode where there is something, a CalloutError where not', async (t) => {
  const variable = lib.symbol('test_variable');
  const textVariable = lib.symbol('test_text_variable');
  const numbers = koffi.address(Buffer.from(Int32Array.of(1, 2, 3, 0, 5).buffer));
  const cases: readonly unknown[][] = [
    [variable, 'int'],
    [textVariable, 'const char *'],
    [textVariable, 'void *'],
    [text(2), 'char', -1],
    [text(1), 'char', 3],
    [numbers, 'int', 4],
    [numbers, 'int', -1],
    [numbers, 4, 'int'],
    [numbers, 4, 'int', 2],
    [numbers, koffi.array('int', 3)],
    [numbers, 'int', 0],
    [text16(), 'char16_t', -1],
    [Buffer.from('abcd'), 'char', 4],
    [Buffer.from('abcdefgh'), 2, 'uint16_t'],
  ];
  for (const args of cases) {
    t.strictSame(
      guard.decode(...args),
      (koffi.decode as (...all: unknown[]) => unknown)(...args),
      args.map(String).join(', '),
    );
  }
  const wild: readonly unknown[][] = [
    [WILD, 'int'],
    [WILD, 'const char *'],
    [WILD, 'char', -1],
    [WILD, 'int', 3],
    [WILD, Large],
    [NON_CANONICAL, 'int'],
    [mapping.last, 'double'],
    [mapping.last - 4n, 'int64_t'],
  ];
  for (const args of wild) {
    const error = fault(() => guard.decode(...args));
    t.equal(error.phase, 'decode');
    t.match(error.stack, /decode\.test/, 'with the stack of who asked');
  }
  t.throws(() => guard.decode(variable), TypeError);
  t.throws(() => guard.decode('no pointer', 'int'), TypeError);
  t.throws(() => guard.decode(variable, 'void'), TypeError);
});

t.test('the named decoders', async (t) => {
  const memory = koffi.address(Buffer.from('f1f2f3f4f5f6f7f8f9', 'hex'));
  const koffis = koffi.decode as unknown as Record<string, (...args: unknown[]) => unknown>;
  const guarded = guard.decode as unknown as Record<string, (...args: unknown[]) => unknown>;
  const names = Object.keys(koffi.decode);
  t.strictSame(Object.keys(guard.decode).sort(), names.sort(), 'all that koffi has');
  for (const name of names) {
    if (name.includes('string')) continue;
    t.equal(guarded[name]?.(memory), koffis[name]?.(memory), name);
    const error = fault(() => guarded[name]?.(WILD));
    t.equal(error.function, `decode.${name}`);
    t.match(error.stack, /decode\.test/);
  }
  for (const [name, at] of [
    ['string', text(2)],
    ['string16', text16()],
    ['string32', lib.func<() => bigint>('void *test_text32()')()],
    ['wstring', lib.func<() => bigint>('void *test_text32()')()],
  ] as const) {
    t.equal(guarded[name]?.(at), koffis[name]?.(at), name);
    t.equal(guarded[name]?.(at, 3), koffis[name]?.(at, 3), `${name} with a length`);
    t.equal(fault(() => guarded[name]?.(WILD)).phase, 'decode');
    t.equal(fault(() => guarded[name]?.(WILD, 3)).phase, 'decode');
  }
});

t.test('function pointers: decoded to guarded functions', async (t) => {
  const Unary = koffi.proto('int Unary(int value)');
  const pick = lib.func<(which: number) => bigint | null>('Unary *test_pick(int which)');
  t.equal((guard.decode(pick(0), Unary) as (value: number) => number)(21), 42);
  t.equal(guard.call(pick(1), Unary, 5), -5);
  t.equal(pick(2), null);
  t.equal(guard.decode(pick(0), Unary), guard.decode(pick(0), Unary), 'one function for each pointer');
  t.equal(fault(() => guard.call(WILD, Unary, 5)).access, 'execute');
});

t.test("the layouts that guards rebuild are koffi's", async (t) => {
  for (const type of [
    Small,
    Mixed,
    Large,
    koffi.type('Nested'),
    koffi.type('Counted'),
    koffi.type('Flexible'),
    koffi.type('Padded'),
  ]) {
    t.ok(type.size > 0);
  }
  const odd = koffi.struct('Odd', { a: 'int8_t', b: [8, 'int16_t'], c: 'const char *', d: [2, 'int8_t'] });
  const memory = Buffer.alloc(koffi.sizeof(odd));
  koffi.encode(memory, odd, { a: 1, b: 2, c: 'three', d: 4 });
  t.strictSame(guard.decode(memory, odd), { a: 1, b: 2, c: 'three', d: 4 });
  const packed = koffi.pack('Packed', { a: 'int8_t', c: 'const char *', d: 'int16_t' });
  const packedMemory = Buffer.alloc(koffi.sizeof(packed));
  koffi.encode(packedMemory, packed, { a: 1, c: 'three', d: 4 });
  t.strictSame(guard.decode(packedMemory, packed), { a: 1, c: 'three', d: 4 });
});
