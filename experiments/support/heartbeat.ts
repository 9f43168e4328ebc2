/** A VM's heartbeat in the middle of a callout: a timer signal whose handler counts in a word of 'old'. */
import type { Trial } from '../../src/experiment/index.js';

/**
 * Sleeps in a callout while the heartbeat beats, and notes the beats. A canary holds that each was counted; the word is
 * put back. `enter` and `leave`: the addresses that the handler calls first and last; 0n for none.
 */
export function beatDuringCallout(trial: Trial, enter: bigint, leave: bigint): void {
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
}
