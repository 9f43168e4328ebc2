/**
 * The words of docs/architecture.md as values: mechanisms, lanes, verdicts. Closed lists; the schema is built from
 * them.
 */

import { GUARD_MECHANISMS } from '../image/mechanism.js';

export {
  closesImage,
  type Denial,
  DENIALS,
  GUARD_MECHANISMS,
  type GuardMechanism,
  hasTrap,
  isGuardMechanism,
  KEY_MODES,
  type KeyMode,
  needsKeys,
} from '../image/mechanism.js';

/** How the image is protected: by a mechanism that guards callouts, or, for comparison, by what does not. */
export const MECHANISMS = [...GUARD_MECHANISMS, 'pkeys-model', 'process'] as const;
export type Mechanism = (typeof MECHANISMS)[number];

/**
 * How a guard is hardened beyond its mechanism (docs/hardening.md). `filter`: callees' system calls are dispatched and
 * judged. `seccomp`: they are judged by a seccomp filter. `seal`: the image is sealed. `all`: `filter` and `seal`, and
 * libraries are searched for instructions that write rights.
 */
export const HARDENED = ['filter', 'seccomp', 'seal', 'all'] as const;
export type Hardened = (typeof HARDENED)[number];

/** Where a record was obtained. Only `native` has times. */
export const LANES = ['native', 'emulated', 'model', 'wine', 'qemu-user'] as const;
export type Lane = (typeof LANES)[number];

/** The lanes that a run can be asked for: each has an executor (src/run). */
export const RUN_LANES = ['native', 'emulated', 'wine'] as const satisfies readonly Lane[];
export type RunLane = (typeof RUN_LANES)[number];

/** The lanes that costs are measured in: by times, or by instructions. */
export type CostLane = 'native' | 'emulated';

/** What an experiment saw, given after the aftermath. */
export const VERDICTS = [
  'prevented',
  'refused',
  'trapped',
  'damaged',
  'host-damaged',
  'disclosed',
  'crashed',
  'hung',
  'harmless',
] as const;
export type Verdict = (typeof VERDICTS)[number];

/** Groups of corruption cases, in the order of reports. */
export const CASE_GROUPS = [
  'stray writes',
  'reads',
  'left open',
  'allocator',
  'control flow',
  'time and threads',
  'through the kernel',
  'undoing protection',
  'virtual keys',
  'real libraries',
  'real images',
  'a real VM',
] as const;
export type CaseGroup = (typeof CASE_GROUPS)[number];

/** A group as the name of a folder: 'a real VM' is a-real-vm. */
export function groupFolder(group: CaseGroup): string {
  return group.toLowerCase().replaceAll(' ', '-');
}

/** The source of a case, in the project. */
export function caseFile(group: CaseGroup, name: string): string {
  return `experiments/corruption/${groupFolder(group)}/${name}.ts`;
}

/**
 * Kinds of remedies for what keys leave open. `seal`: mseal(2). `filter`: a filter of system calls. `process`: the
 * callee in another process. `scan`: searching code for instructions that write rights. `no-access`: denying reads too.
 * `keys`: for what other mechanisms leave open. `vm`: the VM's own care. `nothing`: none is known, or none is wanted.
 */
export const REMEDY_KINDS = ['process', 'filter', 'seal', 'scan', 'no-access', 'keys', 'vm', 'nothing'] as const;
export type RemedyKind = (typeof REMEDY_KINDS)[number];
