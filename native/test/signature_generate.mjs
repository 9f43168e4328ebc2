// Writes C with random signatures, and knows how the System V x86-64 ABI, AAPCS64 and the Windows x64 ABI pass them.
// For each signature it writes a callee, a caller and the bytes of stack arguments that it takes.
//
//   node signature_generate.mjs --count 2000 --seed 1 --parts 4 --out DIR [--machine x86_64|aarch64|windows]
//
// Writes DIR/signature_types.h, DIR/signature_types.c and DIR/signature_part_<n>.c; what they mean is said in
// signature.h. No dependencies, same output for the same arguments. Layout and classes follow the psABI, 3.2.3
// ("Parameter Passing"), and AAPCS64, 6.8; the compiler checks every size and alignment by
// _Static_assert, and a stack size that is too small makes a guarded call differ from the raw one.
//
// More than 400 lines: the rules of three ABIs stand side by side, over one way to write types and values.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const options = { count: 2000, seed: 1, parts: 4, types: 320, out: '.', machine: 'x86_64' };
for (let i = 2; i < process.argv.length; i += 2) {
  const name = process.argv[i].replace(/^--/, '');
  if (!(name in options) || process.argv[i + 1] === undefined) throw new Error(`unknown option ${process.argv[i]}`);
  options[name] = name === 'out' || name === 'machine' ? process.argv[i + 1] : Number(process.argv[i + 1]);
}

/** mulberry32 (Ettinger, 2017). */
let state = options.seed >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(random() * n);
const between = (low, high) => low + below(high - low + 1);
const chance = (p) => random() < p;
const pick = (list) => list[below(list.length)];
const up = (n, to) => Math.ceil(n / to) * to;

// ---- types ---------------------------------------------------------------------------------------------------------
// { c, id, size, align, natural, parts }: parts are the scalars inside as [offset, class, bytes, natural alignment,
// base], bit-fields as class 'BITS'. natural: the alignment without an attribute of the type's own.

const I = 'INTEGER',
  S = 'SSE',
  U = 'SSEUP',
  X = 'X87',
  XU = 'X87UP',
  M = 'MEMORY';

/**
 * What a scalar, or a half of a complex one, is to AAPCS64's homogeneous aggregates: single, double, quadruple
 * precision, or a short vector.
 */
const bases = { f: 'S', cf: 'S', d: 'D', cd: 'D', ld: 'Q', cld: 'Q', f128: 'Q', vf: 'V', vi: 'V' };
function scalar(id, c, size, align, cls) {
  const base = bases[id];
  const parts =
    cls === 'COMPLEX'
      ? [
          [0, S, size / 2, align, base],
          [size / 2, S, size / 2, align, base],
        ]
      : cls === 'COMPLEX_X87'
        ? [
            [0, X, 16, 16, base],
            [16, X, 16, 16, base],
          ]
        : [[0, cls, size, align, base]];
  return { id, c, size, align, natural: align, parts, scalar: true };
}
const LONG = options.machine === 'windows' ? 4 : 8;
const scalars = [
  scalar('b', '_Bool', 1, 1, I),
  scalar('c', 'char', 1, 1, I),
  scalar('sc', 'signed char', 1, 1, I),
  scalar('uc', 'unsigned char', 1, 1, I),
  scalar('s', 'short', 2, 2, I),
  scalar('us', 'unsigned short', 2, 2, I),
  scalar('i', 'int', 4, 4, I),
  scalar('ui', 'unsigned', 4, 4, I),
  scalar('l', 'long', LONG, LONG, I),
  scalar('ul', 'unsigned long', LONG, LONG, I),
  scalar('ll', 'long long', 8, 8, I),
  scalar('p', 'pointer', 8, 8, I),
  scalar('q', '__int128', 16, 16, I),
  scalar('uq', 'unsigned __int128', 16, 16, I),
  scalar('f', 'float', 4, 4, S),
  scalar('d', 'double', 8, 8, S),
  scalar('ld', 'long double', 16, 16, X),
  scalar('cf', 'float _Complex', 8, 4, 'COMPLEX'),
  scalar('cd', 'double _Complex', 16, 8, 'COMPLEX'),
  scalar('cld', 'long double _Complex', 32, 16, 'COMPLEX_X87'),
  scalar('f128', 'float128', 16, 16, 'VECTOR'),
  scalar('vf', 'vector_float', 16, 16, 'VECTOR'),
  scalar('vi', 'vector_int', 16, 16, 'VECTOR'),
];
const byId = Object.fromEntries(scalars.map((t) => [t.id, t]));
const bitBases = ['i', 'ui', 'us', 'uc', 'ul', 'l', 'b'].map((id) => byId[id]);
const promoted = ['i', 'ui', 'l', 'ul', 'll', 'p', 'q', 'uq', 'd', 'd', 'd', 'ld', 'cf', 'cd', 'cld', 'vf'].map(
  (id) => byId[id],
);

