/**
 * `node --import turnkey/register app.mjs`: every koffi of the program is guarded, with no change to the program.
 * Options: options.ts. preload.cts is the same for `--require`.
 */
import { start } from './start.js';

// Before Node 20.19 and 22.12 a module cannot be loaded at the moment of need, so the library is loaded at once.
start(process.features.require_module ? undefined : await import('./guarded.js'));
