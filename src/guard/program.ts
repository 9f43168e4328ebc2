/**
 * The program that `turnkey guard` is given. It is found as a shell finds it, and followed through the `#!` lines of
 * scripts to the executable that the kernel starts. Then it is checked: a library must be able to be preloaded into it.
 * elf(5), execve(2), ld.so(8) ("secure-execution mode").
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { basename, delimiter, join, resolve } from 'node:path';

import { ExperimentError } from '../record/errors.js';

/** An executable that can be guarded. */
export interface Program {
  /** As it is found, a link perhaps; what a shim stands for, in the shim's place. */
  readonly path: string;
  /** The executable that the kernel starts: `path`, or the interpreter that its `#!` line leads to. */
  readonly executable: string;
  /** Every file on the way, links not resolved: scripts and interpreters, `path` first. */
  readonly chain: readonly string[];
}

/** As many `#!` lines as Linux follows (BINPRM_MAX_RECURSION). */
const MOST_SCRIPTS = 4;
const HEAD_BYTES = 4096;
/** The last line of a shim of pyenv's or its kin's: which program it starts, only that tool can say. */
const SHIM = /^exec "([^"\n]*\/(?:pyenv|rbenv|nodenv))" exec "\$program"/m;

const ELF = { class: 4, machine: 18, phoff: 32, phentsize: 54, phnum: 56 } as const;
const CLASS_64 = 2;
const MACHINE_X86_64 = 62;
const PT_INTERP = 3;
const LOADER = /^\/lib(?:64|\/x86_64-linux-gnu)\/ld-linux-x86-64\.so\.2$/;

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** @throws ExperimentError where nothing of that name can be started */
function find(name: string): string {
  const paths = name.includes('/')
    ? [resolve(name)]
    : (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder === '' ? '.' : folder, name));
  const found = paths.find(isExecutable);
  if (found !== undefined) return found;
  const [only = ''] = paths;
  if (!name.includes('/')) throw new ExperimentError(`there is no program '${name}' on PATH`);
  throw new ExperimentError(
    statSync(only, { throwIfNoEntry: false }) === undefined
      ? `there is no program ${name}`
      : `${name} is not an executable file`,
  );
}

function read(path: string, at: number, bytes: number): Buffer {
  const fd = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(bytes);
    return buffer.subarray(0, readSync(fd, buffer, 0, bytes, at));
  } finally {
    closeSync(fd);
  }
}

/** The words of a `#!` line, with `env` passed over: the interpreter first. */
function interpreter(head: Buffer): string | undefined {
  const line = /^#![ \t]*([^\n]+)/.exec(head.toString('latin1'))?.[1];
  if (line === undefined) return undefined;
  const words = line.trim().split(/[ \t]+/);
  if (basename(words[0] ?? '') !== 'env') return words[0];
  return words.slice(1).find((word) => !word.startsWith('-') && !word.includes('='));
}

/**
 * The program that a shim starts; undefined if the script is none.
 * @throws ExperimentError with what the tool says, where it knows no such program
 */
function behindShim(path: string, head: Buffer): string | undefined {
  const tool = SHIM.exec(head.toString('latin1'))?.[1];
  if (tool === undefined) return undefined;
  try {
    return execFileSync(tool, ['which', basename(path)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim().split('\n')[0] : '';
    throw new ExperimentError(`${path} is a shim of ${basename(tool)}, which says: ${said ?? ''}`, { cause: error });
  }
}

/** The dynamic loader that an ELF file asks for; undefined if it asks for none. */
function loaderOf(path: string, head: Buffer): string | undefined {
  const [at, size, count] = [
    Number(head.readBigUInt64LE(ELF.phoff)),
    head.readUInt16LE(ELF.phentsize),
    head.readUInt16LE(ELF.phnum),
  ];
  const headers = read(path, at, size * count);
  for (let i = 0; i + 56 <= headers.length; i += size)
    if (headers.readUInt32LE(i) === PT_INTERP) {
      const text = read(path, Number(headers.readBigUInt64LE(i + 8)), Number(headers.readBigUInt64LE(i + 32)));
      return text.toString('latin1').replace(/\0.*$/s, '');
    }
  return undefined;
}

/** @throws ExperimentError where nothing can be preloaded into this executable */
function requirePreloadable(path: string, head: Buffer): void {
  if (head[ELF.class] !== CLASS_64)
    throw new ExperimentError(
      `${path} is a 32-bit program, and the guarding library has 64 bits: use the program's 64-bit build`,
    );
  if (head.readUInt16LE(ELF.machine) !== MACHINE_X86_64)
    throw new ExperimentError(`${path} is a program for another kind of CPU than x86-64`);
  const loader = loaderOf(path, head);
  if (loader === undefined)
    throw new ExperimentError(
      `${path} is statically linked: no library can be preloaded into it. It must be linked dynamically`,
    );
  if (!LOADER.test(loader))
    throw new ExperimentError(`${path} uses another C library than glibc (its loader is ${loader})`);
  const { mode, uid, gid } = statSync(path);
  const changes =
    ((mode & 0o4000) !== 0 && uid !== process.geteuid?.()) || ((mode & 0o2000) !== 0 && gid !== process.getegid?.());
  if (changes)
    throw new ExperimentError(
      `${path} is setuid or setgid: the loader preloads nothing into such a program. A copy is not`,
    );
}

/** Whether the file has capabilities(7); false where `getcap`, which could say so, is not there. */
function hasCapabilities(path: string): boolean {
  const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  const { stdout } = spawnSync('getcap', ['--', path], { encoding: 'utf8', env: { ...process.env, PATH } });
  return (stdout as string | null)?.startsWith(path) ?? false;
}

/**
 * The kernel starts a program that gets capabilities in secure-execution mode, unless root starts it. Where nobody
 * can say, the summary does: such a program reports nothing.
 * @throws ExperimentError for such a program
 */
export function requireNoCapabilities(path: string): void {
  if (process.getuid?.() !== 0 && hasCapabilities(path))
    throw new ExperimentError(
      `${path} has file capabilities (getcap): the loader preloads nothing into such a program. A copy of it has none`,
    );
}

/**
 * The program of that name, a path or a word on PATH.
 * @throws ExperimentError with one sentence where it cannot be guarded
 */
export function findProgram(name: string): Program {
  const found = find(name);
  const path = behindShim(found, read(found, 0, HEAD_BYTES)) ?? found;
  const chain = [path];
  for (let at = path; ;) {
    const head = read(at, 0, HEAD_BYTES);
    if (head.toString('latin1', 0, 4) === '\x7fELF') {
      const executable = realpathSync(at);
      requirePreloadable(executable, head);
      return { path, executable, chain };
    }
    const next = interpreter(head);
    if (next === undefined || chain.length > MOST_SCRIPTS)
      throw new ExperimentError(`${at} is neither an ELF program nor a script with a '#!' line`);
    at = find(next);
    chain.push(at);
  }
}
