// lanes: native, emulated
/** The TypeScript API of the image: what it does, and what it says when it is asked for what cannot be. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';

import t from 'tap';

import { Image, ImageError, Loan, probe, type SpaceRequest } from '../../src/index.js';

const KIB = 1024;
const small = (): Image =>
  Image.map({
    spaces: [
      { name: 'eden', bytes: 64 * KIB },
      { name: 'old', bytes: 512 * KIB },
    ],
  });

/** The error that `run` throws; the test fails if it throws none. */
function thrown(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
function code(run: () => unknown): string {
  const error = thrown(run);
  return error instanceof ImageError ? error.code : error.name;
}

t.test('an image has its spaces in order, page-aligned, zeroed, apart from each other', (t) => {
  const image = Image.map({
    spaces: [
      { name: 'eden', bytes: 5000 },
      { name: 'old', bytes: 100 * KIB, reserveBytes: 1024 * KIB, deny: 'access' },
    ],
  });
  t.same(
    image.spaces.map((s) => s.name),
    ['eden', 'old'],
  );
  const eden = image.space('eden'),
    old = image.space('old');
  t.equal(eden.bytes, 8192);
  t.equal(old.reservedBytes, 1024 * KIB);
  t.equal(old.deny, 'access');
  t.equal(eden.deny, 'write');
  t.equal(typeof eden.address, 'bigint');
  t.equal(eden.address % 4096n, 0n);
  t.ok(eden.address + BigInt(eden.reservedBytes) < old.address, 'something lies between');
  t.equal(eden.key, 0);
  t.ok(eden.read().every((b) => b === 0));
  t.equal(image.mechanism, undefined);
  image.close();
  t.end();
});

t.test('fill, verify, snapshot, diff, restore: damage is told in bytes and objects, and undone', (t) => {
  const image = small();
  const filled = image.fill(42);
  t.ok(filled.objects > 5000);
  const sound = image.verify();
  t.ok(sound.ok);
  t.equal(sound.objects, filled.objects);
  t.same(
    sound.spaces.map((s) => [s.name, s.content, s.walkedBytes]),
    [
      ['eden', 'graph', 64 * KIB],
      ['old', 'graph', 512 * KIB],
    ],
  );
  t.equal(
    code(() => image.diff()),
    'ERR_IMAGE_SNAPSHOT',
  );
  t.equal(
    code(() => image.restore()),
    'ERR_IMAGE_SNAPSHOT',
  );
  t.notOk(image.hasSnapshot);
  image.snapshot();
  t.ok(image.hasSnapshot);
  t.ok(image.diff().equal);
  const before = image.hash(),
    old = image.space('old');
  const hit = old.objectAt(300 * KIB);
  old.write(hit.offset, Buffer.alloc(8, 0xff));
  old.write(400 * KIB + 1, Buffer.from([(old.read(400 * KIB + 1, 1)[0] as number) ^ 0x55]));
  const diff = image.diff();
  t.equal(diff.rangeCount, 2);
  t.notOk(diff.equal);
  t.equal(diff.ranges[0]?.space, 'old');
  t.equal(diff.ranges[0]?.object?.offset, hit.offset);
  t.equal(diff.ranges[0]?.object?.slot, null, 'the header');
  t.equal(diff.ranges[1]?.offset, 400 * KIB + 1);
  t.equal(diff.ranges[1]?.bytes, 1);
  t.equal(diff.ranges[1]?.address, old.address + BigInt(400 * KIB + 1));
  const damaged = image.verify({ limit: 3 });
  t.notOk(damaged.ok);
  t.ok(damaged.problems.length <= 3 && damaged.problemCount >= damaged.problems.length);
  t.equal(damaged.problems[0]?.space, 'old');
  t.not(image.hash(), before);
  t.equal(image.restore(), 8192, 'two blocks');
  t.ok(image.diff().equal);
  t.ok(image.verify().ok);
  t.equal(image.hash(), before);
  t.equal(image.restore(), 0);
  image.close();
  t.end();
});

t.test('the same seed gives the same graph, apart from where it lies', (t) => {
  const a = small(),
    b = small();
  t.same(a.fill(7), b.fill(7n));
  t.same(a.verify().byKind, {});
  const bytes = (image: Image) => image.verify().spaces.map((s) => [s.objects, s.freeChunks, s.freeBytes]);
  t.same(bytes(a), bytes(b));
  t.not(a.fill(8).objects, b.fill(7).objects);
  t.doesNotThrow(() => a.fill(-1));
  t.doesNotThrow(() => a.fill((1n << 64n) - 1n));
  a.close();
  b.close();
  t.end();
});

t.test('a space grows and shrinks within its reservation; restore brings its size back', (t) => {
  const image = Image.map({ spaces: [{ name: 'old', bytes: 64 * KIB, reserveBytes: 128 * KIB }] });
  const old = image.space('old');
  image.fill(3);
  image.snapshot();
  old.grow(100_000);
  t.equal(old.bytes, Math.ceil(100_000 / 4096) * 4096);
  t.ok(old.read(64 * KIB).every((b) => b === 0));
  t.ok(image.verify().ok, 'what lies past the graph is not part of it');
  old.write(90_000, Buffer.from('x'));
  const grown = image.diff();
  t.equal(grown.resized, 1);
  t.equal(grown.ranges[0]?.offset, 64 * KIB);
  t.equal(
    code(() => {
      old.grow(132 * KIB);
    }),
    'ERR_IMAGE_RESERVE',
  );
  t.match(
    thrown(() => {
      old.grow(132 * KIB);
    }).message,
    /131072 are reserved.*reserveBytes/,
  );
  t.equal(
    code(() => {
      old.grow(4096);
    }),
    'RangeError',
  );
  old.shrink(32 * KIB);
  t.equal(old.bytes, 32 * KIB);
  t.notOk(image.verify().ok, 'objects are lost');
  t.equal(
    code(() => old.read(0, 33 * KIB)),
    'RangeError',
  );
  t.equal(
    code(() => {
      old.shrink(0);
    }),
    'RangeError',
  );
  image.restore();
  t.equal(old.bytes, 64 * KIB);
  t.ok(image.verify().ok);
  t.ok(image.diff().equal);
  image.close();
  t.end();
});

t.test('files: any bytes are loaded, the space grows as needed, and what cannot be loaded says why', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-image-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const image = Image.map({
    spaces: [
      { name: 'eden', bytes: 8192 },
      { name: 'old', bytes: 8192, reserveBytes: 64 * KIB },
    ],
  });
  const old = image.space('old'),
    path = join(folder, 'some.image');
  const content = Buffer.from(Array.from({ length: 30_000 }, (_, i) => (i * 7) & 255));
  writeFileSync(path, content);
  t.same(image.load(path), { space: 'old', bytes: 30_000 });
  t.equal(old.bytes, 32_768);
  t.ok(old.read(0, 30_000).equals(content));
  t.ok(old.read(30_000).every((b) => b === 0));
  t.equal(image.verify().spaces[1]?.content, 'file');
  t.ok(image.verify().ok, 'bytes of another kind are not judged');
  t.equal(image.load(pathToFileURL(path), { space: 'old' }).bytes, 30_000);

  const missing = thrown(() => image.load(join(folder, 'missing.image')));
  t.equal((missing as ImageError).code, 'ERR_IMAGE_FILE');
  t.match(missing.message, /missing\.image.*no such file/);
  t.match(thrown(() => image.load(folder)).message, /it is a directory/);
  writeFileSync(path, '');
  t.match(thrown(() => image.load(path)).message, /it is empty/);
  truncateSync(path, 65 * KIB);
  t.match(thrown(() => image.load(path)).message, /66560 bytes.*can grow to 65536.*reserveBytes/);
  t.match(thrown(() => image.load('/dev/null')).message, /no regular file/);
  t.match(thrown(() => image.load(join(path, 'below'))).message, /no directory/);
  t.equal(
    code(() => image.load('x\0y')),
    'TypeError',
  );
  t.equal(
    code(() => image.load(5 as unknown as string)),
    'TypeError',
  );
  t.equal(
    code(() => image.load(path, { space: 'young' })),
    'RangeError',
  );
  if (process.getuid?.() !== 0) {
    mkdirSync(join(folder, 'locked'));
    chmodSync(join(folder, 'locked'), 0);
    t.match(thrown(() => image.load(join(folder, 'locked', 'x'))).message, /may not be read/);
  }
  image.close();
  t.end();
});

