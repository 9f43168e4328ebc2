/**
 * Does a foreign thread from an earlier, unguarded callout reach the image during a guarded one?
 *
 * Stands for the library that was initialised before the guard was there, or past it: its threads were made with the
 * VM's rights. Such a thread waits, and is let go in a guarded callout, where it stores 8 bytes to 'old'.
 * Varies: mechanism. Records: bytes changed. PKRU belongs to a thread and is taken over from its maker: a denial now
 * does nothing to threads that are already there. Under mprotect the page is closed to it too, and its fault ends the
 * process.
 */
import { closesImage, type CorruptionCase, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a store during a callout, from a foreign thread that an unguarded callout started earlier',
  quick: true,
  expected: ({ mechanism }) =>
    closesImage(mechanism) && !needsKeys(mechanism)
      ? { verdicts: ['crashed'], why: "the page is read-only for every thread, and this one's fault is in no callout" }
      : {
          verdicts: ['damaged'],
          why: closesImage(mechanism) ? "this thread has the VM's rights" : 'nothing closes the image',
        },
  remedy: {
    kinds: ['vm'],
    text: 'start foreign libraries through the guard only, so that their threads are made without the rights',
  },
  run(trial) {
    trial.unguarded('int foreign_thread_park(uint64_t address, uint64_t value)')(
      trial.addressIn('old'),
      0x4141414141414141n,
    );
    const written = trial.foreign('int foreign_thread_unpark(int wait_ms)')(1000);
    trial.note(
      written === 1 ? 'the thread wrote during the callout' : 'the thread had not written when the callout returned',
    );
  },
};
