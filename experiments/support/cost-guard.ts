/**
 * What cost experiments in JavaScript share: an open image under a mechanism, or the model of keys, and a warm-up that
 * is judged.
 */
import { binding } from '../../src/callout/binding.js';
import { answered } from '../../src/callout/failure.js';
import { Guard } from '../../src/callout/guard.js';
import type { HardenOptions } from '../../src/callout/harden.js';
import { ffi } from '../../src/callout/koffi.js';
import { type CostRow, isGuardMechanism } from '../../src/experiment/index.js';
import { Image } from '../../src/image/image.js';

const MADV_NOHUGEPAGE = 15; // madvise(2)

/** A process's one image and guard. */
export interface GuardedImage {
  readonly guard: Guard;
  readonly image: Image;
  /** For `pkeys-model`: the cycles of the delay, as calibrated; 0 otherwise. */
  readonly reachedCycles: number;
}

/**
 * Maps an image of `imageBytes` (one space, 4 KiB pages, all of them in memory) and guards callouts by the row's
 * mechanism. `pkeys-model` is the trap alone with a delay of `cycles` where rights would be written. It protects
 * nothing (trap_model in trap.h). `hardened`: what the guard does beyond its mechanism.
 * @throws TypeError for a mechanism that is neither
 */
export function openImage(
  { mechanism, parameters }: CostRow,
  imageBytes: number,
  hardened: HardenOptions = {},
): GuardedImage {
  const model = mechanism === 'pkeys-model';
  if (!model && !isGuardMechanism(mechanism)) throw new TypeError(`callouts cannot be guarded by ${mechanism}`);
  const image = Image.map({ spaces: [{ name: 'old', bytes: imageBytes }] });
  const { address, bytes } = image.space('old');
  const madvise = ffi.load('libc.so.6').func('int madvise(uintptr_t address, size_t bytes, int advice)') as (
    ...args: unknown[]
  ) => unknown;
  madvise(address, bytes, MADV_NOHUGEPAGE);
  image.fill(1);
  const guard = new Guard({ image, mechanism: isGuardMechanism(mechanism) ? mechanism : 'flag', ...hardened });
  const reachedCycles = model ? answered(binding.model(Number(parameters['cycles'])), 'model keys') : 0;
  return { guard, image, reachedCycles };
}

/** ns of one call of `run`. */
export function timeNs(run: () => void): number {
  const start = process.hrtime.bigint();
  run();
  return Number(process.hrtime.bigint() - start);
}

/** No faster by this share in so many repetitions: warm. */
const SETTLED = { share: 0.02, repetitions: 5 } as const;

/** Repeats `run` until it has ceased to get faster, or for `mostMs`. False where it had not. */
export function warmUp(run: () => void, mostMs: number): boolean {
  const end = performance.now() + mostMs;
  let best = Number.POSITIVE_INFINITY;
  for (let still = 0; still < SETTLED.repetitions;) {
    const ns = timeNs(run);
    still = ns < best * (1 - SETTLED.share) ? 0 : still + 1;
    best = Math.min(best, ns);
    if (performance.now() > end) return still >= SETTLED.repetitions;
  }
  return true;
}
