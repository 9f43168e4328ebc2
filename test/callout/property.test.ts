// lanes: native, emulated
/** Raw koffi and guarded calls must agree: 500 random signatures, with values, out-parameters and callbacks. */
import assert from 'node:assert/strict';

import koffi from 'koffi';
import t from 'tap';

import { Guard, Image } from '../../src/index.js';
import { built } from '../support/callout.js';

interface Description {
  readonly seed: number;
  readonly records: readonly { readonly name: string; readonly members: readonly (readonly [string, string])[] }[];
  readonly functions: readonly {
    readonly name: string;
    readonly result: string;
    readonly parameters: readonly { readonly kind: 'in' | 'out' | 'inout' | 'callback'; readonly type?: string }[];
    readonly callback?: { readonly result: string; readonly parameters: readonly string[] };
  }[];
}

const library = built('libturnkey_callout_signatures.so');
const description = JSON.parse(koffi.load(library).func('const char *description()')() as string) as Description;
const records = new Map(description.records.map((record) => [record.name, record.members]));
for (const { name, members } of description.records) koffi.struct(name, Object.fromEntries(members));

class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  }
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

const TEXTS = ['', 'a', 'some words', 'größer 🐟', 'x'.repeat(100), null];

function valueOf(type: string, random: Random): unknown {
  const array = /^(\w+) \[(\d+)\]$/.exec(type);
  if (array !== null) return Array.from({ length: Number(array[2]) }, () => valueOf(array[1] as string, random));
  const members = records.get(type);
  if (members !== undefined)
    return Object.fromEntries(members.map(([name, member]) => [name, valueOf(member, random)]));
  if (type.endsWith('*')) return random.pick(TEXTS);
  if (type === 'bool') return random.next() < 0.5;
  if (type === 'float' || type === 'double') return (random.below(1 << 20) - (1 << 19)) / 16;
  const [, unsigned, bits] = /^(u?)int(\d+)_t$/.exec(type) as RegExpExecArray;
  const wide = (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));
  const value = unsigned === 'u' ? BigInt.asUintN(Number(bits), wide) : BigInt.asIntN(Number(bits), wide);
  return Number(bits) === 64 ? value : Number(value);
}

interface Outcome {
  readonly result: unknown;
  readonly args: readonly unknown[];
  readonly seen: readonly unknown[];
}

type Declare = (name: string, result: never, parameters: never[]) => unknown;

function outcomes(declare: Declare): Outcome[] {
  return description.functions.map((entry, index) => {
    const random = new Random(description.seed * 1000 + index);
    const seen: unknown[] = [];
    const parameters = entry.parameters.map((parameter) => {
      if (parameter.kind === 'callback') {
        const callback = entry.callback as { result: string; parameters: string[] };
        return koffi.pointer(koffi.proto(callback.result, callback.parameters));
      }
      const type = parameter.type as string;
      return parameter.kind === 'in'
        ? type
        : parameter.kind === 'out'
          ? koffi.out(koffi.pointer(type))
          : koffi.inout(koffi.pointer(type));
    });
    const args = entry.parameters.map((parameter) => {
      if (parameter.kind === 'callback') {
        return (...given: unknown[]): unknown => {
          seen.push(given);
          const result = entry.callback?.result as string;
          return result === 'void' ? undefined : valueOf(result, new Random(index));
        };
      }
      if (parameter.kind === 'out') return records.has(parameter.type as string) ? {} : [null];
      return valueOf(parameter.type as string, random);
    });
    const called = declare(entry.name, entry.result as never, parameters as never[]) as (...all: unknown[]) => unknown;
    const result = called(...args);
    return { result, args: args.filter((arg) => typeof arg !== 'function'), seen };
  });
}

const raw = outcomes((name, result, parameters) => koffi.load(library).func(name, result, parameters));

function compare(guard: Guard): void {
  const lib = guard.load(library);
  const guarded = outcomes((name, result, parameters) => lib.func(name, result, parameters));
  guarded.forEach((outcome, index) => {
    assert.deepStrictEqual(outcome, raw[index], `function ${index}: ${JSON.stringify(description.functions[index])}`);
  });
}

t.test('random signatures: raw and guarded calls agree', async (t) => {
  t.equal(raw.length, 500);
  t.ok(raw.filter(({ seen }) => seen.length > 0).length > 100, 'enough of them call back');
  t.doesNotThrow(() => {
    compare(new Guard({ mechanism: 'flag' }));
  });
});

t.test('random signatures: raw and guarded calls agree with an image closed', async (t) => {
  const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 20 }] });
  const guard = new Guard({ image });
  t.comment(`${guard.mechanism}: ${guard.chosenBecause}`);
  t.doesNotThrow(() => {
    compare(guard);
  });
  guard.close();
  image.close();
});
