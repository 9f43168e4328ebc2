/**
 * What writes rights to keys and has to stay, since it is loaded before any search. That is the C library's pkey_set,
 * which a hardware breakpoint watches (native/trap/filter.h, trap_watch_code), and the loader's XRSTOR. Every function
 * that is bound late passes there. A breakpoint would cost each of them a signal. It would also end a process in which
 * SIGTRAP has been put back to its default, as the package signal-exit does when a program ends. So that is left open,
 * and said.
 */
import { readFileSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { isMainThread } from 'node:worker_threads';

import { isLasting, type RightsInstruction, searchElf } from '../scan/index.js';
import { binding } from './binding.js';

/** An instruction that stays, and whether a breakpoint keeps callees from it. */
export interface Lasting {
  readonly instruction: RightsInstruction;
  readonly module: string;
  /** The function that holds it; null where no symbol says. */
  readonly symbol: string | null;
  readonly address: bigint;
  /**
   * Why it is open to callees: the name of perf_event_open's error, EACCES say; 'late binding'; or 'a worker: ' with
   * what this thread cannot tell. Null where it is watched.
   */
  readonly open: string | null;
}

/** Threads inherit breakpoints when they are started, and cannot see them. */
const WORKER = 'a worker: watched only if it was started after the main thread made a guard that scans';

let lasting: readonly Lasting[] | undefined;

function watch(address: bigint): string | null {
  if (!isMainThread) return WORKER;
  const error = binding.watchCode(address);
  return error < 0 ? getSystemErrorName(error) : null;
}

/**
 * Watches them, once in a process, for the main thread and for threads that are started later. What cannot be watched
 * is said. A worker's guard sets nothing, and says that.
 */
export function watchLasting(): readonly Lasting[] {
  lasting ??= binding
    .modules()
    .filter(({ path }) => isLasting(path))
    .flatMap(({ path, bias }) =>
      searchElf(readFileSync(path)).map(({ instruction, symbol, address }): Lasting => {
        const open = instruction === 'wrpkru' ? watch(bias + address) : 'late binding';
        return { instruction, module: path, symbol, address: bias + address, open };
      }),
    );
  return lasting;
}
