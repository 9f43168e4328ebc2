/**
 * Does anything stop a stray write into malloc's heap?
 *
 * Stands for the commonest corruption there is. A wild pointer, or an overflow of a neighbour, hits a block which the
 * VM or another library has from malloc. It may be a socket's state, or a compiled regular expression. The heap is the
 * callee's as well as the host's; it lies on key 0. Every mechanism: the block changes, the image is equal. Keys on the
 * image say nothing of the rest of the process. Varies: mechanism. Records: the block's canary.
 */
import { type CorruptionCase, expectHostDamage } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '8 bytes into a block that the host has from malloc',
  quick: true,
  remedy: { kinds: ['process'], text: 'Foreign code in another process, with only what it is lent shared.' },
  expected: () => expectHostDamage("malloc's heap lies on key 0"),
  run(trial) {
    const block = trial.library('libc.so.6').func('uintptr_t malloc(size_t bytes)')(64);
    trial.foreign('void foreign_fill(uintptr_t bytes, uint64_t count, uint8_t value)')(block, 64, 0x5a);
    const sum = trial.foreign('uint64_t foreign_checksum(uintptr_t bytes, uint64_t count)');
    const held = sum(block, 64);
    trial.canary('malloc block', () => sum(block, 64) === held);
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(
      BigInt(block as bigint) + 16n,
      0x4141414141414141n,
    );
  },
};
