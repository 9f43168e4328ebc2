/**
 * Does WRPKRU in the callee open the image?
 *
 * Stands for a library that writes the whole register where it means one key (the value 0 opens everything). WRPKRU is
 * no privileged instruction. One callout writes it and then 8 bytes to
 * 'old'.
 * Varies: mechanism. Records: bytes changed.
 */
import { type CorruptionCase, expectRound, expectStore, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'WRPKRU of 0 and a store in the same callout',
  quick: true,
  expected: (setting) => (needsKeys(setting.mechanism) ? expectRound('any code may write PKRU') : expectStore(setting)),
  remedy: {
    kinds: ['process', 'scan'],
    text: 'a search for WRPKRU and XRSTOR in every library before it is loaded (ERIM); a process of its own',
  },
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_wrpkru_write(uint32_t pkru, uint64_t address, uint64_t value)')(
        0,
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
