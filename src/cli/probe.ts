/** Whether protection keys work on this machine, by doing, as the command line needs it; and what machine that is. */
import { probe } from '../image/probe.js';
import { currentCommit, hostContext, versions } from '../run/context.js';

export interface KeyProbe {
  readonly usable: boolean;
  /** What is missing and why; empty where usable. */
  readonly reason: string;
  readonly keysFree: number;
  /** How this kernel is known to break keys; empty if nothing is known. */
  readonly warning: string;
}

/** Probes this machine (native/pkeys: CPUID, pkey_alloc, a tagged page, a denied read(2)). */
export function probeKeys(): KeyProbe {
  return probe();
}

/** What `turnkey probe --json` prints: what was probed, then the machine and the versions, as a run records them. */
export function probeJson(): string {
  const about = { host: hostContext(), versions: versions(), commit: currentCommit() };
  return `${JSON.stringify({ ...probe(), ...about }, null, 1)}\n`;
}

/** What `turnkey probe` prints. */
export function probeText({ usable, reason, keysFree, warning }: KeyProbe): string {
  const answer = usable
    ? `protection keys are usable here: ${String(keysFree)} free`
    : `protection keys are not usable here: ${reason}`;
  return warning === '' ? `${answer}\n` : `${answer}\nwarning: ${warning}\n`;
}
