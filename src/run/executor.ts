/**
 * A lane as the runner sees it: a place to run commands of the built project in. Each lane has a file of its own:
 * native.ts, emulated.ts, wine.ts.
 */
import type { ChildProcessByStdio } from 'node:child_process';
import type { Readable } from 'node:stream';

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
