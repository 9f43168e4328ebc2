// A test of the C layers' layout: no file of a library depends on one that depends on it, not by way of others either.
//
//   node circles.mjs --nm NM --library LIBRARY.a
//
// A file depends on another when it uses a symbol that the other defines. Assembly is left out: the gates call C, and C
// names the gates. Prints TAP. No dependencies.

import { spawnSync } from 'node:child_process';

const options = {};
for (let i = 2; i < process.argv.length; i += 2) options[process.argv[i].slice(2)] = process.argv[i + 1];

const { status, stdout, stderr } = spawnSync(options.nm, ['--print-file-name', '--extern-only', options.library], {
  encoding: 'utf8',
  maxBuffer: 1 << 26,
});
if (status !== 0) throw new Error(stderr);

const defines = new Map();
const uses = new Map();
for (const line of stdout.split('\n')) {
  const [, file, type, symbol] = /:([^:]+\.o(?:bj)?):\s*[0-9a-f]*\s+(\w)\s+(\S+)$/.exec(line) ?? [];
  if (file === undefined || file.includes('.S.')) continue;
  if (type !== 'U') defines.set(symbol, file);
  else uses.set(file, [...(uses.get(file) ?? []), symbol]);
}
const needs = new Map(
  [...new Set([...defines.values(), ...uses.keys()])].map((file) => [
    file,
    new Map(
      (uses.get(file) ?? []).flatMap((symbol) => {
        const other = defines.get(symbol);
        return other === undefined || other === file ? [] : [[other, symbol]];
      }),
    ),
  ]),
);

/** A way from a file back to itself, as 'a.c (symbol) b.c …'; undefined where there is none. */
function circle(start) {
  const seen = new Set();
  const look = (file, way) => {
    for (const [other, symbol] of needs.get(file)) {
      const longer = `${way} (${symbol}) ${other}`;
      if (other === start) return longer;
      if (seen.has(other)) continue;
      seen.add(other);
      const found = look(other, longer);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return look(start, start);
}

let failed = 0;
process.stdout.write('TAP version 13\n');
[...needs.keys()].sort().forEach((file, index) => {
  const way = circle(file);
  if (way !== undefined) {
    failed++;
    process.stdout.write(`#   ${way}\n`);
  }
  process.stdout.write(`${way === undefined ? 'ok' : 'not ok'} ${index + 1} - ${file} depends on none that needs it\n`);
});
process.stdout.write(`1..${needs.size}\n`);
process.exitCode = failed === 0 && needs.size > 5 ? 0 : 1;
