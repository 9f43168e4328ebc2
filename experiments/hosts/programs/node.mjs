// The program of the catalogue on hosts, in JavaScript with koffi. Arguments: library, callee, target, bytes.
// It knows nothing of Turnkey. It prints a line of JSON after the bad callout, and one after it has worked on.
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';

import koffi from 'koffi';

const [, , library, callee, target, size] = process.argv;
const VICTIM_BYTES = 64;
const LENT_BYTES = 64;

const rows = [];
for (let key = 0; key < 2000; key++) rows.push({ key, before: rows[key >> 1], text: `row ${key} of the table` });
const byText = new Map(rows.map((row) => [row.text, row]));
// no literal: the only place that has these characters together is the string itself
const victims = Array.from({ length: 100 }, (_, i) =>
  Buffer.from(Array.from({ length: VICTIM_BYTES }, (_none, j) => 97 + ((i * 7 + j * (3 + (i % 5))) % 26))).toString(
    'latin1',
  ),
);
const victim = victims[50];

function answer() {
  let total = 17;
  for (const row of rows) {
    total = (total * 31 + row.text.length * row.key + (row.before?.key ?? 0)) % 1000003;
    total += byText.get(`row ${row.key} of the table`).key;
  }
  for (const each of victims) for (let i = 0; i < each.length; i++) total = (total * 31 + each.charCodeAt(i)) % 1000003;
  return total;
}

function workOn() {
  const made = Array.from({ length: 20_000 }, (_, i) => ({ key: i, text: `made ${i}` }));
  globalThis.gc();
  const back = JSON.parse(JSON.stringify(made.slice(0, 500).map(({ text }) => text)));
  return back.length + new Set(made.map(({ key }) => key)).size;
}

const mem = openSync('/proc/self/mem', 'r');
function memory(address, count) {
  const bytes = Buffer.alloc(count);
  readSync(mem, bytes, 0, count, address);
  return bytes;
}

const maps = () =>
  readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .flatMap((line) => {
      const found = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ 0 *(\S*)$/.exec(line);
      if (found === null) return [];
      const [, from, to, rights, name] = found;
      return [{ from: BigInt(`0x${from}`), to: BigInt(`0x${to}`), rights, name }];
    });

/** Where V8 has the characters: in a string's object, whose word before them ends in their number. */
function charactersOf(text) {
  const wanted = Buffer.alloc(4 + text.length);
  wanted.writeUInt32LE(text.length, 0);
  wanted.write(text, 4, 'latin1');
  for (const { from, to, rights, name } of maps()) {
    if (!rights.startsWith('rw') || name !== '') continue;
    for (let at = from; at < to; at += 1n << 20n) {
      const count = Number(to - at < 1n << 20n ? to - at : 1n << 20n);
      const found = memory(at, count).indexOf(wanted);
      // an object begins on a word, twelve bytes before that number
      if (found >= 0 && (at + BigInt(found) - 12n) % 8n === 0n) return at + BigInt(found) + 4n;
    }
  }
  throw new Error('the string was not found');
}

const foreign = koffi.load(library);
const backType = koffi.proto('void ForHostsBack()');
const back = koffi.register(() => undefined, koffi.pointer(backType));
const pointers = (name) =>
  foreign.func(
    `int64_t for_hosts_${name}(${target === 'lent' ? 'void *' : 'uintptr_t'} at, int64_t n, ForHostsBack *back)`,
  );
const sum = foreign.func('int64_t for_hosts_sum(void *at, int64_t n, ForHostsBack *back)');

const lent = [0, 1, 2].map(() => Buffer.alloc(LENT_BYTES));
const functions = callee.split(',').map(pointers);
Number(sum(lent[0], LENT_BYTES, back));
const expected = answer();
for (let i = 0; i < 3; i++) globalThis.gc(); // nothing young is left, and nothing moves any more

const places = {
  payload: () => charactersOf(victim),
  header: () => charactersOf(victim) - 16n, // the object's map
  code: () => maps().find(({ rights, name }) => rights === 'rwxp' && name === '').from + 4096n,
  lent: () => 0n, // koffi takes the buffer itself
  number: () => 5n,
};
const at = places[target]();
const watched = target === 'number' ? places.payload() : at;
const before = target === 'lent' ? undefined : memory(watched, 16);
let error = null;
let returned = null;
try {
  for (const each of functions) returned = Number(each(target === 'lent' ? lent[1] : at, Number(size), back));
} catch (e) {
  if (e.errorName === undefined) throw e;
  const { errorName: name, errorCode: signal, siCodeName: code, address, pkey, module } = e;
  error = {
    name,
    signal,
    code,
    address: Number(address),
    pkey: pkey ?? null,
    module: module?.split('/').at(-1) ?? null,
  };
}

function intact() {
  if (target !== 'lent') return memory(watched, 16).equals(before);
  const others = [lent[0], lent[2]].every((buffer) => buffer.equals(Buffer.alloc(LENT_BYTES)));
  return others && lent[1].equals(Buffer.alloc(LENT_BYTES, callee === 'fill' && error === null ? 'B' : 0));
}

/** @param {object} line */
const say = (line) => writeSync(1, `${JSON.stringify(line)}\n`);
say({ stage: 'called', at: target === 'lent' ? null : Number(at), error, returned, intact: intact() });
await new Promise((resolve) => setTimeout(resolve, 400)); // for a thread that the callee left
const still = intact(); // before a collection moves the object; the answer has what is in it
const right = workOn() === 20_500 && answer() === expected && Number(sum(lent[2], LENT_BYTES, back)) === 0;
say({ stage: 'done', right, intact: still });
closeSync(mem);
