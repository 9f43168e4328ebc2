/**
 * Choices that are programs of their own, in which C or Java is the caller that has to survive. They are libsigsegv's
 * handler left through sigsetjmp, and JNA's protected mode. Each times itself; a pipe takes the orders.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { deflateSync } from 'node:zlib';

import { BUILT, inProject, NATIVE } from '../../src/experiment/index.js';
import { Unavailable } from './choices-unavailable.js';
import { plainText, type Work } from './choices-work.js';

export const PROGRAMS = ['libsigsegv', 'JNA protected mode'] as const;
export type Program = (typeof PROGRAMS)[number];

/** A program and what comes before its own arguments. */
interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

const NAMES: Readonly<Record<Work, string>> = {
  'int(int, int)': 'divide',
  'inflate, 1 MiB': 'inflate',
  'SQLite, 100 inserts and a select': 'sqlite',
};

let folder: string | undefined;

/** A temporary folder, gone with this process. */
function temporary(): string {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'turnkey-choices-'));
    process.once('exit', () => {
      rmSync(made, { recursive: true, force: true });
    });
    folder = made;
  }
  return folder;
}

function onPath(name: string): string | undefined {
  const found = (process.env['PATH'] ?? '').split(delimiter).map((part) => join(part, name));
  return found.find((path) => existsSync(path));
}

function sigsegv(): Command {
  const file = inProject(`${NATIVE}/turnkey-choice-sigsegv`);
  if (existsSync(file)) return { file, args: [] };
  throw new Unavailable('libsigsegv was not there at the build: apt-get install libsigsegv-dev, then npm run build');
}

const JNA = ['/usr/share/java/jna.jar', '/usr/share/java/jna/jna.jar'] as const;
const JAVA_SOURCE = 'native/bench/JnaChoice.java';

let compiled: Command | undefined;

/** Compiles the Java program, once in this process. */
function jna(): Command {
  if (compiled !== undefined) return compiled;
  const [java, javac, jar] = [onPath('java'), onPath('javac'), JNA.find((path) => existsSync(path))];
  if (java === undefined || javac === undefined || jar === undefined) {
    const lacking = Object.entries({ java, javac, 'jna.jar': jar }).flatMap(([name, path]) =>
      path === undefined ? [name] : [],
    );
    throw new Unavailable(`no ${lacking.join(', ')}: apt-get install default-jdk-headless libjna-java`);
  }
  const source = inProject(JAVA_SOURCE);
  if (!existsSync(source)) throw new Unavailable(`${JAVA_SOURCE} is in a checkout only`);
  const classes = temporary();
  const { status, stderr } = spawnSync(javac, ['-cp', jar, '-d', classes, source], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`javac: ${stderr}`);
  // JNA asks for it: without it, JNA's handler and the JVM's own replace each other
  const chaining = join(dirname(dirname(realpathSync(java))), 'lib', 'libjsig.so');
  compiled = {
    file: java,
    args: [
      '-XX:-CreateCoredumpOnCrash',
      `-XX:ErrorFile=${join(classes, 'died.log')}`,
      '-cp',
      [jar, classes].join(delimiter),
      'JnaChoice',
    ],
    ...(existsSync(chaining) ? { env: { ...process.env, LD_PRELOAD: chaining } } : {}),
  };
  return compiled;
}

const command = (program: Program): Command => (program === 'libsigsegv' ? sigsegv() : jna());

/** What starts a program that does harm to itself. @throws Unavailable where it cannot be had */
export function harmCommand(program: Program, harm: string): Command {
  const { args, ...rest } = command(program);
  return { ...rest, args: [...args, 'harm', harm] };
}

/** Why a program cannot be had here; false where it can. */
export function missing(program: Program): string | false {
  try {
    command(program);
    return false;
  } catch (error) {
    if (error instanceof Unavailable) return error.message;
    throw error;
  }
}

/** Where both programs find their input. */
function input(): string {
  const directory = temporary();
  if (!readdirSync(directory).includes('packed')) {
    const plain = plainText();
    writeFileSync(join(directory, 'plain'), plain);
    writeFileSync(join(directory, 'packed'), deflateSync(plain));
  }
  return directory;
}

/** A program, started for a piece of work. */
export interface Started {
  /** Does the work so often: ns by the program's own clock, and the last answer. */
  readonly batch: (times: number) => Promise<{ readonly ns: number; readonly answer: number }>;
  readonly stop: () => void;
}

/** Starts a program for a piece of work. @throws Unavailable where it cannot be had */
export function startProgram(program: Program, work: Work): Started {
  const { file, args, env } = command(program);
  const child: ChildProcess = spawn(file, [...args, 'work', inProject(BUILT.foreign), input(), NAMES[work]], {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(env === undefined ? {} : { env }),
  });
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null) throw new Error('no pipes');
  let said = '';
  stderr.on('data', (text: Buffer) => (said += text.toString()));
  stdin.on('error', () => undefined); // its end is heard of below
  const lines = createInterface({ input: stdout });
  let ended: string | undefined;
  child.once('close', (code, signal) => {
    ended = `${program} ended: ${signal ?? `exit code ${String(code)}`} ${said}`.trim();
    lines.emit('ended');
  });
  return {
    batch: (times) =>
      new Promise((resolve, reject) => {
        const onLine = (line: string): void => {
          lines.off('ended', onEnd);
          const [ns = Number.NaN, answer = Number.NaN] = line.split(' ').map(Number);
          resolve({ ns, answer });
        };
        const onEnd = (): void => {
          lines.off('line', onLine);
          reject(new Error(ended));
        };
        if (ended !== undefined) {
          onEnd();
          return;
        }
        lines.once('line', onLine);
        lines.once('ended', onEnd);
        stdin.write(`${String(times)}\n`);
      }),
    stop: () => void child.kill('SIGKILL'),
  };
}
