/** What a run is asked for, and the steps that it shows. */
import type { GuardMechanism, RunLane } from '../record/words.js';
import type { PlanOptions } from './plan.js';

/** What the user asked for. */
export interface RunOptions {
  readonly lane: RunLane | 'auto';
  readonly mechanisms: readonly GuardMechanism[];
  readonly seed: number;
  readonly quick: boolean;
  /** Run only the quick set of corruption cases. */
  readonly quickCases?: boolean;
  /** Measure only the quick rows of cost experiments. */
  readonly quickCosts?: boolean;
  readonly repeat: number;
  /** See PlanOptions. */
  readonly full?: boolean;
  readonly imageFile?: string;
  readonly kernel?: string;
  readonly only?: PlanOptions['only'];
  /** Only this denial, these keys; where both are missing, the plan varies them. */
  readonly deny?: PlanOptions['deny'];
  readonly keys?: PlanOptions['keys'];
  /** Also hardened in these ways. */
  readonly harden?: PlanOptions['harden'];
  /** Why this CPU has no keys, from the probe; null where it has. */
  readonly nativeKeysReason: string | null;
  readonly onLog?: (line: string) => void;
}

/** A step with visible progress. Steps of one stage may run at the same time. */
export interface Step {
  readonly title: string;
  run(update: (text: string) => void): Promise<void>;
}
export interface Stage {
  readonly title: string;
  readonly steps: readonly Step[];
}