function merge(a, b) {
  if (a === b || b === undefined) return a;
  if (a === undefined) return b;
  if (a === M || b === M) return M;
  if (a === I || b === I) return I;
  if (a === X || a === XU || b === X || b === XU) return M;
  return S;
}

/** The classes of a type's eightbytes (holes are padding), or null for MEMORY. */
function classes(type) {
  if (type.size > 16) return null;
  const result = new Array(Math.ceil(type.size / 8)).fill(undefined);
  for (const [offset, cls, bytes, align] of type.parts) {
    if (cls !== 'BITS' && offset % align !== 0) return null;
    for (let at = Math.floor(offset / 8); at <= Math.floor((offset + bytes - 1) / 8); at++) {
      const second = at * 8 >= offset + 8;
      const own = cls === 'VECTOR' ? (second ? U : S) : cls === X ? (second ? XU : X) : cls === 'BITS' ? I : cls;
      result[at] = merge(result[at], own);
    }
  }
  for (let at = 0; at < result.length; at++) {
    if (result[at] === M || (result[at] === XU && result[at - 1] !== X)) return null;
    if (result[at] === U && result[at - 1] !== S) result[at] = S;
  }
  return result;
}

const aggregates = [];

/** A member: a scalar or an aggregate, perhaps an array of it. */
function member(name, smallOnly) {
  const inner = aggregates.length > 8 && chance(0.18) ? pick(aggregates) : pick(scalars);
  const type =
    smallOnly && inner.size > 8 && chance(0.85)
      ? pick(scalars.slice(0, 12).concat(byId.f, byId.f, byId.d, byId.cf))
      : inner;
  const count = chance(0.2) ? between(1, smallOnly ? 3 : 6) : 0;
  return { name, type, count };
}

