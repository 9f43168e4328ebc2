// lanes: native, emulated
/** Asynchronous callouts: each in flight settles with its own result or its own error. */
import { promisify } from 'node:util';

import koffi from 'koffi';
import t from 'tap';

import { CalloutError, Guard, Image } from '../../src/index.js';
import { FOREIGN, FOREIGN_FAULTS, runChild } from '../support/callout.js';

koffi.proto('int AsyncUnary(int value)');
koffi.struct('AsyncLarge', {
  id: 'int32_t',
  name: 'const char *',
  weight: 'double',
  wide: 'const char16_t *',
  tail: koffi.array('uint8_t', 5),
});

const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 20 }] });
image.fill(7);
image.snapshot();
const guard = new Guard({ image });
const lib = guard.load(FOREIGN);

/** The error a promise is refused with. */
async function refused(promise: Promise<unknown>): Promise<CalloutError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof CalloutError) return error;
    throw error;
  }
  throw new Error('it was kept');
}

t.test('200 async calls on the pool, every third faulting, each settles with its own error', async (t) => {
  const call = lib.func<(fault: number, value: number) => number>('double test_maybe_fault(int fault, double value)');
  const settled = await Promise.allSettled(
    Array.from({ length: 200 }, (_, index) => call.promise(index % 3 === 2 ? 0x1000 + 8 * index : 0, index)),
  );
  const threads = new Set<number>();
  settled.forEach((outcome, index) => {
    if (index % 3 !== 2) {
      t.same(outcome, { status: 'fulfilled', value: 2 * index });
      return;
    }
    const error = outcome.status === 'rejected' ? (outcome.reason as CalloutError) : undefined;
    t.equal(error?.address, BigInt(0x1000 + 8 * index), `call ${index} has its own fault`);
    t.strictSame(error?.arguments, [0x1000 + 8 * index, index]);
    threads.add(error?.threadId ?? 0);
  });
  t.comment(`faults on ${threads.size} threads`);
  t.notOk(threads.has(process.pid), 'none on the main thread');
  t.ok(image.diff().equal);
});

t.test('a fault leaves the pool usable, hundreds of times over', async (t) => {
  const call = lib.func<(fault: number, value: number) => number>('double test_maybe_fault(int fault, double value)');
  for (let round = 0; round < 10; round++) {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, (_, index) => call.promise(index % 2 === 0 ? 8 : 0, index)),
    );
    t.equal(outcomes.filter(({ status }) => status === 'rejected').length, 25);
  }
});

t.test('the callback form, and promisify', async (t) => {
  const add = lib.func<(a: number, b: number) => number>('int test_add(int a, int b)');
  t.equal(await add.promise(40, 2), 42);
  t.equal(
    await promisify(
      add.async as unknown as (a: number, b: number, done: (error: unknown, result: number) => void) => void,
    )(40, 2),
    42,
  );
  t.throws(() => {
    add.async(1, 2);
  }, /Expected 3 arguments, got 2/);
  t.throws(() => {
    add.async(1, 2, 'no function');
  }, /Expected callback function/);
  await t.rejects(add.promise('one' as never, 2), TypeError);
  await new Promise<void>((resolve) => {
    add.async('one', 2, (error: unknown) => {
      t.ok(error instanceof TypeError);
      resolve();
    });
  });
  t.notOk('async' in lib.func('double test_variadic(const char *kinds, ...)'));
});

