/**
 * A lane as the runner sees it: a place to run commands of the built project in. The native lane is here; the emulated
 * one is in emulated.ts, that of Wine in wine.ts.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

import { PROJECT_ROOT } from '../record/paths.js';
import type { LaneContext } from '../record/records.js';
import type { Lane } from '../record/words.js';
import type { PlannedCorruption } from './plan.js';

/** How a command ended. */
export interface ExecResult {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Killed by the executor's own limit, which is above the trial's: the tracing runner itself was stuck. */
  readonly timedOut: boolean;
  /** The lane itself broke down under the command, once more after a restart: why. */
  readonly lost: string | null;
}

export interface ExecOptions {
  readonly timeoutMs: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with each piece of standard output as it comes. */
  readonly onStdout?: (text: string) => void;
}

export interface Executor {
  readonly lane: Lane;
  readonly context: LaneContext;
  /** Commands at a time. */
  readonly concurrency: number;
  /** A trial's time limit here is the native one times this. */
  readonly slowness: number;
  /** Runs `argv` in the project's root; paths in it are relative to that. */
  run(argv: readonly string[], options: ExecOptions): Promise<ExecResult>;
  /** Where a lane's trials are made by a program of its own: the command of one. */
  trialCommand?(trial: PlannedCorruption): readonly string[];
  close(): Promise<void>;
}

const MOST_OUTPUT = 1 << 20; /* characters kept of each stream */

/**
 * The lane that this very process runs in: `emulated` inside the emulated machine, whose agent sets TURNKEY_LANE, else
 * `native`. What is run here is recorded under this name, so that nothing from a guest passes for native.
 */
export function laneHere(): 'native' | 'emulated' {
  return process.env['TURNKEY_LANE'] === 'emulated' ? 'emulated' : 'native';
}

/** What a child process came to, by its end or by `kill` at its time limit. */
export function resultOf(
  child: ChildProcessByStdio<null, Readable, Readable>,
  options: ExecOptions,
  kill: () => void,
): Promise<ExecResult> {
  return new Promise((resolve) => {
    let stdout = '';
    let stderr = '';
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, options.timeoutMs);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < MOST_OUTPUT) stdout += text;
      options.onStdout?.(text);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < MOST_OUTPUT) stderr += text;
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      const lost = `cannot start ${child.spawnfile}: ${error.message}`;
      resolve({ exitCode: null, signal: null, stdout, stderr: `${stderr}${error.message}`, timedOut, lost });
    });
    child.on('close', (exitCode, signal) => {
      clearTimeout(timer);
      resolve({ exitCode, signal, stdout, stderr, timedOut, lost: null });
    });
  });
}

/** Child processes on this machine, or, inside the emulated machine, in it. */
export class NativeExecutor implements Executor {
  readonly lane = laneHere();
  readonly concurrency: number;
  readonly slowness = laneHere() === 'native' ? 1 : 4;

  constructor(
    readonly context: LaneContext,
    concurrency = 2,
  ) {
    this.concurrency = concurrency;
  }

  run(argv: readonly string[], options: ExecOptions): Promise<ExecResult> {
    const [program = '', ...rest] = argv;
    const child = spawn(program === 'node' ? process.execPath : program, rest, {
      cwd: PROJECT_ROOT,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return resultOf(child, options, () => {
      child.kill('SIGKILL'); // the tracing runner takes its trial with it (PTRACE_O_EXITKILL)
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
