// lanes: native, emulated
/** Guarded callouts in worker threads: older and younger than the image, made in a callback, many at once. */
import t from 'tap';

import { runChild } from '../support/callout.js';

/* What each worker does: honest calls, faults, callbacks, async calls; answers with what went wrong. */
const WORK = `
async function work(mechanism, imageId) {
  const image = imageId === undefined ? undefined : Image.attach(imageId);
  const guard = new Guard({ mechanism, ...(image ? { image } : {}) });
  const lib = guard.load(FOREIGN);
  const add = lib.func('int test_add(int a, int b)');
  const write = lib.func('int test_write(uint64_t address, int value)');
  koffi.proto('int WorkerUnary(int value)');
  const twice = lib.func('int test_call_twice(WorkerUnary *callback, int value)');
  const text = lib.func('const char *test_string(uint64_t address)');
  let faults = 0;
  for (let i = 0; i < 100; i++) {
    assert.equal(add(i, 1), i + 1);
    try { write(16 + 8 * i, 1); } catch (error) { assert.equal(error.address, BigInt(16 + 8 * i)); faults++; }
    try { text(0x1234); } catch (error) { assert.equal(error.phase, 'decode'); faults++; }
    assert.equal(twice(value => { try { write(8, 1); } catch (error) { faults++; } return value; }, i), 2 * i + 1);
  }
  const settled = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => write.promise(8, i)));
  faults += settled.filter(({ reason }) => reason instanceof CalloutError).length;
  return { faults, add: add(40, 2) };
}
const EXPECTED = { faults: 100 * 4 + 30, add: 42 };
`;

function scene(script: string): { readonly out: string; readonly err: string } {
  const head = `import { writeFileSync, mkdtempSync } from 'node:fs';`;
  const result = runChild(`${head}\n${WORK}\n${script}`);
  return { out: result.stdout, err: `${result.stderr} (${result.signal ?? result.status})` };
}

/* A worker cannot be made from the -e script itself: it evaluates the work, then waits to be told. */
const SPAWN = `
const code = ${JSON.stringify(WORK)};
function spawn() {
  const source = HEAD + code + \`
    parentPort.on('message', async ({ mechanism, imageId }) => {
      try {
        parentPort.postMessage({ result: await work(mechanism, imageId) });
      } catch (error) {
        parentPort.postMessage({ error: String(error.stack) });
      }
      parentPort.close();
    });
    parentPort.postMessage('ready');\`;
  const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)));
  worker.ready = new Promise((resolve, reject) => { worker.once('message', resolve); worker.once('error', reject); });
  worker.run = message => new Promise((resolve, reject) => {
    worker.once('message', resolve); worker.once('error', reject); worker.postMessage(message);
  }).then(answer => { if (answer.error) throw new Error(answer.error); return answer.result; });
  return worker;
}
`;

/* 'auto' is keys where there are any; 'flag' has its turn in the scenes below. */
for (const mechanism of ['auto']) {
  t.test(`I13: a worker older than the image, and a younger one: ${mechanism}`, async (t) => {
    const { out, err } = scene(`${SPAWN}
      const older = spawn();
      await older.ready;
      const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 20 }] });
      image.fill(3); image.snapshot();
      const guard = new Guard({ image, mechanism: ${JSON.stringify(mechanism)} });
      const message = { mechanism: guard.mechanism, imageId: image.id };
      assert.deepEqual(await older.run(message), EXPECTED);
      const younger = spawn();
      await younger.ready;
      assert.deepEqual(await younger.run(message), EXPECTED);
      assert.ok(image.diff().equal);
      console.log('both');
    `);
    t.equal(out, 'both\n', err);
  });

  t.test(`I4, I13: eight workers and the main thread at once: ${mechanism}`, async (t) => {
    const { out, err } = scene(`${SPAWN}
      const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 20 }] });
      image.fill(3); image.snapshot();
      const guard = new Guard({ image, mechanism: ${JSON.stringify(mechanism)} });
      const workers = Array.from({ length: 8 }, spawn);
      await Promise.all(workers.map(worker => worker.ready));
      const message = { mechanism: guard.mechanism, imageId: image.id };
      const results = Promise.all(workers.map(worker => worker.run(message)));
      assert.deepEqual(await work(guard.mechanism, image.id), EXPECTED);
      for (const result of await results) assert.deepEqual(result, EXPECTED);
      assert.ok(image.diff().equal);
      console.log('all');
    `);
    t.equal(out, 'all\n', err);
  });
}

t.test('a worker made inside a callback', async (t) => {
  const { out, err } = scene(`${SPAWN}
    koffi.proto('int MakerUnary(int value)');
    const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);
    let worker;
    lib.func('int test_call_twice(MakerUnary *callback, int value)')(value => { worker ??= spawn(); return value; }, 1);
    await worker.ready;
    assert.deepEqual(await worker.run({ mechanism: 'flag' }), EXPECTED);
    console.log('made');
  `);
  t.equal(out, 'made\n', err);
});

t.test('workers that come and go leave nothing behind', async (t) => {
  const { out, err } = scene(`${SPAWN}
    import { native } from '${new URL('../../src/native.js', import.meta.url).href}';
    const round = async () => {
      const worker = spawn();
      await worker.ready;
      await worker.run({ mechanism: 'flag' });
      await worker.terminate();
    };
    // each of libuv's four threads has called out: which of them a worker's calls go to is chance
    const usleep = new Guard({ mechanism: 'flag' }).load('libc.so.6').func('int usleep(unsigned int us)');
    await Promise.all([1, 2, 3, 4].map(() => usleep.promise(300000)));
    await round();
    const before = native.statistics();
    for (let i = 0; i < 3; i++) await round();
    const after = native.statistics();
    const more = (name) => after[name] - before[name];
    console.log(more('thunksLive'), more('callbacksLive'), more('threadsLive'));
  `);
  t.equal(out, '0 0 0\n', err);
});
