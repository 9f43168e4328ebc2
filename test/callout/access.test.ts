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
  // Broken once: `deny` of the space left out. strlen answers.
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

t.test('lendArguments: what a declared pointer points to is lent for the call', async (t) => {
  // Broken once: the address passed as it is (SIGSEGV); the copy back left out; the loans of a call kept.
  koffi.struct('AccessPair', { first: 'int32_t', second: 'int32_t' });
  const lending = new Guard({ image, lendArguments: true });
  const lent = lending.load('libc.so.6');
  const at = (offset: number): bigint => old.address + BigInt(offset);
  t.equal(Number(lent.func('size_t strlen(const char *text)')(at(512))), text.length - 1);
  t.equal(Number(await lent.func('size_t strlen(const char *text)').promise(at(512))), text.length - 1);
  old.write(1024, Buffer.from(Int32Array.of(40, 2).buffer));
  const take = lent.func('void *memcpy(_Out_ AccessPair *to, const AccessPair *from, size_t bytes)');
  take(at(2048), at(1024), 8);
  t.same(old.read(2048, 8), old.read(1024, 8), 'out-parameters come back');
  lent.func('void *memset(AccessPair *in, int value, size_t bytes)')(at(2048), 9, 8);
  t.same(old.read(2048, 8), old.read(1024, 8), 'others do not');
  old.write(image.space('old').bytes - 4, Buffer.from('full'));
  t.throws(() => lent.func('size_t strlen(const char *text)')(at(old.bytes - 4)), /no terminator/);
  t.throws(
    () => lent.func('int memcmp(const void *a, const void *b, size_t bytes)')(at(0), at(0), 4),
    /how many bytes/,
  );
  t.equal(image.loans.size, 0, 'given back, after a failed conversion too');
  t.throws(() => new Guard({ mechanism: 'flag', lendArguments: true }), /needs an image/);
  lending.close();
});

t.test('lendArguments: a function says how much; a failed call changes nothing', (t) => {
  const asked: string[] = [];
  const lending = new Guard({
    image,
    lendArguments({ space, offset, type, direction }) {
      asked.push(`${space}+${offset} ${type} ${direction}`);
      return offset === 0 ? 0 : 16;
    },
  });
  const lent = lending.load('libc.so.6');
  const compare = lent.func('int memcmp(const void *a, const void *b, size_t bytes)');
  t.equal(compare(old.address + 512n, text, 16), 0);
  t.same(asked, ['old+512 void * in']);
  t.throws(() => compare(old.address, text, 16), CalloutError, 'passed as it is');
  const before = old.read(4096, 16384);
  const fill = lent.func('void *memset(_Inout_ uint8_t *bytes, int value, size_t count)');
  t.throws(() => fill(old.address + 4096n, 7, 16384), CalloutError, 'beyond what was lent');
  t.same(old.read(4096, 16384), before);
  fill(old.address + 4096n, 7, 16);
  t.ok(old.read(4096, 16).every((byte) => byte === 7));
  lending.close();
  t.end();
});

t.teardown(() => {
  guard.close();
  image.close();
});
