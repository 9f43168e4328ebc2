// lanes: native, emulated
/**
 * What outlives a call: closing while calls are in flight, workers that end, foreign threads that keep callbacks,
 * buffers that go away. Also threads that cannot be attached, and whatever is called first.
 */
import { readFileSync } from 'node:fs';

import t from 'tap';

import { CalloutError, Guard, GUARD_MECHANISMS, type GuardMechanism, Image, probe } from '../../src/index.js';
import { FOREIGN, runChild } from '../support/callout.js';

/* What needs no keys is tested in the native lane. */
const MECHANISMS: readonly GuardMechanism[] = GUARD_MECHANISMS.filter((mechanism) =>
  probe().usable ? mechanism.startsWith('pkeys') || mechanism === 'none' : !mechanism.startsWith('pkeys'),
);

const settle = <T>(promise: Promise<T>): Promise<T | Error> =>
  promise.then(
    (value) => value,
    (error: unknown) => error as Error,
  );

/* Broken once: functions were made before koffi had its memory; the first call under `none` died by SIGSEGV. */
t.test('whatever is called first, under any mechanism, nothing crashes', (t) => {
  const firsts: Readonly<Record<string, string>> = {
    load: `assert.equal(guard.load(FOREIGN).func('int test_add(int, int)')(40, 2), 42);`,
    program: `assert.equal(guard.load(null).func('int abs(int)')(-3), 3);`,
    async: `assert.equal(await guard.load(FOREIGN).func('int test_add(int, int)').promise(40, 2), 42);`,
    decode:
      `assert.equal(guard.decode(guard.load(FOREIGN).symbol('test_add'), koffi.proto('int', ['int', ` +
      `'int']))(1, 2), 3);`,
    call:
      `assert.equal(guard.call(guard.load(FOREIGN).symbol('test_add'), koffi.proto('int', ['int', ` +
      `'int']), 1, 2), 3);`,
    register: `const type = koffi.pointer(koffi.proto('int', ['int']));
      const code = guard.register((x) => [x].map((y) => y + 1)[0], type);
      assert.equal(guard.load(FOREIGN).func('test_call_twice', 'int', ['void *', 'int'])(code, 5), 13);`,
    unload: `const lib = guard.load(FOREIGN); lib.unload(); guard.load(FOREIGN).unload();`,
  };
  for (const mechanism of MECHANISMS) {
    for (const [first, script] of Object.entries(firsts)) {
      const { status, signal, stderr } = runChild(`
        const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 16 }] });
        const guard = new Guard({ image, mechanism: '${mechanism}' });
        ${script}`);
      t.strictSame([status, signal], [0, null], `${first} first, under ${mechanism}: ${stderr.slice(0, 300)}`);
    }
  }
  t.end();
});

/* Broken once: close() released the thunks at once, and the pool thread met the gate that dies. */
t.test('calls in flight come back when their guard closes or their library is unloaded', async (t) => {
  for (const how of ['close', 'unload', 'dispose'] as const) {
    const guard = new Guard({ mechanism: 'flag' });
    const lib = guard.load(FOREIGN);
    const sleep = lib.func<(us: number) => number>('int test_sleep(int us)');
    const bad = lib.func<(us: number, address: number) => number>(
      'int test_sleep_then_write(int us, uint64_t address)',
    );
    const calls = [settle(sleep.promise(50_000)), settle(bad.promise(50_000, 8)), settle(sleep.promise(1))];
    if (how === 'close') guard.close();
    else if (how === 'unload') lib.unload();
    else await guard[Symbol.asyncDispose]();
    t.throws(() => sleep(1), /was closed|was unloaded/, how);
    const [slept, failed, short] = await Promise.all(calls);
    t.equal(slept, 50_000);
    t.equal(short, 1);
    t.ok(failed instanceof CalloutError && failed.address === 8n);
    await guard.idle();
    guard.close();
  }
  t.test('in a callback of a callout, too', async (t) => {
    const guard = new Guard({ mechanism: 'flag' });
    const lib = guard.load(FOREIGN);
    const { pointer, proto } = (await import('koffi')).default;
    const twice = lib.func<(callback: (x: number) => number, x: number) => number>('test_call_twice', 'int', [
      pointer(proto('int', ['int'])),
      'int',
    ]);
    let times = 0;
    const result = twice((x) => {
      if (times++ === 0) lib.unload();
      else guard.close();
      return x;
    }, 5);
    t.equal(result, 11, 'the callee went on in code that is there');
    t.throws(() => twice((x) => x, 1), /was unloaded|was closed/);
    await new Promise(setImmediate);
  });
  t.end();
});

