/** What a callout needs of the image half: an image to close, and loans to recognise. */
import type { ImageMechanism } from '../image/image.js';
import { Loan } from '../image/loan.js';
import { probe } from '../image/probe.js';

export { Loan };

export function isLoan(value: unknown): value is Loan { return value instanceof Loan; }

/** The part of an Image that a guard uses. */
export interface GuardableImage {
  setMechanism(mechanism: ImageMechanism): void;
  readonly hasSnapshot: boolean;
  diff(): { readonly rangeCount: number };
}

export function probeKeys(): { readonly usable: boolean; readonly reason: string } { return probe(); }
