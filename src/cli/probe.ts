/** Whether protection keys work on this machine, by doing, as the command line needs it. */
import { probe } from '../image/probe.js';

export interface KeyProbe {
  readonly usable: boolean;
  /** One sentence; empty where usable. */
  readonly reason: string;
  readonly keysFree: number;
}

/** Probes this machine (native/pkeys: CPUID, pkey_alloc, a tagged page, a denied read(2)). */
export function probeKeys(): KeyProbe {
  return probe();
}
