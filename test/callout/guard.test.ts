// lanes: native, emulated
/** Guards: mechanisms, response policies, what an error says, loading and unloading, wrong use. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';

import koffi from 'koffi';
import t from 'tap';

import { type CalloutError, Guard, type GuardMechanism, Image, probe } from '../../src/index.js';
import { built, FOREIGN, FOREIGN_FAULTS, runChild } from '../support/callout.js';
import { fault } from '../support/fault.js';

const keys = probe().usable;

function smallImage(): Image {
  const image = Image.map({
    spaces: [
      { name: 'eden', bytes: 1 << 16 },
      { name: 'old', bytes: 1 << 18 },
    ],
  });
  image.fill(42);
  image.snapshot();
  return image;
}

const PROTECTING: readonly GuardMechanism[] = [
  'mprotect-page',
  'mprotect-range',
  ...(keys ? (['pkeys', 'pkeys-glibc'] as const) : []),
];
if (!keys) t.comment('this machine has no protection keys: what needs them is tested in the emulated lane');

t.test(
  'a wild write into the image fails the callout and changes nothing, under every mechanism that protects',
  async (t) => {
    for (const mechanism of PROTECTING) {
      const image = smallImage();
      const guard = new Guard({ image, mechanism });
      t.equal(guard.mechanism, mechanism);
      t.equal(guard.chosenBecause, 'asked for');
      const lib = guard.load(FOREIGN);
      const write = lib.func('int test_write(uint64_t address, int value)');
      const at = image.space('old').address + 0x40n;
      const error = fault(() => write(at, 1));
      t.equal(error.signal, 'SIGSEGV', mechanism);
      t.equal(error.siCodeName, mechanism.startsWith('pkeys') ? 'SEGV_PKUERR' : 'SEGV_ACCERR');
      t.equal(error.address, at);
      t.equal(error.access, 'write');
      t.equal(error.space, 'old');
      t.equal(error.spaceOffset, 0x40n);
      t.equal(error.image, 'protected');
      t.equal(error.mechanism, mechanism);
      if (mechanism.startsWith('pkeys')) t.equal(error.pkey, image.space('old').key);
      t.match(error.message, /write to 0x[0-9a-f]+ in space 'old' \+0x40/);
      t.ok(image.diff().equal);
      t.ok(image.verify().ok);
      t.equal(error.compareImage(), 'intact');
      t.equal(lib.func('int test_add(int a, int b)')(40, 2), 42, 'and the next call works');
      image.space('old').write(0, image.space('old').read(0, 8));
      guard.close();
      image.close();
    }
  },
);

t.test('the image can be written by the VM inside a callback, under every mechanism', async (t) => {
  for (const mechanism of ['none', 'flag', ...PROTECTING] as const) {
    const image = smallImage();
    const guard = new Guard({ image, mechanism });
    const call = guard.load(FOREIGN_FAULTS).func('foreign_call_back', 'int', [guardCallback(), 'int']);
    t.equal(
      call((value: number) => {
        image.space('old').write(0, Buffer.of(value));
        return value;
      }, 77),
      78,
      mechanism,
    );
    t.equal(image.space('old').read(0, 1)[0], 77);
    guard.close();
    image.close();
  }
});

function guardCallback(): object {
  return koffi.pointer(koffi.proto('int', ['int']));
}

t.test('flag: a wild write goes through; the error says so only after a comparison', async (t) => {
  const image = smallImage();
  const guard = new Guard({ image, mechanism: 'flag' });
  const lib = guard.load(FOREIGN);
  lib.func('int test_write(uint64_t address, int value)')(image.space('old').address + 8n, 0x5a5a5a5a);
  const error = fault(() => lib.func('int test_read(uint64_t address)')(8));
  t.equal(error.image, 'unknown');
  t.equal(error.compareImage(), 'damaged');
  t.equal(error.image, 'damaged');
  image.restore();
  guard.close();
  const comparing = new Guard({ image, mechanism: 'flag', compare: true });
  t.equal(fault(() => comparing.load(FOREIGN).func('int test_read(uint64_t address)')(8)).image, 'intact');
  comparing.close();
  image.close();
});

t.test('auto says what it chose, and why', async (t) => {
  const image = smallImage();
  const guard = new Guard({ image });
  t.equal(guard.mechanism, keys ? 'pkeys' : 'mprotect-range');
  t.match(guard.chosenBecause, keys ? /usable/ : /no protection keys \(.+\)/);
  guard.close();
  image.close();
  const bare = new Guard();
  t.equal(bare.mechanism, 'flag');
  t.match(bare.chosenBecause, /no image/);
  bare.close();
});

t.test(
  "pkeys where there are no keys throws with the probe's reason and does not fall back",
  { skip: keys ? 'this machine has keys' : false },
  async (t) => {
    const image = smallImage();
    for (const mechanism of ['pkeys', 'pkeys-glibc'] as const) {
      t.throws(() => new Guard({ image, mechanism }), {
        message: `mechanism '${mechanism}' cannot be had here: ${probe().reason}`,
      });
    }
    t.equal(image.mechanism, undefined);
    image.close();
  },
);

t.test('wrong options are refused, each with its reason', async (t) => {
  const image = smallImage();
  t.throws(() => new Guard({ mechanism: 'mprotect-range' }), /give one/);
  t.throws(() => new Guard({ image, mechanism: 'pkeys-model' as GuardMechanism }), /cost experiments only/);
  t.throws(() => new Guard({ image, mechanism: 'magic' as GuardMechanism }), /unknown mechanism 'magic'/);
  t.throws(() => new Guard({ mechanism: 'flag', response: 'sometimes' as 'always' }), /unknown response 'sometimes'/);
  t.throws(() => new Guard({ mechanism: 'flag', decodeLimit: -1 }), /decodeLimit/);
  const guard = new Guard({ image, mechanism: 'mprotect-range' });
  t.throws(() => new Guard({ image, mechanism: 'flag' }), /one mechanism/);
  t.doesNotThrow(() => {
    new Guard({ image, mechanism: 'mprotect-range' }).close();
  }, 'two guards, one mechanism');
  t.throws(() => {
    guard.response = 'perhaps' as 'always';
  }, /unknown response/);
  guard.close();
  image.close();
});

t.test("mechanism none: koffi's own functions behind the same surface", async (t) => {
  const guard = new Guard({ mechanism: 'none' });
  const lib = guard.load(FOREIGN);
  t.equal(lib.func('int test_add(int a, int b)')(40, 2), 42);
  t.equal(await lib.func<(a: number, b: number) => number>('int test_add(int a, int b)').promise(40, 2), 42);
  t.equal(lib.func('const char *test_text(int which)')(1), 'plain');
  t.equal(guard.decode(lib.symbol('test_variable'), 'int'), 42);
  t.throws(() => lib.func('int test_missing()'), /test_missing/);
  const result = runChild(`new Guard({ mechanism: 'none' }).load(FOREIGN).func('int test_read(uint64_t address)')(8);`);
  t.equal(result.signal, 'SIGSEGV', 'and nothing catches a fault');
});

t.test('response: never, declared, always; changeable', async (t) => {
  const prelude = `
    const guard = new Guard({ mechanism: 'flag', response: process.env.RESPONSE });
    const lib = guard.load(FOREIGN);
    const plain = lib.func('int test_read(uint64_t address)');
    const declared = lib.func('int test_read(uint64_t address)', { canFail: true });
    const attempt = (name, call) => { try { call(8); } catch (error) { console.log(name, error.code); } };
  `;
  const run = (response: string, script: string) => runChild(prelude + script, { env: { RESPONSE: response } });
  const always = run('always', `attempt('declared', declared); attempt('plain', plain);`);
  t.equal(always.stdout, 'declared ERR_CALLOUT_FAULT\nplain ERR_CALLOUT_FAULT\n', always.stderr);
  const some = run('declared', `attempt('declared', declared); attempt('plain', plain);`);
  t.equal(some.stdout, 'declared ERR_CALLOUT_FAULT\n');
  t.equal(some.signal, 'SIGSEGV');
  const never = run('never', `attempt('declared', declared);`);
  t.equal(never.stdout, '');
  t.equal(never.signal, 'SIGSEGV');
  const changed = run(
    'never',
    `guard.response = 'always'; attempt('plain', plain);
     guard.response = 'declared'; attempt('declared', declared); console.log(guard.response);
    guard.response = 'never'; attempt('declared', declared);`,
  );
  t.equal(changed.stdout, 'plain ERR_CALLOUT_FAULT\ndeclared ERR_CALLOUT_FAULT\ndeclared\n', changed.stderr);
  t.equal(changed.signal, 'SIGSEGV');
  const two = run(
    'never',
    `
    const other = new Guard({ mechanism: 'flag', response: 'always' })
      .load(FOREIGN).func('int test_read(uint64_t address)');
    attempt('other', other); attempt('declared', declared);`,
  );
  t.equal(two.stdout, 'other ERR_CALLOUT_FAULT\n', 'each guard has its own');
  t.equal(two.signal, 'SIGSEGV');
});

t.test('a CalloutError has every field of its interface, with the right value', async (t) => {
  const guard = new Guard({ mechanism: 'flag' });
  const lib = guard.load(FOREIGN);
  const write = lib.func('int test_write_pointer(int *address, int value)');
  const buffer = Buffer.alloc(4);
  function theCaller(): unknown {
    return write(0x1230n, 5);
  }
  const error = fault(theCaller);
  t.ok(error instanceof Error);
  t.equal(error.name, 'CalloutError');
  t.equal(error.errorName, 'exception in FFI call');
  t.equal(error.errorCode, 11);
  t.equal(error.code, 'ERR_CALLOUT_FAULT');
  t.equal(error.phase, 'call');
  t.equal(error.signal, 'SIGSEGV');
  t.equal(error.siCode, 1);
  t.equal(error.siCodeName, 'SEGV_MAPERR');
  t.equal(error.address, 0x1230n);
  t.equal(error.access, 'write');
  t.equal(error.pkey, undefined);
  t.equal(error.space, undefined);
  t.equal(error.symbol, 'test_write_pointer');
  t.equal(error.module, FOREIGN);
  const start = lib.symbol('test_write_pointer');
  t.ok(error.pc >= start && error.pc < start + 64n);
  t.equal(error.pc - (error.symbolOffset ?? 0n), start);
  t.equal(error.function, 'test_write_pointer');
  t.equal(error.library, FOREIGN);
  t.strictSame(error.arguments, [0x1230n, 5]);
  t.equal(error.threadId, process.pid, 'the main thread');
  t.equal(error.depth, 1);
  t.equal(error.mechanism, 'flag');
  t.equal(error.suspect, undefined);
  t.equal(error.image, 'unknown');
  t.equal(error.registers.rip, error.pc);
  t.equal(error.record.function, start);
  t.match(
    error.message,
    new RegExp(
      '^exception in FFI call: test_write_pointer \\(libturnkey_callout_foreign\\.so\\): SIGSEGV ' +
        '\\(SEGV_MAPERR\\) write to 0x1230, ' +
        'pc 0x[0-9a-f]+$',
    ),
  );
  t.match(
    error.stack,
    /^CalloutError: exception in FFI call: test_write_pointer.*\n +at theCaller /,
    'the stack begins at the call site',
  );
  const json = JSON.parse(JSON.stringify(error)) as Record<string, unknown>;
  t.match(json, {
    name: 'CalloutError',
    errorCode: 11,
    address: '0x1230',
    function: 'test_write_pointer',
    arguments: ['0x1230', 5],
    image: 'unknown',
    siCodeName: 'SEGV_MAPERR',
  });
  t.match(inspect(error), /theCaller[^]*signal: 'SIGSEGV'/);
  const wide = fault(() => lib.func('int test_write_pointer(int *address, int value)')(0x8000_0000_0000_0000n, 1));
  t.equal(wide.address, 0n);
  t.equal(wide.access, 'unknown', 'a non-canonical address is no null pointer');
  t.ok(buffer.every((byte) => byte === 0));
  guard.close();
});

t.test('listeners are told before the throw; what they throw does not replace the error', async (t) => {
  const guard = new Guard({ mechanism: 'flag' });
  const read = guard.load(FOREIGN).func('int test_read(uint64_t address)');
  const told: CalloutError[] = [];
  const warnings: unknown[] = [];
  process.on('warning', (warning) => warnings.push(warning));
  const stopFirst = guard.onFault(() => {
    throw new Error('a listener of bad manners');
  });
  const stop = guard.onFault((error) => told.push(error));
  const error = fault(() => read(8));
  t.strictSame(told, [error]);
  t.match(told[0]?.stack, /guard\.test/);
  stop();
  stopFirst();
  fault(() => read(16));
  t.equal(told.length, 1);
  await new Promise((resolve) => setImmediate(resolve));
  t.match(warnings, [{ message: 'a listener of bad manners' }]);
  guard.close();
});

t.test('constructors and destructors are foreign code too', async (t) => {
  const ctor = built('libturnkey_foreign_ctor.so');
  const result = runChild(
    `
    const guard = new Guard({ mechanism: 'flag' });
    process.env.TURNKEY_FOREIGN_CTOR = 'write:0x1230';
    try {
      guard.load(${JSON.stringify(ctor)});
    } catch (error) {
      console.log(error.phase, error.function, error.address, error.module);
    }
    process.kill(process.pid, 'SIGKILL');   // the loader's lock may be held by now
  `,
    { env: { TURNKEY_FOREIGN_CTOR: 'write:0x1230' } },
  );
  t.equal(result.stdout, `load dlopen 4656n ${ctor}\n`, result.stderr);
  const fine = runChild(
    `
    const lib = new Guard({ mechanism: 'flag' }).load(${JSON.stringify(ctor)});
    console.log(lib.func('int foreign_ctor_loaded()')());
    lib.unload();
  `,
    { env: { TURNKEY_FOREIGN_CTOR: 'none' } },
  );
  t.equal(fine.stdout, '1\n', fine.stderr);
});

t.test('unloading: functions throw, errors still know where they came from', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'turnkey-'));
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  const copy = join(directory, 'libgone.so');
  copyFileSync(FOREIGN, copy);
  const guard = new Guard({ mechanism: 'flag' });
  const lib = guard.load(copy);
  const write = lib.func('int test_write(uint64_t address, int value)');
  const large = lib.func('int64_t test_total_length(const char **strings)');
  const error = fault(() => write(8, 1));
  lib.unload();
  t.equal(error.symbol, 'test_write', 'asked for after the library was unloaded');
  t.equal(error.module, copy);
  t.throws(() => write(8, 1), /libgone\.so' was unloaded/);
  t.throws(() => large([null]), /libgone\.so' was unloaded/);
  t.throws(() => lib.func('int test_add(int, int)'), /was unloaded/);
  t.throws(() => lib.symbol('test_add'), /was unloaded/);
  t.throws(() => {
    lib.unload();
  }, /was unloaded/);
  guard.close();
});

t.test('a library or symbol that is not there is one clear error', async (t) => {
  const guard = new Guard({ mechanism: 'flag' });
  t.throws(() => guard.load('libnosuchthing.so.9'), /libnosuchthing\.so\.9.*full path/s);
  const directory = mkdtempSync(join(tmpdir(), 'turnkey-'));
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  writeFileSync(join(directory, 'text.so'), 'this is no library');
  t.throws(() => guard.load(join(directory, 'text.so')), /text\.so/);
  t.throws(() => guard.load(directory), /cannot load/);
  t.throws(() => guard.load(''), TypeError);
  t.throws(() => guard.load(5 as unknown as string), TypeError);
  const lib = guard.load(FOREIGN);
  t.throws(() => lib.func('int test_missing(int)'), /'test_missing'.*libturnkey_callout_foreign/s);
  t.throws(() => lib.symbol('test_missing'), /'test_missing'/);
  t.throws(() => lib.symbol(5 as unknown as string), TypeError);
  guard.close();
});

t.test('use after close', async (t) => {
  const guard = new Guard({ mechanism: 'flag' });
  const lib = guard.load(FOREIGN);
  const add = lib.func('int test_add(int a, int b)');
  const text = lib.func<(which: number) => string>('const char *test_text(int which)');
  t.equal(text(1), 'plain');
  guard.close();
  guard.close();
  t.throws(() => add(1, 2), /guard was closed/);
  t.throws(() => text(1), /guard was closed/);
  await t.rejects(text.promise(1), /guard was closed/);
  t.throws(() => guard.load(FOREIGN), /guard was closed/);
  t.throws(() => lib.func('int test_add(int, int)'), /guard was closed/);
  t.throws(() => {
    guard.response = 'never';
  }, /guard was closed/);
});

t.test('guards that are made and closed leave nothing behind', async (t) => {
  const { native } = (await import('../../src/native.js')) as unknown as {
    native: { statistics(): { thunksLive: number; callbacksLive: number } };
  };
  const before = native.statistics();
  for (let i = 0; i < 2000; i++) {
    const guard = new Guard({ mechanism: 'flag' });
    guard.load(null).func('int abs(int)')(-1);
    guard.close();
  }
  const after = native.statistics();
  t.equal(after.thunksLive, before.thunksLive);
  t.equal(after.callbacksLive, before.callbacksLive);
});
