/** Where a campaign's warm processes run: here, or in a booted guest. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';

import { hostLibrary, registerModule } from '../guard/library.js';
import { hostCpu } from '../machine/host.mjs';
import { Machine } from '../machine/index.js';
import { ExperimentError } from '../record/errors.js';
import { inProject, NATIVE } from '../record/paths.js';
import { NODE, STAND_IN, type Subject } from './subjects.js';

const PROGRAM = `${NATIVE}/turnkey-campaign`;

/** Runs the warm process on lines of input; `onLine` gets each line of its output. */
export interface CampaignLane {
  readonly name: 'native' | 'emulated';
  readonly subject: Subject;
  readonly kernel: string;
  readonly cpu: string;
  /** Processor time after which a trial hangs, in ms: a hundred times what one takes. */
  readonly limitMs: number;
  /** Trials for which one warm process is used. */
  readonly chunk: number;
  readonly processors: number;
  run(input: string, onLine: (line: string) => void): Promise<void>;
  close(): Promise<void>;
}

/** Hands out whole lines. */
function liner(onLine: (line: string) => void): (text: string) => void {
  let rest = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  };
}

/** How the warm process of each subject starts, and what decides what a trial does: its libraries and its sources. */
const PROGRAMS = {
  'stand-in': {
    library: `${NATIVE}/libturnkey_stray.so`,
    sources: ['native/campaign', 'native/image', 'native/pkeys', 'native/trap'],
    command: () => ({ words: [inProject(PROGRAM)], env: {} }),
  },
  node: {
    library: `${NATIVE}/libturnkey_node_stray.so`,
    sources: ['native/campaign', 'native/host', 'native/pkeys', 'native/trap', 'src/campaign/node-program.ts'],
    command: nodeCommand,
  },
} as const;

/** Node has one thread and draws nothing at random, so that its memory lies alike in each warm process. */
const NODE_FLAGS = [
  '--random-seed=7',
  '--hash-seed=7',
  '--single-threaded',
  '--predictable-gc-schedule',
  '--expose-gc',
];
const LONGEST_NAME = 20;

/** Guarded as by `turnkey guard`. With nothing, a trial takes the trap's handlers away (native/campaign/node.c). */
function nodeCommand(mechanism: string) {
  const guarded = mechanism === 'none' ? 'flag' : mechanism;
  const program = inProject('dist/src/campaign/node-program.js');
  return {
    words: [
      ...[inProject(PROGRAM), process.execPath, '--require', registerModule(), ...NODE_FLAGS],
      ...[program, inProject(PROGRAMS.node.library)],
    ],
    env: {
      LD_PRELOAD: hostLibrary(),
      TURNKEY_HOST_MECHANISM: guarded,
      // the environment lies on the stack: it has one length
      TURNKEY_CAMPAIGN_FILL: '.'.repeat(LONGEST_NAME - guarded.length),
    },
  };
}

function commandOf({ process: whose }: Subject, input: string) {
  return PROGRAMS[whose].command(/^mechanism (\S+)/.exec(input)?.[1] ?? '');
}

/**
 * SHA-256 of the sources of the programs that make the trials, and of Node's version where it is the subject: equal in
 * every checkout of the same code, wherever it lies.
 * @throws ExperimentError where the programs are not built
 */
export function programDigest({ process: whose }: Subject): string {
  const { library, sources } = PROGRAMS[whose];
  for (const path of [PROGRAM, library])
    if (!existsSync(inProject(path)))
      throw new ExperimentError(
        `${path} is not there: campaigns need a checkout, zlib1g-dev and libsqlite3-dev (npm run build:native)`,
      );
  const hash = createHash('sha256');
  if (whose === 'node') hash.update(process.version);
  for (const source of sources) {
    const isFile = source.endsWith('.ts');
    const names = isFile ? [''] : readdirSync(inProject(source)).sort();
    for (const name of names)
      if (isFile || /\.[chS]$/.test(name))
        hash.update(`${name}\n`).update(readFileSync(inProject(isFile ? source : `${source}/${name}`)));
  }
  return hash.digest('hex');
}

/** This machine. */
export function nativeLane(subject: Subject = STAND_IN): CampaignLane {
  const isNode = subject === NODE;
  return {
    name: 'native',
    subject,
    kernel: release(),
    cpu: hostCpu().model,
    limitMs: isNode ? 3000 : 300,
    chunk: isNode ? 280 : 880,
    processors: 2,
    run: (input, onLine) =>
      new Promise((resolve, reject) => {
        const {
          words: [program = '', ...words],
          env,
        } = commandOf(subject, input);
        const child = spawn(program, words, {
          cwd: inProject('.'),
          stdio: ['pipe', 'pipe', 'ignore'],
          env: { PATH: '/usr/bin:/bin', ...env },
        });
        const take = liner(onLine);
        child.stdout.setEncoding('latin1').on('data', take);
        child.on('error', reject);
        child.stdin.on('error', () => undefined); // it has refused, and says why
        child.on('close', () => {
          resolve();
        });
        child.stdin.end(input);
      }),
    close: () => Promise.resolve(),
  };
}

/** A guest with keys. @throws MachineError */
export async function emulatedLane(subject: Subject = STAND_IN, kernel?: string): Promise<CampaignLane> {
  const isNode = subject === NODE;
  const machine = await Machine.boot({
    extraFiles: ['libz.so.1', 'libsqlite3.so.0'],
    ...(kernel === undefined ? {} : { kernel }),
  });
  const { info } = machine;
  return {
    name: 'emulated',
    subject,
    kernel: info.kernel,
    cpu: info.cpu,
    limitMs: isNode ? 60_000 : 6000,
    chunk: isNode ? 280 : 440,
    processors: info.processors,
    async run(input, onLine) {
      const take = liner(onLine);
      const { words, env } = commandOf(subject, input);
      await machine.run({
        command: words,
        cwd: inProject('.'),
        env,
        stdin: input,
        timeoutMs: 3_600_000,
        onStdout(bytes) {
          take(bytes.toString('latin1'));
        },
      });
    },
    close: () => machine.close(),
  };
}

export function openLane(
  name: 'native' | 'emulated',
  subject: Subject = STAND_IN,
  kernel?: string,
): Promise<CampaignLane> {
  return name === 'native' ? Promise.resolve(nativeLane(subject)) : emulatedLane(subject, kernel);
}
