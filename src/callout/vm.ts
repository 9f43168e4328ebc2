/** What callouts need of the image half, in one place. */
import { Loan, type LoanMode } from '../image/loan.js';

export type { Image } from '../image/image.js';
export { InUse, useOf } from '../image/in-use.js';
export {
  GUARD_MECHANISMS,
  type GuardMechanism,
  holdsThroughout,
  isGuardMechanism,
  needsKeys,
} from '../image/mechanism.js';
export { probe } from '../image/probe.js';
export { Loan, type LoanMode };

/** A loan is passed as its address, and opens the lending arena for that call. */
export function isLoan(value: unknown): value is Loan {
  return value instanceof Loan;
}

/** The address a loan is passed as. */
export function lentAddress(loan: Loan): bigint {
  if (loan.released)
    throw new Error(`loan ${loan.id} (${loan.bytes} bytes) was released: it cannot be passed any more`);
  return loan.address;
}
