/**
 * Is a free of something that malloc never gave caught, and does the host live on?
 *
 * Stands for freeing an object of the image: a binding that hands over memory which the library believes to own. The
 * pointer is not aligned as malloc's are, so that glibc notices before it takes any lock or writes anything ("free():
 * invalid pointer"). `none`: the process dies. Every mechanism with the trap: the abort fails the callout, and since no
 * lock is held, the aftermath works. With all access denied, free's look at the header before the block faults already.
 * Varies: mechanism, denial. Records: the abort or the fault, and the aftermath.
 */
import { closesImage, type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'free of an unaligned address in old space',
  quick: true,
  expected: (setting) =>
    closesImage(setting.mechanism) && setting.deny === 'access'
      ? { verdicts: ['prevented'], why: 'free reads the header before the block, which is denied' }
      : expectTrap(setting),
  run(trial) {
    trial.foreign('void foreign_free_wild(uint64_t address)')(trial.addressIn('old', 64) + 3n);
  },
};
