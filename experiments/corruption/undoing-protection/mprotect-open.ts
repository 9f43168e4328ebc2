/**
 * Does mprotect(2) by the callee open the image?
 *
 * Stands for a JIT or loader library that makes "its" pages writable and has the wrong address. The callee makes a page
 * of 'old' readable and writable, then stores 8 bytes there.
 * Varies: mechanism. Records: the fault or its absence. A page keeps its key through mprotect: what protects by
 * mprotect is undone by it, what protects by key is not.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'mprotect(2) to read and write, then a store',
  expected: (setting) =>
    setting.mechanism.startsWith('mprotect')
      ? { verdicts: ['damaged'], why: 'the callee undoes what the gate did, by the same call' }
      : expectStore(setting),
  remedy: { kinds: ['filter', 'keys'], text: 'keys; or a filter of system calls' },
  refusedBy: 'either',
  run(trial) {
    const page = trial.pageIn('old');
    trial.answered(
      trial.foreign('int64_t foreign_mprotect_open_write(uint64_t page, uint64_t address, uint64_t value)')(
        page,
        page + 8n * BigInt(trial.random(512)),
        0x4141414141414141n,
      ),
    );
  },
};
