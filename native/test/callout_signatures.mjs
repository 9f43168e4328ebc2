// Writes a C library of random functions that describes them for koffi. Every function folds all it is given, and all
// that its callback answers, into one number. It makes its result and its out-parameters from that number, so a byte
// lost or moved on the way changes what comes back.
//   node callout_signatures.mjs --count N --seed S --c FILE
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: { count: { type: 'string', default: '500' }, seed: { type: 'string', default: '1' }, c: { type: 'string' } },
});
const COUNT = Number(options.count);

// mulberry32
let state = Number(options.seed) >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];

const SCALARS = [
  'int8_t',
  'uint8_t',
  'int16_t',
  'uint16_t',
  'int32_t',
  'uint32_t',
  'int64_t',
  'uint64_t',
  'float',
  'double',
  'bool',
];
const STRINGS = { 'const char *': 'char', 'const char16_t *': 'char16_t', 'const char32_t *': 'char32_t' };
const records = [];

function memberType(depth) {
  const roll = random();
  if (roll < 0.12) return { kind: 'string', c: pick(Object.keys(STRINGS)) };
  if (roll < 0.22) return { kind: 'array', of: pick(SCALARS.filter((s) => s !== 'bool')), length: 1 + below(4) };
  if (roll < 0.3 && depth < 2 && records.length > 0) return { kind: 'record', record: pick(records) };
  return { kind: 'scalar', c: pick(SCALARS) };
}

for (let i = 0; i < 60; i++) {
  const only = random() < 0.25 ? pick(['float', 'double', 'int32_t', 'uint8_t']) : undefined;
  const count = 1 + below(only === undefined ? 6 : 4);
  records.push({
    name: `R${i}`,
    members: Array.from({ length: count }, (_, m) => ({
      name: `m${m}`,
      type: only === undefined ? memberType(0) : { kind: 'scalar', c: only },
    })),
  });
}

const cType = (t) => (t.kind === 'record' ? `struct ${t.record.name}` : t.c);
const koffiType = (t) => (t.kind === 'record' ? t.record.name : t.kind === 'array' ? `${t.of} [${t.length}]` : t.c);

function valueType() {
  const roll = random();
  if (roll < 0.25) return { kind: 'record', record: pick(records) };
  if (roll < 0.37) return { kind: 'string', c: pick(Object.keys(STRINGS)) };
  return { kind: 'scalar', c: pick(SCALARS) };
}
const resultType = () => (random() < 0.1 ? { kind: 'void', c: 'void' } : valueType());

// No empty UTF-32 text comes back: koffi makes null of it, a guard the empty string.
const out = [];
out.push(`#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <uchar.h>
static uint64_t mix(uint64_t h, uint64_t v) {
  h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
  h *= 0xff51afd7ed558ccdu;
  return h ^ (h >> 33);
}
static const char *const texts_char[] = {"", "a", "two words", "gr\\xc3\\xbc\\xc3\\x9f",
  "0123456789012345678901234567890123456789", NULL, "x", "end"};
static const char16_t *const texts_char16_t[] = {u"", u"a", u"two words", u"gr\\u00fc\\u00df",
  u"0123456789", NULL, u"\\U0001F41F", u"end"};
static const char32_t *const texts_char32_t[] = {U"z", U"a", U"two words", U"gr\\u00fc\\u00df",
  U"0123456789", NULL, U"\\U0001F41F", U"end"};`);
for (const unit of Object.values(STRINGS)) {
  out.push(
    `static uint64_t fold_${unit}(uint64_t h, const ${unit} *s) { if (s == NULL) return mix(h, 77); while ` +
      '(*s != 0) h = mix(h, (uint64_t)*s++); return mix(h, 1); }',
  );
}
for (const scalar of SCALARS) {
  const bits =
    scalar === 'float'
      ? 'uint32_t b; memcpy(&b, &v, 4); return mix(h, b);'
      : scalar === 'double'
        ? 'uint64_t b; memcpy(&b, &v, 8); return mix(h, b);'
        : 'return mix(h, (uint64_t)v);';
  const make =
    scalar === 'bool'
      ? 'h & 1'
      : scalar === 'float' || scalar === 'double'
        ? `(${scalar})((double)(int32_t)h / 16)`
        : `(${scalar})h`;
  out.push(
    `static uint64_t fold_${scalar}(uint64_t h, ${scalar} v) { ${bits} }\nstatic ${scalar} ` +
      `make_${scalar}(uint64_t h) { return ${make}; }`,
  );
}
const fold = (t, h, v) =>
  t.kind === 'record'
    ? `fold_${t.record.name}(${h}, &${v})`
    : t.kind === 'string'
      ? `fold_${STRINGS[t.c]}(${h}, ${v})`
      : `fold_${t.c}(${h}, ${v})`;
const make = (t, h) =>
  t.kind === 'record'
    ? `make_${t.record.name}(${h})`
    : t.kind === 'string'
      ? `texts_${STRINGS[t.c]}[(${h} >> 20) & 7]`
      : `make_${t.c}(${h})`;
