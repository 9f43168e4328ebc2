/**
 * Is a descriptor of /proc/self/mem that is open already written to?
 *
 * Stands for debugging code of the VM's that keeps the file open, and for descriptors that come over a socket. The
 * callee writes 8 bytes to 'old' by pwrite(2).
 * Varies: mechanism, hardening. Records: the kernel's answer, bytes changed.
 */
import { closeSync, openSync } from 'node:fs';

import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'pwrite(2) to a descriptor of /proc/self/mem that the VM has open',
  expected: () => expectRound('a forced access asks for no key, whoever opened the file'),
  remedy: { kinds: ['filter'], text: 'a filter that looks at what a descriptor is when it is written to' },
  refusedBy: 'dispatch',
  run(trial) {
    const file = openSync('/proc/self/mem', 'r+');
    trial.answered(
      trial.foreign('int64_t foreign_hostile_write(int file, uint64_t address, uint64_t value)')(
        file,
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
    closeSync(file);
  },
};