t.test('a loan and an image stay until the call that uses them has come back', async (t) => {
  const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 16 }] });
  const guard = new Guard({ image, mechanism: 'mprotect-range' });
  const fill = guard
    .load(FOREIGN)
    .func<(to: unknown, bytes: number, us: number) => number>(
      'int test_sleep_then_fill(uint8_t *to, int bytes, int us)',
    );
  const loan = image.lend({ space: 'old', offset: 64, bytes: 32 });
  const call = fill.promise(loan, 32, 50_000);
  loan.release();
  t.ok(loan.released);
  t.throws(() => image.close(), { code: 'ERR_IMAGE_BUSY' }, 'a loan is out');
  t.throws(() => fill(loan, 1, 0), /was released/);
  t.equal(await call, 32);
  t.ok(
    image
      .space('old')
      .read(64, 32)
      .every((byte) => byte === 0xab),
    'and is copied back then',
  );

  const other = fill.promise(Buffer.alloc(8), 8, 50_000);
  const { address } = image.space('old');
  image.close();
  t.notOk(image.isOpen);
  t.throws(() => image.hash(), { code: 'ERR_IMAGE_CLOSED' });
  t.equal(guard.load(FOREIGN).func('int test_is_null(const void *)')(address), 0, 'its pages are there');
  t.equal(await other, 8);
  guard.close();
});

t.test('a buffer that is transferred or shrunk in flight is held; a detached one is a TypeError', async (t) => {
  const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);
  const fill = lib.func<(to: unknown, bytes: number, us: number) => number>(
    'int test_sleep_then_fill(uint8_t *to, int bytes, int us)',
  );
  const isNull = lib.func('int test_is_null(const void *)');
  const kept = new Uint8Array(64);
  t.equal(await fill.promise(kept, 64, 1000), 64);
  t.ok(kept.every((byte) => byte === 0xab));

  const gone = new Uint8Array(1 << 20);
  const call = settle(fill.promise(gone, 1 << 20, 50_000));
  structuredClone(gone, { transfer: [gone.buffer] });
  const outcome = await call;
  t.ok(outcome instanceof TypeError && outcome.message.includes('was transferred or shrunk'));
  t.throws(() => isNull(gone), TypeError);
  t.throws(() => isNull(gone.buffer), TypeError);
  await t.rejects(fill.promise(gone, 1, 0), TypeError);
  t.equal(isNull(new Uint8Array(0)), isNull(new Uint8Array(0)), 'an empty buffer is none that was detached');
  t.equal(isNull(null), 1);

  const resizable = new (ArrayBuffer as unknown as new (
    n: number,
    o: object,
  ) => ArrayBuffer & { resize(n: number): void })(4096, { maxByteLength: 8192 });
  const shrinking = settle(fill.promise(new Uint8Array(resizable), 4096, 50_000));
  resizable.resize(16);
  t.ok((await shrinking) instanceof TypeError);

  const shared = new Uint8Array(new SharedArrayBuffer(64));
  const sharing = fill.promise(shared, 64, 50_000);
  await sharing;
  t.ok(
    shared.every((byte) => byte === 0xab),
    'shared memory is passed in place',
  );
});

