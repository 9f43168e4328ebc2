/** `turnkey scan`: which files hold instructions that write PKRU, and where. */
import { readFileSync } from 'node:fs';

import type { Command } from 'commander';

import { ExperimentError } from '../record/errors.js';
import { reasonOf } from '../record/store.js';
import { type FileScan, filesOf, type Found, isDangerous, isLasting, scanFile } from '../scan/index.js';

const PLACES: Readonly<Record<Found['place'], string>> = {
  instruction: 'an instruction on a path',
  inside: 'inside another instruction',
  unknown: 'no symbol says what it is',
};

function describe(found: Found): string {
  const mask = found.mask === null ? '' : `, mask ${found.mask}`;
  const at = `0x${found.address.toString(16)} in ${found.symbol ?? '?'}`;
  return (
    `  ${found.instruction} at ${at}: ${PLACES[found.place]}${mask}` +
    found.lines.map((line) => `\n      ${line}`).join('')
  );
}

const PARANOID = '/proc/sys/kernel/perf_event_paranoid';
/** From here on perf_event_open(2) is the administrator's: a value that some distributions have added. */
const FORBIDDEN = 3;

/** What becomes of the C library's and the loader's places, which no search keeps out. */
function stayText(): string {
  let level = Number.NaN;
  try {
    level = Number(readFileSync(PARANOID, 'utf8'));
  } catch {
    // no perf events in this kernel
  }
  const allowed = level < FORBIDDEN || (process.getuid?.() === 0 && !Number.isNaN(level));
  const where = Number.isNaN(level) ? 'this kernel has no perf events' : `kernel.perf_event_paranoid is ${level}`;
  return (
    'what the C library and the loader hold is loaded before any search: ' +
    (allowed
      ? `harden: ['scan'] may set a hardware breakpoint on each WRPKRU there (${where})`
      : `it is open to callees, since no hardware breakpoint can be set here (${where})`)
  );
}

const hexadecimal = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `0x${value.toString(16)}` : value;

function scanAll(words: readonly string[]): readonly FileScan[] {
  try {
    return words.flatMap(filesOf).map(scanFile);
  } catch (error) {
    throw new ExperimentError(reasonOf(error), { cause: error });
  }
}

/** Adds the command. `done` gets 1 where a file could write rights, else 0. */
export function addScan(program: Command, done: (code: number) => void): void {
  program
    .command('scan')
    .description('find instructions that write rights to keys (WRPKRU, XRSTOR, XRSTORS) at every offset of code')
    .argument('<what...>', 'files, folders, installed npm packages')
    .option('--json', 'print JSON')
    .action((words: readonly string[], flags: { readonly json?: boolean }) => {
      const scans = scanAll(words);
      const dangerous = scans.filter(({ found }) => found.some(isDangerous));
      if (flags.json === true) process.stdout.write(`${JSON.stringify(scans, hexadecimal, 2)}\n`);
      else {
        for (const { path, found } of scans)
          if (found.length > 0) process.stdout.write(`${path}\n${found.map(describe).join('\n')}\n`);
        process.stdout.write(`${scans.length} file(s) searched, ${dangerous.length} could write rights to keys\n`);
        if (dangerous.some(({ path }) => isLasting(path))) process.stdout.write(`${stayText()}\n`);
      }
      done(dangerous.length > 0 ? 1 : 0);
    });
}