function makeAggregate(index) {
  const id = `S${index}`;
  const kind = pick([
    'struct',
    'struct',
    'struct',
    'struct',
    'floats',
    'mixed',
    'union',
    'packed',
    'bits',
    'bits',
    'aligned',
    'big',
  ]);
  const members = [];
  const n = kind === 'big' ? between(3, 7) : kind === 'union' ? between(2, 4) : between(1, 4);
  if (kind === 'mixed') {
    // one eightbyte of each class, in either order
    const halves = [
      [pick([['l'], ['i', 'f'], ['f', 's'], ['p'], ['ui', 'i']]), pick([['d'], ['f', 'f'], ['f'], ['cf']])],
    ];
    const order = chance(0.5) ? halves[0] : [...halves[0]].reverse();
    order.flat().forEach((s, i) => members.push({ name: `m${i}`, type: byId[s], count: 0 }));
  } else if (kind === 'floats') {
    for (let i = 0; i < n; i++) members.push({ name: `m${i}`, type: byId[pick(['f', 'f', 'f', 'd', 'cf'])], count: 0 });
  } else {
    for (let i = 0; i < n; i++) {
      if (kind === 'bits' && (i === 0 || chance(0.7))) {
        const type = pick(bitBases);
        members.push({ name: `m${i}`, type, count: 0, bits: type.id === 'b' ? 1 : between(1, type.size * 8) });
      } else {
        members.push(member(`m${i}`, kind !== 'big'));
      }
    }
  }
  const packed = kind === 'packed' || (kind === 'bits' && chance(0.2));
  const aligned = kind === 'aligned' ? 16 : 0;
  const union = kind === 'union';
  let bit = 0,
    align = 1,
    size = 0;
  const parts = [];
  for (const m of members) {
    const natural = packed ? 1 : m.type.align;
    if (union) bit = 0;
    if (m.bits) {
      const unit = m.type.size * 8;
      if (!packed && Math.floor(bit / unit) !== Math.floor((bit + m.bits - 1) / unit)) bit = up(bit, m.type.align * 8);
      const first = Math.floor(bit / 8),
        last = Math.floor((bit + m.bits - 1) / 8);
      parts.push([first, 'BITS', last - first + 1, 1]);
      bit += m.bits;
    } else {
      bit = up(bit, natural * 8);
      for (let k = 0; k < Math.max(1, m.count); k++) {
        for (const [offset, ...rest] of m.type.parts) parts.push([bit / 8 + offset, ...rest]);
        bit += m.type.size * 8;
      }
    }
    align = Math.max(align, natural);
    size = Math.max(size, Math.ceil(bit / 8));
  }
  const natural = align;
  align = Math.max(align, aligned);
  return {
    id,
    c: id,
    size: up(size, align),
    align,
    natural,
    parts,
    members,
    union,
    packed,
    aligned,
    active: union ? below(members.length) : -1,
  };
}

while (aggregates.length < options.types) {
  const made = makeAggregate(aggregates.length);
  if (made.size <= 256) aggregates.push(made);
}
const types = [...scalars, ...aggregates];

function declareAggregate(t) {
  const attributes = [t.packed ? 'packed' : '', t.aligned ? `aligned(${t.aligned})` : ''].filter(Boolean).join(', ');
  const fields = t.members.map(
    (m) => `  ${m.type.c} ${m.name}${m.bits ? ` : ${m.bits}` : m.count ? `[${m.count}]` : ''};`,
  );
  return [
    `typedef ${t.union ? 'union' : 'struct'} {`,
    ...fields,
    `}${attributes ? ` __attribute__((${attributes}))` : ''} ${t.id};`,
    `_Static_assert(sizeof(${t.id}) == ${t.size} && _Alignof(${t.id}) == ${t.align}, "layout of ${t.id}");`,
  ].join('\n');
}

/** Fields are copied through locals: a packed one may not be pointed to. */
function defineAggregate(t) {
  const fill = [],
    mix = [];
  t.members.forEach((m, i) => {
    if (t.union && i !== t.active) return;
    const loop = m.count ? `for (int i = 0; i < ${m.count}; i++) ` : '';
    const at = m.count ? `${m.name}[i]` : m.name;
    fill.push(
      `  ${loop}{ ${m.type.c} t; fill_${m.type.id}(&t); to->${at} = ` +
        `${m.bits && m.type.id !== 'b' ? `(${m.type.c})(t & ${bitMask(m)})` : 't'}; }`,
    );
    mix.push(`  ${loop}{ ${m.type.c} t = from->${at}; mix_${m.type.id}(&t); }`);
  });
  return (
    `void fill_${t.id}(${t.id} *to) {\n  memset(to, 0, sizeof *to);\n${fill.join('\n')}\n}\nvoid ` +
    `mix_${t.id}(const ${t.id} *from) {\n${mix.join('\n')}\n}`
  );
}
/** What fits into a bit-field, without its sign bit: no conversion of the value is then left to the implementation. */
function bitMask(m) {
  const bits = 'us uc ui ul'.split(' ').includes(m.type.id) ? m.bits : m.bits - 1;
  return `0x${((1n << BigInt(bits)) - 1n).toString(16)}${m.type.size === 8 ? (m.type.id === 'ul' ? 'ul' : 'l') : ''}`;
}

