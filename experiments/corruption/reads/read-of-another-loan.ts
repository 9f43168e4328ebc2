/**
 * Can a callout that was passed no loan read memory that is lent to somebody else?
 *
 * Stands for one library reading what another was given: a key, a password in a buffer that a second library still has
 * a pointer to. `none`, `flag`: disclosed. mprotect and keys: in callouts that are passed no loan, the lending arena is
 * closed for reading too, whatever the image's denial is.
 * Varies: mechanism. Records: the fault, outside the image, or that the secret came back.
 */
import { closesImage, type CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'one 8-byte load from a live loan in a callout that was not passed it',
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? { verdicts: ['trapped'], why: 'the lending arena may not even be read in callouts without a loan' }
      : { verdicts: ['disclosed'], why: 'nothing closes the lending arena' },
  run(trial) {
    const loan = trial.lend(64);
    loan.buffer.fill(0x5a);
    const got = trial.foreign('uint64_t foreign_read64(uint64_t address)')(loan.address);
    if (BigInt(got as bigint) === 0x5a5a5a5a5a5a5a5an) trial.disclose();
  },
};
