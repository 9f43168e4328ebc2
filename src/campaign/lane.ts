/** Where a campaign's warm processes run: here, or in a booted guest. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { basename, dirname, join } from 'node:path';

import { hostLibrary, registerModule } from '../guard/library.js';
import { hostCpu } from '../machine/host.mjs';
import { Machine } from '../machine/index.js';
import { ExperimentError } from '../record/errors.js';
import { inProject, NATIVE } from '../record/paths.js';
import { versions } from '../run/context.js';
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
    modules: [],
    command: () => ({ words: [inProject(PROGRAM)], env: {} }),
  },
  node: {
    library: `${NATIVE}/libturnkey_node_stray.so`,
    sources: ['addon', 'campaign', 'host', 'image', 'pkeys', 'trap'].map((layer) => `native/${layer}`),
    // what guards koffi in it: preload.cjs is made of the first, which loads the second when koffi is first used
    modules: ['register/preload.js', 'register/guarded.js', 'campaign/node-program.js'],
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

/** Compiled modules and all of the project's own that they import. */
function modulesOf(entries: readonly string[]): readonly string[] {
  const paths = new Set(entries.map((entry) => `dist/src/${entry}`));
  for (const path of paths)
    // it grows on the way
    for (const [, other = ''] of readFileSync(inProject(path), 'utf8').matchAll(IMPORTED)) {
      const imported = join(dirname(path), other);
      if (existsSync(inProject(imported))) paths.add(imported);
    }
  return [...paths].sort();
}

const IMPORTED = /(?:\bfrom |\bimport |\()'(\.[^']+)'/g;

/** The files that decide what the trials of a subject do, relative to the root. */
export function programParts({ process: whose }: Subject): readonly string[] {
  const { sources, modules } = PROGRAMS[whose];
  const layers = sources.flatMap((folder) =>
    readdirSync(inProject(folder))
      .filter((name) => /\.(?:[chS]|cc)$/.test(name))
      .sort()
      .map((name) => `${folder}/${name}`),
  );
  return [...layers, ...modulesOf(modules)];
}

/**
 * SHA-256 of those files, and of the versions of Node, V8 and koffi where Node is the subject: equal in every checkout
 * of the same code, wherever it lies. Turnkey's own version is no part of it: a release alone changes no trial.
 * @throws ExperimentError where the programs are not built
 */
export function programDigest(subject: Subject): string {
  for (const path of [PROGRAM, PROGRAMS[subject.process].library])
    if (!existsSync(inProject(path)))
      throw new ExperimentError(
        `${path} is not there: campaigns need a checkout, zlib1g-dev and libsqlite3-dev (npm run build:native)`,
      );
  const hash = createHash('sha256');
  if (subject === NODE) hash.update(JSON.stringify({ ...versions(), turnkey: undefined }));
  for (const path of programParts(subject)) hash.update(`${basename(path)}\n`).update(readFileSync(inProject(path)));
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
    chunk: isNode ? 134 : 440,
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
