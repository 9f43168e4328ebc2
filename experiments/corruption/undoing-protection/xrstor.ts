/**
 * Does XRSTOR in the callee open the image?
 *
 * Stands for context switches of coroutine libraries that restore the whole extended state, from memory that is older
 * than the callout. PKRU is one of its components: restored from a wild or stale area it opens whatever that says. The
 * callee restores PKRU = 0 and stores 8 bytes to 'old'.
 * Varies: mechanism. Records: bytes changed.
 */
import { type CorruptionCase, expectRound, expectStore, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'XRSTOR of PKRU = 0 and a store in the same callout',
  expected: (setting) =>
    needsKeys(setting.mechanism) ? expectRound('PKRU is part of what XRSTOR restores') : expectStore(setting),
  remedy: {
    kinds: ['process', 'scan'],
    text: 'a search for WRPKRU and XRSTOR in every library before it is loaded (ERIM); a process of its own',
  },
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_xrstor_write(uint32_t pkru, uint64_t address, uint64_t value)')(
        0,
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
