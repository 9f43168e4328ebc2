/**
 * Memory lent to foreign code: whole pages in the lending arena, with guard pages and a key of their own, open only in
 * callouts that are passed the loan.
 */
import { native } from '../native.js';
import { ImageError } from './errors.js';
import { useOf } from './in-use.js';

/**
 * The direction as the callee sees it: 'in' it reads, 'out' it writes, 'inout' both. Decides what is copied from and to
 * a space.
 */
export type LoanMode = 'in' | 'out' | 'inout';

/** What a Loan is made from; internal. */
export interface LoanParts {
  readonly id: number;
  readonly address: bigint;
  readonly memory: ArrayBuffer;
  readonly mode: LoanMode;
  readonly onRelease: (loan: Loan) => void;
}

export class Loan {
  /** Number of the loan; never given out twice in a process. */
  readonly id: number;
  /** Where the callee may write. */
  readonly address: bigint;
  readonly bytes: number;
  readonly mode: LoanMode;
  /** The lent bytes themselves, not a copy; empty once released. */
  readonly buffer: Uint8Array;
  readonly #memory: ArrayBuffer;
  readonly #onRelease: (loan: Loan) => void;
  #released = false;

  /** Loans are made by `image.lend()`. */
  constructor(parts: LoanParts) {
    this.id = parts.id;
    this.address = parts.address;
    this.bytes = parts.memory.byteLength;
    this.mode = parts.mode;
    this.buffer = new Uint8Array(parts.memory);
    this.#memory = parts.memory;
    this.#onRelease = parts.onRelease;
  }

  get released(): boolean {
    return this.#released;
  }

  /**
   * Gives the pages back; a range of a space is copied back first, unless it was lent 'in'. No call can be passed the
   * loan from now on. While a call that was passed it is in progress, the pages stay until that has come back.
   * Releasing again does nothing. @throws ImageError 'ERR_LOAN' if the pages could not be given back
   */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    useOf(this).whenIdle(() => this.#giveBack());
  }

  #giveBack(): void {
    const errno = native.releaseLoan(this.id, this.#memory);
    this.#onRelease(this);
    if (errno < 0)
      throw new ImageError(
        'ERR_LOAN',
        `Loan ${this.id} at 0x${this.address.toString(16)} (${this.bytes} bytes) could not be released ` +
          `(errno ${-errno}).`,
        errno,
      );
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
