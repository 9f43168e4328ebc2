// lanes: native, emulated
/**
 * An image of which callees may not even read what they were not lent (`deny: 'access'`): what works as ever, and what
 * must be lent. Under keys where there are some, else under mprotect.
 */
import koffi from 'koffi';
import t from 'tap';

import { CalloutError, Guard, Image, probe } from '../../src/index.js';

koffi.proto('int AccessCompare(const void *a, const void *b)');
const image = Image.map({ spaces: [{ name: 'old', bytes: 65536, deny: 'access' }] });
const old = image.space('old');
const guard = new Guard({ image, mechanism: probe().usable ? 'pkeys' : 'mprotect-range' });
const library = guard.load('libc.so.6');
const text = Buffer.from('kept in the image\0');
old.write(512, text);

t.test('strings, buffers and callbacks of the language are copies, and work as ever', (t) => {
  t.equal(Number(library.func('size_t strlen(const char *text)')('seven77')), 7);
  t.equal(library.func('const char *strpbrk(const char *text, const char *any)')('a, b', ','), ', b');
  const bytes = Buffer.alloc(16);
  library.func('void *memset(_Out_ uint8_t *bytes, int value, size_t count)')(bytes, 7, 16);
  t.ok(bytes.every((byte) => byte === 7));
  const numbers = Int32Array.from([3, 1, 2]);
  const compare = (a: bigint, b: bigint): number => {
    t.equal(old.read(512, 4).toString('latin1'), 'kept', 'the VM reads its image in a callback');
    return Number(guard.decode(a, 'int')) - Number(guard.decode(b, 'int'));
  };
  library.func('void qsort(int *base, size_t count, size_t size, AccessCompare *compare)')(numbers, 3, 4, compare);
  t.same([...numbers], [1, 2, 3]);
  t.end();
});

t.test('an address in the image is not read: not by the callee, not by the kernel for it', (t) => {
  // Should break it: `deny` of the space left out. strlen answers 17.
  const strlen = library.func('size_t strlen(uintptr_t text)');
  try {
    strlen(old.address + 512n);
    t.fail('it was read');
  } catch (error) {
    t.ok(error instanceof CalloutError);
    t.match(error, { signal: 'SIGSEGV', access: 'read', space: 'old' });
  }
  const written = library.func('long write(int file, uintptr_t from, size_t bytes)')(2, old.address + 512n, 4);
  t.equal(Number(written), -1, 'EFAULT');
  t.end();
});

t.test('what the callee is to read is lent, and nothing beside it', (t) => {
  const strlen = library.func('size_t strlen(const uint8_t *text)');
  const loan = image.lend({ space: 'old', offset: 512, bytes: text.length }, 'in');
  t.equal(Number(strlen(loan)), text.length - 1);
  const compare = library.func('int memcmp(const uint8_t *a, uintptr_t b, size_t bytes)');
  t.throws(() => compare(loan, old.address + 512n, 4), CalloutError, 'the original stays closed beside the loan');
  loan.release();
  t.equal(old.read(512, 4).toString('latin1'), 'kept');
  t.end();
});

t.teardown(() => {
  guard.close();
  image.close();
});