for (const record of records) {
  const declare = (m) =>
    m.type.kind === 'array' ? `${m.type.of} ${m.name}[${m.type.length}];` : `${cType(m.type)} ${m.name};`;
  out.push(`struct ${record.name} { ${record.members.map(declare).join(' ')} };`);
  const folds = record.members.map((m) =>
    m.type.kind === 'array'
      ? `for (int i = 0; i < ${m.type.length}; i++) h = fold_${m.type.of}(h, v->${m.name}[i]);`
      : `h = ${fold(m.type, 'h', `v->${m.name}`)};`,
  );
  const makes = record.members.map((m, i) =>
    m.type.kind === 'array'
      ? `for (int i = 0; i < ${m.type.length}; i++) v.${m.name}[i] = make_${m.type.of}(h = mix(h, i));`
      : `v.${m.name} = ${make(m.type, `(h = mix(h, ${i}))`)};`,
  );
  out.push(
    `static uint64_t fold_${record.name}(uint64_t h, const struct ${record.name} *v) { ${folds.join(' ')} return h; }`,
  );
  out.push(
    `static struct ${record.name} make_${record.name}(uint64_t h) { struct ${record.name} v; memset(&v, 0, ` +
      `sizeof v); ${makes.join(' ')} return v; }`,
  );
}

const functions = [];
for (let i = 0; i < COUNT; i++) {
  const name = `f${i}`;
  const result = resultType();
  const parameters = [];
  const count = below(random() < 0.2 ? 20 : 9);
  for (let p = 0; p < count; p++) {
    const roll = random();
    if (roll < 0.08) parameters.push({ kind: 'out', of: { kind: 'record', record: pick(records) } });
    else if (roll < 0.14)
      parameters.push({
        kind: 'out',
        of: random() < 0.5 ? { kind: 'string', c: pick(Object.keys(STRINGS)) } : { kind: 'scalar', c: pick(SCALARS) },
      });
    else if (roll < 0.18) parameters.push({ kind: 'inout', of: { kind: 'record', record: pick(records) } });
    else parameters.push({ kind: 'in', of: valueType() });
  }
  const callback =
    random() < 0.35 ? { result: resultType(), parameters: Array.from({ length: below(12) }, valueType) } : undefined;
  if (callback !== undefined) parameters.splice(below(parameters.length + 1), 0, { kind: 'callback', callback });

  const cParameter = (p, n) => {
    if (p.kind === 'callback')
      return `${cType(callback.result)} (*p${n})(${callback.parameters.map(cType).join(', ') || 'void'})`;
    return p.kind === 'in' ? `${cType(p.of)} p${n}` : `${cType(p.of)} *p${n}`;
  };
  const body = ['uint64_t h = 1;'];
  parameters.forEach((p, n) => {
    if (p.kind === 'in') body.push(`h = ${fold(p.of, 'h', `p${n}`)};`);
    if (p.kind === 'inout') body.push(`if (p${n} != NULL) h = ${fold(p.of, 'h', `(*p${n})`)};`);
    if (p.kind === 'callback') {
      const args = callback.parameters.map((t, a) => make(t, `mix(h, ${a})`)).join(', ');
      if (callback.result.kind === 'void') body.push(`p${n}(${args}); h = mix(h, 5);`);
      else body.push(`{ ${cType(callback.result)} r = p${n}(${args}); h = ${fold(callback.result, 'h', 'r')}; }`);
    }
  });
  parameters.forEach((p, n) => {
    if (p.kind === 'out' || p.kind === 'inout')
      body.push(`if (p${n} != NULL) *p${n} = ${make(p.of, `mix(h, ${100 + n})`)};`);
  });
  if (result.kind !== 'void') body.push(`return ${make(result, 'h')};`);
  out.push(`${cType(result)} ${name}(${parameters.map(cParameter).join(', ') || 'void'}) { ${body.join(' ')} }`);
  functions.push({
    name,
    result: result.kind === 'void' ? 'void' : koffiType(result),
    parameters: parameters.map((p) =>
      p.kind === 'callback' ? { kind: 'callback' } : { kind: p.kind, type: koffiType(p.of) },
    ),
    ...(callback === undefined
      ? {}
      : {
          callback: {
            result: callback.result.kind === 'void' ? 'void' : koffiType(callback.result),
            parameters: callback.parameters.map(koffiType),
          },
        }),
  });
}

// The library describes itself, so that it travels as one file.
const description = JSON.stringify({
  seed: Number(options.seed),
  records: records.map((r) => ({ name: r.name, members: r.members.map((m) => [m.name, koffiType(m.type)]) })),
  functions,
});
const lines = description.match(/.{1,4000}/gs).map((piece) => JSON.stringify(piece));
out.push(`const char *description(void) { return\n${lines.join('\n')}; }`);
mkdirSync(dirname(options.c), { recursive: true });
writeFileSync(options.c, `${out.join('\n')}\n`);
