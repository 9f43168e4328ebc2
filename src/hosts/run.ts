/** Runs the catalogue on hosts: each trial in a process of its own, here or in a guest that is booted once a host. */
import { spawn } from 'node:child_process';
import { release } from 'node:os';

import type { HostCase, HostName } from '../experiment/host-case.js';
import { importExperiment } from '../experiment/load.js';
import { hostCpu } from '../machine/host.mjs';
import { Machine } from '../machine/index.js';
import { ExperimentError } from '../record/errors.js';
import type { CostLane, GuardMechanism } from '../record/words.js';
import { currentCommit } from '../run/context.js';
import { type ExecResult, resultOf } from '../run/executor.js';
import { laneHere } from '../run/native.js';
import { CALLEES, environmentOf, type Host, openHost } from './hosts.js';
import { judge, type Left, unavailable } from './judge.js';
import type { Called, Done, HostRun, HostTrial } from './record.js';

const NATIVE_LIMIT_MS = 60_000;
const GUEST_LIMIT_MS = 300_000;
const GUEST_MIB = 3072;
const AT_ONCE = 2;

export interface HostsOptions {
  readonly lane: 'native' | 'emulated';
  readonly hosts: readonly HostName[];
  readonly mechanisms: readonly GuardMechanism[];
  readonly cases: readonly HostCase[];
  readonly repeat: number;
  readonly kernel?: string;
}

export const hostCases = async (): Promise<readonly HostCase[]> =>
  ((await importExperiment('hosts/cases')) as { readonly cases: readonly HostCase[] }).cases;

interface Place {
  readonly name: CostLane;
  readonly kernel: string;
  readonly cpu: string;
  run(command: readonly string[], env: Readonly<Record<string, string>>): Promise<ExecResult>;
  close(): Promise<void>;
}

const here: Place = {
  name: laneHere(),
  kernel: release(),
  cpu: hostCpu().model,
  run([program = '', ...words], env) {
    const child = spawn(program, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/', LANG: 'C.UTF-8', ...env },
    });
    return resultOf(child, { timeoutMs: NATIVE_LIMIT_MS }, () => child.kill('SIGKILL'));
  },
  close: () => Promise.resolve(),
};

async function guest({ files }: Host, kernel?: string): Promise<Place> {
  const machine = await Machine.boot({
    extraFiles: files,
    memoryMiB: GUEST_MIB,
    ...(kernel === undefined ? {} : { kernel }),
  });
  return {
    name: 'emulated',
    kernel: machine.info.kernel,
    cpu: machine.info.cpu,
    async run(command, env) {
      const result = await machine.run({ command, cwd: '/', env, timeoutMs: GUEST_LIMIT_MS });
      return { ...result, lost: result.lost ? (result.reason ?? 'the guest was lost') : null };
    },
    close: () => machine.close(),
  };
}

/** The lines that a program printed, as far as they are whole. */
function linesOf(out: string): Pick<Left, 'called' | 'done'> {
  const lines = out.split(/\r?\n/).flatMap((line) => {
    try {
      return [JSON.parse(line) as Called | Done];
    } catch {
      return [];
    }
  });
  const called = lines.find((line): line is Called => line.stage === 'called');
  return { called: called ?? null, done: lines.find((line): line is Done => line.stage === 'done') ?? null };
}

/** One run a host. `say` gets what is skipped, `tell` each trial as it ends. */
export async function runHosts(
  options: HostsOptions,
  say: (line: string) => void,
  tell: (trial: HostTrial) => void,
): Promise<readonly HostRun[]> {
  const all = options.cases;
  const runs: HostRun[] = [];
  for (const name of options.hosts) {
    let host: Host;
    try {
      host = openHost(name);
    } catch (error) {
      say(`${name} is left out: ${error instanceof Error ? error.message : String(error)}`);
      continue;
    }
    const started = new Date().toISOString();
    const lane = options.lane === 'native' ? here : await guest(host, options.kernel);
    const trials: HostTrial[] = [];
    const work = all.flatMap((about) => {
      const reason = about.skip?.[name];
      if (reason !== undefined) say(`${name}: ${about.name} is left out: ${reason}`);
      return reason !== undefined
        ? []
        : options.mechanisms.flatMap((mechanism) =>
            Array.from({ length: options.repeat }, () => ({ about, mechanism })),
          );
    });
    const next = async (): Promise<void> => {
      for (let one = work.shift(); one !== undefined; one = work.shift()) {
        const trial = await make(lane, host, one.about, one.mechanism, say);
        if (trial === undefined) continue;
        trials.push(trial);
        tell(trial);
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, next));
    } finally {
      await lane.close();
    }
    runs.push({
      lane: lane.name,
      host: name,
      commit: currentCommit(),
      started,
      kernel: lane.kernel,
      cpu: lane.cpu,
      version: host.version,
      trials: trials.sort((a, b) => orderOf(all, a.case) - orderOf(all, b.case)),
    });
  }
  return runs;
}

const orderOf = (all: readonly HostCase[], name: string): number => all.findIndex((each) => each.name === name);

async function make(
  place: Place,
  host: Host,
  about: HostCase,
  mechanism: GuardMechanism,
  say: (line: string) => void,
): Promise<HostTrial | undefined> {
  const words = [CALLEES, about.callees.join(','), about.target, String(about.bytes)];
  const { exitCode, signal, stdout, timedOut, lost } = await place.run(
    [...host.command, ...words],
    environmentOf(host, mechanism),
  );
  if (lost !== null) throw new ExperimentError(`${host.name}, ${about.name}: ${lost}`);
  const left: Left = { end: timedOut ? 'time' : (signal ?? exitCode ?? 'unknown'), ...linesOf(stdout) };
  const reason = unavailable(left);
  if (reason !== undefined) {
    say(`${host.name}: ${about.name} is left out: ${reason}`);
    return undefined;
  }
  return { case: about.name, host: host.name, mechanism, ...judge(about, mechanism, left), ...left };
}
