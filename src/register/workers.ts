/**
 * Every worker of the program registers too, whatever `execArgv` the program gives it. `--import`, which workers
 * inherit, comes too late for code that is given as a string; `--require` does not.
 */
import { syncBuiltinESMExports } from 'node:module';
import { fileURLToPath } from 'node:url';
import workerThreads, { type WorkerOptions } from 'node:worker_threads';

const PRELOAD = fileURLToPath(new URL('preload.cjs', import.meta.url));

/** From now on. */
export function registerInWorkers(): void {
  if (!process.features.require_module) return; // what --import does must do
  const { Worker } = workerThreads;
  class GuardedWorker extends Worker {
    constructor(file: string | URL, options: WorkerOptions = {}) {
      super(file, { ...options, execArgv: [...(options.execArgv ?? process.execArgv), '--require', PRELOAD] });
    }
  }
  Object.defineProperty(GuardedWorker, 'name', { value: 'Worker' });
  workerThreads.Worker = GuardedWorker;
  syncBuiltinESMExports();
}
