/** A guarded program on this machine: stdin, stdout and stderr are the program's own. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

import { ExperimentError } from '../record/errors.js';

/** How a guarded program ended, and the lines that its processes reported. */
export interface Ending {
  /** Its exit code, or 128 and the number of the signal that ended it. */
  readonly exitCode: number;
  readonly reported: string;
}

/** Signals that a terminal or a supervisor sends to this process alone, and that are the program's. */
const PASSED_ON = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

/** @throws ExperimentError where the program cannot be started */
export async function runNative(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<Ending> {
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-guard-'));
  const file = join(folder, 'report');
  const [program = '', ...words] = command;
  try {
    const child = spawn(program, words, {
      stdio: 'inherit',
      env: { ...process.env, ...environment, TURNKEY_HOST_JSON: file },
    });
    const listeners = PASSED_ON.map((signal) => [signal, (): void => void child.kill(signal)] as const);
    // the terminal sends these to the program too: this process waits for what the program makes of them
    const ignored = (['SIGINT', 'SIGQUIT'] as const).map((signal) => [signal, (): void => undefined] as const);
    for (const [signal, listener] of [...listeners, ...ignored]) process.on(signal, listener);
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.on('error', (error) => {
        reject(new ExperimentError(`${program} could not be started: ${error.message}`, { cause: error }));
      });
      child.on('close', (code, signal) => {
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
      });
    });
    for (const [signal, listener] of [...listeners, ...ignored]) process.off(signal, listener);
    return { exitCode, reported: readOrNothing(file) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // nothing was reported
  }
}
