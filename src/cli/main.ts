#!/usr/bin/env node
/**
 * The command line. Exit codes: 0 done; 1 it could not be done (one line says why; --verbose adds the stack); 2 wrong
 * usage;
 * 3 with TURNKEY_STRICT=1: something was skipped or not as expected; 4 the run is written, but part of it could not be
 * tried;
 * 5 `turnkey compare`: the second run is worse.
 * `turnkey probe`: 0 where protection keys are usable, else 1. `turnkey emulated`, `turnkey guard`: the command's own.
 */
import { randomInt } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { Command, CommanderError, Option } from 'commander';

import { loadCatalogue } from '../experiment/catalogue.js';
import { writeCase } from '../experiment/template.js';
import { ExperimentError } from '../record/errors.js';
import { reasonOf, writeRun } from '../record/store.js';
import {
  type Denial,
  GUARD_MECHANISMS,
  type GuardMechanism,
  HARDENED,
  type Hardened,
  type KeyMode,
} from '../record/words.js';
import { renderCell } from '../report/cell.js';
import { findings } from '../report/findings/index.js';
import { renderTerminal } from '../report/terminal.js';
import { versions } from '../run/context.js';
import type { RunOptions } from '../run/options.js';
import { RunInProgress } from '../run/run.js';
import { readBeside } from './beside.js';
import { COMPARE_EXIT, compareCommand, type CompareFlags, exportCommand, parsePercent } from './compare.js';
import { addGuard, writeGuarded } from './guard.js';
import { FAMILIES, type FamilyName, listExperiments } from './list.js';
import {
  given,
  parseDenial,
  parseHardened,
  parseKeys,
  parseLane,
  parseLuaMechanism,
  parseMechanisms,
  parseWhole,
  refuseFlags,
  runName,
} from './options.js';
import { probeJson, probeKeys, probeText } from './probe.js';
import { runStages } from './progress.js';
import { campaigns, reportCommand, type ReportFlags, terminalOptions } from './report.js';
import { addScan } from './scan.js';
import type { VmFlags } from './vm.js';

const EXIT = { done: 0, failed: 1, usage: 2, strict: 3, incomplete: 4 } as const;

const strict = (): boolean => (process.env['TURNKEY_STRICT'] ?? '0') !== '0';

interface RunFlags {
  readonly out?: string;
  readonly lane: RunOptions['lane'];
  readonly mechanisms?: readonly GuardMechanism[];
  readonly mechanism?: readonly GuardMechanism[];
  readonly case?: readonly string[];
  readonly deny?: Denial;
  readonly keys?: KeyMode;
  readonly harden?: readonly Hardened[];
  readonly repeat?: number;
  readonly image?: string;
  readonly kernel?: string;
  readonly quick?: boolean;
  readonly full?: boolean;
  readonly seed?: number;
  readonly guarded: readonly string[];
}

/** Mechanisms of the whole matrix. pkeys-glibc is left out, since it closes and opens what pkeys does. */
const MATRIX_MECHANISMS: readonly GuardMechanism[] = GUARD_MECHANISMS.filter(
  (mechanism) => mechanism !== 'pkeys-glibc',
);
const MATRIX_REPEAT = 3;

function prepareDirectory(path: string): string {
  const directory = resolve(path);
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, constants.W_OK);
  } catch (error) {
    throw new ExperimentError(`cannot write results to ${directory}: ${reasonOf(error)}`, { cause: error });
  }
  return directory;
}

