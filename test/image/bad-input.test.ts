// lanes: native, emulated
/** What the image says when it is asked for what cannot be, and after it was closed. */
import t from 'tap';

import { Image, type ImageError, type SpaceRequest } from '../../src/index.js';
import { code, KIB, small, thrown } from '../support/image.js';

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
