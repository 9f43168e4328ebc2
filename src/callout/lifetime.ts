/**
 * When something may be taken away. It may not while a call in flight uses it. Nor may it in a callback of a callout on
 * this thread, whose callee may use it when it goes on.
 */
import { binding } from './binding.js';
import type { InUse } from './vm.js';

/** Runs `action` now if it may, and throws what it throws; else later, and then reports that as a warning. */
export function whenOutside(use: InUse, action: () => void): void {
  if (use.count === 0 && binding.depth() === 0) {
    action();
    return;
  }
  const later = (): void => {
    /* An event loop's turn begins outside all callouts, but for a callee that runs the loop itself. */
    if (use.count > 0) use.whenIdle(later);
    else if (binding.depth() > 0) setImmediate(later);
    else {
      try {
        action();
      } catch (error) {
        process.emitWarning(error instanceof Error ? error : new Error(String(error)));
      }
    }
  };
  if (use.count > 0) use.whenIdle(later);
  else setImmediate(later);
}
