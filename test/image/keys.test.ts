// lanes: native, emulated
/** The mechanisms of an image with and without keys, and the threads that take part in it. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';

import t from 'tap';

import { Image, type ImageError, probe } from '../../src/index.js';
import { code, small, thrown } from '../support/image.js';

t.test('one image has one mechanism', (t) => {
  const image = small();
  image.setMechanism('mprotect-range');
  t.equal(image.mechanism, 'mprotect-range');
  t.doesNotThrow(() => {
    image.setMechanism('mprotect-range');
  });
  t.equal(
    code(() => {
      image.setMechanism('flag');
    }),
    'ERR_MECHANISM_SET',
  );
  t.match(
    thrown(() => {
      image.setMechanism('flag');
    }).message,
    /protected by 'mprotect-range' already.*Map another image/,
  );
  t.ok(image.verifyTags().ok);
  image.close();
  t.end();
});

t.test('probe says what there is, or why not', (t) => {
  const p = probe();
  t.equal(p.usable, p.cpuPku && p.cpuOspke && p.allocWorks && p.tagWorks && p.denyWorks);
  t.equal(p.reason === '', p.usable);
  t.end();
});

const usable = probe().usable;
const noKeys = usable || process.env['TURNKEY_REQUIRE_PKEYS'] ? false : `no keys here: ${probe().reason}`;

t.test(
  'without keys, mechanism pkeys says why and leaves the image as it was',
  { skip: usable ? 'this machine has keys' : false },
  (t) => {
    const image = small(),
      error = thrown(() => {
        image.setMechanism('pkeys');
      });
    t.equal((error as ImageError).code, 'ERR_PKEYS_UNAVAILABLE');
    t.ok(error.message.includes(probe().reason));
    t.equal(image.mechanism, undefined);
    t.doesNotThrow(() => {
      image.setMechanism('none');
    });
    image.close();
    t.end();
  },
);

t.test('with keys: pages are tagged, one key for the image or one for each space', { skip: noKeys }, (t) => {
  const one = small();
  one.setMechanism('pkeys');
  const keys = one.spaces.map((s) => s.key);
  t.ok(keys[0] !== 0 && keys.every((k) => k === keys[0]));
  t.ok(one.verifyTags().ok);
  one.fill(1);
  one.snapshot();
  t.ok(one.verify().ok && one.diff().equal);
  const each = Image.map({
    keys: 'space',
    spaces: [
      { name: 'a', bytes: 8192 },
      { name: 'b', bytes: 8192, deny: 'access' },
    ],
  });
  each.setMechanism('pkeys');
  t.equal(new Set([...each.spaces.map((s) => s.key), keys[0], 0]).size, 4);
  t.ok(each.verifyTags().ok);
  const loan = each.lend(100);
  loan.buffer.fill(1);
  loan.release();
  const mixed = Image.map({
    spaces: [
      { name: 'a', bytes: 8192 },
      { name: 'b', bytes: 8192, deny: 'access' },
    ],
  });
  t.equal(
    code(() => {
      mixed.setMechanism('pkeys');
    }),
    'ERR_IMAGE_KEYS',
  );
  for (const image of [one, each, mixed]) image.close();
  t.end();
});

t.test('one key more than there are: a clear error, and the image as it was', { skip: noKeys }, (t) => {
  const free = probe().keysFree;
  const image = Image.map({
    keys: 'space',
    spaces: Array.from({ length: free + 1 }, (_, i) => ({ name: `s${i}`, bytes: 4096 })),
  });
  const error = thrown(() => {
    image.setMechanism('pkeys');
  });
  t.equal((error as ImageError).code, 'ERR_KEYS_EXHAUSTED');
  t.match(error.message, /keys: 'image'/);
  t.equal(image.mechanism, undefined);
  t.equal(probe().keysFree, free, 'none was kept');
  t.ok(image.spaces.every((s) => s.key === 0));
  image.close();
  t.end();
});

/** A worker that has made and filled an image of its own. */
async function worker(): Promise<{
  readonly ask: (message: object) => Promise<unknown>;
  readonly end: () => Promise<number>;
}> {
  // without the test runner's loaders
  const w = new Worker(new URL('worker.js', import.meta.url), { execArgv: [] });
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      w.once('message', resolve);
      w.once('error', reject);
    });
  const ready = await next();
  t.same(ready, { ready: true, ok: true });
  return {
    ask(message) {
      const answer = next();
      w.postMessage(message);
      return answer;
    },
    end() {
      const exit = new Promise<number>((resolve) => w.once('exit', resolve));
      w.postMessage({ end: true });
      return exit;
    },
  };
}

t.test('I13: a worker older than the image and its keys takes part in it, and so does a younger one', async (t) => {
  const older = await worker();
  const image = small();
  image.fill(5);
  const mechanism = usable ? 'pkeys' : 'mprotect-page';
  image.setMechanism(mechanism);
  t.same(await older.ask({ attach: image.id, write: 300_000 }), { ok: true, mechanism });
  t.equal(image.space('old').read(300_000, 6).toString(), 'worker');
  image.fill(5);
  const younger = await worker();
  t.same(await younger.ask({ attach: image.id, write: 300_100 }), { ok: true, mechanism });
  t.equal(image.space('old').read(300_100, 6).toString(), 'worker');
  t.equal(await older.end(), 0);
  t.equal(await younger.end(), 0);
  t.ok(image.isOpen, 'a worker that ends closes nothing that others hold');
  image.close();
});

t.test(
  'images that are forgotten do not use up the places for images: their threads end, or they are collected',
  async (t) => {
    for (let i = 0; i < 2; i++) {
      const w = new Worker(
        `const { workerData } = require('node:worker_threads'); import(workerData).then(({ Image }) => { for ` +
          `(let i = 0; i < 9; i++) Image.map({ spaces: [{ name: 'a', bytes: 4096 }] }); });`,
        { eval: true, execArgv: [], workerData: new URL('../../src/index.js', import.meta.url).href },
      );
      t.equal(
        await new Promise((resolve, reject) => {
          w.once('exit', resolve);
          w.once('error', reject);
        }),
        0,
      );
    }
    t.doesNotThrow(() => {
      small().close();
    }, '18 images were left open by threads that are gone; a process may have 16');
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    for (let i = 0; i < 20; i++) {
      Image.map({ spaces: [{ name: 'a', bytes: 4096 }] });
      if (i % 5 === 4) {
        await new Promise((resolve) => setImmediate(resolve));
        collect();
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    t.pass('20 images, one after another, none closed by hand');
  },
);
