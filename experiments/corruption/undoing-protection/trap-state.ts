/**
 * Can the callee overwrite what the trap keeps for this thread?
 *
 * Stands for a wild write that happens to hit Turnkey's own memory. Frames, flags and fault record of the calling
 * thread, 8 KiB, are filled with 0x41.
 * Varies: mechanism. Records: the fault. Where there are keys, these pages have one of their own, whatever the image's
 * mechanism. But only `pkeys` writes PKRU in the gate. Without keys nothing protects them, and the way back from the
 * callout goes through them.
 */
import { binding } from '../../../src/callout/binding.js';
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "the calling thread's own trap state overwritten",
  expected({ mechanism }) {
    if (mechanism === 'pkeys')
      return { verdicts: ['trapped'], why: "the trap's pages have a key of their own, denied in callouts" };
    if (mechanism === 'none')
      return { verdicts: ['harmless', 'crashed'], why: 'nothing is armed, so nothing is read back' };
    return {
      verdicts: ['crashed'],
      why: 'the way back reads a frame that is none, and ends the process with a message',
    };
  },
  remedy: { kinds: ['keys'], text: 'keys' },
  run(trial) {
    const record = binding.hooks().faultRecord;
    // the record lies in the second of a thread's two pages, wherever the loader has put them; the frames are in the
    // first
    const begin = (record & ~0xfffn) - 0x1000n;
    trial.foreign('void foreign_write_rep(uint64_t address, uint8_t value, uint64_t bytes)')(begin, 0x41, 0x2000);
  },
};
