/** A guarded program in a guest whose CPU has protection keys. What it needs travels by itself (travel.ts). */
import { appendFileSync, realpathSync } from 'node:fs';
import { constants } from 'node:os';
import { resolve } from 'node:path';

import { Machine, MachineError, projectRoot } from '../machine/index.js';
import { ExperimentError } from '../record/errors.js';
import { seemsToBe } from './adapters.js';
import type { GuardOptions } from './index.js';
import type { Ending } from './native.js';
import type { Program } from './program.js';
import { companions } from './travel.js';

const LEARNED = '/tmp/turnkey-guard-learned';
const REPORT = '/tmp/turnkey-guard-report';
const TIMEOUT_MS = 3600 * 1000;
const MEMORY_MIB = 3072;
/** What a shell answers where there is no such command. */
const NOT_FOUND = 127;

/**
 * @param options what else travels, and where to add what was learned
 * @param say gets a line for the user: why the program may have failed
 * @throws ExperimentError where there is no machine, or the guest was lost twice
 */
export async function runEmulated(
  program: Program,
  words: readonly string[],
  environment: Readonly<Record<string, string>>,
  options: Pick<GuardOptions, 'with' | 'learn' | 'lend'>,
  say: (line: string) => void,
): Promise<Ending> {
  const root = projectRoot();
  const cwd = realpathSync(process.cwd());
  let machine: Machine | undefined;
  try {
    const guest = await Machine.boot({
      extraFiles: [
        ...companions(program, words, root),
        ...options.with,
        ...(options.lend === undefined ? [] : [resolve(options.lend)]),
      ],
      folders: [cwd],
      memoryMiB: MEMORY_MIB,
      ...(seemsToBe(program.executable) === 'node' ? { node: program.executable } : {}),
    });
    machine = guest;
    const result = await guest.run({
      command: [program.path, ...words],
      cwd,
      env: {
        ...environment,
        TURNKEY_HOST_JSON: REPORT,
        ...(options.learn === undefined ? {} : { TURNKEY_HOST_LEARN: LEARNED }),
      },
      timeoutMs: TIMEOUT_MS,
      ...(!process.stdin.isTTY && { stdin: process.stdin as AsyncIterable<Buffer> }),
      onStdout: (bytes) => process.stdout.write(bytes),
      onStderr: (bytes) => process.stderr.write(bytes),
    });
    if (result.lost || result.timedOut || (result.exitCode === null && result.signal === null))
      throw new ExperimentError(`the guest did not run the program to its end: ${result.reason ?? 'no reason given'}`);
    const read = async (path: string): Promise<string> => {
      const print = `process.stdout.write(require('node:fs').readFileSync(${JSON.stringify(path)}))`;
      const { exitCode, stdout } = await guest.run({ command: ['node', '-e', print], cwd: '/', timeoutMs: 60_000 });
      return exitCode === 0 ? stdout : '';
    };
    if (result.exitCode === NOT_FOUND && program.chain.length > 1)
      say(`the guest has no command that ${program.path} calls: it has what --with names, and no more of this machine`);
    if (options.learn !== undefined) appendFileSync(options.learn, await read(LEARNED));
    const signals: Readonly<Record<string, number | undefined>> = constants.signals;
    return {
      exitCode: result.exitCode ?? 128 + (signals[result.signal ?? ''] ?? 0),
      reported: await read(REPORT),
    };
  } catch (error) {
    if (error instanceof MachineError) throw new ExperimentError(error.message, { cause: error });
    throw error;
  } finally {
    if (!process.stdin.isTTY) process.stdin.destroy();
    await machine?.close();
  }
}