async function run(what: string | undefined, flags: RunFlags, verbose: boolean): Promise<number> {
  if (what !== undefined && !(FAMILIES as readonly string[]).includes(what)) {
    throw new ExperimentError(`there is nothing called '${what}' to run; there are ${FAMILIES.join(', ')}`);
  }
  const family = what as FamilyName | undefined;
  const catalogue = await loadCatalogue();
  const chosen = flags.case ?? [];
  const missing = chosen.find(
    (wanted) =>
      !FAMILIES.some((known) => (family ?? known) === known && catalogue[known].some(({ name }) => name === wanted)),
  );
  if (missing !== undefined)
    throw new ExperimentError(`there is no ${family ?? 'experiment'} '${missing}'; turnkey list shows those there are`);
  const native = probeKeys();
  const options: RunOptions = {
    lane: flags.lane,
    mechanisms: flags.mechanism ?? flags.mechanisms ?? (flags.full === true ? MATRIX_MECHANISMS : GUARD_MECHANISMS),
    seed: flags.seed ?? randomInt(1 << 30),
    quick: flags.quick ?? false,
    repeat: flags.repeat ?? (flags.full === true ? MATRIX_REPEAT : 1),
    quickCases: flags.quick === true || (flags.full !== true && family === undefined && chosen.length === 0),
    quickCosts: flags.quick === true || (flags.full !== true && family === undefined && chosen.length === 0),
    nativeKeysReason: native.usable ? null : native.reason,
    ...given(flags, 'deny', 'keys', 'harden', 'kernel', 'full'),
    ...(flags.image === undefined ? {} : { imageFile: resolve(flags.image) }),
    ...(family === undefined && chosen.length === 0
      ? {}
      : {
          only: (one: FamilyName, name: string) =>
            (family ?? one) === one && (chosen.length === 0 || chosen.includes(name)),
        }),
    ...(verbose
      ? {
          onLog(line: string) {
            process.stderr.write(`${line}\n`);
          },
        }
      : {}),
  };
  const progress = new RunInProgress(catalogue, options);
  const directory = prepareDirectory(flags.out ?? join('results', runName()));
  const beside = await readBeside(directory, flags.guarded);
  const interrupted = (): void => {
    void progress.abort().finally(() => process.exit(130));
  };
  process.once('SIGINT', interrupted);
  const terminal = process.stderr.isTTY && process.stdout.isTTY && !verbose;
  const failures = [...beside.failures, ...(await runStages(progress.stages(), terminal))];
  process.removeListener('SIGINT', interrupted);
  const document = progress.finish();
  const json = writeRun(directory, document);
  if (beside.guarded.length > 0) writeGuarded(directory, beside.guarded);
  // brings the chart library along: only where it is needed
  const { chartsNote, writeReports } = await import('../report/files.js');
  const reports = await writeReports(directory, document, undefined, {}, beside.answers);
  const found = findings(document);
  process.stdout.write(`\n${renderTerminal(found, terminalOptions())}\n`);
  if (chosen.length > 0)
    for (const record of document.records)
      if (record.kind === 'corruption') process.stdout.write(`${renderCell(record)}\n`);
  for (const { title, error } of failures)
    process.stderr.write(
      `turnkey: ${title}: ${verbose && error instanceof Error ? (error.stack ?? '') : reasonOf(error)}\n`,
    );
  const note = await chartsNote(directory);
  if (note !== undefined) process.stdout.write(`turnkey: ${note}\n`);
  process.stdout.write(`${[json, ...reports].join('\n')}\n`);
  if (strict() && (found.surprises.length > 0 || document.records.some((record) => record.kind === 'skipped')))
    return EXIT.strict;
  return failures.length > 0 || document.records.some((record) => record.kind === 'skipped' && record.broken === true)
    ? EXIT.incomplete
    : EXIT.done;
}

function probe(json: boolean): number {
  const result = probeKeys();
  process.stdout.write(json ? probeJson() : probeText(result));
  return result.usable ? EXIT.done : EXIT.failed;
}

