// `turnkey emulated [--kernel FILE] [--counting] [--with PATH...] -- command...`: any command, in a guest that has
// keys.

import { constants as osConstants } from 'node:os';
import { resolve } from 'node:path';

import { MachineError } from './errors.js';
import { projectRoot } from './locate.js';
import { Machine } from './machine.js';

/** The command line's options, as commander gives them. */
export interface EmulatedOptions {
  readonly kernel?: string;
  readonly counting?: boolean;
  /** Files, folders and names of shared libraries to take along. */
  readonly with?: readonly string[];
  /** Seconds of host time; default 3600. */
  readonly timeout?: string | number;
  /** NAME=VALUE, for the command's environment. */
  readonly env?: readonly string[];
  /** The Node binary to take along. */
  readonly node?: string;
  readonly processors?: string | number;
  readonly memory?: string | number;
  /** Show the console and what happens to the guest. */
  readonly verbose?: boolean;
}

const USAGE_EXIT = 2;
const TIMEOUT_EXIT = 124;
const MACHINE_EXIT = 125;
const NOT_STARTED_EXIT = 127;

/** A positive whole number from the command line, or undefined. Throws RangeError for anything else. */
function positive(name: string, value: string | number | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!Number.isInteger(number) || number <= 0)
    throw new RangeError(`${name}: ${JSON.stringify(value)}, expected a positive whole number`);
  return number;
}

/** NAME=VALUE words as a record. Throws RangeError for a word without a name or '='. */
function environment(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=');
      if (at <= 0) throw new RangeError(`--env ${JSON.stringify(word)}: expected NAME=VALUE`);
      return [word.slice(0, at), word.slice(at + 1)];
    }),
  );
}

/** True where the path is the folder or below it. */
function within(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/**
 * Runs a command in a guest, in a copy of the built project at the same paths. Standard input goes in unless it is a
 * terminal; both outputs come out as they are written. Never throws for what its exit code can say; the message is then
 * on standard error. Returns:
 *
 * - the command's exit code, or 128 plus the number of the signal that ended it;
 * - 2 for bad options; 124 at the time limit; 127 where the command could not be started;
 * - 125 where there is no machine, or the guest was lost twice.
 */
export async function emulatedCommand(command: readonly string[], options: EmulatedOptions = {}): Promise<number> {
  const complain = (text: string): void => {
    process.stderr.write(`turnkey emulated: ${text}\n`);
  };
  if (command.length === 0) {
    complain('no command given; usage: turnkey emulated [--kernel FILE] [--counting] [--with PATH...] -- command...');
    return USAGE_EXIT;
  }
  let machine: Machine | undefined;
  try {
    const processors = positive('--processors', options.processors);
    const memoryMiB = positive('--memory', options.memory);
    const timeoutMs = (positive('--timeout', options.timeout) ?? 3600) * 1000;
    const env = environment(options.env ?? []);
    const root = projectRoot();
    const cwd = process.cwd();
    machine = await Machine.boot({
      mode: options.counting === true ? 'counting' : 'behaviour',
      extraFiles: (options.with ?? []).map((path) => (path.includes('/') ? resolve(path) : path)),
      ...(options.kernel !== undefined && { kernel: options.kernel }),
      ...(options.node !== undefined && { node: options.node }),
      ...(processors !== undefined && { processors }),
      ...(memoryMiB !== undefined && { memoryMiB }),
      ...(options.verbose === true && { onLog: (line: string) => void process.stderr.write(`${line}\n`) }),
    });
    const result = await machine.run({
      command,
      cwd: within(cwd, root) ? cwd : root,
      env,
      timeoutMs,
      ...(!process.stdin.isTTY && { stdin: process.stdin as AsyncIterable<Buffer> }),
      onStdout: (bytes) => process.stdout.write(bytes),
      onStderr: (bytes) => process.stderr.write(bytes),
      onRetry(reason) {
        complain(`the guest was lost (${reason}); once more`);
      },
    });
    if (result.timedOut) {
      complain(`killed at its ${result.reason ?? 'time limit'}`);
      return TIMEOUT_EXIT;
    }
    if (result.lost) {
      complain(result.reason ?? 'the guest was lost');
      return MACHINE_EXIT;
    }
    if (result.signal !== null) {
      complain(`ended by ${result.signal}`);
      return 128 + signalNumber(result.signal);
    }
    if (result.exitCode === null) {
      complain(result.reason ?? 'could not be started');
      return NOT_STARTED_EXIT;
    }
    return result.exitCode;
  } catch (error) {
    complain(error instanceof Error ? error.message : String(error));
    return error instanceof MachineError ? MACHINE_EXIT : USAGE_EXIT;
  } finally {
    if (!process.stdin.isTTY) process.stdin.destroy();
    await machine?.close();
  }
}

function signalNumber(name: string): number {
  const numbers: Readonly<Record<string, number | undefined>> = osConstants.signals;
  return numbers[name] ?? Number(/\d+/.exec(name)?.[0] ?? 0);
}
