/**
 * Does a polled io_uring reach the image without any system call?
 *
 * Stands for a ring of the VM's that a thread of the kernel's polls. The callee stores a request into the ring's
 * memory, and looks at the result there. It makes no call that anybody could judge.
 * Varies: mechanism. Records: the completion's result. Where the kernel has no io_uring, or forbids it, that is the
 * answer.
 */
import { type CorruptionCase, expectCopy, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an io_uring read into old space by a polling thread, asked for by stores alone',
  expected(setting) {
    if (needsKeys(setting.mechanism))
      return {
        verdicts: ['damaged', 'refused', 'harmless'],
        why: 'the polling thread has the rights of the time when it was made, and is asked by no system call',
      };
    const copy = expectCopy(setting);
    return { verdicts: [...copy.verdicts, 'refused', 'harmless'], why: `${copy.why}, if there is io_uring` };
  },
  remedy: {
    kinds: ['vm'],
    text: 'no polled ring in a process that makes callouts: a filter of system calls sees nothing',
  },
  run(trial) {
    const ring = trial.unguarded('int64_t foreign_uring_open(int polled)')(1);
    if (Number(ring) < 0) {
      trial.answered(ring);
      return;
    }
    trial.unguarded('int64_t foreign_uring_start_worker(void)')(); // the polling thread is awake from now on
    trial.answered(
      trial.foreign('int64_t foreign_uring_read_silently(uint64_t address, uint64_t bytes, int wait_ms)')(
        trial.addressIn('old', 64),
        64,
        1000,
      ),
    );
  },
};
