// lanes: native, emulated
/**
 * Guarded functions as a drop-in for koffi's: forms of declaration, arguments, variadic calls, every kind of fault.
 */
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

t.test('every form of declaration', async (t) => {
  const forms = [
    lib.func('int test_add(int a, int b)'),
    lib.func('int test_add(int, int);'),
    lib.func('int __stdcall test_add(int a, int b)'),
    lib.func('int __fastcall test_add(int a, int b)'),
    lib.func('int __thiscall  test_add (int a, int b)'),
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

/* Broken once: a limit of 64 KiB, which koffi's own tests pass by four times. */
t.test('a structure of 512 KiB passes by value, and a larger one is refused by name', async (t) => {
  const bytes = 512 * 1024;
  koffi.struct('CallEnormous', { bytes: koffi.array('uint8_t', bytes) });
  koffi.struct('CallTooLarge', { bytes: koffi.array('uint8_t', bytes + 1) });
  const value = Uint8Array.from({ length: bytes }, (_, index) => index % 251);
  const sum = value.reduce((total, each) => total + each, 0);
  t.equal(raw.func('uint64_t test_sum_enormous(CallEnormous value)')({ bytes: value }), sum);
  t.equal(lib.func('uint64_t test_sum_enormous(CallEnormous value)')({ bytes: value }), sum);
  t.throws(() => lib.func('uint64_t test_sum_enormous(CallTooLarge value)'), {
    message: /^Cannot guard another function: its arguments take more than 512 KiB of stack/,
    code: 'EINVAL',
  });
});

/* Broken once: no limit. koffi lays arguments out on a stack of 128 KiB there, and 512 KiB ended the process. */
t.test('an asynchronous call takes 64 KiB of arguments, and is refused more', async (t) => {
  for (const kibibytes of [64, 65])
    koffi.struct(`CallAsync${kibibytes}`, { bytes: koffi.array('uint8_t', kibibytes * 1024) });
  const most = lib.func<(value: object) => unknown>('void test_nothing(CallAsync64 value)');
  t.equal(await most.promise({ bytes: new Uint8Array(64 * 1024) }), undefined);
  const more = lib.func<(value: object) => unknown>('void test_nothing(CallAsync65 value)');
  const value = { bytes: new Uint8Array(65 * 1024) };
  more(value);
  const refused = { message: /^Cannot call test_nothing asynchronously: .* more than 64 KiB of stack/, code: 'EINVAL' };
  await t.rejects(more.promise(value), refused);
  t.throws(() => {
    more.async(value, () => undefined);
  }, refused);
});

/*
 * Broken once: one limit of 512 KiB for all. A callback's arguments were copied past the end of koffi's stack, and a
 * function on koffi's stack had its own there twice. No bytes for the ticket: a worker refused what others take.
 */
t.test(
  'callbacks take 64 KiB of arguments, functions on koffi’s stack 32; a ticket takes none of theirs',
  async (t) => {
    for (const kibibytes of [32, 33, 64, 65])
      koffi.struct(`Call${kibibytes}KiB`, { bytes: koffi.array('uint8_t', kibibytes * 1024) });
    const registered = (kibibytes: number): bigint =>
      guard.register(() => undefined, koffi.pointer(koffi.proto(`void (Call${kibibytes}KiB value)`)));
    guard.unregister(registered(64));
    t.throws(() => registered(65), {
      message: 'Cannot make a callback: its arguments take more than 64 KiB of stack, the most for a callback',
      code: 'EINVAL',
    });
    const near = { foreignStack: false };
    const value = { bytes: new Uint8Array(32 * 1024) };
    const most = lib.func<(value: object) => unknown>('void test_nothing(Call32KiB value)', near);
    t.equal(most(value), undefined);
    t.equal(await most.promise(value), undefined);
    t.throws(() => lib.func('void test_nothing(Call33KiB value)', near), {
      message:
        /^Cannot guard another function: its arguments take more than 32 KiB of stack, the most with foreignStack/,
      code: 'EINVAL',
    });
    const { stdout, stderr } = runChild(`
    if (isMainThread) {
      const declare = \`
        const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);
        for (const [kibibytes, foreignStack] of [[512, true], [32, false]]) {
          koffi.struct('Most' + kibibytes, { bytes: koffi.array('uint8_t', kibibytes * 1024) });
          lib.func('void test_nothing(Most' + kibibytes + ' value)', { foreignStack });
        }
        console.log('declared');\`;
      new Worker(HEAD + declare, { eval: true }).on('error', (error) => console.log(error.message));
    }`);
    t.equal(stdout, 'declared\n', stderr);
  },
);

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