t.test('an image file of the Spur family is recognised and walked where it lies', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-image-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const source = Image.map({ spaces: [{ name: 'old', bytes: 64 * KIB }] });
  const { objects } = source.fill(11),
    heap = source.space('old').read(),
    base = source.space('old').address;
  const header = Buffer.alloc(128),
    bridge = Buffer.alloc(16);
  header.writeUInt32LE(68021, 0);
  header.writeUInt32LE(128, 4);
  header.writeBigUInt64LE(BigInt(heap.length + 16), 8);
  header.writeBigUInt64LE(base, 16);
  header.writeBigUInt64LE(BigInt(heap.length + 16), 72);
  bridge.writeUInt8(255, 7);
  const path = join(folder, 'synthetic.image');
  writeFileSync(path, Buffer.concat([header, heap, bridge]));
  source.close();

  const image = small(),
    loaded = image.load(path),
    old = image.space('old');
  t.match(loaded.heap, {
    version: 68021,
    family: 'spur',
    wordBytes: 8,
    swapped: false,
    headerBytes: 128,
    baseAddress: base,
  });
  const report = image.verify();
  t.ok(report.ok);
  t.equal(report.objects, objects);
  t.match(report.spaces[1], { content: 'heap-file', walked: true, objects, walkedBytes: heap.length });
  t.equal(report.spaces[0]?.content, 'empty');
  image.snapshot();
  const object = old.objectAt(40 * KIB);
  old.write(object.offset, Buffer.from([0xff, 0xff, 0x3f])); // a class index that does not exist
  t.match(image.diff().ranges[0]?.object, { offset: object.offset, classIndex: object.classIndex, slot: null });
  t.equal(image.verify().byKind['bad-class'], 1);
  t.equal(image.verify().problems[0]?.object, object.offset);
  image.close();
  t.end();
});

