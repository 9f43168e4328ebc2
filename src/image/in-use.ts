/** What calls in flight use, and what is to be given back when the last of them has come back. */
export class InUse {
  #count = 0;
  readonly #waiting: (() => void)[] = [];

  /** Calls that use it now. */
  get count(): number {
    return this.#count;
  }

  begin(): void {
    this.#count++;
  }

  end(): void {
    if (--this.#count > 0) return;
    for (const action of this.#waiting.splice(0)) action();
  }

  /** Runs `action` now, or when the last call has come back. */
  whenIdle(action: () => void): void {
    if (this.#count === 0) action();
    else this.#waiting.push(action);
  }
}

const uses = new WeakMap<object, InUse>();

/** The calls that use an image or a loan. */
export function useOf(thing: object): InUse {
  let use = uses.get(thing);
  if (use === undefined) {
    use = new InUse();
    uses.set(thing, use);
  }
  return use;
}
