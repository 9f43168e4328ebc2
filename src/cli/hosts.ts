/** `turnkey hosts`: bad callouts in Node, CPython, Ruby and Squeak as they are, under each mechanism. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

import type { Command } from 'commander';

import { type HostName, HOSTS } from '../experiment/host-case.js';
import { MECHANISMS, writeHosts } from '../hosts/record.js';
import { reportHosts } from '../hosts/report.js';
import { hostCases, runHosts } from '../hosts/run.js';
import { ExperimentError } from '../record/errors.js';
import { inProject } from '../record/paths.js';
import { readRun } from '../record/store.js';
import type { GuardMechanism } from '../record/words.js';
import { say } from './guard.js';
import { HERE_OR_GUEST, listOf, oneOf, parseWhole } from './options.js';
import { probeKeys } from './probe.js';

interface Flags {
  readonly lane: 'native' | 'emulated';
  readonly host: readonly HostName[];
  readonly mechanism?: readonly GuardMechanism[];
  readonly case: readonly string[];
  readonly repeat: number;
  readonly out: string;
  readonly kernel?: string;
}

/** Adds the command. `done` gets the exit code. */
export function addHosts(program: Command, done: (code: number) => void): void {
  program
    .command('hosts')
    .description('make bad callouts in Node, CPython, Ruby and Squeak as they are, and say what each mechanism does')
    .option('--lane <lane>', 'native or emulated', oneOf(HERE_OR_GUEST), 'native' as const)
    .option('--host <names>', HOSTS.join(', '), listOf(HOSTS), HOSTS)
    .option('--mechanism <names>', `${MECHANISMS.join(', ')} (default: what the lane has)`, listOf(MECHANISMS))
    .option('--case <names>', 'cases by name (default: all)', (text: string) => text.split(','), [])
    .option('--repeat <n>', 'trials of each', parseWhole(1, 1000), 1)
    .option('--kernel <file>', "the guest's kernel")
    .option('--out <dir>', 'directory of the record, which is added to', 'results/hosts')
    .action(async (flags: Flags) => {
      const keys = probeKeys();
      const usable = flags.lane === 'emulated' || keys.usable;
      const mechanisms = flags.mechanism ?? MECHANISMS.filter((name) => name !== 'pkeys' || usable);
      if (mechanisms.includes('pkeys') && !usable)
        throw new ExperimentError(`protection keys are not usable here: ${keys.reason}. --lane emulated has them`);
      const cases = await hostCases();
      const unknown = flags.case.filter((name) => cases.every((each) => each.name !== name));
      if (unknown.length > 0)
        throw new ExperimentError(
          `there is no case ${unknown.join(', ')}: there are ${cases.map(({ name }) => name).join(', ')}`,
        );
      const runs = await runHosts(
        {
          lane: flags.lane,
          hosts: flags.host,
          mechanisms,
          cases: flags.case.length === 0 ? cases : cases.filter(({ name }) => flags.case.includes(name)),
          repeat: flags.repeat,
          ...(flags.kernel === undefined ? {} : { kernel: flags.kernel }),
        },
        say,
        (trial) => {
          say(`${trial.host}, ${trial.mechanism}: ${trial.case} ${trial.verdict}: ${trial.because}`);
        },
      );
      if (runs.length === 0) throw new ExperimentError('none of the hosts is here');
      const out = resolve(flags.out);
      const record = writeHosts(out, runs);
      const reference = inProject('results/reference');
      const path = reportHosts(out, record, cases, existsSync(reference) ? readRun(reference) : undefined);
      process.stdout.write(`${path}\n`);
      const controls = cases.filter(({ control }) => control).map(({ name }) => name);
      const broken = runs
        .flatMap(({ trials }) => trials)
        .filter((trial) => controls.includes(trial.case) && trial.verdict !== 'harmless');
      for (const { host, mechanism, verdict, because } of broken)
        say(`honest work came to harm: ${host}, ${mechanism}: ${verdict}: ${because}`);
      done(broken.length === 0 ? 0 : 1);
    });
}