t.test('bad input: wrong spaces are refused with the values and what to do', (t) => {
  const map = (spaces: unknown, keys?: unknown) => () =>
    Image.map({ spaces, keys } as unknown as { spaces: SpaceRequest[] });
  t.equal(code(map([])), 'RangeError');
  t.equal(code(map(undefined)), 'TypeError');
  t.equal(
    code(() => Image.map(undefined as unknown as { spaces: [] })),
    'TypeError',
  );
  t.equal(code(map([null])), 'TypeError');
  t.equal(code(map([{ bytes: 4096 }])), 'TypeError');
  t.equal(code(map([{ name: '', bytes: 4096 }])), 'RangeError');
  t.equal(code(map([{ name: 'x'.repeat(32), bytes: 4096 }])), 'RangeError');
  t.equal(code(map([{ name: 'a\0b', bytes: 4096 }])), 'RangeError');
  t.equal(
    code(
      map([
        { name: 'a', bytes: 4096 },
        { name: 'a', bytes: 4096 },
      ]),
    ),
    'TypeError',
  );
  for (const bytes of [0, -1, 1.5, NaN, Infinity, 2 ** 60])
    t.equal(code(map([{ name: 'a', bytes }])), 'RangeError', `bytes ${bytes}`);
  for (const bytes of ['4096', 4096n, undefined, {}])
    t.equal(code(map([{ name: 'a', bytes }])), 'TypeError', `bytes ${typeof bytes}`);
  t.match(
    thrown(map([{ name: 'a', bytes: 0 }])).message,
    /spaces\[0\]\.bytes \(space "a"\) is 0; it must be a whole number of bytes from 1 to/,
  );
  t.equal(code(map([{ name: 'a', bytes: 4096, reserveBytes: 4095 }])), 'RangeError');
  t.equal(code(map([{ name: 'a', bytes: 4096, deny: 'read' }])), 'TypeError');
  t.equal(code(map([{ name: 'a', bytes: 4096 }], 'thread')), 'TypeError');
  t.equal(code(map(Array.from({ length: 129 }, (_, i) => ({ name: `s${i}`, bytes: 4096 })))), 'RangeError');
  const absurd = thrown(
    map([
      { name: 'a', bytes: 2 ** 45 },
      { name: 'b', bytes: 2 ** 46, reserveBytes: 2 ** 46 },
    ]),
  );
  t.equal((absurd as ImageError).code, 'ERR_IMAGE_MAP', 'more than the address space has');
  t.end();
});

