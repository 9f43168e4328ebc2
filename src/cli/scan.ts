/** `turnkey scan`: which files hold instructions that write PKRU, and where. */
import type { Command } from 'commander';

import { ExperimentError } from '../record/errors.js';
import { reasonOf } from '../record/store.js';
import { type FileScan, filesOf, type Found, isDangerous, scanFile } from '../scan/index.js';

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
      }
      done(dangerous.length > 0 ? 1 : 0);
    });
}
