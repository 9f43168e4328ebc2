/**
 * Does a signal frame edited by the callee open the image?
 *
 * Stands for forged or damaged signal frames, and handlers that edit them. At a handler's return the kernel restores
 * PKRU from the frame in user memory. The callee raises a signal, edits PKRU to 0 in its handler's frame, and, back
 * from it, stores 8 bytes to 'old'.
 * Varies: mechanism. Records: bytes changed.
 */
import { type CorruptionCase, expectRound, expectStore, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'PKRU edited to 0 in a signal frame, and a store in the same callout',
  expected: (setting) =>
    needsKeys(setting.mechanism)
      ? expectRound("a signal's return restores PKRU from user memory")
      : expectStore(setting),
  remedy: {
    kinds: ['process', 'filter'],
    text: 'a filter of system calls that denies rt_sigaction to the callee; a process of its own',
  },
  refusedBy: 'dispatch',
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_sigreturn_write(uint32_t pkru, uint64_t address, uint64_t value)')(
        0,
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