t.test('bad input: wrong places, bytes, seeds, limits and names', (t) => {
  const image = small(),
    old = image.space('old');
  t.match(thrown(() => image.space('young')).message, /no space "young"; it has "eden", "old"/);
  t.equal(
    code(() => old.read(-1)),
    'RangeError',
  );
  t.equal(
    code(() => old.read(0, old.bytes + 1)),
    'RangeError',
  );
  t.equal(
    code(() => old.read(old.bytes, 1)),
    'RangeError',
  );
  t.equal(old.read(old.bytes).length, 0);
  t.equal(
    code(() => old.read('0' as unknown as number)),
    'TypeError',
  );
  t.equal(
    code(() => {
      old.write(old.bytes - 1, Buffer.alloc(2));
    }),
    'RangeError',
  );
  t.equal(
    code(() => {
      old.write(0, 'text' as unknown as Buffer);
    }),
    'TypeError',
  );
  t.equal(
    code(() => {
      old.write(0, Buffer.alloc(old.bytes + 1));
    }),
    'RangeError',
  );
  t.equal(
    code(() => image.fill(1.5)),
    'RangeError',
  );
  t.equal(
    code(() => image.fill('1' as unknown as number)),
    'TypeError',
  );
  t.equal(
    code(() => image.verify({ limit: -1 })),
    'RangeError',
  );
  t.equal(
    code(() => image.diff({ limit: 1e9 })),
    'RangeError',
  );
  t.equal(
    code(() => {
      image.setMechanism('magic' as 'none');
    }),
    'TypeError',
  );
  t.equal(
    code(() => Image.attach(0)),
    'RangeError',
  );
  t.equal(
    code(() => Image.attach(0xffff_fffe)),
    'ERR_IMAGE_CLOSED',
  );
  t.equal(
    code(() => old.objectAt(0)),
    'ERR_IMAGE_OBJECT',
  );
  image.close();
  t.end();
});

