/** The command line's words as values: each parser throws an error that commander shows as one line. */
import { type Command, InvalidArgumentError } from 'commander';

import { LUA_MECHANISMS } from '../experiment/lua-host.js';
import {
  type Denial,
  DENIALS,
  GUARD_MECHANISMS,
  type GuardMechanism,
  HARDENED,
  type Hardened,
  isGuardMechanism,
  KEY_MODES,
  type KeyMode,
  RUN_LANES,
  type RunLane,
} from '../record/words.js';

/** A lane of RUN_LANES, or `auto`. */
export function parseLane(text: string): RunLane | 'auto' {
  const lane = [...RUN_LANES, 'auto' as const].find((known) => known === text);
  if (lane === undefined) throw new InvalidArgumentError(`It must be ${RUN_LANES.join(', ')} or auto.`);
  return lane;
}

/** `write` or `access`. */
export function parseDenial(text: string): Denial {
  const found = DENIALS.find((denial) => denial === text);
  if (found === undefined) throw new InvalidArgumentError(`It must be ${DENIALS.join(' or ')}.`);
  return found;
}

/** `image` or `space`. */
export function parseKeys(text: string): KeyMode {
  const found = KEY_MODES.find((mode) => mode === text);
  if (found === undefined) throw new InvalidArgumentError(`It must be ${KEY_MODES.join(' or ')}.`);
  return found;
}

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

/** One of the mechanisms that the Lua host offers. */
export function parseLuaMechanism(text: string): (typeof LUA_MECHANISMS)[number] {
  const found = LUA_MECHANISMS.find((mechanism) => mechanism === text);
  if (found === undefined) throw new InvalidArgumentError(`It must be one of ${LUA_MECHANISMS.join(', ')}.`);
  return found;
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
