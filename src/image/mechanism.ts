/**
 * The mechanisms that a callout can be guarded by, and what is known of each (docs/architecture.md, Mechanisms); what
 * a callout loses; how keys are given out. This is the one list: the library, records and reports import it. It must
 * import nothing, since reports read it where no addon can be loaded.
 */

interface Facts {
  /** The CPU and the kernel must have protection keys. */
  readonly needsKeys: boolean;
  /**
   * When the image's pages are closed: in no callout; while its own callout runs, and possibly opened by another
   * thread's; or throughout, whatever other threads do.
   */
  readonly closes: 'never' | 'alone' | 'throughout';
  /** A fault in foreign code fails the callout. */
  readonly hasTrap: boolean;
}

const FACTS = {
  none: { needsKeys: false, closes: 'never', hasTrap: false },
  flag: { needsKeys: false, closes: 'never', hasTrap: true },
  'mprotect-page': { needsKeys: false, closes: 'throughout', hasTrap: true },
  'mprotect-range': { needsKeys: false, closes: 'throughout', hasTrap: true },
  'mprotect-naive': { needsKeys: false, closes: 'alone', hasTrap: true },
  pkeys: { needsKeys: true, closes: 'throughout', hasTrap: true },
  'pkeys-glibc': { needsKeys: true, closes: 'throughout', hasTrap: true },
} as const satisfies Readonly<Record<string, Facts>>;

/** A mechanism that callouts can be guarded by. */
export type GuardMechanism = keyof typeof FACTS;

/** All of them, plainest first: the order of reports. */
export const GUARD_MECHANISMS = Object.keys(FACTS) as readonly GuardMechanism[];

/** Whether a name is a mechanism that callouts can be guarded by. */
export function isGuardMechanism(name: string): name is GuardMechanism {
  return Object.hasOwn(FACTS, name);
}

/** What is known of a mechanism. One that guards no callout, as `process`, needs no keys and closes nothing. */
function factsOf(mechanism: string): Facts {
  return isGuardMechanism(mechanism) ? FACTS[mechanism] : { needsKeys: false, closes: 'never', hasTrap: true };
}

/** Whether a mechanism needs protection keys of the CPU and the kernel. */
export function needsKeys(mechanism: string): boolean {
  return factsOf(mechanism).needsKeys;
}

/** Whether a mechanism closes the image's pages during a callout (by keys or by mprotect). */
export function closesImage(mechanism: string): boolean {
  return factsOf(mechanism).closes !== 'never';
}

/** Whether a mechanism keeps the image closed for all of a callout, whatever other threads do. */
export function holdsThroughout(mechanism: string): boolean {
  return factsOf(mechanism).closes === 'throughout';
}

/** Whether a mechanism has the fault trap: every one except `none`. */
export function hasTrap(mechanism: string): boolean {
  return factsOf(mechanism).hasTrap;
}

/** What a callout loses on a space: writing, or all access (neither read nor write). */
export const DENIALS = ['write', 'access'] as const;
export type Denial = (typeof DENIALS)[number];

/**
 * How an image's spaces get their keys: one for all of them; one each; or one for all of them while some thread needs
 * it, so that there can be more images than keys (virtual.ts).
 */
export const KEY_MODES = ['image', 'space', 'virtual'] as const;
export type KeyMode = (typeof KEY_MODES)[number];
