/** The command line's words as values: each parser throws an error that commander shows as one line. */
import { type Command, InvalidArgumentError } from 'commander';

import { LUA_MECHANISMS } from '../experiment/lua-host.js';
import {
  DENIALS,
  GUARD_MECHANISMS,
  type GuardMechanism,
  HARDENED,
  type Hardened,
  isGuardMechanism,
  KEY_MODES,
  RUN_LANES,
} from '../record/words.js';

/** Words in a sentence: `a or b`, `one of a, b, c`. */
const either = (words: readonly string[]): string =>
  words.length > 2 ? `one of ${words.join(', ')}` : words.join(' or ');

/** A parser for one of some words. */
export function oneOf<T extends string>(words: readonly T[]): (text: string) => T {
  return (text) => {
    const found = words.find((word) => word === text);
    if (found === undefined) throw new InvalidArgumentError(`It must be ${either(words)}.`);
    return found;
  };
}

/** A parser for a list of some words, separated by commas. */
export function listOf<T extends string>(words: readonly T[]): (text: string) => readonly T[] {
  return (text) => text.split(',').map(oneOf(words));
}

/** The lanes of a command that runs here or in a guest. */
export const HERE_OR_GUEST = ['native', 'emulated'] as const;

/** A lane of RUN_LANES, or `auto`. */
export const parseLane = oneOf([...RUN_LANES, 'auto']);
export const parseDenial = oneOf(DENIALS);
export const parseKeys = oneOf(KEY_MODES);
/** One of the mechanisms that the Lua host offers. */
export const parseLuaMechanism = oneOf(LUA_MECHANISMS);

/** A comma-separated list of mechanisms, in the order of reports, each once. */
export function parseMechanisms(text: string): readonly GuardMechanism[] {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const stand = names.find((name) => name === 'pkeys-model' || name === 'process');
  if (stand !== undefined)
    throw new InvalidArgumentError(
      `'${stand}' protects nothing: it has cost rows of its own (turnkey run cost), and no trial is made under it.`,
    );
  const wrong = names.filter((name) => !isGuardMechanism(name));
  if (wrong.length > 0)
    throw new InvalidArgumentError(
      `There is no mechanism '${wrong.join("', '")}'; there are ${GUARD_MECHANISMS.join(', ')}.`,
    );
  if (names.length === 0) throw new InvalidArgumentError(`Name at least one of ${GUARD_MECHANISMS.join(', ')}.`);
  return GUARD_MECHANISMS.filter((mechanism) => names.includes(mechanism));
}

/** Those of the flags that were given. */
export function given<F extends object, N extends keyof F>(flags: F, ...names: readonly N[]): Partial<Pick<F, N>> {
  return Object.fromEntries(
    names.flatMap((name) => (flags[name] === undefined ? [] : [[name, flags[name]]])),
  ) as Partial<Pick<F, N>>;
}

/** Comma-separated ways of hardening. */
export function parseHardened(text: string): readonly Hardened[] {
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.find((name) => !(HARDENED as readonly string[]).includes(name));
  if (wrong !== undefined) throw new InvalidArgumentError(`'${wrong}' is none of ${HARDENED.join(', ')}.`);
  return HARDENED.filter((name) => names.includes(name));
}

/** A whole number from `least` to `most`. */
export function parseWhole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
    return value;
  };
}

/** A directory's name from the time: 2025-01-31T12-00-00Z. */
export function runName(): string {
  return `${new Date().toISOString().slice(0, 19).replace(/:/g, '-')}Z`;
}

/** Whether a flag stands on the command line, for this command or for one that it belongs to. */
export function wasGiven(command: Command, name: string): boolean {
  for (let one: Command | null = command; one !== null; one = one.parent)
    if (one.getOptionValueSource(name) === 'cli') return true;
  return false;
}

/** Ends with wrong usage where one of these flags was given: it would be ignored. `where`: `for a plan`. */
export function refuseFlags(command: Command, names: readonly string[], where: string): void {
  const idle = names.find((name) => wasGiven(command, name));
  if (idle === undefined) return;
  const flag = idle.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  command.error(`error: --${flag === 'report' ? 'no-report' : flag} means nothing ${where}`);
}
