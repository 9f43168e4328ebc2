/** `turnkey guard`: the command's options, and what it prints. The work is src/guard's. */
import { readFileSync, writeFileSync } from 'node:fs';

import type { Command } from 'commander';

import {
  type Adapter,
  ADAPTERS,
  guard,
  guardedTable,
  type GuardReport,
  HOST_MECHANISMS,
  type HostMechanism,
  summary,
} from '../guard/index.js';
import { ExperimentError } from '../record/errors.js';
import { writePrograms } from '../record/programs.js';
import { reasonOf } from '../record/store.js';
import { HERE_OR_GUEST, oneOf } from './options.js';
import { probeKeys } from './probe.js';

interface Flags {
  readonly mechanism: HostMechanism;
  readonly lane: 'native' | 'emulated';
  readonly adapter?: Adapter;
  readonly with: readonly string[];
  readonly learn?: string;
  readonly lend?: string;
  readonly children: boolean;
  readonly json?: string;
  readonly quiet?: boolean;
}

export const say = (line: string): void => void process.stderr.write(`turnkey: ${line}\n`);

/** What `guard --json` wrote. @throws ExperimentError where it cannot be read */
export function readGuardReport(file: string): GuardReport {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as GuardReport;
  } catch (error) {
    throw new ExperimentError(`cannot read ${file}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Writes what guarded programs came to into a run's directory, for its report. */
export function writeGuarded(directory: string, reports: readonly GuardReport[]): void {
  writePrograms(directory, [guardedTable(reports)]);
}

/** Adds the command. `done` gets the program's own exit code. */
export function addGuard(program: Command, done: (code: number) => void): void {
  program
    .command('guard')
    .description('run a program that calls foreign functions, with bad calls caught and its heap protected')
    .argument('<command...>', 'after --')
    .option('--mechanism <name>', HOST_MECHANISMS.join(', '), oneOf(HOST_MECHANISMS), 'auto' as const)
    .option('--lane <lane>', 'native or emulated', oneOf(HERE_OR_GUEST), 'native' as const)
    .option('--adapter <name>', `${ADAPTERS.join(', ')}; left out, the program is looked at`, oneOf(ADAPTERS))
    .option(
      '--with <path>',
      'file, folder or library to take along into the emulated lane; may be repeated',
      (path: string, all: readonly string[]) => [...all, path],
      [] as readonly string[],
    )
    .option('--learn <file>', 'let what callees write into the heap through, and add it to a list')
    .option('--lend <file>', 'lend callees copies of what such a list names')
    .option('--no-children', 'leave programs that the program starts unguarded')
    .option('--json <file>', 'write what came of it, as JSON')
    .option('--quiet', 'print no summary')
    .action(async (words: readonly string[], flags: Flags) => {
      const quiet = flags.quiet ?? false;
      const report = await guard(
        words,
        {
          mechanism: flags.mechanism,
          lane: flags.lane,
          with: flags.with,
          noChildren: !flags.children,
          keys: probeKeys(),
          ...(flags.learn === undefined ? {} : { learn: flags.learn }),
          ...(flags.lend === undefined ? {} : { lend: flags.lend }),
          ...(flags.adapter === undefined ? {} : { adapter: flags.adapter }),
        },
        quiet ? () => undefined : say,
      );
      if (!quiet) for (const line of summary(report)) say(line);
      if (flags.json !== undefined) {
        try {
          writeFileSync(flags.json, `${JSON.stringify(report, null, 1)}\n`);
        } catch (error) {
          throw new ExperimentError(`cannot write ${flags.json}: ${reasonOf(error)}`, { cause: error });
        }
      }
      done(report.exitCode);
    });
}
