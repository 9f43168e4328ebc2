/**
 * Scratch memory for what a call passes by address: out-parameters, hidden results. Taken and given back like a stack
 * within one environment; calls in flight on another thread get an arena of their own. The same addresses come again
 * and again, and must. Koffi keeps a string that it encoded alive by the address that it was encoded for, until
 * something else is encoded there.
 */
import { ffi } from './koffi.js';

const ARENA_BYTES = 256 * 1024;
const ALIGN = 16;

/** A region in an arena. */
export interface Region {
  readonly address: bigint;
  readonly bytes: Buffer;
}

export class Arena {
  readonly #buffer = Buffer.allocUnsafeSlow(ARENA_BYTES);
  readonly #base = ffi.address(this.#buffer);
  #top = 0;
  /* Regions too large for the arena; kept until the mark below them is released. */
  #large: { readonly mark: number; readonly buffer: Buffer }[] = [];

  /** To be given to {@link release}. */
  mark(): number {
    return this.#top;
  }

  /** `bytes` zeroed bytes, 16-byte aligned, valid until a mark taken before is released. */
  take(bytes: number): Region {
    const size = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
    if (this.#top + size > ARENA_BYTES) {
      const buffer = Buffer.alloc(size);
      this.#large.push({ mark: this.#top, buffer });
      return { address: ffi.address(buffer), bytes: buffer.subarray(0, bytes) };
    }
    const at = this.#top;
    this.#top += size;
    this.#buffer.fill(0, at, at + size);
    return { address: this.#base + BigInt(at), bytes: this.#buffer.subarray(at, at + bytes) };
  }

  release(mark: number): void {
    this.#top = mark;
    if (this.#large.length > 0) this.#large = mark === 0 ? [] : this.#large.filter((entry) => entry.mark < mark);
  }
}

/** The arena of synchronous calls in this environment. */
export const syncArena = new Arena();

const idle: Arena[] = [];

/** An arena for one call in flight. */
export function borrowArena(): Arena {
  return idle.pop() ?? new Arena();
}

export function returnArena(arena: Arena): void {
  arena.release(0);
  if (idle.length < 16) idle.push(arena);
}
