/**
 * Keeps the trap's handlers in their place. Node installs its own over them for `process.on('SIGABRT', …)`, and the
 * default action when the last such listener goes. Both are put under the trap's again (trap_rearm). So listeners hear
 * what is not a callout's fault, and callouts still fail with a CalloutError. A handler that a foreign library installs
 * for itself keeps its place before the trap's (trap.h): it is noted before Node changes anything.
 */
import { isMainThread } from 'node:worker_threads';

import { binding } from './binding.js';
import { answered } from './failure.js';

/* All of them: whoever filters system calls needs SIGSYS in no handler's mask (native/trap/filter.h). */
function isSignal(event: string | symbol): boolean {
  return typeof event === 'string' && event.startsWith('SIG');
}

function listenersWillChange(event: string | symbol): void {
  if (isSignal(event)) answered(binding.rearmNote(), 'look at the signal handlers');
}

function listenersChanged(event: string | symbol): void {
  if (isSignal(event)) rearm();
}

if (isMainThread) {
  // workers have no signal events
  // Node's own listeners for these two events, which install and remove the handlers, came first.
  const events: NodeJS.EventEmitter = process;
  events.prependListener('newListener', listenersWillChange);
  events.prependListener('removeListener', listenersWillChange);
  process.on('newListener', listenersChanged);
  process.on('removeListener', listenersChanged);
}

/** Puts the trap's handlers back over any that took their place. */
export function rearm(): void {
  answered(binding.rearm(), "put the trap's signal handlers back");
}
