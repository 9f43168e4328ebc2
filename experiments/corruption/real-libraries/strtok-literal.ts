/**
 * Does strtok() on a literal of the VM's write the image?
 *
 * Stands for a string literal of a method, handed to C by its address. strtok(3) writes a zero into the literal, and
 * the method is never the same again. The text is put into an object in 'old' before, and belongs there.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'strtok() on a literal in old space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const text = Buffer.from('cut here, please\0');
    const at = trial.addressIn('old', 32);
    trial.image.space('old').write(Number(at - trial.space('old').address), text);
    trial.image.snapshot();
    trial.answered(
      trial.library('libc.so.6').func('uintptr_t strtok(uintptr_t text, const char *separators)')(at, ',') === 0
        ? 0
        : 1,
    );
  },
};
