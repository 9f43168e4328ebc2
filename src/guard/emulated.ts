/** A guarded program in a guest whose CPU has protection keys. What it needs travels by itself (travel.ts). */
import { realpathSync } from 'node:fs';
import { constants } from 'node:os';

import { Machine, MachineError, projectRoot } from '../machine/index.js';
import { ExperimentError } from '../record/errors.js';
import { seemsToBe } from './adapters.js';
import type { Ending } from './native.js';
import type { Program } from './program.js';
import { companions } from './travel.js';

const REPORT = '/tmp/turnkey-guard-report';
const TIMEOUT_MS = 3600 * 1000;
const MEMORY_MIB = 3072;

/**
 * @param extra files and folders that the user names
 * @throws ExperimentError where there is no machine, or the guest was lost twice
 */
export async function runEmulated(
  program: Program,
  words: readonly string[],
  environment: Readonly<Record<string, string>>,
  extra: readonly string[],
): Promise<Ending> {
  const root = projectRoot();
  const cwd = realpathSync(process.cwd());
  let machine: Machine | undefined;
  try {
    machine = await Machine.boot({
      extraFiles: [...companions(program, words, root), ...extra],
      folders: [cwd],
      memoryMiB: MEMORY_MIB,
      ...(seemsToBe(program.executable) === 'node' ? { node: program.executable } : {}),
    });
    const result = await machine.run({
      command: [program.path, ...words],
      cwd,
      env: { ...environment, TURNKEY_HOST_JSON: REPORT },
      timeoutMs: TIMEOUT_MS,
      ...(!process.stdin.isTTY && { stdin: process.stdin as AsyncIterable<Buffer> }),
      onStdout: (bytes) => process.stdout.write(bytes),
      onStderr: (bytes) => process.stderr.write(bytes),
    });
    if (result.lost || result.timedOut || (result.exitCode === null && result.signal === null))
      throw new ExperimentError(`the guest did not run the program to its end: ${result.reason ?? 'no reason given'}`);
    const print = `process.stdout.write(require('node:fs').readFileSync(${JSON.stringify(REPORT)}))`;
    const reported = await machine.run({ command: ['node', '-e', print], cwd: '/', timeoutMs: 60_000 });
    const signals: Readonly<Record<string, number | undefined>> = constants.signals;
    return {
      exitCode: result.exitCode ?? 128 + (signals[result.signal ?? ''] ?? 0),
      reported: reported.exitCode === 0 ? reported.stdout : '',
    };
  } catch (error) {
    if (error instanceof MachineError) throw new ExperimentError(error.message, { cause: error });
    throw error;
  } finally {
    if (!process.stdin.isTTY) process.stdin.destroy();
    await machine?.close();
  }
}
