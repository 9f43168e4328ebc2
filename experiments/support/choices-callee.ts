/**
 * The other side of a worker thread or a child process: does a piece of work, or harm, each time it is told, and
 * answers. Started by choices.ts, with what it is for in its first message.
 */
import { parentPort } from 'node:worker_threads';

import { ffi } from '../../src/callout/koffi.js';
import { byLibraries, type Harm, harmByLibraries, type Work } from './choices-work.js';

/** What is asked of it. An address is text: messages between processes are JSON. */
export type Order =
  | { readonly kind: 'start'; readonly work: Work }
  | { readonly kind: 'work' }
  | { readonly kind: 'harm'; readonly harm: Harm; readonly address: string };

let work: () => number = () => Number.NaN;

function obey(order: Order): number {
  if (order.kind === 'start') work = byLibraries(order.work, ffi);
  else if (order.kind === 'harm') harmByLibraries(order.harm, ffi, BigInt(order.address));
  else return work();
  return 0;
}

if (parentPort !== null) {
  const port = parentPort;
  port.on('message', (order: Order) => {
    port.postMessage(obey(order));
  });
} else {
  process.on('message', (order: Order) => {
    process.send?.(obey(order));
  });
}
