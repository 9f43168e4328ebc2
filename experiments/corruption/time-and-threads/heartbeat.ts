/**
 * Does a VM signal handler that touches the image, and says so, work in the middle of a callout?
 *
 * Stands for the heartbeat of an interpreter: a timer signal whose handler writes into the image (here: counts in a
 * word of 'old'). It lands in a callout like anywhere else, and starts there with the kernel's default PKRU. The
 * handler calls trap_signal_enter first and trap_signal_leave last.
 * Varies: mechanism. Records: beats, and that each was counted; the word is put back.
 */
import { binding } from '../../../src/callout/binding.js';
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a VM heartbeat that counts in the image during a callout, between trap_signal_enter and trap_signal_leave',
  expected: () => ({ verdicts: ['harmless'], why: "the handler has the VM's rights between enter and leave" }),
  run(trial) {
    const [enter, leave] = [binding.hooks().signalEnter, binding.hooks().signalLeave];
    const offset = 8 * trial.random(trial.space('old').bytes / 8);
    const before = trial.read('old', offset, 8);
    trial.unguarded('int foreign_heartbeat_start(uint64_t enter, uint64_t leave, uint64_t address, int interval_ms)')(
      enter,
      leave,
      trial.space('old').address + BigInt(offset),
      50,
    );
    trial.foreign('void foreign_sleep_ms(int ms)')(250);
    const beats = Number(trial.unguarded('int foreign_heartbeat_stop(void)')());
    trial.note(`${beats} beats`);
    const counted = BigInt.asUintN(64, trial.read('old', offset, 8).readBigUInt64LE() - before.readBigUInt64LE());
    trial.canary('own heartbeat', () => beats > 0 && counted === BigInt(beats));
    trial.image.space('old').write(offset, before);
  },
};
