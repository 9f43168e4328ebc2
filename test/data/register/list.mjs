// What programs do with koffi, as its manual has it: printed the same with and without turnkey/register.
import { Worker } from 'node:worker_threads';

import koffi, { alloc, array, decode, encode, free, load, pointer, proto, sizeof, struct, types, view } from 'koffi';

const print = console.log;
const attempt = (what, action) => {
  try {
    print(what, action());
  } catch (error) {
    print(what, error instanceof Error, error.name === 'CalloutError' ? 'CalloutError' : 'throws');
  }
};

const c = load('libc.so.6');
print('library', c instanceof koffi.LibraryHandle, typeof c.symbol('abs'), koffi.version);

// prototypes, classic form, variadic, names of the ABI
const abs = c.func('int abs(int)');
print('abs', abs(-5), abs.info.name, abs.info.result.name, abs.name);
print('classic', c.func('labs', 'long', ['long'])(-7));
print('convention', c.func('__stdcall', 'toupper', 'int', ['int'])(97));
const snprintf = c.func('int snprintf(_Out_ char *buf, size_t size, const char *format, ...)');
const text = Buffer.alloc(64);
print('variadic', snprintf(text, 64, '%d %s %.2f', 'int', 3, 'str', 'three', 'double', 1.5));
print(text.toString('latin1', 0, 12));

// strings, out-parameters, structs, nested, arrays
print('string result', c.func('const char *strchr(const char *s, int c)')('hello', 108));
print('string', c.func('size_t strlen(const char *)')('żółw'));
const frexp = load('libm.so.6').func('double frexp(double x, _Out_ int *exponent)');
const exponent = [null];
print('out', frexp(48, exponent), exponent);
struct('div_t', { quot: 'int', rem: 'int' });
print('struct result', c.func('div_t div(int a, int b)')(17, 5));
const Timeval = struct('timeval', { tv_sec: 'long', tv_usec: 'long' });
const now = {};
print('struct out', c.func('int gettimeofday(_Out_ timeval *tv, void *tz)')(now, null), Number(now.tv_sec) > 1e9);
print('sizes', sizeof(Timeval), koffi.alignof(Timeval), koffi.offsetof(Timeval, 'tv_usec'), types.int.size);
const Named = struct({ id: 'int', name: array('char', 8), at: array('double', 2) });
const packed = Buffer.alloc(sizeof(Named));
encode(packed, Named, { id: 7, name: 'seven', at: [1, 2] });
print('encode and decode', decode(packed, Named));
const U = koffi.union({ i: 'int', f: 'float' });
const u = new koffi.Union(U);
u.f = 1;
print('union', u.f, decode(Buffer.from([0, 0, 128, 63]), U).i);
print('enumeration', decode(Buffer.from([2, 0, 0, 0]), koffi.enumeration({ one: 1, two: 2 })));
print('opaque', koffi.type(pointer(koffi.opaque('Thing'))).primitive);

// memory of C's
const memory = alloc('int', 4);
encode(memory, 'int', [1, 2, 3, 4], 4);
encode(memory, 4, 'int', 20);
print('memory', decode(memory, array('int', 4)), decode(memory, 8, 'int'), decode.int(memory));
print('view', new Int32Array(view(memory, 16)));
const texts = alloc('char', 8);
encode(texts, array('char', 8), 'abc');
print('text', decode(texts, 'char', 8), decode.string(texts), koffi.address(texts) === texts);
free(memory);
free(texts);
print('as', c.func('int memcmp(void *a, void *b, size_t n)')(koffi.as([1, 2], 'int *'), koffi.as([1, 2], 'int *'), 8));

// callbacks: in a call, registered, and function pointers
const Compare = proto('int Compare(const void *a, const void *b)');
const numbers = new Int32Array([3, 1, 2]);
const qsort = c.func('qsort', 'void', ['void *', 'size_t', 'size_t', pointer(Compare)]);
qsort(numbers, 3, 4, (a, b) => decode(a, 'int') - decode(b, 'int'));
print('callback', numbers);
const kept = koffi.register((a, b) => decode(b, 'int') - decode(a, 'int'), pointer(Compare));
qsort(numbers, 3, 4, kept);
koffi.unregister(kept);
print('registered', numbers, typeof kept);
attempt('callback that throws', () =>
  qsort(numbers, 3, 4, () => {
    throw new Error('no');
  }),
);
print('function pointer', decode(c.symbol('abs'), proto('int (int)'))(-3));
print('call', koffi.call(c.symbol('abs'), proto('int f(int)'), -4));

// disposables, errno, complaints
const strdup = c.func('strdup', koffi.disposable('str'), ['str']);
const before = koffi.stats().disposed;
print('disposable', strdup('copy'), koffi.stats().disposed - before >= 0);
c.func('int close(int)')(-1);
print('errno', koffi.errno() === koffi.os.errno.EBADF);
attempt('wrong argument', () => abs('x'));
attempt('too few', () => abs());
attempt('no such symbol', () => c.func('int no_such_function(int)'));
attempt('no such library', () => load('no-such-library.so'));
attempt('no such type', () => c.func('nosuch abs(int)'));

// asynchronous calls, and a worker
abs.async(-9, (error, value) => {
  print('async', error, value);
  const code = `const koffi = require('koffi');
    require('node:worker_threads').parentPort.postMessage(koffi.load('libc.so.6').func('int abs(int)')(-11));`;
  new Worker(code, { eval: true, execArgv: [], env: {} }).on('message', (result) => print('worker', result));
});