t.test('foreignStack: false leaves a function, or all of a guard, on the stack of its caller', (t) => {
  const of = (guard: Guard, options = {}): bigint =>
    BigInt(guard.load(FOREIGN).func('uint64_t test_stack_address()', options)() as number | bigint);
  const bare = of(new Guard({ mechanism: 'none' }));
  const near = (address: bigint): boolean => (address > bare ? address - bare : bare - address) < 65_536n;
  const guard = new Guard({ mechanism: 'flag' });
  t.notOk(near(of(guard)), 'a foreign stack');
  t.ok(near(of(guard, { foreignStack: false })), "koffi's");
  const on = new Guard({ mechanism: 'flag', foreignStack: false });
  t.ok(near(of(on)));
  t.notOk(near(of(on, { foreignStack: true })));
  /* docs/troubleshooting.md, on collectors: neither stack is the one that the thread's bounds name. */
  const [from = 0n, to = 0n] = (/^(\w+)-(\w+) .*\[stack\]$/m.exec(readFileSync('/proc/self/maps', 'latin1')) ?? [])
    .slice(1)
    .map((bound) => BigInt(`0x${bound}`));
  t.ok(from < to);
  for (const address of [bare, of(guard), of(on)]) t.notOk(from <= address && address < to, "not the thread's stack");
  t.end();
});

t.test('a CalloutError that crosses to another thread says what the original says', (t) => {
  const write = new Guard({ mechanism: 'flag' }).load(FOREIGN).func('int test_write(uint64_t address, int value)');
  let error: CalloutError | undefined;
  try {
    write(8, 1);
  } catch (thrown) {
    error = thrown as CalloutError;
  }
  t.ok(error instanceof CalloutError);
  const clone = structuredClone(error as CalloutError); /* before anybody looked at the message */
  t.equal(clone.message, error?.message);
  t.match(
    clone.message,
    /^exception in FFI call: test_write \(.*\): SIGSEGV \(SEGV_MAPERR\) write to 0x8, pc 0x[0-9a-f]+$/,
  );
  t.equal(clone.stack, error?.stack);
  t.match(clone.stack, /^CalloutError: exception in FFI call: test_write/);
  t.equal(error?.pc, BigInt(/pc (0x[0-9a-f]+)$/.exec(clone.message)?.[1] ?? 0));
  t.match(structuredClone(error?.toJSON()), {
    errorCode: 11,
    errorName: 'exception in FFI call',
    function: 'test_write',
  });
  const { stdout, stderr } = runChild(`
    if (isMainThread) {
      const write = "new Guard({ mechanism: 'flag' }).load(FOREIGN).func('int test_write(uint64_t, int)')(8, 1)";
      const worker = new Worker(HEAD + write, { eval: true });
      worker.on('error', (e) => console.log(e.name, e.message, e.errorName, e.errorCode, e.pc, e.function));
    }`);
  t.match(
    stdout,
    /CalloutError exception in FFI call: test_write .* exception in FFI call 11 \d+n? test_write/,
    stderr,
  );
  t.end();
});

t.test('a foreign thread that keeps a callback does not change how the program ends', (t) => {
  const body = (after: string): string => `
    const type = koffi.pointer(koffi.proto('int', ['int']));
    const guard = new Guard({ mechanism: 'flag' });
    const lib = guard.load(FOREIGN);
    const code = guard.register((x) => x + 1, type);
    lib.func('test_repeat', 'int', [type])(code);
    const result = lib.func('int test_repeat_result()'), repeats = lib.func('long test_repeats()');
    while (result() !== 8) await new Promise((done) => setTimeout(done, 1));
    ${after}`;
  const ends: Readonly<Record<string, readonly [string, number]>> = {
    natural: ['', 0],
    exit: ['process.exit(3)', 3],
    throw: ["throw new Error('mine')", 1],
    unregister: [
      `guard.unregister(code);
       while (result() !== 0) await new Promise((done) => setTimeout(done, 1));`,
      0,
    ],
    close: [
      `guard.close(); const other = new Guard({ mechanism: 'flag' }).load(FOREIGN);
       const now = other.func('int test_repeat_result()');
       while (now() !== 0) await new Promise((done) => setTimeout(done, 1));`,
      0,
    ],
  };
  for (const [end, [after, expected]] of Object.entries(ends)) {
    const { status, signal, stderr } = runChild(body(after));
    t.strictSame([status, signal], [expected, null], `${end}: ${stderr.slice(0, 300)}`);
    t.ok((stderr.match(/turnkey: foreign code called|TurnkeyCallbackWarning/g) ?? []).length <= 2, 'told once each');
  }
  t.end();
});

