/** What a pair of rights writes would cost on a CPU with keys, by published latencies: a model, drawn apart. */
import type { Run } from '../../record/records.js';
import { costsOf } from './records.js';

/**
 * Cycles of one WRPKRU, as published: 11 to 260, mostly under 100 (Vahldiek-Oberwagner et al., ERIM, USENIX Security
 * 2019, on Skylake-SP).
 */
export const WRPKRU_CYCLES = { least: 11, most: 260 } as const;
/** Assumed where the CPU's name does not tell its frequency. */
const ASSUMED_GHZ = 3;

export interface KeyModel {
  readonly leastNs: number;
  readonly mostNs: number;
  readonly ghz: number;
  /** The frequency is an assumption, the CPU's name does not tell it. */
  readonly assumed: boolean;
}

/** The model for a run; null where the native lane has keys, and so has real times. */
export function keyModel(run: Run): KeyModel | null {
  if (costsOf(run).some((record) => record.lane === 'native' && record.mechanism.startsWith('pkeys'))) return null;
  if (run.context.lanes.some((lane) => lane.lane === 'native' && lane.keys)) return null;
  const named = Number(/@ *([\d.]+) *GHz/i.exec(run.context.host.cpu)?.[1]);
  const assumed = !(named > 0);
  const ghz = assumed ? ASSUMED_GHZ : named;
  return { leastNs: (2 * WRPKRU_CYCLES.least) / ghz, mostNs: (2 * WRPKRU_CYCLES.most) / ghz, ghz, assumed };
}

/** The model's times. */
export function modelRange({ leastNs, mostNs }: KeyModel): string {
  return `${Math.round(leastNs)} to ${Math.round(mostNs)} ns`;
}

/** The model in words. */
export function modelText(model: KeyModel): string {
  return (
    `two WRPKRU at ${WRPKRU_CYCLES.least} to ${WRPKRU_CYCLES.most} cycles each, ` +
    `${model.assumed ? 'assuming ' : ''}${model.ghz} GHz: ${modelRange(model)}`
  );
}
