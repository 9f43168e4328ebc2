/**
 * The words of docs/architecture.md as values: mechanisms, lanes, verdicts. Closed lists; the schema is built from
 * them.
 */

/** How the image is protected. */
export const MECHANISMS = [
  'none',
  'flag',
  'mprotect-page',
  'mprotect-range',
  'mprotect-naive',
  'pkeys',
  'pkeys-glibc',
  'pkeys-model',
  'process',
] as const;
export type Mechanism = (typeof MECHANISMS)[number];

/** The mechanisms that a guarded callout can be made with, in the order of reports. */
export const GUARD_MECHANISMS = [
  'none',
  'flag',
  'mprotect-page',
  'mprotect-range',
  'mprotect-naive',
  'pkeys-glibc',
  'pkeys',
] as const satisfies readonly Mechanism[];
export type GuardMechanism = (typeof GUARD_MECHANISMS)[number];

/** Whether a name is a mechanism that callouts can be guarded with. */
export function isGuardMechanism(name: string): name is GuardMechanism {
  return (GUARD_MECHANISMS as readonly string[]).includes(name);
}

/** Where a record was obtained. Only `native` has times. */
export const LANES = ['native', 'emulated', 'model', 'wine', 'qemu-user'] as const;
export type Lane = (typeof LANES)[number];

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

/** What a callout loses on a space. */
export const DENIALS = ['write', 'access'] as const;
export type Denial = (typeof DENIALS)[number];

/** How an image's spaces get their keys: one for all of them, or one each. */
export const KEY_MODES = ['image', 'space'] as const;
export type KeyMode = (typeof KEY_MODES)[number];

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

/** Whether a mechanism needs protection keys of the CPU and the kernel. */
export function needsKeys(mechanism: Mechanism): boolean {
  return mechanism === 'pkeys' || mechanism === 'pkeys-glibc';
}

/** Whether a mechanism closes the image's pages during a callout (by keys or by mprotect). */
export function closesImage(mechanism: Mechanism): boolean {
  return needsKeys(mechanism) || mechanism.startsWith('mprotect-');
}

/** Whether a mechanism has the fault trap: every one but `none`. */
export function hasTrap(mechanism: Mechanism): boolean {
  return mechanism !== 'none';
}
