/**
 * Does an io_uring worker made before the callout reach the image?
 *
 * Stands for a ring that the VM, or a library that was initialised past the guard, has had for long. Its polling thread
 * in the kernel was made with the VM's rights. In a guarded callout the callee queues a read of 64 bytes into 'old'.
 * Varies: mechanism. Records: the completion's result. Where the kernel has no io_uring, or forbids it, that is the
 * answer.
 */
import { type CorruptionCase, expectCopy, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an io_uring read into old space by a polling thread made earlier',
  expected(setting) {
    if (needsKeys(setting.mechanism))
      return {
        verdicts: ['damaged', 'refused', 'harmless'],
        why: 'the worker has the rights of the time when it was made, if there is io_uring',
      };
    const copy = expectCopy(setting);
    return { verdicts: [...copy.verdicts, 'refused', 'harmless'], why: `${copy.why}, if there is io_uring` };
  },
  remedy: {
    kinds: ['vm'],
    text: 'no polled ring in a process that makes callouts; a filter fails the callout, but too late',
  },
  hardened: (harden) =>
    harden === 'seal'
      ? undefined
      : { verdicts: ['damaged', 'refused', 'harmless'], why: 'the polling thread has begun before the call is judged' },
  run(trial) {
    const ring = trial.unguarded('int64_t foreign_uring_open(int polled)')(1);
    trial.answered(
      Number(ring) < 0
        ? ring
        : trial.foreign('int64_t foreign_uring_read_into(uint64_t address, uint64_t bytes)')(
            trial.addressIn('old', 64),
            64,
          ),
    );
  },
};
