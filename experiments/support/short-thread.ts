/**
 * A thread of the VM that takes part in a trial's image, makes one callout into libturnkey_foreign and ends. For cases
 * about what a callee leaves behind in the thread that called it.
 */
import { Worker } from 'node:worker_threads';

import { BUILT, inProject, type Trial } from '../../src/experiment/index.js';
import type { ShortThreadTask } from './short-thread-body.js';

/** Runs such a thread from its start to its end. `words`: the callout's arguments. */
export async function runShortThread(trial: Trial, signature: string, words: readonly bigint[]): Promise<void> {
  const task: ShortThreadTask = {
    imageId: trial.image.id,
    mechanism: trial.mechanism,
    library: inProject(BUILT.foreign),
    signature,
    words,
  };
  const worker = new Worker(inProject(BUILT.shortThread), { workerData: task });
  await new Promise((resolve, reject) => {
    worker.once('exit', resolve);
    worker.once('error', reject);
  });
}
