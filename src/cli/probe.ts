/** Whether protection keys work on this machine, as the command line needs it. */
import { hostContext } from '../experiment/context.js';

export interface KeyProbe {
  readonly usable: boolean;
  /** One sentence; empty where usable. */
  readonly reason: string;
  readonly keysFree: number;
}

/** Probes this machine. */
export async function probeKeys(): Promise<KeyProbe> {
  const { keys, cpu } = hostContext();
  return { usable: keys, reason: keys ? '' : `this CPU (${cpu}) shows no protection keys: no pku and ospke in /proc/cpuinfo`, keysFree: keys ? 15 : 0 };
}
