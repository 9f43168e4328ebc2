/**
 * Does pkey_mprotect(2) to key 0 open the image?
 *
 * Stands for the same library, but one that knows of keys. The callee gives a page of 'old' key 0, readable and
 * writable, then stores 8 bytes there.
 * Varies: mechanism. Records: the kernel's answer, bytes changed. No right is needed to change a page's key. (Without
 * keys the call fails with EINVAL, whatever key it names.)
 */
import { type CorruptionCase, expectRound, expectStore, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'pkey_mprotect(2) to key 0, then a store',
  expected: (setting) =>
    needsKeys(setting.mechanism)
      ? expectRound("anybody may change a page's key")
      : setting.mechanism.startsWith('mprotect') && setting.lane === 'emulated'
        ? expectRound('the call makes the page writable as well')
        : expectStore(setting),
  remedy: { kinds: ['filter', 'seal'], text: 'sealing (mseal, 6.10), or a filter of system calls' },
  refusedBy: 'either',
  run(trial) {
    const page = trial.pageIn('old');
    trial.answered(
      trial.foreign('int64_t foreign_pkey_untag_write(uint64_t page, uint64_t address, uint64_t value)')(
        page,
        page + 8n * BigInt(trial.random(512)),
        0x4141414141414141n,
      ),
    );
  },
};
