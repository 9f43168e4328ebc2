/** What a callout needs of the image half: an image to close, and loans to recognise. */
import { createRequire } from 'node:module';

/** What `image.lend()` gives: passed to a function it is the address, and opens the lending arena for that call. */
export class Loan {
  constructor(readonly address: bigint, readonly bytes: number) {}
}

export function isLoan(value: unknown): value is Loan { return value instanceof Loan; }

/** The part of an Image that a guard uses. */
export interface GuardableImage {
  setMechanism(mechanism: string): void;
  readonly hasSnapshot: boolean;
  diff(): readonly unknown[];
}

export function probeKeys(): { readonly usable: boolean; readonly reason: string } {
  const addon = createRequire(import.meta.url)('../../../build/Release/turnkey.node') as { probe?: () => { usable: boolean; reason: string } };
  return addon.probe?.() ?? { usable: false, reason: 'not probed' };
}
