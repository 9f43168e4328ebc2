/** The search for instructions that write rights: what bytes count, and where they lie. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import { Guard } from '../../src/index.js';
import { BUILT, inProject } from '../../src/record/paths.js';
import { isDangerous, scanFile } from '../../src/scan/index.js';
import { searchElf } from '../../src/scan/search.js';

const FOREIGN = inProject(BUILT.foreign);
const HEADER = 64 + 56;

/** An ELF file of one executable segment with these bytes, and nothing else. */
function elfOf(code: readonly number[]): Buffer {
  const file = Buffer.alloc(HEADER + code.length);
  file.writeUInt32BE(0x7f454c46, 0);
  file.set([2, 1, 1], 4);
  file.writeUInt16LE(62, 18);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(1, 56);
  file.writeUInt16LE(64, 58);
  file.writeUInt32LE(1, 64);
  file.writeUInt32LE(5, 68);
  file.writeBigUInt64LE(BigInt(HEADER), 72);
  file.writeBigUInt64LE(0x1000n, 80);
  file.writeBigUInt64LE(BigInt(code.length), 96);
  file.set(code, HEADER);
  return file;
}

t.test('WRPKRU, XRSTOR and XRSTORS are found at every offset, their neighbours are not', (t) => {
  // Broken once: the search going on at + 3. The WRPKRU behind another 0f was missed.
  const found = (...code: number[]): readonly string[] => searchElf(elfOf(code)).map((one) => one.instruction);
  t.same(found(0x0f, 0x01, 0xef), ['wrpkru']);
  t.same(found(0xb8, 0x0f, 0x01, 0xef, 0x00), ['wrpkru'], 'inside a mov');
  t.same(found(0x0f, 0x01, 0xee), [], 'RDPKRU');
  t.same(found(0x0f, 0xae, 0x2f), ['xrstor']);
  t.same(found(0x48, 0x0f, 0xae, 0x6c, 0x24, 0x40), ['xrstor'], 'xrstor64 0x40(%rsp)');
  t.same(found(0x0f, 0xae, 0xe8), [], 'LFENCE has the same extension and a register');
  t.same(found(0x0f, 0xae, 0x27), [], 'XSAVE');
  t.same(found(0x0f, 0xc7, 0x1f), ['xrstors']);
  t.same(found(0x0f, 0xc7, 0x0f), [], 'CMPXCHG8B');
  t.same(found(0x0f, 0x0f, 0x01, 0xef), ['wrpkru']);
  t.same(found(0x0f, 0x01), [], 'cut off');
  t.equal(searchElf(elfOf([0x90, 0x0f, 0x01, 0xef]))[0]?.address, 0x1001n);
  t.end();
});

t.test("the test library's own are instructions in named functions; the loader's XRSTOR leaves PKRU out", (t) => {
  const { found } = scanFile(FOREIGN);
  const byName = new Map(found.map((one) => [one.symbol, one]));
  t.match(byName.get('foreign_wrpkru'), { instruction: 'wrpkru' });
  t.match(byName.get('foreign_xrstor'), { instruction: 'xrstor' });
  const loader = ['/lib64/ld-linux-x86-64.so.2'].find((path) => existsSync(path));
  if (loader !== undefined) {
    const restores = scanFile(loader).found.filter((one) => one.instruction === 'xrstor');
    t.ok(restores.length > 0);
    for (const one of restores) if (one.mask !== null) t.notOk(isDangerous(one), one.symbol ?? '');
  }
  t.end();
});

t.test('guard.load keeps such a library out before any of it runs', (t) => {
  const guard = new Guard({ mechanism: 'flag' });
  t.throws(() => guard.load(FOREIGN, { scan: 'refuse' }), { code: 'ERR_SCAN_REFUSED' });
  t.throws(() => guard.load(FOREIGN, { scan: 'perhaps' as never }), TypeError);
  t.notOk(readFileSync('/proc/self/maps', 'utf8').includes(FOREIGN));
  t.ok(guard.load('libz.so.1', { scan: 'refuse' }));
  t.ok(guard.load(FOREIGN, { scan: 'off' }));
  t.end();
});

t.test('turnkey scan names files, places and an exit code', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-scan-'));
  writeFileSync(join(folder, 'bad.so'), elfOf([0x0f, 0x01, 0xef]));
  writeFileSync(join(folder, 'good.so'), elfOf([0x90]));
  const main = inProject('dist/src/cli/main.js');
  let text = '';
  try {
    execFileSync(process.execPath, [main, 'scan', '--json', folder], { encoding: 'utf8' });
    t.fail('the exit code was 0');
  } catch (error) {
    text = (error as { stdout: string }).stdout;
  }
  const scans = JSON.parse(text) as { path: string; found: { instruction: string; place: string }[] }[];
  t.same(
    scans.map(({ path, found }) => [path.slice(folder.length + 1), found.map(({ place }) => place)]),
    [
      ['bad.so', ['unknown']],
      ['good.so', []],
    ],
  );
  t.end();
});
