/** The native lane as an executor: child processes of this one. */
import { spawn } from 'node:child_process';

import { PROJECT_ROOT } from '../record/paths.js';
import type { LaneContext } from '../record/records.js';
import type { CostLane } from '../record/words.js';
import { type ExecOptions, type ExecResult, type Executor, resultOf } from './executor.js';

/**
 * The lane that this very process runs in: `emulated` inside the emulated machine, whose agent sets TURNKEY_LANE, else
 * `native`. What is run here is recorded under this name, so that nothing from a guest passes for native.
 */
export function laneHere(): CostLane {
  return process.env['TURNKEY_LANE'] === 'emulated' ? 'emulated' : 'native';
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
