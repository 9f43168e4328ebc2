/**
 * Does a stream whose buffer was an object of the VM's write the image later?
 *
 * Stands for setvbuf(3) with a buffer that moves or dies. A callout long over gave an object of 'old' to a stream as
 * its buffer; the next fputs(3) writes there.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'fputs() to a stream that has an object in old space as its buffer',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const libc = trial.library('libc.so.6');
    const file = libc.func('uintptr_t tmpfile(void)')();
    const full = 0; // _IOFBF
    libc.func('int setvbuf(uintptr_t file, uintptr_t buffer, int mode, size_t bytes)')(
      file,
      trial.addressIn('old', 1024),
      full,
      1024,
    );
    trial.answered(
      libc.func('int fputs(const char *text, uintptr_t file)')("a line of text that lands in somebody's object", file),
    );
  },
};
