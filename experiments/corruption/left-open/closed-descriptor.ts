/**
 * Does anything stop a callee from closing a file that is the VM's?
 *
 * Stands for the double close: a library closes its descriptor twice, and in between the VM has opened a file that got
 * the same number. Writes then go to whatever is opened next.
 * Every mechanism: the descriptor is gone, the image is equal. Keys are about memory; descriptors, the current
 * directory, the umask and the environment are the process's.
 * Varies: mechanism. Records: whether the VM's file is still open.
 */
import { fstatSync, openSync } from 'node:fs';

import { type CorruptionCase, expectHostDamage } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'close(2) of a descriptor that the VM has open',
  remedy: {
    kinds: ['process', 'filter'],
    text: 'A syscall filter (seccomp) that lets callees close only what they opened, or another process.',
  },
  expected: () => expectHostDamage('descriptors are not memory'),
  run(trial) {
    const file = openSync('/dev/null', 'r');
    trial.canary('open file', () => {
      try {
        fstatSync(file);
        return true;
      } catch {
        return false;
      }
    });
    trial.library('libc.so.6').func('int close(int file)')(file);
  },
};
