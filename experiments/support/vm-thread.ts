/**
 * A thread of the VM that takes part in a trial's image. It is a worker that waits for its turn, then writes 8 bytes as
 * VM code does: at once, or a given time after its turn has come. For cases in which another thread is in a callout
 * meanwhile.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

import { BUILT, inProject } from '../../src/experiment/index.js';
import { Image } from '../../src/image/image.js';

interface Task {
  readonly imageId: number;
  readonly space: string;
  readonly offset: number;
  readonly value: bigint;
  readonly turn: Int32Array;
}

/** When the worker wrote: process.hrtime.bigint() just before and just after. */
export interface Wrote {
  readonly before: bigint;
  readonly after: bigint;
}

/** A worker that is ready to write. */
export interface VmThread {
  /** Tells it to write `delayMs` from now. Returns at once. */
  go(delayMs: number): void;
  /** When it has written. */
  readonly wrote: Promise<Wrote>;
}

/** Starts one and waits until it is ready. */
export async function startVmThread(imageId: number, space: string, offset: number, value: bigint): Promise<VmThread> {
  const turn = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(inProject(BUILT.vmThread), {
    workerData: { imageId, space, offset, value, turn } satisfies Task,
  });
  const wrote = new Promise<Wrote>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('message', (message: Wrote | 'ready') => {
      if (message !== 'ready') resolve(message);
    });
  });
  await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  return {
    wrote,
    go(delayMs) {
      turn[1] = delayMs;
      Atomics.store(turn, 0, 1);
      Atomics.notify(turn, 0);
    },
  };
}

if (!isMainThread && workerData !== null && typeof workerData === 'object' && 'turn' in workerData) {
  const { imageId, space, offset, value, turn } = workerData as Task;
  const target = Image.attach(imageId).space(space);
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  parentPort?.postMessage('ready');
  Atomics.wait(turn, 0, 0);
  Atomics.wait(turn, 0, 1, turn[1]); // nobody changes it again: a sleep
  const before = process.hrtime.bigint();
  target.write(offset, bytes);
  parentPort?.postMessage({ before, after: process.hrtime.bigint() } satisfies Wrote);
}