// ---- signatures
// ------------------------------------------------------------------------------------------------------

function randomType() {
  return chance(0.6) ? pick(scalars) : pick(aggregates);
}

/**
 * The registers that a homogeneous aggregate (or a floating-point scalar, or a vector) takes, 1 to 4; 0 for any other
 * type. AAPCS64, 5.9.5.
 */
function homogeneous(type) {
  const base = type.parts[0]?.[4],
    unit = type.parts[0]?.[2],
    count = type.size / unit;
  if (base === undefined || count > 4 || type.parts.some((part) => part[4] !== base)) return 0;
  // no padding; a union's members lie over each other
  return new Set(type.parts.map(([offset]) => offset)).size === count ? count : 0;
}

/**
 * Bytes of stack arguments: AAPCS64, 6.8.2, stage C. Larger composites are passed by the address of a copy, results
 * that do not fit by an address in x8.
 */
function stackBytesAapcs64(parameters) {
  let integers = 0,
    vectors = 0,
    stack = 0;
  for (const type of parameters) {
    const v = homogeneous(type),
      byAddress = v === 0 && type.size > 16;
    const size = byAddress ? 8 : up(type.size, 8),
      align = byAddress ? 8 : type.natural;
    if (v > 0) {
      if (vectors + v <= 8) {
        vectors += v;
        continue;
      }
      vectors = 8;
    } else {
      if (align === 16 && size === 16) integers = up(integers, 2);
      if (integers + size / 8 <= 8) {
        integers += size / 8;
        continue;
      }
      integers = 8;
    }
    stack = up(stack, Math.max(8, Math.min(16, align))) + size;
  }
  return stack;
}

/**
 * Bytes of stack arguments above the home space: Windows x64, "Parameter passing". One slot each, by address where the
 * size is none of 1, 2, 4, 8; four in registers, and the address of a result that does not fit into rax takes one (also
 * counted for what GCC returns in xmm0: an upper bound).
 */
function stackBytesWindows(result, parameters) {
  const hidden = result && ![1, 2, 4, 8].includes(result.size) ? 1 : 0;
  return 8 * Math.max(0, hidden + parameters.length - 4);
}

/** Bytes of stack arguments: psABI 3.2.3, "Passing". */
function stackBytes(result, parameters) {
  if (options.machine === 'aarch64') return stackBytesAapcs64(parameters);
  if (options.machine === 'windows') return stackBytesWindows(result, parameters);
  let integers = 6,
    vectors = 8,
    stack = 0;
  if (result && resultInMemory(result)) integers--;
  for (const type of parameters) {
    const cls = type.id === 'cld' || type.id === 'ld' ? null : classes(type);
    const wantsMemory = cls === null || cls.some((c) => c === X || c === XU);
    const i = wantsMemory ? 0 : cls.filter((c) => c === I).length;
    const v = wantsMemory ? 0 : cls.filter((c) => c === S).length;
    if (!wantsMemory && i <= integers && v <= vectors) {
      integers -= i;
      vectors -= v;
      continue;
    }
    stack = up(stack, Math.max(8, type.align)) + up(type.size, 8);
  }
  return stack;
}
function resultInMemory(type) {
  return type.id !== 'cld' && classes(type) === null;
}

