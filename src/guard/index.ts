/**
 * `turnkey guard -- command…`: a program with a VM in it, unchanged, with its callouts trapped and its heap behind a
 * mechanism. native/host does the work inside; this decides what is possible, starts the program and says what came.
 */
import { ExperimentError } from '../record/errors.js';
import { closesImage, type GuardMechanism } from '../record/words.js';
import { type Adapter, seemsToBe } from './adapters.js';
import { hostLibrary, registerModule } from './library.js';
import { runNative } from './native.js';
import { findProgram } from './program.js';
import { type GuardReport, parseLines } from './report.js';

export { type Adapter, ADAPTERS } from './adapters.js';
export { type GuardReport, summary } from './report.js';

/** The mechanisms that a host can be put behind. Under `none` an adapter repairs what it must, and guards nothing. */
export const HOST_MECHANISMS = ['auto', 'none', 'flag', 'mprotect-range', 'pkeys'] as const;
export type HostMechanism = (typeof HOST_MECHANISMS)[number];

export interface GuardOptions {
  readonly mechanism: HostMechanism;
  readonly lane: 'native' | 'emulated';
  readonly adapter?: Adapter;
  /** Files and folders to take along into the emulated lane. */
  readonly with: readonly string[];
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
 * Runs a command guarded, and returns what came of it.
 * @param say gets a line that the user should see before the program starts
 * @throws ExperimentError with one sentence where the command cannot be guarded
 */
export async function guard(
  command: readonly string[],
  options: GuardOptions,
  say: (line: string) => void,
): Promise<GuardReport> {
  const [name = '', ...words] = command;
  const program = findProgram(name);
  const mechanism = chooseMechanism(options);
  const noKeys = options.lane === 'emulated' || options.keys.usable ? '' : options.keys.reason;
  if (options.mechanism === 'auto' && !closesImage(mechanism))
    say(`no protection keys here (${noKeys}): the trap alone guards the program, and its heap is open. ${EMULATED}`);
  const library = hostLibrary();
  const given = options.lane === 'native' ? process.env : {};
  const isNode =
    options.adapter === 'node' || (options.adapter === undefined && seemsToBe(program.executable) === 'node');
  const environment: Record<string, string> = {
    LD_PRELOAD: [library, given['LD_PRELOAD']].filter((each) => each !== undefined && each !== '').join(':'),
    TURNKEY_HOST_MECHANISM: mechanism,
    ...(options.adapter === undefined ? {} : { TURNKEY_HOST_ADAPTER: options.adapter }),
    ...(options.noChildren ? { TURNKEY_HOST_CHILDREN: '0' } : {}),
    ...(isNode
      ? { NODE_OPTIONS: `${given['NODE_OPTIONS'] ?? ''} --require ${JSON.stringify(registerModule())}`.trim() }
      : {}),
  };
  const { exitCode, reported } =
    options.lane === 'native'
      ? await runNative([program.path, ...words], environment)
      : await (await import('./emulated.js')).runEmulated(program, words, environment, options.with);
  return { command, lane: options.lane, asked: mechanism, noKeys, exitCode, ...parseLines(reported) };
}
