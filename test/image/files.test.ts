// lanes: native, emulated
/** Image files: any bytes are loaded; a file of the Spur family is recognised and walked. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import t from 'tap';

import { Image, type ImageError } from '../../src/index.js';
import { code, KIB, small, thrown } from '../support/image.js';

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