/*
 * Many threads, so that some are just on their way to koffi when it takes its queue apart: those waited for ever, or
 * found freed memory. Broken once: no waiting for who is on the way.
 */
t.test('foreign threads that keep a callback of a dead worker get zeros', (t) => {
  const calling = JSON.stringify(`
    const type = koffi.pointer(koffi.proto('int', ['int']));
    const guard = new Guard({ mechanism: 'flag' });
    const lib = guard.load(FOREIGN);
    const repeat = lib.func('test_repeat', 'int', [type]), code = guard.register((x) => x + 1, type);
    for (let i = 0; i < 40; i++) repeat(code);
    const result = lib.func('int test_repeat_result()');
    while (result() !== 8) await new Promise((done) => setTimeout(done, 1));
    parentPort.postMessage('calls');
    setTimeout(() => {}, 1e6);`);
  const { status, signal, stdout } = runChild(`
    const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);
    const result = lib.func('int test_repeat_result()'), threads = lib.func('int test_repeat_threads()');
    for (let round = 0; round < 4; round++) {
      const worker = new Worker(HEAD + ${calling}, { eval: true });
      await new Promise((done) => worker.once('message', done));
      await worker.terminate();
      while (result() !== 0) await new Promise((done) => setTimeout(done, 1));
      lib.func('void test_repeat_end()')();
      while (threads() !== 0) await new Promise((done) => setTimeout(done, 1));
    }
    console.log('all came back'); process.exit(0);`);
  t.strictSame([status, signal, stdout], [0, null, 'all came back\n']);
  t.end();
});

/* Broken once: each call in flight made a koffi function; koffi dies when a worker is terminated meanwhile. */
t.test('a worker may be terminated at any moment of starting calls and of failing ones', (t) => {
  const rounds = process.env['TURNKEY_LANE'] === 'emulated' ? 6 : 60;
  const { status, signal, stdout, stderr } = runChild(`
    const body = HEAD + \`
      const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);
      const sleep = lib.func('int test_sleep(int)'), bad = lib.func('int test_sleep_then_write(int, uint64_t)');
      parentPort.postMessage('go');
      for (let i = 0; i < 50; i++) i & 1 ? sleep.async(2000, () => {}) : bad.promise(2000, 8).catch(() => {});
      setTimeout(() => {}, 1e6);\`;
    let seed = 42;
    for (let i = 0; i < ${rounds}; i++) {
      const worker = new Worker(body, { eval: true });
      await new Promise((done) => worker.once('message', done));
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      const moment = seed % 8000;
      for (const start = performance.now(); (performance.now() - start) * 1000 < moment; );
      await worker.terminate();
    }
    const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);
    await assert.rejects(lib.func('int test_sleep_then_write(int, uint64_t)').promise(0, 8), CalloutError);
    console.log('survived');`);
  t.strictSame([status, signal, stdout], [0, null, 'survived\n'], stderr.slice(0, 500));
  t.end();
});

t.test('a pool thread that finds no memory for its stacks rejects its call, and says what was short', (t) => {
  const { status, stdout, stderr } = runChild(`
        import { readFileSync, promises } from 'node:fs';
    const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);
    const add = lib.func('int test_add(int, int)');
    assert.equal(add(1, 2), 3);
    await promises.readFile('/etc/passwd'); /* the pool has its threads */
    const kib = Number(/VmSize:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
    const most = BigInt(kib + 4096) * 1024n, RLIMIT_AS = 9;
    koffi.load('libc.so.6').func('int setrlimit(int what, const uint64_t *limits)')(RLIMIT_AS, [most, most]);
    const error = await add.promise(1, 2).catch((e) => e);
    console.log(error.name, error.code, error.errorCode, error.message);
    assert.equal(add(3, 4), 7);`);
  t.equal(status, 0, stderr.slice(0, 300));
  t.match(
    stdout,
    /^CalloutError ERR_CALLOUT_REFUSED 0 exception in FFI call: test_add .*: not called, no memory for the \d+ KiB of stack/,
  );
  t.end();
});
