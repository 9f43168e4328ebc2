/**
 * Does anything stop an overflow from one view of an ArrayBuffer into the next?
 *
 * Stands for Node's Buffer pool: small Buffers share one ArrayBuffer of 8 KiB. An overflow of the Buffer that was
 * passed to C lands in another, which belongs to some other part of the program. No page boundary lies between them.
 * Every mechanism: the second view changes, the image is equal.
 * Varies: mechanism. Records: the second view's canary.
 */
import { type CorruptionCase, expectHostDamage } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '32 bytes past the Buffer that was passed, into the next one of the same ArrayBuffer',
  remedy: {
    kinds: ['process'],
    text: 'Pass loans, which have pages of their own, in place of Buffers; or another process.',
  },
  expected: () => expectHostDamage('the next view is in the same pages'),
  run(trial) {
    const pool = new ArrayBuffer(256);
    const passed = new Uint8Array(pool, 0, 64);
    const next = new Uint8Array(pool, 64, 64).fill(0x5a);
    trial.canary('next view of the ArrayBuffer', () => next.every((byte) => byte === 0x5a));
    trial.foreign('uint64_t foreign_overflow(uint8_t *start, uint64_t bytes, uint8_t value)')(
      passed,
      passed.length + 32,
      0x41,
    );
  },
};
