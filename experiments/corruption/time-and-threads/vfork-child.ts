/**
 * Does a child that shares the memory reach the image?
 *
 * Stands for vfork and posix_spawn helpers that do more between fork and exec than is allowed. The child shares the
 * memory, and has its maker's PKRU; the store is to 'old'.
 * Varies: mechanism. Records: the child's wait status. Under a closing mechanism the child dies of its fault and the
 * callee goes on, to return the status as if nothing had happened.
 */
import { closesImage, type CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a vforked child of the callee writes',
  expected: ({ mechanism }) =>
    closesImage(mechanism)
      ? { verdicts: ['harmless'], why: 'the child inherits the denial, and dies of it alone' }
      : { verdicts: ['damaged'], why: 'parent and child share the memory' },
  run(trial) {
    const status = Number(
      trial.foreign('int foreign_vfork_write(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
    trial.answered(status);
    if ((status & 0x7f) !== 0) trial.note(`the child died of signal ${status & 0x7f}`);
  },
};
