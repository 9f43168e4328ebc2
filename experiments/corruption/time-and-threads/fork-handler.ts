/**
 * Does a handler that a callee has left for fork(2) reach the image?
 *
 * Stands for libraries that register pthread_atfork handlers and are not asked again. When the VM starts a child
 * process, the handler runs on the VM's thread, outside any callout, and stores to 'old'. What runs there counts as the
 * VM. Handlers left with atexit(3) run so too, when the process ends.
 * Varies: mechanism. Records: bytes changed.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a store from a pthread_atfork handler, when the VM forks',
  remedy: {
    kinds: ['vm'],
    text: 'start child processes with posix_spawn or vfork, which run no such handlers; _exit past those of atexit',
  },
  expected: () => expectRound('no callout is in progress: the handler runs as the VM'),
  run(trial) {
    trial.answered(
      trial.foreign('int foreign_write_at_fork(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
    trial.note(`child ended with ${String(trial.unguarded('int foreign_fork_and_wait(void)')())}`);
  },
};