t.test('results and out-parameters are decoded in the completion, guarded', async (t) => {
  const large = lib.func<(id: number, name: bigint, wide: number) => unknown>(
    'AsyncLarge test_large(int id, uint64_t name, uint64_t wide)',
  );
  const address = lib.func<(which: number) => bigint>('void *test_text(int which)')(1);
  t.same(await large.promise(8, address, 0), {
    id: 8,
    name: 'plain',
    weight: 4,
    wide: null,
    tail: Uint8Array.of(1, 2, 3, 4, 5),
  });
  t.equal((await refused(large.promise(8, 0x1234n, 0))).phase, 'decode');
  const faulting = lib.func<(address: number) => unknown>('AsyncLarge test_large_fault(uint64_t address)');
  t.equal((await refused(faulting.promise(8))).phase, 'call');
  const text = lib.func<(address: bigint | number) => string>('const char *test_string(uint64_t address)');
  t.equal(await text.promise(address), 'plain');
  t.equal((await refused(text.promise(0x1234))).phase, 'decode');
  const out = lib.func<(out: [string | null], address: bigint) => void>(
    'void test_out_string(_Out_ const char **out, uint64_t address)',
  );
  const values = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const value: [string | null] = [null];
      await out.promise(value, address);
      return value[0];
    }),
  );
  t.ok(values.every((value) => value === 'plain'));
  t.equal((await refused(out.promise([null], 0x1234n))).phase, 'decode');
});

t.test('callbacks of an async call run on the main thread, and may fault in callouts of their own', async (t) => {
  const twice = lib.func<(callback: (value: number) => number, value: number) => number>(
    'int test_call_twice(AsyncUnary *callback, int value)',
  );
  const write = lib.func('int test_write(uint64_t address, int value)');
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      twice.promise((value) => {
        t.throws(() => write(8, 1), { code: 'ERR_CALLOUT_FAULT' });
        return value;
      }, index),
    ),
  );
  t.strictSame(
    results,
    Array.from({ length: 20 }, (_, index) => 2 * index + 1),
  );
  const then = lib.func<(callback: (value: number) => number, value: number, address: number) => number>(
    'int test_call_then_write(AsyncUnary *callback, int value, uint64_t address)',
  );
  t.equal((await refused(then.promise((value) => value, 1, 16))).address, 16n);
});

t.test('the stack is that of who called', async (t) => {
  const write = lib.func<(address: number, value: number) => number>('int test_write(uint64_t address, int value)');
  function theCaller(): Promise<number> {
    return write.promise(8, 1);
  }
  const error = await refused(theCaller());
  t.match(error.stack, /CalloutError: exception in FFI call: test_write[^\n]*\n[^\n]*theCaller/);
  const viaCallback = await new Promise<CalloutError>((resolve) => {
    (function anotherCaller() {
      write.async(8, 1, (failure: unknown) => {
        resolve(failure as CalloutError);
      });
    })();
  });
  t.match(viaCallback.stack, /\n[^\n]*anotherCaller/);
});

t.test('loans in asynchronous calls', async (t) => {
  const fill = guard
    .load(FOREIGN_FAULTS)
    .func<(bytes: unknown, count: number, value: number) => void>(
      'void foreign_fill(uint8_t *bytes, uint64_t count, uint8_t value)',
    );
  const loan = image.lend(64, 'out');
  await fill.promise(loan, 64, 9);
  t.ok(loan.buffer.every((byte) => byte === 9));
  loan.release();
});

t.test('more in flight than koffi takes is an error, not a hang', async (t) => {
  const result = runChild(`
    koffi.config({ max_async_calls: 8, resident_async_pools: 4 });
    const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);
    const add = lib.func('int test_add(int a, int b)');
    const outcomes = await Promise.allSettled(Array.from({ length: 200 }, (_, index) => add.promise(index, 1)));
    const kept = outcomes.filter(outcome => outcome.status === 'fulfilled').length;
    const rejected = outcomes.filter(outcome => outcome.status === 'rejected');
    const reasons = new Set(rejected.map(outcome => outcome.reason.message));
    console.log(kept > 0 && kept < 200, [...reasons].join());
    console.log(await add.promise(40, 2));
  `);
  t.equal(result.stdout, 'true Too many asynchronous calls are running\n42\n', result.stderr);
});

t.teardown(() => {
  guard.close();
  image.close();
});
