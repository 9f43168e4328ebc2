/**
 * `turnkey guard -- command…`: a program with a VM in it, unchanged, with its callouts trapped and its heap behind a
 * mechanism. native/host does the work inside; this decides what is possible, starts the program and says what came.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { ExperimentError } from '../record/errors.js';
import { closesImage, type GuardMechanism } from '../record/words.js';
import { type Adapter, seemsToBe } from './adapters.js';
import { guardedEnvironment } from './library.js';
import { runNative } from './native.js';
import { findProgram, requireNoCapabilities } from './program.js';
import { type GuardReport, parseLines } from './report.js';

export { type Adapter, ADAPTERS } from './adapters.js';
export { type GuardReport, summary } from './report.js';
export { guardedTable } from './table.js';

/** The mechanisms that a host can be put behind. Under `none` an adapter repairs what it must, and guards nothing. */
export const HOST_MECHANISMS = ['auto', 'none', 'flag', 'mprotect-range', 'pkeys'] as const;
export type HostMechanism = (typeof HOST_MECHANISMS)[number];

export interface GuardOptions {
  readonly mechanism: HostMechanism;
  readonly lane: 'native' | 'emulated';
  readonly adapter?: Adapter;
  /** Files and folders to take along into the emulated lane. */
  readonly with: readonly string[];
  /** Where to add what callees wrote into the heap: such stores are let through, and noted. */
  readonly learn?: string;
  /** Such a list: what it names is lent to callees as copies. */
  readonly lend?: string;
  /** Programs that the program starts are not guarded. */
  readonly noChildren: boolean;
  /** Whether this machine has usable keys, and why not. */
  readonly keys: { readonly usable: boolean; readonly reason: string };
}

const EMULATED = '--lane emulated runs the program in a guest with keys';

/** @throws ExperimentError where the mechanism cannot be had in that lane */
function chooseMechanism({ mechanism, lane, keys }: GuardOptions): GuardMechanism {
  const usable = lane === 'emulated' || keys.usable;
  if (mechanism === 'auto') return usable ? 'pkeys' : 'flag';
  if (mechanism === 'pkeys' && !usable)
    throw new ExperimentError(
      `protection keys are not usable here: ${keys.reason}. ${EMULATED}; --mechanism mprotect-range closes the heap ` +
        'without keys, at a high cost for each callout',
    );
  return mechanism;
}

/**
 * The lists of learning and lending, for the preloaded library (native/host/learn.c).
 * @throws ExperimentError where nothing can be learned, or a list is another program's
 */
function listsOf(
  options: GuardOptions,
  executable: string,
  mechanism: GuardMechanism,
): Readonly<Record<string, string>> {
  const { learn, lend } = options;
  if (learn !== undefined && !closesImage(mechanism))
    throw new ExperimentError(
      `nothing can be learned where nothing closes the heap: ${EMULATED}; --mechanism mprotect-range closes it here`,
    );
  if ((learn ?? lend) !== undefined && seemsToBe(executable) === 'node')
    throw new ExperimentError("learning and lending see the calls of libffi, and Node's koffi makes none");
  if (lend !== undefined) requireList(lend, executable);
  return {
    ...(learn === undefined ? {} : { TURNKEY_HOST_LEARN: resolve(learn) }),
    ...(lend === undefined ? {} : { TURNKEY_HOST_LEND: resolve(lend) }),
  };
}

/** @throws ExperimentError unless the file is a list that was learned from this program */
function requireList(file: string, executable: string): void {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ExperimentError(`the list of what to lend, ${file}, cannot be read`, { cause: error });
  }
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const fields = line.split('\t');
    const learnedFrom = fields[5] ?? '';
    if (fields.length !== 6) throw new ExperimentError(`${file} is no list that --learn has written`);
    if (learnedFrom !== executable)
      throw new ExperimentError(`${file} was learned from another program, ${learnedFrom}`);
  }
}

/**
 * Runs a command guarded, and returns what came of it.
 * @param say gets a line that the user should see: before the program starts, or why it failed
 * @throws ExperimentError with one sentence where the command cannot be guarded
 */
export async function guard(
  command: readonly string[],
  options: GuardOptions,
  say: (line: string) => void,
): Promise<GuardReport> {
  const [name = '', ...words] = command;
  const program = findProgram(name);
  // in the guest root starts it, and files travel without capabilities
  if (options.lane === 'native') requireNoCapabilities(program.executable);
  const mechanism = chooseMechanism(options);
  const noKeys = options.lane === 'emulated' || options.keys.usable ? '' : options.keys.reason;
  if (options.mechanism === 'auto' && !closesImage(mechanism))
    say(`no protection keys here (${noKeys}): the trap alone guards the program, and its heap is open. ${EMULATED}`);
  const lists = listsOf(options, program.executable, mechanism);
  const given = options.lane === 'native' ? process.env : {};
  const isNode =
    options.adapter === 'node' || (options.adapter === undefined && seemsToBe(program.executable) === 'node');
  const environment: Record<string, string> = {
    ...guardedEnvironment(mechanism, {
      ...(options.adapter === undefined ? {} : { adapter: options.adapter }),
      isNode,
      given,
    }),
    ...lists,
    ...(options.noChildren ? { TURNKEY_HOST_CHILDREN: '0' } : {}),
  };
  const { exitCode, reported } =
    options.lane === 'native'
      ? await runNative([program.path, ...words], environment)
      : await (await import('./emulated.js')).runEmulated(program, words, environment, options, say);
  return { command, lane: options.lane, asked: mechanism, noKeys, exitCode, ...parseLines(reported) };
}
