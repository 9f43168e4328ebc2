// lanes: native, emulated
/** The TypeScript API of the image: spaces, contents, snapshots, loans, neighbours. */
import t from 'tap';

import { Image, Loan } from '../../src/index.js';
import { code, KIB, small, thrown } from '../support/image.js';

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
