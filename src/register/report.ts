/**
 * What a guarded program's callouts came to, for `turnkey guard`. Each thread that used koffi appends one line of JSON
 * at its end to the file that TURNKEY_HOST_JSON names.
 */
import { appendFileSync } from 'node:fs';
import { isMainThread, threadId } from 'node:worker_threads';

import type { CalloutError, Guard } from '../callout/index.js';

/** The failed callouts of one function. */
interface Failed {
  readonly function: string;
  count: number;
  readonly first: CalloutError;
}

/** Notes failed callouts from now on, and writes the line when this thread ends. */
export function report(guard: Guard): void {
  const file = process.env['TURNKEY_HOST_JSON'];
  if (file === undefined || file === '') return;
  const failed = new Map<string, Failed>();
  guard.onFault((error) => {
    const known = failed.get(error.function);
    if (known === undefined) failed.set(error.function, { function: error.function, count: 1, first: error });
    else known.count++;
  });
  process.on('exit', () => {
    const line = {
      kind: 'koffi',
      pid: process.pid,
      thread: isMainThread ? 0 : threadId,
      program: process.argv,
      mechanism: guard.mechanism,
      because: guard.chosenBecause,
      callouts: guard.callouts,
      failures: [...failed.values()].map(({ first, ...rest }) => ({
        ...rest,
        first: { text: first.message, stack: first.stack },
      })),
    };
    try {
      appendFileSync(file, `${JSON.stringify(line)}\n`);
    } catch {
      // the program's own end matters more; turnkey guard says that nothing came
    }
  });
}
