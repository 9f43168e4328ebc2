/**
 * Guards every koffi that this thread loads from now on. This module is on the way of every start, so it loads nothing
 * of the library. It watches for koffi's addon (intercept.ts), and the library comes when koffi is first used.
 */
import { writeSync } from 'node:fs';

import type * as Guarded from './guarded.js';
import { watchForKoffi } from './intercept.js';
import { watchForNodeFfi } from './node-ffi.js';
import { OptionError, readOptions, type RegisterOptions } from './options.js';
import { registerInWorkers } from './workers.js';

const STARTED = Symbol.for('turnkey.register.started');

/**
 * Once in each thread; more calls do nothing. `library`: where it is loaded already. A wrong option ends the thread
 * with one line, now and not at the first call.
 */
export function start(library?: typeof Guarded): void {
  const global = globalThis as { [STARTED]?: boolean };
  if (global[STARTED] === true) return;
  global[STARTED] = true;
  if (optionsOrEnd().mechanism === 'none') return;
  watchForKoffi(library);
  registerInWorkers();
  watchForNodeFfi();
}

function optionsOrEnd(): RegisterOptions {
  try {
    return readOptions();
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    writeSync(process.stderr.fd, `turnkey: ${error.message}\n`);
    process.exit(1);
  }
}
