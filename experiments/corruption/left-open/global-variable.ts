/**
 * Does anything stop a stray write to a global of the process?
 *
 * Stands for a VM's own variables: the address of its current context, its interrupt flag, a table of functions. They
 * lie in the data of the program and its libraries, on key 0. Here it is the C library's `opterr`, which program, VM
 * and callee share.
 * Every mechanism: the variable changes, the image is equal.
 * Varies: mechanism. Records: the variable's canary.
 */
import { type CorruptionCase, expectHostDamage } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '4 bytes into a global variable of the C library',
  remedy: {
    kinds: ['process'],
    text:
      "A key of their own on a VM's few vital globals, as Turnkey does with its own state (I11); or " +
      'another process.',
  },
  expected: () => expectHostDamage('globals lie on key 0'),
  run(trial) {
    const address = trial.foreign('uint64_t foreign_global_address(void)')();
    const sum = trial.foreign('uint64_t foreign_checksum(uintptr_t bytes, uint64_t count)');
    const held = sum(address, 4);
    trial.canary('global variable', () => sum(address, 4) === held);
    trial.foreign('void foreign_write32(uint64_t address, uint32_t value)')(address, 0x41414141);
  },
};
