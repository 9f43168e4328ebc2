/**
 * Does process_vm_writev(2) to the own process reach the image?
 *
 * Stands for debugger-like libraries and "safe" copies that ask the kernel whether an address is good. 8 bytes to
 * 'old'.
 * Varies: mechanism. Records: the kernel's answer. This is remote access: it goes by the page tables' rights and not by
 * PKRU, even to oneself.
 */
import { type CorruptionCase, expectCopy, expectRound, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'process_vm_writev(2) to itself',
  expected: (setting) =>
    needsKeys(setting.mechanism) ? expectRound('remote access does not honour PKRU') : expectCopy(setting),
  remedy: { kinds: ['filter'], text: 'a filter of system calls (seccomp) that denies process_vm_writev' },
  refusedBy: 'either',
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_process_vm_write(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
