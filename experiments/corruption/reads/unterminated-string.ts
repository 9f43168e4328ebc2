/**
 * Does a string without an end run on into the image?
 *
 * Stands for strncpy's result when the source was too long, without a terminator. Then strlen, and all that follows,
 * goes on through the image until the first zero. `none`, `flag`, writes denied: strlen answers more than the buffer
 * holds: it has read eden. All access denied: faults.
 * Varies: mechanism, denial. Records: the fault, or the length.
 */
import { type CorruptionCase, expectRead } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'strlen of a full buffer next to the image',
  remedy: { kinds: ['no-access'], text: 'Deny all access, not only writes, and lend what the callee is to read.' },
  expected: expectRead,
  run(trial) {
    const buffer = trial.neighbour(64);
    trial.foreign('uint64_t foreign_overflow(uintptr_t start, uint64_t bytes, uint8_t value)')(
      buffer.address,
      buffer.bytes,
      0x41,
    );
    const length = Number(trial.library('libc.so.6').func('size_t strlen(uintptr_t text)')(buffer.address));
    trial.note(`strlen answered ${length} of a buffer of ${buffer.bytes}`);
    if (length >= buffer.bytes) trial.disclose(); // its end was found in the image
  },
};
