/**
 * Does a destructor of thread-local data, left by a callee, reach the image?
 *
 * Stands for libraries with pthread_key_create or C++ `thread_local` that clean up through pointers long gone. A VM
 * thread makes a callout, which leaves the destructor, and ends. The destructor then runs on that thread, outside any
 * callout, and stores to 'old'. What runs there counts as the VM.
 * Varies: mechanism. Records: bytes changed.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';
import { runShortThread } from '../../support/short-thread.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  timeoutMs: 6000,
  summary: 'a store from a destructor of thread-local data, when the calling VM thread ends',
  remedy: {
    kinds: ['vm'],
    text: 'call such a library from the main thread alone, or from threads that end with the process',
  },
  expected: () => expectRound('no callout is in progress: the destructor runs as the VM'),
  async run(trial) {
    await runShortThread(trial, 'int foreign_write_at_thread_end(uint64_t address, uint64_t value)', [
      trial.addressIn('old'),
      0x4141414141414141n,
    ]);
  },
};
