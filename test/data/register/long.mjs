// A long run: callouts on several threads, one in ten of them bad, while the collector runs. Prints the right answer if
// nothing was lost. Arguments: callouts in all, threads.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

import koffi from 'koffi';

/** One thread's share; its sum is that of 0 to callouts - 1. */
function share(callouts) {
  const c = koffi.load('libc.so.6');
  const memset = c.func('void *memset(void *p, int c, size_t n)');
  const abs = c.func('int abs(int)');
  let [sum, faults] = [0, 0];
  let live = [];
  for (let k = 0; k < callouts; k++) {
    if (k % 10 === 0) {
      try {
        memset(16 + k, 0x41, 8);
      } catch (error) {
        if (error.code === 'ERR_CALLOUT_FAULT') faults++;
      }
    }
    sum += abs(-k);
    live.push({ k, text: `text ${k}` });
    if (live.length > 20_000) live = live.filter(({ k: kept }) => kept % 3 === 0).slice(0, 1000);
  }
  return { sum, faults };
}

if (isMainThread) {
  const [callouts, threads] = process.argv.slice(2).map(Number);
  const each = callouts / threads;
  const results = await Promise.all(
    Array.from(
      { length: threads },
      () =>
        new Promise((resolve, reject) => {
          new Worker(new URL(import.meta.url), { workerData: each }).on('message', resolve).on('error', reject);
        }),
    ),
  );
  console.log(JSON.stringify({
    right: results.every(({ sum }) => sum === (each * (each - 1)) / 2),
    faults: results.reduce((all, { faults }) => all + faults, 0),
  }));
} else parentPort.postMessage(share(workerData));
