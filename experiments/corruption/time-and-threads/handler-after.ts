/**
 * Does a signal handler that the callee has left installed reach the image when the VM runs again?
 *
 * Stands for the same profilers, whose timer goes on when the call is over. The signal comes 100 ms after the callout
 * has returned; its handler stores 8 bytes to
 * 'old'. What runs on a VM thread outside a callout counts as the VM.
 * Varies: mechanism. Records: bytes changed. A handler starts with the kernel's default PKRU, without rights to the
 * image. But a VM thread that meets its own image so is given its rights back, as a thread older than a key must be.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a store from a signal handler of the callee's, after the callout",
  expected: () => expectRound('no callout is in progress: the handler runs as the VM'),
  remedy: { kinds: ['vm'], text: "look for handlers that a callout has left behind, and put the VM's own back" },
  async run(trial) {
    trial.foreign('int foreign_handler_writes(uint64_t address, uint64_t value, int delay_ms, int wait_ms)')(
      trial.addressIn('old'),
      0x4141414141414141n,
      100,
      0,
    );
    await trial.wait(400);
    trial.note(`the handler ran ${String(trial.unguarded('int foreign_handler_ran(void)')())} times`);
  },
};
