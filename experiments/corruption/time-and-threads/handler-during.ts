/**
 * Does a signal handler that the callee has installed reach the image during a callout?
 *
 * Stands for profilers and watchdogs in libraries. A signal to this thread, 50 ms into the callout; its handler stores
 * 8 bytes to 'old'. The handler runs in the callout, on the callee's stack: its fault is the callee's.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a store from a signal handler of the callee's, during the callout",
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.foreign('int foreign_handler_writes(uint64_t address, uint64_t value, int delay_ms, int wait_ms)')(
      trial.addressIn('old'),
      0x4141414141414141n,
      50,
      300,
    );
  },
};
