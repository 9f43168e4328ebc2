// One bad callout of a Node program that knows nothing of Turnkey; scripts/host-cases.mjs says what each case is.
// Argument: the case. Prints one line of JSON: the program's answer, and what it saw. Run with --expose-gc.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { deflateSync } from 'node:zlib';

import koffi from 'koffi';

const COUNT = 200_000; // its elements have a page of V8's large objects of their own, and stay where they are
const HEADER = 16;
const STEP = 800;
const c = koffi.load('libc.so.6');
const z = koffi.load('libz.so.1');
koffi.proto('int Compare(void *a, void *b)');
const memset = c.func('void *memset(void *p, int c, size_t n)');
const strcpy = c.func('void *strcpy(void *p, const char *s)');
const memcpy = c.func('void *memcpy(void *p, void *q, size_t n)');
const malloc = c.func('void *malloc(size_t n)');
const free = c.func('void free(void *p)');
const pipe = c.func('int pipe(_Out_ int *ends)');
const write = c.func('long write(int fd, const char *p, size_t n)');
const read = c.func('long read(int fd, void *p, size_t n)');

// V8 takes the first value for the kind of array, and the callee's bytes are searched by the next
const victim = new Array(COUNT).fill(0.5);
for (let i = 0; i < COUNT; i++) victim[i] = i + 0.5;
const lent = koffi.alloc('uint8_t', 128);
memset(lent, 0, 128);

const mem = openSync('/proc/self/mem', 'r');
/** Bytes of this process, read without a callout. */
function bytesAt(address, length) {
  const bytes = Buffer.alloc(length);
  readSync(mem, bytes, 0, length, address);
  return bytes;
}

/** Where V8 keeps the elements: the mapping that starts a page of large objects with them. */
function elements() {
  const first = Buffer.from(new Float64Array([0.5, 1.5, 2.5, 3.5]).buffer);
  for (const line of readFileSync('/proc/self/maps', 'utf8').split('\n')) {
    const [, from, to] = /^(\w+)-(\w+) rw-p 0+ 00:00 0 *$/.exec(line) ?? [];
    const [low, high] = [BigInt(`0x${from ?? 0}`), BigInt(`0x${to ?? 0}`)];
    if (high - low < COUNT * 8) continue;
    const found = bytesAt(low, Math.min(Number(high - low), 1 << 22)).indexOf(first);
    if (found >= HEADER) return low + BigInt(found);
  }
  throw new Error('the elements are not found');
}
const body = elements();
const at = body + BigInt(STEP);

const code = () => {
  const line = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .find((each) => each.includes('r-xp') && each.includes('/libc.so'));
  return BigInt(`0x${line?.split('-')[0] ?? 0}`);
};

const CASES = {
  control: () => memset(lent, 1, 64),
  'object-store': () => memset(at, 0x21, 8),
  'object-header': () => memset(body - BigInt(HEADER), 0x21, 8),
  'string-copy': () => strcpy(body, 'a wrong pointer'),
  'out-parameter': () => c.func('long strtol(const char *s, void *end, int base)')('7x', body, 10),
  uncompress() {
    const packed = deflateSync(Buffer.alloc(64, '!'));
    const size = [64];
    const call = z.func('int uncompress(void *to, _Inout_ unsigned long *size, const uint8_t *from, unsigned long n)');
    return call(body, size, packed, packed.length);
  },
  'qsort-callback': () => c.func('void qsort(void *p, size_t n, size_t size, Compare *compare)')(at, 4, 8, () => 1),
  'kernel-read'() {
    const ends = [0, 0];
    pipe(ends);
    write(ends[1], '!!!!!!!!', 8);
    return read(ends[0], at, 8);
  },
  'kernel-getrandom': () => c.func('long getrandom(void *p, size_t n, unsigned int flags)')(at, 16, 0),
  neighbour: () => memset(lent, 0x21, 72),
  'stray-read': () => memcpy(lent, body, 8),
  'null-pointer': () => memset(0n, 0, 8),
  'code-store': () => memset(code(), 0, 8),
  abort: () => c.func('void abort()')(),
  'double-free'() {
    const chunk = malloc(1000);
    free(chunk);
    free(chunk);
  },
};

const LENGTH = COUNT * 8 + HEADER;
const before = bytesAt(body - BigInt(HEADER), LENGTH);
let error = null;
let result = null;
try {
  result = CASES[process.argv[2]]();
} catch (caught) {
  if (caught.errorName === undefined) throw caught;
  const { errorName, signal, siCodeName, access, space, address } = caught;
  error = { errorName, signal, code: siCodeName, access, space: space ?? null, address: Number(address) };
}
const after = bytesAt(body - BigInt(HEADER), LENGTH);
closeSync(mem);
// it works on: small and large objects, a collection, and every element of the object that the callee was near
const kept = Array.from({ length: 20_000 }, (_, i) => ({ text: String(i), i }));
globalThis.gc();
let changed = 0;
for (let i = 0; i < LENGTH; i++) if (before[i] !== after[i]) changed++;
const open = koffi.decode(lent, koffi.array('uint8_t', 128, 'Typed'));
console.log(
  JSON.stringify({
    right: victim.every((value, i) => value === i + 0.5) && kept.reduce((all, { i }) => all + i, 0) === 199_990_000,
    changed,
    object: { from: Number(body) - HEADER, to: Number(body) + COUNT * 8 },
    neighbour: open.subarray(64).every((byte) => byte === 0),
    read: Buffer.from(open.subarray(0, 8)).equals(before.subarray(HEADER, HEADER + 8)),
    result: typeof result === 'number' ? result : null,
    error,
  }),
);
