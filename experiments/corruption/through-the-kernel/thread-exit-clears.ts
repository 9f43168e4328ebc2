/**
 * Does the word that the kernel clears when a thread ends reach the image?
 *
 * Stands for a thread library's bookkeeping gone wrong (set_tid_address(2), CLONE_CHILD_CLEARTID). At a thread's end
 * the kernel stores a zero of 4 bytes at the address it was given: here an object's header in 'old'.
 * Varies: mechanism. Records: bytes changed. It stores with the dying thread's PKRU, and says nothing if it may not.
 */
import { closesImage, type CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "the kernel clears a thread's id in old space when the thread ends",
  expected: ({ mechanism }) =>
    closesImage(mechanism)
      ? {
          verdicts: ['harmless'],
          why: "the kernel stores with the dying thread's rights, and keeps silent when it may not",
        }
      : { verdicts: ['damaged'], why: 'the kernel stores a zero' },
  run(trial) {
    const { address } = trial.space('old');
    let at = trial.addressIn('old');
    // clearing a zero would show nothing
    while (trial.read('old', Number(at - address), 4).readUInt32LE() === 0) at = trial.addressIn('old');
    trial.answered(trial.foreign('int foreign_thread_exit_clears(uint64_t address)')(at));
  },
};
