// lanes: native, emulated
/**
 * Reading and patching V3 images: small ones made here, and Debian's `scratch` where it is installed.
 * Broken once: the heap's size in the header left as it was (the walk misses the method), the method's oop without its
 * class word (the walk finds no object there), words written in the other byte order.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { Image } from '../../src/index.js';
import { SqueakError } from '../../src/squeak/errors.js';
import { METHOD_FORMAT, V3Heap } from '../../src/squeak/heap.js';
import { V3Names } from '../../src/squeak/names.js';
import { patchImage } from '../../src/squeak/patch.js';
import { v3Image } from '../support/v3-image.js';

const SCRATCH = '/usr/share/scratch/Scratch.image';

/** The scratch image, or why there is none. */
function scratch(): Uint8Array | string {
  try {
    return readFileSync(SCRATCH);
  } catch {
    return `${SCRATCH} is not there: apt-get install scratch`;
  }
}

function code(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof SqueakError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'no error';
}

/** The problems that the C walker finds in an image file. */
function problems(directory: string, bytes: Uint8Array): number {
  const path = join(directory, 'walked.image');
  writeFileSync(path, bytes);
  const image = Image.map({ spaces: [{ name: 'old', bytes: 4096, reserveBytes: 64 << 20 }] });
  try {
    image.load(path, { space: 'old' });
    return image.verify().problems.length;
  } finally {
    image.close();
  }
}

/** Looks at what a patched image's hook is now. */
function hookOf(bytes: Uint8Array, className: string): { readonly format: number; readonly code: readonly number[] } {
  const heap = new V3Heap(bytes);
  const names = new V3Names(heap);
  const slot = names.methodSlot(names.classNamed(className) ?? 0, 'readDocumentFile');
  const method = slot?.method ?? 0;
  const literals = (heap.field(method, 0) >>> 10) & 255;
  return { format: heap.format(method) & ~3, code: [...heap.bytes(method)].slice(4 + 4 * literals) };
}

const HOOK_CODE = [0x40, 0x41, 0x70, 0x77, 0xe4, 0xe3, 0xd5, 0xe2, 0x87, 0x78];

const variants = {
  'as Squeak saves it': {},
  'in the other byte order': { littleEndian: false },
  'behind a shell line': { prefixBytes: 512 },
  'with closures': { version: 6504 },
  'with its hook in SmalltalkImage': { hookClass: 'SmalltalkImage' },
  'whose CompiledMethod is no compact class': { compactMethods: false },
} as const;

for (const [title, options] of Object.entries(variants))
  t.test(`an image ${title} is patched by name and stays sound`, (t) => {
    const hookClass = 'hookClass' in options ? options.hookClass : 'SystemDictionary';
    const image = v3Image(options);
    const before = image.slice();
    t.equal(problems(t.testdir(), image), 0, 'the image that was made is sound');
    const { bytes, hook, appendedBytes } = patchImage(image);
    t.same(image, before, 'the given bytes stay as they were');
    t.equal(hook, `${hookClass}>>readDocumentFile`);
    t.equal(bytes.length, image.length + appendedBytes);
    t.same(hookOf(bytes, hookClass), { format: METHOD_FORMAT, code: HOOK_CODE });
    t.equal(problems(t.testdir(), bytes), 0, 'the copy is sound');
    t.end();
  });

t.test('an image that lacks what a script needs is refused by the name of what it lacks', (t) => {
  const refused = (options: Parameters<typeof v3Image>[0]): string => code(() => patchImage(v3Image(options)));
  t.match(refused({ without: ['Compiler'] }), /^ERR_SQUEAK_NO_COMPILER: .* no Compiler class>>evaluate:\./);
  t.match(refused({ undefinedSelectors: ['evaluate:'] }), /^ERR_SQUEAK_NO_COMPILER: .* no Compiler class>>evaluate:\./);
  t.match(refused({ without: ['FileStream'] }), /no FileStream class>>readOnlyFileNamed:\./);
  t.match(refused({ undefinedSelectors: ['contentsOfEntireFile'] }), /no symbol #contentsOfEntireFile\./);
  t.match(refused({ without: ['Root'] }), /no SystemDictionary>>getSystemAttribute:\./);
  t.match(refused({ hookClass: 'Elsewhere' }), /no method that is called at start-up/);
  t.end();
});

t.test('a file that is no V3 image, or a damaged one, is refused', (t) => {
  const image = v3Image();
  const changed = (offset: number, value: number): Uint8Array => {
    const copy = image.slice();
    new DataView(copy.buffer).setUint32(offset, value, true);
    return copy;
  };
  t.match(
    code(() => patchImage(changed(0, 6521))),
    /^ERR_SQUEAK_FORMAT: This image is Spur with 32-bit words/,
  );
  t.match(
    code(() => patchImage(changed(0, 68021))),
    /^ERR_SQUEAK_FORMAT: This image is Spur with 64-bit words/,
  );
  t.match(
    code(() => patchImage(changed(0, 68002))),
    /^ERR_SQUEAK_FORMAT: This image is V3 with 64-bit words/,
  );
  t.match(
    code(() => patchImage(Buffer.from('no image at all'.repeat(10)))),
    /^ERR_SQUEAK_FORMAT: This is no image/,
  );
  t.match(
    code(() => patchImage(new Uint8Array(0))),
    /^ERR_SQUEAK_FORMAT/,
  );
  t.match(
    code(() => patchImage(image.slice(0, image.length - 4))),
    /^ERR_SQUEAK_DAMAGED: The header says/,
  );
  t.match(
    code(() => patchImage(changed(16, 0x1000_0002))),
    /^ERR_SQUEAK_DAMAGED: .* special objects array/,
  );
  t.match(
    code(() => patchImage(changed(68, 0xfffc))),
    /^ERR_SQUEAK_DAMAGED: .* breaks|disagree/,
  );
  t.end();
});

t.test('no damage of one word makes the reader fail otherwise than by its own error', (t) => {
  const image = v3Image();
  for (let offset = 0; offset < image.length; offset += 4)
    for (const value of [0, 0xffff_ffff, 0x1000_0004, 3]) {
      const copy = image.slice();
      new DataView(copy.buffer).setUint32(offset, value, true);
      try {
        patchImage(copy);
      } catch (error) {
        if (!(error instanceof SqueakError)) {
          t.fail(`word ${offset / 4} set to ${value}: ${String(error)}`);
          t.end();
          return;
        }
      }
    }
  t.pass('all of them');
  t.end();
});

const real = scratch();
t.test("Debian's Scratch image is patched and stays sound", { skip: typeof real === 'string' ? real : false }, (t) => {
  if (typeof real === 'string') return void t.end();
  const { bytes, hook, appendedBytes } = patchImage(real);
  t.equal(hook, 'SystemDictionary>>readDocumentFile');
  t.same(hookOf(bytes, 'SystemDictionary'), { format: METHOD_FORMAT, code: HOOK_CODE });
  t.equal(bytes.length, real.length + appendedBytes);
  const heap = new V3Heap(bytes);
  t.equal(heap.oops.length, new V3Heap(real).oops.length + 1, 'one object more');
  t.equal(problems(t.testdir(), bytes), 0);
  t.end();
});
