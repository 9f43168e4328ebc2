/**
 * The Wine lane as an executor: the corruption cases that are plain C, by a Windows program (native/matrix), one
 * process for each trial. Behaviour only: what Wine does, which is not always what Windows does.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { release } from 'node:os';

import { parseOutput, WATCH_MARK, type WatchReport } from '../experiment/protocol.js';
import { ExperimentError } from '../record/errors.js';
import { inProject } from '../record/paths.js';
import type { LaneContext } from '../record/records.js';
import type { GuardMechanism } from '../record/words.js';
import { hostContext } from './context.js';
import { type ExecOptions, type ExecResult, type Executor, resultOf } from './executor.js';
import type { PlannedCorruption } from './plan.js';

/** Built by scripts/setup.mjs for this lane. */
const PROGRAM = 'build-win/matrix/turnkey-trial.exe';
const PREFIX = 'build-win/wineprefix';

/** The mechanisms that have a meaning there: VirtualProtect has one call for a range, and no keys are to be had. */
export const WINE_MECHANISMS: readonly GuardMechanism[] = ['none', 'flag', 'mprotect-page', 'mprotect-range', 'pkeys'];

/** The image of its trials (native/matrix/trial_windows.c). */
export const WINE_SPACES = ['eden', 'survivor', 'old', 'code', 'stack'].map((name) => ({ name, bytes: 65_536 }));

const START_LIMIT_MS = 60_000;

/** Runs a Windows program under Wine. All that it leaves behind is ended with it. */
function underWine(argv: readonly string[], options: ExecOptions): Promise<ExecResult> {
  const child = spawn('sh', [inProject('cmake/wine.sh'), inProject(PREFIX), ...argv], {
    cwd: inProject('.'),
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a process group of its own, which can be ended as a whole
  });
  return resultOf(child, options, () => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  });
}

/** The first line that a command prints; empty where it cannot be run. */
function firstLine(command: string): string {
  return spawnSync('sh', ['-c', command], { encoding: 'utf8' }).stdout.split('\n')[0] ?? '';
}

export class WineExecutor implements Executor {
  readonly lane = 'wine' as const;
  readonly concurrency = 1;
  /** Wine takes a second to start a program. */
  readonly slowness = 2;
  readonly context: LaneContext;
  /** The cases that its program knows. */
  readonly names: readonly string[];

  private constructor(names: readonly string[], keysReason: string | null) {
    const { cpu } = hostContext();
    this.names = names;
    this.context = {
      lane: 'wine',
      keys: keysReason === null,
      keysReason,
      cpu,
      kernel: release(),
      details: {
        wine: firstLine('/usr/lib/wine/wine64 --version 2>/dev/null || wine --version 2>/dev/null'),
        compiler: `MinGW-w64 GCC ${firstLine('x86_64-w64-mingw32-gcc -dumpfullversion')}`,
        what: 'behaviour only: what Wine does, which is not always what Windows does',
      },
    };
  }

  /** @throws ExperimentError where the program was not built, or Wine does not run it */
  static async start(): Promise<WineExecutor> {
    if (!existsSync(inProject(PROGRAM)))
      throw new ExperimentError(`${PROGRAM} was not built: npm run matrix:windows sets up what it needs`);
    const limit = { timeoutMs: START_LIMIT_MS };
    const { stdout, stderr, exitCode } = await underWine([inProject(PROGRAM), '--list'], limit);
    const names = stdout.split(/\r?\n/).filter((line) => line !== '');
    if (exitCode !== 0 || names.length === 0)
      throw new ExperimentError(`Wine does not run ${PROGRAM}: ${stderr.trim().split('\n').pop() ?? ''}`);
    const withKeys = await underWine([inProject(PROGRAM), names[0] ?? '', 'pkeys'], limit);
    return new WineExecutor(names, parseOutput(withKeys.stdout).failed?.reason ?? null);
  }

  /** A trial is made by the program, not by a Node process. */
  trialCommand({ name, mechanism }: PlannedCorruption): readonly string[] {
    return [inProject(PROGRAM), name, mechanism];
  }

  /** The program has no tracing runner: what such a runner reports is what is known of how it ended. */
  async run(argv: readonly string[], options: ExecOptions): Promise<ExecResult> {
    const result = await underWine(argv, options);
    const report: WatchReport = {
      exitCode: result.timedOut ? null : result.exitCode,
      signal: null,
      timedOut: result.timedOut,
      done: result.exitCode === 0,
      spaces: 0,
      imageAtDeath: 'unknown', // nobody reads a dying Windows process's memory here
      changedBytes: 0,
    };
    const stdout = result.stdout.replaceAll('\r\n', '\n');
    return { ...result, stdout: `${stdout}\n${WATCH_MARK}${JSON.stringify(report)}\n` };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