function signature(number) {
  const variadic = chance(0.15);
  const result = chance(0.1) ? null : randomType();
  const count = pick([below(4), below(9), between(5, 14)]);
  const fixed = variadic ? between(1, Math.max(1, Math.min(4, count))) : count;
  const parameters = [];
  for (let i = 0; i < Math.max(count, fixed); i++)
    parameters.push(i < fixed ? randomType() : chance(0.7) ? pick(promoted) : pick(aggregates));
  const named = parameters.slice(0, fixed);
  const list = [...named.map((t) => t.c), ...(variadic ? ['...'] : [])].join(', ') || 'void';
  const r = result ? result.c : 'void';
  const declared = [...named.map((t, i) => `${t.c} a${i}`), ...(variadic ? ['...'] : [])].join(', ') || 'void';
  const body = named.map((t, i) => `mix_${t.id}(&a${i});`);
  if (variadic) {
    body.push(`va_list v; va_start(v, a${fixed - 1});`);
    parameters.slice(fixed).forEach((t) => body.push(`{ ${t.c} t = va_arg(v, ${t.c}); mix_${t.id}(&t); }`));
    body.push('va_end(v);');
  }
  const values = parameters.map((t) => `pool_${t.id}[${below(8)}]`).join(', ');
  const call = `((${r} (*)(${list}))function)(${values})`;
  const text = `${r}(${parameters.map((t) => t.c).join(', ')})${variadic ? ` with ${fixed} named` : ''}`;
  return {
    key: text,
    source: [
      `static ${r} f${number}(${declared}) { signature_called(${number}, __builtin_frame_address(0)); ` +
        `${body.join(' ')} ` +
        'signature_leaves();' +
        `${result ? ` ${r} r; fill_${result.id}(&r); signature_made(); return r;` : ' signature_made();'} }`,
      `static void c${number}(void *function) { ` +
        `${result ? `${r} r = ${call}; signature_got(); mix_${result.id}(&r);` : `${call}; signature_got();`} }`,
    ].join('\n'),
    row: `  {(void *)f${number}, c${number}, ${stackBytes(result, parameters)}, ${number}, "${text}"},`,
  };
}

// ---- output
// ------------------------------------------------------------------------------------------------------------

mkdirSync(options.out, { recursive: true });
const head = `/* Written by signature_generate.mjs --count ${options.count} --seed ${options.seed}. */\n`;
writeFileSync(
  join(options.out, 'signature_types.h'),
  [
    head,
    '#include "signature.h"',
    ...aggregates.map(declareAggregate),
    ...aggregates.map((t) => `void fill_${t.id}(${t.id} *to);\nvoid mix_${t.id}(const ${t.id} *from);`),
    ...types.map((t) => `extern ${t.c} pool_${t.id}[8];`),
    '',
  ].join('\n'),
);
writeFileSync(
  join(options.out, 'signature_types.c'),
  [
    head,
    '#include <string.h>',
    '#include "signature_types.h"',
    ...aggregates.map(defineAggregate),
    ...types.map((t) => `${t.c} pool_${t.id}[8];`),
    'void signature_refill(void) {\n  for (int i = 0; i < 8; i++) {',
    ...types.map((t) => `    fill_${t.id}(&pool_${t.id}[i]);`),
    '  }\n}',
    ...Array.from(
      { length: options.parts },
      (_, k) => `extern const struct signature signatures_${k}[];\nextern const unsigned signatures_${k}_count;`,
    ),
    `const struct signature_part signature_parts[] = {`,
    ...Array.from({ length: options.parts }, (_, k) => `  {signatures_${k}, &signatures_${k}_count},`),
    '};',
    `const unsigned signature_part_count = ${options.parts};`,
    '',
  ].join('\n'),
);

const seen = new Set();
const each = Math.ceil(options.count / options.parts);
for (let part = 0, number = 0; part < options.parts; part++) {
  const made = [];
  while (made.length < each && number < options.count) {
    const s = signature(number);
    if (seen.has(s.key)) continue;
    seen.add(s.key);
    made.push(s);
    number++;
  }
  writeFileSync(
    join(options.out, `signature_part_${part}.c`),
    [
      head,
      '#include <stdarg.h>',
      '#include "signature_types.h"',
      ...made.map((s) => s.source),
      `const struct signature signatures_${part}[] = {`,
      ...made.map((s) => s.row),
      '};',
      `const unsigned signatures_${part}_count = ${made.length};`,
      '',
    ].join('\n'),
  );
}
