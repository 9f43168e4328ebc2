/**
 * Hardening: what a guard does beyond keys (docs/hardening.md). A filter judges callees' system calls, sealing keeps
 * everybody from remapping the image, a scan keeps libraries out that can write rights.
 */
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';

import { type Errno } from '../native.js';
import { binding, ThunkFlag } from './binding.js';
import { systemCallNumber } from './system-calls.js';
import type { GuardMechanism, Image } from './vm.js';
import { type Lasting, watchLasting } from './watching.js';

/** One remedy for what keys leave open. */
export const HARDENINGS = ['filter', 'seal', 'scan'] as const;
export type Hardening = (typeof HARDENINGS)[number];

/** A filter of callees' system calls (native/trap/filter.h). It is the process's: later guards change it for all. */
export interface FilterOptions {
  /**
   * 'dispatch' (default): every call of a callee is judged, with what it points at; a few instructions for each
   * callout, a signal for each call. 'seccomp': judged by numbers and registers alone; costs a callout nothing, and
   * lasts for ever.
   */
  readonly way?: 'dispatch' | 'seccomp';
  /** What a refused call becomes: 'fail' (default), a CalloutError with its name and arguments; 'errno', EPERM. */
  readonly deny?: 'fail' | 'errno';
  /** False: callees may not start threads. Default true. */
  readonly threads?: boolean;
  /** Names of system calls that pass whatever the rules say, and of such that never do. */
  readonly allow?: readonly string[];
  readonly refuse?: readonly string[];
}

/** What is asked of a guard. */
export interface HardenOptions {
  /** Remedies for what keys leave open (docs/hardening.md); true: all of them. Default none. */
  readonly harden?: boolean | readonly Hardening[];
  /** How the filter decides; to ask for it here is to ask for it in `harden`. */
  readonly filter?: FilterOptions;
}

/** What a guard got. */
export interface Hardened {
  readonly by: readonly Hardening[];
  /** For every thunk of the guard. */
  readonly thunkFlags: number;
  /** By 'scan': what writes rights to keys and has to stay, and whether callees are kept from it. No error if not. */
  readonly lasting: readonly Lasting[];
}

const WAYS = { dispatch: 1, seccomp: 2 } as const;
const REFUSALS = { fail: 0, errno: 1 } as const;
const ALLOW = 1;
const REFUSE = 2;

/** `true` is all. @throws TypeError for anything else */
function hardeningsOf(wanted: boolean | readonly Hardening[]): readonly Hardening[] {
  if (typeof wanted === 'boolean') return wanted ? HARDENINGS : [];
  if (!Array.isArray(wanted) || !wanted.every((word) => HARDENINGS.includes(word as Hardening)))
    throw new TypeError(`harden must be true or a list of ${HARDENINGS.map((word) => `'${word}'`).join(', ')}`);
  return wanted as readonly Hardening[];
}

function numbersOf(names: readonly string[], verdict: number): readonly (readonly [number, number])[] {
  return names.map((name) => {
    const number = systemCallNumber(name);
    if (number === undefined) throw new TypeError(`'${name}' is no system call of this system`);
    return [number, verdict] as const;
  });
}

function must(error: Errno, what: string, missing: string): void {
  if (error >= 0) return;
  const { ENOTSUP, EOPNOTSUPP, EBUSY } = constants.errno;
  const why =
    error === -ENOTSUP || error === -EOPNOTSUPP
      ? missing
      : error === -EBUSY
        ? 'a callout is in progress on this thread, or the process is filtered in the other way already'
        : `errno ${-error}, ${getSystemErrorName(error)}`;
  throw Object.assign(new Error(`Cannot ${what}: ${why}`), { code: getSystemErrorName(error), errno: -error });
}

function setFilter(options: FilterOptions, scans: boolean): void {
  const { way = 'dispatch', deny = 'fail', threads = true, allow = [], refuse = [] } = options;
  if (!Object.hasOwn(WAYS, way))
    throw new TypeError(`filter.way must be 'dispatch' or 'seccomp', not '${String(way)}'`);
  if (!Object.hasOwn(REFUSALS, deny))
    throw new TypeError(`filter.deny must be 'fail' or 'errno', not '${String(deny)}'`);
  const rules = [...numbersOf(allow, ALLOW), ...numbersOf(refuse, REFUSE)];
  must(
    binding.filterInit(WAYS[way], REFUSALS[deny], threads, !scans, Uint32Array.from(rules.flat())),
    "filter callees' system calls",
    'this needs Linux 5.11 or later on x86-64',
  );
}

/**
 * Sets up what the options ask for. What cannot be had is an error, with one exception: by 'scan', an instruction that
 * stays and cannot be watched is told by `lasting`.
 * @throws Error where the system has no such thing; TypeError for unknown options
 */
export function harden(options: HardenOptions, mechanism: GuardMechanism, image: Image | undefined): Hardened {
  const { filter } = options;
  const by = new Set(hardeningsOf(options.harden ?? []));
  if (filter !== undefined) by.add('filter');
  if (mechanism === 'none' && by.size > 0)
    throw new TypeError("mechanism 'none' has no gate to harden; 'flag' is the trap alone");
  if (by.has('filter')) setFilter(filter ?? {}, by.has('scan'));
  if (by.has('seal')) {
    image?.seal();
    must(binding.seal(), "seal the trap's pages", 'this needs mseal(2): Linux 6.10 or later');
  }
  return {
    by: HARDENINGS.filter((word) => by.has(word)),
    thunkFlags: by.has('filter') ? ThunkFlag.filter : 0,
    // pkeys-glibc calls pkey_set itself, beside each callout
    lasting: by.has('scan') && mechanism !== 'pkeys-glibc' ? watchLasting() : [],
  };
}
