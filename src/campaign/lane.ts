/** Where a campaign's warm processes run: here, or in a booted guest. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';

import { hostCpu } from '../machine/host.mjs';
import { Machine } from '../machine/index.js';
import { ExperimentError } from '../record/errors.js';
import { inProject, NATIVE } from '../record/paths.js';

const PROGRAM = `${NATIVE}/turnkey-campaign`;
const STRAY = `${NATIVE}/libturnkey_stray.so`;

/** Runs the warm process on lines of input; `onLine` gets each line of its output. */
export interface CampaignLane {
  readonly name: 'native' | 'emulated';
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

/** Folders whose sources decide what a trial does. */
const SOURCES = ['native/campaign', 'native/image', 'native/pkeys', 'native/trap'];

/**
 * SHA-256 of the sources of the programs that make the trials: equal in every checkout of the same code, wherever it
 * lies.
 * @throws ExperimentError where the programs are not built
 */
export function programDigest(): string {
  for (const path of [PROGRAM, STRAY])
    if (!existsSync(inProject(path)))
      throw new ExperimentError(
        `${path} is not there: campaigns need a checkout, zlib1g-dev and libsqlite3-dev (npm run build:native)`,
      );
  const hash = createHash('sha256');
  for (const folder of SOURCES)
    for (const name of readdirSync(inProject(folder)).sort())
      if (/\.[chS]$/.test(name)) hash.update(`${name}\n`).update(readFileSync(inProject(`${folder}/${name}`)));
  return hash.digest('hex');
}

/** This machine. */
export function nativeLane(): CampaignLane {
  return {
    name: 'native',
    kernel: release(),
    cpu: hostCpu().model,
    limitMs: 300,
    chunk: 880,
    processors: 2,
    run: (input, onLine) =>
      new Promise((resolve, reject) => {
        const child = spawn(inProject(PROGRAM), [], { stdio: ['pipe', 'pipe', 'ignore'] });
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
export async function emulatedLane(kernel?: string): Promise<CampaignLane> {
  const machine = await Machine.boot({
    extraFiles: ['libz.so.1', 'libsqlite3.so.0'],
    ...(kernel === undefined ? {} : { kernel }),
  });
  const { info } = machine;
  return {
    name: 'emulated',
    kernel: info.kernel,
    cpu: info.cpu,
    limitMs: 6000,
    chunk: 440,
    processors: info.processors,
    async run(input, onLine) {
      const take = liner(onLine);
      await machine.run({
        command: [inProject(PROGRAM)],
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

export function openLane(name: 'native' | 'emulated', kernel?: string): Promise<CampaignLane> {
  return name === 'native' ? Promise.resolve(nativeLane()) : emulatedLane(kernel);
}
