/**
 * Does a signal frame on an alternate stack in the image land there?
 *
 * Stands for a sigaltstack(2) with a stale address, here in 'old'; then a null pointer. The kernel writes the frame for
 * the thread.
 * Varies: mechanism, kernel. Records: the image at death, or what changed. Before 6.12 the kernel writes the frame with
 * the interrupted PKRU (F2): it cannot, and the process ends, the image intact. From 6.12 the kernel opens all keys
 * while it writes the frame, and about 3 KiB of the image are gone. The handler, on a stack whose key it must open
 * first, may go on from there.
 */
import { type CorruptionCase, kernelSince } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an alternate stack in old space, then a null pointer',
  expected({ mechanism, kernel }) {
    if (mechanism === 'none') return { verdicts: ['crashed'], why: 'the frame lands, and no trap takes the fault' };
    if (mechanism === 'flag') return { verdicts: ['damaged'], why: 'the frame lands; the fault is taken' };
    if (mechanism.startsWith('mprotect'))
      return { verdicts: ['crashed'], why: 'the kernel cannot write the frame into a read-only page' };
    return kernelSince(kernel, 6, 12)
      ? { verdicts: ['damaged', 'crashed'], why: 'since 6.12 the kernel opens all keys while it writes a signal frame' }
      : {
          verdicts: ['crashed'],
          why: 'before 6.12 the kernel writes the frame with the interrupted rights, and cannot',
        };
  },
  remedy: { kinds: ['filter'], text: 'a filter of system calls that denies sigaltstack to the callee' },
  refusedBy: 'dispatch',
  run(trial) {
    const bytes = 65536;
    const { address } = trial.space('old');
    trial.answered(trial.foreign('int foreign_altstack_at(uint64_t address, uint64_t bytes)')(address + 65536n, bytes));
    trial.foreign('void foreign_null_write(void)')();
  },
};
