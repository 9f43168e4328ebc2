/** Whether protection keys work on this machine, by doing, as the command line needs it. */
import { probe } from '../image/probe.js';

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

/** What `turnkey probe` prints. */
export function probeText({ usable, reason, keysFree, warning }: KeyProbe): string {
  const answer = usable
    ? `protection keys are usable here: ${String(keysFree)} free`
    : `protection keys are not usable here: ${reason}`;
  return warning === '' ? `${answer}\n` : `${answer}\nwarning: ${warning}\n`;
}
