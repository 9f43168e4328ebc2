/**
 * Does a struct tm that is too short run on into the image?
 *
 * Stands for a structure declared from memory: nine ints, 36 bytes, next to the image. On Linux a struct tm has 56:
 * localtime_r(3) stores the zone behind them.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'localtime_r() into a struct tm of 36 bytes',
  expected: (setting) => expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    trial.answered(
      trial.library('libc.so.6').func('uintptr_t localtime_r(const int64_t *time, uintptr_t to)')(
        new BigInt64Array([0n]),
        trial.neighbour(36).address,
      ) === 0
        ? 0
        : 1,
    );
  },
};
