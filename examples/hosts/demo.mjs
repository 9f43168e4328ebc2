// A program that knows nothing of Turnkey: its callee writes into V8's heap, through a wrong pointer.
import { readFileSync } from 'node:fs';

import koffi from 'koffi';

const memset = koffi.load('libc.so.6').func('void *memset(void *p, int c, size_t n)');
const numbers = Array.from({ length: 100_000 }, (_, i) => ({ value: i }));

// V8 draws addresses for its heap at random, below those of the C library: here is one that is in use
const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
const line = maps.findLast((text) => /^(?!7[ef])[0-9a-f]{12}-\S+ rw-p 0+ 00:00 0 *$/.test(text));
const wrong = BigInt(`0x${line.slice(0, 12)}`);
try {
  memset(wrong, 0xff, 65_536);
} catch (error) {
  console.log(error.message);
}
globalThis.gc?.();
console.log(
  'The sum is',
  numbers.reduce((sum, { value }) => sum + value, 0),
);
