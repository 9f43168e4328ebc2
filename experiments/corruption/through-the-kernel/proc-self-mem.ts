/**
 * Does a write to /proc/self/mem reach the image?
 *
 * Stands for code patchers and debuggers. 8 bytes to 'old' by pwrite(2).
 * Varies: mechanism. Records: the kernel's answer. The kernel forces this access: neither keys, nor read-only pages,
 * nor sealing stop it.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'pwrite(2) to /proc/self/mem',
  expected: () => expectRound('a forced access asks neither for keys nor for protections'),
  remedy:
    'a filter of system calls that denies opening /proc/self/mem; proc mounted so that it cannot be written ' +
    '(6.10: proc_mem.force_override)',
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_proc_mem_write(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