/** Builds the command line. `done` gets the exit code of the command that ran. */
function commands(done: (code: number) => void): Command {
  const program = new Command('turnkey');
  const verbose = (): boolean => program.opts<{ verbose?: boolean }>().verbose ?? false;
  program
    .description('Protection keys around FFI callouts: what they prevent, and what they cost.')
    .version(versions()['turnkey'] ?? 'unknown')
    .option('--verbose', "show stacks of errors and the guest's console")
    .addHelpText(
      'after',
      `
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 with TURNKEY_STRICT=1, something was skipped or not as expected;
4 the run is written, but part of it could not be tried. probe: 0 keys are usable, 1 they are not.
compare: 5 the second run is worse.`,
    );
  program.exitOverride().showHelpAfterError(false).showSuggestionAfterError(false);
  program
    .command('run')
    .description('run experiments, print a table, write run.json and its reports')
    .argument('[what]', 'corruption, honest or cost; all of them if left out, with the quick set of corruption cases')
    .option('--out <dir>', 'directory for the results (default: results/<time>)')
    .option(
      '--lane <lane>',
      'native, emulated, wine, or auto: native, and emulated too where this CPU has no keys',
      parseLane,
      'auto' as const,
    )
    .option('--mechanisms <list>', `comma-separated, of ${GUARD_MECHANISMS.join(', ')} (default: all)`, parseMechanisms)
    .addOption(new Option('--mechanism <name>', 'the same as --mechanisms').argParser(parseMechanisms).hideHelp())
    .option('--case <names>', 'only these experiments, comma-separated; prints their evidence', (names: string) =>
      names.split(','),
    )
    .option('--deny <right>', 'what a callout loses: write, or access; left out, both where it matters', parseDenial)
    .option('--keys <per>', 'one key for the image, or one for each space; left out, both where it matters', parseKeys)
    .option('--harden <list>', `also hardened by ${HARDENED.join(', ')}, comma-separated`, parseHardened)
    .option('--repeat <n>', 'trials per cell', parseWhole(1, 1000))
    .option('--image <file>', 'a VM image file to load into old space')
    .option('--kernel <file>', "the guest's kernel")
    .option(
      '--full',
      `the whole matrix: all corruption cases, ${MATRIX_REPEAT} trials per cell, ${MATRIX_MECHANISMS.join(', ')}`,
    )
    .option('--quick', 'a few cost rows, few samples, the quick set of corruption cases')
    .option('--seed <n>', 'of all random choices (default: random, and recorded)', parseWhole(0, 2 ** 31 - 1))
    .addOption(
      new Option('--guarded <file>', 'tell of a guarded program in the report: what `guard --json` wrote; repeatable')
        .argParser((file: string, all: readonly string[]) => [...all, file])
        .default([] as readonly string[])
        .hideHelp(),
    )
    .action(async (what: string | undefined, flags: RunFlags) => {
      done(await run(what, flags, verbose()));
    });
  program
    .command('probe')
    .description('say whether protection keys work on this machine, and why not')
    .option('--json', 'as JSON')
    .action((flags: { json?: boolean }) => {
      done(probe(flags.json ?? false));
    });
  program
    .command('list')
    .description('show the experiments there are')
    .option('--json', 'as JSON')
    .action(async (flags: { json?: boolean }) => {
      await listExperiments(flags.json ?? false);
      done(EXIT.done);
    });
  program
    .command('new-case')
    .description('write a corruption case to begin with (docs/cases.md)')
    .argument('<name>', 'small letters, digits and hyphens')
    .action((name: string) => {
      process.stdout.write(
        `${writeCase(name)}\nnpm run build:ts && node dist/src/cli/main.js run corruption --case ${name} ` +
          '--lane native --mechanism mprotect-range\n',
      );
      done(EXIT.done);
    });
  program
    .command('report')
    .description("print a run's tables; write report.md, evidence.md, report.html, limits.md, cost.svg again")
    .argument('<dir>', 'directory of a run, or its run.json, run.json.br or run.json.gz')
    .option('--limits <file>', 'where to write what keys do not stop (default: limits.md beside run.json)')
    .option('--beside <dir>', 'a run under another kernel: limits.md tells what differs')
    .option('--hardened <dir>', 'a run with --harden: limits.md tells what each remedy was seen to do')
    .option('--hardened-beside <dir>', 'the same under another kernel: limits.md tells what differs')
    .action(async (directory: string, flags: ReportFlags, self: Command) => {
      done(await reportCommand(directory, flags, self));
    });
  program
    .command('compare')
    .description('set two runs side by side and say which differences are real')
    .argument('<a>', 'directory of a run, or its run.json, run.json.br or run.json.gz')
    .argument('<b>', 'the run to judge')
    .option('--threshold <percent>', 'least difference of times that counts (default: 5 %)', parsePercent)
    .option('--all', 'show the costs that do not differ too')
    .option('--any', 'exit with 5 on any real difference, not only for the worse')
    .option('--json', 'as JSON')
    .action(async (a: string, b: string, flags: CompareFlags, self: Command) => {
      const campaign = await campaigns();
      const areCampaigns = [a, b].map((directory) => campaign?.isCampaign(directory) ?? false);
      if (campaign === undefined || !areCampaigns.includes(true)) {
        done(compareCommand(a, b, flags));
        return;
      }
      if (areCampaigns.includes(false)) throw new ExperimentError('a campaign cannot be compared with a run');
      refuseFlags(self, ['threshold', 'all', 'any', 'json'], 'for campaigns');
      done(campaign.compareCampaignsIn(a, b) ? COMPARE_EXIT.worse : COMPARE_EXIT.fine);
    });
  program
    .command('export')
    .description("write a run's records as tables")
    .argument('<dir>', 'directory of a run, or its run.json, run.json.br or run.json.gz')
    .option('--csv', 'as comma-separated values')
    .option('--out <dir>', 'directory for the tables (default: csv beside run.json)')
    .action((directory: string, flags: { csv?: boolean; out?: string }) => {
      done(exportCommand(directory, flags));
    });
  program
    .command('vm')
    .description('run a script in a real VM whose heap and stack lie behind keys')
    .argument('<vm>', 'lua')
    .argument('<script>', 'a Lua script')
    .argument('[words...]', 'its arguments, after --')
    .option(
      '--mechanism <name>',
      'none, flag, mprotect-page, mprotect-range or pkeys',
      parseLuaMechanism,
      'pkeys' as const,
    )
    .option('--deny <right>', 'what a callout loses: write, or access', parseDenial)
    .option(
      '--with <path>',
      'file, folder or library to take along into a guest; may be repeated',
      (path: string, all: readonly string[]) => [...all, path],
      [] as readonly string[],
    )
    .action(async (vm: string, script: string, words: readonly string[], flags: VmFlags) => {
      const { vmCommand } = await import('./vm.js');
      done(await vmCommand(vm, script, words, flags));
    });
  addGuard(program, done);
  addScan(program, done);
  program
    .command('emulated')
    .description('run a command in a guest whose CPU has protection keys')
    .argument('<command...>', 'after --')
    .option(
      '--with <path>',
      'file, folder or library to take along; may be repeated',
      (path: string, all: readonly string[]) => [...all, path],
      [] as readonly string[],
    )
    .option('--counting', 'a guest whose clock counts instructions')
    .option('--kernel <file>', "the guest's kernel")
    .option('--node <file>', 'the Node binary to take along')
    .option(
      '--env <NAME=VALUE>',
      "for the command's environment; may be repeated",
      (word: string, all: readonly string[]) => [...all, word],
      [] as readonly string[],
    )
    .option('--timeout <seconds>', 'of the command')
    .option('--processors <n>', 'of the guest')
    .option('--memory <MiB>', 'of the guest')
    .action(async (words: readonly string[], flags: Record<string, unknown>) => {
      const { emulatedCommand } = await import('../machine/index.js');
      done(await emulatedCommand(words, { ...flags, verbose: verbose() }));
    });
  return program;
}

/** Runs the command line. Returns the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  let code: number = EXIT.done;
  const done = (value: number): void => {
    code = value;
  };
  const program = commands(done);
  // Squeak and the catalogue on hosts are for a checkout too
  if (existsSync(new URL('squeak.js', import.meta.url))) (await import('./squeak.js')).addSqueak(program, done);
  if (existsSync(new URL('hosts.js', import.meta.url))) (await import('./hosts.js')).addHosts(program, done);
  (await campaigns())?.addCampaignCommands(program, done);
  try {
    await program.parseAsync([...argv]);
    return code;
  } catch (error) {
    // commander has printed its line
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    const verbose = argv.includes('--verbose');
    process.stderr.write(
      `turnkey: ${verbose && error instanceof Error ? (error.stack ?? error.message) : reasonOf(error)}\n`,
    );
    return EXIT.failed;
  }
}

// A reader that has seen enough (| head) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.done);
  throw error;
});
// The exit code is set, not forced: output that is still on its way to a pipe must come out.
process.exitCode = await main(process.argv);
