/**
 * Can a callout that was passed no loan write to memory that is lent to somebody else?
 *
 * Stands for a library that overwrites another's buffer. The VM lent the buffer to a reader that works in the
 * background; a second library has kept a pointer from an earlier call.
 * `none`, `flag`: the other's bytes change; the image is equal, the host is not. mprotect and keys: the lending arena
 * is closed in callouts that are passed no loan. The store faults outside the image.
 * Varies: mechanism. Records: the fault, or the lent bytes.
 */
import { closesImage, type CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '8 bytes into a live loan from a callout that was not passed it',
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? { verdicts: ['trapped'], why: 'the lending arena is closed in callouts without a loan' }
      : { verdicts: ['host-damaged'], why: 'nothing closes the lending arena' },
  run(trial) {
    const loan = trial.lend(64);
    loan.buffer.fill(0x5a);
    trial.canary('loan to another library', () => loan.buffer.every((byte) => byte === 0x5a));
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(loan.address, 0x4141414141414141n);
  },
};
