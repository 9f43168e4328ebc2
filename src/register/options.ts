/**
 * Options of `turnkey/register`: `turnkey.config.json`, the nearest one from the working directory upwards, then
 * environment variables, which win.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

import { GUARD_MECHANISMS, type GuardMechanism } from '../image/mechanism.js';

/** What a program may choose. What is left out is the guard's own default. */
export interface RegisterOptions {
  readonly mechanism?: GuardMechanism | 'auto';
  readonly response?: 'never' | 'declared' | 'always';
  readonly foreignStack?: boolean;
  /** Bytes that one decoded string or array may have. */
  readonly decodeLimit?: number;
}

const CONFIG = 'turnkey.config.json';

type Parser = (value: unknown) => unknown;

function oneOf(words: readonly string[]): Parser {
  return (value) => (typeof value === 'string' && words.includes(value) ? value : undefined);
}

/** By option: what it must be, in words, and its value or undefined. The environment gives strings. */
const OPTIONS: Readonly<
  Record<keyof RegisterOptions, { readonly variable: string; readonly must: string; parse: Parser }>
> = {
  mechanism: {
    variable: 'TURNKEY_MECHANISM',
    must: `auto, ${GUARD_MECHANISMS.join(', ')}`,
    parse: oneOf(['auto', ...GUARD_MECHANISMS]),
  },
  response: {
    variable: 'TURNKEY_RESPONSE',
    must: 'never, declared, always',
    parse: oneOf(['never', 'declared', 'always']),
  },
  foreignStack: {
    variable: 'TURNKEY_FOREIGN_STACK',
    must: 'true, false',
    parse: (value) => ({ true: true, false: false, '1': true, '0': false })[String(value)],
  },
  decodeLimit: {
    variable: 'TURNKEY_DECODE_LIMIT',
    must: 'a positive whole number of bytes',
    parse: (value) => (Number.isSafeInteger(Number(value)) && Number(value) > 0 ? Number(value) : undefined),
  },
};

const NAMES = Object.keys(OPTIONS) as (keyof RegisterOptions)[];

/** A file that cannot be read, an unknown option or a wrong value. */
export class OptionError extends Error {}

function findConfig(): string | undefined {
  const named = process.env['TURNKEY_CONFIG'];
  if (named !== undefined && named !== '') return resolve(named);
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    const path = join(folder, CONFIG);
    if (existsSync(path)) return path;
    if (folder === dirname(folder)) return undefined;
  }
}

function readConfig(path: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new OptionError(
      `Turnkey cannot read its options in ${path}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new OptionError(`Turnkey's options in ${path} must be an object, {"mechanism": "flag"} say`);
  const unknown = Object.keys(value).find((name) => !(NAMES as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new OptionError(`There is no option '${unknown}' in ${path}; there are ${NAMES.join(', ')}`);
  return value as Readonly<Record<string, unknown>>;
}

let known: RegisterOptions | undefined;

/**
 * The program's options; read once.
 * @throws OptionError
 */
export function readOptions(): RegisterOptions {
  if (known !== undefined) return known;
  const path = findConfig();
  const config = path === undefined ? {} : readConfig(path);
  const options: Record<string, unknown> = {};
  for (const name of NAMES) {
    const { variable, must, parse } = OPTIONS[name];
    const inEnvironment = process.env[variable];
    const given = inEnvironment ?? config[name];
    if (given === undefined) continue;
    const value = parse(given);
    if (value === undefined)
      throw new OptionError(
        `${inEnvironment === undefined ? `'${name}' in ${String(path)}` : variable} must be one of ${must}; ` +
          `it is ${JSON.stringify(given)}`,
      );
    options[name] = value;
  }
  known = options;
  return known;
}
