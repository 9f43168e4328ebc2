/**
 * Does qsort with a comparator written in JavaScript sort the same way under every mechanism?
 *
 * The C library calls back into the VM some eighty times during one callout; the comparator reads the elements it is
 * handed by guarded copies. The numbers come from the seed.
 * Varies: mechanism. Records: SHA-256 over the sorted bytes and the number of comparisons.
 */
import type { HonestCase } from '../../src/experiment/index.js';

const COUNT = 24;

export const experiment: HonestCase = {
  kind: 'honest',
  summary: `qsort of ${COUNT} integers with a JavaScript comparator`,
  libraries: ['libc.so.6'],
  run(trial) {
    const compare = trial.callback('int TurnkeyCompare(const void *a, const void *b)');
    const qsort = trial
      .library('libc.so.6')
      .func(`void qsort(_Inout_ int32_t *base, size_t count, size_t size, ${compare} compare)`);
    const numbers = Int32Array.from({ length: COUNT }, () => trial.random(1 << 30));
    let comparisons = 0;
    qsort(numbers, COUNT, 4, (a: unknown, b: unknown) => {
      comparisons++;
      return Number(trial.decode(a, 'int32_t')) - Number(trial.decode(b, 'int32_t'));
    });
    for (let i = 1; i < COUNT; i++) if ((numbers[i - 1] ?? 0) > (numbers[i] ?? 0)) throw new Error('not sorted');
    trial.put(new Uint8Array(numbers.buffer));
    trial.put(String(comparisons));
    trial.count(1);
  },
};
