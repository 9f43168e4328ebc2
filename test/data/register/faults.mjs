// Bad callouts of a program that knows nothing of Turnkey, by both of koffi's entries and in workers: each is caught.
import { createRequire } from 'node:module';
import { isMainThread, Worker } from 'node:worker_threads';

import koffi from 'koffi';

const require = createRequire(import.meta.url);
const caught = (what, action) => {
  try {
    action();
    console.log(what, 'nothing');
  } catch (error) {
    console.log(what, error.code, error.function, error.signal, /faults\.mjs/.test(error.stack.split('\n')[1]));
  }
};
const here = isMainThread ? 'main' : 'worker';
for (const [entry, module] of Object.entries({ import: koffi, require: require('koffi') })) {
  const memset = module.load('libc.so.6').func('void *memset(void *p, int c, size_t n)');
  caught(`${here} ${entry} call`, () => memset(16, 1, 8));
  caught(`${here} ${entry} decode`, () => module.decode(16n, 'int'));
  caught(`${here} ${entry} decode.int`, () => module.decode.int(16n));
  caught(`${here} ${entry} encode`, () => module.encode(16n, 'int', 1));
}
if (isMainThread) {
  const again = new URL(import.meta.url);
  new Worker(again).on('exit', () => new Worker(again, { execArgv: [], env: {} }));
}
