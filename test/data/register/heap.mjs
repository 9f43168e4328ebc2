// Random stores of a callee into V8's live heap, among honest callouts; then the program's own answer. It knows nothing
// of Turnkey. Arguments: how many stores, a seed. Without protection it dies or prints a wrong answer.
import { readFileSync } from 'node:fs';

import koffi from 'koffi';

const [stores, seed] = process.argv.slice(2).map(Number);
const c = koffi.load('libc.so.6');
const memset = c.func('void *memset(void *p, int c, size_t n)');
const abs = c.func('int abs(int)');

let state = seed;
/** The next of a fixed sequence, in [0, below). */
function random(below) {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  return Number((BigInt(state) * BigInt(below)) >> 31n);
}

/** Writable mappings without a file, near addresses that V8 draws: neither the C library's nor the program's own. */
function heap() {
  const found = [];
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    const [, from, to, access, inode, name] = /^(\w+)-(\w+) (\S+) \S+ \S+ (\d+) *(.*)$/.exec(line) ?? [];
    const [low, high] = [BigInt(`0x${from ?? 0}`), BigInt(`0x${to ?? 0}`)];
    if (from !== undefined) found.push({ from: low, bytes: Number(high - low), access, inode, name });
    const [, resident] = /^Rss: +(\d+)/.exec(line) ?? [];
    if (resident !== undefined) found.at(-1).resident = Number(resident);
  }
  const anonymous = found.filter(({ inode, name }) => inode === '0' && name === '');
  return anonymous.filter(
    ({ from, access, resident }) =>
      access.startsWith('rw') && resident > 0 && from > 0x100000000n && from < 0x7e0000000000n,
  );
}

const live = Array.from({ length: 50_000 }, (_, i) => ({ i, text: `x${i}` }));
const mappings = heap();
const outcomes = {};
let honest = 0;
for (let k = 0; k < stores; k++) {
  const { from, bytes } = mappings[random(mappings.length)];
  const address = from + BigInt(random(bytes) & ~7);
  let outcome = 'through';
  try {
    memset(address, 0x41, 8);
  } catch (error) {
    outcome = `${error.siCodeName ?? error.message} in ${error.space ?? 'nothing'}`;
  }
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  honest += abs(-k);
  live[k % live.length] = { i: k % live.length, text: `x${k % live.length}` };
}
globalThis.gc?.();
let sum = 0;
for (const { i, text } of live) sum += i + text.length;
console.log(JSON.stringify({ sum, honest, outcomes, mappings: mappings.length > 5 }));
