/**
 * What happens when a library frees the buffer that it was lent?
 *
 * Stands for two conventions that met: the VM lends, the library takes over and frees. The loan begins its page;
 * malloc's header would be in the guard page before it. `none`: the process dies. Every mechanism with the trap: the
 * callout fails when free reads that header; no lock is held yet, so the host lives on.
 * Varies: mechanism. Records: the fault, outside the image, and the aftermath.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'free of a loan',
  expected: expectTrap,
  run(trial) {
    const loan = trial.lend(64);
    trial.library('libc.so.6').func('void free(void *pointer)')(loan);
  },
};