t.test('use after close throws ERR_IMAGE_CLOSED everywhere; closing again does nothing', (t) => {
  const image = small(),
    old = image.space('old');
  image.fill(1);
  t.ok(image.isOpen);
  image.close();
  t.notOk(image.isOpen);
  t.doesNotThrow(() => {
    image.close();
  });
  const uses: Record<string, () => unknown> = {
    fill: () => image.fill(1),
    verify: () => image.verify(),
    snapshot() {
      image.snapshot();
    },
    diff: () => image.diff(),
    restore: () => image.restore(),
    lend: () => image.lend(100),
    'lend a range': () => image.lend({ space: 'old', offset: 0, bytes: 8 }),
    mechanism: () => image.mechanism,
    setMechanism() {
      image.setMechanism('none');
    },
    hash: () => image.hash(),
    reapply() {
      image.reapply();
    },
    verifyTags: () => image.verifyTags(),
    load: () => image.load('/etc/passwd'),
    hasSnapshot: () => image.hasSnapshot,
    address: () => old.address,
    bytes: () => old.bytes,
    read: () => old.read(),
    write() {
      old.write(0, Buffer.alloc(1));
    },
    grow() {
      old.grow(1024 * KIB);
    },
    shrink() {
      old.shrink(4096);
    },
    attach: () => Image.attach(image.id),
    neighbour: () => old.neighbour(8),
    objectAt: () => old.objectAt(0),
  };
  for (const [name, use] of Object.entries(uses)) t.equal(code(use), 'ERR_IMAGE_CLOSED', name);
  t.end();
});

t.test('loans: fresh bytes and ranges of a space, released once', (t) => {
  const image = small(),
    old = image.space('old');
  old.write(5000, Buffer.from('before'));
  const fresh = image.lend(100);
  t.ok(fresh instanceof Loan);
  t.equal(fresh.bytes, 100);
  t.equal(fresh.address % 4096n, 0n);
  t.ok(fresh.buffer.every((b) => b === 0));
  const end = image.lend(100, 'out', { flush: 'end' });
  t.equal((end.address + 100n) % 4096n, 0n, 'its last byte touches the guard page');
  const range = image.lend({ space: 'old', offset: 5000, bytes: 6 });
  t.equal(Buffer.from(range.buffer).toString(), 'before');
  range.buffer.set(Buffer.from('after!'));
  t.equal(old.read(5000, 6).toString(), 'before', 'not yet');
  t.equal(
    code(() => {
      image.close();
    }),
    'ERR_IMAGE_BUSY',
  );
  range.release();
  t.equal(old.read(5000, 6).toString(), 'after!');
  t.equal(range.buffer.length, 0, 'nothing to reach any more');
  t.ok(range.released);
  t.doesNotThrow(() => {
    range.release();
  });
  const read = image.lend({ space: 'old', offset: 5000, bytes: 6 }, 'in');
  read.buffer.fill(0);
  read.release();
  t.equal(old.read(5000, 6).toString(), 'after!', 'lent for reading: not copied back');
  const out = image.lend({ space: 'old', offset: 5000, bytes: 6 }, 'out');
  t.ok(
    out.buffer.every((b) => b === 0),
    'lent for writing: not copied in',
  );
  out.release();
  t.ok(old.read(5000, 6).every((b) => b === 0));
  t.equal(image.loans.size, 2);
  fresh[Symbol.dispose]();
  end.release();
  t.equal(
    code(() => image.lend(0)),
    'RangeError',
  );
  t.equal(
    code(() => image.lend(2 ** 50)),
    'RangeError',
  );
  t.equal(
    code(() => image.lend('4' as unknown as number)),
    'TypeError',
  );
  t.equal(
    code(() => image.lend(4, 'both' as 'in')),
    'TypeError',
  );
  t.equal(
    code(() => image.lend(4, 'in', { flush: 'middle' as 'end' })),
    'TypeError',
  );
  t.equal(
    code(() => image.lend({ space: 'old', offset: old.bytes - 4, bytes: 5 })),
    'RangeError',
  );
  t.equal(
    code(() => image.lend({ space: 'nowhere', offset: 0, bytes: 5 })),
    'RangeError',
  );
  image.close();
  t.end();
});

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

t.test('the neighbour of a space ends where the space begins', (t) => {
  const image = small(),
    old = image.space('old');
  t.equal(old.neighbour(64) + 64n, old.address);
  t.equal(
    code(() => old.neighbour(0)),
    'RangeError',
  );
  t.equal(
    code(() => old.neighbour(1 << 20)),
    'RangeError',
  );
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
